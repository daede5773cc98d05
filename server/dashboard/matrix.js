// The barriers of all pairs of some models as a heat map, close models together, as the service
// ordered them; a cell opens its job. What is behind it is the sweep's own table.
import {h} from './dom.js';
import {number} from './format.js';
import {link} from './router.js';

/** sweep: as GET /v1/sweeps/{id} has it, of kind matrix. A pair not known yet says how its job is. */
export function heat({matrix: {models, order, barriers}, table}) {
  const jobs = new Map(table.map(row => [[row.models.a, row.models.b].sort().join(), row]));
  const known = barriers.flat().filter(b => b !== null), low = Math.min(...known), high = Math.max(...known);
  const cell = (i, k) => {
    const b = barriers[i][k], row = jobs.get([models[i], models[k]].sort().join());
    if (i === k || !row) return h('td');
    const text = b === null ? row.status : number(b, 2), words = `${row.models.a} and ${row.models.b}: ${text}`;
    const td = h('td', h('a', {href: link('job', row.job), 'aria-label': words, title: words}, text));
    if (b !== null) td.style.setProperty('--heat', `${high > low ? 60 * (b - low) / (high - low) : 0}%`);
    return td;
  };
  return h('div.scroll', {role: 'region', tabindex: '0', 'aria-label': 'Barriers'}, h('table.matrix',
    h('caption.unseen', 'Barrier over the chord by both models; close models stand together'),
    h('thead', h('tr', h('td'), order.map(k => h('th', {scope: 'col'}, models[k])))),
    h('tbody', order.map(i => h('tr', h('th', {scope: 'row'}, models[i]), order.map(k => cell(i, k)))))));
}
