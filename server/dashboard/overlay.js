// Many curves in one chart: each faint, each group's mean on top with a band of one standard
// deviation. The crowd is drawn with one stroke per group, so that a thousand stay smooth; the curve
// under the pointer is drawn on a canvas of its own above.
import {css, h, put} from './dom.js';
import {airy, axes, faint, Plot} from './plot.js';

const NEAR_PX = 24;

const COLOURS = 12;
export const CONTROL_DASH = [6, 4];

/** Group i's colour; below 0: what the others are held against. */
export const colourOf = i => css(i < 0 ? '--ink' : `--g${i % COLOURS}`);

/** Of a control, and of what comes after all colours are taken. */
export const dashOf = (i, control) => control ? CONTROL_DASH : i >= COLOURS ? [2, 3] : undefined;

/** A piece of a group's line, for legends and tables. */
export function swatch(colour, dash) {
  const line = h('span.swatch.stroke', {'aria-hidden': 'true'});
  line.style.color = colourOf(colour);
  line.style.borderTopStyle = dash ? dash === CONTROL_DASH ? 'dashed' : 'dotted' : 'solid';
  return line;
}

function at(curve, x) {
  const {xs, ys} = curve;
  if (x < xs[0] || x > xs.at(-1)) return null;
  let i = 1;
  while (i < xs.length - 1 && xs[i] < x) i++;
  if (xs.length === 1) return ys[0];
  const t = (x - xs[i - 1]) / (xs[i] - xs[i - 1]);
  return ys[i - 1] + t * (ys[i] - ys[i - 1]);
}

/** Mean and sample deviation of curves over the grid: {mean, low, high, n}; all null where a mean would
 * be of unlike things. */
export function summary(curves, grid, mixed = false) {
  const result = {n: curves.length, mean: [], low: [], high: []};
  if (mixed) {
    result.mean = result.low = result.high = grid.map(() => null);
    return result;
  }
  for (const x of grid) {
    const ys = curves.map(c => at(c, x)).filter(y => y !== null);
    const mean = ys.length > 0 ? ys.reduce((a, b) => a + b, 0) / ys.length : null;
    const sd = ys.length > 1
      ? Math.sqrt(ys.reduce((s, y) => s + (y - mean) ** 2, 0) / (ys.length - 1)) : 0;
    result.mean.push(mean);
    result.low.push(mean === null ? null : mean - sd);
    result.high.push(mean === null ? null : mean + sd);
  }
  return result;
}

/** The lambdas of all curves. */
export const gridOf = curves =>
  [...new Set(curves.flatMap(c => c.xs))].sort((a, b) => a - b);

export class Overlay {
  /** pick(curve): one was clicked. */
  constructor({pick}) {
    this.pick = pick;
    this.groups = [];
    this.top = h('canvas.top', {'aria-hidden': 'true'});
    this.readout = h('div.readout', {'aria-hidden': 'true'});
    this.plot = new Plot({label: 'Curves', height: 440, options: () => this.#options()});
    this.element = h('div', this.readout, this.plot.element);
  }

  /** groups: [{name, colour: index, dash, curves: [{job, name, xs, ys}], mixed: [what makes its members
   * unlike], summary, visible}]. */
  set(groups, grid, label) {
    this.groups = groups.filter(g => g.visible);
    this.yLabel = label;
    this.near = null;
    const all = this.groups.flatMap(g => g.curves.flatMap(c => c.ys));
    this.span = airy(all.reduce((a, b) => Math.min(a, b), Infinity),
      all.reduce((a, b) => Math.max(a, b), -Infinity));
    this.plot.data = [grid, ...this.groups.flatMap(g => [g.summary.mean, g.summary.low, g.summary.high])];
    this.plot.rebuild();
    const total = this.groups.reduce((n, g) => n + g.curves.length, 0);
    this.plot.describe(`Chart: ${label} of ${total} curves in ${this.groups.length} groups; ` +
      this.groups.map(g => `${g.name}: ${g.curves.length}`).join(', '));
    this.#read();
  }

  /** Draws one curve on top, by its job; null: none. */
  highlight(job) {
    const group = this.groups.find(g => g.curves.some(c => c.job === job));
    this.near = group ? {group, curve: group.curves.find(c => c.job === job)} : null;
    this.#drawTop();
    this.#read();
  }

  #options() {
    const series = this.groups.flatMap(g => {
      const many = g.curves.length > 1 || g.colour < 0;
      return [
        {stroke: colourOf(g.colour), width: many ? 2.5 : 2, dash: g.dash, spanGaps: true, points: {show: false}},
        {stroke: 'transparent', spanGaps: true, points: {show: false}},
        {stroke: 'transparent', spanGaps: true, points: {show: false}},
      ];
    });
    const bands = this.groups.flatMap((g, i) => g.curves.length > 1
      ? [{series: [3 * i + 3, 3 * i + 2], fill: faint(colourOf(g.colour), 0.16)}] : []);
    return {
      padding: [10, 18, 0, 4],
      scales: {x: {time: false, range: [0, 1]}, y: {range: () => this.span}},
      axes: axes('\u03bb', this.yLabel),
      series: [{}, ...series],
      bands,
      cursor: {x: false, y: false, drag: {x: false, y: false}, points: {show: false}},
      hooks: {
        ready: [u => this.#attach(u)],
        setSize: [u => this.#fit(u)],
        drawAxes: [u => this.#drawCrowd(u)],
        setCursor: [u => this.#point(u)],
      },
    };
  }

  #drawCrowd(u) {
    const {ctx} = u;
    ctx.save();
    ctx.beginPath();
    ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
    ctx.clip();
    ctx.lineWidth = 1.25 * devicePixelRatio;
    for (const g of this.groups) {
      if (g.curves.length === 1) continue; // its mean is itself
      const n = g.curves.length;
      ctx.strokeStyle = faint(colourOf(g.colour), g.mixed.length > 0 ? Math.max(0.15, Math.min(0.9, 20 / n))
        : Math.max(0.1, Math.min(0.5, 8 / n)));
      ctx.setLineDash((g.dash ?? []).map(n => n * devicePixelRatio));
      ctx.beginPath();
      for (const c of g.curves) this.#trace(ctx, u, c, true);
      ctx.stroke();
    }
    ctx.restore();
  }

  #trace(ctx, u, {xs, ys}, canvas) {
    for (let i = 0; i < xs.length; i++) {
      const x = u.valToPos(xs[i], 'x', canvas), y = u.valToPos(ys[i], 'y', canvas);
      if (i === 0) ctx.moveTo(x, y);
      else ctx.lineTo(x, y);
    }
  }

  /* ---- the pointer ---- */

  #attach(u) {
    u.over.append(this.top);
    u.over.addEventListener('click', () => this.near && this.pick(this.near.curve));
    u.over.addEventListener('pointerleave', () => this.highlight(null));
    this.#fit(u);
  }

  #fit(u) {
    const px = devicePixelRatio;
    this.top.width = u.over.clientWidth * px;
    this.top.height = u.over.clientHeight * px;
  }

  #point(u) {
    const {left, top} = u.cursor;
    if (left < 0) return;
    const x = u.posToVal(left, 'x'), y = u.posToVal(top, 'y');
    let best = Math.abs(u.posToVal(top + NEAR_PX, 'y') - y), near = null;
    for (const group of this.groups)
      for (const curve of group.curves) {
        const distance = Math.abs((at(curve, x) ?? Infinity) - y);
        if (distance < best) {
          best = distance;
          near = {group, curve};
        }
      }
    if (near?.curve === this.near?.curve) return;
    this.near = near;
    u.over.style.cursor = near ? 'pointer' : '';
    this.#drawTop();
    this.#read();
  }

  #drawTop() {
    const u = this.plot.plot, ctx = this.top.getContext('2d'), px = devicePixelRatio;
    ctx.setTransform(px, 0, 0, px, 0, 0);
    ctx.clearRect(0, 0, this.top.width, this.top.height);
    if (!u || !this.near) return;
    for (const [colour, width] of [[css('--paper'), 6], [colourOf(this.near.group.colour), 2.5]]) {
      ctx.strokeStyle = colour;
      ctx.lineWidth = width;
      ctx.beginPath();
      this.#trace(ctx, u, this.near.curve, false);
      ctx.stroke();
    }
  }

  #read() {
    put(this.readout, this.near ? [h('b', this.near.curve.name), ' ',
      h('span.aside', this.near.group.name === this.near.curve.name ? ''
        : this.near.group.name)]
      : h('span.aside', 'Point at a curve for its name, click to open its job.'));
  }

  destroy() {
    this.plot.destroy();
  }
}
