// Tokens, and path prefixes with and without a proxy that strips them.
import assert from 'node:assert/strict';
import {mkdtemp, rm, writeFile} from 'node:fs/promises';
import http from 'node:http';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {after, before, test} from 'node:test';
import {assertAccessible, assertCalm, launch, open} from './browser.mjs';
import {Daemon} from './daemon.mjs';

let browser;
before(async () => (browser = await launch()));
after(() => browser?.close());

test('a daemon with a token asks for it, keeps it for the tab, and says when it is wrong', async () => {
  const token = 'test-token-0123456789abcdefghijklmnopqrstuvwxyz-ABCDEFGH';
  const folder = await mkdtemp(join(tmpdir(), 'rebasind-token-'));
  const file = join(folder, 'token');
  await writeFile(file, token, {mode: 0o600});
  const daemon = await Daemon.start(['--token-file', file]);
  try {
    const page = await open(browser, daemon.url);
    const dialog = page.getByRole('dialog', {name: 'Token'});
    await dialog.waitFor();
    await assertAccessible(page, 'token');
    // Whichever is refused first says why: here that is the events.
    await page.route('**/v1/jobs?*', async route => {
      await new Promise(resolve => setTimeout(resolve, 400));
      await route.continue();
    });
    await dialog.locator('input').fill('not it');
    await dialog.getByRole('button', {name: 'Use it'}).click();
    await dialog.getByRole('alert').waitFor();
    await dialog.locator('input').fill(token);
    await page.keyboard.press('Enter');
    await page.getByText('No jobs yet.').waitFor();
    await page.locator('.dot[data-state=live]').waitFor(); // the events have it too
    const [mine] = await Promise.all([page.waitForRequest(/v1\/jobs\?.*mine=true/),
      page.getByRole('button', {name: 'mine'}).click()]);
    assert.equal((await mine.response()).status(), 200);
    assert.match(page.url(), /mine=1/);
    await page.getByText('No job fits the filter.').waitFor();
    await page.getByRole('button', {name: 'mine'}).click();
    await page.getByText('No jobs yet.').waitFor();
    assert.equal(await page.evaluate(() => localStorage.length), 0);
    assert.ok(!page.url().includes(token));
    await page.reload();
    await page.getByText('No jobs yet.').waitFor(); // this tab still has it
    const other = await page.context().newPage();
    await other.goto(daemon.url);
    await other.getByRole('dialog', {name: 'Token'}).waitFor(); // another one does not
    await other.getByRole('button', {name: 'Cancel', exact: true}).click();
    await other.getByRole('button', {name: 'Enter the token'}).click();
    await other.locator('#token').fill(token);
    await other.getByRole('button', {name: 'Use it'}).click();
    await other.getByText('No jobs yet.').waitFor();
    await page.getByRole('button', {name: 'Forget token'}).click();
    await page.getByRole('dialog', {name: 'Token'}).waitFor();
    assertCalm(page, /401/);
  } finally {
    await daemon.remove();
    await rm(folder, {recursive: true});
  }
});

/* All of what a page needs, below a prefix. */
async function visit(url) {
  const page = await open(browser, url);
  await page.getByText('No jobs yet.').waitFor();
  await page.locator('.dot[data-state=live]').waitFor();
  await page.getByRole('link', {name: 'New job'}).first().click();
  await page.getByLabel('Model A').waitFor(); // openapi.json was found
  assertCalm(page);
  return page;
}

test('below --route-prefix, with and without the slash', async () => {
  const daemon = await Daemon.start(['--route-prefix', '/lab/merge']);
  try {
    await visit(`${daemon.url}lab/merge/`);
    const page = await visit(`${daemon.url}lab/merge`);
    assert.ok(page.url().startsWith(`${daemon.url}lab/merge/`));
  } finally {
    await daemon.remove();
  }
});

test('behind a proxy that strips the prefix', async () => {
  const daemon = await Daemon.start();
  const proxy = http.createServer((request, response) => {
    if (!request.url.startsWith('/merge/')) {
      response.writeHead(404).end();
      return;
    }
    request.pipe(http.request({port: daemon.port, host: '127.0.0.1', path: request.url.slice(6),
      method: request.method, headers: request.headers}, answer => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    }).on('error', () => response.destroy()));
  });
  await new Promise(ok => proxy.listen(0, '127.0.0.1', ok));
  try {
    await visit(`http://127.0.0.1:${proxy.address().port}/merge/`);
  } finally {
    proxy.closeAllConnections();
    proxy.close();
    await daemon.remove();
  }
});

test('the page is served with a strict policy, and asks nobody else', async () => {
  const daemon = await Daemon.start();
  try {
    const policy = (await fetch(daemon.url)).headers.get('content-security-policy');
    assert.match(policy, /default-src 'self'/);
    assert.doesNotMatch(policy, /unsafe|https?:|\*/);
    await visit(daemon.url);
  } finally {
    await daemon.remove();
  }
});
