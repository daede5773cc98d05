// One job: its curve as it grows, what alignment found, and what can be done with it.
import {curl, get, hasToken, remove, request, root} from './api.js';
import {BarrierChart} from './charts.js';
import {confirm} from './dialog.js';
import {jobEdit} from './edit.js';
import {copyButton, download, h, put, setText, throttle} from './dom.js';
import * as events from './events.js';
import {method, ranks, verdictOf} from './fields.js';
import {bytes, count, duration, elapsed, jobName, number, percent, plural, plusMinus, shortId, time}
  from './format.js';
import {Heatmap} from './heatmap.js';
import {LearningChart, turns} from './learning.js';
import * as cells from './jobcells.js';
import {headAssignment, Multiples} from './multiples.js';
import {go, link, refine, title} from './router.js';
import {agreement, ends, isSeveral, SeveralChart} from './several.js';
import {attempt, fault, toast} from './shell.js';

const SHAPES = {
  flat: 'flat: no barrier to speak of',
  hump: 'one hump',
  m: 'm: worst towards both ends, better between',
  valley: 'a valley: the middle is better than both ends',
  monotone: 'monotone: from one end to the other',
};

const section = (heading, ...content) =>
  h('section.panel', h('h2', heading), content);

/** Name and value in two columns. */
const facts = pairs => h('dl.facts', pairs.filter(Boolean).map(([name, value, help]) =>
  h('div', h('dt', {title: help}, name), h('dd', value))));

/* ---- parts that are functions of the job ---- */

function phases(job) {
  const all = cells.phasesOf(job), reached = all.indexOf(job.phase);
  return h('ol.phases', {'aria-label': 'Phases'}, all.map((p, i) => {
    const took = job.timings[p];
    const state = job.phase === p ? 'now' : took !== undefined || i < reached ? 'done' : 'ahead';
    return h('li', {'data-state': state, 'aria-current': state === 'now' ? 'step' : null},
      h('span', p), h('span.aside', took === undefined ? '' : duration(took)));
  }));
}

const times100 = x => (typeof x === 'number' ? 100 * x : null);

/* The headline: what the merge is worth. */
function sentence(job) {
  const words = verdictOf(job);
  return words && h('p.sentence', {'data-verdict': cells.toneOf(job)}, job.summary.verdict?.sentence ??
    'Moved B is not the same function as B, so its curve says nothing about merging A and B.');
}

function results(job, barrier) {
  const s = job.summary, b = barrier?.aligned.barrier, c = barrier?.control?.barrier;
  const once = barrier?.folded_control, folded = once?.curve?.barrier ?? (once && {chord: once.barrier, chord_lambda: once.lambda});
  const at = (x, l, error) => [h('b', plusMinus(x, error)),
    l === undefined ? '' : h('span.aside', ` at \u03bb ${number(l, 2)}`)];
  const headline = s.reduction !== null && ranks(job)
    ? [percent(Math.abs(s.reduction), 1), (s.reduction < 0 ? 'higher than the control\u2019s barrier'
      : 'of the control\u2019s barrier is gone') + (typeof s.reduction_standard_error === 'number'
      ? `, \u00b1 ${number(100 * s.reduction_standard_error, 1)}` : '')]
    : s.barrier_mean !== null ? [number(s.barrier_mean), 'barrier over the mean of both ends']
      : ['\u2013', cells.isOver(job) ? 'no barrier was measured' : 'known when the curve is whole'];
  return [
    h('div', {class: `headline${ranks(job) ? '' : ' void'}`}, h('span.big', headline[0]), h('span', headline[1])),
    facts([
      ['Barrier over mean', at(s.barrier_mean, b?.mean_lambda, b?.mean_standard_error),
        'max L(\u03bb) \u2212 \u00bd(L(0) + L(1))'],
      ['\u2026 of the control', at(s.control_barrier_mean, c?.mean_lambda, c?.mean_standard_error)],
      ['Barrier over chord', at(s.barrier_chord, b?.chord_lambda, b?.chord_standard_error),
        'max over the straight line'],
      ['\u2026 of the control', at(s.control_barrier_chord, c?.chord_lambda, c?.chord_standard_error)],
      ...(folded ? [['\u2026 folded, not aligned', at(folded.chord, folded.chord_lambda, folded.chord_standard_error),
        'norms folded, then averaged']] : []),
      ['Reduction', [h('b', plusMinus(times100(s.reduction), times100(s.reduction_standard_error), 1)),
        s.reduction === null ? '' : h('span.aside', ' %')]],
      ['Shape', SHAPES[barrier?.aligned.shape] ?? '\u2013'],
    ]),
  ];
}

function certificate({certificate: c}) {
  if (!c) return h('p.note', 'Nothing was moved, so there is nothing to certify.');
  const near = c.kind === 'near';
  const words = near ? 'Moved B is near B, not the same function.'
    : c.equivalent ? 'Moved B computes the same function as B.'
    : c.expected === false ? 'Moved B computes another function, as these options make it.'
      : 'Moved B does not compute the same function as B.';
  return h('div.certificate', {'data-verdict': near ? 'near' : c.equivalent ? 'same'
    : c.expected === false ? 'expected' : 'differs'},
  h('p', h('b', words)),
  facts([
    ...near ? [['KL(B \u2016 moved B)', c.kl?.toFixed(4) ?? '\u2013'],
      ['Same first choice', c.top1_agreement === null ? '\u2013' : `${times100(c.top1_agreement).toFixed(1)} %`],
      ['B\u2019s loss, moved', c.loss_before === null ? '\u2013'
        : `${c.loss_before.toFixed(4)} \u2192 ${c.loss_after.toFixed(4)}`]] : [],
    ['Largest logit difference', c.max_abs_logit_difference.toExponential(1)],
    ['Tolerance', c.tolerance.toExponential(0)],
    ['Probed on', plural(c.sequences, 'sequence')],
  ]));
}

function timings(job) {
  const entries = Object.entries(job.timings);
  const most = Math.max(...entries.map(e => e[1]), 1e-9);
  const bar = s => {
    const inner = h('div');
    inner.style.width = `${100 * s / most}%`;
    return h('div.bar', {'aria-hidden': 'true'}, inner);
  };
  return h('table.timings', h('caption.unseen', 'Seconds in each phase'),
    h('tbody', entries.map(([phase, s]) => h('tr', h('th', {scope: 'row'}, phase),
      h('td.wide', bar(s)), h('td.figure', duration(s))))));
}

function about(job) {
  return facts([
    ['Created', time(job.created_at)],
    ['Started', time(job.started_at)],
    ['Finished', time(job.finished_at)],
    job.started_at && ['Took', duration(elapsed(job.started_at, job.finished_at))],
    job.attempt > 1 && ['Attempt', String(job.attempt)],
    job.submitted_by && ['Submitted by', job.submitted_by],
    job.group && ['Sweep', h('a', {href: link('sweeps', job.group)}, shortId(job.group))],
    job.priority !== 0 && ['Priority', number(job.priority, 0)],
    job.peak_bytes && ['Peak memory', bytes(job.peak_bytes)],
    job.retry_of && ['Retry of', h('a', {href: link('job', job.retry_of)}, shortId(job.retry_of))],
    ...job.inputs.map(i => [i.role.replaceAll('_', ' '), [i.name, i.sha256
      ? h('code.aside', {title: i.sha256}, ` ${i.sha256.slice(0, 8)}`) : '']]),
  ]);
}

/* Checkpoints that are no points of the curve, from merge.json: what they are, and their losses. */
function made({merged}) {
  const loss = (m, name) => (typeof m.made?.loss?.[name] === 'number'
    ? plusMinus(m.made.loss[name], m.made.standard_error[name]) : '\u2013');
  const figures = (m, part, ...names) => names.map(n => number(m.made?.[part]?.[n] ?? null)).join(' \u2192 ');
  return [
    h('p.note', 'Solved for by least squares, or trained towards the mean of the parents\u2019 logits: no points of the ',
      'path that the curve shows, and no parent\u2019s function. Parts: squared error of the maps\u2019 outputs, in ',
      'parts of the outputs. KL: from the parents\u2019 mean, on text held out.'),
    h('table', h('caption.unseen', 'Merged checkpoints'),
      h('thead', h('tr', ['Checkpoint', 'Loss of the sum', 'Solved', 'Trained', 'Parts', 'KL'].map(t =>
        h('th', {scope: 'col'}, t)))),
      h('tbody', merged.map(m => h('tr', h('th', {scope: 'row'}, m.file),
        [loss(m, 'linear'), loss(m, 'least_squares'), loss(m, 'finetune'), figures(m, 'fit', 'mean', 'solved'),
          figures(m, 'finetune', 'held_distance_before', 'held_distance_after')].map(t => h('td.figure', t)))))),
  ];
}

/* A token travels only in a header, so a plain link does where there is none. */
function artifacts(job) {
  if (job.artifacts.length === 0)
    return h('p.note', cells.isOver(job) ? 'None.' : 'They come with the end of the job.');
  const path = a => `v1/jobs/${job.id}/artifacts/${a.name.split('/').map(encodeURIComponent).join('/')}`;
  const save = async a => download(a.name, await (await request('GET', path(a),
    {headers: {Accept: '*/*'}})).blob());
  return h('table.artifacts', h('caption.unseen', 'Artifacts'),
    h('tbody', job.artifacts.map(a => h('tr',
      h('th', {scope: 'row'}, hasToken()
        ? h('button.plain', {onclick: () => attempt(() => save(a))}, a.name)
        : h('a', {href: new URL(path(a), root), download: a.name}, a.name)),
      h('td.figure', bytes(a.bytes)),
      h('td.figure', copyButton('curl', () => `${curl('GET', path(a))} -o ${a.name}`))))));
}

const spec = job => [
  h('div.buttons', copyButton('Copy as curl', () => curl('POST', 'v1/jobs', job.spec)),
    copyButton('Copy as JSON', () => JSON.stringify(job.spec, null, 2)),
    h('a.button', {href: link('new', '', {from: job.id})}, 'New job like this')),
  h('pre.scroll', {tabindex: '0', 'aria-label': 'Spec'}, JSON.stringify(job.spec, null, 2)),
];

/* ---- the view ---- */

export function mount(element, route) {
  const id = route.id;
  let job = null;
  let barrier = null;
  let chart = null;
  let aligned = false; // permutations and correlations are shown
  let reading = new AbortController(); // ends what this page still asks for
  const read = (path, query) => get(`v1/jobs/${id}${path}`, query, {signal: reading.signal});
  let group = route.params.get('group');
  const heat = new Heatmap();
  const stops = [];
  title('Job');

  /* -- the page, once the job is known -- */

  const parts = Object.fromEntries(['head', 'verdict', 'fault', 'phases', 'progress', 'unit', 'results', 'chart',
    'alignment', 'certificate', 'timings', 'about', 'artifacts', 'spec'].map(n => [n, h('div')]));
  const heading = h('h1', {tabindex: '-1'});
  const alignment = h('div', {hidden: true}, parts.alignment);

  let learned = []; // the curve of each model that is moved
  const maps = h('section.panel', {hidden: true});
  const merges = h('section.panel', {hidden: true});
  const triangles = h('section.panel', {hidden: true});

  function build() {
    learned = (isSeveral(job.spec.models) ? job.spec.models.others : [null]).map(name =>
      ({chart: new LearningChart(), query: name ? `?model=${encodeURIComponent(name)}` : '', name}));
    for (const {chart} of learned) put(chart.words, 'The training curve grows here once the maps are matched.');
    put(element, parts.head, parts.verdict, parts.fault, parts.phases, parts.progress, parts.unit,
      h('div.columns',
        h('section.panel.main', h('h2', 'Loss along the path'), parts.chart),
        h('section.panel.side', h('h2', 'Barrier'), parts.results,
          h('h2.next', 'Certificate'), parts.certificate)),
      job.spec.align?.learn && section('Learning',
        ...learned.flatMap(({chart, name}) => [name && h('h3', name), chart.element])),
      alignment, triangles, maps, merges,
      h('div.columns.three',
        section('Timings', parts.timings),
        section('About', parts.about),
        section('Artifacts', parts.artifacts)),
      section('Spec', parts.spec));
    put(parts.spec, spec(job));
    put(parts.certificate, h('p.note', 'Not yet.'));
    if (job.spec.evaluate) {
      chart = isSeveral(job.spec.models) ? new SeveralChart(job.spec.models)
        : new BarrierChart(ends(job.spec.models));
      put(parts.chart, chart.element);
    } else put(parts.chart, h('p.note', 'The spec has no evaluation, so there is no curve.'));
  }

  /* Fills a part anew only if what it depends on is another: focus stays where it is. */
  function fill(name, depends, content) {
    const key = JSON.stringify(depends);
    if (parts[name].dataset.shows === key) return;
    parts[name].dataset.shows = key;
    put(parts[name], content());
  }

  /* The latest of what a cluster says of the job's units: why it waits, what was tried again. */
  function note({unit, text}) {
    put(parts.unit, h('p.note', `${unit}: ${text}`));
  }

  async function notes() {
    const {data} = await read('/events', {limit: 500});
    const last = data.findLast(event => event.type === 'note');
    if (last) note(last.data);
  }

  function show() {
    if (element.firstChild !== parts.head) build();
    title(jobName(job));
    setText(heading, jobName(job));
    fill('head', [job.status, job.labels, job.name], () => [
      h('div.head', cells.badge(job.status), heading, edit('Rename', 'name', heading),
        actions()),
      h('p.under.method', method(job.spec)),
      h('div.under', cells.models(job), ' ', labelLine(), h('code.id', job.id), copyButton('Copy id', job.id),
        noteLine())]);
    fill('fault', [job.error], () => job.error && h('div.fault', {role: 'alert'},
      h('b', job.error.title), h('p', job.error.detail), h('p', job.error.remedy)));
    put(parts.phases, phases(job));
    cells.progress(parts.progress, {...job, error: null, status: job.status === 'failed' ? 'canceled'
      : job.status});
    put(parts.results, results(job, barrier));
    put(parts.timings, timings(job));
    put(parts.about, about(job));
    fill('artifacts', [job.status, job.artifacts], () => artifacts(job));
    chart?.explain(emptyWords());
    put(parts.verdict, sentence(job));
    parts.chart.setAttribute('aria-busy', String(!cells.isOver(job)));
  }

  /* Why there is no point yet. */
  const emptyWords = () => cells.isOver(job) ? `No point was measured before the job ${job.status === 'failed'
    ? 'failed' : 'ended'}.` : job.status === 'queued' ? 'The job waits for its turn; its curve will grow here.'
    : 'No point is measured yet; the curve grows here once the models are aligned.';

  function actions() {
    const act = (label, f, kind = '') => h('button', {class: kind,
      onclick: () => attempt(f)}, label);
    return h('div.buttons',
      job.spec.evaluate && h('a.button', {href: link('compare', '', {job: id})}, 'Compare'),
      cells.isOver(job) ? [act('Retry', retry), act('Delete', drop, 'danger')]
        : act(job.status === 'canceling' ? 'Canceling\u2026' : 'Cancel', cancel, 'danger'));
  }

  /* -- name, labels and note, in place -- */

  const edit = (label, what, shown) => jobEdit(label, what, shown, () => job, next => {
    job = next;
    show();
  });

  function labelLine() {
    const labels = h('span.labels', cells.labels(job));
    return [labels, edit('Edit labels', 'labels', labels)];
  }

  function noteLine() {
    const note = job.labels[cells.NOTE], words = h('span', note ?? '');
    return h('span.remark', words, edit(note ? 'Edit note' : 'Add a note', 'note', words));
  }

  async function cancel() {
    job = await (await request('POST', `v1/jobs/${id}/cancel`)).json();
    show();
  }

  async function retry() {
    const next = await (await request('POST', `v1/jobs/${id}/retry`)).json();
    toast('Submitted again');
    go(link('job', next.id));
  }

  async function drop() {
    if (!(await confirm('Delete this job?', 'Its curve and artifacts are removed for good.', 'Delete')))
      return;
    reading.abort(); // what is still asked for would not be found
    try {
      await remove(`v1/jobs/${id}`);
    } catch (error) {
      reading = new AbortController();
      load();
      throw error;
    }
    go('#/jobs');
  }

  /* -- what alignment found -- */

  const fullGroups = new Map();
  const loadGroup = name => {
    if (!fullGroups.has(name)) {
      const asked = read(`/correlations/${encodeURIComponent(name)}`, {matrix: true});
      asked.catch(() => fullGroups.delete(name)); // asked for again when it is wanted again
      fullGroups.set(name, asked);
    }
    return fullGroups.get(name);
  };

  const multiples = new Multiples(loadGroup, chooseGroup);

  async function chooseGroup(name) {
    group = name;
    multiples.mark(name);
    refine({group: name});
    setText(heatHeading, `Correlation matrix of ${name}`);
    await attempt(async () => heat.show(await loadGroup(name)));
  }
  const heatHeading = h('h2', 'Correlation matrix');

  async function loadAlignment() {
    if (aligned) return;
    aligned = true;
    try {
      const [permutations, correlations] = await Promise.all([
        read('/permutations'), read('/correlations')]);
      put(parts.certificate, certificate(permutations));
      if (correlations.groups.length === 0) return;
      multiples.show(correlations);
      const heads = headAssignment(permutations);
      put(parts.alignment,
        section('Matched correlations', h('p.note', `${count(correlations.tokens)} samples. `,
          'How strongly each unit of A correlates with the unit of B at its place, before and after ',
          'matching. Choose a group for its matrix.'), multiples.element),
        h('div.columns.even', h('section.panel', heatHeading, heat.element),
          heads && section('Head assignment', heads)));
      alignment.hidden = false;
      const names = correlations.groups.map(g => g.name);
      const first = names.includes(group) ? group : names[0];
      multiples.mark(first);
      setText(heatHeading, `Correlation matrix of ${first}`);
      heat.show(await loadGroup(first));
    } catch {
      aligned = false; // the next event or resync tries again
    }
  }

  /* A point comes every 25 steps: progress is when to look. */
  const loadLearning = throttle(async () => {
    try {
      for (const {chart, query} of learned) chart.show(await read(`/learning${query}`));
    } catch {
      // not begun, or gone: the next progress tries again
    }
  }, 700);

  async function loadMaps() {
    const turned = job.spec.align?.residual_map === 'orthogonal' || job.spec.align?.head_map === 'orthogonal' ||
      job.spec.align?.rotate_heads || job.spec.align?.learn;
    if (!turned || maps.firstChild) return;
    put(maps, h('h2', 'Turned by'), h('p.note', 'Finding the angles\u2026'));
    try {
      const found = await turns(`v1/jobs/${id}/artifacts/alignment.safetensors`);
      if (found) put(maps, h('h2', 'Turned by'), found);
      maps.hidden = !found;
    } catch {
      put(maps);
    }
  }

  async function loadMerge() {
    if (merges.firstChild || !job.artifacts.some(a => a.name === 'merge.json')) return;
    put(merges, h('h2', 'Merged checkpoints'), made(await read('/artifacts/merge.json')));
    merges.hidden = false;
  }

  async function loadAgreement() {
    if (triangles.firstChild || !job.artifacts.some(a => a.name === 'reference.json')) return;
    try {
      const found = agreement(await read('/artifacts/reference.json'));
      put(triangles, found && [h('h2', 'Agreement around triangles'), found]);
      triangles.hidden = !found;
    } catch {
      // gone: the next event or resync tries again
    }
  }

  const isAligned = () => job.artifacts.some(a => a.name === 'alignment.safetensors');

  /* -- loading -- */

  async function load() {
    try {
      const next = await read('');
      if (job && next.version < job.version) return;
      job = next;
      barrier = job.spec.evaluate && job.status !== 'queued' ? await read('/barrier') : null;
      show();
      if (barrier) chart.load(barrier);
      if (job.spec.executor === 'slurm') await notes();
      if (job.spec.align?.learn && job.status !== 'queued') loadLearning();
      if (cells.makes(job)) loadMerge();
      if (isSeveral(job.spec.models)) loadAgreement();
      if (isAligned()) {
        loadAlignment();
        loadMaps();
      } else if (cells.isOver(job))
        put(parts.certificate, h('p.note', 'None: the job was not aligned.'));
    } catch (error) {
      if (job === null && error.name !== 'AbortError')
        put(element, h('h1', {tabindex: '-1'}, 'Job'), fault(error),
          h('p', h('a', {href: '#/jobs'}, 'All jobs')));
    }
  }

  const soon = throttle(load, 300);
  const mine = f => event => {
    if (event.job === id && job !== null) f(event.data);
  };
  stops.push(
    events.listen('resync', load),
    events.listen('status', mine(load)),
    // What stands for lambda of several models is not where its point stands among those known.
    events.listen('point', mine(data => (isSeveral(job.spec.models) ? soon() : chart?.add(data)))),
    events.listen('note', mine(note)),
    events.listen('progress', mine(({phase, ...progress}) => {
      if (job.status !== 'running') return;
      if (phase !== job.phase) put(parts.phases, phases({...job, phase}));
      job = {...job, phase, progress};
      cells.progress(parts.progress, job);
      if (phase === 'learning') loadLearning();
    })),
  );
  parts.progress.className = 'progress';

  return {
    ready: load(),
    leave() {
      reading.abort();
      stops.forEach(stop => stop());
      chart?.destroy();
      learned.forEach(({chart}) => chart.destroy());
      heat.destroy();
      multiples.destroy();
    },
  };
}
