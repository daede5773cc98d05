// Every view in light and dark, wide and narrow: no serious finding of axe-core, nothing cut off, and
// the pictures of docs/screenshots.
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {assertAccessible, assertCalm, launch, open, painted, picture} from './browser.mjs';
import {Daemon, FIXTURES, spec} from './daemon.mjs';

let daemon, browser, best;

const PICTURED = new Set(['jobs', 'job', 'compare', 'new', 'data', 'jobs-dark', 'job-dark',
  'compare-dark', 'jobs-phone', 'job-phone']);

const PARTS = {ff: ['ff'], 'ff + mha': ['ff', 'mha'], 'ff + mha + residual': ['ff', 'mha', 'residual']};

before(async () => {
  daemon = await Daemon.start();
  await daemon.seed();
  for (const name of ['overlap-a', 'overlap-b'])
    await daemon.post('v1/models', {name, path: `${FIXTURES}/models/${name}`});
  await daemon.post('v1/datasets', {name: 'overlap', path: `${FIXTURES}/data/overlap.jsonl`,
    format: 'jsonl', text: 'sentence1', text_pair: 'sentence2', label: 'label'});
  // Small jobs unless the pictures are wanted.
  const size = process.env.REBASIND_SCREENSHOTS ? {points: 21, blocks: 48, sequences: 300}
    : {points: 5, blocks: 4, sequences: 20};
  const jobs = [];
  for (const [name, components] of Object.entries(PARTS))
    for (const rotate_heads of components.includes('mha') ? [false, true] : [false])
      jobs.push(await daemon.submit({...spec({...size, align: {components, rotate_heads,
        ...(components.includes('residual') ? {residual: 'first'} : {})}}),
      name: rotate_heads ? `${name}, rotated` : name,
      labels: {sweep: 'parts', rotation: rotate_heads ? 'on' : 'off'}}));
  for (const job of jobs) await daemon.finished(job.id);
  best = jobs.at(-1);
  const stopped = await daemon.submit({...spec({points: 101, blocks: 256}), name: 'a longer path'});
  await daemon.call('POST', `v1/jobs/${stopped.id}/cancel`);
  // One that runs while the others are looked at.
  await daemon.submit({name: 'overlap, all parts', labels: {sweep: 'overlap'},
    models: {a: 'overlap-a', b: 'overlap-b'}, align: {components: PARTS['ff + mha + residual'],
      dataset: 'align', max_sequences: 4000}, interpolate: {points: 401},
    evaluate: {task: 'regression', dataset: 'overlap'}});
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await daemon?.remove();
});

const VIEWS = () => ({
  jobs: ['#/jobs', 'tbody tr .spark'],
  job: [`#/job/${best.id}`, '.heatmap canvas'],
  compare: ['#/compare?label=sweep:parts&group=label:rotation', '.plot canvas'],
  new: [`#/new?from=${best.id}`, '.verdict-line[data-ok=yes]'],
  data: ['#/data', 'tbody tr'],
});

/* The page itself never scrolls sideways; only tables within it do. Says what sticks out. */
const assertFits = async (page, words) => assert.deepEqual(await page.evaluate(() => {
  const {scrollWidth, clientWidth} = document.documentElement;
  if (scrollWidth <= clientWidth) return [];
  return [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > clientWidth + 1)
    .map(e => `${e.tagName}.${e.className}: ${e.textContent.slice(0, 40)}`).slice(0, 12);
}), [], `${words} is too wide`);

for (const name of ['jobs', 'job', 'compare', 'new', 'data'])
  for (const [shape, options] of Object.entries({light: {}, dark: {dark: true},
    phone: {width: 375, height: 812, dark: false}}))
    test(`${name}, ${shape}`, async () => {
      const [hash, sign] = VIEWS()[name];
      const page = await open(browser, daemon.url + hash, options);
      await page.locator(sign).first().waitFor({state: 'attached'});
      assert.equal(await page.locator('html').getAttribute('data-theme'), options.dark ? 'dark' : 'light');
      await assertFits(page, name);
      for (const card of await page.locator('.card').all()) {
        await card.scrollIntoViewIfNeeded(); // it loads when it is seen
        await card.locator('path.after').waitFor({state: 'attached'});
      }
      await page.evaluate(() => scrollTo(0, 0));
      await painted(page);
      const pictured = shape === 'light' ? name : `${name}-${shape}`;
      if (PICTURED.has(pictured)) await picture(page, pictured, {fullPage: pictured === 'job'});
      for (const summary of await page.locator('summary:visible', {hasText: 'Data table'}).all())
        await summary.click();
      await assertAccessible(page, `${name}, ${shape}`);
      assertCalm(page);
      await page.context().close();
    });

test('a job half way: its curve so far, its phase, the time left', async () => {
  const job = await daemon.submit({...spec({points: 101, blocks: 128}), name: 'a finer path', priority: 1,
    labels: {sweep: 'fine'}});
  const page = await open(browser, `${daemon.url}#/job/${job.id}`);
  const far = process.env.REBASIND_SCREENSHOTS ? /at [5-9][0-9] points/ : /at [0-9]+ points/;
  await page.getByRole('img', {name: far}).waitFor();
  await page.getByText(/evaluating · \d+.% · .* left/).waitFor();
  await picture(page, 'job-running');
  await assertFits(page, 'running');
  await assertAccessible(page, 'running');
  assertCalm(page);
  await daemon.post(`v1/jobs/${job.id}/cancel`);
  await page.locator('.head .badge', {hasText: 'canceled'}).waitFor();
  await page.context().close();
});

test('charts follow the theme when it is switched', async () => {
  const page = await open(browser, `${daemon.url}#/job/${best.id}`);
  await page.locator('.plot canvas').waitFor();
  // How much of the chart has the colour that the style sheet now gives the aligned curve.
  const inked = () => page.locator('.plot canvas').evaluate(c => {
    const hex = getComputedStyle(document.documentElement).getPropertyValue('--aligned').trim();
    const wanted = [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));
    const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
    let n = 0;
    for (let i = 0; i < d.length; i += 4)
      n += d[i + 3] === 255 && wanted.every((v, k) => Math.abs(d[i + k] - v) < 3);
    return `${hex} ${n > 200}`;
  });
  const light = await inked();
  assert.match(light, /true/);
  await page.getByRole('button', {name: /^Theme/}).click(); // as the system -> light
  await page.getByRole('button', {name: /^Theme/}).click(); // -> dark
  assert.equal(await page.locator('html').getAttribute('data-theme'), 'dark');
  assert.match(await inked(), /true/);
  assert.notEqual(await inked(), light);
  await page.reload();
  assert.equal(await page.locator('html').getAttribute('data-theme'), 'dark', 'the choice is kept');
  await page.context().close();
});
