// How the page's files come: compressed or not, kept by browsers or asked for again, below 80 kB.
import assert from 'node:assert/strict';
import http from 'node:http';
import {after, before, test} from 'node:test';
import {gunzipSync} from 'node:zlib';
import {launch, open} from './browser.mjs';
import {Daemon, spec} from './daemon.mjs';

const WEIGHT_MOST = 80000;
const HASHED = /-[0-9a-f]{8}\.\w+$/;

let daemon, browser;
before(async () => {
  daemon = await Daemon.start();
  await daemon.seed();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await daemon?.remove();
});

/* The answer as it travels: fetch would decode it. */
const ask = (path, headers = {}, method = 'GET') => new Promise((ok, no) => {
  http.request(new URL(path, daemon.url), {method, headers}, answer => {
    const parts = [];
    answer.on('data', part => parts.push(part));
    answer.on('end', () => ok({status: answer.statusCode, headers: answer.headers, body: Buffer.concat(parts)}));
  }).on('error', no).end();
});

/* Every file that any view asks for, exports and uPlot's licence too. */
let paths;
test('the views ask for few files', async () => {
  const page = await open(browser, 'about:blank');
  const asked = new Set(['/', '/dashboard/uplot-license.txt']);
  page.on('request', r => /\/dashboard\//.test(r.url()) && asked.add(new URL(r.url()).pathname));
  const {id} = await daemon.submit(spec());
  await daemon.finished(id);
  for (const [hash, sign] of [['jobs', 'tbody tr'], ['new', '.verdict-line'], ['data', 'tbody tr'],
    [`job/${id}`, '.heatmap canvas'], [`compare?job=${id}`, '.plot canvas']]) {
    await page.goto(`${daemon.url}#/${hash}`);
    await page.locator(sign).first().waitFor({state: 'attached'});
  }
  await Promise.all([page.waitForEvent('download'), page.getByRole('button', {name: 'Save HTML'}).click()]);
  await page.context().close();
  paths = [...asked];
  for (const name of ['uplot', 'standalone', 'style', 'first', 'app', 'icon'])
    assert.ok(paths.some(p => p.includes(name)), `${name} is not among ${paths.join(' ')}`);
});

test('all of it, uPlot included, travels in less than 80 kB', async () => {
  let total = 0;
  for (const path of paths) total += (await ask(path, {'Accept-Encoding': 'gzip'})).body.length;
  console.log(`page: ${paths.length} files, ${total} bytes gzip`);
  assert.ok(total < WEIGHT_MOST, `${total} bytes`);
});

test('compressed for those who take it, plain for others', async () => {
  for (const path of [...paths, '/openapi.json', '/openapi.yaml']) {
    const plain = await ask(path), packed = await ask(path, {'Accept-Encoding': 'br, gzip;q=0.5'});
    const refused = await ask(path, {'Accept-Encoding': 'gzip;q=0, *'});
    assert.equal(plain.status, 200, path);
    assert.equal(plain.headers['content-encoding'], undefined);
    assert.equal(packed.headers['content-encoding'], 'gzip');
    assert.ok(packed.body.length < plain.body.length, path);
    assert.deepEqual(gunzipSync(packed.body), plain.body);
    assert.deepEqual(refused.body, plain.body);
    for (const answer of [plain, packed]) {
      assert.equal(answer.headers.vary, 'Accept-Encoding');
      assert.equal(Number(answer.headers['content-length']), answer.body.length);
      assert.equal(answer.headers['content-type'], plain.headers['content-type']);
    }
    // Two representations: a tag is good for its own only.
    assert.notEqual(plain.headers.etag, packed.headers.etag);
    const again = await ask(path, {'Accept-Encoding': 'gzip', 'If-None-Match': packed.headers.etag});
    assert.deepEqual([again.status, again.body.length, again.headers['content-encoding']], [304, 0, undefined]);
    assert.equal((await ask(path, {'If-None-Match': packed.headers.etag})).status, 200);
    const head = await ask(path, {'Accept-Encoding': 'gzip'}, 'HEAD');
    assert.equal(Number(head.headers['content-length']), packed.body.length);
  }
});

test('a name with a hash is kept for good, all else is asked for again', async () => {
  for (const path of paths) {
    const {headers} = await ask(path);
    assert.equal(headers['cache-control'],
      HASHED.test(path) ? 'public, max-age=31536000, immutable' : 'no-cache', path);
  }
  assert.ok(paths.filter(p => HASHED.test(p)).length >= 6);
  const missing = await ask('/dashboard/app-00000000.js');
  assert.equal(missing.status, 404);
  assert.equal(missing.headers['cache-control'], 'no-store');
});
