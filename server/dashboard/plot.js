// uPlot, in the page's colours: loaded when the first chart is drawn, rebuilt when the theme
// changes, resized with its element.
import {asset} from './api.js';
import {css, h, put} from './dom.js';
import {ticks} from './format.js';

let loading = null;

/** Resolves with uPlot, or with null in a binary that was built without it. */
export function loadPlot() {
  loading ??= new Promise(resolve => {
    document.head.append(h('script', {src: asset('uplot.js'),
      onload: () => resolve(window.uPlot), onerror: () => resolve(null)}));
  });
  return loading;
}

export const FONT = '12px Inter, system-ui, sans-serif';

/** An axis in the page's colours; more overrides. */
export const axis = (label, more) => ({
  label,
  labelFont: FONT,
  labelSize: 20,
  labelGap: 4,
  font: FONT,
  stroke: css('--dim'),
  grid: {stroke: css('--grid'), width: 1},
  ticks: {show: false},
  values: ticks,
  ...more,
});

/** The two axes of a path: lambda from 0 to 1, and what is measured. */
export const axes = (x, y) => [axis(x, {size: 26, space: 80}), axis(y, {size: 52})];

/** A colour of the style sheet with another opacity, for bands and crowds. */
export function faint(colour, alpha) {
  const [r, g, b] = [1, 3, 5].map(i => parseInt(colour.slice(i, i + 2), 16));
  return `rgba(${r},${g},${b},${alpha})`;
}

/** A range with air above and below, and never of no height. */
export function airy(low, high) {
  if (low === null || high === null) return [0, 1];
  const pad = (high - low) * 0.06 || Math.abs(high) * 0.05 || 1;
  return [low - pad, high + pad];
}

export class Plot {
  /** options(uPlot) -> uPlot options without width and height; data as uPlot wants it. */
  constructor({label, height, options}) {
    this.options = options;
    this.height = height;
    this.element = h('div.plot', {role: 'img', 'aria-label': label});
    this.element.style.height = `${height}px`;
    this.data = null;
    this.plot = null;
    this.rebuild = this.rebuild.bind(this);
    addEventListener('theme', this.rebuild);
    this.observer = new ResizeObserver(() => this.#size());
    this.observer.observe(this.element);
    loadPlot().then(uPlot => {
      this.uPlot = uPlot;
      if (uPlot) this.rebuild();
      else put(this.element, h('p.note',
        'This daemon was built without uPlot, so curves are shown as tables only.'));
    });
  }

  set(data) {
    this.data = data;
    if (this.plot) this.plot.setData(data);
    else this.rebuild();
  }

  describe(label) {
    this.element.setAttribute('aria-label', label);
  }

  rebuild() {
    if (!this.uPlot || !this.data || this.element.clientWidth === 0) return;
    this.plot?.destroy();
    this.plot = new this.uPlot({
      ...this.options(this.uPlot),
      width: this.element.clientWidth,
      height: this.height,
      legend: {show: false},
    }, this.data, this.element);
  }

  #size() {
    const width = this.element.clientWidth;
    if (width === 0) return;
    if (!this.plot) this.rebuild();
    else if (this.plot.width !== width) this.plot.setSize({width, height: this.height});
  }

  destroy() {
    removeEventListener('theme', this.rebuild);
    this.observer.disconnect();
    this.plot?.destroy();
    this.plot = null;
    this.data = null;
  }
}
