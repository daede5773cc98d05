// The form is what the description says, and what the daemon finds wrong stands at its field.
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {assertAccessible, assertCalm, launch, open, picture} from './browser.mjs';
import {Daemon, FIXTURES, until} from './daemon.mjs';

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
  const all = members(api.components.schemas.JobSpec)
    .filter(([, schema]) => schema['x-form'] !== false); // not for filling in by hand
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

const bodyNow = async () => JSON.parse(await page.getByLabel('The request’s body').textContent());

/* The form as it comes, with the pair of its texts and one of these models as A. */
async function afresh(a) {
  await page.goto(`${daemon.url}#/data`);
  await page.goto(`${daemon.url}#/new`);
  await page.getByLabel('Model A').selectOption(a);
}

test('a merge halfway is asked for unless one says otherwise', async () => {
  await afresh('bert-a');
  assert.deepEqual((await bodyNow()).outputs, {merged: [0.5]});
});

test('what does not fit A cannot be chosen as B, and says why', async () => {
  for (const name of ['gpt2-a', 'overlap-a', 'overlap-b'])
    await daemon.post('v1/models', {name, path: `${FIXTURES}/models/${name}`});
  await afresh('bert-a');
  const option = name => page.getByLabel('Model B').locator(`option[value="${name}"]`);
  await page.waitForFunction(() => document.querySelector('#f-models-b option[value="gpt2-a"]').disabled);
  assert.match(await option('gpt2-a').textContent(), /another architecture/);
  assert.equal(await option('bert-b').isDisabled(), false);
  await page.getByLabel('Model A').selectOption('gpt2-a');
  await page.waitForFunction(() => document.querySelector('#f-models-b option[value="bert-b"]').disabled);
});

test('the task is the one that the head is made for, until one chooses', async () => {
  const task = wanted => page.waitForFunction(value =>
    document.querySelector('#f-evaluate-task').value === value, wanted);
  await afresh('gpt2-a');
  await task('clm');
  await daemon.post('v1/datasets', {name: 'overlap', path: `${FIXTURES}/data/overlap.jsonl`, format: 'jsonl',
    text: 'sentence1', text_pair: 'sentence2', label: 'label'});
  await afresh('overlap-a');
  await page.getByLabel('Model B').selectOption('overlap-b');
  await field('/align/dataset').locator('select').selectOption('align');
  await field('/evaluate/dataset').locator('select').selectOption('overlap');
  await task('regression'); // its head has one label
  await page.getByText('Everything fits. Ready to run.').waitFor();
});

test('several values of members are a sweep: a job for each combination', async () => {
  await afresh('bert-a');
  await page.getByLabel('Model B').selectOption('bert-b');
  await field('/align/dataset').locator('select').selectOption('align');
  await field('/evaluate/dataset').locator('select').selectOption('eval');
  await page.getByRole('button', {name: 'components', exact: true}).click();
  await page.getByText('Everything fits. 3 jobs are ready to run.').waitFor();
  assert.deepEqual((await bodyNow()).grid, {'align.components': [['ff'], ['ff', 'mha'], ['ff', 'mha', 'residual']]});
  await page.getByRole('button', {name: 'the paper', exact: true}).click();
  await page.getByText('Everything fits. Ready to run.').waitFor();
  assert.equal((await bodyNow()).grid, undefined);
  await page.getByRole('button', {name: 'several values of Sequences'}).click();
  await page.getByText(/Still needed: alignment sequences/).waitFor();
  await page.getByLabel('Values of Sequences').fill('20, nine');
  await field('/align/max_sequences').locator('.fault').filter({hasText: /nine/}).waitFor();
  await page.getByLabel('Values of Sequences').fill('20, 40');
  await page.getByText('More').nth(1).click();
  await page.getByRole('button', {name: 'several values of Heads'}).click();
  for (const value of ['permute', 'monotonic'])
    await page.getByRole('group', {name: 'Values of Heads'}).getByLabel(value).check();
  await page.getByLabel('Name', {exact: true}).fill('by the form');
  await page.getByLabel('Points').fill('3');
  await field('/evaluate/max_blocks').locator('input').evaluate(input => {
    input.value = '4';
    input.dispatchEvent(new Event('input', {bubbles: true}));
  });
  await page.getByText('Everything fits. 4 jobs are ready to run.').waitFor();
  await assertAccessible(page, 'several');
  await page.getByRole('button', {name: 'Submit 4 jobs'}).click();
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 4);
  const sweep = page.url().match(/sweeps\/(grp_[0-9a-f-]+)/)[1];
  assert.equal((await daemon.get(`v1/sweeps/${sweep}`)).jobs, 4);
  for (const {id} of (await daemon.get(`v1/jobs?group=${sweep}`)).data) await daemon.finished(id);
  // The sweep's own page: each job's own members, verdict and rank; as a file, too.
  await page.getByRole('heading', {name: 'by the form', level: 1}).waitFor();
  const ranks = () => page.locator('tbody .col-rank').allTextContents();
  await until('ranks', async () => (await ranks()).join() === '1,2,3,4');
  await page.getByText('4 succeeded').waitFor();
  const {table} = await daemon.get(`v1/sweeps/${sweep}`);
  const first = table.find(row => row.rank === 1);
  const cells = await page.locator('tbody tr').first().locator('td').allTextContents();
  assert.deepEqual(cells.slice(1, 5), [first.name.replace('by the form: ', ''), first.verdict.label,
    ...Object.values(first.settings).map(String)]);
  const [saved] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', {name: 'Save CSV'}).click()]);
  assert.equal(saved.suggestedFilename(), 'by the form.csv');
  await assertAccessible(page, 'sweep');
  await picture(page, 'sweep');
  await page.setViewportSize({width: 375, height: 812});
  const [wanted, there] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(wanted <= there, `on a phone: ${wanted} px`);
  await page.emulateMedia({colorScheme: 'dark'});
  await assertAccessible(page, 'sweep, dark, on a phone');
  await page.emulateMedia({colorScheme: 'light'});
  await page.setViewportSize({width: 1360, height: 860});
  await page.getByRole('link', {name: 'In the list'}).click();
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 4);
  await page.goto(`${daemon.url}#/compare?sweep=${sweep}&group=align.heads`);
  await page.getByRole('img', {name: /of 4 curves in 2 groups/}).waitFor();
});

test('an import of JSONL asks for its fields, and learns them from the daemon', async () => {
  await page.goto(`${daemon.url}#/data`);
  const panel = page.locator('section', {has: page.getByRole('heading', {name: 'Datasets'})});
  await panel.getByText('Import in place').click();
  await panel.getByLabel('Name', {exact: true}).fill('authors');
  await panel.getByLabel('Path').fill(`${FIXTURES}/data/align.txt`);
  assert.equal(await panel.getByLabel('Text field', {exact: true}).count(), 0);
  await panel.getByLabel('Path').fill(`${FIXTURES}/data/authors.jsonl`);
  await panel.getByLabel('Text field', {exact: true}).fill('prose');
  await panel.getByRole('button', {name: 'Import'}).click();
  await page.getByRole('alert').filter({hasText: /prose/}).waitFor();
  assert.deepEqual(await panel.locator('datalist option').evaluateAll(l => l.map(o => o.value)), ['sentence', 'label']);
  await panel.getByLabel('Text field', {exact: true}).fill('sentence');
  await panel.getByLabel('Label field').fill('label');
  await panel.getByRole('button', {name: 'Import'}).click();
  await page.getByRole('row', {name: /authors/}).waitFor();
  assert.equal((await daemon.get('v1/datasets/authors')).fields.label, 'label');
});

test('nothing but refused dry runs went wrong in the page', () => assertCalm(page, /422/));
