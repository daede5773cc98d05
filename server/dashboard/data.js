// Models and datasets: what there is, uploads by drag and drop, imports in place.
import {list, post, remove} from './api.js';
import {confirm} from './dialog.js';
import {h, put, setText} from './dom.js';
import * as events from './events.js';
import {bytes, count, NONE, time} from './format.js';
import {link, title} from './router.js';
import {attempt, toast} from './shell.js';
import {Table} from './table.js';
import {DatasetUpload, ModelUpload} from './upload.js';

const digest = sha256 => (sha256 ? sha256.slice(0, 8) : NONE);

const MODEL_COLUMNS = [
  {id: 'name', label: 'Name', value: m => m.name, fill: (td, m) => put(td, h('b', m.name))},
  {id: 'status', label: 'Status', value: m => `${m.status} ${m.note} ${m.problems.map(p => p.detail)}`,
    fill: (td, m) => put(td, h('span.badge', {'data-status': m.status}, m.status),
      m.problems.map(p => h('p.aside', p.detail)), m.note && h('p.aside', m.note))},
  {id: 'architecture', label: 'Architecture', rank: 2, value: m => m.architecture ?? NONE},
  {id: 'shape', label: 'Shape', rank: 2, help: 'layers \u00d7 hidden size, heads', value: m =>
    m.num_layers ? `${m.num_layers} \u00d7 ${m.hidden_size}, ${m.num_heads} heads` : NONE},
  {id: 'vocabulary', label: 'Vocabulary', figure: true, rank: 3, value: m => count(m.vocab_size)},
  {id: 'parameters', label: 'Parameters', figure: true, rank: 2, value: m => count(m.parameters)},
  {id: 'dtype', label: 'Type', rank: 3, value: m => m.dtype ?? NONE},
  {id: 'bytes', label: 'Size', figure: true, value: m => bytes(m.bytes)},
  {id: 'sha256', label: 'SHA-256', rank: 3, value: m => m.sha256,
    fill: (td, m) => put(td, h('code', {title: m.sha256}, digest(m.sha256)))},
  {id: 'source', label: 'Source', rank: 3, value: m => m.source ?? NONE,
    fill: (td, m) => put(td, h('span', {title: m.source}, (m.source ?? NONE).replace(/@([0-9a-f]{7})[0-9a-f]+$/, '@$1')))},
  {id: 'created', label: 'Added', figure: true, rank: 3, value: m => time(m.created_at)},
];

const fieldText = ({fields: f}) => [f.text, f.text_pair, f.label && `label ${f.label}`]
  .filter(Boolean).join(', ') || NONE;

const DATASET_COLUMNS = [
  {id: 'name', label: 'Name', value: d => d.name, fill: (td, d) => put(td, h('b', d.name))},
  {id: 'format', label: 'Format', value: d => d.format},
  {id: 'fields', label: 'Fields', rank: 2, value: fieldText},
  {id: 'rows', label: 'Rows', figure: true, value: d => count(d.rows)},
  {id: 'bytes', label: 'Size', figure: true, value: d => bytes(d.bytes)},
  {id: 'sha256', label: 'SHA-256', rank: 3, value: d => d.sha256,
    fill: (td, d) => put(td, h('code', {title: d.sha256}, digest(d.sha256)))},
  {id: 'created', label: 'Added', figure: true, rank: 3, value: d => time(d.created_at)},
];

/* One registry: its table, its uploads, its import by path. */
class Registry {
  /** path: "v1/models"; one: "model". */
  constructor({path, one, heading, columns, uploader, jobs, emptyWords}) {
    Object.assign(this, {path, one, jobs, emptyWords});
    const act = {id: 'actions', label: '', value: r => r.name, fill: (td, r) => put(td,
      jobs && h('a.button.quiet', {href: link('jobs', '', {model: r.name})}, 'Jobs'),
      h('button.quiet', {'aria-label': `Delete ${r.name}`,
        onclick: () => attempt(() => this.#drop(r))}, 'Delete'))};
    this.table = new Table({caption: heading, columns: [...columns, act], key: r => r.name});
    this.empty = h('p.empty');
    this.upload = new uploader(() => this.load());
    this.element = h('section.panel', h('h2', heading), this.table.element, this.empty,
      this.upload.element, this.#import());
  }

  async load() {
    const {rows} = await list(this.path, {}, 2000);
    this.table.set(rows);
    this.table.element.hidden = rows.length === 0;
    setText(this.empty, rows.length === 0 ? this.emptyWords : '');
  }

  async #drop(r) {
    if (!(await confirm(`Delete ${this.one} ${r.name}?`,
      'Files that were uploaded are removed; files that were imported in place stay where they are.',
      'Delete'))) return;
    await remove(`${this.path}/${encodeURIComponent(r.name)}`);
    await this.load();
  }

  #import() {
    const id = `import-${this.one}`;
    const name = h('input', {id: `${id}-name`, required: true, class: 'short', autocomplete: 'off'});
    const path = h('input', {id: `${id}-path`, required: true, placeholder: '/srv/\u2026',
      autocomplete: 'off', spellcheck: 'false'});
    const fields = this.one === 'dataset' && new ImportFields(id, path);
    const save = async () => {
      try {
        await post(this.path, {name: name.value, path: path.value, ...(fields ? fields.read() : {})});
      } catch (error) {
        fields && fields.learn(error.message);
        throw error;
      }
      toast(`${this.one} ${name.value} is there`);
      name.value = path.value = '';
      fields && fields.show();
      await this.load();
    };
    return h('details', h('summary', 'Import in place'),
      h('p.help', 'A path on the daemon\u2019s machine, below one of its import roots; ',
        'nothing is copied.'),
      h('form.line', {onsubmit: e => {
        e.preventDefault();
        attempt(save);
      }}, h('label', {for: name.id}, 'Name'), name, h('label', {for: path.id}, 'Path'), path,
      fields && fields.element, h('button', {type: 'submit'}, 'Import')));
  }
}

/* Which fields of a JSONL or TSV file are read. Only the daemon can look into the file: when a field is
 * not there it names those that are, and they are offered from then on. */
class ImportFields {
  constructor(id, path) {
    const names = h('datalist', {id: `${id}-names`});
    const field = (key, label, value = '') => {
      const input = h('input', {id: `${id}-${key}`, class: 'short', list: names.id, value, autocomplete: 'off'});
      return {key, input, element: [h('label', {for: input.id}, label), input]};
    };
    this.names = names;
    this.path = path;
    this.fields = [field('text', 'Text field', 'text'), field('text_pair', 'Second text field'),
      field('label', 'Label field')];
    this.element = h('span.line');
    path.addEventListener('input', () => this.show());
    this.show();
  }

  #format() {
    return /\.(jsonl|ndjson)$/i.test(this.path.value) ? 'jsonl' : /\.tsv$/i.test(this.path.value) ? 'tsv' : 'text';
  }

  show() {
    const asked = this.#format() !== 'text';
    this.element.hidden = !asked;
    if (!asked) put(this.element);
    else if (!this.element.firstChild) put(this.element, this.fields.map(f => f.element), this.names);
  }

  read() {
    const format = this.#format();
    return format === 'text' ? {format} : {format, ...Object.fromEntries(this.fields
      .filter(f => f.input.value.trim()).map(f => [f.key, f.input.value.trim()]))};
  }

  /** "\u2026 the members are 'sentence', 'label'". */
  learn(words) {
    const found = [...(words.split(/ are /)[1] ?? '').matchAll(/'([^']+)'/g)].map(m => m[1]);
    if (found.length > 0) put(this.names, found.map(value => h('option', {value})));
  }
}

export function mount(element) {
  title('Models & data');
  const models = new Registry({path: 'v1/models', one: 'model', heading: 'Models', jobs: true,
    columns: MODEL_COLUMNS, uploader: ModelUpload,
    emptyWords: 'No models yet. Two checkpoints of one architecture make a pair.'});
  const datasets = new Registry({path: 'v1/datasets', one: 'dataset', heading: 'Datasets',
    columns: DATASET_COLUMNS, uploader: DatasetUpload,
    emptyWords: 'No datasets yet. Text to align on, and held-out text to measure on.'});
  put(element, h('div.head', h('h1', {tabindex: '-1'}, 'Models & data')),
    models.element, datasets.element);
  const load = () => attempt(() => Promise.all([models.load(), datasets.load()]));
  const stop = events.listen('resync', load);
  return {ready: load(), leave: stop};
}
