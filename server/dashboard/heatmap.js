// A group's correlation matrix before and after, on two canvases with one scale.
import {h, put, setText} from './dom.js';
import {number} from './format.js';
import {dataTable} from './table.js';

const TABLE_SIZE = 16; // the table behind shows blocks of a large matrix

/* Blue for negative, the page for zero, red for positive: told apart by people who see fewer
 * colours too. */
const RAMPS = {
  light: [[5, 80, 160], [252, 252, 250], [176, 36, 18]],
  dark: [[88, 166, 255], [22, 27, 34], [255, 140, 97]],
};

function paint(canvas, matrix, limit, [low, zero, high]) {
  const n = matrix.length;
  canvas.width = canvas.height = n;
  const ctx = canvas.getContext('2d');
  const image = ctx.createImageData(n, n);
  matrix.flat().forEach((value, i) => {
    const t = (value ?? 0) / limit, end = t < 0 ? low : high;
    image.data.set([...zero.map((v, k) => v + (end[k] - v) * Math.abs(t)), 255], 4 * i);
  });
  ctx.putImageData(image, 0, 0);
}

function largest(matrices) {
  let most = 0;
  for (const row of matrices.flat()) for (const v of row) most = Math.max(most, Math.abs(v ?? 0));
  return most || 1;
}

/** Block means, so that the table stays readable. */
function coarse(matrix, size) {
  const step = Math.ceil(matrix.length / size), n = Math.floor(matrix.length / step);
  return Array.from({length: n}, (_, i) => Array.from({length: n}, (_, j) => {
    let sum = 0;
    for (let a = 0; a < step; a++)
      for (let b = 0; b < step; b++) sum += matrix[i * step + a][j * step + b];
    return sum / (step * step);
  }));
}

export class Heatmap {
  constructor() {
    this.element = h('div.heatmap');
    this.repaint = () => this.group && this.show(this.group);
    addEventListener('theme', this.repaint);
  }

  /** group: GET …/correlations/{group}?matrix=true. */
  show(group) {
    this.group = group;
    const {size, before, after} = group.matrix;
    const limit = largest([before, after]);
    const colours = RAMPS[document.documentElement.dataset.theme];
    const block = group.size / size;
    const read = h('p.note', {'aria-hidden': 'true'}, block > 1
      ? `Each cell is the mean of ${number(block, 0)} \u00d7 ${number(block, 0)} unit pairs.`
      : 'Each cell is one pair of units.');
    const told = read.textContent;
    const one = (matrix, name, words) => {
      const canvas = h('canvas', {role: 'img', 'aria-label':
        `${name} alignment: mean of the diagonal ${number(group[name].mean)}`});
      paint(canvas, matrix, limit, colours);
      canvas.addEventListener('pointermove', e => {
        const at = v => Math.min(size - 1, Math.max(0, Math.floor(v * size)));
        const box = canvas.getBoundingClientRect();
        const i = at((e.clientY - box.top) / box.height), j = at((e.clientX - box.left) / box.width);
        setText(read, `${name}: A ${this.#units(i, block)}, B ${this.#units(j, block)}: ` +
          number(matrix[i][j], 3));
      });
      canvas.addEventListener('pointerleave', () => setText(read, told));
      return h('figure', canvas, h('figcaption', h('b', words),
        ` diagonal ${number(group[name].mean)}`));
    };
    put(this.element,
      h('div.pair', one(before, 'before', 'Before'), one(after, 'after', 'After')),
      this.#legend(limit, colours), read, this.#table(before, after));
  }

  #units(i, block) {
    const first = Math.round(i * block), last = Math.round((i + 1) * block) - 1;
    return first >= last ? `unit ${first}` : `units ${first}\u2013${last}`;
  }

  #legend(limit, colours) {
    const ramp = h('div.ramp');
    ramp.style.background = `linear-gradient(90deg, ${colours.map(c => `rgb(${c})`)})`;
    return h('div.scale', h('span', number(-limit, 2)), ramp,
      h('span', number(limit, 2)), h('span.aside', 'rows: units of A, columns: units of B'));
  }

  #table(before, after) {
    const rows = () => [['before', coarse(before, TABLE_SIZE)], ['after', coarse(after, TABLE_SIZE)]]
      .flatMap(([name, m]) => m.map((row, i) => [`${name} ${i}`, ...row.map(v => number(v, 2))]));
    const n = Math.floor(before.length / Math.ceil(before.length / TABLE_SIZE));
    return dataTable('Correlations in blocks, rows of A by columns of B',
      ['A', ...Array.from({length: n}, (_, j) => `B ${j}`)], rows);
  }

  destroy() {
    removeEventListener('theme', this.repaint);
  }
}
