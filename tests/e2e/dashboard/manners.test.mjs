// What people trip over: keys on a fresh page, menus that stay, charts of nothing, links to nothing.
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {assertCalm, launch, open} from './browser.mjs';
import {Daemon, FIXTURES, spec, until} from './daemon.mjs';

let daemon, browser, page, done;

before(async () => {
  daemon = await Daemon.start();
  await daemon.seed();
  done = await daemon.submit({...spec(), name: 'measured'});
  await daemon.finished(done.id);
  done = await daemon.get(`v1/jobs/${done.id}`);
  browser = await launch();
  page = await open(browser, daemon.url);
  await page.locator('tbody tr').waitFor();
});
after(async () => {
  await browser?.close();
  await daemon?.remove();
});

const focused = () => page.evaluate(() => document.activeElement.tagName);

test('j, x and Enter work on a page that nobody has clicked into', async () => {
  await page.keyboard.press('j');
  assert.equal(await focused(), 'TR');
  await page.keyboard.press('x');
  assert.ok(await page.locator('tbody tr input').isChecked());
  await page.keyboard.press('Enter');
  await page.getByRole('heading', {name: 'measured', level: 1}).waitFor();
  await page.goBack();
  await page.locator('tbody tr').waitFor();
});

test('Esc leaves the filter for the rows, and what was typed stays', async () => {
  await page.keyboard.press('/');
  await page.keyboard.type('meas');
  await page.keyboard.press('Escape');
  assert.equal(await focused(), 'TR');
  assert.equal(await page.getByRole('searchbox').inputValue(), 'meas');
  await page.getByRole('searchbox').fill('');
});

test('the menu of columns goes with Esc, and with a click elsewhere', async () => {
  const menu = page.locator('.menu');
  await menu.locator('summary').click();
  await page.getByLabel('Memory').focus();
  await page.keyboard.press('Escape');
  assert.equal(await menu.getAttribute('open'), null);
  assert.equal(await focused(), 'SUMMARY');
  await menu.locator('summary').click();
  await page.getByRole('heading', {name: 'Jobs'}).click();
  assert.equal(await menu.getAttribute('open'), null);
});

test('a link to a job that is not there says so, and so does one to no view', async () => {
  await page.goto(`${daemon.url}#/jobs/${done.id}`); // as the API's path has it
  await page.getByRole('heading', {name: 'measured', level: 1}).waitFor();
  await page.goto(`${daemon.url}#/jobs/UNKNOWN`);
  await page.getByRole('alert').filter({hasText: /UNKNOWN|job/}).waitFor();
  assert.equal(await page.locator('table').count(), 0);
  await page.goto(`${daemon.url}#/nonsense`);
  await page.getByText('No view is named “nonsense”').waitFor();
  await page.goto(`${daemon.url}#/job/%`);
  await page.getByRole('alert').waitFor();
});

/* The job as if it had come to another state, without any point. */
async function stateOf(parts) {
  const own = await open(browser, 'about:blank');
  const path = `${daemon.url}v1/jobs/${done.id}`;
  const nothing = {loss: [], standard_error: [], metrics: {}, barrier: null, shape: null};
  await own.route(path, route => route.fulfill({json: {...done, artifacts: [], ...parts,
    summary: Object.fromEntries(Object.keys(done.summary).map(key => [key, null]))}}));
  await own.route(`${path}/barrier`, route => route.fulfill({json: {job: done.id, task: 'mlm',
    complete: false, lambdas: [], aligned: nothing, control: nothing, reduction: null}}));
  await own.goto(`${daemon.url}#/job/${done.id}`);
  await own.getByRole('heading', {name: 'measured', level: 1}).waitFor();
  return own;
}

for (const [status, words] of [['queued', 'waits for its turn'], ['running', 'No point is measured yet'],
  ['canceled', 'before the job ended'], ['failed', 'before the job failed']])
  test(`a ${status} job without points has no chart, but says why`, async () => {
    const error = status === 'failed' ? {code: 'no_space', title: 'The data folder’s disk is full',
      detail: 'writing: no space left', retryable: true,
      remedy: 'Make room on the daemon\u2019s disk, then retry: it goes on.'} : null;
    const own = await stateOf({status, phase: status === 'running' ? 'solving' : null, error,
      progress: {...done.progress, fraction: 0.25, eta_seconds: 90}});
    await own.getByText(words).waitFor();
    assert.equal(await own.locator('.plot canvas:visible').count(), 0);
    assert.equal(await own.getByText('Data table').first().isVisible(), false);
    if (status === 'running') await own.getByText(/solving · 25.% · 1.min 30.s left in all/).waitFor();
    if (status === 'failed') await own.getByRole('alert').filter({hasText: /full.*Make room .* then retry/s}).waitFor();
    await own.context().close();
  });

test('loose files do not propose the name "config"', async () => {
  await page.goto(`${daemon.url}#/data`);
  const choose = async files => {
    const [chooser] = await Promise.all([page.waitForEvent('filechooser'),
      page.getByRole('button', {name: 'Choose files…'}).click()]);
    await chooser.setFiles(files);
  };
  const file = (name, text) => ({name, mimeType: 'text/plain', buffer: Buffer.from(text)});
  const config = text => file('config.json', text);
  await choose([config('{"model_type": "bert"}'), file('vocab.txt', 'a')]);
  assert.equal(await page.getByLabel('Name of the model').inputValue(), '');
  await choose([config('{"_name_or_path": "lab/BERT seed.3"}')]);
  await until('the proposal', async () =>
    (await page.getByLabel('Name of the model').inputValue()) === 'bert-seed.3');
});

test('a sweep is canceled and deleted on its page; one that is gone says so', async () => {
  const {id, table} = await daemon.post('v1/sweeps', {spec: spec({points: 101, blocks: 256}),
    grid: {'align.max_sequences': [300, 301]}});
  await page.goto(`${daemon.url}#/sweeps/${id}`);
  await page.getByText(/2 (queued|running)|1 running/).first().waitFor();
  await page.getByRole('progressbar', {name: 'Progress'}).waitFor();
  await page.getByRole('button', {name: 'Cancel', exact: true}).click();
  await page.getByText('2 canceled').waitFor();
  await page.getByRole('button', {name: 'Delete'}).click();
  await page.getByRole('dialog').getByRole('button', {name: 'Delete'}).click();
  await page.getByRole('heading', {name: 'Jobs'}).waitFor();
  await page.goto(`${daemon.url}#/sweeps/${id}`);
  await page.getByRole('alert').filter({hasText: id}).waitFor();
  for (const {job} of table) assert.equal((await fetch(`${daemon.url}v1/jobs/${job}`)).status, 404);
});

test('an empty daemon merges the demo pair in one click, again after its job was deleted', async () => {
  const fresh = await Daemon.start();
  const own = await open(browser, fresh.url);
  for (let i = 0; i < 2; i++) {
    await own.getByRole('button', {name: 'Merge the demo pair'}).click();
    await own.getByRole('heading', {name: 'two GPT-2, learned', level: 1}).waitFor();
    const [job] = (await fresh.get('v1/jobs')).data;
    assert.deepEqual([job.spec.models.a, job.spec.align.learn.steps], ['gpt2-a', 200]);
    await fresh.post(`v1/jobs/${job.id}/cancel`);
    await fresh.finished(job.id);
    await fresh.call('DELETE', `v1/jobs/${job.id}`);
    await own.goto(`${fresh.url}#/jobs`);
  }
  await own.getByText(`"path":"${FIXTURES}/models/gpt2-a"`).waitFor();
  assertCalm(own, /409|404/);
  await own.context().close();
  await fresh.remove();
});

test('the jobs of a batch stand in the order of the batch', async () => {
  const job = name => ({...spec({points: 101, blocks: 256}), name});
  const names = Array.from({length: 12}, (_, i) => `member ${i}`);
  await page.goto(`${daemon.url}#/jobs`);
  await page.locator('tbody tr').first().waitFor();
  const {data} = await daemon.post('v1/jobs/batch', {jobs: names.map(job)});
  const shown = async () => (await page.locator('tbody tr .name').allTextContents())
    .filter(t => t.startsWith('member'));
  await until('all of them', async () => (await shown()).length === names.length);
  assert.deepEqual(await shown(), [...names].reverse());
  await page.reload();
  await until('all of them', async () => (await shown()).length === names.length);
  assert.deepEqual(await shown(), [...names].reverse());
  for (const {id} of data) await daemon.post(`v1/jobs/${id}/cancel`);
});

test('sparklines on one text have one scale', async () => {
  const own = await open(browser, 'about:blank');
  const ids = [0, 1, 2].map(i => `job_01a20840-0000-7000-8000-00000000000${i}`);
  const spans = [4, 1, 0.04]; // a hump of this height over 2
  await own.route('**/v1/jobs?**', route => route.fulfill({json: {data: ids.map((id, i) =>
    ({...done, id, name: `hump ${i}`}))}}));
  await own.route('**/v1/barriers?**', route => route.fulfill({json: {data: ids.map((job, i) => ({job,
    task: 'mlm', complete: true, lambdas: [0, 0.5, 1], control: null, reduction: null,
    aligned: {loss: [2, 2 + spans[i], 2], standard_error: [0, 0, 0], metrics: {}}}))}}));
  await own.goto(daemon.url);
  const heights = async () => Promise.all(ids.map(id => own.locator(`tr[data-key="${id}"] .spark .aligned`)
    .evaluate(path => path.getBBox().height)));
  await own.locator('.spark').nth(2).waitFor();
  await until('one scale', async () => {
    const [high, middle, low] = await heights();
    return Math.abs(middle / high - 1 / 4) < 0.02 && low / high < 0.03;
  });
  await own.context().close();
});

test('nothing went wrong in the page', () => assertCalm(page, /400|404/));
