// Small multiples: per group, how well matched units correlate, against the identity; and per layer,
// which head of B stands where a head of A was.
import {h, put, svg} from './dom.js';
import {number, percent} from './format.js';
import {dataTable} from './table.js';

const WIDTH = 150, HEIGHT = 64;

const KINDS = {ff: 'Feed-forward units', mha: 'Attention heads\u2019 units', qk: 'Queries and keys',
  residual: 'Residual stream'};

/* The range that all groups are drawn over: where nearly all of their correlations lie. */
function rangeOf(groups) {
  const ends = groups.flatMap(({before, after}) => [before, after].flatMap(d => [d.quantiles.p5,
    d.quantiles.p95])).filter(Number.isFinite);
  const low = Math.min(0, ...ends) - 0.1, high = Math.max(0, ...ends) + 0.15;
  return [Math.max(-1, Math.floor(low * 10) / 10), Math.min(1, Math.ceil(high * 10) / 10)];
}

/* A histogram as a closed path, from its counts. */
function area(edges, counts, x, most) {
  const y = n => (HEIGHT - n / most * (HEIGHT - 4)).toFixed(1);
  return `M${x(edges[0])} ${HEIGHT}` + counts.map((n, i) =>
    `L${x(edges[i])} ${y(n)}L${x(edges[i + 1])} ${y(n)}`).join('') +
    `L${x(edges.at(-1))} ${HEIGHT}Z`;
}

function histogram(group, [low, high]) {
  const {edges, before, after} = group.histogram;
  const most = Math.max(...before, ...after, 1);
  const x = v => ((Math.min(Math.max(v, low), high) - low) / (high - low) * WIDTH).toFixed(1);
  const line = (name, v) => svg('line', {class: name, x1: x(v), x2: x(v), y1: 0, y2: HEIGHT});
  return svg('svg', {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: 'histogram', role: 'img',
    'aria-label': `${group.name}: mean ${number(group.after.mean)}, identity ` +
      number(group.before.mean)},
  svg('path.before', {d: area(edges, before, x, most)}),
  svg('path.after', {d: area(edges, after, x, most)}),
  line('zero', 0), line('mean before', group.before.mean), line('mean after', group.after.mean));
}

/** Cards of groups; those in view load their histograms. load(name) -> the group in full;
 * choose(name): one was picked. */
export class Multiples {
  constructor(load, choose) {
    this.load = load;
    this.choose = choose;
    this.cards = new Map();
    this.element = h('div');
    this.observer = new IntersectionObserver(entries => {
      for (const e of entries) if (e.isIntersecting) this.#fill(e.target);
    }, {rootMargin: '200px'});
  }

  /** correlations: GET …/correlations. */
  show({groups}) {
    this.cards.clear();
    this.range = rangeOf(groups);
    const cardOf = g => {
      const card = h('button.card', {'aria-pressed': 'false',
        'data-group': g.name, onclick: () => this.choose(g.name)},
      h('span.card-name', g.name),
      svg('svg', {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: 'histogram', 'aria-hidden': 'true'}),
      h('span.card-means', h('span.aside', number(g.before.mean, 2)),
        ' \u2192 ', h('b', number(g.after.mean, 2))),
      g.verdict ? h('span.verdict', {'data-verdict': g.verdict}, g.verdict) : null);
      this.cards.set(g.name, card);
      this.observer.observe(card);
      return card;
    };
    // One row of cards per kind of group, the layers side by side.
    const kinds = Map.groupBy(groups, g => g.name.replace(/^layer\.\d+\.|\.\d+$/g, ''));
    const rows = h('div.kinds', [...kinds].map(([kind, members]) => h('div',
      h('h3.kind', KINDS[kind] ?? kind), h('div.cards', members.map(cardOf)))));
    put(this.element,
      h('p.keys', h('span.key.control', 'identity: unit i with unit i'),
        h('span.key.aligned', 'matched'),
        h('span.aside', `correlations from ${number(this.range[0], 1)} to ${number(this.range[1], 1)}, ` +
        'lines at the means')),
      rows,
      dataTable('Correlations per group', ['Group', 'Units', 'Identity mean', 'Matched mean',
        'Matched 5 %', 'Matched median', 'Matched 95 %', 'Moved mean', 'Weak', 'Verdict'],
      () => groups.map(g => [g.name, String(g.size), number(g.before.mean), number(g.after.mean),
        number(g.after.quantiles.p5), number(g.after.quantiles.p50), number(g.after.quantiles.p95),
        g.moved ? number(g.moved.mean) : '', percent(g.weak_share), g.verdict ?? ''])));
  }

  mark(name) {
    for (const [key, card] of this.cards) card.setAttribute('aria-pressed', String(key === name));
  }

  async #fill(card) {
    this.observer.unobserve(card);
    try {
      const group = await this.load(card.dataset.group);
      card.querySelector('svg').replaceWith(histogram(group, this.range));
    } catch {
      // the means are there
    }
  }

  destroy() {
    this.observer.disconnect();
  }
}

/* ---- heads ---- */

function slopes(heads) {
  const gap = 22, width = heads.length * gap, height = 76;
  const x = i => i * gap + gap / 2;
  return svg('svg', {viewBox: `0 0 ${width} ${height}`, width, height, class: 'slopes',
    'aria-hidden': 'true'},
  heads.map((b, a) => svg('path', {class: a === b ? 'stays' : 'moves',
    d: `M${x(a)} 14C${x(a)} 38 ${x(b)} 38 ${x(b)} 62`})),
  heads.flatMap((_, i) => [svg('text', {x: x(i), y: 9}, String(i)),
    svg('text', {x: x(i), y: height - 3}, String(i))]));
}

/** permutations: GET …/permutations. Null when no group has heads. */
export function headAssignment({groups}) {
  const withHeads = groups.filter(g => g.heads?.length > 0);
  if (withHeads.length === 0) return null;
  const n = Math.max(...withHeads.map(g => g.heads.length));
  const moved = g => g.heads.filter((b, a) => a !== b).length;
  return h('div', h('p.note', 'Above: heads of A. Below: the head of B that was put there.'),
    h('div.slopes-all', withHeads.map(g => h('figure', slopes(g.heads),
      h('figcaption', g.name.replace(/\.mha$/, ''), h('span.aside',
        ` ${moved(g)} of ${g.heads.length} moved${g.rotated ? ', rotated' : ''}`))))),
    dataTable('Head of B matched to each head of A',
      ['Group', ...Array.from({length: n}, (_, i) => `A ${i}`)],
      () => withHeads.map(g => [g.name, ...g.heads.map(String)])));
}
