// Draws a saved comparison: runs inside the exported page, with uPlot and the data beside it.
'use strict';
{
  const data = JSON.parse(document.getElementById('data').textContent);
  const off = new Set();
  const make = (tag, text, className) =>
    Object.assign(document.createElement(tag), {textContent: text ?? '', className: className ?? ''});
  const faint = (c, a) => c + Math.round(a * 255).toString(16).padStart(2, '0');
  const chart = document.getElementById('chart');
  const legend = document.getElementById('legend');
  const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name);
  const axis = {stroke: colour('--dim'), grid: {stroke: colour('--grid')}, ticks: {show: false}};
  let plot = null;

  const crowd = groups => u => {
    for (const g of groups) {
      if (g.n === 1) continue;
      u.ctx.strokeStyle = faint(g.colour, g.mixed ? Math.max(0.15, Math.min(0.9, 20 / g.n))
        : Math.max(0.1, Math.min(0.5, 8 / g.n)));
      u.ctx.lineWidth = devicePixelRatio;
      u.ctx.setLineDash((g.dash ?? []).map(n => n * devicePixelRatio));
      u.ctx.beginPath();
      for (const c of g.curves)
        c.xs.forEach((x, i) => u.ctx[i === 0 ? 'moveTo' : 'lineTo'](u.valToPos(x, 'x', true),
          u.valToPos(c.ys[i], 'y', true)));
      u.ctx.stroke();
      u.ctx.setLineDash([]);
    }
  };

  function draw() {
    const groups = data.groups.filter(g => !off.has(g.name));
    const ys = groups.flatMap(g => g.curves.flatMap(c => c.ys));
    const low = ys.reduce((a, b) => Math.min(a, b), Infinity);
    const high = ys.reduce((a, b) => Math.max(a, b), -Infinity);
    const pad = (high - low) * 0.06 || 1;
    const side = {stroke: 'transparent', points: {show: false}, spanGaps: true};
    if (plot) plot.destroy();
    plot = new uPlot({
      width: chart.clientWidth,
      height: 460,
      legend: {show: false},
      scales: {x: {time: false, range: [0, 1]}, y: {range: () => [low - pad, high + pad]}},
      axes: [{...axis, label: '\u03bb'}, {...axis, label: data.yName, size: 60}],
      series: [{}, ...groups.flatMap(g => [{stroke: g.colour, width: 2.5, dash: g.dash,
        points: {show: false}, spanGaps: true}, side, side])],
      bands: groups.flatMap((g, i) => (g.n > 1
        ? [{series: [3 * i + 3, 3 * i + 2], fill: faint(g.colour, 0.16)}] : [])),
      hooks: {drawAxes: [crowd(groups)]},
    }, [data.grid, ...groups.flatMap(g => [g.mean, g.low, g.high])], chart);
  }

  for (const g of data.groups) {
    const item = make('button', '', 'legend-item');
    item.ariaPressed = 'true';
    const swatch = make('span', '', 'swatch');
    swatch.style.color = g.colour;
    swatch.style.borderTopStyle = g.dash ? 'dashed' : 'solid';
    swatch.classList.add('stroke');
    item.append(swatch, g.n > 1 ? `${g.name} (${g.n})` : g.name);
    item.onclick = () => {
      if (!off.delete(g.name)) off.add(g.name);
      item.ariaPressed = String(!off.has(g.name));
      draw();
    };
    legend.append(item);
  }

  const row = (cells, tag) => {
    const tr = make('tr');
    tr.append(...cells.map(text => make(tag, text)));
    return tr;
  };
  const head = make('thead'), body = make('tbody');
  head.append(row(data.heads, 'th'));
  body.append(...data.rows.map(cells => row(cells, 'td')));
  document.getElementById('jobs').append(head, body);
  addEventListener('resize', draw);
  draw();
}
