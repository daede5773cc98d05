// One stream of server-sent events for the whole page, read with fetch so that the token stays in
// a header.
//
// The stream is opened beside whatever a view loads; "resync" then tells views to load again, since
// something may have happened in between. After a short break Last-Event-ID brings what was missed.
// After a long one, or one in which the daemon was gone (its store may be another one now), the
// stream starts anew and "resync" does the same. A hidden page closes its stream: browsers allow
// only six connections to a host, and a lab keeps many tabs.
import {authorization, needToken, problemOf, root} from './api.js';

const SILENCE_MS = 40000; // heartbeats come every 15 s
const HIDDEN_MS = 5000;
const RESUME_MS = 120000; // after this, loading again is cheaper than replaying

const bus = new EventTarget();
let controller = null;
let lastId = null;
let lastHeard = 0;
let failures = 0;
let state = 'connecting'; // live, gone, paused (hidden), locked (no token)
let wake = null; // ends the pause before the next attempt

/** f(event): type "status", "progress", "point" or "note" with {job, data}, "resync", "state". Returns what
 * ends it. */
export function listen(type, f) {
  const heard = e => f(e.detail);
  bus.addEventListener(type, heard);
  return () => bus.removeEventListener(type, heard);
}

const tell = (type, detail) => bus.dispatchEvent(new CustomEvent(type, {detail}));

function setState(next) {
  if (next === state) return;
  state = next;
  tell('state', {state});
}

/** When the stream was last opened: what was asked for before that needs asking again. */
export let openedAt = 0;

export const now = () => wake?.();

/* The data of a frame is one line, and says the event's id and type too. */
function frame(text) {
  const data = text.match(/^data:(.*)$/m);
  if (!data) return; // a heartbeat
  const event = JSON.parse(data[1]);
  lastId = event.id ?? lastId; // passing progress has none
  tell(event.type, event);
}

async function read(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    lastHeard = Date.now();
    rest += value;
    const frames = rest.split('\n\n');
    rest = frames.pop();
    frames.forEach(frame);
  }
}

/** One connection, until it ends. */
async function connect() {
  controller = new AbortController();
  const resumes = lastId !== null && state !== 'gone' && Date.now() - lastHeard < RESUME_MS;
  const sent = authorization();
  const response = await fetch(new URL('v1/events', root), {
    signal: controller.signal,
    headers: {
      Accept: 'text/event-stream',
      ...(resumes ? {'Last-Event-ID': lastId} : {}),
      ...sent,
    },
  });
  if (response.status === 401) {
    const words = sent.Authorization ? (await problemOf(response)).message : '';
    // A view may have got the right token while this one was refused.
    const stale = authorization().Authorization !== sent.Authorization;
    if (!stale && !(await needToken(words))) setState('locked');
    return;
  }
  if (!response.ok) throw new Error(String(response.status));
  lastHeard = openedAt = Date.now();
  failures = 0;
  setState('live');
  if (!resumes) {
    lastId = null;
    tell('resync');
  }
  await read(response.body);
}

const once = (target, type) =>
  new Promise(resolve => target.addEventListener(type, resolve, {once: true}));

export async function start() {
  addEventListener('gone', () => controller?.abort());
  setInterval(() => {
    if (state === 'live' && Date.now() - lastHeard > SILENCE_MS) controller?.abort();
  }, 5000);
  let hiding = null;
  document.addEventListener('visibilitychange', () => {
    clearTimeout(hiding);
    if (!document.hidden) return;
    hiding = setTimeout(() => {
      setState('paused');
      controller?.abort();
    }, HIDDEN_MS);
  });
  for (;;) {
    try {
      await connect();
    } catch {
      // refused, broken off, or ours to end
    }
    if (state === 'locked') await once(window, 'token');
    if (state === 'paused' && document.hidden) {
      await once(document, 'visibilitychange');
      continue;
    }
    // One break is a restart or an impatient proxy; two are an outage.
    const wait = Math.min(500 * 2 ** failures, 10000) * (0.75 + Math.random() / 2);
    if (failures++ > 0) setState('gone');
    await new Promise(resolve => {
      wake = resolve;
      setTimeout(resolve, wait);
    });
  }
}
