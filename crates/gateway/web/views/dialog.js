// Dialogs in the middle of the page: a question, the list of shortcuts, the switch to another channel.

import { arrows, h, icon, iconButton } from '../dom.js';
import { textChannels } from '../state/guilds.js';
import { nothing } from '../state/reads.js';

/** Opens a dialog; answers the element and how to close it. The browser keeps the focus inside and gives it back. */
function dialog(label, props, ...children) {
  const element = h('dialog', { 'aria-label': label, ...props }, ...children);
  const close = () => element.close();
  element.addEventListener('close', () => element.remove());
  element.addEventListener('click', event => event.target === element && close());
  document.body.append(element);
  element.showModal();
  return { element, close };
}

/** Asks; answers whether it was confirmed. */
export function confirm({ title, text, detail, action }) {
  return new Promise(done => {
    let confirmed = false;
    const yes = h('button', { type: 'button', class: 'danger', onclick: () => { confirmed = true; close(); } }, action);
    const no = h('button', { type: 'button', onclick: () => close() }, 'Cancel');
    const { element, close } = dialog(title, { class: 'confirm' }, h('h2', {}, title), h('p', {}, text),
      detail && h('blockquote', {}, detail), h('div', { class: 'buttons' }, no, yes));
    element.addEventListener('close', () => done(confirmed));
    yes.focus();
  });
}

const KEYS = [
  ['Everywhere', [
    ['Ctrl K', 'Go to a channel'], ['Ctrl Shift F', 'Search messages'], ['Alt ↑ / Alt ↓', 'Previous or next channel'], ['Alt Shift ↓', 'Next channel with unread messages'],
    ['Esc', 'Go to the newest message, mark as read'], ['Ctrl /  or  ?', 'This list'],
  ]],
  ['Writing', [
    ['Enter', 'Send'], ['Shift Enter', 'New line'], ['↑', 'Edit your last message, when there is no draft'],
    ['@ or #', 'Name a person or a channel'], ['Esc', 'Do not reply, do not edit'],
  ]],
  ['On a message', [
    ['↑ / ↓', 'Previous or next message'], ['R', 'Reply'], ['E', 'Edit'], ['+', 'React'], ['T', 'Show trace'], ['Delete', 'Delete'], ['M', 'Menu'],
  ]],
];

export function showHelp() {
  if (document.querySelector('dialog.help')) return;
  const { close } = dialog('Keyboard shortcuts', { class: 'help' },
    h('header', {}, h('h2', {}, 'Keyboard shortcuts'), iconButton('close', 'Close', () => close())),
    h('div', { class: 'key-groups' }, KEYS.map(([title, keys]) => h('section', {}, h('h3', {}, title),
      h('dl', {}, keys.map(([key, what]) => h('div', {}, h('dt', {}, h('kbd', {}, key)), h('dd', {}, what))))))),
    h('p', { class: 'hint' }, '**bold**  *italic*  ~~strike~~  `code`  ```block```  > quote  [text](https://…)'));
}

/** Goes to a channel by the beginning of its name. */
export function showSwitcher({ store, session }) {
  if (document.querySelector('dialog.switcher')) return;
  const { state } = store;
  const all = state.order.map(id => state.guilds[id]).filter(Boolean)
    .flatMap(guild => textChannels(guild).map(channel => ({ channel, guild, read: state.reads[channel.id] ?? nothing })));
  const list = h('div', { class: 'options', role: 'listbox', 'aria-label': 'Channels' });
  const input = h('input', { type: 'text', placeholder: 'Go to a channel…', 'aria-label': 'Go to a channel', autocomplete: 'off', spellcheck: 'false' });
  const go = id => {
    close();
    session.open(id);
    document.querySelector('.composer textarea')?.focus();
  };
  const show = () => {
    const wanted = input.value.trim().replace(/^#/, '').toLowerCase();
    const found = all.filter(({ channel }) => channel.name.toLowerCase().includes(wanted));
    found.sort((a, b) => (b.read.mentions - a.read.mentions) || (b.read.unread > 0) - (a.read.unread > 0));
    list.replaceChildren(...found.slice(0, 12).map(({ channel, guild, read }) => h('button', {
      type: 'button', role: 'option', class: ['option', read.unread && 'unread'], onclick: () => go(channel.id),
    }, icon('hash'), h('span', {}, channel.name), all.some(one => one.guild !== guild) && h('small', {}, guild.name),
    read.mentions > 0 && h('span', { class: 'badge' }, String(read.mentions)))),
    ...(found.length ? [] : [h('p', { class: 'hint' }, 'No channel has that in its name.')]));
  };
  input.addEventListener('input', show);
  const { element, close } = dialog('Go to a channel', { class: 'switcher' }, input, list);
  element.addEventListener('keydown', event => {
    const options = [...list.querySelectorAll('button')];
    if (event.key === 'Enter' && event.target === input) {
      event.preventDefault();
      options[0]?.click();
    } else if (event.key !== 'Home' && event.key !== 'End') arrows(event, [input, ...options]);
  });
  show();
  input.focus();
}
