// The barrier curve of one job: aligned against control, with a band of one standard error, and the
// barrier marked; dashed, where norms are folded, the control of the folded models.
import {css, h, put, setText} from './dom.js';
import {figure, number} from './format.js';
import {airy, axes, faint, FONT, Plot} from './plot.js';
import {placesOf} from './several.js';
import {dataTable} from './table.js';

const UNITS = {loss: 'loss', pseudo_perplexity: 'pseudo-perplexity', perplexity: 'perplexity'};
const CURVES = ['aligned', 'control', 'folded'];
const MARKED_MOST = 60; // points so many still show as points

export const yName = y => UNITS[y] ?? y;

/** The points of a curve by lambda, so that events can add to what was loaded. */
class Points {
  constructor() {
    this.at = new Map(); // lambda -> {loss, standard_error, metrics}
  }

  load(lambdas, curve) {
    curve?.loss.forEach((loss, i) => {
      if (loss === null) return;
      const metrics = Object.entries(curve.metrics).map(([name, values]) => [name, values[i]]);
      this.at.set(lambdas[i], {loss, standard_error: curve.standard_error[i],
        metrics: Object.fromEntries(metrics)});
    });
  }

  y(lambda, name) {
    const p = this.at.get(lambda);
    return (name === 'loss' ? p?.loss : p?.metrics[name]) ?? null;
  }
}

export class BarrierChart {
  constructor(models) {
    this.models = models;
    this.y = 'loss';
    this.over = 'mean';
    this.barrier = null; // what the daemon says of the whole curve
    this.points = {aligned: new Points(), control: new Points(), folded: new Points()};
    this.plot = new Plot({label: 'Barrier curve', height: 390, options: () => this.#options()});
    this.readout = h('div.readout', {'aria-hidden': 'true'});
    this.switches = h('div.switches');
    this.table = dataTable('Loss along the path', () => ['\u03bb', 'Aligned', '\u00b1', 'Control', '\u00b1',
      ...(this.#folds() ? ['Folded', '\u00b1'] : [])], () => this.#rows());
    this.above = h('div.above', this.readout, this.switches);
    this.empty = h('p.note');
    this.element = h('figure', this.empty, this.above, this.plot.element, this.table);
    this.#hide(true);
  }

  /** words: what stands in place of a curve without points. */
  explain(words) {
    setText(this.empty, words);
  }

  #hide(empty) {
    this.empty.hidden = !empty;
    for (const part of [this.above, this.plot.element, this.table]) part.hidden = empty;
  }

  /** barrier: what GET …/barrier gave. */
  load(barrier) {
    this.barrier = barrier;
    for (const c of CURVES) this.points[c].load(placesOf(barrier), barrier[c] ?? (c === 'folded' && barrier.folded_control?.curve));
    this.#show();
  }

  /** data of a "point" event. */
  add(data) {
    this.points[data.curve].at.set(data.lambda, data);
    this.#show();
  }

  #folds() {
    return this.points.folded.at.size > 0;
  }

  #lambdas() {
    return [...new Set(CURVES.flatMap(c => [...this.points[c].at.keys()]))].sort((a, b) => a - b);
  }

  #rows() {
    const cell = (c, l) => {
      const p = this.points[c].at.get(l);
      return [number(this.points[c].y(l, this.y), 4), number(p?.standard_error, 4)];
    };
    return this.#lambdas().map(l => [number(l, 3), ...cell('aligned', l), ...cell('control', l),
      ...(this.#folds() ? cell('folded', l) : [])]);
  }

  #show() {
    const lambdas = this.#lambdas();
    this.#hide(lambdas.length === 0);
    if (lambdas.length === 0) return; // no axes for what nobody has measured
    const loss = this.y === 'loss';
    const columns = ['control', 'aligned'].flatMap(c => {
      const y = lambdas.map(l => this.points[c].y(l, this.y));
      const off = sign => lambdas.map((l, i) => {
        const se = this.points[c].at.get(l)?.standard_error;
        return loss && y[i] !== null && se != null ? y[i] + sign * se : null;
      });
      return [y, off(-1), off(1)];
    });
    this.plot.set([lambdas, ...columns, lambdas.map(l => this.points.folded.y(l, this.y))]);
    this.plot.describe(this.#words(lambdas.length));
    this.#showSwitches();
    this.#read(null);
    this.table.refresh();
  }

  #words(n) {
    const say = (c, b) => b ? `${c} barrier ${number(b[this.over])} at lambda ` +
      `${number(b[this.over + '_lambda'], 2)}` : '';
    return [`Chart: ${yName(this.y)} at ${n} points between ${this.models.a} and ${this.models.b}`,
      say('aligned', this.barrier?.aligned.barrier), say('control', this.barrier?.control?.barrier),
      say('folded control', this.barrier?.folded_control?.curve?.barrier)]
      .filter(Boolean).join('; ');
  }

  /* ---- what is shown: which y, which barrier ---- */

  #showSwitches() {
    const metrics = new Set(CURVES.flatMap(c =>
      [...this.points[c].at.values()].flatMap(p => Object.keys(p.metrics))));
    const names = ['loss', ...metrics];
    const wanted = names.join() + this.y + this.over;
    if (this.switches.dataset.shows === wanted) return;
    this.switches.dataset.shows = wanted;
    const set = (key, value) => () => {
      this[key] = value;
      this.#show();
    };
    const group = (label, key, options) => h('div.segments', {role: 'group',
      'aria-label': label}, options.map(([value, text]) => h('button', {type: 'button',
      'aria-pressed': String(this[key] === value), onclick: set(key, value)}, text)));
    put(this.switches,
      this.y === 'loss' && group('Barrier over', 'over', [['mean', 'over mean'], ['chord', 'over chord']]),
      names.length > 1 && group('Vertical axis', 'y', names.map(n => [n, yName(n)])));
  }

  #read(index) {
    const lambdas = this.#lambdas();
    const l = index === null ? null : lambdas[index];
    const item = c => {
      const y = l === null ? null : this.points[c].y(l, this.y);
      const se = l === null || this.y !== 'loss' ? null : this.points[c].at.get(l)?.standard_error;
      return h('span', {class: `key ${c}`}, c, y === null ? '' : h('b', figure(y)),
        se == null ? '' : h('span.aside', `\u00b1 ${number(se, 3)}`));
    };
    put(this.readout, item('aligned'), this.points.control.at.size > 0 && item('control'), this.#folds() && item('folded'),
      l !== null && h('span.key.plain', '\u03bb', h('b', number(l, 3))));
  }

  /* ---- drawing ---- */

  #options() {
    const colour = {aligned: css('--aligned'), control: css('--control')};
    const curve = (c, width) => [
      {label: c, stroke: colour[c], width, spanGaps: true, points: {show: u => u.data[0].length <= MARKED_MOST,
        size: 5, width: 0, fill: colour[c]}},
      {label: `${c} low`, stroke: 'transparent', points: {show: false}, spanGaps: true},
      {label: `${c} high`, stroke: 'transparent', points: {show: false}, spanGaps: true},
    ];
    return {
      padding: [14, 18, 0, 4],
      scales: {x: {time: false, range: [0, 1]}, y: {range: (u, low, high) => airy(low, high)}},
      axes: axes(`\u03bb: 0 is ${this.models.a}, 1 is ${this.models.b} moved`, yName(this.y)),
      series: [{}, ...curve('control', 1.5), ...curve('aligned', 2), {label: 'folded', stroke: colour.control, width: 1.5,
        dash: [4, 3], spanGaps: true, points: {show: false}}],
      bands: [{series: [3, 2], fill: faint(colour.control, 0.16)},
        {series: [6, 5], fill: faint(colour.aligned, 0.18)}],
      cursor: {y: false, drag: {x: false, y: false}, points: {size: 9, width: 2,
        show: (u, i) => i === 1 || i === 4 ? undefined : false}},
      hooks: {
        setCursor: [u => this.#read(u.cursor.idx ?? null)],
        draw: [u => this.#mark(u, colour)],
      },
    };
  }

  /* The barrier: from the line between the ends up to the curve. */
  #mark(u, colour) {
    if (this.y !== 'loss') return;
    for (const c of ['control', 'aligned']) {
      const b = this.barrier?.[c]?.barrier;
      const {ctx} = u, px = devicePixelRatio;
      const first = this.points[c].y(0, 'loss'), last = this.points[c].y(1, 'loss');
      if (!b || first === null || last === null) continue;
      const x = l => u.valToPos(l, 'x', true), y = v => u.valToPos(v, 'y', true);
      const lambda = b[`${this.over}_lambda`], top = this.points[c].y(lambda, 'loss');
      const base = this.over === 'mean' ? l => (0 * l + first + last) / 2
        : l => (1 - l) * first + l * last;
      ctx.save();
      ctx.strokeStyle = faint(colour[c], 0.7);
      ctx.lineWidth = px;
      ctx.setLineDash([4 * px, 4 * px]);
      ctx.beginPath();
      ctx.moveTo(x(0), y(base(0)));
      ctx.lineTo(x(1), y(base(1)));
      ctx.stroke();
      ctx.setLineDash([]);
      ctx.strokeStyle = colour[c];
      ctx.lineWidth = 1.5 * px;
      const at = x(lambda) + (c === 'control' ? 5 : 0) * px;
      ctx.beginPath();
      ctx.moveTo(at, y(base(lambda)));
      ctx.lineTo(at, y(top));
      for (const end of [y(base(lambda)), y(top)]) {
        ctx.moveTo(at - 4 * px, end);
        ctx.lineTo(at + 4 * px, end);
      }
      ctx.stroke();
      this.#label(ctx, px, c, `barrier ${number(b[this.over])}`, at, (y(base(lambda)) + y(top)) / 2,
        colour[c]);
      ctx.restore();
    }
  }

  #label(ctx, px, c, text, x, y, colour) {
    ctx.font = FONT.replace('12px', `600 ${12 * px}px`);
    ctx.textBaseline = 'middle';
    const left = c === 'aligned';
    ctx.textAlign = left ? 'right' : 'left';
    const width = ctx.measureText(text).width;
    const at = x + (left ? -10 : 10) * px;
    ctx.fillStyle = faint(css('--paper'), 0.85);
    ctx.fillRect(left ? at - width - 3 * px : at - 3 * px, y - 9 * px, width + 6 * px, 18 * px);
    ctx.fillStyle = colour;
    ctx.fillText(text, at, y);
  }

  destroy() {
    this.plot.destroy();
  }
}
