// A form made from the API's own description of a body (JSON Schema in openapi.json): a field per
// member with its default, bounds and help; what the daemon finds wrong is shown at the field by its
// JSON pointer. A member left at its default is left out, so that the daemon decides.
import {h, put} from './dom.js';

/** Follows $ref; members beside it win. */
export function resolve(schema, document) {
  if (!schema.$ref) return schema;
  const target = schema.$ref.slice(2).split('/').reduce((at, key) => at[key], document);
  const {$ref, ...own} = schema;
  return {...resolve(target, document), ...own};
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const pretty = key => key[0].toUpperCase() + key.slice(1).replaceAll('_', ' ');

/** "**a** and `b`" as elements. */
const prose = text => text.trim().split('`').map((part, i) => i % 2 ? h('code', part) : part);

/* Of a group: the rest is for readers of the description. */
const firstSentence = text => text.match(/^[\s\S]*?\.(?=\s|$)/)?.[0] ?? text;

function bounds(s) {
  const low = s.minimum ?? s.exclusiveMinimum, high = s.maximum;
  if (low === undefined && high === undefined) return '';
  if (high === undefined || high >= 1e7) return `At least ${low}. `;
  return `${s.exclusiveMinimum === undefined ? '' : 'Above '}${low} to ${high}. `;
}

/* ---- controls: {element, input, read(), write(value)}; read gives undefined for "as default" ---- */

function textControl(id, props, parse, print) {
  const input = h('input', {id, type: 'text', spellcheck: 'false', autocomplete: 'off', ...props});
  return {
    element: input,
    input,
    read: () => (input.value.trim() === '' ? undefined : parse(input.value.trim())),
    write: value => (input.value = value === undefined ? '' : print(value)),
  };
}

const asNumber = text => (text === '' || Number.isNaN(Number(text)) ? text : Number(text));

const asNumbers = text => text.split(/[\s,;]+/).filter(Boolean).map(asNumber);

export function asLabels(text) {
  return Object.fromEntries(text.split(/[\s,]+/).filter(Boolean).map(pair => {
    const at = pair.search(/[:=]/);
    return at < 0 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)];
  }));
}

function choiceControl(id, options, schema) {
  const input = h('select', {id}, options.map(([value, text]) => h('option', {value}, text)));
  input.value = schema.default ?? '';
  return {
    element: input,
    input,
    read: () => (input.value === (schema.default ?? '') ? undefined : input.value),
    write: value => {
      // A name that is gone stays visible: the daemon says what is wrong with it.
      if (value !== undefined && ![...input.options].some(o => o.value === value))
        input.append(h('option', {value}, `${value} (not there)`));
      input.value = value ?? schema.default ?? '';
    },
  };
}

function boxesControl(id, schema) {
  const boxes = schema.items.enum.map(value => h('input', {type: 'checkbox', value,
    checked: schema.default?.includes(value)}));
  const all = () => boxes.filter(b => b.checked).map(b => b.value);
  return {
    element: h('div', {id, class: 'boxes', role: 'group'}, boxes.map(b => h('label', b, b.value))),
    input: boxes[0],
    read: () => (same(all(), schema.default) ? undefined : all()),
    write: value => boxes.forEach(b => (b.checked = (value ?? schema.default).includes(b.value))),
  };
}

function switchControl(id, schema) {
  const input = h('input', {id, type: 'checkbox', checked: schema.default});
  return {
    element: input,
    input,
    read: () => (input.checked === schema.default ? undefined : input.checked),
    write: value => (input.checked = value ?? schema.default),
  };
}

function controlOf(id, pointer, schema, names) {
  const options = names(pointer);
  if (options) return choiceControl(id, [['', 'Choose\u2026'], ...options], schema);
  if (schema.enum)
    return choiceControl(id, [...(schema.default === undefined ? [['', 'Choose\u2026']] : []),
      ...schema.enum.map(v => [v, v === schema.default ? `${v} (default)` : v])], schema);
  if (schema.type === 'boolean') return switchControl(id, schema);
  if (schema.type === 'array' && schema.items.enum) return boxesControl(id, schema);
  if (schema.type === 'array')
    return textControl(id, {placeholder: schema.default?.length ? schema.default.join(', ') : 'none',
      inputmode: 'decimal'}, asNumbers, v => v.join(', '));
  if (schema.type === 'object')
    return textControl(id, {placeholder: 'key:value key:value'}, asLabels, v =>
      Object.entries(v).map(pair => pair.join(':')).join(' '));
  if (schema.type === 'integer' || schema.type === 'number' || schema.type?.[0] === 'integer')
    return textControl(id, {inputmode: 'decimal', class: 'short',
      placeholder: schema.default === undefined ? '' : String(schema.default)}, asNumber, String);
  return textControl(id, {maxlength: schema.maxLength}, t => t, String);
}

/* ---- several values of one member ---- */

/* Of what may be chosen: a box each. Of what is typed: a list; of lists, with ";" between them. */
function severalControl(id, schema, options, name) {
  const choices = options ?? (schema.enum ?? (schema.type === 'boolean' ? [false, true] : null))?.map(v => [v, String(v)]);
  if (choices) {
    const boxes = choices.map(([value]) => h('input', {type: 'checkbox', value: String(value)}));
    return {
      element: h('div.boxes', {role: 'group', 'aria-label': `Values of ${name}`},
        boxes.map((b, i) => h('label', b, choices[i][1]))),
      read: () => choices.filter((_, i) => boxes[i].checked).map(c => c[0]),
      write: values => boxes.forEach((b, i) => (b.checked = values.includes(choices[i][0]))),
    };
  }
  const lists = schema.type === 'array';
  const input = h('input', {id: `${id}-several`, type: 'text', spellcheck: 'false', autocomplete: 'off',
    'aria-label': `Values of ${name}`, placeholder: lists ? 'one; another; a third' : '10, 100, 1000'});
  const parts = text => text.split(lists ? ';' : /[\s,;]+/).map(t => t.trim());
  return {
    element: input,
    read: () => input.value.trim() === '' ? [] : parts(input.value).filter(t => lists || t !== '')
      .map(t => lists ? asNumbers(t) : schema.type === 'string' ? t : asNumber(t)),
    write: values => (input.value = values.map(v => [v].flat().join(' ')).join(lists ? '; ' : ', ')),
  };
}

const SWEPT = /^\/(models|align|interpolate|evaluate)\/|^\/outputs\/dtype$/;
const pathOf = pointer => pointer.slice(1).replaceAll('/', '.');

/* ---- the form ---- */

export class Form {
  /** names(pointer) -> [[value, text]] for members that name something of the daemon's;
   * main: pointers shown at once, others wait under "More"; alsoRequired(pointer, form): needed as
   * things stand, though not always; changed(): after every input. */
  constructor(schema, document, {names, main, alsoRequired, changed}) {
    Object.assign(this, {document, names, main, alsoRequired, changed});
    this.fields = new Map(); // pointer -> {control, schema, element, fault, name, required, touched}
    this.groups = new Map(); // pointer -> {on: checkbox or null, fault, body, name}
    this.element = h('div.form', {oninput: e => this.#input(e)}, this.#members('', schema));
    this.#arrange();
  }

  #members(pointer, schema) {
    const shown = [], groups = [], rest = [];
    for (const [key, raw] of Object.entries(schema.properties)) {
      const own = resolve(raw, this.document), at = `${pointer}/${key}`;
      if (own['x-form'] === false || raw['x-form'] === false) continue; // not for filling in by hand
      const required = (schema.required ?? schema['x-form-required'])?.includes(key) ?? false;
      if (own.properties) groups.push(this.#group(at, key, own, required));
      else (this.main.has(at) ? shown : rest).push(this.#field(at, key, own, required));
    }
    const more = rest.length > 0 && h('details.more',
      h('summary', shown.length > 0 ? 'More' : 'Options'), h('div.fields', rest));
    return [h('div.fields', shown), more, groups];
  }

  #group(pointer, key, schema, required) {
    // A part to switch off as a whole: optional, but with members it cannot be without; or one that
    // means something by being there (x-optional).
    const alone = schema['x-optional'] === true;
    const on = !required && (schema.required || alone)
      ? h('input', {type: 'checkbox', checked: !alone, class: 'whole'}) : null;
    const fault = h('p.fault', {hidden: true});
    const name = schema.title ?? pretty(key);
    const body = h('div', this.#members(pointer, schema));
    const element = h('fieldset.panel',
      h('legend', on ? h('label', on, name) : name),
      h('p.help', prose(firstSentence(schema.description ?? ''))), fault, body);
    this.groups.set(pointer, {on, alone, fault, body, name});
    return element;
  }

  #field(pointer, key, schema, required) {
    const id = `f${pointer.replaceAll('/', '-')}`;
    const control = controlOf(id, pointer, schema, this.names);
    const fault = h('p.fault', {id: `${id}-fault`, hidden: true});
    const help = h('p.help', {id: `${id}-help`}, prose(bounds(schema) +
      (schema.description ?? '')));
    control.input.setAttribute('aria-describedby', `${id}-help ${id}-fault`);
    if (required) control.input.setAttribute('aria-required', 'true');
    const name = schema.title ?? pretty(key);
    const label = control.element.role === 'group' || control.element.getAttribute('role') === 'group'
      ? h('span.name', {id: `${id}-name`}, name)
      : h('label.name', {for: id}, name);
    if (label.id) control.element.setAttribute('aria-labelledby', label.id);
    const more = SWEPT.test(pointer) && h('button.quiet.several', {'aria-pressed': 'false',
      title: 'A job for each value', onclick: () => {
        this.several(pointer, field.multi ? null : []);
        this.#arrange();
        this.changed();
      }}, 'several', h('span.unseen', ` values of ${name}`));
    const element = h('div', {class: `field${schema.type === 'boolean' ? ' switch' : ''}`,
      'data-pointer': pointer}, label, control.element, more, help, fault);
    const field = {control, schema, element, fault, name, required, more, multi: null, touched: false};
    this.fields.set(pointer, field);
    return element;
  }

  /** A member with several values, a job for each; null: with one again. */
  several(pointer, values) {
    const field = this.fields.get(pointer);
    field.multi?.element.remove();
    field.multi = values && severalControl(field.control.input.id, field.schema, this.names(pointer), field.name);
    field.control.element.hidden = Boolean(values);
    field.more.setAttribute('aria-pressed', String(Boolean(values)));
    if (!values) return;
    field.control.element.after(field.multi.element);
    field.multi.write(values);
  }

  /** Members with several values: {"align.heads": [...]}; empty when there are none. */
  grid() {
    return Object.fromEntries([...this.fields].filter(([pointer, f]) => f.multi && !f.element.hidden &&
      this.#isOn(pointer)).map(([pointer, f]) => [pathOf(pointer), f.multi.read()]).filter(([, list]) => list.length > 0));
  }

  /** Fills a field that nobody has touched. */
  suggest(pointer, value) {
    const field = this.fields.get(pointer);
    if (!field || field.touched || field.multi) return;
    field.control.write(value);
    this.#arrange();
  }

  /** Which of a member's choices cannot be taken: reason(value) -> words or null. */
  restrict(pointer, reason) {
    for (const option of this.fields.get(pointer).control.input.options ?? []) {
      const words = option.value && reason(option.value);
      option.dataset.text ??= option.textContent;
      option.disabled = Boolean(words);
      option.textContent = option.dataset.text + (words ? ` \u2013 ${words}` : '');
    }
  }

  /** Switches a part that may be left out. */
  turn(pointer, on) {
    const group = this.groups.get(pointer);
    if (group?.on) group.on.checked = on;
    this.#arrange();
  }

  #input(e) {
    const field = this.fields.get(e.target.closest('.field')?.dataset.pointer);
    if (field) field.touched = true;
    this.#arrange();
    this.changed();
  }

  /* Members that mean nothing with what is chosen are hidden, and left out. */
  #arrange() {
    for (const {on, body} of this.groups.values()) body.hidden = on ? !on.checked : false;
    for (const [pointer, field] of this.fields) {
      const parent = pointer.slice(0, pointer.lastIndexOf('/'));
      const needs = Object.entries(field.schema['x-only-with'] ?? {});
      const fits = needs.every(([key, wanted]) => {
        const value = this.effective(`${parent}/${key}`);
        return [wanted].flat().some(w => Array.isArray(value) ? value.includes(w) : value === w);
      });
      // A job's permutations stand for all else in its group.
      const reused = pointer !== `${parent}/from_job` &&
        this.fields.get(`${parent}/from_job`)?.control.read() !== undefined;
      field.element.hidden = !fits || reused;
    }
  }

  /** What the daemon will take for it. */
  effective(pointer) {
    const field = this.fields.get(pointer);
    return field?.multi?.read().flat() ?? field?.control.read() ?? field?.schema.default;
  }

  /** The body, without what is at its default. */
  value() {
    const result = {};
    for (const [pointer, {on, alone}] of this.groups)
      if (alone && on.checked && this.#isOn(pointer))
        pointer.split('/').slice(1).reduce((at, key) => (at[key] ??= {}), result);
    for (const [pointer, {control, element, multi}] of this.fields) {
      const keys = pointer.split('/').slice(1), last = keys.pop();
      if (element.hidden || multi || !this.#isOn(pointer)) continue;
      const value = control.read();
      if (value === undefined) continue;
      keys.reduce((at, key) => (at[key] ??= {}), result)[last] = value;
    }
    return result;
  }

  /** Fills the form from a body. */
  write(body) {
    for (const [pointer, {control, schema}] of this.fields) {
      const value = pointer.split('/').slice(1).reduce((at, key) => at?.[key], body);
      if (this.fields.get(pointer).multi) this.several(pointer, null);
      control.write(same(value, schema.default) ? undefined : value);
    }
    for (const [pointer, {on}] of this.groups)
      if (on) on.checked = pointer.split('/').slice(1).reduce((at, key) => at?.[key], body) !== undefined;
    this.#arrange();
  }

  /** Shows [{pointer, detail}] at their fields; all: also at fields nobody has touched yet. Returns
   * those that have no field. */
  showFaults(faults, all) {
    for (const place of [...this.fields.values(), ...this.groups.values()]) {
      place.fault.hidden = true;
      put(place.fault);
      place.control?.input.removeAttribute('aria-invalid');
    }
    return faults.filter(({pointer, detail}) => !this.#showFault(pointer, detail, all));
  }

  #showFault(pointer, detail, all) {
    // Of a sweep: "/grid/align.heads/1", "/spec/align/dataset".
    pointer = pointer.replace(/^\/spec(?=\/)/, '').replace(/^\/grid\/([^/]+)/, (_, path) => `/${path.replaceAll('.', '/')}`);
    // "/outputs/merged/3" belongs to the field of the list.
    for (let at = pointer; at !== ''; at = at.slice(0, at.lastIndexOf('/'))) {
      const place = this.fields.get(at) ?? this.groups.get(at);
      if (!place) continue;
      if (!all && !this.#isTouched(at)) return true;
      place.fault.append(h('span', detail));
      place.fault.hidden = false;
      place.control?.input.setAttribute('aria-invalid', 'true');
      place.element?.closest('details')?.setAttribute('open', '');
      return true;
    }
    return false;
  }

  #isTouched(pointer) {
    return [...this.fields].some(([at, f]) => f.touched && (at === pointer || at.startsWith(pointer + '/')));
  }

  /** Required members that are shown and empty: [{pointer, where, detail}]. */
  missing() {
    return [...this.fields].filter(([pointer, f]) => !f.element.hidden && this.#isOn(pointer) &&
      (f.multi ? f.multi.read().length === 0
        : (f.required || this.alsoRequired(pointer, this)) && f.control.read() === undefined))
      .map(([pointer, f]) => ({pointer, where: this.#where(pointer, f), detail: 'needed'}));
  }

  #where(pointer, field) {
    const group = this.groups.get(pointer.slice(0, pointer.lastIndexOf('/')));
    return group && !field.name.startsWith('Model') ? `${group.name.toLowerCase()} ${field.name.toLowerCase()}`
      : field.name;
  }

  #isOn(pointer) {
    return [...this.groups].every(([at, {on}]) => !pointer.startsWith(`${at}/`) || !on || on.checked);
  }

  /** Puts the cursor where something is wrong. */
  focusFault() {
    this.element.querySelector('[aria-invalid]')?.focus();
  }
}
