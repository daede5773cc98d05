// How soon the page shows while every worker is busy, and a thousand curves. The figures are printed;
// they are held only when $REBASIND_TIMED is set, on a machine that has nothing else to do.
import assert from 'node:assert/strict';
import {loadavg} from 'node:os';
import {after, before, test} from 'node:test';
import {assertCalm, launch, open, painted} from './browser.mjs';
import {Daemon, spec, until} from './daemon.mjs';

const FIRST_VIEW_MOST_MS = 300;
const DRAWN_MOST_MS = 2000;
const FRAME_MOST_MS = 34;
const CURVES = 1000;
const VISITS = 9;

let daemon, browser, done;
const median = list => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const load = () => `load ${loadavg()[0].toFixed(1)}`;

/* Says a figure, and holds it if figures are held. */
function hold(ms, most, words) {
  if (process.env.REBASIND_TIMED) assert.ok(ms < most, `${words}: ${ms} ms`);
}

before(async () => {
  daemon = await Daemon.start();
  await daemon.seed();
  done = await daemon.submit(spec());
  await daemon.finished(done.id);
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await daemon?.remove();
});

/* In the page: when the frame after the first view has been painted, from the start of navigation. */
function watchView() {
  const {port1, port2} = new MessageChannel();
  port1.onmessage = () => (window.viewPaintedAt = performance.now());
  new PerformanceObserver(list => {
    if (list.getEntriesByName('first-view').length > 0)
      requestAnimationFrame(() => port2.postMessage(null));
  }).observe({type: 'mark'});
}

test('the first view while all workers are busy', async () => {
  const {workers} = await daemon.get('v1/stats');
  const busy = [];
  for (let i = 0; i < workers + 1; i++)
    busy.push(await daemon.submit({...spec({points: 201, blocks: 256, sequences: 2000}), name: `busy ${i}`}));
  const isBusy = async () => (await daemon.get('v1/stats')).workers_busy === workers;
  await until('busy workers', isBusy);
  const views = [];
  for (let i = 0; i < VISITS; i++) {
    const page = await open(browser, daemon.url, {script: watchView});
    await page.waitForFunction(() => window.viewPaintedAt > 0);
    assert.ok(await page.locator('tbody tr').count() >= workers + 1, 'the rows are there');
    views.push(await page.evaluate(() => window.viewPaintedAt));
    assertCalm(page);
    await page.context().close();
  }
  assert.ok(await isBusy(), 'the workers were busy all along');
  console.log(`first view, ${workers} of ${workers} workers busy: the jobs are on the screen after ` +
    `${median(views).toFixed(0)} ms (median of ${VISITS}; ${Math.min(...views).toFixed(0)} to ` +
    `${Math.max(...views).toFixed(0)} ms; ${load()})`);
  hold(median(views), FIRST_VIEW_MOST_MS, 'first view');
  for (const job of busy) await daemon.post(`v1/jobs/${job.id}/cancel`);
});

test('a thousand curves stay smooth', async () => {
  // The jobs and curves are made here: the daemon's part in it is ten requests.
  const model = await daemon.get(`v1/jobs/${done.id}`);
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
  await painted(page);
  const drawn = Date.now() - began;
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
  const hidden = await page.evaluate(() => new Promise(done => {
    const from = performance.now();
    document.querySelector('.legend-item').click();
    requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - from)));
  }));
  await page.getByRole('img', {name: /of 800 curves in 4 groups/}).waitFor();
  console.log(`${CURVES} curves: on the screen after ${drawn} ms; under the pointer a frame takes ` +
    `${median(frames).toFixed(1)} ms (median of ${frames.length}, worst ${Math.max(...frames).toFixed(0)} ms); ` +
    `a group is gone after ${hidden.toFixed(0)} ms; ${load()}`);
  assert.ok(names.size > 10, 'curves light up under the pointer');
  await page.locator('.legend-item').first().click();
  for (const [chart, sign] of [['dots', '.mark'], ['parallel', '.way']]) {
    const from = Date.now();
    await page.getByLabel('Chart', {exact: true}).selectOption(chart);
    await page.waitForFunction(([sign, n]) => document.querySelectorAll(sign).length === n, [sign, CURVES]);
    await painted(page);
    console.log(`${CURVES} jobs as ${chart}: ${Date.now() - from} ms; ${load()}`);
    hold(Date.now() - from, DRAWN_MOST_MS, chart);
  }
  hold(median(frames), FRAME_MOST_MS, 'a frame');
  hold(drawn, DRAWN_MOST_MS, 'a thousand curves');
  assertCalm(page);
});
