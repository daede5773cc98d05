// A daemon as its clients use it: every operation, with success, and what each refuses by itself.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fixtures, sleep } from './daemon.mjs';
import { faults, written } from './document.mjs';

export const file = (name) => readFileSync(join(fixtures, name));
export const unknownJob = 'job_019a2c9e-7c1d-7b3e-8f00-1234567890ab';

export const unknownSweep = unknownJob.replace('job', 'grp');
/** The sweep that the walk leaves behind. */
export let sweepId = unknownSweep;

export const spec = {
  name: 'contract',
  labels: { suite: 'contract' },
  models: { a: 'bert-a', b: 'bert-b' },
  align: { dataset: 'align', max_sequences: 20, rotate_heads: true, learn: { steps: 2, batch_tokens: 96 } },
  interpolate: { points: 3 },
  evaluate: { task: 'mlm', dataset: 'eval', max_blocks: 4 },
  outputs: { merged: [0.5] },
};
// Only averages and writes.
export const shortSpec = { models: spec.models, align: { components: [] }, outputs: { merged: [0.5] } };
export const longSpec = { ...spec, interpolate: { points: 1001 }, evaluate: { ...spec.evaluate, max_blocks: 64 } };

export async function register(daemon) {
  for (const name of ['bert-a', 'bert-b'])
    await daemon.call('POST', '/v1/models', 201, { body: { name, path: join(fixtures, 'models', name) } });
  for (const name of ['align', 'eval'])
    await daemon.call('PUT', `/v1/datasets/${name}`, 201, { body: file(`data/${name}.txt`) });
}

/** Polls until test(job); returns the job. */
export async function until(daemon, id, test) {
  for (let tag = ''; ; ) {
    const headers = tag === '' ? {} : { prefer: 'wait=5', 'if-none-match': tag };
    const { json, reply } = await daemon.call('GET', `/v1/jobs/${id}`, undefined, { headers });
    if (reply.status === 200 && test(json)) return json;
    tag = reply.headers.get('etag');
  }
}

export const hasEnded = (job) => ['succeeded', 'failed', 'canceled'].includes(job.status);

async function service(d) {
  for (const path of ['/livez', '/readyz', '/readyz?verbose=true', '/version', '/metrics', '/v1/stats', '/v1/tokens/self', '/v1/retention', '/v1/demo', '/v1/retention?keep_jobs=90d&keep_artifacts=14d',
    '/openapi.yaml', '/openapi.json'])
    await d.call('GET', path, 200);
  await d.call('GET', '/v1/retention?keep_jobs=soon', '400 invalid_query');
  // The build translates with PyYAML; document.mjs reads openapi.yaml with another parser.
  assert.deepEqual((await d.call('GET', '/openapi.json', 200)).json, written);
  const { text } = await d.call('GET', '/', 200);
  const [, asset] = /(?:src|href)="(?:\.\/)?(dashboard\/[^"]+)"/.exec(text);
  const { reply } = await d.call('GET', '/' + asset, 200);
  await d.call('GET', '/' + asset, 304, { headers: { 'if-none-match': reply.headers.get('etag') } });
  await d.call('GET', '/dashboard/none.js', '404 not_found');
}

async function models(d) {
  const path = (name) => join(fixtures, 'models', name);
  for (const name of ['authors-a', 'authors-b'])
    await d.call('POST', '/v1/models', 201, { body: { name, path: path(name) } });
  const post = (expected, body, headers) => d.call('POST', '/v1/models', expected, { body, headers });
  await post('409 conflict', { name: 'bert-a', path: path('bert-a') });
  await post('422 invalid_request', { name: 'x', path: '/etc' });
  await post('422 invalid_request', { name: 'X', pth: 1 });
  await post('400 invalid_json', '{"a":', { 'content-type': 'application/json' });
  await post('415 unsupported_media_type', 'x', { 'content-type': 'text/plain' });
  await post('403 origin_refused', { name: 'x', path: '/etc' }, { origin: 'https://evil.example' });
  const put = (name, expected, body, headers) => d.call('PUT', `/v1/models/up/files/${name}`, expected, { body, headers });
  const vocab = file('models/bert-a/vocab.txt');
  const digest = createHash('sha256').update(vocab).digest('base64');
  await put('config.json', 201, file('models/bert-a/config.json'));
  await put('model.safetensors', 201, file('models/bert-a/model.safetensors'));
  await put('vocab.txt', 201, vocab, { 'repr-digest': `sha-256=:${digest}:` });
  await put('vocab.txt', 200, vocab);
  await put('vocab.txt', '422 digest_mismatch', 'other', { 'repr-digest': `sha-256=:${digest}:` });
  await put('vocab.txt', '400 invalid_header', vocab, { 'repr-digest': 'sha-256=oops' });
  await put('model.safetensors', '422 invalid_safetensors', vocab);
  await put('pytorch_model.bin', '422 invalid_torch_file', vocab);
  await d.call('PUT', '/v1/models/bert-a/files/vocab.txt', '409 conflict', { body: vocab });
  await d.call('GET', '/v1/models/up', 200);
  const { json } = await d.call('GET', '/v1/models?limit=2', 200);
  await d.call('GET', `/v1/models?limit=2&page_token=${json.next_page_token}`, 200);
  await d.call('GET', '/v1/models?page_token=oops', '400 invalid_query');
}

async function datasets(d) {
  const more = { name: 'more', path: join(fixtures, 'data/align.txt') };
  await d.call('POST', '/v1/datasets', 201, { body: more });
  await d.call('POST', '/v1/datasets', '409 conflict', { body: more });
  await d.call('POST', '/v1/datasets', '422 invalid_request', { body: { ...more, format: 'csv' } });
  await d.call('PUT', '/v1/datasets/eval', 200, { body: file('data/eval.txt') });
  await d.call('PUT', '/v1/datasets/more', '409 conflict', { body: 'a line\n' });
  await d.call('PUT', '/v1/datasets/authors?format=jsonl&text=sentence&label=label', 201,
    { body: file('data/authors.jsonl') });
  await d.call('PUT', '/v1/datasets/bad?format=jsonl', '400 invalid_query', { body: 'x' });
  await d.call('PUT', '/v1/datasets/bad?format=jsonl&text=t', '422 invalid_dataset', { body: 'x' });
  await d.call('GET', '/v1/datasets/authors', 200);
  await d.call('GET', '/v1/datasets?mine=true', 200);
  await d.call('GET', '/v1/models?mine', 200);
  await d.call('GET', '/v1/jobs?mine=true', 200);
  await d.call('GET', '/v1/datasets', 200);
}

async function submissions(d) {
  const post = (expected, body, headers, query = '') => d.call('POST', '/v1/jobs' + query, expected, { body, headers });
  await post(200, spec, {}, '?dry_run=true');
  await post('422 invalid_request', { ...spec, align: { datset: 1 } });
  await post('422 invalid_request', { ...spec, models: { a: 'bert-a', b: 'none' } });
  await post('422 models_differ', { ...spec, models: { a: 'bert-a', b: 'authors-b' } });
  await post('422 head_mismatch', { ...spec, evaluate: { task: 'classification', dataset: 'authors' } });
  await post('400 invalid_header', spec, { prefer: 'wait=9999' });
  const { json } = await post(202, spec, { 'idempotency-key': 'k1' });
  await post(202, spec, { 'idempotency-key': 'k1' });
  await post('422 idempotency_mismatch', { ...spec, name: 'other' }, { 'idempotency-key': 'k1' });
  await d.call('DELETE', `/v1/jobs/${json.id}`, '409 in_use');
  await d.call('POST', `/v1/jobs/${json.id}/retry`, '409 conflict');
  await d.call('GET', `/v1/jobs/${json.id}/barrier`, 200);
  for (const part of ['permutations', 'correlations'])
    await d.call('GET', `/v1/jobs/${json.id}/${part}`, undefined);
  await d.call('DELETE', '/v1/models/bert-a', '409 in_use');
  await d.call('DELETE', '/v1/datasets/align', '409 in_use');
  await d.call('PUT', '/v1/datasets/eval', '409 in_use', { body: 'a line\n' });
  const end = await until(d, json.id, hasEnded);
  if (end.status !== 'succeeded') faults.push(`the job ended ${end.status}: ${JSON.stringify(end.error)}`);
  return json.id;
}

async function results(d, id) {
  const get = (path, expected, headers) => d.call('GET', `/v1/jobs/${id}${path}`, expected, { headers });
  for (const path of ['/barrier', '/learning', '/alignment', '/alignment/layer.0.mha?rotations=true', '/permutations', '/permutations/layer.0.ff',
    '/permutations/layer.0.mha?rotations=true', '/correlations', '/correlations/layer.0.ff',
    '/correlations/layer.0.ff?matrix=true&size=32', '/artifacts', '/events', '/events?limit=2'])
    await get(path, 200);
  await get('/correlations/layer.0.ff?matrix=true&size=33', '400 invalid_query');
  await get('/barrier', 200, { accept: 'text/csv' });
  const { json } = await get('/artifacts', 200);
  for (const artifact of json.data) await get('/artifacts/' + artifact.name, 200);
  await get('/artifacts/barrier.csv', 206, { range: 'bytes=0-9' });
  await get('/artifacts/barrier.csv', '416 range_not_satisfiable', { range: 'bytes=999999-' });
  await get('/events', 200, { accept: 'text/event-stream' });
  await get('/events', 204, { accept: 'text/event-stream', 'last-event-id': '999999999' });
  await d.call('GET', '/v1/events?limit=500', 200);
  await d.call('GET', `/v1/barriers?job=${id}&job=${id}`, 200);
  await d.call('GET', '/v1/barriers', '400 invalid_query');
  await d.call('GET', `/v1/barriers?job=${unknownJob}`, '404 not_found');
}

async function changes(d, id) {
  const patch = (expected, body, headers) => d.call('PATCH', `/v1/jobs/${id}`, expected, { body, headers });
  await d.call('GET', '/v1/jobs?status=succeeded,failed&label=suite:contract&sort=-priority&limit=1', 200);
  await d.call('GET', '/v1/jobs?status=oops', '400 invalid_query');
  await patch('428 precondition_required', { priority: 3 });
  await patch('412 precondition_failed', { priority: 3 }, { 'if-match': '"99999"' });
  await patch('422 invalid_request', {}, { 'if-match': '*' });
  await patch(200, { priority: 3, name: null }, { 'if-match': '*' });
  await d.call('POST', `/v1/jobs/${id}/cancel`, '409 conflict');
  const retry = await d.call('POST', `/v1/jobs/${id}/retry`, 200,
    { headers: { prefer: 'wait=60', 'idempotency-key': 'retry' } });
  await d.call('POST', `/v1/jobs/${retry.json.id}/retry`, '422 idempotency_mismatch',
    { headers: { 'idempotency-key': 'retry' } });
  await d.call('POST', `/v1/jobs/${id}/retry`, 202);
  await d.call('POST', '/v1/jobs/batch', '422 invalid_request', { body: { jobs: [spec, {}] } });
}

async function cancellations(d) {
  const { json } = await d.call('POST', '/v1/jobs/batch', 202,
    { body: { jobs: Array(12).fill(longSpec) }, headers: { 'idempotency-key': 'batch' } });
  await d.call('POST', '/v1/jobs/batch', '422 idempotency_mismatch',
    { body: { jobs: [spec] }, headers: { 'idempotency-key': 'batch' } });
  await until(d, json.data[0].id, (job) => job.status === 'running');
  // From the last one, which still waits, to the first, which runs.
  const canceled = new Set();
  for (const job of json.data.reverse()) {
    const { status } = (await d.call('GET', `/v1/jobs/${job.id}`, 200)).json;
    canceled.add(status);
    await d.call('POST', `/v1/jobs/${job.id}/cancel`, status === 'running' ? 202 : 200);
    await until(d, job.id, hasEnded);
  }
  if (!canceled.has('queued') || !canceled.has('running'))
    faults.push(`canceled only jobs that were ${[...canceled]}`);
  await d.call('POST', `/v1/jobs/${json.data[0].id}/cancel`, 200);
}

async function sweeps(d) {
  const post = (expected, body, headers, query = '') => d.call('POST', '/v1/sweeps' + query, expected, { body, headers });
  const body = { spec: shortSpec, grid: { 'outputs.merged': [[0.25], [0.5]] }, name: 'two points' };
  await post(200, body, {}, '?dry_run=true');
  await post('422 invalid_request', { ...body, grid: { 'outputs.merged': [[0.25], [2]] } });
  await post('422 invalid_request', { ...body, grid: { 'models.b': ['bert-b', 'none'] } });
  const { json } = await post(200, body, { prefer: 'wait=60', 'idempotency-key': 'sweep' });
  await post('422 idempotency_mismatch', { ...body, name: 'other' }, { 'idempotency-key': 'sweep' });
  if (json.status !== 'succeeded') faults.push(`the sweep ended ${json.status}`);
  sweepId = json.id;
  const path = `/v1/sweeps/${json.id}`;
  await d.call('GET', path, 200, { headers: { accept: 'text/csv' } });
  await d.call('GET', path + '/events?limit=2', 200);
  await d.call('POST', path + '/cancel', '409 conflict');
  await d.call('GET', `/v1/jobs?group=${json.id}`, 200);
  const long = await post(202, { spec: longSpec, grid: { 'evaluate.seed': [1, 2] } });
  await until(d, long.json.table[0].job, (job) => job.status === 'running');
  const other = `/v1/sweeps/${long.json.id}`;
  await d.call('DELETE', other, '409 in_use');
  await d.call('POST', other + '/cancel', 202);
  for (const row of long.json.table) await until(d, row.job, hasEnded);
  await d.call('POST', other + '/cancel', 200);
  await d.call('DELETE', other, '412 precondition_failed', { headers: { 'if-match': '"0"' } });
  await d.call('DELETE', other, 204);
  await d.call('GET', '/v1/sweeps?limit=1', 200);
  await matrix(d);
}

async function matrix(d) {
  const post = (expected, body, headers, query = '') => d.call('POST', '/v1/jobs/matrix' + query, expected, { body, headers });
  const { models, ...rest } = shortSpec;
  const body = { models: [models.a, models.b], spec: rest, name: 'all pairs' };
  await post(200, body, {}, '?dry_run=true');
  await post('422 invalid_request', { ...body, models: [models.a, models.a] });
  await post('422 invalid_request', { ...body, models: [models.a, 'none'] });
  const { json } = await post(200, body, { prefer: 'wait=60', 'idempotency-key': 'matrix' });
  await post('422 idempotency_mismatch', { ...body, name: 'other' }, { 'idempotency-key': 'matrix' });
  if (json.status !== 'succeeded') faults.push(`the matrix ended ${json.status}`);
  await d.call('GET', `/v1/sweeps/${json.id}`, 200);
  await d.call('DELETE', `/v1/sweeps/${json.id}`, 204);
}

async function classification(d) {
  const body = {
    models: { a: 'authors-a', b: 'authors-b' },
    align: { dataset: 'authors', max_sequences: 30 },
    interpolate: { lambdas: [0.5] },
    evaluate: { task: 'classification', dataset: 'authors', max_examples: 20, metric: 'f1' },
  };
  const { json } = await d.call('POST', '/v1/jobs', 200, { body, headers: { prefer: 'wait=60' } });
  await d.call('GET', `/v1/jobs/${json.id}/barrier`, 200);
}

async function deletions(d) {
  await d.call('DELETE', '/v1/models/up', 204);
  await d.call('DELETE', '/v1/models/up', '404 not_found');
  await d.call('DELETE', '/v1/datasets/authors', 204);
  const { json } = await d.call('POST', '/v1/jobs', 200,
    { body: shortSpec, headers: { prefer: 'wait=60' } });
  await d.call('GET', `/v1/barriers?job=${json.id}`, '404 not_found');
  await d.call('DELETE', `/v1/jobs/${json.id}`, 204);
  await d.call('DELETE', `/v1/jobs/${json.id}`, '404 not_found');
}

/** Leaves the daemon with a job that has ended, whose id is returned. */
export async function walk(daemon) {
  await service(daemon);
  await register(daemon);
  await models(daemon);
  await datasets(daemon);
  const id = await submissions(daemon);
  await results(daemon, id);
  await changes(daemon, id);
  await cancellations(daemon);
  await sweeps(daemon);
  await classification(daemon);
  await deletions(daemon);
  await sleep(300); // what was canceled leaves the metrics
  return id;
}
