// The daemon's API: errors as RFC 9457 problems, the token, retries.

/** The service's root, whatever the path prefix: this file is <root>dashboard/api.js. */
export const root = new URL('../', import.meta.url);

const packed = globalThis.PACKED ?? {}; // pack.mjs puts its names here

/** A file of the page. */
export const asset = name => new URL(`dashboard/${packed[name] ?? name}`, root);

const TOKEN = 'rebasind.token';
let token = sessionStorage.getItem(TOKEN);
let asking = null;
let declined = false; // the person gave up: the banner offers it, nothing asks again by itself
let askForToken = async () => null;

export const hasToken = () => token !== null;
export const authorization = () => (token === null ? {} : {Authorization: `Bearer ${token}`});

export function setToken(value) {
  token = value || null;
  declined = false;
  if (token === null) sessionStorage.removeItem(TOKEN);
  else sessionStorage.setItem(TOKEN, token);
  dispatchEvent(new Event('token'));
}

/** ask(words): resolves with a token, or null if the person gave up. */
export function onTokenNeeded(ask) {
  askForToken = ask;
}

/** One dialog however many requests are refused at once. */
export async function needToken(words) {
  if (declined) return false;
  asking ??= askForToken(words)
    .then(given => {
      if (given !== null) setToken(given);
      declined = given === null;
      return !declined;
    })
    .finally(() => (asking = null));
  return asking;
}

/** What the daemon said no with. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `The daemon answered ${status}`);
    this.status = status;
    this.code = body.code ?? '';
    this.title = body.title ?? '';
    this.errors = body.errors ?? [];
    this.requestId = body.request_id ?? '';
  }
}

/** No answer at all. */
export class Gone extends Error {
  constructor() {
    super('The daemon does not answer.');
  }
}

export async function problemOf(response) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    // a proxy's page: the status has to do
  }
  return new Problem(response.status, body);
}

/** "v1/jobs" and {status: ['failed'], limit: 5} as a URL below the root. */
export function url(path, query = {}) {
  const result = new URL(path, root);
  for (const [key, value] of Object.entries(query))
    for (const one of [value].flat())
      if (one !== undefined && one !== null && one !== '') result.searchParams.append(key, one);
  return result;
}

/* What first.js asked for before the modules were there; only once. */
function first(method, href) {
  const asked = window.rebasindFirst;
  if (method !== 'GET' || asked?.url !== href) return null;
  window.rebasindFirst = null;
  return asked.answer;
}

const pause = ms => new Promise(resolve => setTimeout(resolve, ms));

/** The response, once it is fine. Problem, Gone, or an AbortError. Reads are tried again while the
 * daemon is too busy for them; nothing else is ever sent twice. */
export async function request(method, path, {query, json, body, headers, signal} = {}) {
  const refusedFor = new Set(), {href} = url(path, query);
  for (let attempt = 0; ; attempt++) {
    const sent = token;
    let response;
    try {
      response = await (first(method, href) ?? fetch(href, {
        method,
        signal,
        cache: 'no-cache',
        headers: {
          Accept: 'application/json',
          ...(json === undefined ? {} : {'Content-Type': 'application/json'}),
          ...authorization(),
          ...headers,
        },
        body: json === undefined ? body : JSON.stringify(json),
      }));
      signal?.throwIfAborted();
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      dispatchEvent(new Event('gone'));
      throw new Gone();
    }
    if (response.ok) return response;
    const problem = await problemOf(response);
    if (response.status === 401 && !refusedFor.has(token)) {
      refusedFor.add(sent);
      // Another request may have got the new token meanwhile.
      if (token !== sent || (await needToken(sent === null ? '' : problem.message))) continue;
    }
    const busy = response.status === 429 || response.status === 503;
    if (busy && method === 'GET' && attempt < 3) {
      await pause(1000 * Math.min(Number(response.headers.get('Retry-After')) || 1, 5));
      continue;
    }
    throw problem;
  }
}

export const get = async (path, query, options) =>
  (await request('GET', path, {query, ...options})).json();

export const post = async (path, json, options) =>
  (await request('POST', path, {json, ...options})).json();

export const remove = path => request('DELETE', path);

/** All rows of a list, page by page, up to `most`; each page is given to `each` as it comes. */
export async function list(path, query, most = 500, {each, signal} = {}) {
  const rows = [];
  let page_token;
  do {
    const limit = Math.min(500, most - rows.length);
    const page = await get(path, {...query, limit, page_token}, {signal});
    rows.push(...page.data);
    page_token = page.next_page_token;
    each?.(page.data);
  } while (page_token && rows.length < most);
  return {rows, more: page_token};
}

/** A PUT of a file with progress, which fetch cannot tell. */
export function upload(path, query, file, {progress, signal}) {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    xhr.open('PUT', url(path, query));
    if (token !== null) xhr.setRequestHeader('Authorization', `Bearer ${token}`);
    xhr.setRequestHeader('Content-Type', 'application/octet-stream');
    xhr.upload.onprogress = e => progress(e.loaded);
    xhr.onload = () => {
      let body = {};
      try {
        body = JSON.parse(xhr.responseText);
      } catch {
        // a proxy's page
      }
      if (xhr.status >= 200 && xhr.status < 300) resolve(body);
      else reject(new Problem(xhr.status, body));
    };
    xhr.onerror = () => reject(new Gone());
    xhr.onabort = () => reject(new DOMException('Stopped', 'AbortError'));
    signal?.addEventListener('abort', () => xhr.abort());
    xhr.send(file);
  });
}

/** curl for the same request; the token stays out of it. */
export function curl(method, path, json) {
  const quote = text => `'${text.replaceAll("'", `'\\''`)}'`;
  const parts = ['curl -fsS'];
  if (method !== 'GET' && !(method === 'POST' && json)) parts.push(`-X ${method}`);
  if (hasToken()) parts.push('-H "Authorization: Bearer $REBASIND_TOKEN"');
  parts.push(quote(url(path).href));
  if (json) parts.push(`--json ${quote(JSON.stringify(json, null, 2))}`);
  return parts.join(' \\\n  ');
}
