// Finds messages: a field with filters, what was found with the words marked, and the way to each in its place.

import { arrows, h, iconButton } from '../dom.js';
import { nameOf } from '../state/guilds.js';
import { channelOf, guildOf } from '../state/reduce.js';
import { FILTERS, complete, mark, read, terms } from '../state/search.js';
import { timeOf } from '../ids.js';
import { fullText, momentText } from '../time.js';
import { render } from './markup.js';
import { avatar, botTag, hidden } from './pieces.js';

/** The API's page, and the furthest that it goes. */
const PAGE = 25;
const FURTHEST = 9_975;
/** So long after the last letter it is asked. */
const TYPING_MS = 350;

const SORTS = { newest: ['Newest', ''], oldest: ['Oldest', '&sort_order=asc'], best: ['Best match', '&sort_by=relevance'] };

/** `jump(channel, id)` shows a message in its place. */
export function createSearch({ store, session, jump }) {
  let turn = 0;
  let timer = null;
  let came = null;
  let sort = 'newest';
  const field = h('input', { type: 'text', role: 'searchbox', id: 'search', placeholder: 'Search messages', 'aria-label': 'Search messages', autocomplete: 'off', spellcheck: 'false', 'aria-controls': 'found' });
  const options = h('div', { class: 'search-options', role: 'group', 'aria-label': 'Filters' });
  const sorts = h('div', { class: 'search-sorts', role: 'group', 'aria-label': 'Order' }, Object.entries(SORTS).map(([name, [label]]) =>
    h('button', { type: 'button', data: { sort: name }, 'aria-pressed': String(name === sort), onclick: () => order(name) }, label)));
  const count = h('p', { class: 'search-count', role: 'status' });
  const found = h('ol', { class: 'found-list', id: 'found', 'aria-label': 'Messages that were found' });
  const more = h('button', { type: 'button', class: 'search-more', hidden: true, onclick: () => ask(found.childElementCount) }, 'More');
  const element = h('aside', { class: 'search', 'aria-label': 'Search', hidden: true },
    h('header', {}, field, iconButton('close', 'Close the search', () => close())), options, sorts, count,
    h('div', { class: 'found-scroller' }, found, more));

  const here = () => guildOf(store.state, store.state.channel);

  const open = () => {
    if (!here()) return;
    if (element.hidden) came = document.activeElement;
    element.hidden = false;
    offer();
    field.focus();
    field.select();
  };

  const close = () => {
    if (element.hidden) return false;
    stop();
    element.hidden = true;
    (came?.isConnected ? came : document.querySelector('.composer textarea'))?.focus();
    return true;
  };

  const stop = () => {
    turn += 1;
    clearTimeout(timer);
  };

  const order = name => {
    sort = name;
    for (const button of sorts.children) button.setAttribute('aria-pressed', String(button.dataset.sort === name));
    ask(0);
  };

  /** The filters there are, or what completes the one that is typed. */
  const offer = () => {
    const completion = here() && complete(field.value, here());
    const put = text => {
      const before = completion ? field.value.slice(0, field.value.length - completion.begun.length) : field.value.replace(/(\S)$/, '$1 ');
      field.value = before + text;
      field.focus();
      typed();
    };
    const choices = completion?.options.length ? completion.options.map(text => [text, `${text} `]) : FILTERS.map(name => [`${name}:`, `${name}:`]);
    options.replaceChildren(...choices.map(([label, text]) => h('button', { type: 'button', class: 'filter', onclick: () => put(text) }, label)));
  };

  const typed = () => {
    offer();
    stop();
    timer = setTimeout(() => ask(0), TYPING_MS);
  };

  const say = (text, kind = '') => {
    count.textContent = text;
    count.className = `search-count ${kind}`;
  };

  const clear = () => {
    found.replaceChildren();
    more.hidden = true;
  };

  const ask = async offset => {
    stop();
    const mine = turn;
    const guild = here();
    const { query, text, faults } = read(field.value, guild);
    sorts.hidden = !query;
    if (faults.length || !query) {
      clear();
      return say(faults[0] ?? '', faults.length ? 'fault' : '');
    }
    element.setAttribute('aria-busy', 'true');
    try {
      const { data } = await session.api.get(`/guilds/${guild.id}/messages/search?${query}${SORTS[sort][1]}&limit=${PAGE}&offset=${offset}`);
      if (mine !== turn) return undefined;
      if (data.code === 110000) {
        clear();
        say('The history is still being indexed. It is asked again in a moment.');
        timer = setTimeout(() => ask(0), Math.max(250, data.retry_after * 1_000));
        return undefined;
      }
      show(data, guild, terms(text), offset);
    } catch (error) {
      if (mine === turn) say(`It could not be searched: ${error.message}`, 'fault');
    } finally {
      if (mine === turn) element.removeAttribute('aria-busy');
    }
    return undefined;
  };

  const show = (data, guild, wanted, offset) => {
    const total = data.total_results;
    say(`${total === 0 ? 'No message' : total === 1 ? '1 message' : `${total.toLocaleString()} messages`}${data.doing_deep_historical_index ? ' so far' : ''}`);
    const rows = data.messages.map(([message]) => rowOf(message, guild, wanted));
    if (offset === 0) found.replaceChildren(...rows);
    else found.append(...rows);
    const shown = found.childElementCount;
    more.hidden = data.messages.length < PAGE || shown >= total || shown > FURTHEST;
    if (offset > 0) rows[0]?.firstChild.focus();
  };

  const rowOf = (message, guild, wanted) => {
    const name = nameOf(message.author, guild.members[message.author.id]);
    const channel = channelOf(store.state, message.channel_id);
    const at = timeOf(message.id);
    const body = render(message.content, { guild, me: store.state.me, mentions: message.mentions, everyone: message.mention_everyone, open: id => session.open(id) });
    // What is in it cannot be used here: the whole row leads to the message.
    body.inert = true;
    marked(body, wanted);
    return h('li', {}, h('div', {
      class: 'found-row', role: 'button', tabIndex: 0, data: { id: message.id },
      onclick: () => go(message), onkeydown: event => event.target === event.currentTarget && ['Enter', ' '].includes(event.key) && (event.preventDefault(), go(message)),
    }, avatar(message.author, name), h('div', { class: 'found-text' },
      h('div', { class: 'byline' }, h('span', { class: 'author' }, name), botTag(message.author), hidden(' in '), h('span', { class: 'found-channel' }, `#${channel?.name ?? '…'}`),
        h('time', { datetime: new Date(at).toISOString(), title: fullText(at) }, momentText(at))), body)));
  };

  const go = message => jump(message.channel_id, message.id);

  field.addEventListener('input', typed);
  element.addEventListener('keydown', event => {
    if (event.key === 'Escape') {
      event.preventDefault();
      event.stopPropagation();
      close();
    } else if (event.key === 'Enter' && event.target === field) {
      event.preventDefault();
      ask(0);
    } else if (event.key === 'Tab' && event.target === field && !event.shiftKey && complete(field.value, here())?.options.length) {
      event.preventDefault();
      options.firstChild.click();
    } else if (event.key === 'ArrowDown' || event.key === 'ArrowUp' || (event.target !== field && ['Home', 'End'].includes(event.key))) {
      arrows(event, [field, ...found.querySelectorAll('.found-row')]);
    }
  });
  sorts.hidden = true;
  // Another workspace has other messages.
  const unwatch = store.watch(state => [guildOf(state, state.channel)?.id], () => {
    stop();
    field.value = '';
    clear();
    say('');
    sorts.hidden = true;
  });
  return { element, open, hide: close, close: () => { stop(); unwatch(); } };
}

/** Marks words in an element. */
function marked(element, wanted) {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) texts.push(walker.currentNode);
  for (const node of texts) {
    const pieces = mark(node.data, wanted);
    if (pieces.some(piece => piece.hit)) node.replaceWith(...pieces.map(piece => (piece.hit ? h('mark', {}, piece.text) : piece.text)));
  }
}
