// Elements without a framework.

const SVG = 'http://www.w3.org/2000/svg';

function fill(element, [props, ...children]) {
  // A plain object first: attributes, listeners as "onclick", and the properties that need to be.
  if (props?.constructor !== Object) children.unshift(props);
  else
    for (const [key, value] of Object.entries(props)) {
      if (value === undefined || value === null || value === false) continue;
      if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
      else if (/^(value|checked|disabled|open)$/.test(key)) element[key] = value;
      else element.setAttribute(key, value === true ? '' : value);
    }
  return append(element, children);
}

function append(element, children) {
  for (const child of children.flat(Infinity))
    if (child !== null && child !== undefined && child !== false) element.append(child);
  return element;
}

function make(create, [tag, ...classes], rest) {
  const element = create(tag);
  if (classes.length > 0) element.setAttribute('class', classes.join(' '));
  if (tag === 'button') element.type = 'button';
  return fill(element, rest);
}

/** h('p.note.small', {onclick: f, 'aria-label': 'x'}, 'text', element, [more]); the attributes may be
 * left out. A button submits only if it says so. */
export const h = (tag, ...rest) => make(t => document.createElement(t), tag.split('.'), rest);

/** The same in SVG. */
export const svg = (tag, ...rest) =>
  make(t => document.createElementNS(SVG, t), tag.split('.'), rest);

/** Replaces what is in element. */
export function put(element, ...children) {
  element.replaceChildren();
  return append(element, children);
}

/** Sets a text only when it differs, so that selections and screen readers are left in peace. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Tells a screen reader. */
export function say(text) {
  setText(document.getElementById('said'), text);
}

/** The value of a custom property of the style sheet: colours for canvases. */
export const css = name =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A copy button beside what it copies. */
export function copyButton(label, text) {
  const button = h('button.quiet', {onclick: copy}, label);
  async function copy() {
    const value = typeof text === 'function' ? text() : text;
    try {
      await navigator.clipboard.writeText(value);
    } catch {
      // No clipboard outside a secure context: the old way.
      const area = h('textarea.unseen', {value});
      document.body.append(area);
      area.select();
      document.execCommand('copy');
      area.remove();
    }
    button.textContent = 'Copied';
    say('Copied');
    setTimeout(() => (button.textContent = label), 1500);
  }
  return button;
}

/** Saves a blob or text under a name. */
export function download(name, content, type) {
  const blob = content instanceof Blob ? content : new Blob([content], {type});
  const url = URL.createObjectURL(blob);
  h('a', {href: url, download: name}).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

/** Runs f at most once per `ms`, the last call always. */
export function throttle(f, ms) {
  let timer = null;
  return () => {
    timer ??= setTimeout(() => {
      timer = null;
      f();
    }, ms);
  };
}
