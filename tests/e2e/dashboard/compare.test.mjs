// Jobs overlaid, grouped, and taken away as CSV, PNG and one HTML file.
import assert from 'node:assert/strict';
import {readFile, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {after, before, test} from 'node:test';
import {pathToFileURL} from 'node:url';
import {assertCalm, launch, open} from './browser.mjs';
import {Daemon, spec} from './daemon.mjs';

let daemon, browser, page;
const jobs = [], saved = [];

before(async () => {
  daemon = await Daemon.start();
  await daemon.seed();
  for (const heads of ['permute', 'monotonic'])
    for (const seed of [0, 1]) {
      const own = spec({align: {heads}});
      jobs.push(await daemon.submit({...own, evaluate: {...own.evaluate, seed}, name: `${heads} ${seed}`,
        labels: {heads, set: 'all'}}));
    }
  for (const job of jobs) await daemon.finished(job.id);
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await daemon?.remove();
  for (const path of saved) await rm(path);
});

test('selected jobs are compared; each has its curve', async () => {
  page = await open(browser, daemon.url);
  for (const name of ['permute 0', 'monotonic 0'])
    await page.getByRole('row', {name: `succeeded ${name} `}).getByRole('checkbox').check();
  await page.getByRole('link', {name: 'Compare'}).last().click();
  await page.getByRole('img', {name: /of 2 curves in 2 groups/}).waitFor();
  assert.match(page.url(), /job=job_.*job=job_/);
});

test('only the members of the specs that differ are columns', async () => {
  await page.goto(`${daemon.url}#/compare?status=succeeded`);
  await page.getByRole('img', {name: /of 4 curves/}).waitFor();
  const heads = await page.getByRole('region', {name: 'Jobs compared'}).getByRole('columnheader')
    .allTextContents();
  assert.deepEqual(heads.map(t => t.replace(/[↑↓]/, '')), ['Job', '', 'Verdict', 'Barrier',
    'Control', 'Reduction', 'Best loss', 'align.heads', 'evaluate.seed']);
});

test('a label groups them: two means, which are the means', async () => {
  await page.getByLabel('grouped by').selectOption('label:heads');
  await page.getByRole('img', {name: /in 2 groups; heads monotonic: 2, heads permute: 2/}).waitFor();
  await page.getByText('Data table').click();
  const row = page.getByRole('region', {name: /Mean loss/}).locator('tbody tr').nth(2);
  await row.locator('td').nth(1).waitFor(); // the table is made when it is opened
  const cells = await row.locator('td').allTextContents();
  const half = async job => (await daemon.get(`v1/jobs/${job.id}/barrier`)).aligned.loss[2];
  const mean = async name => {
    const losses = await Promise.all(jobs.filter(j => j.labels.heads === name).map(half));
    return (losses[0] + losses[1]) / 2;
  };
  assert.deepEqual(cells, [(await mean('monotonic')).toFixed(4), (await mean('permute')).toFixed(4)]);
  assert.match(page.url(), /group=label:heads/); // a link is a view
});

test('a table of the groups: n, mean, deviation and the best', async () => {
  const row = page.getByRole('region', {name: 'Barrier by group'}).getByRole('row', {name: /heads permute/});
  const figures = await Promise.all(jobs.filter(j => j.labels.heads === 'permute').map(async j =>
    (await daemon.get(`v1/jobs/${j.id}`)).summary.barrier_mean));
  const mean = (figures[0] + figures[1]) / 2, sd = Math.abs(figures[0] - figures[1]) / Math.SQRT2;
  assert.deepEqual((await row.locator('td').allTextContents()).slice(0, 4),
    ['2', mean.toFixed(3), sd.toFixed(3), Math.min(...figures).toFixed(3)]);
});

test('no mean of unlike settings: their range instead, and what differs', async () => {
  await page.getByLabel('grouped by').selectOption('label:set');
  await page.getByText('no mean of unlike settings: align.heads').waitFor();
  const row = page.getByRole('region', {name: 'Barrier by group'}).getByRole('row', {name: /set all/});
  assert.deepEqual((await row.locator('td').allTextContents()).slice(0, 3), ['4', '–', '–']);
  await page.getByText('Data table').click();
  await page.getByRole('region', {name: /Mean loss/}).locator('tbody tr').nth(2)
    .locator('td', {hasText: /\d to \d/}).waitFor();
  await page.getByLabel('grouped by').selectOption('label:heads');
});

test('dots over a setting, and parallel coordinates over all that differ', async () => {
  await page.getByLabel('Chart', {exact: true}).selectOption('dots');
  await page.getByLabel('over', {exact: true}).selectOption('evaluate.seed');
  const dots = page.getByRole('img', {name: 'Dots over a setting: Barrier of 4 jobs'});
  await dots.waitFor();
  const boxes = await dots.locator('.mark circle').evaluateAll(list => list.map(c =>
    ({job: c.closest('[data-job]').dataset.job, x: Number(c.getAttribute('cx')), y: Number(c.getAttribute('cy'))})));
  const summary = new Map(await Promise.all(jobs.map(async j =>
    [j.id, (await daemon.get(`v1/jobs/${j.id}`)).summary.barrier_mean])));
  for (const a of boxes)
    for (const b of boxes) {
      const seed = d => jobs.find(j => j.id === d.job).spec.evaluate.seed;
      if (seed(a) < seed(b)) assert.ok(a.x < b.x - 100, 'the setting is the horizontal axis');
      if (summary.get(a.job) < summary.get(b.job)) assert.ok(a.y > b.y, 'the figure is the vertical axis');
    }
  await page.getByLabel('Chart', {exact: true}).selectOption('parallel');
  await page.getByRole('img', {name: 'Parallel coordinates: Barrier of 4 jobs'}).waitFor();
  assert.equal(await page.locator('.way').count(), 4);
  for (const words of ['align.heads', 'evaluate.seed', 'monotonic'])
    await page.locator('.drawing:visible text', {hasText: words}).waitFor();
  assert.match(page.url(), /chart=parallel/); // a link is a view
  await page.getByLabel('Chart', {exact: true}).selectOption('curves');
});

test('a name too long for the table is cut beside its swatch, not away', async () => {
  const name = page.getByRole('region', {name: 'Jobs compared'}).locator('.name').first();
  const [width, over] = await name.evaluate(a => {
    const text = a.textContent;
    a.textContent = 'a name that is much too long for its place in this table';
    const box = a.getBoundingClientRect(), cell = a.closest('td').getBoundingClientRect();
    a.textContent = text;
    return [box.width, box.right - cell.right];
  });
  assert.ok(width > 80 && over <= 0, `${width} px wide, ${over} px over its cell`);
});

test('a pinned job is the baseline of the others', async () => {
  const table = page.getByRole('region', {name: 'Jobs compared'});
  await page.getByRole('button', {name: 'Pin: permute 0'}).click();
  await page.getByRole('img', {name: /permute 0, baseline: 1/}).waitFor();
  const gap = async name => (await table.getByRole('row', {name}).locator('.col-difference').textContent());
  assert.equal(await gap('permute 0'), '0.000');
  const [base, other] = await Promise.all([jobs[0], jobs[2]].map(async j =>
    (await daemon.get(`v1/jobs/${j.id}`)).summary.barrier_mean));
  const text = (other - base).toFixed(3).replace('-', '\u2212');
  assert.equal(await gap('monotonic 0'), other > base ? `+${text}` : text);
  await page.getByRole('button', {name: 'Pinned: permute 0'}).click();
  await page.getByRole('button', {name: 'Pin: permute 0'}).waitFor();
});

test('a group is hidden and shown by its entry in the legend', async () => {
  await page.getByRole('button', {name: /heads permute/}).click();
  await page.getByRole('img', {name: /of 2 curves in 1 groups/}).waitFor();
  await page.getByRole('button', {name: /heads permute/}).click();
  await page.getByRole('img', {name: /of 4 curves in 2 groups/}).waitFor();
});

async function save(name) {
  const [file] = await Promise.all([page.waitForEvent('download'),
    page.getByRole('button', {name: `Save ${name}`}).click()]);
  const path = join(tmpdir(), `rebasind-${process.pid}-${saved.length}-${file.suggestedFilename()}`);
  await file.saveAs(path);
  saved.push(path);
  return path;
}

test('CSV: a row for each point of each curve', async () => {
  const lines = (await readFile(await save('CSV'), 'utf8')).trim().split('\r\n');
  assert.equal(lines[0], 'job,name,label.heads,label.set,align.heads,evaluate.seed,verdict,curve,' +
    'lambda,loss,standard_error,pseudo_perplexity');
  assert.equal(lines.length, 1 + 4 * 2 * 5);
  const barrier = await daemon.get(`v1/jobs/${jobs[0].id}/barrier`);
  const row = lines.find(l => l.startsWith(jobs[0].id) && l.includes(',aligned,0.5,'));
  assert.equal(Number(row.split(',')[9]), barrier.aligned.loss[2]);
});

test('PNG: a picture larger than the chart', async () => {
  const bytes = await readFile(await save('PNG'));
  assert.equal(bytes.subarray(1, 4).toString(), 'PNG');
  assert.ok(bytes.readUInt32BE(16) > 800 && bytes.readUInt32BE(20) > 440);
});

test('PNG: each group has its swatch, of its colour, dashed where its curve is', async () => {
  await page.getByLabel('of', {exact: true}).selectOption('both');
  await page.getByRole('img', {name: /in 4 groups/}).waitFor();
  const png = (await readFile(await save('PNG'))).toString('base64');
  const shown = await page.locator('.legend-item .swatch').evaluateAll(list => list.map(s =>
    [getComputedStyle(s).color, s.style.borderTopStyle]));
  const context = await browser.newContext(); // the page's own policy opens no pictures
  const alone = await context.newPage();
  const drawn = await alone.evaluate(async ([src, count]) => {
    const image = new Image();
    image.src = src;
    await image.decode();
    const canvas = document.createElement('canvas');
    canvas.width = image.width;
    canvas.height = image.height;
    const ctx = canvas.getContext('2d'), colour = at => `rgb(${at[0]}, ${at[1]}, ${at[2]})`;
    ctx.drawImage(image, 0, 0);
    const paper = colour(ctx.getImageData(0, 0, 1, 1).data);
    const margin = 16, row = 20;
    return Array.from({length: count}, (_, i) => { // export.js: a line of 26 px at half its entry's height
      const y = image.height - margin - (count - i - 0.5) * row;
      const line = Array.from({length: 24}, (__, x) => colour(ctx.getImageData(margin + 1 + x, y, 1, 1).data));
      return [line[0], line.includes(paper) ? 'dashed' : 'solid'];
    });
  }, [`data:image/png;base64,${png}`, shown.length]);
  await context.close();
  assert.equal(shown.length, 4);
  assert.equal(new Set(shown.map(s => s[0])).size, 2, 'two groups, two colours');
  assert.deepEqual(drawn, shown);
  await page.getByLabel('of', {exact: true}).selectOption('aligned');
});

test('HTML: one file that draws itself with nothing else at hand', async () => {
  await page.getByLabel('of', {exact: true}).selectOption('both');
  await page.getByRole('button', {name: 'Barrier'}).click();
  await page.getByRole('columnheader', {name: 'Barrier'}).and(page.locator('[aria-sort=descending]')).waitFor();
  const html = await save('HTML');
  const context = await browser.newContext({offline: true});
  const alone = await context.newPage();
  const troubles = [];
  alone.on('pageerror', e => troubles.push(e.stack));
  alone.on('request', r => r.url().startsWith('file:') || troubles.push(r.url()));
  await alone.goto(pathToFileURL(html).href);
  assert.equal(await alone.locator('#jobs tbody tr').count(), 4);
  // What the page shows: its order, its decimals, and the control apart from the aligned.
  assert.deepEqual(await alone.locator('#jobs tbody td:first-child').allTextContents(),
    await page.getByRole('region', {name: 'Jobs compared'}).locator('.name').allTextContents());
  assert.match(await alone.locator('#jobs').textContent(), /\d\.\d\u202f% ± \d/);
  assert.deepEqual(await alone.locator('.legend-item .swatch').evaluateAll(list =>
    list.map(s => s.style.borderTopStyle)), ['solid', 'dashed', 'solid', 'dashed']);
  const inked = await alone.locator('canvas').evaluate(c => new Uint8Array(
    c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer).some(v => v > 0));
  assert.ok(inked, 'the canvas is empty');
  await alone.locator('.legend-item').first().click(); // hides a group, draws again
  assert.deepEqual(troubles, []);
  await context.close();
});

test('nothing went wrong in the page', () => assertCalm(page));
