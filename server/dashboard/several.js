// Jobs of three models or more: their points are weights, not lambdas. Three: a triangle, each point
// in the place of its weights; more: curves from each model to the centroid. The table behind has all.
import {h, put, setText, svg} from './dom.js';
import {number, percent} from './format.js';
import {dataTable} from './table.js';

/** The models of a spec, the anchor (or A) first. */
export const modelsOf = models => models.a !== undefined ? [models.a, models.b]
  : [models.anchor, ...models.others];

/** Two names for what has room for two. */
export function ends(models) {
  const [a, ...others] = modelsOf(models);
  return {a, b: others.length === 1 ? others[0] : `${others.length} others`};
}

export const isSeveral = models => modelsOf(models).length > 2;

/** Where a barrier's points are: lambdas, or the numbers of lists of weights. */
export const placesOf = barrier => barrier.lambdas ?? barrier.weights.map((_, i) => i);

/** How far pairwise alignments agree, of reference.json; null where not all pairs were aligned. */
export function agreement({cycle_consistency: cycles}) {
  return cycles && [
    h('p.note', 'In how many units aligning a to b and b to c says the same as aligning a to c, over all triples ',
      'of models, each pair aligned on its own. Maps that are no permutations have no such number.'),
    h('table', h('caption.unseen', 'Agreement around triangles'),
      h('thead', h('tr', ['Group', 'Agree'].map(t => h('th', {scope: 'col'}, t)))),
      h('tbody', Object.entries(cycles).map(([group, share]) => h('tr', h('th', {scope: 'row'}, group),
        h('td.figure', percent(share, 1))))))];
}

const SIDE = 320, HIGH = SIDE * Math.sqrt(3) / 2, EDGE = 34;
const CORNERS = [[EDGE, EDGE + HIGH], [EDGE + SIDE, EDGE + HIGH], [EDGE + SIDE / 2, EDGE]];
const WIDE = 640, TALL = 300;

/** How far on the way from model m to the centroid weights lie; null where they do not. */
function along(weights, m) {
  const rest = weights.filter((_, i) => i !== m), even = 1 / weights.length;
  return rest.every(w => Math.abs(w - rest[0]) < 1e-9) && weights[m] > even - 1e-9
    ? (1 - weights[m]) / (1 - even) : null;
}

export class SeveralChart {
  constructor(models) {
    this.models = modelsOf(models);
    this.weights = [];
    this.points = {aligned: new Map(), control: new Map()}; // number -> {loss, standard_error}
    this.barriers = [];
    this.figure = h('div');
    this.empty = h('p.note');
    this.table = dataTable('Loss at each list of weights',
      [...this.models, 'Aligned', '\u00b1', 'Control', '\u00b1', 'Barrier', '\u00b1'], () => this.#rows());
    this.element = h('figure', this.empty, this.figure, this.table);
    this.#show();
  }

  explain(words) {
    setText(this.empty, words);
  }

  load(barrier) {
    this.weights = barrier.weights;
    this.barriers = barrier.aligned.barriers;
    this.errors = barrier.aligned.barriers_standard_error;
    for (const [name, at] of Object.entries(this.points)) {
      at.clear();
      barrier[name]?.loss.forEach((loss, i) => {
        if (loss !== null) at.set(i, {loss, standard_error: barrier[name].standard_error[i]});
      });
    }
    this.#show();
  }

  destroy() {}

  #rows() {
    const cell = (c, i) => {
      const p = this.points[c].get(i);
      return [number(p?.loss, 4), number(p?.standard_error, 4)];
    };
    return this.weights.map((w, i) => [...w.map(x => number(x, 3)), ...cell('aligned', i),
      ...cell('control', i), number(this.barriers?.[i], 4), number(this.errors?.[i], 4)]);
  }

  #show() {
    const known = this.weights.map((weights, i) => ({weights, i, loss: this.points.aligned.get(i)?.loss}))
      .filter(p => p.loss !== undefined);
    this.empty.hidden = known.length > 0;
    this.table.hidden = known.length === 0;
    put(this.figure, known.length > 0 && (this.models.length === 3 ? this.#triangle(known)
      : this.#spokes(known)));
    this.table.refresh();
  }

  #words(known) {
    const worst = known.reduce((x, y) => y.loss > x.loss ? y : x);
    return `Chart: loss at ${known.length} lists of weights of ${this.models.join(', ')}. Most ` +
      `${number(worst.loss)} at ${worst.weights.map(w => number(w, 2)).join(', ')}.`;
  }

  #picture(width, height, known, ...parts) {
    return svg('svg', {viewBox: `0 0 ${width} ${height}`, role: 'img', class: 'simplex',
      'aria-label': this.#words(known)}, ...parts);
  }

  #triangle(known) {
    const losses = known.map(p => p.loss), low = Math.min(...losses), high = Math.max(...losses);
    const place = w => [0, 1].map(k => w.reduce((sum, x, m) => sum + x * CORNERS[m][k], 0));
    const dot = ({weights, loss}) => {
      const [x, y] = place(weights);
      return svg('g', svg('circle', {cx: x, cy: y, r: 11, class: 'dot',
        'fill-opacity': 0.15 + 0.85 * (high > low ? (loss - low) / (high - low) : 0)}),
      svg('text', {x, y: y + 24, 'text-anchor': 'middle'}, number(loss, 2)));
    };
    const name = (text, m) => svg('text', {x: CORNERS[m][0], y: CORNERS[m][1] + (m === 2 ? -18 : 42),
      'text-anchor': 'middle', class: 'name'}, text);
    return this.#picture(SIDE + 2 * EDGE, HIGH + 2 * EDGE + 20, known,
      svg('polygon', {points: CORNERS.map(c => c.join()).join(' '), class: 'edge'}),
      known.map(dot), this.models.map(name));
  }

  #spokes(known) {
    const losses = known.map(p => p.loss), low = Math.min(...losses), high = Math.max(...losses);
    const y = loss => EDGE + (TALL - 2 * EDGE) * (high > low ? (high - loss) / (high - low) : 0.5);
    const lines = this.models.map((name, m) => {
      const points = known.map(p => [along(p.weights, m), y(p.loss)]).filter(([t]) => t !== null)
        .sort((p, q) => p[0] - q[0]).map(([t, v]) => [EDGE + t * (WIDE - 8 * EDGE), v]);
      return points.length === 0 ? null : svg('g',
        svg('polyline', {points: points.map(p => p.join()).join(' '), class: 'edge'}),
        points.map(p => svg('circle', {cx: p[0], cy: p[1], r: 3, class: 'dot'})),
        svg('text', {x: points[0][0] + 6, y: points[0][1] - 5, class: 'name'}, name));
    });
    return this.#picture(WIDE, TALL, known, lines.filter(Boolean),
      svg('text', {x: EDGE, y: TALL - 6}, 'each model'),
      svg('text', {x: WIDE - 7 * EDGE, y: TALL - 6, 'text-anchor': 'end'}, 'all equally'));
  }
}
