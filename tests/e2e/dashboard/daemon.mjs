// A daemon of its own for each test file: a free loopback port, a fresh data folder, ended by its
// process id. The binary comes from $REBASIND_BIN.
import {spawn} from 'node:child_process';
import {mkdtemp, readFile, rm} from 'node:fs/promises';
import {openSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {dirname, join, resolve} from 'node:path';
import {fileURLToPath} from 'node:url';

export const FIXTURES = resolve(dirname(fileURLToPath(import.meta.url)), '../../fixtures');
const BINARY = process.env.REBASIND_BIN ?? 'build/dev/rebasind';

export const pause = ms => new Promise(ok => setTimeout(ok, ms));

/** Asks until the answer is a truthy one. */
export async function until(words, ask, seconds = 60) {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await pause(50)) {
    const answer = await ask();
    if (answer) return answer;
  }
  throw new Error(`waited ${seconds} s in vain for: ${words}`);
}

export class Daemon {
  /** flags of `rebasind serve`; port: to come back on the same one. */
  static async start(flags = [], {port = 0, folder} = {}) {
    const d = new Daemon();
    d.flags = flags;
    d.folder = folder ?? await mkdtemp(join(tmpdir(), 'rebasind-dashboard-'));
    d.log = `${d.folder}.log`;
    await d.#run(port);
    return d;
  }

  async #run(port) {
    const log = openSync(this.log, 'w');
    const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) =>
      !name.startsWith('REBASIND_')));
    this.process = spawn(resolve(BINARY), ['serve', '--listen', `127.0.0.1:${port}`, '--data-dir',
      this.folder, '--import-root', FIXTURES, ...this.flags],
    {stdio: ['ignore', log, log], env: environment});
    this.ended = new Promise(ok => this.process.on('exit', ok));
    await until('the daemon', async () => {
      const text = await readFile(this.log, 'utf8');
      if (this.process.exitCode !== null) throw new Error(`the daemon ended at once:\n${text}`);
      this.port = Number(text.match(/http:\/\/127\.0\.0\.1:(\d+)/)?.[1]);
      return this.port;
    });
    this.url = `http://127.0.0.1:${this.port}/`;
  }

  /** Ends it and keeps its folder. */
  async stop() {
    this.process.kill('SIGTERM');
    await this.ended;
  }

  /** Again, on the same port and folder. */
  restart() {
    return this.#run(this.port);
  }

  async remove() {
    await this.stop();
    await rm(this.folder, {recursive: true, force: true});
    await rm(this.log, {force: true});
  }

  /* ---- the API, past the page ---- */

  async call(method, path, json, headers = {}) {
    const response = await fetch(this.url + path, {method, headers: {...(json === undefined ? {}
      : {'Content-Type': 'application/json'}), ...headers},
    body: json === undefined ? undefined : JSON.stringify(json)});
    const text = await response.text();
    const body = text === '' ? null : JSON.parse(text);
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return body;
  }

  get = path => this.call('GET', path);
  post = (path, json, headers) => this.call('POST', path, json, headers);

  /** The small pair and its texts, by reference. */
  async seed() {
    for (const name of ['bert-a', 'bert-b'])
      await this.post('v1/models', {name, path: `${FIXTURES}/models/${name}`});
    for (const name of ['align', 'eval'])
      await this.post('v1/datasets', {name, path: `${FIXTURES}/data/${name}.txt`, format: 'text'});
  }

  /** A small job; parts override whole members of the spec. */
  submit(parts = {}) {
    return this.post('v1/jobs', {...spec(), ...parts});
  }

  finished(id) {
    return until(`the end of ${id}`, async () => {
      const job = await this.get(`v1/jobs/${id}`);
      return ['succeeded', 'failed', 'canceled'].includes(job.status) ? job : null;
    }, 180);
  }
}

/** A job of a second or two. */
export const spec = ({points = 5, blocks = 4, sequences = 20, align = {}} = {}) => ({
  models: {a: 'bert-a', b: 'bert-b'},
  align: {dataset: 'align', max_sequences: sequences, max_length: 48, ...align},
  interpolate: {points},
  evaluate: {task: 'mlm', dataset: 'eval', block_size: 48, max_blocks: blocks},
});
