// The search: what is typed becomes a question, what is found is marked, and old messages are shown in their place.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { timeOf } from '../ids.js';
import { initial, reduce } from '../state/reduce.js';
import { complete, mark, read, terms } from '../state/search.js';
import * as timeline from '../state/timeline.js';

const guild = {
  id: '1', owner_id: '20', roles: {}, presences: {},
  channels: { 5: { id: '5', type: 0, name: 'general', position: 0 }, 6: { id: '6', type: 0, name: 'random', position: 1 } },
  members: {
    20: { user: { id: '20', username: 'grace' }, roles: [], nick: 'The Admiral' },
    21: { user: { id: '21', username: 'ada' }, roles: [], nick: null },
  },
};
const asked = typed => Object.fromEntries(new URLSearchParams(read(typed, guild).query));

test('filters and words become a question', () => {
  assert.deepEqual(asked('deploy failed '), { content: 'deploy failed ' });
  assert.deepEqual(asked('from:ada in:#general deploy'), { author_id: '21', channel_id: '5', content: 'deploy' });
  assert.deepEqual(asked('from:"the admiral" has:links'), { author_id: '20', has: 'link' });
  assert.deepEqual(asked('mentions:@grace "a phrase"'), { mentions: '20', content: '"a phrase"' });
  assert.equal(read('in:general in:random x', guild).query, 'channel_id=5&channel_id=6&content=x');
  assert.deepEqual(asked('https://example.com'), { content: 'https://example.com' });
  assert.deepEqual(asked('   '), {});
});

test('days are those of the reader, and reach from end to end', () => {
  const { min_id: after, max_id: before } = asked('after:2026-01-30 before:2026-02-02');
  assert.equal(timeOf(after), new Date(2026, 0, 31).getTime());
  assert.equal(timeOf(before), new Date(2026, 1, 2).getTime());
  assert.equal(asked('after:2001-01-01').min_id, '0');
});

test('what cannot be asked is said', () => {
  for (const typed of ['from:nobody', 'in:nowhere', 'has:everything', 'before:yesterday', 'after:2026-02-31', 'from:']) {
    const { faults } = read(typed, guild);
    assert.equal(faults.length, 1, typed);
  }
});

test('a filter that is typed is completed', () => {
  assert.deepEqual(complete('deploy from:a', guild), { begun: 'from:a', options: ['from:ada', 'from:grace'] });
  assert.deepEqual(complete('in:gen', guild).options, ['in:general']);
  assert.equal(complete('deploy', guild), null);
  assert.deepEqual(complete('has:link', guild).options, []);
});

const hits = (text, typed) => mark(text, terms(typed)).filter(piece => piece.hit).map(piece => piece.text);

test('words are marked as they are found', () => {
  assert.deepEqual(hits('The Deploy failed, deployment too', 'deploy'), ['Deploy', 'deployment']);
  assert.deepEqual(hits('The Deploy failed, deployment too', 'deploy '), ['Deploy']);
  assert.deepEqual(hits('Crème brûlée', 'creme brulee '), ['Crème', 'brûlée']);
  assert.deepEqual(hits('a gateway, two gateways', 'gatweay '), ['gateway']);
  assert.deepEqual(hits('東京都に住んでいます', '京都'), ['京都']);
  assert.deepEqual(hits('nothing of it', 'depl*'), []);
  const text = '<b>deploy</b> & more';
  assert.equal(mark(text, terms('deploy')).map(piece => piece.text).join(''), text);
});

const message = id => ({ id: String(id), channel_id: '5', guild_id: '1', author: { id: '20', username: 'grace' }, content: `m${id}`, type: 0, edited_timestamp: null, mentions: [] });
const ids = state => state.timelines[5].messages.map(({ id }) => id).join(' ');
const created = id => ({ type: 'MESSAGE_CREATE', d: message(id), now: 0 });

test('around an old message there is an unbroken run, which live messages do not break', () => {
  let state = { ...initial(), me: { id: '10' }, channel: '5', guilds: { 1: guild } };
  state = reduce(state, { type: 'page', channel: '5', messages: [90, 91].map(message), full: true });
  state = reduce(state, { type: 'around', channel: '5', messages: [12, 11, 10].map(message), end: false });
  assert.equal(ids(state), '10 11 12');
  state = reduce(state, created(92));
  assert.equal(ids(state), '10 11 12');
  assert.equal(state.lasts[5], '92');
  state = reduce(state, { type: 'further', channel: '5', messages: [90, 13].map(message), end: false });
  assert.equal(ids(state), '10 11 12 13 90');
  assert.equal(state.timelines[5].gapAfter, null);
  state = reduce(state, { type: 'further', channel: '5', messages: [92, 91].map(message), end: true });
  // What came between the answer and now is fetched.
  assert.deepEqual([state.timelines[5].detached, state.timelines[5].gapAfter], [false, '92']);
  state = reduce(state, created(93));
  assert.equal(ids(state), '10 11 12 13 90 91 92 93');
});

test('who comes back to a channel finds its end', () => {
  let state = { ...initial(), me: { id: '10' }, channel: '5', guilds: { 1: guild } };
  state = reduce(state, { type: 'around', channel: '5', messages: [10].map(message), end: false });
  state = reduce(state, { type: 'open', channel: '6' });
  assert.equal(state.timelines[5].loaded, false);
  assert.equal(timeline.around(timeline.empty(), [message(3)], true).detached, false);
});
