// The list changes in place; a link is a view; a daemon that goes away comes back by itself.
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {assertAccessible, assertCalm, launch, open, record} from './browser.mjs';
import {Daemon, spec, until} from './daemon.mjs';

let daemon, browser, page;

before(async () => {
  daemon = await Daemon.start(['--workers', '1']);
  await daemon.seed();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await daemon?.remove();
});

const rowOf = name => page.getByRole('row', {name});

test('rows are patched in place: selection, focus and scroll survive', async () => {
  const names = Array.from({length: 30}, (_, i) => `wait ${String(i).padStart(2, '0')}`);
  const first = await daemon.submit({...spec({points: 41, blocks: 32}), name: 'first'});
  for (const name of names)
    await daemon.submit({...spec({points: 101, blocks: 256}), name, priority: -1, labels: {set: name}});
  page = await open(browser, `${daemon.url}#/jobs`, {height: 600});
  await rowOf('wait 03').getByRole('checkbox').check();
  await page.evaluate(() => scrollTo(0, 600));
  // The very elements, to be found again.
  await page.evaluate(() => {
    const rows = [...document.querySelectorAll('tbody tr')];
    window.kept = new Map(rows.map(tr => [tr.dataset.key, tr]));
    const tr = rows.find(r => r.textContent.includes('wait 05'));
    tr.tabIndex = 0;
    tr.focus({preventScroll: true});
  });
  const states = await record(page, `tr[data-key="${first.id}"] .state`);
  await rowOf('first').locator('.badge', {hasText: 'succeeded'}).waitFor({timeout: 180000});
  const progress = (await states()).filter(s => /evaluating · \d+.% · .* left/.test(s));
  assert.ok(progress.length >= 3, `its progress was seen as: ${(await states()).join('; ')}`);
  const barrier = (await daemon.get(`v1/jobs/${first.id}`)).summary.barrier_mean.toFixed(3);
  await rowOf('first').locator('.col-barrier', {hasText: barrier}).waitFor();
  assert.equal(await rowOf('first').locator('.spark path').count(), 2);
  const kept = await page.evaluate(() => ({
    same: [...document.querySelectorAll('tbody tr')].every(tr => window.kept.get(tr.dataset.key) === tr),
    scroll: scrollY,
    focus: document.activeElement.textContent,
  }));
  assert.ok(kept.same, 'a row was made anew');
  assert.equal(kept.scroll, 600);
  assert.match(kept.focus, /wait 05/);
  assert.ok(await rowOf('wait 03').getByRole('checkbox').isChecked());
});

test('a new job appears by itself, on top', async () => {
  await daemon.submit({...spec(), name: 'newcomer', priority: -2});
  await rowOf('newcomer').waitFor();
  assert.match(await page.locator('tbody tr').first().textContent(), /newcomer/);
});

test('filter, order and columns are in the URL, so that a link is a view', async () => {
  await page.getByRole('searchbox').fill('wait 1');
  await page.getByRole('button', {name: 'queued'}).click();
  await page.getByRole('button', {name: 'Name', exact: true}).click();
  await page.locator('.menu summary').click();
  await page.getByLabel('Memory').check();
  await page.getByLabel('Models').uncheck();
  const rows = () => page.locator('tbody tr .name').allTextContents();
  await until('ten rows', async () => (await rows()).length >= 10);
  const shown = await rows();
  assert.deepEqual(shown, [...shown].sort());
  const other = await open(browser, page.url());
  await other.locator('tbody tr').first().waitFor();
  assert.deepEqual(await other.locator('tbody tr .name').allTextContents(), shown);
  assert.deepEqual(await other.getByRole('columnheader').allTextContents(),
    await page.getByRole('columnheader').allTextContents());
  assertCalm(other);
  await other.context().close();
});

test('a label is a filter that the daemon applies', async () => {
  await page.goto(`${daemon.url}#/jobs`);
  await rowOf('wait 07').getByRole('link', {name: 'set:wait 07'}).click();
  await until('one row', async () => (await page.locator('tbody tr').count()) === 1);
  await page.goto(`${daemon.url}#/jobs`);
});

test('the keyboard alone opens a job and comes back', async () => {
  await page.locator('tbody tr').first().waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('newcomer');
  await until('one row', async () => (await page.locator('tbody tr').count()) === 1);
  await page.locator('tbody tr').focus();
  await page.keyboard.press('x');
  assert.ok(await page.locator('tbody tr input').isChecked());
  await page.keyboard.press('Enter');
  await page.getByRole('heading', {name: 'newcomer', level: 1}).waitFor();
  await page.goBack();
  await page.getByRole('heading', {name: 'Jobs', level: 1}).waitFor();
  assert.equal(await page.getByRole('searchbox').inputValue(), 'newcomer');
});

test('many are canceled at once', async () => {
  await page.goto(`${daemon.url}#/jobs`);
  await page.getByRole('checkbox', {name: 'Select all rows'}).check();
  await page.getByRole('button', {name: /^Cancel/}).click();
  await until('the last of them', async () => {
    const {jobs} = await daemon.get('v1/stats');
    return jobs.queued + jobs.running + jobs.canceling === 0;
  });
  await until('the page to show it', async () =>
    (await page.locator('.badge[data-status=canceled]').count()) === 31);
});

test('a hidden page lets its connection go, and takes up where it was', async () => {
  const listeners = async n => (await daemon.get('v1/stats')).event_listeners === n;
  const hide = hidden => page.evaluate(value => {
    Object.defineProperty(document, 'hidden', {value, configurable: true});
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);
  await until('one listener', () => listeners(1));
  await hide(true);
  await until('no listener', () => listeners(0));
  await daemon.submit({...spec(), name: 'unseen'});
  const [request] = await Promise.all([page.waitForRequest(/v1\/events/), hide(false)]);
  assert.match((await request.allHeaders())['last-event-id'], /^\d+$/);
  await rowOf('unseen').waitFor();
});

test('a daemon that is gone is said plainly, and the page goes on by itself', async () => {
  assertCalm(page);
  await daemon.stop();
  await page.getByText('The daemon does not answer.').waitFor();
  assert.ok(await rowOf('wait 03').isVisible(), 'what was known stays');
  await assertAccessible(page, 'gone');
  await daemon.restart();
  await page.getByText('The daemon does not answer.').waitFor({state: 'detached'});
  // What happens now is heard again, without a reload.
  await daemon.submit({...spec(), name: 'after the break'});
  await rowOf('after the break').getByText('succeeded').waitFor();
  assertCalm(page, /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE|ERR_EMPTY|ERR_CONNECTION_RESET|503/);
});
