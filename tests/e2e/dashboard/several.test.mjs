// Jobs of three models and more, and matrices: the triangle, the curves to the centroid, the heat map
// whose cells open their jobs; the form that sends them.
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {assertAccessible, assertCalm, launch, open, record} from './browser.mjs';
import {Daemon, FIXTURES} from './daemon.mjs';

let daemon, browser;
const MODELS = {'gpt2-a': 'gpt2-a', 'gpt2-b': 'gpt2-b', 'gpt2-c': 'gpt2-a', 'gpt2-d': 'gpt2-b'};
const SPEC = {align: {dataset: 'align', max_sequences: 20},
  evaluate: {task: 'clm', dataset: 'eval', block_size: 32, max_blocks: 4}};

before(async () => {
  daemon = await Daemon.start();
  await daemon.seed();
  for (const [name, folder] of Object.entries(MODELS))
    await daemon.post('v1/models', {name, path: `${FIXTURES}/models/${folder}`});
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await daemon?.remove();
});

const setField = (page, pointer, value) => page.locator(`.field[data-pointer="${pointer}"] input`).first()
  .evaluate((input, value) => {
    input.value = value;
    input.dispatchEvent(new Event('input', {bubbles: true}));
  }, value);

/* The form with several models B and a small evaluation. */
async function filled(models, how) {
  const page = await open(browser, `${daemon.url}#/new`);
  await page.getByLabel('Model A').selectOption('gpt2-a');
  const b = page.locator('.field[data-pointer="/models/b"]');
  await b.getByRole('button', {name: /several/}).click();
  for (const name of models) await b.getByLabel(new RegExp(`^${name}`)).check();
  await b.getByLabel('With several models B').selectOption(how);
  await page.locator('[data-pointer="/align/dataset"] select').selectOption('align');
  await page.locator('[data-pointer="/evaluate/dataset"] select').selectOption('eval');
  await page.locator('[data-pointer="/evaluate/task"] select').selectOption('clm');
  await setField(page, '/align/max_sequences', '20');
  await setField(page, '/interpolate/points', '3');
  await setField(page, '/evaluate/max_blocks', '2');
  return page;
}

const joint = (others, weights) => daemon.post('v1/jobs', {...SPEC, name: `of ${others.length + 1}`,
  models: {anchor: 'gpt2-a', others}, interpolate: {weights}});

test('three models are a triangle that fills as points come, each in its place', async () => {
  const page = await open(browser, daemon.url);
  await page.locator('.dot[data-state=live]').waitFor();
  const job = await daemon.post('v1/jobs', {...SPEC, models: {anchor: 'gpt2-a', others: ['gpt2-b', 'gpt2-c']},
    align: {...SPEC.align, cycles: true}, interpolate: {weights: 'simplex', points: 7}, evaluate: {...SPEC.evaluate, max_blocks: 32}});
  await page.goto(`${daemon.url}#/job/${job.id}`);
  const seen = await record(page, '.simplex', 'aria-label');
  await daemon.finished(job.id);
  const barrier = await daemon.get(`v1/jobs/${job.id}/barrier`);
  const chart = page.getByRole('img', {name: `Chart: loss at ${barrier.weights.length} lists of weights of gpt2-a, gpt2-b, gpt2-c`});
  await chart.waitFor();
  assert.ok((await seen()).length >= 2, `seen only as ${(await seen()).join('; ')}`);
  // Each dot's label is its own loss, where its weights are: the place is a mean of the corners.
  const corners = await page.locator('.simplex polygon').evaluate(p => p.getAttribute('points').split(' ')
    .map(c => c.split(',').map(Number)));
  const dots = await page.locator('.simplex g').evaluateAll(all => all.map(g => ({x: Number(g.firstChild
    .getAttribute('cx')), y: Number(g.firstChild.getAttribute('cy')), text: g.lastChild.textContent})));
  assert.equal(dots.length, barrier.weights.length);
  barrier.weights.forEach((w, i) => {
    const [x, y] = [0, 1].map(k => w.reduce((sum, v, m) => sum + v * corners[m][k], 0));
    const dot = dots.find(d => Math.hypot(d.x - x, d.y - y) < 1e-6);
    assert.equal(dot?.text, barrier.aligned.loss[i].toFixed(2), `at ${w}`);
  });
  await page.locator('.behind summary').first().click();
  assert.equal(await page.locator('.behind tbody').first().locator('tr').count(), barrier.weights.length);
  await page.getByText(/parents at|parents, at best/).first().waitFor();
  // All pairs were aligned: how far they agree, group by group, as reference.json says.
  const {cycle_consistency: cycles} = await daemon.get(`v1/jobs/${job.id}/artifacts/reference.json`);
  const agree = page.getByRole('table', {name: 'Agreement around triangles'}).locator('tbody tr');
  await agree.first().waitFor();
  assert.deepEqual(await agree.evaluateAll(all => all.map(tr => [...tr.children].map(c => c.textContent))),
    Object.entries(cycles).map(([group, share]) => [group, `${(100 * share).toFixed(1)}\u202f%`]));
  await assertAccessible(page, 'triangle');
  await page.goto(`${daemon.url}#/jobs`); // and it can be left
  await page.locator('tbody tr').first().waitFor();
  assertCalm(page);
  await page.context().close();
});

test('more models are curves from each to the centroid', async () => {
  const job = await joint(['gpt2-b', 'gpt2-c', 'gpt2-d'], 'centroid');
  await daemon.finished(job.id);
  const page = await open(browser, `${daemon.url}#/job/${job.id}`);
  await page.getByRole('img', {name: /lists of weights of gpt2-a, gpt2-b, gpt2-c, gpt2-d/}).waitFor();
  assert.equal(await page.locator('.simplex polyline').count(), 4);
  await page.getByText('Matched correlations').waitFor();
  assert.equal(await page.getByText('Agreement around triangles').count(), 0); // not asked for
  await assertAccessible(page, 'spokes');
  assertCalm(page);
  await page.context().close();
});

test('the form sends a matrix; its cells fill, stand in order, and open their jobs', async () => {
  const page = await filled(['gpt2-b', 'gpt2-c', 'gpt2-d'], 'pairs');
  await page.getByRole('button', {name: 'Submit 6 jobs'}).click();
  await page.waitForURL(/#\/sweeps\/grp_/);
  const id = page.url().match(/grp_[0-9a-f-]+/)[0];
  await page.getByText('6 succeeded').waitFor();
  const m = await daemon.get(`v1/sweeps/${id}`);
  const heads = await page.locator('.matrix thead th').allTextContents();
  assert.deepEqual(heads, m.matrix.order.map(i => m.matrix.models[i]));
  // gpt2-c is gpt2-a, gpt2-d is gpt2-b: they stand together.
  assert.equal(Math.abs(heads.indexOf('gpt2-a') - heads.indexOf('gpt2-c')), 1);
  assert.equal(await page.locator('.matrix td a').count(), 12);
  await assertAccessible(page, 'matrix');
  assert.equal(await page.locator('table:not(.matrix) tbody tr').count(), 6); // the table behind
  const cell = page.locator('.matrix td a').first(), row = m.table.find(r => [r.models.a, r.models.b].includes(heads[0]) &&
    [r.models.a, r.models.b].includes(heads[1]));
  assert.match(await cell.getAttribute('aria-label'), new RegExp(`${row.models.a} and ${row.models.b}: .?${
    Math.abs(row.barrier_chord).toFixed(2)}`));
  await cell.focus();
  await page.keyboard.press('Enter');
  await page.waitForURL(new RegExp(row.job));
  await page.getByText('Certificate').first().waitFor();
  assertCalm(page);
  await page.context().close();
});

test('the form sends one job of all models', async () => {
  const page = await filled(['gpt2-b', 'gpt2-c'], 'one');
  await page.getByText('Everything fits. Ready to run.').waitFor();
  await page.getByRole('button', {name: 'Submit job'}).click();
  await page.waitForURL(/#\/job\/job_/);
  const job = await daemon.get(`v1/jobs/${page.url().match(/job_[0-9a-f-]+/)[0]}`);
  assert.deepEqual(job.spec.models, {anchor: 'gpt2-a', others: ['gpt2-b', 'gpt2-c']});
  await daemon.finished(job.id);
  assertCalm(page);
  await page.context().close();
});
