// The list as a table to work with: filters on any member and figure, columns for them, verdicts, names
// and notes in place.
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {assertAccessible, assertCalm, launch, open} from './browser.mjs';
import {Daemon, spec, until} from './daemon.mjs';

let daemon, browser, page;
const jobs = {};

before(async () => {
  daemon = await Daemon.start();
  await daemon.seed();
  const parts = ['ff', 'mha', 'residual'];
  const ask = async (name, align, labels) => (jobs[name] = await daemon.submit({...spec({align}), name, labels}));
  await ask('plain', {}, {sweep: 'one', owner: 'somebody-with-a-long-name', purpose: 'rows-stay-one-line'});
  await ask('monotonic', {heads: 'monotonic'}, {sweep: 'one'});
  await ask('broken', {components: parts, residual: 'separate'}, {});
  for (const [name, {id}] of Object.entries(jobs)) jobs[name] = await daemon.finished(id);
  browser = await launch();
  page = await open(browser, daemon.url, {width: 1280, height: 800});
  await page.locator('tbody tr').nth(2).waitFor();
});
after(async () => {
  await browser?.close();
  await daemon?.remove();
});

const names = () => page.locator('tbody tr .name').allTextContents();
const rowOf = name => page.locator(`tr[data-key="${jobs[name].id}"]`);

/* Types a filter and waits for just these rows. */
async function filtered(text, wanted) {
  await page.getByRole('searchbox').fill(text);
  await until(`${text} to leave ${wanted}`, async () =>
    (await names()).sort().join() === [...wanted].sort().join());
}

test('at 1280 px each row is one line and the table is not cut off', async () => {
  const table = await page.getByRole('region', {name: 'Jobs'}).evaluate(e => [e.scrollWidth, e.clientWidth]);
  assert.ok(table[0] <= table[1], `the table has ${table[0]} px, its place ${table[1]}`);
  for (const height of await page.locator('tbody tr').evaluateAll(list => list.map(tr => tr.offsetHeight)))
    assert.ok(height <= 44, `a row is ${height} px high`);
  const labels = rowOf('plain').locator('.col-labels');
  assert.ok(await labels.evaluate(td => td.scrollWidth > td.clientWidth), 'labels are cut');
  assert.match(await labels.getAttribute('title'), /owner:somebody-with-a-long-name/);
});

test('a member of the spec, a figure and a verdict are filters', async () => {
  await filtered('align.heads:monotonic', ['monotonic']);
  assert.match(page.url(), /where=align\.heads:monotonic/);
  await filtered('align.components:ff,mha sweep:one', ['plain', 'monotonic']);
  const {barrier_mean: limit} = jobs.plain.summary;
  await filtered(`barrier<=${limit}`, Object.values(jobs).filter(j => j.summary.barrier_mean <= limit &&
    j.name !== 'broken').map(j => j.name));
  await filtered('verdict:not-the-same', ['broken']);
  const verdict = jobs.plain.summary.verdict.text;
  await filtered(`verdict:${verdict.split(' ')[0]}`, Object.values(jobs)
    .filter(j => j.summary.verdict.text.includes(verdict.split(' ')[0])).map(j => j.name));
  await filtered('', Object.keys(jobs));
});

test('what is not the same function is greyed, uncoloured and without a rank', async () => {
  const cell = rowOf('broken').locator('.col-barrier');
  assert.match(await cell.getAttribute('class'), /void/);
  assert.match(await cell.getAttribute('title'), /not the same function/);
  assert.match(await cell.textContent(), /^\d/);
  assert.equal(await rowOf('plain').locator('.col-verdict').textContent(), jobs.plain.summary.verdict.label);
  assert.doesNotMatch(await rowOf('broken').locator('.col-reduction').getAttribute('class'), /better|worse/);
  for (let i = 0; i < 2; i++) { // up and down
    await page.getByRole('button', {name: 'Barrier'}).click();
    await until('it to be last', async () => (await names()).at(-1) === 'broken');
  }
  await page.getByRole('button', {name: 'Created'}).click();
});

test('a member that differs and a label become columns, and the link keeps them', async () => {
  await page.locator('.menu summary').click();
  await page.getByLabel('align.heads').check();
  await page.getByRole('group', {name: 'Labels'}).getByLabel('sweep').check();
  const cells = name => Promise.all(['align.heads', 'label.sweep'].map(id =>
    rowOf(name).locator(`[class~="col-${id}"]`).textContent()));
  assert.deepEqual(await cells('monotonic'), ['monotonic', 'one']);
  assert.deepEqual(await cells('broken'), ['permute', '–']);
  await assertAccessible(page, 'columns');
  const other = await open(browser, page.url());
  await other.getByRole('columnheader', {name: 'align.heads'}).waitFor();
  assertCalm(other);
  await other.context().close();
});

test('the verdict is the headline of its job, the percentage comes after', async () => {
  await page.goto(`${daemon.url}#/job/${jobs.plain.id}`);
  const {verdict, reduction, reduction_standard_error: error} = jobs.plain.summary;
  const sentence = page.locator('.sentence');
  await sentence.filter({hasText: verdict.sentence}).waitFor();
  const headline = page.locator('.headline');
  assert.ok((await sentence.boundingBox()).y < (await headline.boundingBox()).y);
  const text = (await headline.textContent()).replace(/\s/g, ' ');
  assert.ok(text.startsWith(`${Math.abs(100 * reduction).toFixed(1)} %`), text);
  assert.ok(text.endsWith(`± ${(100 * error).toFixed(1)}`), text);
  await page.getByText('ff + mha · 20 sequences of align · mlm on eval · 5 points').waitFor(); // the method
  await page.goto(`${daemon.url}#/job/${jobs.broken.id}`);
  await page.locator('.sentence[data-verdict=void]').filter({hasText: /^Not the same function/i}).waitFor();
  await page.locator('.headline.void').waitFor();
});

test('a job of a daemon that gives no verdict is shown without', async () => {
  const own = await open(browser, 'about:blank');
  const {verdict, ...summary} = jobs.plain.summary;
  assert.ok(verdict);
  await own.route(`${daemon.url}v1/jobs/${jobs.plain.id}`, route => route.fulfill({json: {...jobs.plain, summary}}));
  await own.goto(`${daemon.url}#/job/${jobs.plain.id}`);
  await own.locator('.headline').waitFor();
  assert.equal(await own.locator('.sentence').count(), 0);
  assertCalm(own, /^request to /); // it was opened on no page
  await own.context().close();
});

test('name, labels and note are changed in place', async () => {
  await page.goto(`${daemon.url}#/job/${jobs.plain.id}`);
  const job = () => daemon.get(`v1/jobs/${jobs.plain.id}`);
  await page.getByRole('button', {name: 'Rename'}).click();
  await page.getByRole('textbox', {name: 'Rename'}).fill('never');
  await page.keyboard.press('Escape');
  assert.equal((await job()).name, 'plain');
  await page.getByRole('button', {name: 'Rename'}).click();
  await page.getByRole('textbox', {name: 'Rename'}).fill('a better name');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', {name: 'a better name', level: 1}).waitFor();
  await page.getByRole('button', {name: 'Add a note'}).click();
  await page.getByRole('textbox', {name: 'Add a note'}).fill('looks odd at 0.3');
  await page.keyboard.press('Enter');
  await page.getByText('looks odd at 0.3').waitFor();
  await page.getByRole('button', {name: 'Edit labels'}).click();
  await page.getByRole('textbox', {name: 'Edit labels'}).fill('sweep:two');
  await page.keyboard.press('Enter');
  await page.getByRole('link', {name: 'sweep:two'}).waitFor();
  const {name, labels} = await job();
  assert.deepEqual([name, labels], ['a better name', {sweep: 'two', note: 'looks odd at 0.3'}]);
  await assertAccessible(page, 'edited');
});

test('and in the list, of the one that is selected', async () => {
  await page.goto(`${daemon.url}#/jobs`);
  await rowOf('monotonic').getByRole('checkbox').check();
  const edit = async (label, text) => {
    await page.getByRole('button', {name: label}).click();
    await page.getByRole('textbox', {name: label}).fill(text);
    await page.keyboard.press('Enter');
  };
  await edit('Rename', 'monotonic heads');
  await rowOf('monotonic').getByText('monotonic heads').waitFor();
  await edit('Edit labels', 'sweep:three');
  await rowOf('monotonic').getByText('sweep:three').waitFor();
  await edit('Note', 'the second try');
  await until('the note', async () => (await daemon.get(`v1/jobs/${jobs.monotonic.id}`)).labels.note === 'the second try');
  await assertAccessible(page, 'edited in the list');
  await rowOf('plain').getByRole('checkbox').check();
  assert.equal(await page.getByRole('button', {name: 'Rename'}).count(), 0);
  await page.getByRole('button', {name: 'Clear'}).click();
});

/* CIE 1976 L*a*b*. */
function lab(hex) {
  const [r, g, b] = [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16) / 255)
    .map(c => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  const f = t => (t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116);
  const [x, y, z] = [(0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.95047, 0.2126 * r + 0.7152 * g + 0.0722 * b,
    (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.08883].map(f);
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

for (const theme of ['light', 'dark'])
  test(`twelve colours that can be told apart, ${theme}`, async () => {
    const colours = await page.evaluate(theme => {
      document.documentElement.dataset.theme = theme;
      const style = getComputedStyle(document.documentElement);
      return Array.from({length: 12}, (_, i) => style.getPropertyValue(`--g${i}`).trim());
    }, theme);
    assert.equal(new Set(colours).size, 12);
    colours.forEach((a, i) => colours.slice(0, i).forEach(b => {
      const [p, q] = [lab(a), lab(b)];
      const distance = Math.hypot(...p.map((v, k) => v - q[k]));
      assert.ok(distance > 20, `${a} and ${b} are ${distance.toFixed(0)} apart`);
    }));
  });

test('nothing went wrong in the page', () => assertCalm(page));
