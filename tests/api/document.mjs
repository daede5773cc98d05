// openapi.yaml as something to hold answers against, and a record of what was held against it.
// Bodies are checked by ajv against schemas that are closed for the purpose: what clients must
// tolerate (members they do not know) the daemon may not do unwritten.
import Ajv from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { Daemon, root } from './daemon.mjs';

export const contract = parse(readFileSync(join(root, 'openapi.yaml'), 'utf8'));

/** The same as it is written: `contract` is closed below. */
export const written = structuredClone(contract);

const escape = (token) => token.replaceAll('~', '~0').replaceAll('/', '~1');
export const resolve = (node) =>
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

export const operations = Object.entries(contract.paths).flatMap(([path, item]) =>
  Object.entries(item)
    .filter(([method]) => method !== 'parameters')
    .map(([method, operation]) => ({
      method: method.toUpperCase(),
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
  const base = response.$ref ?? `#/paths/${escape(found.path)}/${found.method.toLowerCase()}/responses/${status}`;
  const pointer = `${base}/content/${escape(mediaType)}/schema`;
  return ajv.getSchema('contract' + pointer.replaceAll('{', '%7B').replaceAll('}', '%7D'));
}

// ---- one answer ----

const optionalHeaders = new Set(['Retry-After', 'Idempotency-Replayed', 'Location', 'WWW-Authenticate']);

function checkBody(found, reply) {
  const response = resolve(found.operation.responses[reply.status]);
  const mediaType = (reply.headers.get('content-type') ?? '').split(';')[0];
  if (!response.content) return reply.text === '' ? [] : ['has a body, none is documented'];
  if (!response.content[mediaType]) return [`undocumented media type ${mediaType}`];
  if (!mediaType.endsWith('json')) return [];
  const validate = findSchema(found, reply.status, mediaType);
  if (validate(JSON.parse(reply.text))) return [];
  return validate.errors.map((e) => `${e.instancePath} ${e.message} ${JSON.stringify(e.params)}`);
}

function checkReply(found, reply) {
  const response = resolve(found.operation.responses[reply.status]);
  if (!response) return [`undocumented status ${reply.status}`];
  const isStream = reply.headers.get('content-type') === 'text/event-stream';
  const missing = Object.keys(response.headers ?? {})
    .filter((name) => !optionalHeaders.has(name) && !(isStream && name === 'ETag'))
    .filter((name) => reply.headers.get(name) === null)
    .map((name) => `no header ${name}`);
  return [...missing, ...checkBody(found, reply)];
}

// ---- all of them ----

export const faults = [];
const answered = new Map(operations.map(({ id }) => [id, new Set()])); // operationId -> statuses seen
const codes = new Set();

/** An error code that was met outside of an answer's problem. */
export function met(code) {
  codes.add(code);
}

function meetCodes(json) {
  for (const code of [json?.code, json?.error?.code, ...(json?.problems ?? []).map((p) => p.code)])
    if (code) met(code);
}

/** Holds an answer to (method, path) against the document. expected: a status, a status and an error
 * code ("403 forbidden"), or nothing, if any documented answer will do. */
export function check(method, path, reply, expected) {
  const found = findOperation(method, path.split('?')[0]);
  if (!found) throw new Error(`${method} ${path} is no operation of openapi.yaml`);
  const wrong = checkReply(found, reply);
  const isJson = reply.headers.get('content-type')?.split(';')[0].endsWith('json') && reply.text !== '';
  const json = isJson ? JSON.parse(reply.text) : undefined;
  const [status, code] = String(expected ?? reply.status).split(' ');
  if (String(reply.status) !== status) wrong.push(`status ${reply.status}, expected ${status}`);
  if (code && json?.code !== code) wrong.push(`code ${json?.code}, expected ${code}`);
  if (wrong.length > 0)
    faults.push(`${method} ${path.slice(0, 200)}\n    ${wrong.join('\n    ')}\n    ${reply.text.slice(0, 400)}`);
  answered.get(found.id).add(reply.status);
  meetCodes(json);
  return { reply, text: reply.text, json };
}

/** A daemon whose answers are held against the document. */
export class CheckedDaemon extends Daemon {
  /** One request. A body that is no text and no bytes is sent as JSON. expected: as check's. */
  async call(method, path, expected, { body, headers = {}, agent } = {}) {
    const isJson = body !== undefined && typeof body !== 'string' && !(body instanceof Uint8Array);
    const type = isJson ? { 'content-type': 'application/json' } : {};
    const reply = await this.request(method, path,
      { body: isJson ? JSON.stringify(body) : body, headers: { ...type, ...headers }, agent });
    return check(method, path, reply, expected);
  }
}

/** What was seen: kinds of answers; documented ones that were not; error codes that were not. */
export function summary() {
  const documented = operations.flatMap(({ id, operation }) =>
    Object.keys(operation.responses).map((status) => [id, Number(status)]));
  return {
    operations: operations.length,
    documented: documented.length,
    unseen: documented.filter(([id, status]) => !answered.get(id).has(status)),
    unmet: contract.components.schemas.ErrorCode.enum.filter((code) => !codes.has(code)),
    succeeded: (id) => [...answered.get(id)].some((status) => status < 300),
  };
}
