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
  {id: 'status', label: 'Status', value: m => `${m.status} ${m.problems.map(p => p.detail)}`,
    fill: (td, m) => put(td, h('span.badge', {'data-status': m.status}, m.status),
      m.problems.map(p => h('p.aside', p.detail)))},
  {id: 'architecture', label: 'Architecture', rank: 2, value: m => m.architecture ?? NONE},
  {id: 'shape', label: 'Shape', rank: 2, help: 'layers \u00d7 hidden size, heads', value: m =>
    m.num_layers ? `${m.num_layers} \u00d7 ${m.hidden_size}, ${m.num_heads} heads` : NONE},
  {id: 'vocabulary', label: 'Vocabulary', figure: true, rank: 3, value: m => count(m.vocab_size)},
  {id: 'parameters', label: 'Parameters', figure: true, rank: 2, value: m => count(m.parameters)},
  {id: 'dtype', label: 'Type', rank: 3, value: m => m.dtype ?? NONE},
  {id: 'bytes', label: 'Size', figure: true, value: m => bytes(m.bytes)},
  {id: 'sha256', label: 'SHA-256', rank: 3, value: m => m.sha256,
    fill: (td, m) => put(td, h('code', {title: m.sha256}, digest(m.sha256)))},
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
    const save = async () => {
      await post(this.path, {name: name.value, path: path.value,
        ...(this.one === 'dataset' ? formatOf(path.value) : {})});
      toast(`${this.one} ${name.value} is there`);
      name.value = path.value = '';
      await this.load();
    };
    return h('details', h('summary', 'Import in place'),
      h('p.help', 'A path on the daemon\u2019s machine, below one of its import roots; ',
        'nothing is copied.'),
      h('form.line', {onsubmit: e => {
        e.preventDefault();
        attempt(save);
      }}, h('label', {for: name.id}, 'Name'), name, h('label', {for: path.id}, 'Path'), path,
      h('button', {type: 'submit'}, 'Import')));
  }
}

/* Of an import; uploads ask for the fields. */
function formatOf(path) {
  const format = path.endsWith('.jsonl') ? 'jsonl' : path.endsWith('.tsv') ? 'tsv' : 'text';
  return format === 'text' ? {format} : {format, text: 'text', label: 'label'};
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
