// A sweep: how far it is, and its jobs in a table of what is each one's own.
import {get, remove, request} from './api.js';
import {confirm} from './dialog.js';
import {download, h, put, setText, throttle} from './dom.js';
import * as events from './events.js';
import {method, verdictOf, VERDICTS, verdictWords} from './fields.js';
import {duration, NONE, number, percent, plural, shortId} from './format.js';
import * as cells from './jobcells.js';
import {heat} from './matrix.js';
import {go, link, title} from './router.js';
import {attempt, fault} from './shell.js';
import {compare, Table} from './table.js';

/* A row as a job, so that cells know it. */
const jobOf = row => ({...row, id: row.job, summary: row});
const text = value => value?.b ? `${value.a}, ${value.b}` : typeof value === 'object' ? JSON.stringify(value) : String(value);

/* The sweep's own name is left out: "heads=permute". */
const columnsOf = ({members, name, spec}) => [
  {id: 'rank', label: '#', figure: true, help: 'By the loss of the best merge', value: j => j.rank ?? NONE, order: j => j.rank},
  {id: 'name', label: 'Job', value: j => j.name ?? j.id, order: j => j.name, fill: (td, j) => {
    put(td, cells.nameLink(j));
    setText(td.firstChild, td.textContent.replace(`${name ?? spec.name}: `, ''));
  }},
  {id: 'verdict', label: 'Verdict', value: j => verdictWords(j) || j.status, order: j => verdictOf(j)
    ? VERDICTS.indexOf(verdictOf(j)) : null, fill: (td, j) => verdictOf(j) ? cells.verdict(td, j) : put(td, cells.badge(j.status))},
  ...members.map(path => ({id: path, label: path, value: j => text(j.settings[path]), order: j => {
    const value = j.settings[path];
    return typeof value === 'object' ? text(value) : value;
  }})),
  ...['best', 'barrier', 'control', 'reduction'].map(id => cells.figureColumn(id, {rank: id === 'best' ? 0 : 2})),
  {id: 'took', label: 'Took', figure: true, rank: 3, value: j => duration(j.seconds), order: j => j.seconds},
];

export function mount(element, route) {
  const path = `v1/sweeps/${route.id}`;
  let sweep = null, table = null, sorted = {by: 'rank', down: false};
  const reading = new AbortController();
  const heading = h('h1', {tabindex: '-1'}, 'Sweep');
  const head = h('div'), under = h('p.under.method'), bar = h('div.progress'), rows = h('div');
  const map = h('section.panel', {hidden: true});
  put(element, head, under, bar, map, h('section.panel', rows));
  title('Sweep');

  const live = () => /queued|running/.test(sweep.status);

  function actions() {
    const act = (label, f, kind = '') => h('button', {class: kind, onclick: () => attempt(f)}, label);
    return h('div.buttons',
      h('a.button', {href: link('compare', '', {sweep: route.id})}, 'Compare'),
      h('a.button', {href: link('jobs', '', {sweep: route.id})}, 'In the list'),
      act('Save CSV', async () => download(`${sweep.name ?? route.id}.csv`,
        await (await request('GET', path, {headers: {Accept: 'text/csv'}})).blob())),
      live() ? act('Cancel', async () => {
        await request('POST', `${path}/cancel`);
        await load();
      }, 'danger') : act('Delete', drop, 'danger'));
  }

  async function drop() {
    if (!(await confirm('Delete this sweep?', `All of its ${plural(sweep.jobs, 'job')} are removed for good.`, 'Delete')))
      return;
    await remove(path);
    go('#/jobs');
  }

  function show() {
    const {fraction, eta_seconds: eta, ...counts} = sweep.progress;
    const name = sweep.name ?? sweep.spec.name ?? `Sweep ${shortId(route.id)}`;
    title(name);
    setText(heading, name);
    put(head, h('div.head', cells.badge(sweep.status), heading, actions()));
    setText(under, method(sweep.spec));
    const parts = Object.entries(counts).filter(([, n]) => n > 0).map(([status, n]) => `${n} ${status}`);
    if (live()) parts.push(percent(fraction), ...eta === null ? [] : [`${duration(eta)} left in all`]);
    const inner = h('div');
    inner.style.width = `${100 * fraction}%`;
    put(bar, live() && h('div.bar', {role: 'progressbar', 'aria-label': 'Progress', 'aria-valuemin': 0,
      'aria-valuemax': 100, 'aria-valuenow': Math.round(100 * fraction)}, inner), h('span.aside', parts.join(' \u00b7 ')));
    if (sweep.matrix) showMap();
    showTable();
  }

  /* A reader with the cursor in a cell stays there. */
  function showMap() {
    const at = document.activeElement?.getAttribute('href');
    map.hidden = false;
    put(map, h('h2', 'Barriers over the chord'), heat(sweep));
    if (at) [...map.querySelectorAll('a')].find(a => a.getAttribute('href') === at)?.focus();
  }

  function showTable() {
    const columns = columnsOf(sweep), order = columns.find(c => c.id === sorted.by).order;
    table ??= new Table({caption: 'Jobs of the sweep', columns, key: j => j.id, sorted,
      open: j => go(link('job', j.id)), onsort: id => {
        sorted = {by: id, down: sorted.by === id && !sorted.down};
        showTable();
      }});
    if (!rows.firstChild) put(rows, table.element);
    table.setColumns(columns, sorted);
    table.set(sweep.table.map(jobOf).sort((a, b) => compare(order(a), order(b), sorted.down)));
  }

  async function load() {
    try {
      sweep = await get(path, {}, {signal: reading.signal});
      show();
    } catch (error) {
      if (error.name !== 'AbortError' && (!sweep || error.status === 404))
        put(element, h('h1', {tabindex: '-1'}, 'Sweep'), fault(error), h('p', h('a', {href: '#/jobs'}, 'All jobs')));
    }
  }
  const soon = throttle(load, 500);
  const mine = ({job}) => sweep?.table.some(row => row.job === job) && soon();
  const stops = [events.listen('resync', load), events.listen('status', ({job}) => sweep && live() ? soon() : mine({job})),
    events.listen('progress', mine)];

  return {
    ready: load(),
    leave() {
      reading.abort();
      stops.forEach(stop => stop());
    },
  };
}
