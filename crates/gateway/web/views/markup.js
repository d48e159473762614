// Makes elements of what people wrote: the tree of markdown.js, with names in place of ids.

import { h } from '../dom.js';
import { isJumbo, parse, safeUrl } from '../markdown.js';
import { nameOf } from '../state/guilds.js';

const SPAN = { strong: 'strong', em: 'em', underline: 'u', strike: 's' };

/** The elements of a text. `context`: `{guild, me, everyone, open(channel)}`. */
export function render(text, context) {
  const root = h('div', { class: ['markup', text.length < 60 && isJumbo(text) && 'jumbo'], dir: 'auto' });
  for (const block of parse(text)) root.append(blockOf(block, context));
  return root;
}

function blockOf(block, context) {
  if (block.type === 'fence') return h('pre', { tabIndex: 0, 'aria-label': `Code${block.language ? `, ${block.language}` : ''}` }, h('code', {}, block.text));
  return h(block.type === 'quote' ? 'blockquote' : 'p', {}, block.children.map(node => inlineOf(node, context)));
}

function inlineOf(node, context) {
  if (typeof node === 'string') return node;
  const children = () => node.children.map(child => inlineOf(child, context));
  switch (node.type) {
    case 'code': return h('code', {}, node.text);
    case 'link': return link(node.url, children());
    case 'user': return userMention(node.id, context);
    case 'role': return h('span', { class: ['mention', context.roles?.includes(node.id) && 'me'] }, `@${context.guild?.roles[node.id]?.name ?? 'unknown role'}`);
    case 'channel': return channelMention(node.id, context);
    case 'everyone': return context.everyone ? h('span', { class: 'mention me' }, node.text) : node.text;
    case 'emoji': return h('span', { class: 'custom-emoji' }, `:${node.name}:`);
    default: return h(SPAN[node.type], {}, children());
  }
}

/** A link that tells the other side nothing. Only addresses that are safe get here. */
export function link(url, children) {
  const safe = safeUrl(url);
  if (!safe) return h('span', {}, children);
  return h('a', { href: safe, title: safe, target: '_blank', rel: 'noopener noreferrer nofollow' }, children);
}

function userMention(id, { guild, me, mentions }) {
  const user = guild?.members[id]?.user ?? mentions?.find(one => one.id === id);
  const name = user ? nameOf(user, guild?.members[id]) : 'unknown';
  return h('span', { class: ['mention', id === me?.id && 'me'], title: user?.username }, `@${name}`);
}

function channelMention(id, { guild, open }) {
  const channel = guild?.channels[id];
  if (!channel) return h('span', { class: 'mention' }, '#unknown');
  return h('a', { class: 'mention', href: `#/c/${id}`, onclick: event => { event.preventDefault(); open(id); } }, `#${channel.name}`);
}
