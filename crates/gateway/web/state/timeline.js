// What is known of one channel's messages: an unbroken run of them, and those on their way. Pure functions; a timeline is
// never changed, a new one is answered.

import { compare } from '../ids.js';

/** Messages kept of a channel that nobody looks at. */
const KEPT = 100;
/** Deleted messages remembered, so that a page that was on its way does not bring them back. */
const GONE = 200;

/**
 * `messages` rise by id. `start`: they reach back to the first one. `gapAfter`: after this id some may be missing, until
 * they have been fetched. `detached`: they end before the newest one, because an old one was gone to; what happens live is
 * not taken until they reach the end again. `divider`: what follows this id was not read when the channel was opened. `pending`: own
 * messages without a number, `{nonce, content, at, reply, state: 'sending' | 'waiting' | 'failed', reason}`.
 */
export const empty = () => ({
  messages: [], pending: [], gone: [], loaded: false, start: false, loading: null, error: null, gapAfter: null, divider: null,
  detached: false,
});

/** The id of the last message that has one. */
export const newest = timeline => timeline.messages.at(-1)?.id ?? null;

/** Adds messages in any order; of two with one id the one that was edited later stays. */
export function merge(timeline, messages) {
  const gone = new Set(timeline.gone);
  const byId = new Map(timeline.messages.map(message => [message.id, message]));
  const nonces = new Set();
  for (const message of messages) {
    if (message.nonce != null) nonces.add(String(message.nonce));
    if (gone.has(message.id)) continue;
    const known = byId.get(message.id);
    const kept = known && isEditedLater(known, message) ? known : message;
    // Pages do not have the nonce, by which a view knows the message again.
    byId.set(message.id, known?.nonce != null && kept.nonce == null ? { ...kept, nonce: known.nonce } : kept);
  }
  const merged = [...byId.values()];
  // Pages come newest first; a live message is the last one and needs no sorting.
  if (merged.some((message, n) => n > 0 && compare(merged[n - 1].id, message.id) > 0)) merged.sort((a, b) => compare(a.id, b.id));
  const pending = timeline.pending.filter(entry => !nonces.has(entry.nonce));
  return { ...timeline, messages: merged, pending: pending.length === timeline.pending.length ? timeline.pending : pending };
}

const isEditedLater = (known, other) => (known.edited_timestamp ?? '') > (other.edited_timestamp ?? '');

/** Takes the newest page: what is missing from it, between its ends, was deleted meanwhile. */
export function reconcile(timeline, page) {
  if (page.length === 0) return { ...timeline, messages: [], start: true };
  const ids = page.map(message => message.id).sort(compare);
  const there = new Set(ids);
  const messages = timeline.messages.filter(({ id }) =>
    there.has(id) || compare(id, ids[0]) < 0 || compare(id, ids.at(-1)) > 0);
  return merge({ ...timeline, messages }, page);
}

/** Changes a message, if it is known. */
export function update(timeline, change) {
  return revise(timeline, change.id, message =>
    (isEditedLater(message, change) && change.edited_timestamp !== undefined ? message : { ...message, ...change }));
}

/** A message is gone; answers to it show that. */
export function remove(timeline, id) {
  const messages = timeline.messages.filter(message => message.id !== id).map(message =>
    (message.referenced_message?.id === id ? { ...message, referenced_message: null } : message));
  return { ...timeline, messages, gone: [...timeline.gone, id].slice(-GONE) };
}

/** Somebody adds or takes a reaction; `mine`: it is one's own, which may have been shown already. */
export function react(timeline, { message_id: id, emoji }, added, mine) {
  return revise(timeline, id, message => {
    const reactions = message.reactions ?? [];
    const at = reactions.findIndex(given => sameEmoji(given.emoji, emoji));
    const given = reactions[at] ?? { emoji, count: 0, me: false };
    if (mine && given.me === added) return message;
    const next = { ...given, count: given.count + (added ? 1 : -1), me: mine ? added : given.me };
    if (at < 0) return added ? { ...message, reactions: [...reactions, next] } : message;
    const changed = reactions.with ? reactions.with(at, next) : reactions.map((one, n) => (n === at ? next : one));
    return { ...message, reactions: changed.filter(one => one.count > 0) };
  });
}

const sameEmoji = (a, b) => (a.id ?? a.name) === (b.id ?? b.name);

function revise(timeline, id, change) {
  const at = timeline.messages.findIndex(message => message.id === id);
  if (at < 0) return timeline;
  const changed = change(timeline.messages[at]);
  if (changed === timeline.messages[at]) return timeline;
  const messages = timeline.messages.slice();
  messages[at] = changed;
  return { ...timeline, messages };
}

/** An own message is on its way, or is tried again. */
export function pend(timeline, entry) {
  return { ...timeline, pending: [...timeline.pending.filter(one => one.nonce !== entry.nonce), entry] };
}

/** Something about an own message that has no number yet. */
export function revisePending(timeline, nonce, change) {
  return { ...timeline, pending: timeline.pending.map(one => (one.nonce === nonce ? { ...one, ...change } : one)) };
}

/** An own message is given up. */
export function dropPending(timeline, nonce) {
  return { ...timeline, pending: timeline.pending.filter(one => one.nonce !== nonce) };
}

/** Live events may have been missed: what comes after the last message must be fetched. The first such mark stays. */
export function suspect(timeline) {
  return timeline.loaded && !timeline.gapAfter && !timeline.detached ? { ...timeline, gapAfter: newest(timeline) ?? '0' } : timeline;
}

/** Keeps the end of a long timeline. */
export function trim(timeline, kept = KEPT) {
  if (timeline.messages.length <= kept) return timeline;
  return { ...timeline, messages: timeline.messages.slice(-kept), start: false };
}

/** Only what is on its way stays. */
export const forget = timeline => ({ ...empty(), pending: timeline.pending });

/** The messages around an old one take the place of what was there; `end`: they reach the newest that there was. */
export function around(timeline, messages, end) {
  const run = merge({ ...forget(timeline), gone: timeline.gone, loaded: true }, messages);
  return end ? { ...run, gapAfter: newest(run) ?? '0' } : { ...run, detached: true };
}

/** The page after the end of such a run. */
export function further(timeline, messages, end) {
  if (!timeline.detached) return timeline;
  const run = { ...merge(timeline, messages), loading: null, error: null };
  return end ? { ...run, detached: false, gapAfter: newest(run) ?? '0' } : run;
}
