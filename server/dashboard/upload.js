// Uploads: files dropped or chosen, one after the other, each with its progress.
import {upload} from './api.js';
import {h, put, setText} from './dom.js';
import {bytes, plural} from './format.js';

const PEEK_BYTES = 65536; // holds the first line, which names the fields

/** What the daemon takes as a name, made from a file's. */
const nameOf = text => text.toLowerCase().replace(/\.[a-z]+$/, '').replace(/[^a-z0-9._-]+/g, '-')
  .replace(/^[^a-z0-9]+/, '').slice(0, 64);

/* All files below dropped entries, folders included. */
async function filesOf(transfer) {
  // Taken at once: after the first await the transfer is empty.
  const items = [...transfer.items].filter(i => i.kind === 'file');
  const entries = items.map(i => i.webkitGetAsEntry()).filter(Boolean);
  const files = entries.length > 0 ? [] : items.map(i => i.getAsFile());
  let folder = '';
  async function walk(entry) {
    if (entry.isFile) {
      files.push(await new Promise((ok, no) => entry.file(ok, no)));
      return;
    }
    folder ||= entry.name;
    const reader = entry.createReader();
    for (;;) {
      const batch = await new Promise((ok, no) => reader.readEntries(ok, no));
      if (batch.length === 0) return;
      for (const one of batch) await walk(one);
    }
  }
  for (const entry of entries) await walk(entry);
  return {files, folder};
}

/** A place to drop files on, with buttons for those who do not. took({files, folder}). */
function dropZone(words, inputs, took) {
  const zone = h('div.drop', h('span', words), inputs);
  const over = on => e => {
    e.preventDefault();
    zone.classList.toggle('over', on);
  };
  zone.addEventListener('dragover', over(true));
  zone.addEventListener('dragleave', over(false));
  zone.addEventListener('drop', async e => {
    over(false)(e);
    took(await filesOf(e.dataTransfer));
  });
  return zone;
}

/** A button that opens the file chooser. */
function chooser(label, props, took) {
  const input = h('input', {type: 'file', class: 'unseen', tabindex: '-1', 'aria-hidden': 'true',
    ...props, onchange: () => {
      const files = [...input.files];
      const folder = files[0]?.webkitRelativePath.split('/')[0] ?? '';
      if (files.length > 0) took({files, folder});
      input.value = '';
    }});
  return [h('button', {onclick: () => input.click()}, label), input];
}

/* One file's line: name, bar, what became of it. */
function line(name, file) {
  const bar = h('div.bar', {role: 'progressbar', 'aria-label': `Upload of ${name}`,
    'aria-valuemin': 0, 'aria-valuemax': 100}, h('div'));
  const words = h('span.aside', bytes(file.size));
  return {
    element: h('li', h('span.file', name), bar, words),
    progress(done) {
      const share = file.size > 0 ? 100 * done / file.size : 100;
      bar.firstChild.style.width = `${share}%`;
      bar.setAttribute('aria-valuenow', Math.round(share));
      setText(words, `${bytes(done)} of ${bytes(file.size)}`);
    },
    end(text, bad = false) {
      setText(words, text);
      words.classList.toggle('fault', bad);
    },
  };
}

/* What both kinds share: chosen files wait for a name, then go one by one. */
class Upload {
  constructor(done, words, inputs) {
    this.done = done;
    this.panel = h('div');
    const took = chosen => this.#choose(chosen);
    this.element = h('div.upload',
      dropZone(words, inputs.map(([label, props]) => chooser(label, props, took)), took), this.panel);
  }

  async #choose({files, folder}) {
    files = files.filter(f => !f.name.startsWith('.'));
    if (files.length === 0) return;
    const fields = await this.fieldsFor(files);
    const name = h('input', {id: `${this.one}-name`, required: true, autocomplete: 'off',
      placeholder: 'a name for it', value: nameOf(folder || await this.proposal(files))});
    const lines = h('ul.uploads');
    const stop = new AbortController();
    const start = h('button', {type: 'submit', class: 'primary'}, `Upload ${plural(files.length, 'file')}`);
    const cancel = h('button', {onclick: () => {
      stop.abort();
      put(this.panel);
    }}, 'Cancel');
    put(this.panel, h('form', {onsubmit: e => {
      e.preventDefault();
      start.disabled = true;
      this.#send(files, name.value, fields, lines, stop.signal, cancel);
    }}, h('div.line', h('label', {for: name.id}, `Name of the ${this.one}`), name,
      fields.element, start, cancel), lines));
    name.focus();
    name.select();
  }

  async #send(files, name, fields, lines, signal, cancel) {
    let bad = 0;
    for (const file of files) {
      const one = line(file.name, file);
      lines.append(one.element);
      try {
        const {path, query} = this.target(name, file, fields);
        const result = await upload(path, query, file, {progress: n => one.progress(n), signal});
        one.progress(file.size);
        one.end(this.verdict(result));
      } catch (error) {
        if (error.name === 'AbortError') break;
        bad++;
        one.end(error.message, true);
      }
    }
    cancel.textContent = 'Close';
    await this.done();
    if (bad === 0 && !signal.aborted) put(this.panel);
  }
}

export class ModelUpload extends Upload {
  one = 'model';

  constructor(done) {
    super(done, 'Drop a checkpoint\u2019s folder here, or its files.',
      [['Choose folder\u2026', {webkitdirectory: true}], ['Choose files\u2026', {multiple: true}]]);
  }

  /* Loose files: what the checkpoint calls itself, if it does; "config" names nothing. */
  async proposal(files) {
    try {
      const config = JSON.parse(await files.find(f => f.name === 'config.json').text());
      return String(config._name_or_path ?? '').split('/').at(-1);
    } catch {
      return '';
    }
  }

  async fieldsFor() {
    return {element: null};
  }

  target(name, file) {
    return {path: `v1/models/${encodeURIComponent(name)}/files/${encodeURIComponent(file.name)}`};
  }

  verdict(model) {
    return `there; the model is ${model.status}`;
  }
}

/** The fields of a dataset by its first line: {format, names}. */
async function peek(file) {
  const format = /\.jsonl$|\.ndjson$/i.test(file.name) ? 'jsonl'
    : /\.tsv$/i.test(file.name) ? 'tsv' : 'text';
  const first = (await file.slice(0, PEEK_BYTES).text()).split('\n')[0];
  if (format === 'tsv') return {format, names: first.trimEnd().split('\t')};
  try {
    return {format, names: format === 'jsonl' ? Object.keys(JSON.parse(first)) : []};
  } catch {
    return {format, names: []}; // the daemon will say what is wrong with the line
  }
}

export class DatasetUpload extends Upload {
  one = 'dataset';

  constructor(done) {
    super(done, 'Drop a text, JSONL or TSV file here.', [['Choose file\u2026',
      {accept: '.txt,.jsonl,.ndjson,.tsv,text/plain'}]]);
  }

  proposal = ([file]) => file.name;

  async fieldsFor([file]) {
    const {format, names} = await peek(file);
    if (format === 'text') return {format, element: null};
    const select = (key, label, guesses) => {
      const chosen = guesses.find(g => names.includes(g)) ?? '';
      const input = h('select', {id: `dataset-${key}`}, ['', ...names].map(n =>
        h('option', {value: n, selected: n === chosen}, n || 'none')));
      return {key, input, element: [h('label', {for: input.id}, label), input]};
    };
    const choices = [select('text', 'Text', ['text', 'sentence', 'sentence1', names[0]]),
      select('text_pair', 'Second text', ['text_pair', 'sentence2']),
      select('label', 'Label', ['label', 'score'])];
    return {format, choices, element: choices.map(c => c.element)};
  }

  target(name, file, {format, choices = []}) {
    const query = {format};
    for (const {key, input} of choices) query[key] = input.value;
    return {path: `v1/datasets/${encodeURIComponent(name)}`, query};
  }

  verdict(dataset) {
    return `there: ${plural(dataset.rows, 'row')}`;
  }
}
