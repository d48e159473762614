// Makes elements. Texts go in as texts, never as markup.

const SVG = 'http://www.w3.org/2000/svg';
const PROPERTIES = new Set(['value', 'checked', 'disabled', 'hidden', 'open', 'tabIndex', 'type']);

/** An element: `on…` are listeners, `class` may be a list with gaps, null and false are left out. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value == null || value === false && !PROPERTIES.has(name)) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2).toLowerCase(), value);
    else if (name === 'class') element.className = [value].flat().filter(Boolean).join(' ');
    else if (name === 'data') Object.assign(element.dataset, value);
    else if (PROPERTIES.has(name)) element[name] = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter(child => child != null && child !== false));
  return element;
}

/** One of the drawings below. Whoever uses it names it; it has no name of its own. */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  const path = document.createElementNS(SVG, 'path');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', `icon icon-${name}`);
  svg.setAttribute('aria-hidden', 'true');
  path.setAttribute('d', ICONS[name]);
  svg.append(path);
  return svg;
}

const ICONS = {
  hash: 'M5 9h15M4 15h15M10 4 8 20M16 4l-2 16',
  voice: 'M4 10v4h3l5 4V6l-5 4H4ZM16 9.5a4 4 0 0 1 0 5M18.5 7a8 8 0 0 1 0 10',
  menu: 'M4 7h16M4 12h16M4 17h16',
  people: 'M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7ZM2.5 20c0-3.5 3-6 6.5-6s6.5 2.5 6.5 6M16 4.5a3.5 3.5 0 0 1 0 6.2M18 14.5c2.1.8 3.5 2.9 3.5 5.5',
  smile: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM8 14c1 1.6 2.4 2.5 4 2.5s3-.9 4-2.5M9 9.5v.5M15 9.5v.5',
  reply: 'M9 7 4 12l5 5M4 12h10c3.5 0 6 2 6 6',
  pencil: 'M4 20l1-4.5L16.5 4a2 2 0 0 1 3 3L8 18.9 4 20ZM14.5 6l3.5 3.5',
  trash: 'M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10.5 11v5.5M13.5 11v5.5',
  more: 'M5.5 12h.01M12 12h.01M18.5 12h.01',
  down: 'M12 5v14M6 13l6 6 6-6',
  send: 'M4 12 3.5 4.5 21 12 3.5 19.5 4 12Zm0 0h8',
  help: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM9.5 9.5a2.5 2.5 0 1 1 3.5 2.3c-.7.3-1 .8-1 1.7M12 16.8v.2',
  trace: 'M3 12h4l3-8 4 16 3-8h4',
  close: 'M6 6l12 12M18 6 6 18',
  copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
  check: 'M5 12.5 10 17.5 19.5 7',
  find: 'M4 6h16M4 12h5M4 18h5M15.5 17a3.8 3.8 0 1 0 0-7.6 3.8 3.8 0 0 0 0 7.6ZM18.4 16 21 18.8',
  search: 'M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM15.5 15.5 20 20',
  leave: 'M14 4H5v16h9M10 12h11M17 8l4 4-4 4',
  mic: 'M12 14.5a3 3 0 0 0 3-3v-5a3 3 0 0 0-6 0v5a3 3 0 0 0 3 3ZM6 11.5a6 6 0 0 0 12 0M12 17.5V21',
  muted: 'M4 4l16 16M15 10.5v-4a3 3 0 0 0-5.8-1M9 9v2.5a3 3 0 0 0 4.5 2.6M6 11.5a6 6 0 0 0 9.7 4.7M18 11.5c0 .8-.2 1.6-.5 2.3M12 17.5V21',
  ear: 'M4 15v-3a8 8 0 0 1 16 0v3M4 15h3.5v5H6a2 2 0 0 1-2-2v-3ZM20 15h-3.5v5H18a2 2 0 0 0 2-2v-3Z',
  deaf: 'M4 4l16 16M4 15v-3c0-1.5.4-2.9 1.2-4.1M8.5 4.8A8 8 0 0 1 20 12v3M4 15h3.5v5H6a2 2 0 0 1-2-2v-3Z',
  hangup: 'M3 14.5c0-2.5 4-4.5 9-4.5s9 2 9 4.5V17l-5-1v-2.6a13 13 0 0 0-8 0V16l-5 1v-2.5Z',
  theme: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM12 3v18',
};

/** A button that shows a drawing and says what it does. */
export function iconButton(name, label, onclick, props = {}) {
  const more = { class: ['icon-button', props.class], title: props.title ?? label, 'aria-label': label };
  return h('button', { type: 'button', onclick, ...props, ...more }, icon(name));
}

const rowsOf = new WeakMap();

/**
 * Shows a list: an item whose key and parts are the same keeps its element. `key(item)` and `parts(item)` say what an
 * element was made of, `make(item)` makes one.
 */
export function keyed(parent, items, { key, parts, make }) {
  const before = rowsOf.get(parent) ?? new Map();
  const after = new Map();
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  let refocus = null;
  for (const item of items) {
    const [name, made] = [key(item), parts(item)];
    const old = before.get(name);
    const same = old && made.length === old.made.length && made.every((part, n) => Object.is(part, old.made[n]));
    const node = same ? old.node : make(item);
    if (old && !same && focused && old.node.contains(focused)) {
      refocus = focused.dataset.focus && node.querySelector(`[data-focus="${focused.dataset.focus}"]`) || node;
    }
    after.set(name, { node, made });
  }
  for (const [name, { node }] of before) if (after.get(name)?.node !== node) node.remove();
  let place = parent.firstChild;
  for (const { node } of after.values()) {
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
  }
  rowsOf.set(parent, after);
  refocus?.focus({ preventScroll: true });
}

/** Moves the focus among elements with the arrow keys; answers whether the key was one of them. */
export function arrows(event, elements, { columns = 1 } = {}) {
  const at = elements.indexOf(document.activeElement);
  const steps = { ArrowDown: columns, ArrowUp: -columns, ...(columns > 1 ? { ArrowRight: 1, ArrowLeft: -1 } : {}) };
  let next;
  if (event.key === 'Home') next = 0;
  else if (event.key === 'End') next = elements.length - 1;
  else if (steps[event.key]) next = at < 0 ? 0 : at + steps[event.key];
  else return false;
  event.preventDefault();
  elements[Math.max(0, Math.min(elements.length - 1, next))]?.focus();
  return true;
}
