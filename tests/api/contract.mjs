// The contract, held against a running daemon: every operation of openapi.yaml is called, and every
// answer, errors too, must have a status, a media type, headers and a body that openapi.yaml knows.
// Bodies are checked by ajv against schemas that are closed for the purpose: what clients must
// tolerate (members they do not know) the daemon may not do unwritten.
//
//     REBASIND_BIN=build/dev/rebasind npm run contract
//
// The daemon listens on a free loopback port, on a fresh data folder, and is ended by its process id.
import Ajv from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';

const root = fileURLToPath(new URL('../../', import.meta.url));
const fixtures = join(root, 'tests/fixtures');
const binary = process.env.REBASIND_BIN ?? join(root, 'build/dev/rebasind');
const contract = parse(readFileSync(join(root, 'openapi.yaml'), 'utf8'));

// ---- the document, as something to check against ----

const escape = (token) => token.replaceAll('~', '~0').replaceAll('/', '~1');
const resolve = (node) =>
  node?.$ref ? resolve(node.$ref.slice(2).split('/').reduce((at, key) => at[key], contract)) : node;

// Parts of an allOf see only their own members, so they cannot be closed; the whole can.
function closeSchemas(document) {
  const parts = new Set();
  const visit = (node, action) => {
    if (node === null || typeof node !== 'object') return;
    action(node);
    Object.values(node).forEach((child) => visit(child, action));
  };
  visit(document, (node) => node.allOf?.forEach((part) => parts.add(part.$ref ? resolve(part) : part)));
  visit([document.paths, document.components.schemas], (node) => {
    if (parts.has(node)) return;
    if (node.allOf) node.unevaluatedProperties = false;
    else if (node.properties && node.type && node.additionalProperties === undefined)
      node.additionalProperties = false;
  });
}

closeSchemas(contract);
const ajv = new Ajv({ strict: false, allErrors: true });
addFormats(ajv);
ajv.addSchema(contract, 'contract');

const operations = Object.entries(contract.paths).flatMap(([path, item]) =>
  Object.entries(item)
    .filter(([method]) => method !== 'parameters')
    .map(([method, operation]) => ({
      method,
      path,
      id: operation.operationId,
      operation,
      pattern: new RegExp('^' + path.replace(/\{[^}]+\}/g, '[^/]+') + '$'),
    })));

// The most literal path wins: /v1/jobs/batch before /v1/jobs/{id}.
function findOperation(method, path) {
  const fitting = operations.filter((o) => o.method === method && o.pattern.test(path));
  return fitting.sort((a, b) => a.path.split('{').length - b.path.split('{').length)[0];
}

function findSchema(found, status, mediaType) {
  const response = found.operation.responses[status];
  const base = response.$ref ?? `#/paths/${escape(found.path)}/${found.method}/responses/${status}`;
  const pointer = `${base}/content/${escape(mediaType)}/schema`;
  return ajv.getSchema('contract' + pointer.replaceAll('{', '%7B').replaceAll('}', '%7D'));
}

// ---- the daemon ----

const dataDir = mkdtempSync(join(tmpdir(), 'rebasind-contract-'));
// Ours are for the test, not for the daemon.
const environment = Object.fromEntries(Object.entries(process.env).filter(([k]) => !k.startsWith('REBASIND_')));
const daemon = spawn(binary, ['serve', '--listen', '127.0.0.1:0', '--data-dir', dataDir,
  '--import-root', fixtures, '--workers', '2', '--log-format', 'json'],
  { stdio: ['ignore', 'pipe', 'pipe'], env: environment });
let log = '';
let service = '';

function started() {
  return new Promise((done, failed) => {
    const hear = (bytes) => {
      log += bytes;
      const address = /http:\/\/127\.0\.0\.1:\d+/.exec(log);
      if (address && !service) done((service = address[0]));
    };
    daemon.stdout.on('data', hear);
    daemon.stderr.on('data', hear);
    daemon.on('error', failed);
    daemon.on('exit', (code) => failed(new Error(`the daemon ended with ${code}\n${log}`)));
  });
}

// ---- one request, checked ----

const driven = new Map(); // operationId -> statuses seen
const faults = [];
const optionalHeaders = new Set(['Retry-After', 'Idempotency-Replayed', 'Location', 'WWW-Authenticate']);

function checkBody(found, reply, text) {
  const response = resolve(found.operation.responses[reply.status]);
  const mediaType = (reply.headers.get('content-type') ?? '').split(';')[0];
  if (!response.content) return text === '' ? [] : ['has a body, none is documented'];
  if (!response.content[mediaType]) return [`undocumented media type ${mediaType}`];
  if (!mediaType.endsWith('json')) return [];
  const validate = findSchema(found, reply.status, mediaType);
  if (validate(JSON.parse(text))) return [];
  return validate.errors.map((e) => `${e.instancePath} ${e.message} ${JSON.stringify(e.params)}`);
}

function checkReply(found, reply, text) {
  const response = resolve(found.operation.responses[reply.status]);
  if (!response) return [`undocumented status ${reply.status}`];
  const isStream = reply.headers.get('content-type') === 'text/event-stream';
  const missing = Object.keys(response.headers ?? {})
    .filter((name) => !optionalHeaders.has(name) && !(isStream && name === 'ETag'))
    .filter((name) => reply.headers.get(name) === null)
    .map((name) => `no header ${name}`);
  return [...missing, ...checkBody(found, reply, text)];
}

function encodeBody(body) {
  if (body === undefined || typeof body === 'string' || body instanceof Uint8Array) return [body, {}];
  return [JSON.stringify(body), { 'content-type': 'application/json' }];
}

async function call(method, path, expected, { body, headers = {} } = {}) {
  const found = findOperation(method.toLowerCase(), path.split('?')[0]);
  const [bytes, type] = encodeBody(body);
  const reply = await fetch(service + path, { method, body: bytes, headers: { ...type, ...headers } });
  const text = await reply.text();
  const wrong = checkReply(found, reply, text);
  if (reply.status !== expected) wrong.push(`status ${reply.status}, expected ${expected}`);
  if (wrong.length > 0) faults.push(`${method} ${path}\n    ${wrong.join('\n    ')}\n    ${text.slice(0, 400)}`);
  driven.set(found.id, (driven.get(found.id) ?? new Set()).add(reply.status));
  const json = reply.headers.get('content-type')?.split(';')[0].endsWith('json') && text !== '';
  return { reply, text, json: json ? JSON.parse(text) : undefined };
}

// ---- what is called ----

const file = (name) => readFileSync(join(fixtures, name));
const unknownJob = 'job_019a2c9e-7c1d-7b3e-8f00-1234567890ab';

async function callService() {
  for (const path of ['/livez', '/readyz', '/readyz?verbose=true', '/version', '/metrics', '/v1/stats',
    '/openapi.yaml', '/openapi.json'])
    await call('GET', path, 200);
  const { text } = await call('GET', '/', 200);
  const asset = /(?:src|href)="(?:\.\/)?(dashboard\/[^"]+)"/.exec(text)?.[1];
  if (asset) await call('GET', '/' + asset, 200);
  await call('GET', '/dashboard/none.js', 404);
  const { reply } = await call('GET', '/version', 200);
  await call('GET', '/version', 304, { headers: { 'if-none-match': reply.headers.get('etag') } });
  await call('GET', '/v1/stats?bogus=1', 400);
}

async function callModels() {
  const path = (name) => join(fixtures, 'models', name);
  for (const name of ['bert-a', 'bert-b', 'authors-a', 'authors-b'])
    await call('POST', '/v1/models', 201, { body: { name, path: path(name) } });
  await call('POST', '/v1/models', 409, { body: { name: 'bert-a', path: path('bert-a') } });
  await call('POST', '/v1/models', 422, { body: { name: 'x', path: '/etc' } });
  await call('POST', '/v1/models', 422, { body: { name: 'X', pth: 1 } });
  await call('POST', '/v1/models', 400, { body: '{"a":', headers: { 'content-type': 'application/json' } });
  await call('POST', '/v1/models', 415, { body: 'x', headers: { 'content-type': 'text/plain' } });
  await call('POST', '/v1/models', 403,
    { body: { name: 'x', path: '/etc' }, headers: { origin: 'https://evil.example' } });
  const put = (name, expected, body, headers) =>
    call('PUT', `/v1/models/up/files/${name}`, expected, { body, headers });
  const vocab = file('models/bert-a/vocab.txt');
  const digest = createHash('sha256').update(vocab).digest('base64');
  await put('config.json', 201, file('models/bert-a/config.json'));
  await put('model.safetensors', 201, file('models/bert-a/model.safetensors'));
  await put('vocab.txt', 201, vocab, { 'repr-digest': `sha-256=:${digest}:` });
  await put('vocab.txt', 200, vocab);
  await put('vocab.txt', 422, 'other', { 'repr-digest': `sha-256=:${digest}:` });
  await put('vocab.txt', 400, vocab, { 'repr-digest': 'sha-256=oops' });
  await put('model.safetensors', 422, vocab);
  await call('GET', '/v1/models/up', 200);
  await call('GET', '/v1/models/none', 404);
  const { json } = await call('GET', '/v1/models?limit=2', 200);
  await call('GET', `/v1/models?limit=2&page_token=${json.next_page_token}`, 200);
  await call('GET', '/v1/models?page_token=oops', 400);
  await call('DELETE', '/v1/models/up', 204);
  await call('DELETE', '/v1/models/up', 404);
}

async function callDatasets() {
  const align = { name: 'align', path: join(fixtures, 'data/align.txt') };
  await call('POST', '/v1/datasets', 201, { body: align });
  await call('POST', '/v1/datasets', 409, { body: align });
  await call('POST', '/v1/datasets', 422, { body: { ...align, format: 'csv' } });
  await call('PUT', '/v1/datasets/eval', 201, { body: file('data/eval.txt') });
  await call('PUT', '/v1/datasets/eval', 200, { body: file('data/eval.txt') });
  await call('PUT', '/v1/datasets/authors?format=jsonl&text=sentence&label=label', 201,
    { body: file('data/authors.jsonl') });
  await call('PUT', '/v1/datasets/bad?format=jsonl', 400, { body: 'x' });
  await call('PUT', '/v1/datasets/bad?format=jsonl&text=t', 422, { body: 'x' });
  await call('GET', '/v1/datasets/authors', 200);
  await call('GET', '/v1/datasets/none', 404);
  await call('GET', '/v1/datasets', 200);
  await call('DELETE', '/v1/datasets/none', 404);
}

const spec = {
  name: 'contract',
  labels: { suite: 'contract' },
  models: { a: 'bert-a', b: 'bert-b' },
  align: { dataset: 'align', max_sequences: 20, rotate_heads: true },
  interpolate: { points: 3 },
  evaluate: { task: 'mlm', dataset: 'eval', max_blocks: 4 },
  outputs: { merged: [0.5] },
};

async function finished(id) {
  for (let tag = ''; ; ) {
    const { json, reply } = await call('GET', `/v1/jobs/${id}`, 200,
      { headers: tag === '' ? {} : { prefer: 'wait=30', 'if-none-match': tag } });
    if (['succeeded', 'failed', 'canceled'].includes(json.status)) return json;
    tag = reply.headers.get('etag');
  }
}

async function callSubmissions() {
  const post = (expected, body, headers, query = '') =>
    call('POST', '/v1/jobs' + query, expected, { body, headers });
  await post(200, spec, {}, '?dry_run=true');
  await post(422, { ...spec, align: { datset: 1 } });
  await post(422, { ...spec, models: { a: 'bert-a', b: 'none' } });
  await post(422, { ...spec, models: { a: 'bert-a', b: 'authors-b' } });
  await post(400, spec, { prefer: 'wait=9999' });
  const { json } = await post(202, spec, { 'idempotency-key': 'k1' });
  await post(202, spec, { 'idempotency-key': 'k1' });
  await post(422, { ...spec, name: 'other' }, { 'idempotency-key': 'k1' });
  await call('DELETE', `/v1/jobs/${json.id}`, 409);
  await call('GET', `/v1/jobs/${json.id}/barrier`, 200);
  const end = await finished(json.id);
  if (end.status !== 'succeeded') faults.push(`the job ended ${end.status}: ${JSON.stringify(end.error)}`);
  return json.id;
}

async function callResults(id) {
  const get = (path, expected, headers) => call('GET', `/v1/jobs/${id}${path}`, expected, { headers });
  for (const path of ['/barrier', '/permutations', '/permutations/layer.0.ff',
    '/permutations/layer.0.mha?rotations=true', '/correlations', '/correlations/layer.0.ff',
    '/correlations/layer.0.ff?matrix=true&size=32', '/artifacts', '/events', '/events?limit=2'])
    await get(path, 200);
  await get('/permutations/none', 404);
  await get('/correlations/none', 404);
  await get('/correlations/layer.0.ff?matrix=true&size=33', 400);
  await get('/barrier', 200, { accept: 'text/csv' });
  await get('/barrier', 406, { accept: 'image/png' });
  const { json } = await get('/artifacts', 200);
  for (const artifact of json.data) await get('/artifacts/' + artifact.name, 200);
  await get('/artifacts/barrier.csv', 206, { range: 'bytes=0-9' });
  await get('/artifacts/barrier.csv', 416, { range: 'bytes=999999-' });
  await get('/artifacts/none', 404);
  await get('/events', 200, { accept: 'text/event-stream' });
  await get('/events', 204, { accept: 'text/event-stream', 'last-event-id': '999999999' });
  await get('/events', 406, { accept: 'image/png' });
  await call('GET', '/v1/events?limit=500', 200);
  await call('GET', `/v1/barriers?job=${id}&job=${id}`, 200);
  await call('GET', '/v1/barriers', 400);
  await call('GET', `/v1/barriers?job=${unknownJob}`, 404);
}

async function callJobs(id) {
  const patch = (expected, body, headers) => call('PATCH', `/v1/jobs/${id}`, expected, { body, headers });
  await call('GET', '/v1/jobs?status=succeeded,failed&label=suite:contract&sort=-priority&limit=1', 200);
  await call('GET', '/v1/jobs?status=oops', 400);
  await call('GET', `/v1/jobs/${unknownJob}`, 404);
  await patch(428, { priority: 3 });
  await patch(412, { priority: 3 }, { 'if-match': '"99999"' });
  await patch(422, {}, { 'if-match': '*' });
  await patch(200, { priority: 3, name: null }, { 'if-match': '*' });
  await call('POST', `/v1/jobs/${id}/cancel`, 409);
  await call('POST', `/v1/jobs/${unknownJob}/retry`, 404);
  await call('POST', `/v1/jobs/${id}/retry`, 200, { headers: { prefer: 'wait=60' } });
  await call('POST', '/v1/jobs/batch', 422, { body: { jobs: [spec, {}] } });
  const long = { ...spec, interpolate: { points: 1001 }, evaluate: { ...spec.evaluate, max_blocks: 64 } };
  const { json } = await call('POST', '/v1/jobs/batch', 202, { body: { jobs: Array(12).fill(long) } });
  // From the last one, which still waits, to the first, which runs.
  const canceled = new Set();
  for (const job of json.data.reverse()) {
    const { status } = (await call('GET', `/v1/jobs/${job.id}`, 200)).json;
    canceled.add(status);
    await call('POST', `/v1/jobs/${job.id}/cancel`, status === 'running' ? 202 : 200);
    await finished(job.id);
  }
  if (!canceled.has('queued') || !canceled.has('running'))
    faults.push(`canceled only jobs that were ${[...canceled]}`);
  await call('POST', `/v1/jobs/${json.data[0].id}/cancel`, 200);
  await call('DELETE', `/v1/jobs/${id}`, 204);
  await call('DELETE', `/v1/jobs/${id}`, 404);
}

async function callClassification() {
  const body = {
    models: { a: 'authors-a', b: 'authors-b' },
    align: { dataset: 'authors', max_sequences: 30 },
    interpolate: { lambdas: [0.5] },
    evaluate: { task: 'classification', dataset: 'authors', max_examples: 20, metric: 'f1' },
  };
  const { json } = await call('POST', '/v1/jobs', 200, { body, headers: { prefer: 'wait=60' } });
  await call('GET', `/v1/jobs/${json.id}/barrier`, 200);
  await call('DELETE', '/v1/datasets/authors', 204);
}

// ---- both sides have the same routes ----

// Every path of the document knows exactly its methods: the daemon names them for another one.
async function checkMethods() {
  const paths = new Map();
  for (const { path, method } of operations) paths.set(path, [...(paths.get(path) ?? []), method.toUpperCase()]);
  for (const [path, methods] of paths) {
    const concrete = path.replaceAll(/\{(\w+)\}/g, (_, name) => (name === 'id' ? unknownJob : 'x'));
    const reply = await fetch(service + concrete, { method: 'OPTIONS' });
    const allowed = (reply.headers.get('allow') ?? '').split(/,\s*/).filter((m) => m && m !== 'HEAD');
    await reply.arrayBuffer();
    // /v1/jobs/batch is also a /v1/jobs/{id}, of a job that cannot exist.
    const extra = allowed.filter((m) => !methods.includes(m) && !path.endsWith('/batch'));
    const lacking = methods.filter((m) => !allowed.includes(m));
    if (reply.status !== 405 || extra.length + lacking.length > 0)
      faults.push(`${path}: the daemon answers ${reply.status} and allows ${allowed}, documented are ${methods}`);
  }
}

// The table of routes names an operation that the document lacks, or the other way round.
function checkRoutes() {
  const source = readFileSync(join(root, 'server/http/routes.c'), 'utf8');
  const routes = new Set([...source.matchAll(/^ +(?:GET|ACT|JSON|STREAM)\("(\w+)"/gm)].map((m) => m[1]));
  for (const { id } of operations) if (!routes.has(id)) faults.push(`${id} is documented, routes.c lacks it`);
  for (const id of routes)
    if (!operations.some((o) => o.id === id)) faults.push(`${id} is a route, openapi.yaml lacks it`);
}

function checkDriven() {
  for (const { id } of operations) {
    const statuses = [...(driven.get(id) ?? [])];
    if (!statuses.some((s) => s < 300) && id !== 'getDashboardFile') faults.push(`${id} was never called with success`);
  }
}

async function main() {
  await started();
  await callService();
  await callModels();
  await callDatasets();
  const id = await callSubmissions();
  await callResults(id);
  await callJobs(id);
  await callClassification();
  await checkMethods();
  checkRoutes();
  checkDriven();
}

try {
  await main();
} catch (error) {
  faults.push(error.stack);
} finally {
  daemon.removeAllListeners('exit');
  daemon.kill('SIGTERM');
  await new Promise((done) => (daemon.exitCode === null ? daemon.on('exit', done) : done()));
  rmSync(dataDir, { recursive: true, force: true });
}
const calls = [...driven.values()].reduce((sum, statuses) => sum + statuses.size, 0);
if (faults.length > 0) {
  console.error(faults.map((fault) => '- ' + fault).join('\n'));
  console.error(`\nlog of the daemon:\n${log.split('\n').slice(-20).join('\n')}`);
  process.exit(1);
}
console.log(`${operations.length} operations, ${calls} kinds of answers: all as openapi.yaml says`);
