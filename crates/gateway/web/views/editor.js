// Changes a message in its place: Enter keeps, Escape does not.

import { h } from '../dom.js';
import { decode } from '../mentions.js';

export const LONGEST = 2_000;

/** Makes a field as high as its text. */
export function fit(field) {
  field.style.height = 'auto';
  field.style.height = `${field.scrollHeight}px`;
}

export function editor(message, { guild, act }) {
  const field = h('textarea', { rows: 1, 'aria-label': 'Edit message', data: { focus: 'editor' }, value: decode(message.content, guild) });
  const cancel = () => act.editing(null, true);
  const save = () => {
    const text = field.value.trim();
    if (!text) return act.remove(message);
    if ([...text].length > LONGEST) return field.setAttribute('aria-invalid', 'true');
    return act.edit(message, text);
  };
  field.addEventListener('input', () => fit(field));
  field.addEventListener('keydown', event => {
    event.stopPropagation();
    if (event.isComposing) return;
    if (event.key === 'Escape') cancel();
    else if (event.key === 'Enter' && !event.shiftKey) {
      event.preventDefault();
      save();
    }
  });
  queueMicrotask(() => {
    fit(field);
    field.focus({ preventScroll: false });
    field.setSelectionRange(field.value.length, field.value.length);
  });
  return h('div', { class: 'editor' }, field, h('div', { class: 'editor-hint' },
    h('button', { type: 'button', class: 'link', onclick: cancel }, 'Cancel'), ' (Esc)  ·  ',
    h('button', { type: 'button', class: 'link', onclick: save }, 'Save'), ' (Enter)'));
}
