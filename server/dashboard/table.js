// A table that changes in place: rows are found again by their key, and only cells whose value is
// another one are filled anew. So selection, focus and scroll survive whatever comes in.
//
// column: {id, label, help, value(row), fill(td, row), sort: 'name' | undefined, order(row), figure,
//          rank}. value: what fill depends on, as a primitive; fill defaults to that text. order:
// what to sort by, where the view sorts. figure: aligned right. rank 2, 3: hidden on narrower pages.
import {h, put, setText} from './dom.js';

export class Table {
  /** options: {caption, columns, key(row), open(row), selected: Set of keys, onselect(),
   * sorted: {by, down}, onsort(id)} */
  constructor(options) {
    this.options = options;
    this.rows = new Map(); // key -> {row, tr, values}
    this.head = h('thead');
    this.body = h('tbody', {onclick: e => this.#click(e), onkeydown: e => this.#key(e)});
    this.table = h('table', h('caption.unseen', options.caption), this.head,
      this.body);
    this.element = h('div.scroll', {role: 'region', tabindex: '0',
      'aria-label': options.caption}, this.table);
    this.setColumns(options.columns, options.sorted);
  }

  /* ---- columns ---- */

  setColumns(columns, sorted) {
    const before = this.columns;
    this.columns = columns;
    this.sorted = sorted ?? this.sorted ?? {};
    put(this.head, h('tr', this.options.selected && this.#headBox(),
      columns.map(c => this.#heading(c))));
    if (before && before.map(c => c.id).join() !== columns.map(c => c.id).join()) {
      const rows = [...this.rows.values()].map(entry => entry.row);
      this.clear();
      this.set(rows);
    }
  }

  #headBox() {
    this.box = h('input', {type: 'checkbox', 'aria-label': 'Select all rows', onchange: () => {
      const on = this.box.checked; // counting changes it
      for (const key of this.rows.keys()) this.#mark(key, on);
      this.options.onselect();
    }});
    return h('th.box', {scope: 'col'}, this.box);
  }

  #heading(c) {
    const {by, down} = this.sorted;
    const sortable = c.order || c.sort;
    const props = {scope: 'col', class: this.#classes(c), title: c.help};
    if (by === c.id) props['aria-sort'] = down ? 'descending' : 'ascending';
    return h('th', props, sortable
      ? h('button.sort', {onclick: () => this.options.onsort(c.id)},
        c.label, h('span', {'aria-hidden': 'true', class: 'arrow'},
          by === c.id ? (down ? '\u2193' : '\u2191') : ''))
      : c.label);
  }

  #classes(c) {
    return [c.figure ? 'figure' : '', c.rank ? `rank${c.rank}` : '', `col-${c.id}`].join(' ').trim();
  }

  /* ---- rows ---- */

  /** Makes the table show exactly these rows in this order. */
  set(rows) {
    const wanted = new Set(rows.map(this.options.key));
    for (const [key, {tr}] of this.rows)
      if (!wanted.has(key)) {
        tr.remove();
        this.rows.delete(key);
      }
    // What is not shown is not selected: actions are for what one sees.
    for (const key of this.options.selected ?? [])
      if (!wanted.has(key)) this.options.selected.delete(key);
    let at = this.body.firstChild;
    for (const row of rows) {
      const tr = this.#entry(row).tr;
      if (tr === at) at = at.nextSibling;
      else this.body.insertBefore(tr, at);
    }
    this.#rove();
    this.options.selected && this.#count();
  }

  /** Patches one row that is there; says whether it was. */
  patch(row) {
    if (!this.rows.has(this.options.key(row))) return false;
    this.#entry(row);
    return true;
  }

  clear() {
    this.rows.clear();
    put(this.body);
  }

  #entry(row) {
    const key = this.options.key(row);
    let entry = this.rows.get(key);
    if (!entry) {
      const chosen = this.options.selected?.has(key);
      const tr = h('tr', {'data-key': key, tabindex: '-1', class: chosen && 'selected'}, this.options.selected && this.#cellBox(key),
        this.columns.map(c => h('td', {class: this.#classes(c)})));
      entry = {tr, values: []};
      this.rows.set(key, entry);
    }
    entry.row = row;
    const skip = this.options.selected ? 1 : 0;
    this.columns.forEach((c, i) => {
      const value = c.value(row);
      if (i in entry.values && entry.values[i] === value) return;
      entry.values[i] = value;
      const td = entry.tr.cells[i + skip];
      if (c.fill) c.fill(td, row);
      else setText(td, value ?? '');
    });
    return entry;
  }

  /* ---- selection ---- */

  #cellBox(key) {
    return h('td.box', h('input', {type: 'checkbox', 'aria-label': 'Select this row',
      tabindex: '-1', checked: this.options.selected.has(key),
      onchange: e => {
        this.#mark(key, e.target.checked);
        this.options.onselect();
      }}));
  }

  #mark(key, on) {
    if (on) this.options.selected.add(key);
    else this.options.selected.delete(key);
    const entry = this.rows.get(key);
    entry.tr.cells[0].firstChild.checked = on;
    entry.tr.classList.toggle('selected', on);
    this.#count();
  }

  #count() {
    const n = this.options.selected.size;
    this.box.checked = n > 0 && n === this.rows.size;
    this.box.indeterminate = n > 0 && n < this.rows.size;
  }

  deselect() {
    for (const key of [...this.options.selected]) this.#mark(key, false);
    this.options.onselect();
  }

  /* ---- mouse and keys ---- */

  #click(e) {
    const tr = e.target.closest('tr');
    if (!tr || e.target.closest('a, button, input') || getSelection().type === 'Range') return;
    this.options.open?.(this.rows.get(tr.dataset.key).row);
  }

  #key(e) {
    const tr = e.target.closest('tr');
    if (!tr || e.ctrlKey || e.metaKey || e.altKey) return;
    const steps = {ArrowDown: 'nextSibling', j: 'nextSibling', ArrowUp: 'previousSibling',
      k: 'previousSibling'};
    if (steps[e.key]) this.#focus(tr[steps[e.key]]);
    else if (e.key === 'Home') this.#focus(this.body.firstChild);
    else if (e.key === 'End') this.#focus(this.body.lastChild);
    else if (e.target !== tr) return;
    else if (e.key === 'Enter') this.options.open?.(this.rows.get(tr.dataset.key).row);
    else if ((e.key === ' ' || e.key === 'x') && this.options.selected) {
      this.#mark(tr.dataset.key, !this.options.selected.has(tr.dataset.key));
      this.options.onselect();
    } else return;
    e.preventDefault();
  }

  /** Puts the cursor on the row that the Tab key would come to; says whether there is one. */
  enter() {
    const tr = this.body.querySelector('tr[tabindex="0"]');
    tr?.focus();
    return Boolean(tr);
  }

  #focus(tr) {
    if (!tr) return;
    this.body.querySelector('tr[tabindex="0"]')?.setAttribute('tabindex', '-1');
    tr.tabIndex = 0;
    tr.focus();
  }

  /* One row takes part in the order of the Tab key; the arrows move among them. */
  #rove() {
    if (this.body.firstChild && !this.body.querySelector('tr[tabindex="0"]'))
      this.body.firstChild.tabIndex = 0;
  }
}

/** Compares what columns order by: unknown values last, whichever way. */
export function compare(a, b, down) {
  const unknown = x => x === null || x === undefined || Number.isNaN(x);
  if (unknown(a) || unknown(b)) return unknown(a) - unknown(b);
  const order = typeof a === 'string' ? a.localeCompare(b, 'en', {numeric: true}) : a - b;
  return down ? -order : order;
}

/** The plain table behind a chart. heads: texts; rows: arrays of texts, or what gives them.
 * refresh() of the element follows a chart that has changed. */
export function dataTable(caption, heads, rows) {
  const cells = row => row.map((text, i) =>
    i === 0 ? h('th', {scope: 'row', class: 'figure'}, text) : h('td.figure', text));
  const build = () => h('div.scroll.data', {role: 'region', tabindex: '0',
    'aria-label': caption},
  h('table', h('caption.unseen', caption),
    h('thead', h('tr', (typeof heads === 'function' ? heads() : heads).map(t => h('th', {scope: 'col', class: 'figure'}, t)))),
    h('tbody', (typeof rows === 'function' ? rows() : rows).map(row => h('tr', cells(row))))));
  const details = h('details.behind', h('summary', 'Data table'));
  details.refresh = () => {
    details.querySelector('.data')?.remove();
    if (details.open) details.append(build());
  };
  details.addEventListener('toggle', details.refresh);
  return details;
}
