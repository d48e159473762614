// One row of the list of messages: a day, the line before what is new, or a message with what hangs on it.

import { h, icon, keyed } from '../dom.js';
import { plain } from '../markdown.js';
import { decode } from '../mentions.js';
import { nameOf } from '../state/guilds.js';
import { dayText, fullText, momentText, timeText } from '../time.js';
import { editor } from './editor.js';
import { link, render } from './markup.js';
import { avatar, botTag, hidden } from './pieces.js';

/** The element of a row. `context`: `{guild, me, roles, editing, act, open, jump}`. */
export function makeRow(row, context) {
  if (row.kind === 'day') return h('li', { class: 'day', role: 'separator', 'aria-label': dayText(row.at) }, h('span', {}, dayText(row.at)));
  if (row.kind === 'new') return h('li', { class: 'new-line', role: 'separator', 'aria-label': 'New messages' }, h('span', {}, 'New'));
  const { message, pending, first, at } = row;
  const name = nameOf(message.author, context.guild?.members[message.author.id]);
  const editing = message.id && context.editing === message.id;
  const time = h('time', { datetime: new Date(at).toISOString(), title: fullText(at) }, first ? momentText(at) : timeText(at));
  return h('li', {
    class: ['message', first && 'first', row.mentioned && 'mentioned', pending && `pending ${pending.state}`, editing && 'editing'],
    tabIndex: -1, data: { id: message.id ?? '', nonce: message.nonce ?? pending?.nonce ?? '', author: message.author.id },
  },
  message.type === 19 && answered(message, context),
  h('div', { class: 'gutter' }, first ? avatar(message.author, name) : time),
  h('div', { class: 'body' },
    first ? h('div', { class: 'byline' }, h('span', { class: 'author' }, name), botTag(message.author), time) : hidden(`${name}: `),
    editing ? editor(message, context) : content(message, context),
    (message.embeds ?? []).map(one => embed(one, context)),
    reactions(message, context),
    pending && delivery(pending, context)));
}

function content(message, context) {
  const around = { ...context, everyone: message.mention_everyone, mentions: message.mentions };
  const body = render(message.content, around);
  if (message.edited_timestamp) {
    const edited = h('span', { class: 'edited', title: fullText(Date.parse(message.edited_timestamp)) }, ' (edited)');
    (body.lastElementChild?.tagName === 'P' ? body.lastElementChild : body).append(edited);
  }
  return body;
}

/** The message that this one answers. */
function answered(message, { guild, jump }) {
  const to = message.referenced_message;
  if (!to) return h('div', { class: 'answered' }, icon('reply'), h('span', {}, to === null ? 'The message it answers was deleted' : 'Answers a message'));
  const text = plain(decode(to.content, guild)) || 'no text';
  return h('button', { type: 'button', class: 'answered', onclick: () => jump(to.id), tabIndex: -1 },
    icon('reply'), hidden('Answers '), h('strong', {}, nameOf(to.author, guild?.members[to.author.id])), h('span', { class: 'excerpt' }, text.slice(0, 160)));
}

function reactions(message, { act }) {
  if (!message.reactions?.length) return null;
  const list = h('div', { class: 'reactions', role: 'group', 'aria-label': 'Reactions' });
  keyed(list, message.reactions, {
    key: given => given.emoji.id ?? given.emoji.name,
    parts: given => [given.count, given.me],
    make: given => {
      const name = given.emoji.id ? `:${given.emoji.name}:` : given.emoji.name;
      return h('button', {
        type: 'button', class: ['reaction', given.me && 'mine'], 'aria-pressed': String(given.me), data: { focus: `reaction-${name}` },
        'aria-label': `${name}, ${given.count}${given.me ? ', yours' : ''}`, onclick: () => act.react(message, given.emoji, !given.me),
      }, h('span', { class: 'emoji' }, name), h('span', { class: 'count' }, String(given.count)));
    },
  });
  list.append(h('button', {
    type: 'button', class: 'reaction add', 'aria-label': 'Add a reaction', title: 'Add a reaction', data: { focus: 'reaction-add' },
    onclick: event => act.pick(message, event.currentTarget),
  }, icon('smile')));
  return list;
}

/** How it stands with an own message that is not acknowledged. */
function delivery(pending, { act }) {
  if (pending.state !== 'failed') return h('div', { class: 'delivery' }, pending.state === 'waiting' ? `${pending.reason}. Sending again…` : hidden('Sending…'));
  return h('div', { class: 'delivery', role: 'alert' }, h('span', {}, `Not sent: ${pending.reason}.`),
    h('button', { type: 'button', class: 'link', onclick: () => act.retry(pending) }, 'Try again'),
    h('button', { type: 'button', class: 'link', onclick: () => act.discard(pending) }, 'Discard'));
}

/** What bots put below their words: texts only, since nothing is loaded from elsewhere. */
function embed(one, context) {
  if (!one.title && !one.description && !one.fields?.length && !one.author && !one.footer) return null;
  const title = one.title && render(one.title, context);
  const element = h('div', { class: 'embed' },
    one.author?.name && h('div', { class: 'embed-author' }, one.author.name),
    title && h('div', { class: 'embed-title' }, one.url ? link(one.url, [title]) : title),
    one.description && render(one.description, context),
    one.fields?.length > 0 && h('dl', { class: 'embed-fields' }, one.fields.map(field =>
      h('div', { class: field.inline && 'inline' }, h('dt', {}, render(field.name, context)), h('dd', {}, render(field.value, context))))),
    one.footer?.text && h('div', { class: 'embed-footer' }, one.footer.text));
  if (one.color) element.style.borderInlineStartColor = `#${Number(one.color).toString(16).padStart(6, '0')}`;
  return element;
}
