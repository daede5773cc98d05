// From two folders of files to a curve and what one does with it, as a person would.
import assert from 'node:assert/strict';
import {readFile} from 'node:fs/promises';
import {after, before, test} from 'node:test';
import {assertCalm, launch, open} from './browser.mjs';
import {Daemon, FIXTURES, spec, until} from './daemon.mjs';

let daemon, browser, page;

before(async () => {
  daemon = await Daemon.start();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await daemon?.remove();
});

test('an empty daemon says where to begin', async () => {
  page = await open(browser, daemon.url);
  await page.getByText('No jobs yet.').waitFor();
  await page.getByRole('link', {name: 'two models and a dataset'}).click();
  await page.getByRole('heading', {name: 'Models & data'}).waitFor();
});

async function chooseFiles(button, files) {
  const [chooser] = await Promise.all([page.waitForEvent('filechooser'),
    page.getByRole('button', {name: button}).click()]);
  await chooser.setFiles(files);
}

test('a checkpoint is uploaded from a folder', async () => {
  await chooseFiles('Choose folder', `${FIXTURES}/models/bert-a`);
  assert.equal(await page.getByLabel('Name of the model').inputValue(), 'bert-a');
  await page.getByRole('button', {name: 'Upload 4 files'}).click();
  await page.getByRole('row', {name: /bert-a/}).getByText('ready').waitFor();
  const model = await daemon.get('v1/models/bert-a');
  assert.equal(model.status, 'ready');
  assert.equal(model.files.length, 4);
});

test('files dropped on the page are uploaded, each with its progress', async () => {
  const names = ['config.json', 'model.safetensors', 'tokenizer_config.json', 'vocab.txt'];
  const files = await Promise.all(names.map(async name => ({name,
    bytes: (await readFile(`${FIXTURES}/models/bert-b/${name}`)).toString('base64')})));
  const transfer = await page.evaluateHandle(list => {
    const data = new DataTransfer();
    for (const {name, bytes} of list)
      data.items.add(new File([Uint8Array.from(atob(bytes), c => c.charCodeAt(0))], name));
    return data;
  }, files);
  // How far each file was seen to be, while it was under way.
  await page.evaluate(() => {
    window.seen = [];
    new MutationObserver(() => {
      for (const bar of document.querySelectorAll('.uploads [role=progressbar]'))
        window.seen.push(`${bar.getAttribute('aria-label')} ${bar.getAttribute('aria-valuenow')}`);
    }).observe(document.body, {subtree: true, attributes: true, attributeFilter: ['aria-valuenow']});
  });
  await page.locator('.drop').first().dispatchEvent('drop', {dataTransfer: transfer});
  await page.getByLabel('Name of the model').fill('bert-b');
  await page.getByRole('button', {name: 'Upload 4 files'}).click();
  await page.getByRole('row', {name: /bert-b/}).getByText('ready').waitFor();
  const seen = await page.evaluate(() => window.seen);
  for (const name of names) assert.ok(seen.includes(`Upload of ${name} 100`), `no progress of ${name}`);
});

test('a dataset tells its format and fields by its first line', async () => {
  await chooseFiles('Choose file…', `${FIXTURES}/data/authors.jsonl`);
  assert.equal(await page.getByLabel('Text', {exact: true}).inputValue(), 'sentence');
  assert.equal(await page.getByLabel('Label').inputValue(), 'label');
  await page.getByRole('button', {name: 'Upload 1 file'}).click();
  await page.getByRole('row', {name: /authors/}).waitFor();
  const authors = await daemon.get('v1/datasets/authors');
  assert.deepEqual([authors.format, authors.rows, authors.fields.text], ['jsonl', 500, 'sentence']);
  for (const name of ['align', 'eval']) {
    await chooseFiles('Choose file…', `${FIXTURES}/data/${name}.txt`);
    await page.getByRole('button', {name: 'Upload 1 file'}).click();
    await page.getByRole('row', {name: new RegExp(name)}).waitFor();
  }
});

test('what the daemon refuses is said beside the file', async () => {
  await chooseFiles('Choose files…', {name: 'config.json', mimeType: 'application/json',
    buffer: Buffer.from('{"model_type": "gpt2"}')});
  await page.getByLabel('Name of the model').fill('wrong');
  await page.getByRole('button', {name: 'Upload 1 file'}).click();
  const row = page.getByRole('row', {name: /wrong/}), line = page.locator('.uploads .fault');
  await row.or(line).first().waitFor();
  const words = await line.count() > 0 ? await line.textContent() : await row.textContent();
  assert.match(words, /gpt2|model_type|architecture|invalid|incomplete/i);
});

let id;

test('a job is submitted by the form, and its curve grows point by point', async () => {
  await page.getByRole('link', {name: 'New job'}).click();
  await page.getByLabel('Name', {exact: true}).fill('by hand');
  await page.getByLabel('Labels').fill('sweep:hand');
  await page.getByLabel('Model A').selectOption('bert-a');
  await page.getByLabel('Model B').selectOption('bert-b');
  await page.getByRole('group', {name: 'Alignment'}).getByLabel('Dataset').selectOption('align');
  await page.getByLabel('Sequences').fill('200');
  await page.getByLabel('Task').selectOption('mlm');
  await page.getByRole('group', {name: 'Evaluation'}).getByLabel('Dataset').selectOption('eval');
  await page.getByText('Everything fits. Ready to run.').waitFor();
  const estimate = await page.getByLabel('Estimate', {exact: true}).textContent();
  assert.match(estimate, /Time.*s.*Peak memory.*MiB.*Disk/s);
  await page.getByRole('button', {name: 'Submit job'}).click();
  await page.getByRole('heading', {name: 'by hand', level: 1}).waitFor();
  id = await page.locator('code.id').textContent();
  // The plot's description counts its points; the table behind it has a row for each.
  await page.getByText('Data table').first().click();
  const counts = new Set();
  await until('the whole curve', async () => {
    counts.add(await page.getByRole('region', {name: 'Loss along the path'}).locator('tbody tr').count());
    return (await page.locator('.head .badge').textContent()) === 'succeeded';
  }, 180);
  assert.ok([...counts].filter(n => n > 0 && n < 21).length >= 2,
    `the curve was seen only at these lengths: ${[...counts]}`);
  const label = page.getByRole('img', {name: /loss at 21 points.*aligned barrier \d/});
  await label.waitFor();
  const barrier = await daemon.get(`v1/jobs/${id}/barrier`);
  assert.ok((await label.getAttribute('aria-label')).includes(
    barrier.aligned.barrier.mean.toFixed(3)));
  assert.equal(await page.locator('.plot canvas').count(), 1);
});

test('the job page shows what alignment found', async () => {
  await page.getByText('Moved B computes the same function as B.').waitFor();
  await until('eight histograms', async () =>
    (await page.locator('.card .histogram .after').count()) >= 16); // an area and a line each
  await page.getByRole('button', {name: /layer\.2\.mha/}).click();
  await page.getByRole('heading', {name: 'Correlation matrix of layer.2.mha'}).waitFor();
  assert.match(page.url(), /group=layer\.2\.mha/);
  const {groups} = await daemon.get(`v1/jobs/${id}/permutations`);
  const heads = groups.find(g => g.name === 'layer.0.mha').heads;
  await page.getByText('Data table').nth(3).click();
  const row = page.getByRole('region', {name: 'Head of B matched'}).getByRole('row', {name: 'layer.0.mha'});
  assert.deepEqual((await row.locator('td').allTextContents()).map(Number), heads);
  // The canvases hold the matrix: 128 cells a side, not one colour.
  const colours = await page.locator('.heatmap canvas').first().evaluate(c => new Set(
    new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size);
  assert.ok(colours > 20, `${colours} colours`);
});

test('the spec is copied as curl, and that is the same job', async () => {
  const {origin} = new URL(daemon.url);
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write'], {origin});
  await page.getByRole('button', {name: 'Copy as curl'}).click();
  const text = await page.evaluate(() => navigator.clipboard.readText());
  assert.ok(text.startsWith('curl -fsS') && text.includes(`'${daemon.url}v1/jobs'`), text);
  const body = JSON.parse(text.slice(text.indexOf('{'), text.lastIndexOf('}') + 1));
  assert.deepEqual(body, (await daemon.get(`v1/jobs/${id}`)).spec);
});

test('artifacts are downloaded', async () => {
  const [file] = await Promise.all([page.waitForEvent('download'),
    page.getByRole('link', {name: 'barrier.csv'}).click()]);
  assert.match(await readFile(await file.path(), 'utf8'), /^lambda,aligned_loss/);
});

test('a template fills the form with the same job', async () => {
  await page.getByRole('link', {name: 'New job like this'}).click();
  await page.getByText('Everything fits. Ready to run.').waitFor();
  const body = JSON.parse(await page.getByLabel('The request’s body').textContent());
  const answer = await daemon.post('v1/jobs?dry_run=true', body);
  assert.deepEqual(answer.spec, (await daemon.get(`v1/jobs/${id}`)).spec);
});

test('a running job is canceled, retried and deleted', async () => {
  const job = await daemon.submit({...spec({points: 101, blocks: 256}), name: 'long'});
  await page.goto(`${daemon.url}#/job/${job.id}`);
  await page.getByRole('button', {name: 'Cancel'}).click();
  await page.locator('.head .badge', {hasText: 'canceled'}).waitFor();
  assert.equal((await daemon.get(`v1/jobs/${job.id}`)).status, 'canceled');
  await page.getByRole('button', {name: 'Retry'}).click();
  await page.getByRole('link', {name: job.id.slice(-8)}).waitFor(); // Retry of …
  await page.getByRole('button', {name: 'Cancel'}).click();
  await page.locator('.head .badge', {hasText: 'canceled'}).waitFor();
  await page.getByRole('button', {name: 'Delete'}).click();
  await page.getByRole('dialog').getByRole('button', {name: 'Delete'}).click();
  await page.getByRole('heading', {name: 'Jobs'}).waitFor();
  assert.equal((await daemon.get('v1/jobs?status=canceled')).data.length, 1);
});

test('nothing went wrong in the page', () => assertCalm(page, /422|409/));
