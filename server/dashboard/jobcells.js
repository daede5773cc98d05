// How a job's parts look, in the list and on its own page.
import {h, put, setText, svg} from './dom.js';
import {duration, jobName, number, percent, plural} from './format.js';
import {link} from './router.js';

export const STATUSES = ['queued', 'running', 'canceling', 'succeeded', 'failed', 'canceled'];
export const PHASES = ['loading', 'aligning', 'solving', 'certifying', 'evaluating', 'writing'];

export const isOver = job => STATUSES.indexOf(job.status) >= 3;

export const badge = status => h('span', {class: 'badge', 'data-status': status}, status);

export const labelText = ([key, value]) => `${key}:${value}`;

/** Labels as links to the jobs that share them. */
export const labels = job =>
  Object.entries(job.labels).map(pair => h('a', {class: 'label', title: 'Jobs with this label',
    href: link('jobs', '', {label: labelText(pair)})}, labelText(pair)));

export const models = job => [
  h('span', {class: 'model'}, job.spec.models.a),
  h('span', {class: 'arrow', title: 'is what this is aligned to'}, ' \u2190 '),
  h('span', {class: 'model'}, job.spec.models.b),
];

export const nameLink = job => h('a', {href: link('job', job.id), class: 'name'}, jobName(job));

/** "evaluating, 12 of 42 points, 34 s left". */
export function progressText(job) {
  if (job.status === 'failed') return job.error?.title ?? 'failed';
  if (job.status !== 'running' && job.status !== 'canceling') return '';
  const {done, total, unit, eta_seconds: eta} = job.progress;
  const parts = [job.phase ?? 'starting'];
  if (total > 0) parts.push(`${Math.floor(done)} of ${plural(Math.ceil(total), unit ?? '', unit ?? '')}`
    .trim());
  if (eta !== null) parts.push(`${duration(eta)} left`);
  return parts.join(', ');
}

/** Fills element with a bar and words, changing what is there already. */
export function progress(element, job) {
  const text = progressText(job);
  if (isOver(job) || job.status === 'queued') {
    put(element, text ? h('span', {class: 'aside', title: job.error?.detail}, text) : '');
    return;
  }
  if (!element.querySelector('.bar'))
    put(element, h('div', {class: 'bar', role: 'progressbar', 'aria-valuemin': 0,
      'aria-valuemax': 100, 'aria-label': 'Progress'}, h('div')),
    h('span', {class: 'aside'}));
  const bar = element.querySelector('.bar');
  const share = Math.round(1000 * (job.progress.fraction ?? 0)) / 10;
  bar.firstChild.style.width = `${share}%`;
  bar.setAttribute('aria-valuenow', Math.round(share));
  setText(element.querySelector('.aside'), text);
}

/** The control's and the job's own curve, as wide as a word. curves: {aligned, control}: maps from
 * lambda to loss. */
export function sparkline(curves) {
  const width = 96, height = 26, pad = 2;
  const all = [...(curves?.aligned.values() ?? []), ...(curves?.control.values() ?? [])];
  if (all.length < 2) return null;
  const low = Math.min(...all), span = Math.max(...all) - low || 1;
  const path = points => [...points].sort((a, b) => a[0] - b[0]).map(([x, y], i) =>
    `${i === 0 ? 'M' : 'L'}${(pad + x * (width - 2 * pad)).toFixed(1)} ` +
    `${(height - pad - (y - low) / span * (height - 2 * pad)).toFixed(1)}`).join('');
  return svg('svg', {class: 'spark', width, height, 'aria-hidden': 'true'},
    svg('path', {class: 'control', d: path(curves.control)}),
    svg('path', {class: 'aligned', d: path(curves.aligned)}));
}

/** The reduction, with a bar behind it that makes a column of them comparable. */
export function reduction(element, job) {
  const x = job.summary.reduction;
  put(element, percent(x));
  element.classList.toggle('worse', x !== null && x < 0);
}

export const barrierText = x => number(x, 3);
