// What surrounds every view: navigation, the daemon's pulse, the theme, the banner.
import {asset, get, hasToken, setToken} from './api.js';
import {askToken} from './dialog.js';
import {h, put, say, setText} from './dom.js';
import * as events from './events.js';
import {plural} from './format.js';

const VIEWS = [
  ['jobs', 'Jobs'],
  ['compare', 'Compare'],
  ['new', 'New job'],
  ['data', 'Models & data'],
];
const THEMES = {auto: 'light', light: 'dark', dark: 'auto'};

/* ---- the daemon's pulse ---- */

function pulse() {
  const dot = h('span.dot', {'data-state': 'connecting'});
  const words = h('span.pulse-words', 'Connecting\u2026');
  const element = h('div.pulse', {title: 'What the daemon is doing'}, dot, words);

  async function refresh() {
    if (document.hidden || dot.dataset.state !== 'live') return;
    try {
      const s = await get('v1/stats');
      setText(words, `${s.workers_busy} of ${plural(s.workers, 'worker')} busy` +
        (s.queue_depth > 0 ? `, ${s.queue_depth} queued` : ''));
    } catch {
      // the banner tells
    }
  }

  events.listen('state', ({state}) => {
    dot.dataset.state = state;
    if (state === 'gone') setText(words, 'No answer');
    if (state === 'locked') setText(words, 'Locked');
    refresh();
  });
  events.listen('status', refresh);
  setInterval(refresh, 4000);
  return element;
}

/* ---- the banner ---- */

function showBanner({state}) {
  const banner = document.getElementById('banner');
  if (state === 'gone') {
    put(banner, h('p.gone', 'The daemon does not answer. What you see is the last it said; the page ',
      'goes on by itself when it is back.', h('button', {onclick: events.now}, 'Try now')));
  } else if (state === 'locked') {
    put(banner, h('p.gone', 'This daemon answers only with a token. ',
      h('button', {onclick: enter}, 'Enter the token')));
  } else if (banner.firstChild) {
    put(banner);
    say('The daemon is back.');
  }
}

async function enter() {
  const token = await askToken('');
  if (token) setToken(token);
}

/* ---- menus: gone with Esc, or when one turns to something else ---- */

function watchMenus() {
  const close = keep => [...document.querySelectorAll('details.menu[open]')]
    .filter(menu => !menu.contains(keep)).map(menu => {
      menu.open = false;
      return menu.firstChild;
    });
  document.addEventListener('keydown', e => e.key === 'Escape' && close(null)[0]?.focus());
  document.addEventListener('pointerdown', e => close(e.target));
}

/* ---- theme and token ---- */

function themeButton() {
  const label = () => `Theme: ${window.rebasindTheme.choice}`;
  const text = h('span.unseen', label());
  return h('button.quiet.theme', {title: 'Light, dark or as the system',
    onclick: () => {
      window.rebasindTheme.choice = THEMES[window.rebasindTheme.choice];
      setText(text, label());
      say(label());
    }}, h('span', {'aria-hidden': 'true', class: 'theme-icon'}), text);
}

function tokenButton() {
  const button = h('button.quiet', {onclick: () => {
    setToken(null);
    location.reload();
  }}, 'Forget token');
  const show = () => (button.hidden = !hasToken());
  addEventListener('token', show);
  show();
  return button;
}

/* ---- all of it ---- */

export function start() {
  const links = VIEWS.map(([name, label]) => h('a', {href: `#/${name}`, 'data-view': name}, label));
  put(document.getElementById('top'),
    h('a.brand', {href: '#/jobs'},
      h('img', {src: asset('icon.svg'), width: 22, height: 22, alt: ''}), 'rebasind'),
    h('nav', {'aria-label': 'Views'}, links),
    h('div.tools', pulse(), tokenButton(), themeButton()));
  document.getElementById('skip').onclick = () => document.getElementById('main').focus();
  addEventListener('view', ({detail}) => {
    const name = /^(job|sweeps)$/.test(detail.name) ? 'jobs' : detail.name;
    for (const a of links) {
      if (a.dataset.view === name) a.setAttribute('aria-current', 'page');
      else a.removeAttribute('aria-current');
    }
  });
  events.listen('state', showBanner);
  watchMenus();
}

/** A passing message at the foot of the page; faults stay until they are closed. */
export function toast(words, fault = false) {
  const close = () => element.remove();
  const element = h('div', {class: `toast${fault ? ' fault' : ''}`, role: fault ? 'alert' : 'status'},
    h('span', words), h('button.quiet', {'aria-label': 'Close',
      onclick: close}, '\u00d7'));
  document.querySelector('.toast')?.remove();
  document.body.append(element);
  if (!fault) setTimeout(close, 5000);
}

/** Runs an action of a button: what goes wrong becomes a toast. */
export async function attempt(action) {
  try {
    return await action();
  } catch (error) {
    if (error.name !== 'AbortError') toast(error.message, true);
    return undefined;
  }
}

/** What a view shows in place of something that could not be loaded. */
export const fault = error =>
  h('p.fault', {role: 'alert'}, error.message,
    error.requestId ? h('span.aside', ` (request ${error.requestId})`) : null);
