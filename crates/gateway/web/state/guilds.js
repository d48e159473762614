// Workspaces as the gateway tells of them: channels, roles, members, who is there. Pure functions.

const TEXT = 0;
const VOICE = 2;
const CATEGORY = 4;

const byKey = (list, key) => Object.fromEntries(list.map(one => [key(one), one]));
const without = (object, key) => {
  const { [key]: _, ...rest } = object;
  return rest;
};

/** A workspace from GUILD_CREATE. */
export function fromCreate(d) {
  return {
    id: d.id, name: d.name, owner_id: d.owner_id, large: d.large, member_count: d.member_count,
    roles: byKey(d.roles, role => role.id),
    channels: byKey(d.channels, channel => channel.id),
    members: byKey(d.members, member => member.user.id),
    presences: Object.fromEntries(d.presences.map(p => [p.user.id, p.status])),
    /** User → where they are in voice. */
    voices: byKey((d.voice_states ?? []).filter(state => state.channel_id), state => state.user_id),
  };
}

/** What a dispatch changes about the workspace it is of. */
export function apply(guild, type, d) {
  switch (type) {
    case 'GUILD_UPDATE':
      return { ...guild, name: d.name, owner_id: d.owner_id, roles: d.roles ? byKey(d.roles, role => role.id) : guild.roles };
    case 'CHANNEL_CREATE':
    case 'CHANNEL_UPDATE':
      return { ...guild, channels: { ...guild.channels, [d.id]: { ...guild.channels[d.id], ...d } } };
    case 'CHANNEL_DELETE':
      return { ...guild, channels: without(guild.channels, d.id) };
    case 'GUILD_ROLE_CREATE':
    case 'GUILD_ROLE_UPDATE':
      return { ...guild, roles: { ...guild.roles, [d.role.id]: d.role } };
    case 'GUILD_ROLE_DELETE':
      return { ...guild, roles: without(guild.roles, d.role_id) };
    case 'GUILD_MEMBER_ADD':
    case 'GUILD_MEMBER_UPDATE': {
      const is_new = !guild.members[d.user.id];
      const members = { ...guild.members, [d.user.id]: { ...guild.members[d.user.id], ...d } };
      return { ...guild, members, member_count: guild.member_count + (is_new && type === 'GUILD_MEMBER_ADD' ? 1 : 0) };
    }
    case 'GUILD_MEMBER_REMOVE':
      return {
        ...guild, members: without(guild.members, d.user.id), presences: without(guild.presences, d.user.id),
        member_count: Math.max(0, guild.member_count - 1),
      };
    case 'GUILD_MEMBERS_CHUNK':
      return {
        ...guild,
        members: { ...guild.members, ...byKey(d.members, member => member.user.id) },
        presences: { ...guild.presences, ...Object.fromEntries((d.presences ?? []).map(p => [p.user.id, p.status])) },
      };
    case 'VOICE_STATE_UPDATE': {
      const voices = d.channel_id ? { ...guild.voices, [d.user_id]: d } : without(guild.voices, d.user_id);
      const is_known = !d.member?.user || guild.members[d.user_id];
      return { ...guild, voices, members: is_known ? guild.members : { ...guild.members, [d.user_id]: d.member } };
    }
    case 'PRESENCE_UPDATE':
      return { ...guild, presences: { ...guild.presences, [d.user.id]: d.status } };
    default:
      return guild;
  }
}

/** What somebody is called in a workspace. */
export function nameOf(user, member) {
  return member?.nick || user?.global_name || user?.username || 'unknown';
}

/** Channels in the order to show them, by their headings: `[{category, channels}]`; those under none come first. */
export function layout(guild) {
  const order = (a, b) => (a.type === VOICE) - (b.type === VOICE) || a.position - b.position || a.name.localeCompare(b.name);
  const all = Object.values(guild.channels);
  const categories = all.filter(channel => channel.type === CATEGORY).sort(order);
  const known = new Set(categories.map(category => category.id));
  const under = id => all
    .filter(channel => channel.type !== CATEGORY && (known.has(channel.parent_id) ? channel.parent_id : null) === id)
    .sort(order);
  return [{ category: null, channels: under(null) }, ...categories.map(category => ({ category, channels: under(category.id) }))]
    .filter(section => section.channels.length > 0 || section.category);
}

/** Text channels in the order they are shown. */
export const textChannels = guild => layout(guild).flatMap(section => section.channels).filter(isText);

export const isText = channel => channel.type === TEXT;
export const isVoice = channel => channel.type === VOICE;

/** Members in the order to show them: who is there, then who is not; by name. */
export function roster(guild) {
  const entry = member => ({
    id: member.user.id, user: member.user, name: nameOf(member.user, member), status: guild.presences[member.user.id] ?? 'offline',
  });
  const all = Object.values(guild.members).map(entry).sort((a, b) => a.name.localeCompare(b.name));
  return { here: all.filter(one => one.status !== 'offline'), away: all.filter(one => one.status === 'offline') };
}
