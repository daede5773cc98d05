// Any set of jobs, overlaid: chosen one by one (?job=…) or by a filter (?label=…&status=…&model=…).
import {get, list} from './api.js';
import {yName} from './charts.js';
import {h, put, setText} from './dom.js';
import * as events from './events.js';
import {saveCsv, saveHtml, savePng} from './export.js';
import {flatten, jobName, number, plural} from './format.js';
import * as cells from './jobcells.js';
import {known} from './jobs.js';
import {dashOf, gridOf, Overlay, summary, swatch} from './overlay.js';
import {go, link, refine, title} from './router.js';
import {attempt, fault} from './shell.js';
import {compare, dataTable, Table} from './table.js';

const MOST = 1000;
const BARRIERS_AT_ONCE = 100;
const SINGLE_MOST = 12; // ungrouped, so many jobs get a colour each
const UNTOLD = new Set(['name', 'priority']); // of a spec: not what makes results differ

/* ---- what is compared ---- */

async function jobsOf(params, signal) {
  const ids = params.getAll('job');
  if (ids.length === 0) {
    const query = {status: params.getAll('status'), label: params.getAll('label'),
      model: params.get('model')};
    const any = params.has('all') || query.label.length > 0 || query.status.length > 0 || query.model;
    return any ? list('v1/jobs', query, MOST, {signal}) : {rows: [], more: false};
  }
  const rows = [];
  const wanted = ids.slice(0, MOST);
  const next = async () => {
    for (let id = wanted.shift(); id; id = wanted.shift()) {
      const job = known.get(id) ?? await get(`v1/jobs/${id}`, {}, {signal}).catch(error => {
        if (error.status !== 404) throw error;
        return null; // deleted since the link was made
      });
      if (job) rows.push(job);
    }
  };
  await Promise.all(Array.from({length: 6}, next));
  rows.sort((a, b) => ids.indexOf(a.id) - ids.indexOf(b.id));
  return {rows, more: ids.length > MOST};
}

async function barriersOf(jobs, signal) {
  const ids = jobs.filter(j => j.spec.evaluate && j.status !== 'queued').map(j => j.id);
  const batches = [];
  while (ids.length > 0) batches.push(ids.splice(0, BARRIERS_AT_ONCE));
  const pages = await Promise.all(batches.map(job => get('v1/barriers', {job}, {signal})));
  return new Map(pages.flatMap(p => p.data).map(b => [b.job, b]));
}

/** The members of the specs that are not the same in all jobs: [path]. */
function differences(jobs) {
  const paths = new Set(jobs.flatMap(j => flatten(j.spec).map(([path]) => path)));
  return [...paths].filter(p => !UNTOLD.has(p) && !p.startsWith('labels.') &&
    jobs.some(j => fieldOf(j, p) !== fieldOf(jobs[0], p)));
}

const specs = new WeakMap(); // job -> its spec by path

function fieldOf(job, path) {
  if (!specs.has(job)) specs.set(job, new Map(flatten(job.spec)));
  return specs.get(job).get(path);
}

/* ---- y: what is drawn ---- */

function ysOf(curve, lambdas, y) {
  if (!curve) return null;
  const values = y === 'loss' || y === 'above' ? curve.loss : curve.metrics[y];
  if (!values) return null;
  const points = lambdas.map((x, i) => [x, values[i]]).filter(p => p[1] !== null);
  if (points.length === 0) return null;
  const [x0, y0] = points[0], [x1, y1] = points.at(-1);
  if (y === 'above' && (x0 !== 0 || x1 !== 1)) return null; // the line needs both ends
  return {xs: points.map(p => p[0]),
    ys: points.map(([x, v]) => (y === 'above' ? v - ((1 - x) * y0 + x * y1) : v))};
}

const Y_NAMES = {above: 'loss above the line between the ends'};
const nameOfY = y => Y_NAMES[y] ?? yName(y);

/* ---- the view ---- */

export function mount(element, route) {
  title('Compare');
  let params = route.params;
  let jobs = [], barriers = new Map(), differing = [], groups = [], grid = [];
  let sorted = {by: 'barrier', down: false};
  let asking = null;
  const hidden = new Set(); // names of groups

  const overlay = new Overlay({pick: c => go(link('job', c.job))});
  const heading = h('h1', {tabindex: '-1'}, 'Compare');
  const note = h('p.note');
  const choices = h('div.choices');
  const legend = h('div.legend', {role: 'group', 'aria-label': 'Groups'});
  const behind = h('div');
  const tablePanel = h('section.panel');
  const body = h('div', {hidden: true});
  const problem = h('div');

  const exports = h('div.buttons',
    [['CSV', () => saveCsv(shown())], ['PNG', () => savePng(overlay, shown())],
      ['HTML', () => saveHtml(shown())]].map(([name, f]) => h('button', {type: 'button',
      onclick: () => attempt(f)}, `Save ${name}`)));
  put(body, h('section.panel', choices, legend, overlay.element, behind),
    tablePanel);
  put(element, h('div.head', heading, exports), note, problem, body);

  /* -- choices: which curve, which y, grouped by what -- */

  const choice = {
    get curve() { return params.get('curve') ?? 'aligned'; },
    get y() { return params.get('y') ?? 'loss'; },
    get group() { return params.get('group') ?? ''; },
  };

  function choose(key, value) {
    params.set(key, value);
    refine(params);
    hidden.clear();
    show();
  }

  function showChoices() {
    const metrics = [...new Set([...barriers.values()].flatMap(b => Object.keys(b.aligned.metrics)))];
    const keys = [...new Set(jobs.flatMap(j => Object.keys(j.labels)))].sort();
    const select = (key, label, options) => {
      const input = h('select', {id: `choice-${key}`, onchange: e => choose(key, e.target.value)},
        options.map(([value, text]) => h('option', {value}, text)));
      input.value = choice[key];
      return h('span.choice', h('label', {for: input.id}, label), input);
    };
    put(choices,
      select('y', 'Show', ['loss', 'above', ...metrics].map(m => [m, nameOfY(m)])),
      select('curve', 'of', [['aligned', 'the aligned models'], ['control', 'the controls'],
        ['both', 'both']]),
      select('group', 'grouped by', [['', jobs.length > SINGLE_MOST ? 'nothing' : 'job'],
        ...keys.map(k => [`label:${k}`, `label ${k}`]), ...differing.map(p => [p, p])]));
  }

  /* -- groups -- */

  function groupOf(job) {
    if (choice.group.startsWith('label:')) {
      const key = choice.group.slice(6);
      return job.labels[key] === undefined ? `no ${key}` : `${key} ${job.labels[key]}`;
    }
    if (choice.group) return String(fieldOf(job, choice.group) ?? 'none');
    return null;
  }

  function makeGroups() {
    const single = !choice.group && jobs.length <= SINGLE_MOST;
    const made = new Map(); // name -> curves
    for (const job of jobs) {
      const b = barriers.get(job.id);
      if (!b) continue;
      for (const which of choice.curve === 'both' ? ['aligned', 'control'] : [choice.curve]) {
        const points = ysOf(b[which], b.lambdas, choice.y);
        if (!points) continue;
        const own = single ? jobName(job) : groupOf(job) ?? 'All jobs';
        const name = choice.curve === 'both' ? `${own}, ${which}` : own;
        const key = single ? `${job.id} ${which}` : name;
        if (!made.has(key))
          made.set(key, {name, own: single ? job.id : own, control: which === 'control', curves: []});
        made.get(key).curves.push({job: job.id, name: jobName(job), which, ...points});
      }
    }
    const sorted = single ? [...made.values()]
      : [...made.values()].sort((a, b) => compare(a.name, b.name, false));
    grid = gridOf(sorted.flatMap(g => g.curves));
    // A group's control has its colour, dashed.
    const owners = [...new Set(sorted.map(g => g.own))];
    return sorted.map(g => {
      const colour = owners.indexOf(g.own);
      return {...g, colour, dash: dashOf(colour, g.control), visible: !hidden.has(g.name),
        summary: summary(g.curves, grid)};
    });
  }

  function showLegend() {
    put(legend, groups.map(g => h('button.legend-item', {'aria-pressed': String(g.visible),
      onclick: () => {
        if (!hidden.delete(g.name)) hidden.add(g.name);
        show();
      }}, swatch(g.colour, g.dash), g.name,
    g.curves.length > 1 && h('span.aside', ` ${g.curves.length}`))), groups.some(g => g.curves.length > 1) && h('span.aside',
      'bold: mean, band: \u00b1 one standard deviation'));
  }

  /* -- the table -- */

  const columns = () => [
    {id: 'name', label: 'Job', value: j => `${jobName(j)} ${colours.get(j.id)}`, order: jobName,
      text: jobName, fill: (td, j) => put(td, swatch(colours.get(j.id) ?? 0), cells.nameLink(j))},
    {id: 'status', label: 'Status', rank: 2, value: j => j.status, order: j => j.status,
      fill: (td, j) => put(td, cells.badge(j.status))},
    ...[['barrier', 'Barrier', 'barrier_mean'], ['chord', 'Over chord', 'barrier_chord'],
      ['control', 'Control', 'control_barrier_mean']].map(([id, label, key]) => ({id, label,
      figure: true, value: j => number(j.summary[key]), order: j => j.summary[key]})),
    {id: 'reduction', label: 'Reduction', figure: true, value: j => j.summary.reduction,
      order: j => j.summary.reduction, text: cells.reductionText, fill: cells.reduction},
    ...differing.map(path => ({id: path, label: path, rank: 2,
      value: j => String(fieldOf(j, path) ?? '\u2013'), order: j => fieldOf(j, path)})),
  ];
  let colours = new Map(); // job -> colour of its group
  let table = null;

  function inOrder(shape) {
    const order = shape.find(c => c.id === sorted.by)?.order ?? jobName;
    return [...jobs].sort((a, b) => compare(order(a), order(b), sorted.down));
  }

  function showTable() {
    // The last word is the aligned curve's.
    colours = new Map(groups.toReversed().flatMap(g => g.curves.map(c => [c.job, g.colour])));
    const shape = columns();
    const rows = inOrder(shape);
    if (!table || table.columns.map(c => c.id).join() !== shape.map(c => c.id).join()) {
      table = new Table({caption: 'Jobs compared', columns: shape, key: j => j.id, sorted,
        open: j => go(link('job', j.id)), onsort: id => {
          sorted = {by: id, down: sorted.by === id ? !sorted.down : false};
          showTable();
        }});
      for (const type of ['pointerover', 'focusin'])
        table.body.addEventListener(type, e =>
          overlay.highlight(e.target.closest('tr')?.dataset.key ?? null));
      table.body.addEventListener('pointerleave', () => overlay.highlight(null));
      put(tablePanel, h('h2', 'Jobs'), h('p.note', differing.length > 0
        ? 'Of the specs, only the members that differ.' : 'The specs do not differ.'), table.element);
    }
    table.setColumns(shape, sorted);
    table.set(rows);
  }

  /* -- all of it -- */

  function show() {
    if (jobs.length === 0) return;
    showChoices();
    groups = makeGroups();
    showLegend();
    overlay.set(groups, grid, nameOfY(choice.y));
    const visible = groups.filter(g => g.visible);
    put(behind, dataTable(`Mean ${nameOfY(choice.y)} along the path`,
      ['\u03bb', ...visible.map(g => g.name)], () => grid.map((x, i) =>
        [number(x), ...visible.map(g => number(g.summary.mean[i], 4))])));
    showTable();
  }

  /* What an export needs. */
  const shown = () => ({jobs: inOrder(columns()), columns: columns(), barriers, differing, grid,
    groups: groups.filter(g => g.visible), yName: nameOfY(choice.y), fieldOf});

  async function load() {
    asking?.abort();
    const mine = asking = new AbortController();
    try {
      const found = await jobsOf(params, mine.signal);
      const curves = await barriersOf(found.rows, mine.signal);
      if (mine.signal.aborted) return;
      jobs = found.rows;
      barriers = curves;
      differing = differences(jobs);
      const without = jobs.length - barriers.size;
      setText(note, jobs.length === 0 ? '' : [plural(jobs.length, 'job'),
        found.more && `the newest ${MOST} of more`, without > 0 && `${without} without a curve`]
        .filter(Boolean).join(', '));
      body.hidden = exports.hidden = jobs.length === 0;
      put(problem, jobs.length === 0 && empty());
      show();
    } catch (error) {
      if (error.name !== 'AbortError') put(problem, fault(error));
    }
  }

  const empty = () => h('div.empty', h('p', 'Nothing to compare yet.'),
    h('p', 'Select jobs in ', h('a', {href: '#/jobs'}, 'the list'), ' and choose Compare, or take ',
      h('a', {href: link('compare', '', {status: 'succeeded'})}, 'all that succeeded'), '.'));

  const rebuild = () => show();
  addEventListener('theme', rebuild); // the swatches' colours
  const stops = [events.listen('resync', load), events.listen('status', ({job, data}) => {
    if (!jobs.some(j => j.id === job) || data.status !== 'succeeded') return;
    known.delete(job); // it has a summary now
    load();
  })];

  return {
    ready: load(),
    update(to) {
      params = to.params;
      load();
    },
    leave() {
      removeEventListener('theme', rebuild);
      stops.forEach(stop => stop());
      asking?.abort();
      overlay.destroy();
    },
  };
}
