// What somebody may do in a channel: the API's algorithm, to show only what would succeed. The server decides. Pure.

export const ADD_REACTIONS = 1n << 6n;
export const SEND_MESSAGES = 1n << 11n;
export const MANAGE_MESSAGES = 1n << 13n;
export const READ_MESSAGE_HISTORY = 1n << 16n;
const ADMINISTRATOR = 1n << 3n;
const EVERYTHING = ~0n;

/** The permissions of a member in a channel of a workspace, as a set of bits. */
export function permissions(guild, channel, userId) {
  const member = guild.members[userId];
  if (guild.owner_id === userId) return EVERYTHING;
  if (!member) return 0n;
  const roles = [guild.id, ...member.roles];
  let held = roles.reduce((bits, id) => bits | BigInt(guild.roles[id]?.permissions ?? 0), 0n);
  if (held & ADMINISTRATOR) return EVERYTHING;
  const overwrites = channel.permission_overwrites ?? [];
  const layers = [
    overwrites.filter(over => over.id === guild.id),
    overwrites.filter(over => over.id !== guild.id && member.roles.includes(over.id)),
    overwrites.filter(over => over.id === userId),
  ];
  for (const layer of layers) {
    const deny = layer.reduce((bits, over) => bits | BigInt(over.deny), 0n);
    const allow = layer.reduce((bits, over) => bits | BigInt(over.allow), 0n);
    held = (held & ~deny) | allow;
  }
  return held;
}

/** Whether somebody may do something in a channel. */
export const may = (guild, channel, userId, bit) => (permissions(guild, channel, userId) & bit) === bit;
