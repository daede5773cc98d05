// A comparison to take away: as CSV, as a picture, as one page that needs nothing else.
import {asset} from './api.js';
import {css, download} from './dom.js';
import {fieldOf, labelKeys, verdictOf, verdictWords} from './fields.js';
import {plural} from './format.js';
import {colourOf} from './overlay.js';
import {placesOf} from './several.js';

const CURVES = ['aligned', 'control'];
const stamp = () => new Date().toISOString().slice(0, 16).replace(/[:T]/g, '-');

/* ---- CSV: a row per point ---- */

/** A cell: quoted where it must be; text that a spreadsheet would run as a formula is defused. */
function cell(value) {
  const text = value === null || value === undefined ? '' : String(value);
  const safe = typeof value === 'string' && /^[=+\-@\t]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function csvOf({jobs, barriers, differing}) {
  const metrics = [...new Set([...barriers.values()].flatMap(b => Object.keys(b.aligned.metrics)))];
  const labels = labelKeys(jobs);
  const lines = [['job', 'name', ...labels.map(l => `label.${l}`), ...differing, 'verdict', 'curve', 'lambda',
    'loss', 'standard_error', ...metrics]];
  for (const job of jobs) {
    const b = barriers.get(job.id);
    const who = [job.id, job.name, ...labels.map(l => job.labels[l]),
      ...differing.map(p => fieldOf(job, p)), verdictWords(job)];
    for (const c of b ? CURVES.filter(name => b[name]) : [])
      placesOf(b).forEach((lambda, i) => {
        if (b[c].loss[i] === null) return;
        lines.push([...who, c, lambda, b[c].loss[i], b[c].standard_error[i],
          ...metrics.map(m => b[c].metrics[m]?.[i])]);
      });
  }
  return lines.map(l => l.map(cell).join(',')).join('\r\n') + '\r\n';
}

export const saveCsv = shown =>
  download(`rebasind-${stamp()}.csv`, csvOf(shown), 'text/csv;charset=utf-8');

/* ---- PNG: the chart with its legend, on paper ---- */

export async function savePng(overlay, {groups, jobs, yName}) {
  const plot = overlay.plot.plot;
  if (!plot) throw new Error('There is no chart to save.');
  const px = devicePixelRatio, source = plot.ctx.canvas, margin = 16 * px, row = 20 * px;
  const canvas = document.createElement('canvas');
  canvas.width = source.width + 2 * margin;
  const ctx = canvas.getContext('2d');
  const font = (weight, size) => (ctx.font = `${weight} ${size * px}px Inter, system-ui, sans-serif`);
  canvas.height = 2 * margin + (groups.length + 2) * row + source.height;
  ctx.fillStyle = css('--paper');
  ctx.fillRect(0, 0, canvas.width, canvas.height);
  ctx.fillStyle = css('--ink');
  ctx.textBaseline = 'middle';
  font(600, 15);
  ctx.fillText(`${yName} along the path, ${plural(jobs.length, 'job')}`, margin, margin + row / 2);
  ctx.drawImage(source, margin, margin + 1.5 * row);
  font(400, 12);
  groups.forEach((g, i) => {
    const y = canvas.height - margin - (groups.length - i - 0.5) * row;
    ctx.strokeStyle = colourOf(g.colour);
    ctx.lineWidth = 3 * px;
    ctx.setLineDash((g.dash ?? []).map(n => n * px));
    ctx.beginPath();
    ctx.moveTo(margin, y);
    ctx.lineTo(margin + 26 * px, y);
    ctx.stroke();
    ctx.fillStyle = css('--ink');
    ctx.fillText(`${g.name} (${g.curves.length})`, margin + 34 * px, y);
  });
  const blob = await new Promise(resolve => canvas.toBlob(resolve, 'image/png'));
  download(`rebasind-${stamp()}.png`, blob);
}

/* ---- HTML: uPlot, the data and a few lines that draw it, in one file ---- */

const textOf = async name => (await fetch(asset(name))).text();

/* "</script" inside a script would end it. */
const inScript = text => text.replaceAll('</', '<\\/');

const escape = text => text.replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`);

/** columns: those of the table; jobs: in its order. */
export async function htmlOf({jobs, groups, grid, yName, columns}) {
  const [uplot, own, style] = await Promise.all(
    ['uplot.js', 'standalone.js', 'style.css'].map(textOf));
  const title = `${yName} along the path, ${plural(jobs.length, 'job')}`;
  const data = {
    yName,
    grid,
    groups: groups.map(g => ({name: g.name, colour: colourOf(g.colour), dash: g.dash,
      mixed: g.mixed.length > 0, n: g.curves.length,
      ...g.summary, curves: g.curves.map(c => ({name: c.name, xs: c.xs, ys: c.ys}))})),
    heads: columns.map(c => c.label),
    rows: jobs.map(j => columns.map(c => String(c.text ? c.text(j) : c.value(j)))),
  };
  return `<!doctype html>
<html lang="en" data-theme="${document.documentElement.dataset.theme}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title>
<style>${style}</style>
</head>
<body>
<main>
<h1>${escape(title)}</h1>
<p class="note">Saved from rebasind on ${new Date().toISOString().slice(0, 10)}.</p>
<div class="panel"><div id="legend" class="legend"></div><div id="chart" class="plot"></div></div>
<div class="panel scroll"><table id="jobs"></table></div>
</main>
<script type="application/json" id="data">${JSON.stringify(data).replaceAll('<', '\\u003c')}</script>
<script>${inScript(uplot)}</script>
<script>${inScript(own)}</script>
</body>
</html>
`;
}

export const saveHtml = async shown =>
  download(`rebasind-${stamp()}.html`, await htmlOf(shown), 'text/html;charset=utf-8');
