// Small multiples: per group, how well matched units correlate, against the identity; and per layer,
// which head of B stands where a head of A was.
import {h, put, svg} from './dom.js';
import {number, percent} from './format.js';
import {dataTable} from './table.js';

const WIDTH = 150, HEIGHT = 64;

/* A histogram over [-1, 1] as a closed path, from its counts. */
function area(counts, most) {
  const step = WIDTH / counts.length;
  const y = n => (HEIGHT - n / most * (HEIGHT - 4)).toFixed(1);
  return `M0 ${HEIGHT}` + counts.map((n, i) =>
    `L${(i * step).toFixed(1)} ${y(n)}L${((i + 1) * step).toFixed(1)} ${y(n)}`).join('') +
    `L${WIDTH} ${HEIGHT}Z`;
}

function histogram(group) {
  const {before, after} = group.histogram;
  const most = Math.max(...before, ...after, 1);
  const x = v => ((v + 1) / 2 * WIDTH).toFixed(1);
  const line = (name, v) => svg('line', {class: name, x1: x(v), x2: x(v), y1: 0, y2: HEIGHT});
  return svg('svg', {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: 'histogram', role: 'img',
    'aria-label': `${group.name}: mean ${number(group.after.mean)}, identity ` +
      number(group.before.mean)},
  svg('path', {class: 'before', d: area(before, most)}),
  svg('path', {class: 'after', d: area(after, most)}),
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
    const cards = groups.map(g => {
      const card = h('button', {type: 'button', class: 'card', 'aria-pressed': 'false',
        'data-group': g.name, onclick: () => this.choose(g.name)},
      h('span', {class: 'card-name'}, g.name),
      svg('svg', {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: 'histogram', 'aria-hidden': 'true'}),
      h('span', {class: 'card-means'}, h('span', {class: 'aside'}, number(g.before.mean, 2)),
        ' \u2192 ', h('b', {}, number(g.after.mean, 2))),
      g.verdict ? h('span', {class: 'verdict', 'data-verdict': g.verdict}, g.verdict) : null);
      this.cards.set(g.name, card);
      this.observer.observe(card);
      return card;
    });
    put(this.element,
      h('p', {class: 'keys'}, h('span', {class: 'key control'}, 'identity: unit i with unit i'),
        h('span', {class: 'key aligned'}, 'matched'),
        h('span', {class: 'aside'}, 'correlation from \u22121 to 1, lines at the means')),
      h('div', {class: 'cards'}, cards),
      dataTable('Correlations per group', ['Group', 'Units', 'Identity mean', 'Matched mean',
        'Matched 5 %', 'Matched median', 'Matched 95 %', 'Weak', 'Verdict'],
      () => groups.map(g => [g.name, String(g.size), number(g.before.mean), number(g.after.mean),
        number(g.after.quantiles.p5), number(g.after.quantiles.p50), number(g.after.quantiles.p95),
        percent(g.weak_share), g.verdict ?? ''])));
  }

  mark(name) {
    for (const [key, card] of this.cards) card.setAttribute('aria-pressed', String(key === name));
  }

  async #fill(card) {
    this.observer.unobserve(card);
    try {
      const group = await this.load(card.dataset.group);
      card.querySelector('svg').replaceWith(histogram(group));
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
  const gap = 16, width = Math.max(heads.length * gap, gap), height = 56;
  const x = i => i * gap + gap / 2;
  return svg('svg', {viewBox: `0 0 ${width} ${height}`, width, height, class: 'slopes',
    'aria-hidden': 'true'},
  heads.map((b, a) => svg('path', {class: a === b ? 'stays' : 'moves',
    d: `M${x(a)} 14C${x(a)} 28 ${x(b)} 28 ${x(b)} 42`})),
  heads.flatMap((_, i) => [svg('text', {x: x(i), y: 9}, String(i)),
    svg('text', {x: x(i), y: height - 3}, String(i))]));
}

/** permutations: GET …/permutations. Null when no group has heads. */
export function headAssignment({groups}) {
  const withHeads = groups.filter(g => g.heads?.length > 0);
  if (withHeads.length === 0) return null;
  const n = Math.max(...withHeads.map(g => g.heads.length));
  const moved = g => g.heads.filter((b, a) => a !== b).length;
  return h('div', {}, h('p', {class: 'note'}, 'Above: heads of A. Below: the head of B that was put there.'),
    h('div', {class: 'slopes-all'}, withHeads.map(g => h('figure', {}, slopes(g.heads),
      h('figcaption', {}, g.name.replace(/\.mha$/, ''), h('span', {class: 'aside'},
        ` ${moved(g)} of ${g.heads.length} moved${g.rotated ? ', rotated' : ''}`))))),
    dataTable('Head of B matched to each head of A',
      ['Group', ...Array.from({length: n}, (_, i) => `A ${i}`)],
      () => withHeads.map(g => [g.name, ...g.heads.map(String)])));
}
