// A job that learns: its training curve as it grows, and how far the maps turn.
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {anglesOf} from '../../../server/dashboard/angles.js';
import {assertAccessible, assertCalm, launch, open, picture, record} from './browser.mjs';
import {Daemon, FIXTURES} from './daemon.mjs';

let daemon, browser;

before(async () => {
  daemon = await Daemon.start();
  await daemon.seed();
  for (const name of ['gpt2-a', 'gpt2-b'])
    await daemon.post('v1/models', {name, path: `${FIXTURES}/models/${name}`});
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await daemon?.remove();
});

test('the angles of an orthogonal matrix are found; another matrix has none', async () => {
  for (const n of [1, 2, 5, 64]) {
    // Turned by known angles in planes, then seen from elsewhere: mirrored twice by each vector.
    const angles = Array.from({length: n >> 1}, (_, i) => 3 * (i + 1) / n);
    const o = new Float64Array(n * n);
    for (let i = 0; i < n; i++) o[i * n + i] = 1;
    angles.forEach((t, i) => {
      const k = 2 * i;
      o[k * n + k] = o[(k + 1) * n + k + 1] = Math.cos(t);
      o[k * n + k + 1] = -Math.sin(t);
      o[(k + 1) * n + k] = Math.sin(t);
    });
    for (let turn = 1; turn <= 3; turn++) {
      const v = Array.from({length: n}, (_, i) => Math.sin(turn * (i + 1)));
      const vv = v.reduce((s, x) => s + x * x, 0);
      const mirror = (at, step, own) => {
        const sum = v.reduce((s, x, i) => s + x * o[at + i * step], 0);
        for (let i = 0; i < n; i++) own[at + i * step] = o[at + i * step] - 2 / vv * v[i] * sum;
      };
      for (let j = 0; j < n; j++) mirror(j, n, o);
      for (let i = 0; i < n; i++) mirror(i * n, 1, o);
    }
    const wanted = [...angles, ...angles, ...(n % 2 ? [0] : [])].map(t => t * 180 / Math.PI).sort((a, b) => a - b);
    const found = (await anglesOf(o, n)).sort((a, b) => a - b);
    wanted.forEach((t, i) => assert.ok(Math.abs(t - found[i]) < 1e-4, `${n}: ${found[i]}, not ${t}`));
  }
  assert.equal(await anglesOf(Float64Array.of(2, 0, 0, 1), 2), null);
});

test('the training curve grows by itself, and the turned maps show their angles', async () => {
  const page = await open(browser, daemon.url);
  await page.locator('.dot[data-state=live]').waitFor();
  const job = await daemon.post('v1/jobs', {name: 'learns', models: {a: 'gpt2-a', b: 'gpt2-b'},
    align: {dataset: 'align', max_sequences: 40, components: ['ff', 'mha', 'residual'], residual_map: 'orthogonal',
      head_map: 'orthogonal', learn: {steps: 75, batch_tokens: 128}},
    interpolate: {points: 3}, evaluate: {task: 'clm', dataset: 'eval', max_blocks: 4}});
  await page.goto(`${daemon.url}#/job/${job.id}`);
  await page.getByRole('heading', {name: 'Learning'}).waitFor();
  const labels = await record(page, '.plot[aria-label^="Training curve"]', 'aria-label');
  await daemon.finished(job.id);
  const {points, best_step: best} = await daemon.get(`v1/jobs/${job.id}/learning`);
  await page.getByRole('img', {name: `Training curve at ${points.length} points of 75 steps`}).waitFor();
  const seen = new Set((await labels()).filter(text => /at \d+ points/.test(text)));
  assert.ok(seen.size >= 2, `the curve was seen only as ${[...seen].join('; ')}`);
  const held = step => points.find(p => p.step === step).held_loss.toFixed(3);
  await page.getByText(`held loss ${held(0)} before, ${held(best)} with the maps kept, those of step ${best}`).waitFor();
  const bytes = Buffer.from(await (await fetch(`${daemon.url}v1/jobs/${job.id}/artifacts/alignment.safetensors`))
    .arrayBuffer());
  const length = Number(bytes.readBigUInt64LE());
  const {shape: [n], data_offsets: [from]} = JSON.parse(bytes.subarray(8, 8 + length).toString())['residual.matrix'];
  const matrix = Float32Array.from({length: n * n}, (_, i) => bytes.readFloatLE(8 + length + from + 4 * i));
  const angles = await anglesOf(matrix, n), mean = angles.reduce((a, b) => a + b) / n;
  assert.ok(mean > 5 && mean < 175, `mean angle ${mean}`);
  await page.getByRole('img', {name: `Angles of residual: mean ${mean.toFixed(0)} degrees`}).waitFor();
  await page.getByRole('img', {name: /Angles of inside heads: mean \d+ degrees/}).waitFor();
  await page.locator('.heatmap canvas').first().waitFor();
  await assertAccessible(page, 'learned');
  await page.locator('.plot[aria-label^="Training curve"]').scrollIntoViewIfNeeded();
  await picture(page, 'learning');
  assertCalm(page, /404/); // the curve is asked for before it is there
  await page.context().close();
});
