// A new job: the form of the API's description, checked by a dry run as one types.
import {curl, get, list, request} from './api.js';
import {copyButton, h, put, setText, throttle} from './dom.js';
import {bytes, count, duration, plural} from './format.js';
import {Form, resolve} from './form.js';
import {go, link, title} from './router.js';
import {ends} from './several.js';
import {fault} from './shell.js';

/* What most jobs need; all else of the description is under "More". */
const MAIN = new Set(['/name', '/labels', '/models/a', '/models/b', '/align/components',
  '/align/dataset', '/align/max_sequences', '/interpolate/points', '/evaluate/task',
  '/evaluate/dataset', '/outputs/merged']);

/* What jobs often begin with: what stands in align, and what has several values. */
const PRESETS = {
  'the paper': {title: 'Feed-forward units and heads, by permutations', align: {}},
  components: {title: 'A job for each set of parts that is moved', align: {},
    several: {'/align/components': [['ff'], ['ff', 'mha'], ['ff', 'mha', 'residual']]}},
  'with rotation': {title: 'Without and with rotated heads', align: {}, several: {'/align/rotate_heads': [false, true]}},
  learned: {title: 'Maps learned by gradient; where the family allows it, the stream is turned, too',
    align: a => ({learn: {}, ...TURNS.test(a?.architecture ?? '') ? {components: ['ff', 'mha', 'residual'],
      residual_map: 'orthogonal', head_map: 'orthogonal'} : {head_map: 'orthogonal'}})},
};
const TURNS = /CausalLM|LMHead/; // a norm before each sublayer

/* The task that a head is made for. */
const taskOf = architecture => /MaskedLM|ForPreTraining/.test(architecture) ? 'mlm' : TURNS.test(architecture) ? 'clm'
  : /SequenceClassification/.test(architecture) ? 'classification' : undefined;

const MUST_MATCH = {architecture: 'another architecture', num_layers: 'another depth', hidden_size: 'another width',
  num_heads: 'other heads', intermediate_size: 'another width inside', vocab_size: 'another vocabulary'};

/* The description says in words when alignment needs its dataset. */
const alsoRequired = (pointer, form) =>
  pointer === '/align/dataset' && form.effective('/align/components').length > 0;

const randomKey = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map(b => b.toString(16).padStart(2, '0')).join('');

export function mount(element, route) {
  title('New job');
  let form = null;
  let asking = null;
  let tried = false; // to submit: from then on every fault shows

  const verdict = h('p.verdict-line', {role: 'status'});
  const rest = h('ul.rest');
  const figures = h('dl.facts');
  const preview = h('pre.scroll', {tabindex: '0', 'aria-label': 'The request\u2019s body'});
  const button = h('button', {type: 'submit', class: 'primary'}, 'Submit job');
  const presets = h('div.presets', {role: 'group', 'aria-label': 'Presets'}, h('span.aside', 'Begin with'),
    Object.entries(PRESETS).map(([name, p]) => h('button', {title: p.title, onclick: () => begin(p)}, name)));
  const column = h('form.form-column', {novalidate: true, onsubmit: submit});
  let known = new Map(); // models by name
  put(element, h('div.head', h('h1', {tabindex: '-1'}, 'New job')),
    h('div.columns.form-page', column,
      h('aside.panel.estimate', {'aria-label': 'Estimate'}, h('h2', 'Estimate'), verdict,
        rest, figures, h('div.buttons', button),
        h('details', {open: true}, h('summary', 'Request'), preview,
          h('div.buttons', copyButton('Copy as curl', () =>
            form ? curl('POST', wish().path, wish().body) : ''))))));
  button.addEventListener('click', e => submit(e));

  function begin(preset) {
    const body = form.value(), {dataset, max_sequences} = body.align ?? {};
    const a = known.get(form.effective('/models/a'));
    const align = typeof preset.align === 'function' ? preset.align(a) : preset.align;
    form.write({...body, align: {...align, dataset, max_sequences}});
    if (!body.evaluate) form.turn('/evaluate', true);
    for (const [pointer, values] of Object.entries(preset.several ?? {})) form.several(pointer, values);
    form.element.querySelectorAll('.field').forEach(e => e.querySelector('.several[aria-pressed=true]') &&
      e.closest('details')?.setAttribute('open', ''));
    form.turn('/align/learn', Boolean(align.learn));
    check();
  }

  /* What follows from the choice of A. */
  function follow() {
    const a = known.get(form.effective('/models/a'));
    form.restrict('/models/b', name => {
      const b = known.get(name);
      return a && b && Object.keys(MUST_MATCH).filter(key => a[key] !== b[key]).map(key => MUST_MATCH[key])[0];
    });
    if (a && form.effective('/evaluate/task') === undefined) form.suggest('/evaluate/task', taskOf(a.architecture ?? ''));
  }

  /* Several B: a job for each, or all models together. */
  const together = h('select', {hidden: true, 'aria-label': 'With several models B', onchange: () => check()},
    [['', 'a job for each B'], ['one', 'one job of A and all B'], ['pairs', 'a matrix of all pairs']]
      .map(([value, text]) => h('option', {value}, text)));

  /* What is sent: a job, a sweep of them, or a matrix. */
  function wish() {
    const {name, labels, ...spec} = form.value(), grid = form.grid(), others = grid['models.b'];
    const how = others?.length > 1 && Object.keys(grid).length === 1 ? together.value : '';
    const {models, outputs, ...rest} = spec; // what is merged is said of a pair
    if (how === 'one')
      return {path: 'v1/jobs', body: {name, labels, ...rest, models: {anchor: models?.a, others}}};
    if (how === 'pairs')
      return {path: 'v1/jobs/matrix', body: {name, labels, models: [models?.a, ...others].filter(Boolean), spec: rest}};
    return Object.keys(grid).length === 0 ? {path: 'v1/jobs', body: form.value()}
      : {path: 'v1/sweeps', body: {name, labels, spec, grid}};
  }

  const jobsOf = ({grid = {}, models}) => Array.isArray(models) ? models.length * (models.length - 1) / 2
    : Object.values(grid).reduce((n, list) => n * list.length, 1);

  function showFigures(e) {
    put(figures, [['Time', duration(e?.seconds)], ['Peak memory', bytes(e?.peak_bytes)],
      ['Disk', bytes(e?.disk_bytes)]].map(([name, value]) =>
      h('div', h('dt', name), h('dd', h('b', value)))));
  }

  const faultsOf = problem => problem.errors.length > 0 ? problem.errors
    : [{pointer: '', detail: problem.message}];

  function showFaults(faults) {
    const left = form.showFaults(faults, tried);
    // The head is of the other kind of labels: that, unless somebody has chosen.
    if (faults.some(f => f.pointer.endsWith('/evaluate/task')) && form.effective('/evaluate/task') === 'classification')
      form.suggest('/evaluate/task', 'regression');
    if (form.effective('/evaluate/task') !== asked) checkSoon();
    put(rest, left.map(f => h('li', f.detail)));
    verdict.dataset.ok = 'no';
    setText(verdict, `${plural(faults.length, 'thing')} to settle before this can run`);
  }

  /* Nothing to ask the daemon yet. */
  function showMissing(missing) {
    asking?.abort();
    showFigures(null);
    form.showFaults(missing, tried);
    put(rest);
    verdict.dataset.ok = 'no';
    setText(verdict, `Still needed: ${missing.map(f => f.where).join(', ')}.`);
  }

  let asked; // the task of the last dry run

  async function check() {
    asking?.abort();
    const mine = asking = new AbortController();
    follow();
    asked = form.effective('/evaluate/task');
    const {path, body} = wish(), n = jobsOf(body);
    together.hidden = !(form.grid()['models.b']?.length > 1);
    const missing = form.missing();
    setText(button, n > 1 ? `Submit ${n} jobs` : 'Submit job');
    setText(preview, JSON.stringify(body, null, 2));
    if (missing.length > 0) {
      showMissing(missing);
      return;
    }
    try {
      const response = await request('POST', path, {json: body, query: {dry_run: true},
        signal: mine.signal});
      const {estimate} = await response.json();
      if (mine.signal.aborted) return;
      form.showFaults([], tried);
      put(rest);
      showFigures(estimate);
      verdict.dataset.ok = 'yes';
      setText(verdict, n > 1 ? `Everything fits. ${n} jobs are ready to run.` : 'Everything fits. Ready to run.');
    } catch (error) {
      if (error.name === 'AbortError') return;
      showFigures(null);
      if (error.errors) showFaults(faultsOf(error));
      else setText(verdict, error.message);
    }
  }
  const checkSoon = throttle(check, 250);

  async function submit(e) {
    e.preventDefault();
    if (button.disabled || !form) return;
    tried = true;
    const missing = form.missing();
    if (missing.length > 0) {
      showMissing(missing);
      form.focusFault();
      return;
    }
    button.disabled = true;
    try {
      const {path, body} = wish();
      const made = await (await request('POST', path, {json: body,
        headers: {'Idempotency-Key': randomKey()}})).json();
      go(path === 'v1/jobs' ? link('job', made.id) : link('sweeps', made.id));
    } catch (error) {
      if (error.errors) {
        showFaults(faultsOf(error));
        form.focusFault();
      } else setText(verdict, error.message);
    } finally {
      button.disabled = false;
    }
  }

  /* Which members name something of the daemon's, and what there is. */
  function namesOf(models, datasets, jobs) {
    const modelNames = models.map(m => [m.name, m.status === 'ready'
      ? `${m.name} \u00b7 ${m.num_layers} \u00d7 ${m.hidden_size}, ${m.dtype}` : `${m.name} (${m.status})`]);
    const datasetNames = datasets.map(d => [d.name, `${d.name} \u00b7 ${d.format}, ${count(d.rows)} rows`]);
    const jobNames = jobs.map(j => [j.id, `${j.name ?? j.id} \u00b7 ${ends(j.spec.models).a} \u2190 ${ends(j.spec.models).b}`]);
    return pointer => pointer.startsWith('/models/') ? modelNames
      : pointer.endsWith('/dataset') ? datasetNames
        : pointer.endsWith('/from_job') ? jobNames : null;
  }

  async function load() {
    const from = route.params.get('from');
    try {
      const [api, models, datasets, jobs, template] = await Promise.all([
        get('openapi.json'), list('v1/models', {}, 2000), list('v1/datasets', {}, 2000),
        list('v1/jobs', {status: 'succeeded'}, 100), from ? get(`v1/jobs/${from}`) : null]);
      const schema = resolve(api.paths['/v1/jobs'].post.requestBody.content['application/json'].schema,
        api);
      form = new Form(schema, api, {main: MAIN, alsoRequired, changed: checkSoon,
        names: namesOf(models.rows, datasets.rows, jobs.rows)});
      known = new Map(models.rows.map(m => [m.name, m]));
      if (template) form.write({...template.spec, name: template.name, labels: template.labels,
        priority: template.priority});
      else form.suggest('/outputs/merged', [0.5]);
      const ready = models.rows.filter(m => m.status === 'ready');
      const missing = ready.length < 2 || datasets.rows.length === 0;
      put(column, missing && h('p.note', 'A job needs two models and, to align and to ',
        'measure, datasets: ', h('a', {href: '#/data'}, 'upload them'), ' first.'), presets, form.element);
      form.element.querySelector('[data-pointer="/models/b"]')?.append(together);
      await check();
    } catch (error) {
      put(column, fault(error));
    }
  }

  showFigures(null);
  return {ready: load(), leave: () => asking?.abort()};
}
