// Something small beside what opened it: a menu, a picker. Escape or a click elsewhere closes it; the focus goes back.

import { arrows, h, icon } from '../dom.js';

const GAP = 6;
const EDGE = 8;

/** Shows an element beside another. Answers how to close it. `closed()` is called once. */
export function popup(anchor, element, { align = 'end', closed = () => {} } = {}) {
  const back = document.activeElement;
  let open = true;
  const close = ({ refocus = true } = {}) => {
    if (!open) return;
    open = false;
    document.removeEventListener('pointerdown', outside, true);
    window.removeEventListener('resize', close);
    element.remove();
    closed();
    if (refocus) (back?.isConnected ? back : anchor)?.focus?.({ preventScroll: true });
  };
  const outside = event => !element.contains(event.target) && close({ refocus: false });
  element.classList.add('popup');
  element.addEventListener('keydown', event => {
    if (event.key !== 'Escape' && event.key !== 'Tab') return;
    event.preventDefault();
    event.stopPropagation();
    close();
  });
  document.body.append(element);
  place(anchor.getBoundingClientRect(), element, align);
  document.addEventListener('pointerdown', outside, true);
  window.addEventListener('resize', close);
  return close;
}

function place(at, element, align) {
  const { offsetWidth: width, offsetHeight: height } = element;
  const left = align === 'end' ? at.right - width : at.left;
  const below = at.bottom + GAP;
  const top = below + height > innerHeight - EDGE && at.top - GAP - height > EDGE ? at.top - GAP - height : below;
  element.style.left = `${Math.max(EDGE, Math.min(left, innerWidth - width - EDGE))}px`;
  element.style.top = `${Math.max(EDGE, Math.min(top, innerHeight - height - EDGE))}px`;
}

/** A menu of `{label, icon, run, danger, checked}`; null is a line between. */
export function menu(anchor, label, items, options) {
  const entries = items.map(item => (item ? h('button', {
    type: 'button', class: ['menu-item', item.danger && 'danger'], tabIndex: -1,
    role: item.checked === undefined ? 'menuitem' : 'menuitemradio', 'aria-checked': item.checked === undefined ? null : String(item.checked),
    onclick: () => {
      close();
      item.run();
    },
  }, item.mark ?? icon(item.icon), h('span', {}, item.label), item.checked && icon('check'), item.key && h('kbd', {}, item.key))
    : h('hr', { role: 'separator' })));
  const buttons = entries.filter(entry => entry.tagName === 'BUTTON');
  const element = h('div', { class: 'menu', role: 'menu', 'aria-label': label, onkeydown: event => arrows(event, buttons) }, entries);
  const close = popup(anchor, element, options);
  (buttons.find(button => button.getAttribute('aria-checked') === 'true') ?? buttons[0]).focus();
  return close;
}
