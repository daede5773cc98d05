// A figure against the settings it was reached with: dots over one setting, parallel coordinates over
// all that differ, and a table of groups. Drawn as SVG, again whenever its width changes.
import {css, h, put, svg} from './dom.js';
import {fieldOf, ranks} from './fields.js';
import {jobName, NONE, number} from './format.js';
import {colourOf} from './overlay.js';
import {airy} from './plot.js';
import {compare} from './table.js';

const HEIGHT = 400, TOP = 28, BOTTOM = 44, LEFT = 56;
const AXES_MOST = 7;
const SPREAD = 7; // dots of one value stand in so many columns

/** Ticks at round figures: [value]. */
function ticks(low, high) {
  const raw = (high - low) / 5, ten = 10 ** Math.floor(Math.log10(raw));
  const step = ten * [1, 2, 5, 10].find(m => m * ten >= raw);
  return Array.from({length: Math.floor((high - low) / step) + 2}, (_, i) =>
    (Math.ceil(low / step) + i) * step).filter(v => v <= high);
}

const valuesOf = (jobs, path) => [...new Set(jobs.map(j => fieldOf(j, path)))]
  .sort((a, b) => compare(a, b, false));

const decimals = values => Math.max(0, ...values.map(v => (String(+v.toPrecision(6)).split('.')[1] ?? '').length));

/** What both drawings are: figure: [words, of a job]. pick(job id): one was clicked. */
class Drawing {
  constructor(label, pick) {
    this.label = label;
    this.element = h('div.drawing', {onclick: e => {
      const id = e.target.closest('[data-job]')?.dataset.job;
      if (id) pick(id);
    }});
    this.observer = new ResizeObserver(() => this.#again());
    this.observer.observe(this.element);
    this.width = 0;
  }

  /** {jobs, figure, colours: job id -> index, …}. */
  set(shown) {
    this.shown = shown;
    this.width = 0;
    this.#again();
  }

  #again() {
    const width = this.element.clientWidth;
    if (width === this.width || width === 0 || !this.shown) return;
    this.width = width;
    const [name, of] = this.shown.figure;
    const jobs = this.shown.jobs.filter(j => typeof of(j) === 'number');
    if (jobs.length === 0) {
      put(this.element, h('p.note', 'No job here has that figure yet.'));
      return;
    }
    const bound = (pick, sign) => jobs.map(j => of(j) + sign * (this.shown.errors?.get(j.id) ?? 0))
      .reduce((a, b) => pick(a, b));
    const [low, high] = airy(bound(Math.min, -1), bound(Math.max, 1));
    const y = v => TOP + (high - v) / (high - low) * (HEIGHT - TOP - BOTTOM);
    const parts = this.draw({jobs, of, name, width, y, ticks: ticks(low, high)});
    put(this.element, svg('svg', {width, height: HEIGHT, role: 'img', 'aria-label':
      `${this.label}: ${name} of ${jobs.length} jobs`}, parts));
  }

  /* The axis of the figure at x, its words to the left or right. */
  axis(at, {ticks: values, y, name}, side) {
    const places = decimals(values);
    return [values.map(v => svg('text', {x: at + side * 8, y: y(v) + 4, 'text-anchor': side < 0 ? 'end' : 'start'},
      number(v, places))), svg('text.title', {x: at, y: 14, 'text-anchor': side < 0 ? 'start' : 'end',
      dx: side * LEFT + (side < 0 ? 8 : -8)}, name)];
  }

  told = (job, of, name) => svg('title', `${jobName(job)}: ${name.toLowerCase()} ${number(of(job), 3)}` +
    (ranks(job) ? '' : ', not the same function'));

  destroy() {
    this.observer.disconnect();
  }
}

/** One dot a job over the values of a setting; set() takes path and errors (job id -> standard error),
 * too. */
export class Dots extends Drawing {
  draw({jobs, of, name, width, y, ticks: values}) {
    const {path, colours, errors} = this.shown;
    const settings = valuesOf(jobs, path), step = (width - LEFT - 8) / settings.length;
    const x = i => LEFT + (i + 0.5) * step;
    const seen = settings.map(() => 0);
    const shift = Math.min(7, step / SPREAD / 2);
    const every = Math.ceil(settings.length * 70 / width);
    return [
      values.map(v => svg('line.grid', {x1: LEFT, x2: width, y1: y(v), y2: y(v)})),
      this.axis(LEFT, {ticks: values, y, name}, -1),
      settings.map((s, i) => i % every === 0 && svg('text', {x: x(i), y: HEIGHT - 24, 'text-anchor': 'middle'},
        String(s ?? NONE).slice(0, Math.max(4, step * every / 7)))),
      svg('text.title', {x: LEFT + (width - LEFT) / 2, y: HEIGHT - 4, 'text-anchor': 'middle'},
        path.replace(/^label\./, 'label ')),
      jobs.map(j => {
        const i = settings.indexOf(fieldOf(j, path)), k = seen[i]++ % SPREAD;
        // The middle first, then by turns to both sides.
        const cx = x(i) + (k % 2 ? 1 : -1) * Math.ceil(k / 2) * shift, error = errors.get(j.id);
        const tone = ranks(j) ? colourOf(colours.get(j.id) ?? 0) : css('--dim');
        return svg('g', {'data-job': j.id, class: ranks(j) ? 'mark' : 'mark none', stroke: tone, fill: tone},
          typeof error === 'number' && svg('line', {x1: cx, x2: cx, y1: y(of(j) - error), y2: y(of(j) + error)}),
          svg('circle', {cx, cy: y(of(j)), r: 4.5}), this.told(j, of, name));
      }),
    ];
  }
}

/** One line a job through the settings that differ to the figure; set() takes paths, too, and grouped:
 * whether the colours are the groups' or tell the figure. */
export class Parallel extends Drawing {
  draw({jobs, of, name, width, y, ticks: values}) {
    const paths = this.shown.paths.slice(0, AXES_MOST);
    const right = width - LEFT, step = (right - LEFT) / paths.length;
    const axes = paths.map((path, i) => {
      const settings = valuesOf(jobs, path);
      const at = k => TOP + (settings.length === 1 ? 0.5 : 1 - k / (settings.length - 1)) * (HEIGHT - TOP - BOTTOM);
      return {path, settings, x: LEFT + i * step, y: j => at(settings.indexOf(fieldOf(j, path))), at};
    });
    const ranked = jobs.filter(ranks).map(of).sort((a, b) => a - b);
    // From the least, in full colour, to the most.
    const share = j => ranked.length < 2 ? 1 : 1 - ranked.indexOf(of(j)) / (ranked.length - 1);
    const line = j => {
      const path = svg('path', {'data-job': j.id, class: ranks(j) ? 'way' : 'way none',
        d: `M${axes.map(a => `${a.x.toFixed(1)} ${a.y(j).toFixed(1)}`).join('L')}L${right} ${y(of(j)).toFixed(1)}`},
      this.told(j, of, name));
      if (ranks(j)) path.style.stroke = this.shown.grouped ? colourOf(this.shown.colours.get(j.id) ?? 0)
        : `color-mix(in oklab, var(--aligned) ${Math.round(100 * share(j))}%, var(--g1))`;
      return path;
    };
    return [
      // What has no rank lies below, the best on top.
      [...jobs].sort((a, b) => ranks(a) - ranks(b) || of(b) - of(a)).map(line),
      axes.map((a, i) => [svg('line.axis', {x1: a.x, x2: a.x, y1: TOP, y2: HEIGHT - BOTTOM}),
        svg('text.title', {x: a.x, y: i % 2 ? HEIGHT - 8 : HEIGHT - 24, 'text-anchor': i === 0 ? 'start' : 'middle',
          dx: i === 0 ? -LEFT + 8 : 0}, a.path.replace(/^label\./, 'label ')),
        a.settings.length <= 24 && a.settings.map((s, k) => svg('text.value', {x: a.x + 6, y: a.at(k) + 4},
          String(s ?? NONE).slice(0, 22)))]),
      svg('line.axis', {x1: right, x2: right, y1: TOP, y2: HEIGHT - BOTTOM}),
      this.axis(right, {ticks: values, y, name}, 1),
    ];
  }
}

/* ---- groups ---- */

/** n, mean, standard deviation and best of each group. groups: [{name, colour, dash, jobs, mixed}];
 * least: whether little is good. */
export function groupTable(groups, [name, of], least, {swatch, nameLink}) {
  const heads = ['Group', 'n', 'Mean', '\u00b1', 'Best', ''];
  const row = g => {
    const fit = g.jobs.filter(j => ranks(j) && typeof of(j) === 'number');
    const xs = fit.map(of), n = xs.length, mean = xs.reduce((a, b) => a + b, 0) / n;
    const sd = n > 1 ? Math.sqrt(xs.reduce((s, x) => s + (x - mean) ** 2, 0) / (n - 1)) : NaN;
    const best = fit.toSorted((a, b) => (least ? 1 : -1) * (of(a) - of(b)))[0];
    const left = g.jobs.length - n;
    const why = g.mixed.length > 0 ? `No mean: ${g.mixed.join(', ')} differ within` : null;
    return h('tr', h('th', {scope: 'row'}, swatch(g.colour, g.dash), g.name),
      h('td.figure', String(n), left > 0 && h('span.aside', {title: 'Without that figure, or not the same function'},
        ` of ${g.jobs.length}`)),
      h('td.figure', {title: why}, why ? NONE : number(n > 0 ? mean : NaN)),
      h('td.figure', why ? NONE : number(sd)),
      h('td.figure', best ? number(of(best)) : NONE), h('td', best && nameLink(best)));
  };
  return h('div.scroll', {role: 'region', tabindex: '0', 'aria-label': `${name} by group`},
    h('table', h('caption.unseen', `${name} by group`),
      h('thead', h('tr', heads.map((t, i) => h('th', {scope: 'col', class: i > 0 && i < 5 ? 'figure' : ''}, t)))),
      h('tbody', groups.map(row))));
}
