// What learning did: the training curve as it grows, and how far the learned maps turn.
import {anglesOf} from './angles.js';
import {request} from './api.js';
import {css, h, put, svg} from './dom.js';
import {number} from './format.js';
import {airy, axis, Plot} from './plot.js';
import {dataTable} from './table.js';

const SIZE_MOST = 1024; // of a matrix whose angles are found here
const BINS = 18;

export class LearningChart {
  constructor() {
    this.words = h('p.note');
    this.plot = new Plot({label: 'Training curve', height: 240, options: () => this.#options()});
    this.table = dataTable('Training curve', ['Step', 'Training', 'Held'], () => this.data.points.map(p =>
      [String(p.step), number(p.train_loss, 4), number(p.held_loss, 4)]));
    this.element = h('div', h('p.keys', h('span.key.control', 'training, each step at its own \u03bb'),
      h('span.key.aligned', 'held text, half way')), this.words, this.plot.element, this.table);
  }

  /** data: GET \u2026/learning. */
  show(data) {
    this.data = data;
    const {points, steps, steps_done: done, best_step: best, complete} = data;
    const held = points.filter(p => p.held_loss !== null), last = held.find(p => p.step === best) ?? held.at(-1);
    put(this.words, `${done} of ${steps} steps`, complete && done < steps ? ', ended early' : '',
      held.length > 1 && last ? `; held loss ${number(held[0].held_loss)} before, ${number(last.held_loss)} ${
        complete ? `with the maps kept, those of step ${best}` : 'now'}` : '');
    this.plot.element.hidden = this.table.hidden = points.length < 2;
    if (points.length < 2) return;
    this.plot.set([points.map(p => p.step), points.map(p => p.train_loss), points.map(p => p.held_loss)]);
    this.plot.describe(`Training curve at ${points.length} points of ${steps} steps`);
    this.table.refresh();
  }

  #options() {
    const line = (colour, width) => ({stroke: css(colour), width, spanGaps: true, points: {show: true, size: 4, width: 0,
      fill: css(colour)}});
    return {
      padding: [10, 18, 0, 4],
      scales: {x: {time: false, range: () => [0, this.data.steps]}, y: {range: (u, low, high) => airy(low, high)}},
      axes: [axis('step', {size: 26, space: 80}), axis('loss', {size: 52})],
      series: [{}, line('--control', 1.5), line('--aligned', 2)],
      cursor: {show: false},
    };
  }

  destroy() {
    this.plot.destroy();
  }
}

/* ---- the maps themselves, out of alignment.safetensors ---- */

async function part(path, from, to) {
  const response = await request('GET', path, {headers: {Accept: '*/*', Range: `bytes=${from}-${to - 1}`}});
  return response.arrayBuffer();
}

/** Matrices by name: [[rows of F32]] of each tensor that ends in one of the endings. */
async function matrices(path, endings) {
  const length = Number(new DataView(await part(path, 0, 8)).getBigUint64(0, true));
  const head = JSON.parse(new TextDecoder().decode(await part(path, 8, 8 + length)));
  const found = [];
  for (const [name, {dtype, shape, data_offsets: [from, to] = []}] of Object.entries(head)) {
    const n = shape?.at(-1);
    if (dtype !== 'F32' || !endings.some(e => name.endsWith(e)) || n > SIZE_MOST || shape.at(-2) !== n) continue;
    const all = new Float32Array(await part(path, 8 + length + from, 8 + length + to));
    found.push({name, n, list: Array.from({length: all.length / (n * n)}, (_, i) => all.subarray(i * n * n, (i + 1) * n * n))});
  }
  return found;
}

const mean = list => list.reduce((a, b) => a + b, 0) / list.length;

function spectrum(angles, words) {
  const counts = new Array(BINS).fill(0), width = 270, height = 90;
  for (const a of angles) counts[Math.min(BINS - 1, Math.floor(a / 180 * BINS))]++;
  const most = Math.max(...counts), step = width / BINS;
  return svg('svg.spectrum', {viewBox: `0 0 ${width} ${height + 16}`, width, height: height + 16, role: 'img',
    'aria-label': `${words}: mean ${number(mean(angles), 0)} degrees`},
  counts.map((n, i) => svg('rect', {x: i * step + 1, width: step - 2, y: height - n / most * height,
    height: n / most * height})),
  [0, 90, 180].map(a => svg('text', {x: a / 180 * width, y: height + 13, 'text-anchor': ['start', 'middle', 'end'][a / 90]},
    `${a}\u00b0`)));
}

/** How far the maps of a job turn; path: of its alignment.safetensors. Null where none is a matrix. */
export async function turns(path) {
  const found = await matrices(path, ['.matrix', '.rotation']);
  const rows = [], drawn = [], heads = [];
  const draw = (angles, name, words) => drawn.push(h('figure', spectrum(angles, `Angles of ${name}`),
    h('figcaption', h('b', name), ` ${words}mean ${number(mean(angles), 0)}\u00b0`)));
  for (const {name, n, list} of found) {
    const angles = [];
    for (const one of list) angles.push(...await anglesOf(one, n) ?? []);
    if (name.endsWith('.rotation')) heads.push(...angles);
    else if (angles.length > 0) draw(angles, name.replace('.matrix', ''), `${n} angles, `);
    rows.push([name.replace(/\.(matrix|rotation)$/, ''), `${list.length} \u00d7 ${n} \u00d7 ${n}`,
      angles.length > 0 ? `${number(mean(angles), 0)}\u00b0` : 'no rotation']);
  }
  if (rows.length === 0) return null;
  if (heads.length > 0) draw(heads, 'inside heads', '');
  return h('div', h('p.note', 'How far each map turns: the angles of its planes; 0\u00b0 leaves a direction where it is, ',
    '180\u00b0 turns it round.'), h('div.slopes-all', drawn),
  dataTable('Angles of the maps', ['Map', 'Matrices', 'Mean angle'], rows));
}
