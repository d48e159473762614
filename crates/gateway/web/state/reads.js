// What has been read: per channel the last id that was, and how many messages and mentions came since. Pure functions.

import { isAfter } from '../ids.js';

/** A channel of which nothing is unread. */
export const nothing = Object.freeze({ last_read_id: null, unread: 0, mentions: 0 });

/** Whether a message calls somebody by name, by a role of theirs, or calls everybody. */
export function isMentioned(message, me, roles = []) {
  return Boolean(message.mention_everyone)
    || (message.mentions ?? []).some(user => user.id === me)
    || (message.mention_roles ?? []).some(role => roles.includes(role));
}

/** A message came. One's own is read, and so is everything before it. */
export function count(reads, message, me, roles) {
  const channel = message.channel_id;
  const state = reads[channel] ?? nothing;
  if (!isAfter(message.id, state.last_read_id)) return reads;
  const next = message.author.id === me
    ? { last_read_id: message.id, unread: 0, mentions: 0 }
    : { ...state, unread: state.unread + 1, mentions: state.mentions + (isMentioned(message, me, roles) ? 1 : 0) };
  return { ...reads, [channel]: next };
}

/** Everything up to a message is read. */
export function markRead(reads, channel, id) {
  const state = reads[channel] ?? nothing;
  if (!isAfter(id, state.last_read_id) && state.unread === 0) return reads;
  return { ...reads, [channel]: { last_read_id: isAfter(id, state.last_read_id) ? id : state.last_read_id, unread: 0, mentions: 0 } };
}

/** What the server says of channels. What was read here and is not known there yet stays read. */
export function accept(reads, states) {
  const next = { ...reads };
  for (const { channel_id: channel, last_read_id, unread, mentions } of states) {
    if (!isAfter(next[channel]?.last_read_id, last_read_id)) next[channel] = { last_read_id, unread, mentions };
  }
  return next;
}

/** Where the server keeps no read states: from the last id that was read in this browser. A new channel counts as read. */
export function guess(reads, channels, remembered) {
  const next = { ...reads };
  for (const { id, last_message_id: last } of channels) {
    if (!last || next[id]?.unread) continue;
    const seen = next[id]?.last_read_id ?? remembered[id] ?? last;
    next[id] = { last_read_id: seen, unread: isAfter(last, seen) ? 1 : 0, mentions: 0 };
  }
  return next;
}

/** Unread messages and mentions of several channels together. */
export function total(reads, channels) {
  let unread = 0;
  let mentions = 0;
  for (const id of channels) {
    unread += reads[id]?.unread ?? 0;
    mentions += reads[id]?.mentions ?? 0;
  }
  return { unread, mentions };
}
