// Every view in light and dark, wide and narrow: no serious finding of axe-core, nothing cut off, and
// the pictures of docs/screenshots.
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {assertAccessible, assertCalm, launch, open, picture} from './browser.mjs';
import {Daemon, FIXTURES, spec} from './daemon.mjs';

let daemon, browser, best;

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
  await daemon.submit({...spec(), name: 'too long', align: {dataset: 'align', max_length: 48},
    evaluate: {task: 'mlm', dataset: 'eval', block_size: 48, max_blocks: 8}, interpolate: {points: 3}});
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await daemon?.remove();
});

const VIEWS = () => ({
  jobs: ['#/jobs', 'tbody tr .spark'],
  job: [`#/job/${best.id}`, '.card .histogram .after'],
  compare: ['#/compare?label=sweep:parts&group=label:rotation', '.plot canvas'],
  new: [`#/new?from=${best.id}`, '.verdict-line[data-ok=yes]'],
  data: ['#/data', 'tbody tr'],
});

/* The page itself never scrolls sideways; only tables within it do. */
const assertFits = async (page, words) => assert.ok(await page.evaluate(() =>
  document.documentElement.scrollWidth <= document.documentElement.clientWidth), `${words} is too wide`);

for (const name of ['jobs', 'job', 'compare', 'new', 'data'])
  for (const [shape, options] of Object.entries({light: {}, dark: {dark: true},
    phone: {width: 375, height: 812, dark: false}}))
    test(`${name}, ${shape}`, async () => {
      const [hash, sign] = VIEWS()[name];
      const page = await open(browser, daemon.url + hash, options);
      await page.locator(sign).first().waitFor();
      assert.equal(await page.locator('html').getAttribute('data-theme'), options.dark ? 'dark' : 'light');
      await assertFits(page, name);
      await picture(page, shape === 'light' ? name : `${name}-${shape}`);
      for (const summary of await page.locator('summary:visible', {hasText: 'Data table'}).all())
        await summary.click();
      await assertAccessible(page, `${name}, ${shape}`);
      assertCalm(page);
      await page.context().close();
    });

test('charts follow the theme when it is switched', async () => {
  const page = await open(browser, `${daemon.url}#/job/${best.id}`);
  await page.locator('.plot canvas').waitFor();
  const ink = () => page.locator('.plot canvas').evaluate(c => {
    const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
    let sum = 0, n = 0;
    for (let i = 0; i < d.length; i += 4)
      if (d[i + 3] > 200) {
        sum += d[i] + d[i + 1] + d[i + 2];
        n++;
      }
    return sum / n;
  });
  const light = await ink();
  await page.getByRole('button', {name: /^Theme/}).click(); // as the system -> light
  await page.getByRole('button', {name: /^Theme/}).click(); // -> dark
  assert.equal(await page.locator('html').getAttribute('data-theme'), 'dark');
  assert.ok(await ink() > light + 30, 'the chart kept its colours');
  await page.reload();
  assert.equal(await page.locator('html').getAttribute('data-theme'), 'dark', 'the choice is kept');
  await page.context().close();
});
