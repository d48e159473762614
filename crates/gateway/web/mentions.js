// Between what people type (@ada, #general) and what is sent (<@1>, <#2>). Pure.

import { nameOf, textChannels } from './state/guilds.js';

const NAME = /(^|[\s(])([@#])([\p{L}\p{N}._-]+)/gu;
/** Parts of a text in which nothing is a mention. */
const CODE = /(```[\s\S]*?```|`[^`\n]*`)/;

/** Puts ids for the names of members and channels. */
export function encode(text, guild) {
  if (!guild) return text;
  const users = new Map();
  for (const member of Object.values(guild.members)) {
    for (const name of [nameOf(member.user, member), member.user.username]) users.set(name.toLowerCase(), member.user.id);
  }
  const channels = new Map(textChannels(guild).map(channel => [channel.name.toLowerCase(), channel.id]));
  const put = (whole, before, sign, name) => {
    const known = sign === '@' ? users : channels;
    // A name may be followed by a full stop.
    for (let end = name.length; end > 0; end = name.slice(0, end).search(/[._-][^._-]*$/)) {
      const id = known.get(name.slice(0, end).toLowerCase());
      if (id) return `${before}<${sign}${id}>${name.slice(end)}`;
    }
    return whole;
  };
  return text.split(CODE).map((part, n) => (n % 2 ? part : part.replace(NAME, put))).join('');
}

/** Puts names for ids, so that a text can be edited. */
export function decode(text, guild) {
  if (!guild) return text;
  return text
    .replace(/<@!?(\d+)>/g, (whole, id) => (guild.members[id] ? `@${typed(guild.members[id])}` : whole))
    .replace(/<#(\d+)>/g, (whole, id) => (guild.channels[id] ? `#${guild.channels[id].name}` : whole));
}

/** What to type to mention a member: a name without gaps. */
export function typed(member) {
  const name = nameOf(member.user, member);
  return /\s/.test(name) ? member.user.username : name;
}

/** Members whose name goes on with what was begun, best first. */
export function suggest(guild, begun, limit = 8) {
  const wanted = begun.toLowerCase();
  const rank = member => Math.min(...[nameOf(member.user, member), member.user.username].map(name => {
    const at = name.toLowerCase().indexOf(wanted);
    return at < 0 ? Infinity : at;
  }));
  return Object.values(guild.members)
    .map(member => ({ member, rank: rank(member) }))
    .filter(one => one.rank !== Infinity)
    .sort((a, b) => a.rank - b.rank || nameOf(a.member.user, a.member).localeCompare(nameOf(b.member.user, b.member)))
    .slice(0, limit)
    .map(one => one.member);
}
