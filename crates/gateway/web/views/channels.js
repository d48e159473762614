// The side with workspaces and channels: what is unread, who calls, where one is; and oneself at its foot.

import { h, icon, iconButton, keyed } from '../dom.js';
import { isText, isVoice, layout, textChannels } from '../state/guilds.js';
import { nothing, total } from '../state/reads.js';
import { guildOf } from '../state/reduce.js';
import { recall } from '../storage.js';
import { showHelp } from './dialog.js';
import { STATUS, avatar, hidden, presence } from './pieces.js';
import { menu } from './popup.js';
import { setTheme } from './theme.js';
import { createVoicePanel, peopleIn, peopleKey, showSpeaking, voiceRow } from './voice.js';

export function createChannels({ store, session, opened }) {
  const rail = h('ul', { class: 'rail', 'aria-label': 'Workspaces' });
  const title = h('h1', { class: 'workspace-name' });
  const list = h('ul', { class: 'channels' });
  const nav = h('nav', { 'aria-label': 'Channels' }, list);
  const self = h('div', { class: 'self' });
  const voice = createVoicePanel({ store, session });
  const element = h('div', { class: 'side' }, rail, h('div', { class: 'side-main' }, h('header', { class: 'side-head' }, title), nav, voice.element, self));
  const go = id => {
    session.open(id);
    opened();
  };

  const channelRow = ({ channel, current, read, guild, joined, people }) => {
    if (isVoice(channel)) {
      return voiceRow({ channel, joined, people, speaking: store.state.voice.speaking, join: () => session.voice.join(guild.id, channel.id) });
    }
    const label = [h('span', { class: 'channel-name' }, channel.name)];
    if (read.mentions > 0) label.push(h('span', { class: 'badge' }, String(read.mentions), hidden(' mentions')));
    else if (read.unread > 0) label.push(hidden(`, ${read.unread} unread`));
    if (!isText(channel)) return h('li', {}, h('div', { class: 'channel closed', title: 'Not part of this page' }, icon('hash'), label));
    return h('li', {}, h('a', {
      class: ['channel', current && 'current', read.unread > 0 && !current && 'unread'], href: `#/c/${channel.id}`, 'aria-current': current ? 'page' : null,
      data: { focus: 'channel', channel: channel.id },
      onclick: event => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        go(channel.id);
      },
    }, icon('hash'), label));
  };

  const showChannels = (guild, current, reads, joined) => {
    title.textContent = guild?.name ?? '';
    const items = guild ? layout(guild).flatMap(({ category, channels }) => [
      ...(category ? [{ category }] : []),
      ...channels.map(channel => ({
        channel, guild, current: channel.id === current, read: reads[channel.id] ?? nothing,
        joined: channel.id === joined, people: isVoice(channel) ? peopleIn(guild, channel.id) : [],
      })),
    ]) : [];
    keyed(list, items, {
      key: item => (item.category ?? item.channel).id,
      parts: item => (item.category ? [item.category.name] : [item.channel.name, item.channel.type, item.current, item.read.mentions, item.read.unread, item.joined, peopleKey(item.people)]),
      make: item => (item.category ? h('li', { class: 'category' }, item.category.name) : channelRow(item)),
    });
  };

  const showRail = (order, guilds, current, reads) => {
    rail.hidden = order.length < 2;
    keyed(rail, order.map(id => guilds[id]).filter(Boolean).map(guild => {
      const channels = textChannels(guild);
      return { guild, first: channels[0]?.id, here: guild.channels[current] !== undefined, ...total(reads, channels.map(one => one.id)) };
    }), {
      key: item => item.guild.id,
      parts: item => [item.guild.name, item.first, item.here, item.unread > 0, item.mentions],
      make: ({ guild, first, here, unread, mentions }) => h('li', {}, h('button', {
        type: 'button', class: ['workspace', here && 'current', unread && 'unread'], title: guild.name, 'aria-current': here ? 'true' : null, data: { focus: 'workspace' },
        onclick: () => first && session.open(recall(`last:${guild.id}`, first)),
      }, avatar(guild, guild.name), hidden(guild.name), mentions > 0 && h('span', { class: 'badge' }, String(mentions)))),
    });
  };

  const showSelf = (me, status) => {
    if (!me) return;
    const shown = status === 'offline' ? 'invisible' : status;
    const button = () => h('button', { type: 'button', class: 'self-button', 'aria-haspopup': 'menu', onclick: event => selfMenu(event.currentTarget) },
      h('span', { class: 'with-presence' }, avatar(me), presence(shown)),
      h('span', { class: 'self-text' }, h('strong', {}, me.global_name || me.username), h('span', {}, STATUS[shown])));
    keyed(self, ['self', 'help'], {
      key: part => part,
      parts: part => (part === 'self' ? [me, shown] : []),
      make: part => (part === 'self' ? button() : iconButton('help', 'Keyboard shortcuts', showHelp)),
    });
  };

  const selfMenu = anchor => {
    const status = store.state.status;
    const theme = recall('theme', 'system');
    const choice = value => ({ label: STATUS[value], checked: status === value, mark: h('span', { class: ['presence', value] }), run: () => session.setStatus(value) });
    const look = (value, label) => ({ label, checked: theme === value, icon: 'theme', run: () => setTheme(value) });
    menu(anchor, 'You', [
      ...['online', 'idle', 'dnd', 'invisible'].map(choice), null,
      look('system', 'Theme: as the system'), look('light', 'Theme: light'), look('dark', 'Theme: dark'), null,
      { label: 'Sign out', icon: 'leave', run: () => session.signOut() },
    ], { align: 'start' });
  };

  const here = state => guildOf(state, state.channel) ?? state.guilds[state.order[0]];
  const unwatch = [
    store.watch(state => [here(state), state.channel, state.reads, state.voice.channel], showChannels),
    store.watch(state => [state.voice.speaking], speaking => showSpeaking(list, speaking)),
    store.watch(state => [state.order, state.guilds, state.channel, state.reads], showRail),
    store.watch(state => [state.me, state.status], showSelf),
  ];
  return { element, close: () => [...unwatch, voice.close].forEach(stop => stop()) };
}
