// What jobs are filtered, sorted, grouped and tabled by: members of the spec, labels, figures.
import {flatten, NONE, number} from './format.js';

const UNTOLD = new Set(['name', 'priority']); // of a spec: not what makes results differ
const PARTS = /^(models|align|interpolate|evaluate|merge|outputs)\./;
// Other values of these make a repetition, not another setting.
const REPEATS = /^models\.|\.seed$/;

const DIFFERENT = 'not the same function';

/** From the best to what is none. */
export const VERDICTS = ['better than both', 'between', 'worse than both', 'no better than chance', DIFFERENT];

/** What the curve says about merging, in a word or a few; '' where the daemon has not said it. */
export const verdictOf = ({summary: s}) => s.verdict?.text ?? (s.equivalent === false ? DIFFERENT : '');

/** The same for people: also where the best point lies beside an end. */
export const verdictWords = job => job.summary.verdict?.label ?? verdictOf(job);

/** Whether its figures may be held against others': not if moved B is another function. */
export const ranks = job => verdictOf(job) !== DIFFERENT;

/** The figures: [words, of a job]. */
export const FIGURES = {
  barrier: ['Barrier', j => j.summary.barrier_mean],
  chord: ['Over chord', j => j.summary.barrier_chord],
  control: ['Control', j => j.summary.control_barrier_mean],
  reduction: ['Reduction', j => j.summary.reduction],
  best: ['Best loss', j => j.summary.verdict?.loss ?? null],
};

const specs = new WeakMap(); // job -> its spec by path

/** A member of the spec ("align.heads"), or a label ("label.seed"); undefined where there is none. */
export function fieldOf(job, path) {
  return path.startsWith('label.') ? job.labels[path.slice(6)] : specOf(job).get(path);
}

function specOf(job) {
  if (!specs.has(job)) specs.set(job, new Map(flatten(job.spec)));
  return specs.get(job);
}

export const fieldText = (job, path) => String(fieldOf(job, path) ?? NONE);

export const isField = id => PARTS.test(id) || id.startsWith('label.');

/** The members of the specs that are not the same in all jobs: [path]. */
export function differences(jobs) {
  const paths = new Set();
  for (const job of jobs) for (const path of specOf(job).keys()) paths.add(path);
  return [...paths].filter(p => !UNTOLD.has(p) && !p.startsWith('labels.') &&
    jobs.some(j => fieldOf(j, p) !== fieldOf(jobs[0], p)));
}

/** Those of them that make jobs unlike, so that a mean of theirs would be of nothing: [path].
 * control: alignment does not matter to it. */
export const unlike = (jobs, control = false) => differences(jobs).filter(p => !REPEATS.test(p) &&
  !(control && p.startsWith('align.')) && !/^(outputs|merge)\./.test(p));

export const labelKeys = jobs => [...new Set(jobs.flatMap(j => Object.keys(j.labels)))].sort();

/** Columns of a table for fields, by their ids. */
export const fieldColumn = id => ({id, label: id.replace(/^label\./, ''), rank: 2, extra: true,
  value: j => fieldText(j, id), order: j => fieldOf(j, id)});

/* ---- filters: "align.heads:ignore", "barrier<3.1", "verdict:better" ---- */

const bare = text => String(text).toLowerCase().replaceAll(/[\s,]+/g, '-');

const COMPARE = {'<': (a, b) => a < b, '>': (a, b) => a > b, '<=': (a, b) => a <= b,
  '>=': (a, b) => a >= b, '=': (a, b) => a === b};

/** What a term asks of a job: f(job), or null if it is no such term. */
export function termOf(text) {
  const [, key, sign, rest] = text.match(/^([a-z][a-z0-9._-]*)(<=|>=|[<>=:])(.+)$/) ?? [];
  const figure = FIGURES[key]?.[1] ?? (isField(key ?? '') ? j => fieldOf(j, key) : null);
  if (sign === ':' && key === 'verdict') return j => bare(verdictWords(j)).includes(bare(rest));
  if (sign === ':' && isField(key)) return j => bare(fieldOf(j, key)) === bare(rest);
  if (!figure || sign === ':' || Number.isNaN(Number(rest))) return null;
  return j => typeof figure(j) === 'number' && ranks(j) && COMPARE[sign](figure(j), Number(rest));
}

export const passes = (job, terms) => terms.every(t => termOf(t)?.(job) ?? true);

/* ---- the method in a line ---- */

const some = list => list.filter(Boolean).join(', ');

/** "ff + mha, rotated heads · 1 000 sequences of align · mlm on eval · 21 points"; of what is there. */
export function method({align: a = {}, interpolate: i = {}, evaluate: e = {}, merge: m = {}}) {
  const aligned = a.from_job ? 'the alignment of another job' : a.components && (a.components.length === 0
    ? 'plain averaging' : some([a.components.join(' + '), a.heads !== 'permute' && a.heads && `heads ${a.heads}`,
      (a.rotate_heads || a.head_map === 'orthogonal') && 'rotated heads', a.separate_qk && 'queries and keys apart',
      a.components.includes('residual') && (a.residual_map === 'orthogonal' ? 'stream turned' : `residual ${a.residual}`),
      a.signed && 'signed', a.learn && `learned in ${a.learn.steps} steps`]));
  return [aligned,
    a.dataset && a.components?.length !== 0 && (a.max_sequences
      ? `${number(a.max_sequences, 0)} sequences of ${a.dataset}` : `aligned on ${a.dataset}`),
    e.task && `${e.task}${e.dataset ? ` on ${e.dataset}` : ''}`,
    i.lambdas ? `${i.lambdas.length} \u03bb` : i.points && `${i.points} points`,
    some([m.method === 'least_squares' && 'merged by least squares', m.finetune && `merge trained in ${m.finetune.steps} steps`])].filter(Boolean).join(' \u00b7 ');
}

/** The specs' members that all jobs share, as a spec. */
export function shared(jobs) {
  const result = {};
  for (const part of ['align', 'interpolate', 'evaluate'])
    result[part] = Object.fromEntries(Object.entries(jobs[0]?.spec[part] ?? {}).filter(([key, value]) =>
      jobs.every(j => JSON.stringify(j.spec[part]?.[key]) === JSON.stringify(value))));
  return result;
}
