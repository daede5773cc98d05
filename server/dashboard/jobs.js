// The list of jobs, live.
import {get, Gone, hasToken, remove, request} from './api.js';
import {confirm} from './dialog.js';
import {h, put, say, setText, throttle} from './dom.js';
import {jobEdit} from './edit.js';
import * as events from './events.js';
import {differences, fieldColumn, isField, labelKeys, passes, termOf, verdictOf, VERDICTS, verdictWords} from './fields.js';
import {bytes, duration, elapsed, jobName, NONE, plural, time} from './format.js';
import * as cells from './jobcells.js';
import {go, link, refine, title} from './router.js';
import {modelsOf, placesOf} from './several.js';
import {attempt, fault, toast} from './shell.js';
import {compare, Table} from './table.js';
import {welcome} from './welcome.js';

const PAGE = 100;
const CURVES_AT_ONCE = 50;
const SOUGHT_MOST = 1000; // jobs that are loaded to be filtered here

const COLUMNS = [
  {id: 'status', label: 'Status', help: 'With phase, progress and the time left',
    value: j => `${j.status} ${j.progress.fraction} ${cells.progressText(j)}`,
    order: j => cells.STATUSES.indexOf(j.status), fill: cells.state},
  {id: 'name', label: 'Name', value: j => j.name, order: jobName,
    fill: (td, j) => put(td, cells.nameLink(j))},
  {id: 'models', label: 'Models', rank: 2, help: 'A, and B which is moved onto it',
    value: j => modelsOf(j.spec.models).join(' '),
    order: j => modelsOf(j.spec.models).join(' '), fill: (td, j) => {
      put(td, cells.models(j));
      td.title = td.textContent;
    }},
  {id: 'curve', label: 'Loss', rank: 2,
    help: 'Loss along the path: aligned, and the control; one scale for all jobs on the same text',
    value: j => `${curveKey(j)} ${scales.get(scaleKey(j))}`,
    fill: (td, j) => put(td, cells.sparkline(curves.get(j.id), scales.get(scaleKey(j))))},
  {id: 'verdict', label: 'Verdict', rank: 2, help: 'What the best point between both models is worth',
    value: verdictWords, order: j => verdictOf(j) ? VERDICTS.indexOf(verdictOf(j)) : null, fill: cells.verdict},
  cells.figureColumn('barrier', {help: 'Loss barrier over the mean of both ends'}),
  cells.figureColumn('control', {rank: 4, help: 'The same without alignment'}),
  cells.figureColumn('reduction', {rank: 2, help: '1 \u2212 barrier / control'}),
  cells.figureColumn('chord', {extra: true, help: 'Loss barrier over the straight line between both ends'}),
  cells.figureColumn('best', {extra: true, help: 'The least loss between both models'}),
  {id: 'certificate', label: 'Certificate', extra: true,
    help: 'Is moved B the same function as B?',
    value: j => ({exact: 'same', near: 'near', different: 'differs'})[j.summary.kind] ?? ''},
  {id: 'labels', label: 'Labels', rank: 3, value: j => JSON.stringify(j.labels),
    order: j => Object.entries(j.labels).map(cells.labelText).join(' '),
    fill: (td, j) => {
      put(td, cells.labels(j));
      td.title = Object.entries(j.labels).map(cells.labelText).join('\n');
    }},
  {id: 'who', label: 'Submitted by', extra: true, value: j => j.submitted_by ?? NONE, order: j => j.submitted_by},
  {id: 'priority', label: 'Priority', figure: true, extra: true, value: j => j.priority,
    order: j => j.priority, server: 'priority'},
  {id: 'created', label: 'Created', rank: 3, figure: true, value: j => time(j.created_at),
    order: j => Date.parse(j.created_at), server: 'created_at'},
  {id: 'updated', label: 'Updated', figure: true, extra: true, value: j => time(j.updated_at),
    order: j => Date.parse(j.updated_at), server: 'updated_at'},
  {id: 'took', label: 'Took', rank: 4, figure: true, help: 'From start to end',
    value: j => duration(j.finished_at ? elapsed(j.started_at, j.finished_at) : NaN),
    order: j => elapsed(j.started_at, j.finished_at)},
  {id: 'memory', label: 'Memory', figure: true, extra: true, help: 'Peak of the job',
    value: j => bytes(j.peak_bytes), order: j => j.peak_bytes},
];
const column = id => COLUMNS.find(c => c.id === id) ?? (isField(id) ? fieldColumn(id) : undefined);
const USUAL = COLUMNS.filter(c => !c.extra).map(c => c.id);

/* What outlives a visit to another view. */
const selected = new Set();
let me; // whose the token is
const curves = new Map(); // job id -> {aligned, control, complete}
export const known = new Map(); // job id -> job, for the comparison too
const scales = new Map(); // what is measured -> [low, high] of the curves in the list

function curveKey(job) {
  const c = curves.get(job.id);
  return c ? `${c.aligned.size} ${c.control.size}` : '';
}

/* Losses on one text by one task can be held against each other, others not. */
const scaleKey = ({spec: {evaluate: e}}) => `${e?.task} ${e?.dataset}`;

/* Makes room for a job's losses in its scale; says whether it had to grow. */
function stretch(job) {
  const c = curves.get(job.id);
  if (!c) return false;
  const ys = [...c.aligned.values(), ...c.control.values()];
  const [low, high] = scales.get(scaleKey(job)) ?? [Infinity, -Infinity];
  const next = [Math.min(low, ...ys), Math.max(high, ...ys)];
  if (next[0] === low && next[1] === high) return false;
  scales.set(scaleKey(job), next);
  return true;
}

/* ---- filters: URL <-> search box ---- */

function filtersOf(params) {
  const sort = params.get('sort') ?? '-created';
  return {
    status: params.getAll('status'),
    label: params.getAll('label'),
    model: params.get('model') ?? '',
    sweep: params.get('sweep') ?? '',
    mine: params.has('mine'),
    where: params.getAll('where').filter(termOf),
    words: params.get('q') ?? '',
    by: sort.replace(/^-/, ''),
    down: sort.startsWith('-'),
    columns: params.get('columns')?.split(',').filter(column) ?? USUAL,
  };
}

function paramsOf(f) {
  const params = new URLSearchParams();
  for (const s of f.status) params.append('status', s);
  for (const l of f.label) params.append('label', l);
  for (const w of f.where) params.append('where', w);
  params.set('model', f.model);
  params.set('sweep', f.sweep);
  params.set('mine', f.mine ? '1' : '');
  params.set('q', f.words);
  const sort = `${f.down ? '-' : ''}${f.by}`;
  if (sort !== '-created') params.set('sort', sort);
  if (f.columns.join() !== USUAL.join()) params.set('columns', f.columns.join());
  return params;
}

const searchText = f =>
  [...f.label, ...f.where, f.model && `model:${f.model}`, f.sweep && `sweep:${f.sweep}`, f.words].filter(Boolean).join(' ');

function readSearch(text) {
  const result = {label: [], model: '', sweep: '', where: [], words: []};
  for (const word of text.split(/\s+/).filter(Boolean)) {
    if (word.startsWith('model:')) result.model = word.slice(6);
    else if (/^sweep:grp_/.test(word)) result.sweep = word.slice(6);
    else if (termOf(word)) result.where.push(word);
    else if (/^[a-z0-9][a-z0-9._-]*:./.test(word)) result.label.push(word);
    else result.words.push(word);
  }
  return {...result, words: result.words.join(' ')};
}

const queryOf = f => ({
  status: f.status,
  label: f.label,
  model: f.model,
  group: f.sweep,
  mine: f.mine || undefined,
  sort: column(f.by)?.server ? `${f.down ? '-' : ''}${column(f.by).server}` : undefined,
});

function fits(job, f) {
  const text = `${job.name ?? ''} ${job.id} ${modelsOf(job.spec.models).join(' ')} ` +
    Object.entries(job.labels).map(cells.labelText).join(' ');
  return (f.status.length === 0 || f.status.includes(job.status)) && passes(job, f.where) &&
    f.label.every(l => Object.entries(job.labels).some(pair => cells.labelText(pair) === l)) &&
    (!f.sweep || job.group === f.sweep) && (!f.mine || !me || job.submitted_by === me) &&
    (!f.model || modelsOf(job.spec.models).includes(f.model)) &&
    f.words.toLowerCase().split(/\s+/).every(w => text.toLowerCase().includes(w));
}

/* ---- the view ---- */

export function mount(element, route) {
  let f = filtersOf(route.params);
  let ids = new Set(); // what the daemon listed, before the words
  let next = null; // the token of the page after
  let askedAt = 0;
  let asking = null; // AbortController of the list under way
  const dirty = new Set();
  const stops = [];

  /* -- the parts -- */

  const search = h('input', {type: 'search', 'aria-label': 'Filter jobs', value: searchText(f),
    placeholder: 'Filter: words, label:value, barrier<3, verdict:better',
    title: 'Words; label:value; model:name; align.heads:ignore, or any member of the spec; verdict:better; ' +
      'barrier<3.1, also chord, control, reduction, best', oninput: () => {
      Object.assign(f, readSearch(search.value));
      changed();
    }});
  const chips = h('div.chips', {role: 'group', 'aria-label': 'Status'},
    cells.STATUSES.map(s => h('button.chip', {'data-status': s,
      onclick: () => {
        f.status = f.status.includes(s) ? f.status.filter(x => x !== s) : [...f.status, s];
        changed();
      }}, s)), h('button.chip', {'data-mine': '', hidden: !hasToken(), title: 'What this token has submitted', onclick: () => {
      f.mine = !f.mine;
      learnMe();
      changed();
    }}, 'mine'));
  /* Whose the token is: for what comes by events. */
  const learnMe = () => f.mine && !me && get('v1/tokens/self').then(token => (me = token.name)).catch(() => {});
  learnMe();
  const menu = h('details.menu', {ontoggle: showMenu}, h('summary', 'Columns'), h('div.sheet'));
  const actions = h('div.actions', {role: 'group', 'aria-label': 'Selected jobs'});
  const note = h('p.note');
  const more = h('button', {onclick: () => load(true)}, 'Load more');
  const problem = h('div');
  const empty = h('div');
  let greeted = false;

  const table = new Table({
    caption: 'Jobs',
    columns: f.columns.map(column),
    key: j => j.id,
    open: j => go(link('job', j.id)),
    selected,
    onselect: showActions,
    sorted: f,
    onsort: id => {
      f.down = f.by === id ? !f.down : Boolean(column(id).figure);
      f.by = id;
      changed();
    },
  });
  put(element,
    h('div.head', h('h1', {tabindex: '-1'}, 'Jobs'), search, chips, menu,
      h('a.button.primary', {href: '#/new'}, 'New job')),
    actions, problem, table.element, empty, h('div.foot', note, more));
  title('Jobs');

  /* -- what shows -- */

  function chooseColumn(id, on) {
    const all = [...COLUMNS.map(c => c.id), ...f.columns.filter(isField), id];
    f.columns = [...new Set(all)].filter(x => x === id ? on : f.columns.includes(x));
    changed(false);
  }

  /* The page's own columns, then members of the specs that differ, then labels. */
  function showMenu() {
    if (!menu.open) return;
    const jobs = [...ids].map(id => known.get(id)).filter(Boolean);
    const members = jobs.length > 0 ? differences(jobs) : [];
    const group = (name, columns) => columns.length > 0 && h('fieldset', h('legend', name),
      columns.map(([id, label]) => h('label', h('input', {type: 'checkbox', checked: f.columns.includes(id),
        onchange: e => chooseColumn(id, e.target.checked)}), label)));
    const fields = [...new Set([...members, ...f.columns.filter(id => isField(id) && !id.startsWith('label.'))])];
    put(menu.lastChild, group('Columns', COLUMNS.map(c => [c.id, c.label])),
      group('Members that differ', fields.map(p => [p, p])),
      group('Labels', labelKeys(jobs).map(k => [`label.${k}`, k])));
  }

  function showFilters() {
    for (const chip of chips.children)
      chip.setAttribute('aria-pressed', 'mine' in chip.dataset ? f.mine : f.status.includes(chip.dataset.status));
    table.element.classList.toggle('usual', f.columns.join() === USUAL.join());
  }

  function show() {
    const order = column(f.by)?.order ?? column('created').order;
    const rows = [...ids].map(id => known.get(id)).filter(j => j && fits(j, f));
    // Equal ones stay as the daemon lists them: those of a batch have one time.
    rows.sort((a, b) => compare(order(a), order(b), f.down));
    scales.clear();
    rows.forEach(stretch);
    table.set(rows);
    const partial = next && !column(f.by)?.server ? ', sorted among these' : '';
    setText(note, rows.length === 0 ? ''
      : `${plural(rows.length, 'job')}${next ? ` loaded, there are more${partial}` : ''}`);
    more.hidden = !next;
    showEmpty(rows.length);
    showActions();
  }

  function showEmpty(n) {
    table.element.hidden = n === 0;
    const filtered = f.status.length + f.label.length + f.where.length > 0 || f.model || f.sweep || f.mine || f.words;
    const greets = n === 0 && askedAt > 0 && !filtered;
    if (greets && !greeted) welcome().then(words => greeted && put(empty, words));
    greeted = greets;
    if (greets) return;
    put(empty, n === 0 && askedAt > 0 && h('p.empty', 'No job fits the filter. ', h('a', {href: '#/jobs'}, 'Show all')));
  }

  function showActions() {
    if (actions.querySelector('.in-place')) return; // what is being written stays
    const chosen = [...selected].map(id => known.get(id)).filter(Boolean);
    if (chosen.length === 0) {
      put(actions);
      return;
    }
    const live = chosen.filter(j => !cells.isOver(j));
    const over = chosen.filter(cells.isOver);
    const act = (label, jobs, f) => jobs.length > 0 &&
      h('button', {onclick: () => attempt(() => f(jobs))}, label,
        jobs.length < chosen.length ? ` ${jobs.length}` : '');
    put(actions, h('span', `${plural(chosen.length, 'job')} selected`),
      h('a.button', {href: compareLink(chosen)}, 'Compare'),
      act('Cancel', live, cancel), act('Retry', over, retry), act('Delete', over, drop),
      h('button.quiet', {onclick: () => table.deselect()}, 'Clear'), chosen.length === 1 && edits(chosen[0].id));
  }

  /* Of one job, in place. */
  function edits(id) {
    const place = h('span');
    const done = job => {
      known.set(id, newer(job));
      show();
    };
    return [['Rename', 'name'], ['Edit labels', 'labels'], ['Note', 'note']]
      .map(([label, what]) => jobEdit(label, what, place, () => known.get(id), done)).concat(place);
  }

  /* A whole filtered list is compared by its filter: the link stays short. */
  function compareLink(chosen) {
    const everything = !next && !f.mine && chosen.length === table.rows.size && !f.words;
    return everything && chosen.length > 20
      ? link('compare', '', [...f.status.map(s => ['status', s]), ...f.label.map(l => ['label', l]),
        ...f.where.map(w => ['where', w]), ['model', f.model],
        ['sweep', f.sweep], ['all', '1']])
      : link('compare', '', chosen.map(j => ['job', j.id]));
  }

  /* -- actions on many -- */

  const each = (jobs, f) => Promise.all(jobs.map(f));

  async function cancel(jobs) {
    await each(jobs, j => request('POST', `v1/jobs/${j.id}/cancel`));
    say(`Canceling ${plural(jobs.length, 'job')}`);
  }

  async function retry(jobs) {
    await each(jobs, j => request('POST', `v1/jobs/${j.id}/retry`));
    toast(`${plural(jobs.length, 'job')} submitted again`);
  }

  async function drop(jobs) {
    if (!(await confirm(`Delete ${plural(jobs.length, 'job')}?`,
      'Their curves and artifacts are removed for good.', 'Delete'))) return;
    await each(jobs, async j => {
      await remove(`v1/jobs/${j.id}`);
      forget(j.id);
    });
    show();
  }

  function forget(id) {
    ids.delete(id);
    selected.delete(id);
    known.delete(id);
    curves.delete(id);
  }

  /* -- loading -- */

  function changed(reload = true) {
    refine(paramsOf(f));
    showFilters();
    table.setColumns(f.columns.map(column), f);
    show();
    if (reload) reloadSoon();
  }
  const reloadSoon = throttle(() => load(), 150);

  const load = on => (loading = loadPage(on));
  let loading = null;

  /* on: the next page; else the list from its start, as many rows as there were. */
  async function loadPage(on = false) {
    asking?.abort();
    const mine = asking = new AbortController();
    const query = {...queryOf(f), limit: f.where.length > 0 ? 500 : on ? PAGE
      : Math.min(Math.max(PAGE, ids.size), 500),
      page_token: on ? next : undefined};
    try {
      const started = Date.now();
      const page = await get('v1/jobs', query, {signal: mine.signal});
      askedAt = started;
      next = page.next_page_token ?? null;
      if (!on) ids = new Set();
      for (const job of page.data) {
        ids.add(job.id);
        known.set(job.id, newer(job));
      }
      put(problem);
      show();
      loadCurves(page.data.filter(j => fits(j, f)));
      // What only the page can filter it has to see first.
      if (next && f.where.length > 0 && ids.size < SOUGHT_MOST) await loadPage(true);
    } catch (error) {
      if (mine !== asking) return loading; // another list is on its way
      // That the daemon is gone the banner says.
      if (error.name !== 'AbortError' && !(error instanceof Gone)) put(problem, fault(error));
    }
    return undefined;
  }

  /* An event may have overtaken a list. */
  function newer(job) {
    const old = known.get(job.id);
    return old && old.version > job.version ? old : job;
  }

  async function loadCurves(jobs) {
    const wanted = jobs.filter(j => j.spec.evaluate && j.status !== 'queued' &&
      !curves.get(j.id)?.complete).map(j => j.id);
    while (wanted.length > 0) {
      const job = wanted.splice(0, CURVES_AT_ONCE);
      try {
        for (const b of (await get('v1/barriers', {job})).data) keepCurve(b);
      } catch {
        return; // one of them is gone: the next list will know
      }
    }
  }

  function keepCurve(b) {
    const points = c => new Map((c?.loss ?? []).flatMap((y, i) => y === null ? [] : [[placesOf(b)[i], y]]));
    curves.set(b.job, {aligned: points(b.aligned), control: points(b.control), complete: b.complete});
    showCurve(b.job);
  }

  function showCurve(id) {
    if (!known.has(id)) return;
    if (stretch(known.get(id))) rescale();
    table.patch(known.get(id));
  }
  const rescale = throttle(() => show(), 200);

  /* -- events -- */

  function onProgress({job, data}) {
    const old = known.get(job);
    if (!old || old.status !== 'running') return;
    const {phase, ...progress} = data;
    known.set(job, {...old, phase, progress});
    table.patch(known.get(job));
  }

  function onPoint({job, data}) {
    if (!known.has(job)) return;
    const c = curves.get(job) ?? {aligned: new Map(), control: new Map(), complete: false};
    c[data.curve]?.set(data.lambda, data.loss);
    curves.set(job, c);
    showCurve(job);
  }

  function onStatus({job, data}) {
    const old = known.get(job);
    if (old && old.version < data.version) {
      known.set(job, {...old, ...data});
      table.patch(known.get(job));
    }
    dirty.add(job);
    refresh();
  }

  /* A status says little; the rest is asked for, of a few jobs singly, of many with the list. */
  const refresh = throttle(async () => {
    const some = [...dirty];
    dirty.clear();
    if (some.length > 8) {
      await load();
      return;
    }
    let fresh = false;
    for (const id of some) {
      try {
        const job = await get(`v1/jobs/${id}`);
        known.set(id, job);
        fresh ||= !ids.has(id) && fits(job, f) && (!next || f.by === 'created' && f.down);
      } catch (error) {
        if (error.status === 404) forget(id);
      }
    }
    // Where a new one belongs, among those of the same moment, the daemon knows.
    if (fresh) await load();
    show();
  }, 200);

  /* What was asked for before the events began may have missed one. */
  async function onResync() {
    await loading;
    if (askedAt < events.openedAt) load();
  }

  /* -- life -- */

  function onKey(e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const typing = e.target.closest('input:not([type=checkbox]), textarea, select, dialog');
    if (e.key === 'Escape' && e.target === search) table.enter() || search.blur();
    else if (typing) return;
    else if (e.key === '/') search.focus();
    // Within the table its own keys have moved on already.
    else if (e.key === 'j' && !table.body.contains(e.target)) table.enter();
    else return;
    e.preventDefault();
  }
  document.addEventListener('keydown', onKey);
  const showMine = () => (chips.lastChild.hidden = !hasToken());
  addEventListener('token', showMine);
  stops.push(() => removeEventListener('token', showMine),
    events.listen('status', onStatus), events.listen('progress', onProgress),
    events.listen('point', onPoint), events.listen('resync', onResync));
  const clock = setInterval(show, 60000); // "14:03" becomes "Nov 21 14:03"
  showFilters();

  return {
    ready: load(),
    update(to) {
      f = filtersOf(to.params);
      search.value = searchText(f);
      showFilters();
      table.setColumns(f.columns.map(column), f);
      load();
    },
    leave() {
      stops.forEach(stop => stop());
      clearInterval(clock);
      document.removeEventListener('keydown', onKey);
      asking?.abort();
    },
  };
}
