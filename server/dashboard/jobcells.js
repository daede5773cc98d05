// How a job's parts look, in the list and on its own page.
import {h, put, setText, svg} from './dom.js';
import {FIGURES, ranks, verdictOf, verdictWords} from './fields.js';
import {duration, jobName, NONE, number, percent} from './format.js';
import {link} from './router.js';
import {ends} from './several.js';

export const STATUSES = ['queued', 'running', 'canceling', 'succeeded', 'failed', 'canceled'];
export const PHASES = ['loading', 'aligning', 'solving', 'learning', 'certifying', 'evaluating', 'merging', 'writing'];
/** Those that a job passes: only some learn. */
/** Are its checkpoints more than a sum of weights? */
export const makes = job => ((job.spec.merge?.method ?? 'linear') !== 'linear' || job.spec.merge?.finetune !== undefined) && job.spec.outputs?.merged?.length > 0;

export const phasesOf = job => PHASES.filter(p => (p !== 'learning' || job.spec.align?.learn) &&
  (p !== 'merging' || makes(job)));

export const isOver = job => STATUSES.indexOf(job.status) >= 3;

export const badge = status => h('span.badge', {'data-status': status}, status);

/** The label that a note is kept in: the page shows it as a sentence. */
export const NOTE = 'note';

export const labelText = ([key, value]) => `${key}:${value}`;

/** Labels as links to the jobs that share them. */
export const labels = job =>
  Object.entries(job.labels).filter(([key]) => key !== NOTE).map(pair => h('a.label', {title: 'Jobs with this label',
    href: link('jobs', '', {label: labelText(pair)})}, labelText(pair)));

export const models = job => [
  h('span.model', ends(job.spec.models).a),
  h('span.arrow', {title: 'is what this is aligned to'}, ' \u2190 '),
  h('span.model', ends(job.spec.models).b),
];

export const nameLink = job => h('a', {href: link('job', job.id), class: 'name',
  title: `${jobName(job)}, ${job.id}`}, jobName(job));

/** "evaluating · 43 % · 34 s left in all": the time is the whole job's, not the phase's. */
export function progressText(job) {
  if (job.status === 'failed')
    return job.error ? `${job.error.title}. ${job.error.remedy}` : 'failed';
  if (job.status !== 'running' && job.status !== 'canceling') return '';
  const {fraction, eta_seconds: eta, tasks} = job.progress;
  const parts = [job.phase ?? 'starting'];
  if (fraction > 0) parts.push(percent(fraction));
  if (eta !== null) parts.push(`${duration(eta)} left in all`);
  if (tasks) parts.push(`${tasks.running} of ${tasks.total} tasks run, ${tasks.pending} wait${
    tasks.reason ? `: ${tasks.reason}` : ''}`);
  return parts.join(' \u00b7 ');
}

const NO_RANK = 'Moved B is not the same function as B, so this says nothing about merging A and B.';

/** A figure; greyed, with the reason, where it may not be held against others. */
export function figure(td, job, text) {
  setText(td, text);
  td.classList.toggle('void', !ranks(job) && text !== NONE);
  td.title = ranks(job) ? '' : NO_RANK;
}

const TONES = {'better than both': 'strong', 'worse than both': 'none', 'no better than chance': 'none'};

export const toneOf = job => ranks(job) ? TONES[verdictOf(job)] ?? null : 'void';

export const verdict = (td, job) => put(td, h('span.verdict', {'data-verdict': toneOf(job),
  title: job.summary.verdict?.sentence ?? (ranks(job) ? null : NO_RANK)}, verdictWords(job)));

/** Fills element with a bar and words, changing what is there already. */
export function progress(element, job) {
  const text = progressText(job);
  element.title = job.error ? `${job.error.detail}\n${text}` : text;
  if (isOver(job) || job.status === 'queued') {
    put(element, text ? h('span.aside', text) : '');
    return;
  }
  if (!element.querySelector('.bar'))
    put(element, h('div.bar', {role: 'progressbar', 'aria-valuemin': 0,
      'aria-valuemax': 100, 'aria-label': 'Progress'}, h('div')),
    h('span.aside'));
  const bar = element.querySelector('.bar');
  const share = Math.round(1000 * (job.progress.fraction ?? 0)) / 10;
  bar.firstChild.style.width = `${share}%`;
  bar.setAttribute('aria-valuenow', Math.round(share));
  setText(element.querySelector('.aside'), text);
}

/** The status, and below it how far a live job is or what failed. */
export function state(td, job) {
  if (td.dataset.status !== job.status) {
    td.dataset.status = job.status;
    put(td, badge(job.status), h('div.state'));
  }
  progress(td.lastChild, job);
}

/** The control's and the job's own curve, as wide as a word. curves: {aligned, control}: maps from
 * lambda to loss; low, high: the scale. */
export function sparkline(curves, [low, high] = []) {
  const width = 80, height = 26, pad = 2;
  const all = [...(curves?.aligned.values() ?? []), ...(curves?.control.values() ?? [])];
  if (all.length < 2) return null;
  const span = high - low || 1;
  const path = points => [...points].sort((a, b) => a[0] - b[0]).map(([x, y], i) =>
    `${i === 0 ? 'M' : 'L'}${(pad + x * (width - 2 * pad)).toFixed(1)} ` +
    `${(height - pad - (y - low) / span * (height - 2 * pad)).toFixed(1)}`).join('');
  return svg('svg.spark', { width, height, 'aria-hidden': 'true'},
    svg('path.control', {d: path(curves.control)}),
    svg('path.aligned', {d: path(curves.aligned)}));
}

const errorText = x => (typeof x === 'number' ? ` \u00b1 ${number(100 * x, 1)}` : '');

/** "28.6 % \u00b1 1.2". */
export const reductionText = ({summary: s}) =>
  percent(s.reduction, 1) + errorText(s.reduction_standard_error);

/** The same, in the colour of better or worse. */
export function reduction(element, job) {
  const {reduction: x, reduction_standard_error: error} = job.summary;
  put(element, percent(x, 1), h('span.aside', errorText(error)));
  element.classList.toggle('better', ranks(job) && x !== null && x > 0);
  element.classList.toggle('worse', ranks(job) && x !== null && x < 0);
  element.classList.toggle('void', !ranks(job) && x !== null);
  element.title = ranks(job) ? '' : NO_RANK;
}

/** A column of a table for one of FIGURES. */
export function figureColumn(id, more) {
  const [label, of] = FIGURES[id];
  const text = id === 'reduction' ? reductionText : j => number(of(j), 3);
  return {id, label, figure: true, value: j => `${text(j)}${ranks(j) ? '' : ' '}`, text,
    order: j => ranks(j) ? of(j) : null,
    fill: id === 'reduction' ? reduction : (td, j) => figure(td, j, text(j)), ...more};
}
