// A daemon on a free loopback port, on a data folder of its own, and requests to it. It is ended by
// its process id.
import { spawn, spawnSync } from 'node:child_process';
import http from 'node:http';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../../', import.meta.url));
export const fixtures = join(root, 'tests/fixtures');
export const binary = process.env.REBASIND_BIN ?? join(root, 'build/release/rebasind');
// Ours are for the tests, not for the daemon.
const environment = Object.fromEntries(Object.entries(process.env).filter(([k]) => !k.startsWith('REBASIND_')));

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Runs one command of rebasind to its end. */
export function runCommand(...words) {
  return spawnSync(binary, words, { encoding: 'utf8', env: environment });
}

export class Daemon {
  static running = new Set();

  constructor(...flags) {
    this.flags = flags;
    this.dataDir = mkdtempSync(join(tmpdir(), 'rebasind-contract-'));
    this.log = '';
    this.agent = new http.Agent({ keepAlive: true });
  }

  static async start(...flags) {
    const daemon = new this(...flags);
    await daemon.start();
    return daemon;
  }

  start() {
    this.process = spawn(binary, ['serve', '--listen', '127.0.0.1:0', '--data-dir', this.dataDir,
      '--import-root', fixtures, '--workers', '2', '--log-format', 'json', ...this.flags],
      { stdio: ['ignore', 'pipe', 'pipe'], env: environment });
    Daemon.running.add(this);
    let heard = '';
    return new Promise((done, failed) => {
      const hear = (bytes) => {
        this.log += bytes;
        heard += bytes;
        const address = /http:\/\/127\.0\.0\.1:(\d+)/.exec(heard);
        if (address) done((this.port = Number(address[1])));
      };
      this.process.stdout.on('data', hear);
      this.process.stderr.on('data', hear);
      this.process.on('error', failed);
      this.process.on('exit', (code) => failed(new Error(`the daemon ended with ${code}\n${heard}`)));
    });
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  async end(signal) {
    const { process } = this;
    process.kill(signal);
    if (process.exitCode === null && process.signalCode === null)
      await new Promise((done) => process.on('exit', done));
    this.agent.destroy();
    this.agent = new http.Agent({ keepAlive: true });
  }

  async stop() {
    await this.end('SIGTERM');
    Daemon.running.delete(this);
    rmSync(this.dataDir, { recursive: true, force: true });
  }

  /** Sets a limit of the running daemon (prlimit's words); returns what puts it back. */
  limit(name, value) {
    const set = (words) => {
      const done = spawnSync('prlimit', ['--pid', String(this.process.pid), ...words], { encoding: 'utf8' });
      if (done.status !== 0) throw new Error(`prlimit ${words}: ${done.stderr}`);
      return done.stdout.trim();
    };
    const before = set([`--${name}`, '--noheadings', '--raw', '--output', 'SOFT']);
    set([`--${name}=${value}:`]);
    return () => set([`--${name}=${before}:`]);
  }

  openFiles() {
    return readdirSync(`/proc/${this.process.pid}/fd`).length;
  }

  /** {status, headers: {get}, text}. Neither the Host nor the body of a GET is checked here. */
  request(method, path, { body, headers = {}, agent = this.agent } = {}) {
    return new Promise((done, failed) => {
      const length = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) };
      const request = http.request(
        { host: '127.0.0.1', port: this.port, method, path, headers: { ...length, ...headers }, agent });
      let answered = false;
      request.on('response', (response) => {
        const parts = [];
        answered = true;
        response.on('data', (part) => parts.push(part));
        response.on('error', failed);
        response.on('end', () => done({
          status: response.statusCode,
          headers: { get: (name) => response.headers[name.toLowerCase()] ?? null },
          text: Buffer.concat(parts).toString(),
        }));
      });
      // A refused body is still being sent when the answer comes.
      request.on('error', (error) => answered || failed(error));
      request.end(body);
    });
  }

  /** A connection on which the caller speaks for itself. */
  connect() {
    return new Promise((done, failed) => {
      const socket = net.connect(this.port, '127.0.0.1', () => done(socket));
      socket.on('error', failed);
    });
  }

  /** Sends bytes as they are; the answer, once the daemon has closed the connection. */
  async raw(bytes) {
    const socket = await this.connect();
    let text = '';
    socket.on('data', (part) => (text += part));
    socket.write(bytes);
    await new Promise((done) => socket.on('close', done));
    const [head, ...rest] = text.split('\r\n\r\n');
    const [line, ...lines] = head.split('\r\n');
    const headers = new Map(lines.map((l) => [l.split(':')[0].toLowerCase(), l.slice(l.indexOf(':') + 2)]));
    return {
      status: Number(line.split(' ')[1]),
      headers: { get: (name) => headers.get(name.toLowerCase()) ?? null },
      text: rest.join('\r\n\r\n'),
    };
  }
}

/** Ends what a failure has left running. */
export async function stopAll() {
  for (const daemon of [...Daemon.running]) await daemon.stop();
}
