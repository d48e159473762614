// Where one writes: drafts, replies, names that complete themselves, who else is typing.

import { h, icon, iconButton } from '../dom.js';
import { plain } from '../markdown.js';
import { decode, suggest, typed } from '../mentions.js';
import { nameOf, textChannels } from '../state/guilds.js';
import { SEND_MESSAGES, may } from '../state/permissions.js';
import { channelOf, guildOf, timelineOf } from '../state/reduce.js';
import { recall, remember } from '../storage.js';
import { LONGEST, fit } from './editor.js';
import { pickEmoji } from './picker.js';
import { avatar } from './pieces.js';

/** From so many characters on, those left are shown. */
const NEAR_LONGEST = 1_800;
const BEGUN = /(?:^|\s)([@#])([\p{L}\p{N}._-]*)$/u;

export function createComposer({ store, session, act }) {
  let channel = null;
  const options = h('div', { class: 'suggestions', role: 'listbox', 'aria-label': 'Suggestions', hidden: true, id: 'suggestions' });
  const field = h('textarea', {
    rows: 1, 'aria-label': 'Message', autocomplete: 'off', role: 'combobox', 'aria-autocomplete': 'list', 'aria-controls': 'suggestions', 'aria-expanded': 'false',
    'aria-describedby': 'typing left',
  });
  const left = h('span', { class: 'left', id: 'left' });
  const reply = h('div', { class: 'replying', hidden: true });
  const typing = h('div', { class: 'typing', id: 'typing', 'aria-live': 'off' });
  const sendButton = iconButton('send', 'Send message', () => send(), { class: 'send' });
  const emoji = iconButton('smile', 'Insert an emoji', event => pickEmoji(event.currentTarget, insert));
  const form = h('form', { class: 'composer', onsubmit: event => event.preventDefault() },
    options, reply, h('div', { class: 'field-row' }, field, left, emoji, sendButton));
  const locked = h('p', { class: 'locked', hidden: true }, 'You may read this channel, but not write in it.');
  const element = h('div', { class: 'foot' }, form, locked, typing);

  const draft = () => `draft:${store.state.me?.id}:${channel}`;
  const changed = () => {
    fit(field);
    const length = [...field.value.trim()].length;
    left.textContent = length > NEAR_LONGEST ? String(LONGEST - length) : '';
    left.classList.toggle('over', length > LONGEST);
    sendButton.disabled = length === 0 || length > LONGEST;
  };
  const set = text => {
    field.value = text;
    changed();
    close();
  };
  const insert = text => {
    field.setRangeText(text, field.selectionStart, field.selectionEnd, 'end');
    field.focus();
    field.dispatchEvent(new Event('input'));
  };
  const send = () => {
    const text = field.value.trim();
    if (sendButton.disabled || !channel) return;
    remember(draft(), undefined);
    set('');
    session.send(channel, text);
    field.focus();
  };

  // Names
  const close = () => {
    options.hidden = true;
    options.replaceChildren();
    field.setAttribute('aria-expanded', 'false');
    field.removeAttribute('aria-activedescendant');
  };
  const complete = (begun, text) => {
    const end = field.selectionStart;
    field.setRangeText(`${text} `, end - begun.length, end, 'end');
    close();
    field.focus();
    field.dispatchEvent(new Event('input'));
  };
  const mark = at => {
    [...options.children].forEach((option, n) => option.setAttribute('aria-selected', String(n === at)));
    field.setAttribute('aria-activedescendant', `suggestion-${at}`);
  };
  const marked = () => [...options.children].findIndex(option => option.getAttribute('aria-selected') === 'true');
  const offer = () => {
    const guild = guildOf(store.state, channel);
    const begun = BEGUN.exec(field.value.slice(0, field.selectionStart));
    if (!begun || !guild) return close();
    const [, sign, name] = begun;
    const found = sign === '@'
      ? suggest(guild, name).map(member => ({ text: `@${typed(member)}`, sign: avatar(member.user), name: nameOf(member.user, member) }))
      : textChannels(guild).filter(one => one.name.toLowerCase().includes(name.toLowerCase())).slice(0, 8)
        .map(one => ({ text: `#${one.name}`, sign: icon('hash'), name: one.name }));
    if (!found.length) return close();
    options.replaceChildren(...found.map((one, n) => h('div', {
      role: 'option', id: `suggestion-${n}`, class: 'suggestion', onpointerdown: event => {
        event.preventDefault();
        complete(sign + name, one.text);
      },
    }, one.sign, h('span', {}, one.name))));
    options.hidden = false;
    field.setAttribute('aria-expanded', 'true');
    return mark(0);
  };
  const suggesting = event => {
    if (options.hidden) return false;
    const last = options.children.length - 1;
    const at = marked();
    if (event.key === 'ArrowDown') mark(at === last ? 0 : at + 1);
    else if (event.key === 'ArrowUp') mark(at === 0 ? last : at - 1);
    else if (event.key === 'Enter' || event.key === 'Tab') options.children[at].dispatchEvent(new Event('pointerdown', { cancelable: true }));
    else if (event.key === 'Escape') close();
    else return false;
    event.preventDefault();
    event.stopPropagation();
    return true;
  };

  const editLast = () => {
    const last = timelineOf(store.state, channel).messages.findLast(message => message.author.id === store.state.me.id);
    if (last) act.editing(last.id);
    return Boolean(last);
  };
  const touches = matchMedia('(pointer: coarse)');
  field.addEventListener('keydown', event => {
    if (event.isComposing || suggesting(event)) return;
    if (event.key === 'Enter' && !event.shiftKey && !touches.matches) {
      event.preventDefault();
      send();
    } else if (event.key === 'ArrowUp' && !field.value && !event.altKey && editLast()) event.preventDefault();
    else if (event.key === 'Escape' && store.state.replies[channel]) {
      event.stopPropagation();
      store.dispatch({ type: 'reply', channel, id: null });
    }
  });
  field.addEventListener('input', () => {
    changed();
    remember(draft(), field.value || undefined);
    if (field.value.trim()) session.typing(channel);
    offer();
  });
  field.addEventListener('blur', close);

  const unwatch = [
    store.watch(state => {
      const guild = guildOf(state, state.channel);
      const at = channelOf(state, state.channel);
      return [state.channel, at?.name, Boolean(guild && at) && may(guild, at, state.me.id, SEND_MESSAGES)];
    }, (id, name, allowed) => {
      form.hidden = !id || !allowed;
      locked.hidden = !id || allowed;
      field.placeholder = `Message #${name ?? ''}`;
      field.setAttribute('aria-label', `Message #${name ?? ''}`);
      if (id === channel) return;
      channel = id;
      set(id ? recall(draft(), '') : '');
      if (!touches.matches) field.focus({ preventScroll: true });
    }),
    store.watch(state => [state.replies[state.channel], timelineOf(state, state.channel).messages], (id, messages) => {
      const to = id && messages.find(message => message.id === id);
      reply.hidden = !to;
      if (!to) return;
      const guild = guildOf(store.state, channel);
      reply.replaceChildren(icon('reply'), h('span', {}, 'Replying to ', h('strong', {}, nameOf(to.author, guild?.members[to.author.id]))),
        h('span', { class: 'excerpt' }, plain(decode(to.content, guild)).slice(0, 120)),
        iconButton('close', 'Do not reply', () => store.dispatch({ type: 'reply', channel, id: null })));
    }),
    store.watch(state => [state.typing[state.channel], state.me?.id], (users, me) => {
      const guild = guildOf(store.state, store.state.channel);
      const names = Object.keys(users ?? {}).filter(id => id !== me)
        .map(id => nameOf(guild?.members[id]?.user, guild?.members[id])).sort();
      const text = names.length === 0 ? '' : names.length === 1 ? `${names[0]} is typing`
        : names.length < 4 ? `${names.slice(0, -1).join(', ')} and ${names.at(-1)} are typing` : 'Several people are typing';
      typing.replaceChildren(...(text ? [h('span', { class: 'dots', 'aria-hidden': 'true' }, h('i'), h('i'), h('i')), h('span', {}, text)] : []));
    }),
  ];
  return { element, field, close: () => unwatch.forEach(stop => stop()) };
}
