// From two folders of files to a curve and what one does with it, as a person would.
import assert from 'node:assert/strict';
import {readFile} from 'node:fs/promises';
import {after, before, test} from 'node:test';
import {assertAccessible, assertCalm, launch, open, record} from './browser.mjs';
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
  await page.getByRole('img', {name: /^An example/}).waitFor();
  const lines = await page.getByLabel('Lines for a shell').textContent();
  assert.match(lines, new RegExp(`^curl -fsS ${daemon.url}v1/jobs --json '\\{`, 'm'));
  await assertAccessible(page, 'empty');
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
  const network = await page.context().newCDPSession(page);
  const limit = bytes => network.send('Network.emulateNetworkConditions', {offline: false, latency: 0,
    downloadThroughput: -1, uploadThroughput: bytes});
  await network.send('Network.enable');
  await limit(4e6); // the checkpoint has 3.4 MiB
  const seen = await Promise.all(names.map(name => record(page,
    `.uploads [role=progressbar][aria-label="Upload of ${name}"]`, 'aria-valuenow')));
  await page.locator('.drop').first().dispatchEvent('drop', {dataTransfer: transfer});
  await page.getByLabel('Name of the model').fill('bert-b');
  await page.getByRole('button', {name: 'Upload 4 files'}).click();
  await page.getByRole('row', {name: /bert-b/}).getByText('ready').waitFor();
  await limit(-1);
  for (const [i, name] of names.entries())
    assert.ok((await seen[i]()).includes('100'), `no progress of ${name}`);
  const shares = (await seen[1]()).map(Number).filter(n => n > 0 && n < 100);
  assert.ok(shares.length >= 2, `the checkpoint was seen only at ${shares} %`);
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
  const labels = await record(page, '.plot', 'aria-label'); // it counts the points
  const fields = await record(page, '.progress .aside');
  await page.getByRole('button', {name: 'Submit job'}).click();
  await page.getByRole('heading', {name: 'by hand', level: 1}).waitFor();
  id = await page.locator('code.id').textContent();
  await page.getByText('Data table').first().click();
  await page.locator('.head .badge', {hasText: 'succeeded'}).waitFor({timeout: 180000});
  const lengths = (await labels()).map(text => Number(text.match(/loss at (\d+) points/)?.[1]));
  assert.ok(lengths.filter(n => n > 0 && n < 21).length >= 5,
    `the curve was seen only at these lengths: ${lengths}`);
  const phases = new Set((await fields()).map(text => text.split(' ')[0]));
  assert.ok(phases.has('aligning') && phases.has('evaluating'), [...phases].join());
  // The table behind it has a row for each point.
  assert.equal(await page.getByRole('region', {name: 'Loss along the path'}).locator('tbody tr').count(), 21);
  const label = page.getByRole('img', {name: /loss at 21 points.*aligned barrier \d/});
  await label.waitFor();
  const barrier = await daemon.get(`v1/jobs/${id}/barrier`);
  assert.ok((await label.getAttribute('aria-label')).includes(
    barrier.aligned.barrier.mean.toFixed(3)));
  assert.equal(await page.locator('.plot canvas').count(), 1);
});

test('the chart marks both barriers and has its error bands', async () => {
  const barrier = await daemon.get(`v1/jobs/${id}/barrier`);
  for (const curve of ['aligned', 'control']) {
    const {mean, mean_lambda: lambda} = barrier[curve].barrier;
    const drawn = await page.locator('.plot canvas').evaluate((canvas, {curve, lambda}) => {
      const hex = getComputedStyle(document.documentElement).getPropertyValue(`--${curve}`).trim();
      const [r, g, b] = [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));
      const box = canvas.getBoundingClientRect();
      const over = document.querySelector('.u-over').getBoundingClientRect();
      const ctx = canvas.getContext('2d');
      // How many rows of a strip have the curve's colour with at least this opacity, and less.
      const rows = (x, width, low, high) => {
        const left = Math.round(over.left - box.left + x * over.width) - 4;
        const strip = ctx.getImageData(left, over.top - box.top, width, over.height).data;
        const hits = new Set();
        for (let i = 0; i < strip.length; i += 4) {
          const near = [r, g, b].every((v, k) => Math.abs(v - strip[i + k]) < 12);
          if (near && strip[i + 3] >= low && strip[i + 3] <= high) hits.add(Math.floor(i / 4 / width));
        }
        return hits.size;
      };
      return {mark: rows(lambda, 12, 120, 255), beside: rows(lambda - 0.02, 8, 120, 255),
        band: rows(lambda - 0.02, 8, 20, 80)};
    }, {curve, lambda});
    assert.ok(mean > 1 && drawn.mark > 100 && drawn.beside < 40, `${curve}: ${JSON.stringify(drawn)}`);
    assert.ok(drawn.band > 3, `${curve} has no band: ${JSON.stringify(drawn)}`);
  }
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
  for (const table of await page.getByText('Data table').all()) await table.click();
  const row = page.getByRole('region', {name: 'Head of B matched'}).getByRole('row', {name: 'layer.0.mha'});
  await row.waitFor();
  assert.deepEqual((await row.locator('td').allTextContents()).map(Number), heads);
  // The canvases hold the matrices: how red the diagonal is against all of the matrix.
  const red = await page.locator('.heatmap canvas').evaluateAll(list => list.map(c => {
    const {data} = c.getContext('2d').getImageData(0, 0, c.width, c.height);
    const redness = i => data[4 * i] - data[4 * i + 2];
    let all = 0, diagonal = 0;
    for (let i = 0; i < c.width * c.height; i++) all += redness(i) / c.width;
    for (let i = 0; i < c.width; i++) diagonal += redness(i * c.width + i);
    return (diagonal - all) / c.width;
  }));
  assert.ok(red[1] > 20 && red[1] > 3 * Math.abs(red[0]), `before ${red[0]}, after ${red[1]}`);
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
