// Chooses an emoji: the ones used last, then a small set, found by name.

import { arrows, h } from '../dom.js';
import { recall, remember } from '../storage.js';
import { popup } from './popup.js';

const COLUMNS = 8;
const RECENT = 8;
const SET = [
  ['👍', 'thumbs up yes'], ['👎', 'thumbs down no'], ['❤️', 'heart love'], ['😂', 'tears of joy laugh'], ['😄', 'smile happy'], ['😉', 'wink'],
  ['🙂', 'slight smile'], ['😍', 'heart eyes'], ['🤔', 'thinking'], ['😅', 'sweat smile'], ['😭', 'crying'], ['😢', 'sad tear'],
  ['😮', 'surprised wow'], ['😡', 'angry'], ['🙄', 'rolling eyes'], ['😴', 'sleeping'], ['🤯', 'mind blown'], ['🥳', 'party face'],
  ['🎉', 'party celebrate tada'], ['👏', 'clap applause'], ['🙏', 'thanks please'], ['💪', 'strong muscle'], ['👀', 'eyes looking'], ['🤝', 'handshake deal'],
  ['👋', 'wave hello bye'], ['🫡', 'salute'], ['✅', 'check done'], ['❌', 'cross no'], ['❓', 'question'], ['❗', 'exclamation'],
  ['⚠️', 'warning'], ['🔥', 'fire'], ['💯', 'hundred'], ['⭐', 'star'], ['🚀', 'rocket ship launch'], ['🐛', 'bug'],
  ['🔧', 'wrench fix'], ['💡', 'idea light'], ['📌', 'pin'], ['📈', 'chart up'], ['🚨', 'alarm incident'], ['🟢', 'green ok'],
  ['🔴', 'red down'], ['⏳', 'waiting hourglass'], ['☕', 'coffee'], ['🍕', 'pizza'], ['🎂', 'cake birthday'], ['🌈', 'rainbow'],
];

export const QUICK = ['👍', '❤️', '😂'];

/** Opens the picker beside an element; `chosen(emoji)` is called at most once. */
export function pickEmoji(anchor, chosen) {
  const input = h('input', { type: 'text', placeholder: 'Find an emoji', 'aria-label': 'Find an emoji', autocomplete: 'off' });
  const grid = h('div', { class: 'emoji-grid', role: 'listbox', 'aria-label': 'Emoji' });
  const choose = emoji => {
    remember('emoji', [emoji, ...recall('emoji', []).filter(one => one !== emoji)].slice(0, RECENT), true);
    close();
    chosen(emoji);
  };
  const show = () => {
    const wanted = input.value.trim().toLowerCase();
    const recent = recall('emoji', []).map(emoji => SET.find(([one]) => one === emoji) ?? [emoji, '']);
    const all = wanted ? SET.filter(([emoji, name]) => name.includes(wanted) || emoji === wanted) : [...new Map([...recent, ...SET])];
    grid.replaceChildren(...all.map(([emoji, name]) => h('button', {
      type: 'button', role: 'option', 'aria-label': name || emoji, title: name, tabIndex: -1, onclick: () => choose(emoji),
    }, emoji)), ...(all.length ? [] : [h('p', { class: 'hint' }, 'None of these.')]));
  };
  input.addEventListener('input', show);
  const element = h('div', { class: 'picker', role: 'dialog', 'aria-label': 'Choose an emoji' }, input, grid);
  element.addEventListener('keydown', event => {
    const buttons = [...grid.querySelectorAll('button')];
    if (event.key === 'Enter' && event.target === input) {
      event.preventDefault();
      buttons[0]?.click();
    } else if (event.target === input) {
      if (event.key === 'ArrowDown') {
        event.preventDefault();
        buttons[0]?.focus();
      }
    } else if (event.key === 'ArrowUp' && buttons.indexOf(document.activeElement) < COLUMNS) {
      event.preventDefault();
      input.focus();
    } else arrows(event, buttons, { columns: COLUMNS });
  });
  show();
  const close = popup(anchor, element);
  input.focus();
  return close;
}
