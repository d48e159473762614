// The state of the client: what events, pages and acknowledgements make of it, in whatever order they come.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compare, timeOf } from '../ids.js';
import { layout, nameOf, roster } from '../state/guilds.js';
import { MANAGE_MESSAGES, SEND_MESSAGES, may } from '../state/permissions.js';
import * as reads from '../state/reads.js';
import { initial, reduce } from '../state/reduce.js';
import { rows } from '../state/rows.js';
import * as timeline from '../state/timeline.js';

const ME = '10';
const message = (id, more = {}) => ({
  id: String(id), channel_id: '5', guild_id: '1', author: { id: '20', username: 'grace' }, content: `m${id}`, type: 0, timestamp: 't', edited_timestamp: null, mentions: [], ...more,
});
const ids = one => one.messages.map(({ id }) => id).join(' ');
const loaded = (...list) => ({ ...timeline.merge(timeline.empty(), list.map(id => message(id))), loaded: true });

test('ids are ordered by their number, and say when they were made', () => {
  assert.deepEqual(['100', '99', '2'].sort(compare), ['2', '99', '100']);
  assert.equal(new Date(timeOf('1575142098137513984')).toISOString().slice(0, 10), '2026-11-25');
});

test('a timeline is sorted and has nothing twice, however its messages come', () => {
  const orders = [[3, 1, 2], [1, 2, 3, 3], [2, 3, 1, 1]];
  for (const order of orders) assert.equal(ids(loaded(...order)), '1 2 3');
  assert.equal(ids(timeline.merge(loaded(5, 7), [message(6), message(9), message(100), message(5)])), '5 6 7 9 100');
});

test('the later edit stays, whichever comes first', () => {
  const late = message(1, { content: 'late', edited_timestamp: '2026-01-02' });
  const early = message(1, { content: 'early', edited_timestamp: '2026-01-01' });
  for (const [a, b] of [[late, early], [early, late]]) {
    assert.equal(timeline.merge(timeline.merge(loaded(1), [a]), [b]).messages[0].content, 'late');
    assert.equal(timeline.update(timeline.update(loaded(1), a), b).messages[0].content, 'late');
  }
});

test('an own message is replaced by its acknowledgement and by its event, in either order', () => {
  const entry = { nonce: 'n', content: 'm9', at: 0, reply: null, state: 'sending' };
  const real = message(9, { nonce: 'n' });
  let now = timeline.pend(loaded(1), entry);
  assert.equal(now.pending.length, 1);
  now = timeline.merge(now, [real]);
  assert.deepEqual([ids(now), now.pending.length], ['1 9', 0]);
  now = timeline.merge(now, [real]);
  assert.equal(ids(now), '1 9');
  assert.equal(timeline.merge(now, [message(9)]).messages[1].nonce, 'n', 'a page does not take the nonce away');
});

test('a deleted message does not come back with a page that was on its way', () => {
  const now = timeline.remove(loaded(1, 2), '2');
  assert.equal(ids(timeline.merge(now, [message(2), message(3)])), '1 3');
});

test('the newest page shows what was deleted meanwhile', () => {
  assert.equal(ids(timeline.reconcile(loaded(1, 2, 3, 4, 9), [message(2), message(4)])), '1 2 4 9');
});

test('answers to a deleted message show that', () => {
  const now = timeline.merge(loaded(1), [message(2, { type: 19, referenced_message: message(1) })]);
  assert.equal(timeline.remove(now, '1').messages[0].referenced_message, null);
});

test('own reactions count once although they are shown before they are acknowledged', () => {
  const up = { message_id: '1', emoji: { id: null, name: '👍' } };
  let now = timeline.react(loaded(1), up, true, true);
  now = timeline.react(now, up, true, true);
  now = timeline.react(now, up, true, false);
  assert.deepEqual(now.messages[0].reactions, [{ emoji: up.emoji, count: 2, me: true }]);
  now = timeline.react(timeline.react(now, up, false, true), up, false, false);
  assert.deepEqual(now.messages[0].reactions, []);
});

test('a gap begins at the last message before it and stays until it is filled', () => {
  let now = timeline.suspect(loaded(1, 2));
  now = timeline.suspect(timeline.merge(now, [message(8)]));
  assert.equal(now.gapAfter, '2');
});

test('unread messages and mentions are counted, own ones are not', () => {
  let now = reads.count({}, message(1), ME, []);
  now = reads.count(now, message(2, { mentions: [{ id: ME }] }), ME, []);
  now = reads.count(now, message(3, { mention_roles: ['7'] }), ME, ['7']);
  assert.deepEqual(now['5'], { last_read_id: null, unread: 3, mentions: 2 });
  assert.equal(reads.markRead(now, '5', '3')['5'].unread, 0);
  assert.equal(reads.count(now, message(4, { author: { id: ME } }), ME, [])['5'].unread, 0);
  const read = reads.markRead(now, '5', '3');
  assert.equal(reads.accept(read, [{ channel_id: '5', last_read_id: '1', unread: 9, mentions: 9 }])['5'].unread, 0);
  assert.equal(reads.accept(read, [{ channel_id: '5', last_read_id: '3', unread: 2, mentions: 0 }])['5'].unread, 2);
});

test('without read states of the server a browser goes by what it remembers', () => {
  const channels = [{ id: '5', last_message_id: '9' }, { id: '6', last_message_id: '9' }, { id: '7', last_message_id: null }];
  const now = reads.guess({}, channels, { 5: '4' });
  assert.deepEqual([now['5'].unread, now['6'].unread, now['7']], [1, 0, undefined]);
});

const create = {
  id: '1', name: 'w', owner_id: '99', large: false, member_count: 2,
  roles: [{ id: '1', permissions: String(1 << 11 | 1 << 10), name: '@everyone' }, { id: '3', permissions: String(1 << 13), name: 'mods' }],
  channels: [{ id: '5', name: 'b', type: 0, position: 1, permission_overwrites: [] }, { id: '6', name: 'a', type: 0, position: 0, permission_overwrites: [{ id: '1', deny: String(1 << 11), allow: '0' }] },
    { id: '8', name: 'Group', type: 4, position: 0 }, { id: '9', name: 'c', type: 0, position: 0, parent_id: '8' }],
  members: [{ user: { id: ME, username: 'ada' }, roles: ['3'] }, { user: { id: '20', username: 'grace' }, nick: 'Amazing', roles: [] }],
  presences: [{ user: { id: '20' }, status: 'idle' }],
};
const begun = () => [
  { type: 'READY', d: { user: { id: ME, username: 'ada' }, guilds: [{ id: '1', unavailable: true }] } }, { type: 'GUILD_CREATE', d: create },
].reduce(reduce, initial());

test('a session begins with its workspaces', () => {
  const state = begun();
  assert.equal(state.ready, true);
  const guild = state.guilds['1'];
  assert.deepEqual(layout(guild).map(({ category, channels }) => [category?.name, channels.map(one => one.name)]), [[undefined, ['a', 'b']], ['Group', ['c']]]);
  assert.deepEqual(roster(guild).here.map(one => [one.name, one.status]), [['Amazing', 'idle']]);
  assert.equal(nameOf({ username: 'u', global_name: 'G' }, null), 'G');
  assert.deepEqual(['5', '6'].map(id => may(guild, guild.channels[id], ME, SEND_MESSAGES)), [true, false]);
  assert.deepEqual(['20', ME, '99'].map(id => may(guild, guild.channels['6'], id, MANAGE_MESSAGES)), [false, true, true]);
});

test('what a resumed session repeats changes nothing', () => {
  let state = begun();
  state = reduce(state, { type: 'open', channel: '5' });
  state = reduce(state, { type: 'page', channel: '5', messages: [message(2), message(1)], full: true });
  state = reduce(state, { type: 'MESSAGE_CREATE', d: message(3) });
  const again = reduce(state, { type: 'MESSAGE_CREATE', d: message(3) });
  assert.equal(again.reads['5'].unread, 1);
  assert.equal(ids(again.timelines['5']), '1 2 3');
});

test('a new session marks what may have been missed', () => {
  let state = begun();
  state = reduce(state, { type: 'page', channel: '5', messages: [message(2)], full: false });
  state = reduce(state, { type: 'READY', d: { user: state.me, guilds: [{ id: '1' }] } });
  assert.equal(state.timelines['5'].gapAfter, '2');
  state = reduce(state, { type: 'missed', channel: '5', messages: [message(3)] });
  state = reduce(state, { type: 'newest', channel: '5', messages: [message(3), message(2, { content: 'edited', edited_timestamp: '1' })] });
  assert.deepEqual([state.timelines['5'].gapAfter, state.timelines['5'].messages[0].content], [null, 'edited']);
});

test('somebody types until they are heard of or for ten seconds', () => {
  let state = reduce(begun(), { type: 'TYPING_START', d: { channel_id: '5', user_id: '20' }, now: 0 });
  assert.ok(state.typing['5']['20']);
  assert.equal(reduce(state, { type: 'tick', now: 9_000 }), state);
  assert.deepEqual(reduce(state, { type: 'tick', now: 11_000 }).typing['5'], {});
  state = reduce(state, { type: 'MESSAGE_CREATE', d: message(3) });
  assert.deepEqual(state.typing['5'], {});
});

test('rows have days, groups and one line before what is new', () => {
  const at = n => String((BigInt(n) * 60_000n + 200_000_000_000n) << 22n);
  const list = [0, 1, 30, 31].map(n => message(at(n)));
  const now = { ...timeline.merge(timeline.empty(), list), divider: at(1) };
  const shown = rows(now, { me: { id: ME } });
  assert.deepEqual(shown.map(row => row.kind + (row.first ? '+' : '')), ['day', 'message+', 'message', 'new', 'message+', 'message']);
  assert.equal(new Set(shown.map(row => row.key)).size, shown.length);
});
