// The page of somebody who is signed in: channels, messages, members, put together; and the keys that work everywhere.

import { h, icon, iconButton } from '../dom.js';
import { plain } from '../markdown.js';
import { decode } from '../mentions.js';
import { addressed } from '../session.js';
import { nameOf, textChannels } from '../state/guilds.js';
import { isMentioned, total } from '../state/reads.js';
import { channelOf, guildOf, timelineOf } from '../state/reduce.js';
import { newest } from '../state/timeline.js';
import { recall, remember } from '../storage.js';
import { createActs } from './act.js';
import { createChannels } from './channels.js';
import { createComposer } from './composer.js';
import { showHelp, showSwitcher } from './dialog.js';
import { createLink } from './link.js';
import { createMembers } from './members.js';
import { createNotices } from './pieces.js';
import { createSearch } from './search.js';
import { createTimeline } from './timeline.js';

/** Wider than this, the members stand beside the messages. */
const WIDE = matchMedia('(min-width: 1100px)');

/** Shows the workspace; answers how to take it away. */
export function showWorkspace(root, { store, session }) {
  const { element: notices, notice } = createNotices();
  const act = createActs({ store, session, notice });
  const parts = { store, session, act, notice };
  const drawer = name => {
    frame.dataset.drawer = frame.dataset.drawer === name ? '' : name;
    menuButton.setAttribute('aria-expanded', String(frame.dataset.drawer === 'channels'));
  };
  const channels = createChannels({ ...parts, opened: () => { frame.dataset.drawer = ''; } });
  const timeline = createTimeline(parts);
  const composer = createComposer(parts);
  const members = createMembers(parts);
  const link = createLink(parts);
  const search = createSearch({
    ...parts,
    async jump(channel, id) {
      if (!matchMedia('(min-width: 820px)').matches) search.hide();
      await timeline.goTo(channel, id).catch(error => notice(`The message could not be shown: ${error.message}`, { kind: 'error' }));
    },
  });
  const said = h('div', { class: 'hidden', role: 'log', 'aria-live': 'polite' });

  const menuButton = iconButton('menu', 'Channels', () => drawer('channels'), { class: 'narrow', 'aria-expanded': 'false' });
  const name = h('h2', { class: 'channel-title' });
  const topic = h('p', { class: 'topic' });
  const peopleButton = iconButton('people', 'Members', () => people(), { 'aria-controls': 'members' });
  const people = () => {
    if (!WIDE.matches) return drawer('members');
    const on = frame.dataset.members === 'off';
    frame.dataset.members = on ? 'on' : 'off';
    remember('members', frame.dataset.members, true);
    return peopleButton.setAttribute('aria-expanded', String(on));
  };
  const head = h('header', { class: 'head' }, menuButton, h('div', { class: 'head-text' }, name, topic),
    h('div', { class: 'head-tools' },
      h('button', { type: 'button', class: 'goto', onclick: () => showSwitcher(parts), title: 'Go to a channel' }, icon('search'), h('span', {}, 'Go to…'), h('kbd', {}, 'Ctrl K')),
      iconButton('find', 'Search messages', () => search.open(), { 'aria-keyshortcuts': 'Control+Shift+F' }), peopleButton));
  const frame = h('div', { class: 'frame', data: { drawer: '', members: recall('members', 'on') } },
    h('a', { class: 'skip', href: '#message', onclick: event => { event.preventDefault(); composer.field.focus(); } }, 'Skip to writing a message'),
    channels.element, h('main', { class: 'main' }, head, link.element, timeline.element, composer.element), members.element, search.element,
    h('div', { class: 'shade', onclick: () => { frame.dataset.drawer = ''; } }), notices, said);
  root.replaceChildren(frame);

  session.notify = (message, before) => {
    const { state } = store;
    if (message.author.id === state.me?.id) return;
    const at = message.channel_id;
    const guild = guildOf(state, at);
    const roles = guild?.members[state.me?.id]?.roles ?? [];
    const now = timelineOf(state, at);
    if (at === state.channel && !timeline.isAttending() && now.divider === null && now.loaded && !now.detached) {
      store.dispatch({ type: 'divide', channel: at, after: newest(timelineOf(before, at)) ?? '0' });
    }
    if (at !== state.channel && !isMentioned(message, state.me.id, roles)) return;
    const where = at === state.channel ? '' : ` in ${channelOf(state, at)?.name ?? 'another channel'}`;
    const who = nameOf(message.author, guild?.members[message.author.id]);
    said.append(h('p', {}, `${who}${where}: ${plain(decode(message.content, guild)).slice(0, 200)}`));
    while (said.children.length > 5) said.firstChild.remove();
  };

  const step = (by, unread) => {
    const { state } = store;
    const all = textChannels(guildOf(state, state.channel) ?? { channels: {} }).map(channel => channel.id);
    const from = all.indexOf(state.channel);
    for (let n = 1; n <= all.length; n += 1) {
      const id = all[(from + by * n + all.length * n) % all.length];
      if (!unread || state.reads[id]?.unread) return session.open(id);
    }
    return undefined;
  };
  const keys = event => {
    const typing = event.target.closest?.('input, textarea, select, dialog, .popup');
    const command = event.ctrlKey || event.metaKey;
    if (command && event.key.toLowerCase() === 'k') showSwitcher(parts);
    else if (command && event.shiftKey && event.key.toLowerCase() === 'f') search.open();
    else if ((command && event.key === '/') || (event.key === '?' && !typing)) showHelp();
    else if (event.altKey && (event.key === 'ArrowUp' || event.key === 'ArrowDown')) step(event.key === 'ArrowUp' ? -1 : 1, event.shiftKey);
    else if (event.key === 'Escape' && !event.target.closest?.('dialog, .popup')) leave();
    else if (event.key.length === 1 && !command && !event.altKey && !typing && !event.target.closest?.('.message, button, a, .search')) {
      composer.field.focus();
      return;
    } else return;
    event.preventDefault();
  };
  /** Escape: closes a drawer, else everything here is read. */
  const leave = () => {
    if (frame.dataset.drawer) {
      frame.dataset.drawer = '';
      return menuButton.focus();
    }
    store.dispatch({ type: 'divide', channel: store.state.channel, after: null });
    timeline.toEnd(false);
    return composer.field.focus();
  };
  const follow = () => addressed() && session.open(addressed());
  document.addEventListener('keydown', keys);
  window.addEventListener('hashchange', follow);

  const unwatch = [
    store.watch(state => [channelOf(state, state.channel), state.reads, state.order, state.guilds], (channel, reads, order, guilds) => {
      const all = order.flatMap(id => (guilds[id] ? textChannels(guilds[id]).map(one => one.id) : []));
      const { unread, mentions } = total(reads, all);
      const mark = mentions > 0 ? `(${mentions}) ` : unread > 0 ? '• ' : '';
      document.title = `${mark}${channel ? `#${channel.name} – ` : ''}Clarion`;
      name.textContent = channel ? channel.name : '';
      topic.textContent = channel?.topic ?? '';
      timeline.scroller.setAttribute('aria-label', `Messages in #${channel?.name ?? ''}`);
      const guild = channel && guildOf(store.state, channel.id);
      if (guild) remember(`last:${guild.id}`, channel.id);
    }),
    store.watch(state => [state.ready, state.channel, state.order.length], (ready, channel, count) => {
      const begins = ready && frame.classList.contains('starting');
      frame.classList.toggle('starting', !ready);
      // What is hidden takes no focus.
      if (begins && !matchMedia('(pointer: coarse)').matches) composer.field.focus({ preventScroll: true });
      frame.classList.toggle('nowhere', ready && !channel && count === 0);
    }),
  ];
  return () => {
    [...unwatch, channels.close, timeline.close, composer.close, members.close, link.close, search.close].forEach(stop => stop());
    document.removeEventListener('keydown', keys);
    window.removeEventListener('hashchange', follow);
    document.querySelectorAll('dialog, .popup').forEach(one => one.remove());
    delete document.documentElement.dataset.link;
  };
}
