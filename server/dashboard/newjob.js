// A new job: the form of the API's description, checked by a dry run as one types.
import {curl, get, list, request} from './api.js';
import {copyButton, h, put, setText, throttle} from './dom.js';
import {bytes, count, duration, plural} from './format.js';
import {Form, resolve} from './form.js';
import {go, link, title} from './router.js';
import {fault} from './shell.js';

/* What most jobs need; all else of the description is under "More". */
const MAIN = new Set(['/name', '/labels', '/models/a', '/models/b', '/align/components',
  '/align/dataset', '/align/max_sequences', '/interpolate/points', '/evaluate/task',
  '/evaluate/dataset', '/outputs/merged']);

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
  const column = h('form.form-column', {novalidate: true, onsubmit: submit});
  put(element, h('div.head', h('h1', {tabindex: '-1'}, 'New job')),
    h('div.columns.form-page', column,
      h('aside.panel.estimate', {'aria-label': 'Estimate'}, h('h2', 'Estimate'), verdict,
        rest, figures, h('div.buttons', button),
        h('details', {open: true}, h('summary', 'Request'), preview,
          h('div.buttons', copyButton('Copy as curl', () =>
            curl('POST', 'v1/jobs', form?.value() ?? {})))))));
  button.addEventListener('click', e => submit(e));

  function showFigures(e) {
    put(figures, [['Time', duration(e?.seconds)], ['Peak memory', bytes(e?.peak_bytes)],
      ['Disk', bytes(e?.disk_bytes)]].map(([name, value]) =>
      h('div', h('dt', name), h('dd', h('b', value)))));
  }

  const faultsOf = problem => problem.errors.length > 0 ? problem.errors
    : [{pointer: '', detail: problem.message}];

  function showFaults(faults) {
    const left = form.showFaults(faults, tried);
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

  async function check() {
    asking?.abort();
    const mine = asking = new AbortController();
    const body = form.value();
    const missing = form.missing();
    setText(preview, JSON.stringify(body, null, 2));
    if (missing.length > 0) {
      showMissing(missing);
      return;
    }
    try {
      const response = await request('POST', 'v1/jobs', {json: body, query: {dry_run: true},
        signal: mine.signal});
      const {estimate} = await response.json();
      if (mine.signal.aborted) return;
      form.showFaults([], tried);
      put(rest);
      showFigures(estimate);
      verdict.dataset.ok = 'yes';
      setText(verdict, 'Everything fits. Ready to run.');
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
      const job = await (await request('POST', 'v1/jobs', {json: form.value(),
        headers: {'Idempotency-Key': randomKey()}})).json();
      go(link('job', job.id));
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
    const jobNames = jobs.map(j => [j.id, `${j.name ?? j.id} \u00b7 ${j.spec.models.a} \u2190 ${j.spec.models.b}`]);
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
      if (template) form.write({...template.spec, name: template.name, labels: template.labels,
        priority: template.priority});
      const ready = models.rows.filter(m => m.status === 'ready');
      const missing = ready.length < 2 || datasets.rows.length === 0;
      put(column, missing && h('p.note', 'A job needs two models and, to align and to ',
        'measure, datasets: ', h('a', {href: '#/data'}, 'upload them'), ' first.'), form.element);
      await check();
    } catch (error) {
      put(column, fault(error));
    }
  }

  showFigures(null);
  return {ready: load(), leave: () => asking?.abort()};
}
