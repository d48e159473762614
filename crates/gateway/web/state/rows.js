// What the list of messages shows: days, the line before what is new, messages in groups. Pure.

import { compare, timeOf } from '../ids.js';
import { dayOf } from '../time.js';
import { isMentioned } from './reads.js';

/** Messages of one author within this time form a group. */
const GROUP_MS = 7 * 60_000;

/** The rows of a timeline: `{kind: 'day' | 'new' | 'message', key, …}`; a message's row says whether it begins a group. */
export function rows(timeline, { me, roles = [] }) {
  const out = [];
  let last = null;
  let divided = timeline.divider === null;
  const put = (message, at, key, more) => {
    const day = dayOf(at);
    if (!last || last.day !== day) out.push({ kind: 'day', key: `day:${day}`, at });
    if (more.isNew) out.push({ kind: 'new', key: 'new' });
    const first = !last || last.day !== day || more.isNew || last.author !== message.author.id || at - last.at > GROUP_MS
      || message.type === 19 || Boolean(more.reply);
    out.push({ kind: 'message', key, message, at, first, ...more });
    last = { day, at, author: message.author.id };
  };
  for (const message of timeline.messages) {
    const isNew = !divided && compare(message.id, timeline.divider) > 0 && message.author.id !== me.id;
    divided ||= isNew;
    const key = message.nonce != null && message.author.id === me.id ? `n:${message.nonce}` : message.id;
    const mentioned = message.author.id !== me.id && isMentioned(message, me.id, roles);
    put(message, timeOf(message.id), key, { isNew, mentioned, pending: null });
  }
  for (const entry of timeline.pending) {
    const message = { id: null, author: me, content: entry.content, type: entry.reply ? 19 : 0, referenced_message: entry.reply };
    put(message, entry.at, `n:${entry.nonce}`, { isNew: false, mentioned: false, pending: entry });
  }
  return out;
}
