// Who is in the workspace, and who of them is there.

import { h, keyed } from '../dom.js';
import { roster } from '../state/guilds.js';
import { guildOf } from '../state/reduce.js';
import { avatar, botTag, presence } from './pieces.js';

/** Most members shown of each kind. */
const SHOWN = 250;

export function createMembers({ store }) {
  const part = label => {
    const title = h('h2', {});
    const list = h('ul', { 'aria-label': label });
    const more = h('p', { class: 'hint' });
    return { title, list, more, all: [title, list, more] };
  };
  const here = part('Online members');
  const away = part('Offline members');
  const element = h('aside', { class: 'members', 'aria-label': 'Members', id: 'members' }, here.all, away.all);

  const show = (of, label, members, owner) => {
    of.title.textContent = `${label} — ${members.length}`;
    of.title.hidden = members.length === 0;
    of.more.textContent = members.length > SHOWN ? `and ${members.length - SHOWN} more` : '';
    keyed(of.list, members.slice(0, SHOWN), {
      key: one => one.id,
      parts: one => [one.name, one.status, one.user.bot, one.id === owner],
      make: one => h('li', { class: ['member', one.status], data: { user: one.id, status: one.status } },
        h('span', { class: 'with-presence' }, avatar(one.user, one.name), presence(one.status)),
        h('span', { class: 'member-name' }, one.name), botTag(one.user),
        one.id === owner && h('span', { class: 'hint', title: 'Owns the workspace' }, 'owner')),
    });
  };
  const close = store.watch(state => {
    const guild = guildOf(state, state.channel);
    return [guild?.members, guild?.presences];
  }, () => {
    const guild = guildOf(store.state, store.state.channel);
    if (!guild) return;
    const { here: present, away: absent } = roster(guild);
    show(here, 'Online', present, guild.owner_id);
    show(away, 'Offline', absent, guild.owner_id);
  });
  return { element, close };
}
