// What the page weighs, how soon it shows while every worker is busy, and a thousand curves.
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {gzipSync} from 'node:zlib';
import {assertCalm, launch, open} from './browser.mjs';
import {Daemon, spec, until} from './daemon.mjs';

const WEIGHT_MOST = 60000;
const FIRST_VIEW_MOST_MS = 300;
const CURVES = 1000;

let daemon, browser;
const median = list => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

before(async () => {
  daemon = await Daemon.start();
  await daemon.seed();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await daemon?.remove();
});

test('all of the page, uPlot included, weighs below 60 kB gzip', async () => {
  const page = await open(browser, daemon.url);
  const urls = new Set([daemon.url]);
  page.on('request', r => r.url().includes('/dashboard/') && urls.add(r.url()));
  const done = await daemon.submit(spec());
  await daemon.finished(done.id);
  for (const hash of ['jobs', `job/${done.id}`, `compare?job=${done.id}`, 'new', 'data']) {
    await page.goto(`${daemon.url}#/${hash}`);
    await page.reload();
    await page.waitForTimeout(800); // the events never end, so there is no idle network to wait for
  }
  for (const name of ['standalone.js', 'uplot-license.txt']) // of an export, and uPlot's licence
    urls.add(`${daemon.url}dashboard/${name}`);
  let total = 0;
  for (const url of urls) {
    const response = await fetch(url);
    assert.ok(response.ok, url);
    total += gzipSync(Buffer.from(await response.arrayBuffer()), {level: 9}).length;
  }
  console.log(`page: ${urls.size} files, ${total} bytes gzip`);
  assert.ok([...urls].some(u => u.endsWith('uplot.js')));
  assert.ok(total < WEIGHT_MOST, `${total} bytes`);
  await page.context().close();
});

test('the first view while all workers are busy', async () => {
  const {workers} = await daemon.get('v1/stats');
  const busy = [];
  for (let i = 0; i < workers + 1; i++)
    busy.push(await daemon.submit({...spec({points: 201, blocks: 256, sequences: 2000}), name: `busy ${i}`}));
  const isBusy = async () => (await daemon.get('v1/stats')).workers_busy === workers;
  await until('busy workers', isBusy);
  const shown = [], painted = [];
  for (let i = 0; i < 9; i++) {
    const page = await open(browser, daemon.url);
    await page.waitForFunction(() => performance.getEntriesByName('first-view').length > 0);
    assert.ok(await page.locator('tbody tr').count() >= workers + 1, 'the rows are there');
    const t = await page.evaluate(() => ({view: performance.getEntriesByName('first-view')[0].startTime,
      paint: performance.getEntriesByName('first-contentful-paint')[0]?.startTime}));
    shown.push(t.view);
    if (t.paint) painted.push(t.paint);
    assertCalm(page);
    await page.context().close();
  }
  assert.ok(await isBusy(), 'the workers were busy all along');
  console.log(`first view, ${workers} of ${workers} workers busy: median ${median(shown).toFixed(0)} ms, ` +
    `worst ${Math.max(...shown).toFixed(0)} ms, best ${Math.min(...shown).toFixed(0)} ms of 9; ` +
    `first paint median ${median(painted).toFixed(0)} ms`);
  assert.ok(median(shown) < FIRST_VIEW_MOST_MS, `median ${median(shown)} ms`);
  for (const job of busy) await daemon.post(`v1/jobs/${job.id}/cancel`);
});

test('a thousand curves stay smooth', async () => {
  // The jobs and curves are made here: the daemon's part in it is ten requests.
  const model = (await daemon.get('v1/jobs?limit=1&status=succeeded')).data[0];
  const idOf = i => `job_01a20840-0000-7000-8000-${String(i).padStart(12, '0')}`;
  const lambdas = Array.from({length: 21}, (_, i) => i / 20);
  const curveOf = i => lambdas.map(l => 2 + (3 + (i % 7) / 5 + Math.sin(i) / 2) * 4 * l * (1 - l));
  const side = i => ({loss: curveOf(i), standard_error: lambdas.map(() => 0.02), metrics: {},
    barrier: null, shape: null});
  const page = await open(browser, daemon.url);
  await page.route('**/v1/jobs?**', route => {
    const from = Number(new URL(route.request().url()).searchParams.get('page_token') ?? 0);
    route.fulfill({json: {data: Array.from({length: 500}, (_, k) => ({...model, id: idOf(from + k),
      name: `seed ${from + k}`, labels: {seed: String((from + k) % 5)}})),
    ...(from === 0 ? {next_page_token: '500'} : {})}});
  });
  await page.route('**/v1/barriers?**', route => route.fulfill({json: {data: new URL(
    route.request().url()).searchParams.getAll('job').map(id => ({job: id, task: 'mlm', complete: true,
    lambdas, aligned: side(Number(id.slice(-12))), control: null, reduction: null}))}}));
  const began = Date.now();
  await page.goto(`${daemon.url}#/compare?label=set:x&group=label:seed`);
  await page.getByRole('img', {name: /of 1000 curves in 5 groups/}).waitFor();
  const drawn = Date.now() - began;
  await page.waitForTimeout(500);
  const box = await page.locator('.u-over').boundingBox();
  await page.evaluate(() => {
    window.frames_ = [];
    let last = performance.now();
    const tick = now => {
      window.frames_.push(now - last);
      last = now;
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  });
  const names = new Set();
  for (let i = 0; i < 60; i++) {
    await page.mouse.move(box.x + box.width * (0.2 + i / 100), box.y + box.height * (0.3 + (i % 9) / 20));
    names.add(await page.locator('.readout').textContent());
  }
  const frames = (await page.evaluate(() => window.frames_)).slice(2);
  console.log(`${CURVES} curves: shown after ${drawn} ms; under the pointer a frame takes ` +
    `${median(frames).toFixed(1)} ms (median of ${frames.length}), worst ${Math.max(...frames).toFixed(0)} ms`);
  assert.ok(names.size > 10, 'curves light up under the pointer');
  assert.ok(median(frames) < 34, `${median(frames)} ms a frame`);
  assert.ok(drawn < 10000, `${drawn} ms`);
  assertCalm(page);
});
