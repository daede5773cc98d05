// The form is what the description says, and what the daemon finds wrong stands at its field.
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {assertCalm, launch, open} from './browser.mjs';
import {Daemon} from './daemon.mjs';

let daemon, browser, page, api;

before(async () => {
  daemon = await Daemon.start();
  await daemon.seed();
  api = await daemon.get('openapi.json');
  browser = await launch();
  page = await open(browser, `${daemon.url}#/new`);
  await page.getByLabel('Model A').waitFor();
});
after(async () => {
  await browser?.close();
  await daemon?.remove();
});

const resolve = s => s.$ref
  ? {...resolve(s.$ref.slice(2).split('/').reduce((at, k) => at[k], api)), ...s, $ref: undefined} : s;

/* Every member of the description: [pointer, schema]. */
function members(schema, at = '') {
  return Object.entries(resolve(schema).properties).flatMap(([key, raw]) => {
    const own = resolve(raw);
    return own.properties ? members(own, `${at}/${key}`) : [[`${at}/${key}`, own]];
  });
}

const field = pointer => page.locator(`[data-pointer="${pointer}"]`);

test('every member of the description has a field with its help, default and choices', async () => {
  const all = members(api.components.schemas.JobSpec);
  assert.ok(all.length > 30);
  assert.deepEqual((await page.locator('[data-pointer]').evaluateAll(list =>
    list.map(e => e.dataset.pointer))).sort(), all.map(m => m[0]).sort());
  for (const [pointer, schema] of all) {
    const help = await field(pointer).locator('.help').textContent();
    const words = (schema.description ?? '').trim().replaceAll('`', '');
    assert.ok(help.endsWith(words), `${pointer}: ${help}`);
    if (schema.enum) {
      const choices = await field(pointer).locator('option').evaluateAll(l => l.map(o => o.value));
      assert.deepEqual(choices.filter(Boolean), schema.enum, pointer);
    }
    if (schema.type === 'integer' && schema.default !== undefined)
      assert.equal(await field(pointer).locator('input').getAttribute('placeholder'),
        String(schema.default), pointer);
  }
});

test('members that mean nothing with what is chosen are not there', async () => {
  await page.getByText('More').nth(1).click();
  assert.ok(await field('/align/heads').isVisible());
  assert.ok(!await field('/align/residual').isVisible());
  const residual = field('/align/components').getByLabel('residual', {exact: true});
  await residual.check();
  assert.ok(await field('/align/residual').isVisible());
  await residual.uncheck();
});

test('what is missing is named, and asked for at its field once one submits', async () => {
  await page.getByText(/Still needed: Model A, Model B, alignment dataset/).waitFor();
  assert.equal(await page.locator('[aria-invalid]').count(), 0);
  await page.getByRole('button', {name: 'Submit job'}).click();
  assert.equal(await page.locator('[aria-invalid]').count(), 5);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'f-models-a');
});

test('a dry run as one types: its estimate, and its faults by their pointers', async () => {
  await page.getByLabel('Model A').selectOption('bert-a');
  await page.getByLabel('Model B').selectOption('bert-b');
  await field('/align/dataset').locator('select').selectOption('align');
  await page.getByLabel('Task').selectOption('mlm');
  await field('/evaluate/dataset').locator('select').selectOption('eval');
  await page.getByText('Everything fits. Ready to run.').waitFor();
  assert.equal(await page.locator('[aria-invalid]').count(), 0);
  await page.getByLabel('Points').fill('1');
  const fault = field('/interpolate/points').locator('.fault');
  await fault.filter({hasText: /1/}).waitFor();
  assert.ok(await page.getByLabel('Points').getAttribute('aria-invalid'));
  assert.match(await page.getByLabel('Points').getAttribute('aria-describedby'),
    new RegExp(await fault.getAttribute('id')));
  await page.getByLabel('Points').fill('many');
  await fault.filter({hasText: /many/}).waitFor();
  await page.getByLabel('Points').fill('');
  await page.getByText('Everything fits. Ready to run.').waitFor();
  assert.equal(await fault.isVisible(), false);
  // A fault inside a list stands at the list's field.
  await page.getByLabel('Merge at').fill('0.5, 2');
  await field('/outputs/merged').locator('.fault').filter({hasText: /2/}).waitFor();
  await page.getByLabel('Merge at').fill('0.5');
  await page.getByText('Everything fits. Ready to run.').waitFor();
});

test('a length beyond the model is refused at its field, though it is under "More"', async () => {
  await page.getByText('More').nth(1).click(); // closes it again
  await field('/align/max_length').locator('input').evaluate(input => {
    input.value = '4000';
    input.dispatchEvent(new Event('input', {bubbles: true}));
  });
  await field('/align/max_length').locator('.fault').filter({hasText: /4000|48/}).waitFor();
  await field('/align/max_length').locator('input').fill('');
  await page.getByText('Everything fits. Ready to run.').waitFor();
});

test('only what differs from the defaults is sent', async () => {
  const body = JSON.parse(await page.getByLabel('The request’s body').textContent());
  assert.deepEqual(body, {models: {a: 'bert-a', b: 'bert-b'}, align: {dataset: 'align'},
    evaluate: {task: 'mlm', dataset: 'eval'}, outputs: {merged: [0.5]}});
  await page.locator('legend', {hasText: 'Evaluation'}).getByRole('checkbox').uncheck();
  await page.waitForFunction(() => !document.querySelector('aside pre').textContent.includes('mlm'));
});

test('a part that means something by being there is switched on, with all of its defaults', async () => {
  const body = async () => JSON.parse(await page.getByLabel('The request’s body').textContent());
  assert.equal((await body()).align.learn, undefined);
  await page.locator('legend', {hasText: 'Learned maps'}).getByRole('checkbox').check();
  await page.waitForFunction(() => document.querySelector('aside pre').textContent.includes('learn'));
  assert.deepEqual((await body()).align.learn, {});
  await page.locator('legend', {hasText: 'Learned maps'}).getByRole('checkbox').uncheck();
});

test('nothing but refused dry runs went wrong in the page', () => assertCalm(page, /422/));
