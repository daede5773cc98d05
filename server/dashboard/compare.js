// Any set of jobs, overlaid: chosen one by one (?job=…) or by a filter (?label=…&status=…&model=…).
import {get, list} from './api.js';
import {yName} from './charts.js';
import {h, put, setText} from './dom.js';
import * as events from './events.js';
import {saveCsv, saveHtml, savePng} from './export.js';
import {differences, fieldColumn, fieldOf, FIGURES, labelKeys, method, passes, ranks, shared, termOf,
  unlike, verdictOf, VERDICTS, verdictWords} from './fields.js';
import {jobName, number, plural} from './format.js';
import * as cells from './jobcells.js';
import {known} from './jobs.js';
import {dashOf, gridOf, Overlay, summary, swatch} from './overlay.js';
import {go, link, refine, title} from './router.js';
import {Dots, groupTable, Parallel} from './settings.js';
import {placesOf} from './several.js';
import {attempt, fault} from './shell.js';
import {compare, dataTable, Table} from './table.js';

const MOST = 1000;
const BARRIERS_AT_ONCE = 100;
const SINGLE_MOST = 12; // ungrouped, so many jobs get a colour each
const SETTINGS_MOST = 12; // of columns, unless more are asked for
const CHARTS = {curves: 'curves', dots: 'a figure against a setting', parallel: 'all settings'};
const LEAST_IS_BEST = id => id !== 'reduction';

/* ---- what is compared ---- */

async function jobsOf(params, signal) {
  const ids = params.getAll('job');
  if (ids.length === 0) {
    const query = {status: params.getAll('status'), label: params.getAll('label'),
      model: params.get('model'), group: params.get('sweep')};
    const where = params.getAll('where').filter(termOf);
    const any = params.has('all') || query.label.length + query.status.length + where.length > 0 || query.model || query.group;
    if (!any) return {rows: [], more: false};
    const found = await list('v1/jobs', query, MOST, {signal});
    return {...found, rows: found.rows.filter(j => passes(j, where))};
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

  const open = id => go(link('job', id));
  const overlay = new Overlay({pick: c => open(c.job)});
  const dots = new Dots('Dots over a setting', open);
  const parallel = new Parallel('Parallel coordinates', open);
  const heading = h('h1', {tabindex: '-1'}, 'Compare');
  const under = h('p.under.method');
  const note = h('p.note');
  const choices = h('div.choices');
  const legend = h('div.legend', {role: 'group', 'aria-label': 'Groups'});
  const behind = h('div');
  const groupPanel = h('section.panel');
  const tablePanel = h('section.panel');
  const body = h('div', {hidden: true});
  const problem = h('div');

  const exports = h('div.buttons',
    [['CSV', () => saveCsv(shown())], ['PNG', () => savePng(overlay, shown())],
      ['HTML', () => saveHtml(shown())]].map(([name, f]) => h('button', {type: 'button',
      onclick: () => attempt(f)}, `Save ${name}`)));
  put(body, h('section.panel', choices, legend, overlay.element, dots.element, parallel.element, behind),
    groupPanel, tablePanel);
  put(element, h('div.head', heading, exports), under, note, problem, body);

  /* -- choices: which curve, which y, grouped by what -- */

  const choice = {
    get curve() { return params.get('curve') ?? 'aligned'; },
    get y() { return params.get('y') ?? 'loss'; },
    get group() { return params.get('group') ?? ''; },
    get chart() { return params.get('chart') in CHARTS ? params.get('chart') : 'curves'; },
    get figure() { return params.get('figure') in FIGURES ? params.get('figure') : 'barrier'; },
    get x() { return params.get('x') ?? (groupPath() || settings()[0] || 'models.b'); },
  };
  const groupPath = () => choice.group.replace(/^label:/, 'label.');
  /* What jobs may be held against: members that differ, and labels. */
  const settings = () => [...differing, ...labelKeys(jobs).map(k => `label.${k}`)];

  function choose(key, value) {
    params.set(key, value);
    refine(params);
    hidden.clear();
    show();
  }

  function showChoices() {
    const metrics = [...new Set([...barriers.values()].flatMap(b => Object.keys(b.aligned.metrics)))];
    const keys = labelKeys(jobs), curves = choice.chart === 'curves';
    const select = (key, label, options) => {
      const input = h('select', {id: `choice-${key}`, onchange: e => choose(key, e.target.value)},
        options.map(([value, text]) => h('option', {value}, text)));
      input.value = choice[key];
      return h('span.choice', h('label', {for: input.id}, label), input);
    };
    put(choices,
      select('chart', 'Chart', Object.entries(CHARTS)),
      curves && select('y', 'show', ['loss', 'above', ...metrics].map(m => [m, nameOfY(m)])),
      curves && select('curve', 'of', [['aligned', 'the aligned models'], ['control', 'the controls'],
        ['both', 'both']]),
      select('figure', 'figure', Object.entries(FIGURES).map(([id, [name]]) => [id, name.toLowerCase()])),
      choice.chart === 'dots' && select('x', 'over', settings().map(p => [p, p.replace(/^label\./, 'label ')])),
      select('group', 'grouped by', [['', jobs.length > SINGLE_MOST ? 'nothing' : 'job'],
        ...keys.map(k => [`label:${k}`, `label ${k}`]), ...differing.map(p => [p, p])]));
  }

  /* -- groups -- */

  function groupOf(job) {
    const path = groupPath(), value = path && fieldOf(job, path);
    if (!path.startsWith('label.')) return path ? String(value ?? 'none') : null;
    return value === undefined ? `no ${path.slice(6)}` : `${path.slice(6)} ${value}`;
  }

  function makeGroups() {
    const single = !choice.group && jobs.length <= SINGLE_MOST;
    const made = new Map(); // name -> curves
    for (const job of jobs) {
      const b = barriers.get(job.id);
      if (!b) continue;
      for (const which of choice.curve === 'both' ? ['aligned', 'control'] : [choice.curve]) {
        const points = ysOf(b[which], placesOf(b), choice.y);
        if (!points) continue;
        const own = single ? jobName(job) : groupOf(job) ?? 'All jobs';
        const name = choice.curve === 'both' ? `${own}, ${which}` : own;
        const key = single ? `${job.id} ${which}` : name;
        if (!made.has(key))
          made.set(key, {name, own: single ? job.id : own, control: which === 'control', curves: [], jobs: []});
        made.get(key).jobs.push(job);
        made.get(key).curves.push({job: job.id, name: jobName(job), which, ...points});
      }
    }
    const sorted = single ? [...made.values()]
      : [...made.values()].sort((a, b) => compare(a.name, b.name, false));
    grid = gridOf(sorted.flatMap(g => g.curves));
    // A group's control has its colour, dashed.
    const owners = [...new Set(sorted.map(g => g.own))];
    return sorted.map(g => {
      const colour = owners.indexOf(g.own), mixed = unlike(g.jobs, g.control);
      return {...g, colour, mixed, dash: dashOf(colour, g.control), visible: !hidden.has(g.name),
        summary: summary(g.curves, grid, mixed.length > 0)};
    });
  }

  /* The pinned job's curve, over all others. */
  function baseline() {
    const job = pinned(), b = barriers.get(job?.id);
    const points = b && ysOf(b.aligned, b.lambdas, choice.y);
    if (!points) return [];
    const curves = [{job: job.id, name: jobName(job), which: 'aligned', ...points}];
    return [{name: `${jobName(job)}, baseline`, own: '', colour: -1, mixed: [], dash: [8, 3, 2, 3], visible: true,
      curves, jobs: [job], summary: summary(curves, grid)}];
  }
  const pinned = () => {
    const id = params.get('pin');
    return id ? jobs.find(j => j.id === id) : undefined;
  };

  function showLegend() {
    const mixed = [...new Set(groups.flatMap(g => g.mixed))];
    put(legend, groups.map(g => h('button.legend-item', {'aria-pressed': String(g.visible),
      onclick: () => {
        if (!hidden.delete(g.name)) hidden.add(g.name);
        show();
      }}, swatch(g.colour, g.dash), g.name,
    g.curves.length > 1 && h('span.aside', ` ${g.curves.length}`))),
    groups.some(g => g.curves.length > 1 && g.mixed.length === 0) && h('span.aside',
      'bold: mean, band: \u00b1 one standard deviation'),
    mixed.length > 0 && h('span.aside', `no mean of unlike settings: ${mixed.join(', ')}`));
  }

  /* -- the table -- */

  const columns = () => [
    {id: 'name', label: 'Job', value: j => `${jobName(j)} ${colours.get(j.id)}`, order: jobName,
      text: jobName, fill: (td, j) => put(td, swatch(colours.get(j.id) ?? 0), cells.nameLink(j))},
    pinColumn(),
    {id: 'verdict', label: 'Verdict', rank: 2, value: j => verdictWords(j) || j.status, order: j =>
      verdictOf(j) ? VERDICTS.indexOf(verdictOf(j)) : null, fill: (td, j) => verdictOf(j) ? cells.verdict(td, j)
      : put(td, cells.badge(j.status))},
    ...Object.keys(FIGURES).map(id => cells.figureColumn(id, {rank: {best: 2, chord: 4}[id]})),
    ...pinned() ? [difference()] : [],
    ...differing.slice(0, SETTINGS_MOST).map(fieldColumn),
  ];

  function pinColumn() {
    const chosen = pinned();
    return {id: 'pin', label: '', value: j => String(chosen === j), text: () => '', fill: (td, j) => put(td,
      h('button.quiet', {'aria-pressed': String(chosen === j),
        'aria-label': `${chosen === j ? 'Pinned' : 'Pin'}: ${jobName(j)}`, title: 'Hold the others against this job',
        onclick: () => choose('pin', pinned() === j ? '' : j.id)}, chosen === j ? 'Pinned' : 'Pin'))};
  }

  /* The chosen figure, less the pinned job's. */
  function difference() {
    const [name, of] = FIGURES[choice.figure], base = of(pinned());
    const gap = j => typeof of(j) === 'number' && typeof base === 'number' ? of(j) - base : null;
    const text = j => (gap(j) > 0 ? '+' : '') + number(gap(j));
    return {id: 'difference', label: `\u0394 ${name.toLowerCase()}`, figure: true, help: 'Against the baseline',
      value: j => `${text(j)} ${ranks(j)}`, text, order: j => ranks(j) ? gap(j) : null,
      fill: (td, j) => cells.figure(td, j, text(j))};
  }
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
          sorted = {by: id, down: sorted.by === id ? !sorted.down : id === 'reduction'};
          showTable();
        }});
      for (const type of ['pointerover', 'focusin'])
        table.body.addEventListener(type, e =>
          overlay.highlight(e.target.closest('tr')?.dataset.key ?? null));
      table.body.addEventListener('pointerleave', () => overlay.highlight(null));
      put(tablePanel, h('h2', 'Jobs'), h('p.note', differing.length === 0 ? 'The specs do not differ.'
        : 'Of the specs, only the members that differ.'), table.element);
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
    const visible = groups.filter(g => g.visible);
    const curves = choice.chart === 'curves';
    overlay.element.hidden = behind.hidden = !curves;
    dots.element.hidden = choice.chart !== 'dots';
    parallel.element.hidden = choice.chart !== 'parallel';
    if (curves) {
      overlay.set([...groups, ...baseline()], grid, nameOfY(choice.y));
      put(behind, dataTable(`Mean ${nameOfY(choice.y)} along the path`,
        ['\u03bb', ...visible.map(g => g.name)], () => grid.map((x, i) => [number(x), ...visible.map(g =>
          g.mixed.length > 0 ? rangeOf(g.curves, x) : number(g.summary.mean[i], 4))])));
    }
    showTable();
    const drawn = {jobs: [...new Set(visible.flatMap(g => g.jobs))], figure: FIGURES[choice.figure], colours};
    if (choice.chart === 'dots') dots.set({...drawn, path: choice.x, errors: errors()});
    legend.hidden = choice.chart === 'parallel' && !choice.group;
    if (choice.chart === 'parallel') parallel.set({...drawn, grouped: Boolean(choice.group), paths: differing.length > 0 ? differing : ['models.b']});
    groupPanel.hidden = !choice.group;
    if (choice.group) put(groupPanel, h('h2', `${FIGURES[choice.figure][0]} by group`),
      groupTable(visible.filter(g => choice.curve !== 'both' || !g.control), FIGURES[choice.figure],
        LEAST_IS_BEST(choice.figure), {swatch, nameLink: cells.nameLink}));
  }

  /* Of curves without a mean: from the least to the most. */
  function rangeOf(curves, x) {
    const ys = curves.flatMap(c => c.xs.includes(x) ? [c.ys[c.xs.indexOf(x)]] : []);
    return ys.length > 0 ? `${number(Math.min(...ys))} to ${number(Math.max(...ys))}` : number(null);
  }

  /* Standard errors of the figure drawn, by job. */
  function errors() {
    const of = {barrier: b => b.aligned.barrier?.mean_standard_error, chord: b => b.aligned.barrier?.chord_standard_error,
      control: b => b.control?.barrier?.mean_standard_error, reduction: b => b.reduction?.mean_standard_error}[choice.figure];
    return new Map(of ? [...barriers].map(([id, b]) => [id, of(b)]) : []);
  }

  /* What an export needs. */
  const shown = () => ({jobs: inOrder(columns()), columns: columns(), barriers, differing, grid,
    groups: [...groups.filter(g => g.visible), ...baseline()], yName: nameOfY(choice.y)});

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
      setText(under, jobs.length === 0 ? '' : method(shared(jobs)));
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
      [overlay, dots, parallel].forEach(chart => chart.destroy());
    },
  };
}
