// The view is in the URL's fragment, "#/jobs?status=running", so that a link is a view at any path
// prefix and the daemon needs no routes for it.

import {h, put} from './dom.js';

let routes = {};
let outlet = null;
let current = null; // {name, id, view}
let here = null;
const scrolls = new Map(); // where each view was left

function plain(id) {
  try {
    return decodeURIComponent(id);
  } catch {
    return id; // a stray "%"
  }
}

export function parse(hash = location.hash) {
  const [path, query = ''] = hash.replace(/^#\/?/, '').split('?');
  const [name, id = ''] = path.split('/');
  return {name: name || 'jobs', id: plain(id), params: new URLSearchParams(query)};
}

/** "#/job/job_…?y=loss" from its parts; empty parameters are left out. */
export function link(name, id, params) {
  const query = new URLSearchParams(params);
  for (const [key, value] of [...query]) if (value === '') query.delete(key, value);
  // Colons and commas are fine in a fragment and easier to read.
  const text = query.toString().replaceAll('%3A', ':').replaceAll('%2C', ',');
  return `#/${name}${id ? '/' + encodeURIComponent(id) : ''}${text ? '?' + text : ''}`;
}

export function go(hash) {
  location.hash = hash;
}

/** The same view with other parameters: no new entry in the history. */
export function refine(params) {
  const {name, id} = parse();
  history.replaceState(null, '', link(name, id, params));
  here = parse();
}

async function show() {
  const route = parse();
  // The API's path of a job leads to it too.
  const known = route.name === 'jobs' && route.id ? {...route, name: 'job'} : route;
  if (current && current.name === known.name && current.id === known.id) {
    current.view.update?.(known);
    here = known;
    return;
  }
  if (current) {
    scrolls.set(`${current.name}/${current.id}`, scrollY);
    current.view.leave?.();
  }
  here = known;
  const {mount} = await (routes[known.name]?.() ?? {mount: lost});
  if (here !== known) return; // gone elsewhere while it was loading
  outlet.replaceChildren();
  const first = current === null;
  current = {name: known.name, id: known.id, view: {}};
  current.view = mount(outlet, known) ?? {};
  dispatchEvent(new CustomEvent('view', {detail: known}));
  await current.view.ready;
  scrollTo(0, scrolls.get(`${known.name}/${known.id}`) ?? 0);
  // A screen reader goes on from the new heading.
  if (!first && here === known) outlet.querySelector('h1')?.focus({preventScroll: true});
}

function lost(element, {name}) {
  title('Not found');
  put(element, h('h1', {tabindex: '-1'}, 'There is no such view'), h('p', `No view is named \u201c${name}\u201d. `,
    h('a', {href: '#/jobs'}, 'All jobs')));
}

/** table: {name: () => import('./jobs.js')}; each module exports mount(element, route), which
 * returns {update(route), leave(), ready}. */
export function start(element, table) {
  outlet = element;
  routes = table;
  history.scrollRestoration = 'manual';
  addEventListener('hashchange', show);
  return show();
}

export function title(text) {
  document.title = text ? `${text} \u00b7 rebasind` : 'rebasind';
}
