// What keeps a daemon from answering: for every operation the same cause, and for every error code
// of the contract one that brings it about, on daemons of their own where limits have to be low.
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fixtures, runCommand, sleep } from './daemon.mjs';
import { CheckedDaemon, check, faults, met, operations } from './document.mjs';
import { hasEnded, longSpec, register, shortSpec, spec, sweepId, unknownJob, unknownSweep, until } from './walk.mjs';

// ---- one cause, every operation ----

const taking = (o) => o.operation.requestBody !== undefined;
const takingJson = (o) => taking(o) && o.operation.requestBody.content['application/json'] !== undefined;
const documents = (status) => (o) => o.operation.responses[status] !== undefined;
const isOpen = (o) => o.operation.security?.length === 0;
const json = { 'content-type': 'application/json' };

// The path of something that is there; for job null, of something that is not.
function concrete(o, job) {
  const names = { '/v1/models': 'bert-a', '/v1/datasets': 'eval', '/v1/jobs': 'barrier.csv' };
  const name = Object.entries(names).find(([start]) => o.path.startsWith(start))?.[1];
  const values = { id: job ?? unknownJob, name: job ? name : 'none', file: 'vocab.txt', group: 'layer.0.ff',
    folder: 'lambda-0.50', lambda: '0.5' };
  if (o.path.startsWith('/v1/sweeps')) values.id = job ? sweepId : unknownSweep;
  if (o.path.endsWith('/artifacts/merged/{file}')) values.file = 'lambda-0.50.tar.sha256';
  const path = o.path.replaceAll(/\{(\w+)\}/g, (_, key) => values[key]);
  return o.id === 'getBarriers' ? `${path}?job=${values.id}` : path;
}

const withQuery = (path, query) => path + (path.includes('?') ? '&' : '?') + query;

/** make(operation, path): what to send: {path, body, headers}. */
async function sweep(daemon, job, expected, fits, make) {
  for (const o of operations.filter(fits)) {
    const path = concrete(o, job);
    const { path: changed, ...options } = make(o, path);
    await daemon.call(o.method, changed ?? path, expected, options);
  }
}

const all = () => true;
const withBody = (o, body = '{}') => (taking(o) ? { body, headers: takingJson(o) ? json : {} } : {});

async function sweepRequests(d, job) {
  await sweep(d, job, '400 invalid_query', all, (o, path) => ({ path: withQuery(path, 'bogus=1'), ...withBody(o) }));
  await sweep(d, null, '404 not_found', (o) => documents(404)(o) && /[{]|barriers/.test(o.path) && o.id !== 'getDashboardFile',
    (o) => ({ ...withBody(o, '{"priority":1}'), headers: { ...(taking(o) ? json : {}), 'if-match': '*' } }));
  await sweep(d, job, '406 not_acceptable', documents(406), () => ({ headers: { accept: 'image/png' } }));
  await sweep(d, job, '413 too_large', (o) => !taking(o), () => ({ body: 'x' }));
  await sweep(d, job, '413 too_large', takingJson, () => ({ body: ' '.repeat(1 << 21), headers: json }));
  await sweep(d, job, '414 uri_too_long', all, (o, path) => ({ path: withQuery(path, 'x'.repeat(20000)) }));
  await sweep(d, job, '415 unsupported_media_type', taking, () => ({ body: '{}', headers: { ...json, 'content-encoding': 'gzip' } }));
  await sweep(d, job, '421 misdirected_request', all, () => ({ headers: { host: 'evil.example' } }));
  await sweep(d, job, '431 headers_too_large', all, () => ({ headers: { 'x-long': 'x'.repeat(40000) }, agent: false }));
  for (const o of operations)
    check(o.method, concrete(o, job), await d.request('OPTIONS', concrete(o, job)), '405 method_not_allowed');
}

// Other bytes at every request.
const everNew = new Set(['getStats', 'getMetrics']);

/** Every GET answers HEAD, and If-None-Match with its ETag. Nothing may change meanwhile. */
async function sweepConditions(d, job) {
  const settled = (o) => o.method === 'GET' && !everNew.has(o.id) && o.id !== 'getDashboardFile';
  for (const o of operations.filter(settled)) {
    const path = concrete(o, job);
    const { reply } = await d.call('GET', path, 200);
    const etag = reply.headers.get('etag');
    const head = await d.request('HEAD', path);
    if (head.status !== 200 || head.text !== '' || head.headers.get('etag') !== etag)
      faults.push(`HEAD ${path}: ${head.status}, ETag ${head.headers.get('etag')}, GET has ${etag}`);
    await d.call('GET', path, 304, { headers: { 'if-none-match': etag } });
  }
}

// ---- who may ----

const tokenOf = (daemon, scopes) =>
  runCommand('token', 'create', '--scopes', scopes, '--data-dir', daemon.dataDir).stdout.trim();

async function tokens() {
  const d = await CheckedDaemon.start();
  const token = tokenOf(d, 'read');
  const closed = (o) => !isOpen(o);
  await sweep(d, null, '401 unauthorized', closed, () => ({}));
  await sweep(d, null, '401 unauthorized', closed, () => ({ headers: { authorization: 'Bearer none' } }));
  await sweep(d, null, '403 forbidden', (o) => o.operation['x-scope'] === 'submit',
    () => ({ headers: { authorization: `Bearer ${token}` } }));
  await sweep(d, null, undefined, isOpen, () => ({}));
  await d.stop();
}

// ---- how much, how many, how long ----

async function limits() {
  const d = await CheckedDaemon.start('--max-upload-bytes', '1000', '--body-timeout', '300ms', '--queue-limit', '1');
  await sweep(d, null, '413 too_large', (o) => taking(o) && !takingJson(o), () => ({ body: 'x'.repeat(1001) }));
  await Promise.all(operations.filter(taking).map(async (o) => {
    const path = concrete(o, null);
    check(o.method, path, await d.raw(`${o.method} ${path} HTTP/1.1\r\nHost: localhost\r\n` +
      'Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{'), '408 body_timeout');
  }));
  await d.stop();
}

async function connections() {
  const d = await CheckedDaemon.start('--max-connections-per-address', '1');
  const only = await d.connect();
  await sweep(d, null, '429 too_many_connections', all, () => ({ agent: false }));
  only.destroy();
  await d.stop();
}

/** Fills the queue; returns the jobs that were taken. */
async function fill(d) {
  const taken = [];
  for (;;) {
    const { reply, json } = await d.call('POST', '/v1/jobs', undefined, { body: longSpec });
    if (reply.status !== 202) return taken;
    taken.push(json.id);
  }
}

async function queue() {
  const d = await CheckedDaemon.start('--queue-limit', '1');
  await register(d);
  const [first] = await fill(d);
  await d.call('POST', '/v1/jobs', '429 queue_full', { body: longSpec });
  await d.call('POST', '/v1/jobs/batch', '429 queue_full', { body: { jobs: [longSpec] } });
  await d.call('POST', `/v1/jobs/${first}/cancel`, 202);
  await until(d, first, hasEnded);
  await fill(d);
  await d.call('POST', `/v1/jobs/${first}/retry`, '429 queue_full');
  await d.stop();
}

/** The second of two requests with one key comes while the first is being checked. */
async function inFlight() {
  const d = await CheckedDaemon.start();
  await register(d);
  const options = { body: { jobs: Array(100).fill(spec) }, headers: { 'idempotency-key': 'same' } };
  // Where this process was not given the processor in between, the second comes too late: another key is another try.
  let statuses;
  for (let attempt = 0; attempt < 5 && String(statuses) !== '202,409'; attempt++) {
    options.headers['idempotency-key'] = `same-${attempt}`;
    const both = await Promise.all([1, 2].map(() => d.call('POST', '/v1/jobs/batch', undefined, options)));
    statuses = both.map(({ reply }) => reply.status).sort();
  }
  if (String(statuses) !== '202,409') faults.push(`two requests with one key at once: ${statuses}`);
  await d.stop();
}

// ---- what the machine takes away ----

/** Bodies of other requests fill what is set aside for them. */
async function memory() {
  const d = await CheckedDaemon.start('--max-body-bytes', '300MiB');
  const half = 129 << 20;
  const hog = await d.connect();
  hog.on('error', () => {});
  await new Promise((done) => hog.write(Buffer.concat([
    Buffer.from(`POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${half + 1}\r\n\r\n`),
    Buffer.alloc(half, ' ')]), done));
  await sleep(200);
  await sweep(d, null, '503 out_of_memory', takingJson, () => ({ body: '{}', headers: json }));
  hog.destroy();
  await d.stop();
}

async function disk() {
  const d = await CheckedDaemon.start();
  const release = d.limit('fsize', 1 << 20);
  const body = Buffer.alloc(2 << 20, 'a line\n');
  await d.call('PUT', '/v1/datasets/big', '503 no_space', { body });
  await d.call('PUT', '/v1/models/big/files/vocab.txt', '503 no_space', { body });
  release();
  await d.call('PUT', '/v1/datasets/big', 201, { body });
  await d.stop();
}

async function files() {
  const d = await CheckedDaemon.start();
  await d.call('GET', '/livez', 200); // and keeps the connection
  const release = d.limit('nofile', d.openFiles());
  await d.call('POST', '/v1/datasets', '503 out_of_files', { body: { name: 'x', path: join(fixtures, 'data/eval.txt') } });
  await d.call('POST', '/v1/models', '503 out_of_files', { body: { name: 'x', path: join(fixtures, 'models/bert-a') } });
  release();
  await d.stop();
}

const sqlite = (daemon, sql, then) => ['-c',
  'import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.executescript(sys.argv[2]); ' + then,
  join(daemon.dataDir, 'rebasind.db'), sql];

/** The database as someone else's transaction or hand leaves it. */
async function store() {
  const d = await CheckedDaemon.start();
  await register(d);
  const { json: { id } } = await d.call('POST', '/v1/jobs', 200,
    { body: shortSpec, headers: { prefer: 'wait=60' } });
  const holder = spawn('python3', sqlite(d, 'BEGIN IMMEDIATE', 'print("held", flush=True); sys.stdin.read()'));
  await new Promise((done) => holder.stdout.once('data', done));
  await d.call('POST', '/v1/jobs', '503 store_unavailable', { body: longSpec });
  await d.call('PATCH', `/v1/jobs/${id}`, '503 store_unavailable', { body: { priority: 1 }, headers: { 'if-match': '*' } });
  await d.call('DELETE', `/v1/jobs/${id}`, '503 store_unavailable');
  holder.stdin.end();
  await new Promise((done) => holder.on('exit', done));
  await d.call('PATCH', `/v1/jobs/${id}`, 200, { body: { priority: 1 }, headers: { 'if-match': '*' } });
  const tables = ['jobs', 'models', 'datasets', 'events'];
  spawnSync('python3', sqlite(d, tables.map((t) => `ALTER TABLE ${t} RENAME TO lost_${t};`).join(''), 'pass'));
  for (const path of ['/v1/jobs', '/v1/models', '/v1/datasets', '/v1/events', `/v1/jobs/${id}`])
    await d.call('GET', path, '500 internal_error');
  await sweep(d, id, undefined, all, (o) => ({ ...withBody(o, '{"priority":1}'), headers: { ...(taking(o) ? json : {}), 'if-match': '*' } }));
  await d.call('GET', '/livez', 200);
  await d.stop();
}

async function lostArtifact(d, job) {
  const folder = join(d.dataDir, 'jobs');
  const found = readdirSync(folder, { recursive: true }).filter((path) => path.endsWith('barrier.csv') && path.includes(job));
  if (found.length !== 1) throw new Error(`${folder} holds ${found} for barrier.csv`);
  rmSync(join(folder, found[0]));
  await d.call('GET', `/v1/jobs/${job}/artifacts/barrier.csv`, '500 io_error');
}

// ---- inputs that cannot be used ----

/** Lets change the header and the data of a safetensors file. */
function rewrite(path, change) {
  const bytes = readFileSync(path);
  const length = Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString());
  const data = Buffer.from(bytes.subarray(8 + length));
  change(header, data);
  const text = Buffer.from(JSON.stringify(header));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(path, Buffer.concat([size, text, data]));
}

const dense = 'bert.encoder.layer.1.intermediate.dense.weight';

const damages = {
  invalid_model_config: (f) => writeFileSync(join(f, 'config.json'), '{"model_type":"gpt2"}'),
  invalid_vocabulary: (f) => writeFileSync(join(f, 'vocab.txt'), '[UNK]\na\n'),
  missing_tensor: (f) => rewrite(join(f, 'model.safetensors'), (header) => {
    header.other = header[dense];
    delete header[dense];
  }),
  shape_mismatch: (f) => rewrite(join(f, 'model.safetensors'), (header) => header[dense].shape.reverse()),
};

async function damagedModels() {
  const d = new CheckedDaemon();
  const roots = join(d.dataDir, 'roots');
  d.flags = ['--import-root', roots];
  for (const name of [...Object.keys(damages), 'not_finite'])
    cpSync(join(fixtures, 'models/bert-b'), join(roots, name), { recursive: true });
  await d.start();
  await register(d);
  for (const [code, damage] of Object.entries(damages)) {
    damage(join(roots, code));
    await d.call('POST', '/v1/models', `422 ${code}`, { body: { name: code, path: join(roots, code) } });
  }
  // All bits of a float set: not a number, in every dtype.
  rewrite(join(roots, 'not_finite/model.safetensors'), (header, data) => data.fill(255, ...header[dense].data_offsets));
  await d.call('POST', '/v1/models', 201, { body: { name: 'nan', path: join(roots, 'not_finite') } });
  const { json: { id } } = await d.call('POST', '/v1/jobs', 202, { body: { ...spec, models: { a: 'bert-a', b: 'nan' } } });
  const job = await until(d, id, hasEnded);
  if (job.error?.code !== 'not_finite') faults.push(`a model of NaN: the job ended ${job.status} ${job.error?.code}`);
  await d.stop();
}

// ---- beginnings and ends ----

/** An upload under way holds the drain open; what would begin work is refused meanwhile. */
async function draining() {
  const d = await CheckedDaemon.start();
  await register(d);
  const upload = await d.connect();
  upload.write('PUT /v1/datasets/late HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\na line');
  await sleep(100);
  d.process.kill('SIGTERM');
  while ((await d.call('GET', '/readyz')).reply.status === 200) await sleep(10);
  await d.call('GET', '/readyz', '503 draining');
  await sweep(d, unknownJob, '503 draining', (o) => o.method !== 'GET', (o) => withBody(o));
  const answer = new Promise((done) => upload.once('data', (bytes) => done(String(bytes))));
  upload.write('\nb\n');
  if (!(await answer).startsWith('HTTP/1.1 201')) faults.push('an upload under way is cut off by the drain');
  await d.stop();
}

async function crashLoop() {
  const d = await CheckedDaemon.start();
  await register(d);
  const { json: { id } } = await d.call('POST', '/v1/jobs', 202, { body: longSpec });
  for (let i = 0; i < 3; i++) {
    await until(d, id, (job) => job.status === 'running');
    await d.end('SIGKILL');
    await d.start();
  }
  const job = await until(d, id, hasEnded);
  if (job.error?.code !== 'crash_loop') faults.push(`after three crashes the job is ${job.status} ${job.error?.code}`);
  await d.stop();
}

/** Codes that only a command says. */
async function commands() {
  const d = await CheckedDaemon.start();
  const start = (code) => {
    const { stderr } = runCommand('serve', '--listen', '127.0.0.1:0', '--data-dir', d.dataDir, '--log-format', 'json');
    if (stderr.includes(`"code":"${code}"`)) met(code);
    else faults.push(`serve does not say ${code}: ${stderr}`);
  };
  start('data_dir_locked');
  await d.end('SIGTERM');
  spawnSync('python3', sqlite(d, 'PRAGMA user_version = 9999', 'pass'));
  start('newer_store');
  if (!existsSync(join(d.dataDir, 'rebasind.db'))) faults.push('a newer store was removed');
  await d.stop();
}

/** daemon: one that was walked; job: of it, and succeeded. */
export async function sweeps(daemon, job) {
  await sweepConditions(daemon, job);
  await sweepRequests(daemon, job);
  await lostArtifact(daemon, job);
}

/** Each with a daemon of its own. */
export const causes = [tokens, limits, connections, queue, inFlight, memory, disk, files, store, damagedModels,
  draining, crashLoop, commands];
