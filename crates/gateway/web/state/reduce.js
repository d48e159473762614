// The whole state of the client, and what each event makes of it. Pure: `(state, action) -> state`; nothing is changed in
// place, so that what is still the same can be told by identity.

import { isAfter, later } from '../ids.js';
import * as guilds from './guilds.js';
import * as reads from './reads.js';
import * as timeline from './timeline.js';
import * as voice from './voice.js';

/** How long somebody counts as typing after the last sign of it, in ms. */
export const TYPING_MS = 10_000;

export const initial = () => ({
  me: null,
  /** Whether the first READY has come and its workspaces with it. */
  ready: false,
  link: { state: 'idle' },
  /** Ids of workspaces in the order of READY, and those of them that are known. */
  order: [],
  guilds: {},
  timelines: {},
  /** Channel → id of the last message that was heard of. */
  lasts: {},
  reads: {},
  /** Channel → user → until when, in ms. */
  typing: {},
  /** Where one is. */
  channel: null,
  /** The message being edited, and per channel the one being answered. */
  editing: null,
  replies: {},
  status: 'online',
  /** One's session at the gateway. */
  session: null,
  voice: voice.initial(),
});

/** The workspace of a channel. */
export const guildOf = (state, channel) => Object.values(state.guilds).find(guild => guild.channels[channel]);
export const channelOf = (state, id) => guildOf(state, id)?.channels[id] ?? null;
export const timelineOf = (state, channel) => state.timelines[channel] ?? EMPTY;
const EMPTY = timeline.empty();

const onTimeline = (state, channel, change) => {
  const before = timelineOf(state, channel);
  const after = change(before);
  return after === before ? state : { ...state, timelines: { ...state.timelines, [channel]: after } };
};

const onLoaded = (state, channel, change) => (state.timelines[channel]?.loaded ? onTimeline(state, channel, change) : state);

export function reduce(before, action) {
  const { type, d } = action;
  const now = voice.reduce(before.voice, action, before.me?.id, before.session);
  const state = now === before.voice ? before : { ...before, voice: now };
  switch (type) {
    case 'signed-out': return { ...initial(), status: state.status };
    case 'link': return { ...state, link: action.link };
    case 'status': return { ...state, status: action.status };
    case 'open': return open(state, action.channel);
    case 'editing': return { ...state, editing: action.id };
    case 'reply': return { ...state, replies: { ...state.replies, [action.channel]: action.id } };
    case 'loading': return onTimeline(state, action.channel, now => ({ ...now, loading: action.what, error: null }));
    case 'load-failed': return onTimeline(state, action.channel, now => ({ ...now, loading: null, error: action.error }));
    case 'page': return page(state, action);
    case 'missed': return onLoaded(state, action.channel, now => timeline.merge(now, action.messages));
    case 'newest': return onLoaded(state, action.channel, now => ({ ...timeline.reconcile(now, action.messages), gapAfter: null }));
    case 'forget': return onTimeline(state, action.channel, timeline.forget);
    case 'around': return onTimeline(state, action.channel, now => timeline.around(now, action.messages, action.end));
    case 'further': return onTimeline(state, action.channel, now => timeline.further(now, action.messages, action.end));
    case 'divide': return onTimeline(state, action.channel, now => ({ ...now, divider: action.after }));
    case 'pend': return onTimeline(state, action.channel, now => ({ ...timeline.pend(now, action.entry), divider: null }));
    case 'pending': return onTimeline(state, action.channel, now => timeline.revisePending(now, action.nonce, action.change));
    case 'discard': return onTimeline(state, action.channel, now => timeline.dropPending(now, action.nonce));
    case 'read': return { ...state, reads: reads.markRead(state.reads, action.channel, action.id) };
    case 'read-states': return { ...state, reads: reads.accept(state.reads, action.states) };
    case 'read-guess': return { ...state, reads: reads.guess(state.reads, action.channels, action.remembered) };
    case 'react': return onLoaded(state, action.channel, now => timeline.react(now, action, action.added, true));
    case 'tick': return tick(state, action.now);
    case 'READY': return ready(state, d);
    case 'USER_UPDATE': return { ...state, me: { ...state.me, ...d } };
    case 'GUILD_CREATE': return guildCreate(state, d);
    case 'GUILD_DELETE': return guildDelete(state, d);
    case 'MESSAGE_CREATE': return messageCreate(state, d);
    case 'MESSAGE_UPDATE': return onLoaded(state, d.channel_id, now => timeline.update(now, d));
    case 'MESSAGE_DELETE': return onLoaded(state, d.channel_id, now => timeline.remove(now, d.id));
    case 'MESSAGE_DELETE_BULK': return onLoaded(state, d.channel_id, now => d.ids.reduce(timeline.remove, now));
    case 'MESSAGE_REACTION_ADD':
    case 'MESSAGE_REACTION_REMOVE':
      return onLoaded(state, d.channel_id, now =>
        timeline.react(now, d, type === 'MESSAGE_REACTION_ADD', d.user_id === state.me?.id));
    case 'TYPING_START': return typing(state, d.channel_id, d.user_id, action.now + TYPING_MS);
    case 'READ_STATE_UPDATE': return { ...state, reads: { ...state.reads, [d.channel_id]: readState(d) } };
    default: return state.guilds[d?.guild_id ?? (type === 'GUILD_UPDATE' ? d.id : undefined)] ? onGuild(state, type, d) : state;
  }
}

const readState = ({ last_read_id, unread, mentions }) => ({ last_read_id, unread, mentions });

/** A new session: live events between the last one and this may be missing. */
function ready(state, d) {
  const order = d.guilds.map(guild => guild.id);
  const kept = Object.fromEntries(Object.entries(state.guilds).filter(([id]) => order.includes(id)));
  const timelines = Object.fromEntries(Object.entries(state.timelines).map(([id, now]) => [id, timeline.suspect(now)]));
  return { ...state, me: d.user, session: d.session_id, order, guilds: kept, timelines, typing: {}, ready: state.ready || order.length === 0 };
}

function guildCreate(state, d) {
  if (d.unavailable) return state;
  const order = state.order.includes(d.id) ? state.order : [...state.order, d.id];
  const guilds_ = { ...state.guilds, [d.id]: guilds.fromCreate(d) };
  const lasts = { ...state.lasts };
  for (const { id, last_message_id: last } of d.channels) lasts[id] = later(lasts[id], last);
  return { ...state, order, guilds: guilds_, lasts, ready: state.ready || order.every(id => guilds_[id]) };
}

function guildDelete(state, d) {
  if (d.unavailable) return state;
  const { [d.id]: _, ...rest } = state.guilds;
  return { ...state, order: state.order.filter(id => id !== d.id), guilds: rest };
}

function onGuild(state, type, d) {
  const id = d.guild_id ?? d.id;
  return { ...state, guilds: { ...state.guilds, [id]: guilds.apply(state.guilds[id], type, d) } };
}

function open(state, channel) {
  let next = { ...state, channel, editing: null };
  if (state.channel && state.channel !== channel) next = onLoaded(next, state.channel, now => (now.detached ? timeline.forget(now) : timeline.trim({ ...now, divider: null })));
  const read = state.reads[channel];
  return onTimeline(next, channel, now => ({ ...now, divider: read?.unread ? read.last_read_id ?? '0' : null }));
}

/** A page of history; `older` when it goes before what is there. */
function page(state, { channel, messages, full }) {
  return onTimeline(state, channel, now =>
    ({ ...timeline.merge(now, messages), loaded: true, loading: null, error: null, start: now.start || !full }));
}

function messageCreate(state, d) {
  const roles = state.guilds[d.guild_id]?.members[state.me?.id]?.roles ?? [];
  let next = state;
  // What comes twice, after a resumed session, counts once.
  if (isAfter(d.id, state.lasts[d.channel_id])) {
    const lasts = { ...state.lasts, [d.channel_id]: d.id };
    next = { ...state, lasts, reads: reads.count(state.reads, d, state.me?.id, roles) };
  }
  next = typing(next, d.channel_id, d.author.id, 0);
  return state.timelines[d.channel_id]?.loaded && !state.timelines[d.channel_id].detached
    ? onTimeline(next, d.channel_id, now => timeline.merge(now, [d]))
    : onTimeline(next, d.channel_id, now => (d.nonce == null ? now : timeline.dropPending(now, String(d.nonce))));
}

function typing(state, channel, user, until) {
  const { [user]: _, ...others } = state.typing[channel] ?? {};
  if (until === 0 && !_) return state;
  return { ...state, typing: { ...state.typing, [channel]: until ? { ...others, [user]: until } : others } };
}

/** Forgets who has stopped typing. */
function tick(state, now) {
  const left = Object.entries(state.typing).map(([channel, users]) =>
    [channel, Object.fromEntries(Object.entries(users).filter(([, until]) => until > now))]);
  const same = left.every(([channel, users]) => Object.keys(users).length === Object.keys(state.typing[channel]).length);
  return same ? state : { ...state, typing: Object.fromEntries(left) };
}
