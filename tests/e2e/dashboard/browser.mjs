// Debian's Chromium, headless; pages that remember what went wrong in them.
import assert from 'node:assert/strict';
import {existsSync} from 'node:fs';
import {mkdir, readFile} from 'node:fs/promises';
import {createRequire} from 'node:module';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {chromium} from 'playwright-core';

const HERE = dirname(fileURLToPath(import.meta.url));
const PICTURES = join(HERE, '../../../docs/screenshots');
const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find(existsSync);

export function launch() {
  assert.ok(CHROMIUM, 'no /usr/bin/chromium: apt-get install chromium');
  return chromium.launch({executablePath: CHROMIUM, args: ['--headless', '--no-sandbox',
    '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync']});
}

/** A page in a context of its own (no cache, no storage); script runs in it before the page's.
 * page.troubles: console errors, exceptions, and requests to anybody but the daemon. */
export async function open(browser, url, {dark = false, width = 1360, height = 860, script} = {}) {
  const context = await browser.newContext({colorScheme: dark ? 'dark' : 'light',
    viewport: {width, height}, acceptDownloads: true, reducedMotion: 'reduce'});
  const page = await context.newPage();
  if (script) await page.addInitScript(script);
  page.setDefaultTimeout(60000); // a busy machine is slow, not wrong
  page.troubles = [];
  page.on('console', m => {
    if (m.type() === 'error') page.troubles.push(`console: ${m.text()} ${m.location().url}`);
  });
  page.on('pageerror', e => page.troubles.push(`exception: ${e.stack}`));
  page.on('request', r => {
    if (!r.url().startsWith(new URL(url).origin) && !r.url().startsWith('blob:'))
      page.troubles.push(`request to ${r.url()}`);
  });
  await page.goto(url);
  return page;
}

/** Until what was asked for is on the screen. */
export const painted = page => page.evaluate(() => new Promise(done =>
  requestAnimationFrame(() => requestAnimationFrame(done))));

/** Keeps, from now on, whatever text the first element of a selector has had (or its attribute), for
 * what passes more quickly than one can ask. Gives a function that tells them: [text]. */
export async function record(page, selector, attribute) {
  const seen = await page.evaluateHandle(([selector, attribute]) => {
    const texts = new Set();
    const look = () => {
      const element = document.querySelector(selector);
      const text = attribute ? element?.getAttribute(attribute) : element?.textContent;
      if (text) texts.add(text);
    };
    new MutationObserver(look).observe(document, {subtree: true, childList: true, attributes: true,
      characterData: true});
    look();
    return texts;
  }, [selector, attribute]);
  return () => seen.evaluate(texts => [...texts]);
}

/** allowed: what a test brings about on purpose. */
export function assertCalm(page, allowed = /^$/) {
  assert.deepEqual(page.troubles.filter(t => !allowed.test(t)), []);
}

/** Nothing serious or critical, by axe-core's rules of WCAG 2.2 AA. */
export async function assertAccessible(page, words) {
  await page.evaluate(await readFile(AXE, 'utf8'));
  const {violations} = await page.evaluate(() => window.axe.run(document, {resultTypes: ['violations'],
    preload: false, runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}));
  const bad = violations.filter(v => ['serious', 'critical'].includes(v.impact))
    .map(v => `${words}: ${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map(n => n.html).join(' | ')}`);
  assert.deepEqual(bad, []);
  return violations.length;
}

/** docs/screenshots/<name>.png, when $REBASIND_SCREENSHOTS is set: they are committed. */
export async function picture(page, name, options = {}) {
  if (!process.env.REBASIND_SCREENSHOTS) return;
  await mkdir(PICTURES, {recursive: true});
  await page.mouse.move(0, 0);
  await painted(page);
  await page.screenshot({path: join(PICTURES, `${name}.png`), ...options});
}
