// Figures and times as people read them.

const MINUS = '\u2212';
export const NONE = '\u2013';

const known = x => typeof x === 'number' && Number.isFinite(x);

/** Fixed decimals, a true minus sign; an en dash when unknown. */
export function number(x, decimals = 3) {
  if (!known(x)) return NONE;
  const text = Math.abs(x).toFixed(decimals);
  return x < 0 && Number(text) !== 0 ? MINUS + text : text;
}

/** "3.28 \u00b1 0.04"; without the error where it is not known. */
export const plusMinus = (x, error, decimals = 3) => number(x, decimals) +
  (known(x) && known(error) ? ` \u00b1 ${number(error, decimals)}` : '');

/** Ticks of an axis with as many decimals as tell them apart, for uPlot. */
export const ticks = (u, values, axis, space, step) =>
  values.map(v => number(v, Math.max(0, Math.ceil(-Math.log10(step) - 1e-9))));

/** Four significant digits at any size, for figures of unknown scale. */
export const figure = x => (known(x) ? x.toPrecision(4).replace('-', MINUS) : NONE);

export const percent = (x, decimals = 0) =>
  known(x) ? number(100 * x, decimals) + '\u202f%' : NONE;

/* By hand: the first use of a browser's own number and date formats costs more than a whole table. */
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** A whole number in groups of three digits. */
export const count = n =>
  (known(n) ? String(n).replace(/\B(?=(\d{3})+$)/g, '\u202f') : NONE);

export function bytes(n) {
  if (!known(n)) return NONE;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return `${i === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)}\u202f${units[i]}`;
}

export function duration(seconds) {
  if (!known(seconds)) return NONE;
  if (seconds < 1) return `${Math.round(seconds * 1000)}\u202fms`;
  if (seconds < 10) return `${seconds.toFixed(1)}\u202fs`;
  const s = Math.round(seconds);
  if (s < 60) return `${s}\u202fs`;
  if (s < 3600) return `${Math.floor(s / 60)}\u202fmin ${String(s % 60).padStart(2, '0')}\u202fs`;
  const minutes = Math.round(s / 60);
  if (s < 86400)
    return `${Math.floor(minutes / 60)}\u202fh ${String(minutes % 60).padStart(2, '0')}\u202fmin`;
  return `${Math.floor(s / 86400)}\u202fd ${Math.round((s % 86400) / 3600)}\u202fh`;
}

const two = n => String(n).padStart(2, '0');

/** "14:03:22" today, "Nov 21 14:03" before. */
export function time(rfc3339) {
  if (!rfc3339) return NONE;
  const t = new Date(rfc3339), now = new Date();
  const clock = `${two(t.getHours())}:${two(t.getMinutes())}`;
  if (t.toDateString() === now.toDateString()) return `${clock}:${two(t.getSeconds())}`;
  const day = `${MONTHS[t.getMonth()]} ${t.getDate()}`;
  return t.getFullYear() === now.getFullYear() ? `${day} ${clock}` : `${day} ${t.getFullYear()}`;
}

/** Seconds between two RFC 3339 times; to now when the second is missing. */
export const elapsed = (from, to) =>
  from ? ((to ? Date.parse(to) : Date.now()) - Date.parse(from)) / 1000 : NaN;

/** The part of a job's id that tells jobs apart at a glance. */
export const shortId = id => id.slice(-8);

export const jobName = job => job.name ?? `job ${shortId(job.id)}`;

export const plural = (n, one, many = one + 's') => `${count(n)} ${n === 1 ? one : many}`;

/** {"align":{"heads":"permute"}} as [["align.heads", "permute"]]; arrays are values. */
export function flatten(value, path = '') {
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    return [[path, Array.isArray(value) ? value.join(', ') : value]];
  return Object.entries(value).flatMap(([k, v]) => flatten(v, path ? `${path}.${k}` : k));
}
