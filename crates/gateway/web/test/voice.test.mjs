// Voice: what events make of the state, and how a connection is made, kept and made again.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listed, open, wanted } from '../devices.js';
import { createStore } from '../store.js';
import { nameOf } from '../state/guilds.js';
import { measure, people, verdict } from '../state/voice.js';
import { Voice } from '../voice.js';

const READY = { user: { id: '10' }, session_id: 's', guilds: [{ id: '1' }] };
const GUILD = {
  id: '1', name: 'g', roles: [], presences: [], members: [{ user: { id: '20', username: 'grace' } }],
  channels: [{ id: '5', type: 2, name: 'lounge', position: 0 }],
  voice_states: [{ user_id: '20', channel_id: '5', session_id: 'x', self_mute: true, self_deaf: false }],
};
const own = (channel_id, session_id = 's') => ({ guild_id: '1', user_id: '10', channel_id, session_id });
const server = (more = {}) => ({ guild_id: '1', channel_id: '5', session_id: 's', endpoint: 'e', url: 'http://v/1', token: 't', ...more });
const settle = async () => { for (let n = 0; n < 20; n += 1) await null; };

/** Somebody with peers, microphone and timers of paper. `at(ms)` lets time pass. */
function stage({ refused = false, status = () => 201, reached = () => true, answers = Infinity } = {}) {
  const made = { told: [], peers: [], posted: [], stopped: 0, timers: [] };
  const track = { enabled: true, stop: () => { made.stopped += 1; } };
  const store = createStore();
  const env = {
    peer() {
      const peer = {
        sections: [], connectionState: 'new', localDescription: { sdp: 'offer' }, closed: false,
        addTransceiver: (what, { direction }) => peer.sections.push(direction),
        setLocalDescription: async () => {},
        setRemoteDescription: async () => { [0, 1].forEach(n => peer.ontrack({ track: n })); },
        getStats: async () => new Map(),
        close: () => { peer.closed = true; },
        becomes(state) {
          peer.connectionState = state;
          peer.onconnectionstatechange();
        },
      };
      made.peers.push(peer);
      return peer;
    },
    microphone: async () => {
      if (refused) throw Object.assign(new Error('no'), { name: 'NotAllowedError' });
      return { getTracks: () => [track], getAudioTracks: () => [track] };
    },
    player: () => ({ play: async () => {} }),
    stream: one => one,
    setTimeout: (f, ms) => made.timers.push({ f, ms }),
    clearTimeout: id => { if (id) made.timers[id - 1] = { ms: Infinity }; },
    random: () => 0.5,
  };
  const offer = async ({ url, token, sdp }) => {
    made.posted.push([url, token, sdp]);
    if (status() !== 201) throw Object.assign(new Error('it is full'), { status: status() });
    return made.posted.length > answers ? new Promise(() => {}) : 'answer';
  };
  const voice = new Voice({ store, tell: d => reached() && made.told.push(d) > 0, offer, env });
  const event = (type, d) => {
    store.dispatch({ type, d, now: 0 });
    voice.dispatched(type, d);
    return settle();
  };
  /** Runs the timers that are set and not longer than that. */
  const pass = ms => {
    const due = made.timers.filter(timer => timer.ms <= ms);
    made.timers = made.timers.map(timer => (due.includes(timer) ? { ms: Infinity } : timer));
    due.forEach(timer => timer.f());
    return settle();
  };
  return { ...made, made, track, store, voice, event, pass, get now() { return store.state.voice; } };
}

async function joined(options) {
  const one = stage(options);
  await one.event('READY', READY);
  await one.event('GUILD_CREATE', GUILD);
  one.voice.join('1', '5');
  await one.event('VOICE_SERVER_UPDATE', server());
  one.peers[0].becomes('connected');
  return one;
}

test('one offer with a voice and eight ears is posted with the token', async () => {
  const one = await joined();
  assert.deepEqual(one.told, [{ guild_id: '1', channel_id: '5', self_mute: false, self_deaf: false }]);
  assert.deepEqual(one.posted, [['http://v/1', 't', 'offer']]);
  assert.deepEqual(one.peers[0].sections, ['sendonly', ...Array(8).fill('recvonly')]);
  assert.deepEqual([one.now.phase, one.now.microphone], ['open', 'open']);
});

test('without a microphone one listens', async () => {
  const one = await joined({ refused: true });
  assert.deepEqual(one.peers[0].sections, Array(8).fill('recvonly'));
  assert.deepEqual([one.now.phase, one.now.microphone], ['open', 'refused']);
});

test('muted and deafened: nothing is sent, and everybody is told', async () => {
  const one = await joined();
  one.voice.setDeafened(true);
  await settle();
  assert.equal(one.track.enabled, false);
  assert.deepEqual(one.told.at(-1), { guild_id: '1', channel_id: '5', self_mute: true, self_deaf: true });
  one.voice.setMuted(false);
  await settle();
  assert.deepEqual([one.track.enabled, one.now.deafened], [true, false], 'who wants to be heard wants to hear');
});

test('a server that goes keeps its connection until the next one has worked for a while', async () => {
  const one = await joined();
  await one.event('VOICE_SERVER_UPDATE', server({ endpoint: null, url: null, token: '' }));
  assert.deepEqual([one.now.phase, one.peers[0].closed], ['waiting', false]);
  await one.event('VOICE_SERVER_UPDATE', server({ url: 'http://v/2' }));
  assert.deepEqual([one.peers.length, one.peers[0].closed], [2, false]);
  await one.pass(10_000);
  assert.equal(one.peers[0].closed, false, 'the next one does not work yet');
  one.peers[1].becomes('connected');
  assert.deepEqual([one.now.phase, one.peers[0].closed], ['open', false]);
  one.peers[0].becomes('failed');
  assert.equal(one.now.phase, 'open', 'it matters no more');
  await one.pass(2_000);
  assert.deepEqual(one.peers.map(peer => peer.closed), [true, false]);
});

test('of several new connections that do not work, the one that does stays', async () => {
  const one = await joined();
  for (const url of ['http://v/2', 'http://v/3']) await one.event('VOICE_SERVER_UPDATE', server({ url }));
  assert.deepEqual(one.peers.map(peer => peer.closed), [false, true, false]);
  one.voice.leave();
  assert.deepEqual(one.peers.map(peer => peer.closed), [true, true, true]);
});

test('an old connection that fails does not end the new one; another channel ends the old one at once', async () => {
  const one = await joined({ answers: 1 });
  await one.event('VOICE_SERVER_UPDATE', server({ url: 'http://v/2' }));
  one.peers[0].becomes('failed');
  assert.deepEqual([one.peers.map(peer => peer.closed), one.now.phase], [[false, false], 'connecting']);
  one.voice.join('1', '6');
  assert.deepEqual(one.peers.map(peer => peer.closed), [true, true]);
});

test('a server that is named before one knows that one was moved is gone to', async () => {
  const one = await joined();
  await one.event('VOICE_SERVER_UPDATE', server({ channel_id: '6', url: 'http://v/6' }));
  assert.equal(one.peers.length, 1);
  await one.event('VOICE_STATE_UPDATE', own('6'));
  assert.deepEqual([one.now.channel, one.posted.at(-1)[0]], ['6', 'http://v/6']);
  await one.event('VOICE_STATE_UPDATE', { ...own('6'), self_mute: true });
  assert.equal(one.posted.length, 2, 'once');
});

test('a connection that fails is asked for again, and what is refused too', async () => {
  let status = 201;
  const one = await joined({ status: () => status });
  await one.event('VOICE_HEARD', { guild_id: '1', channel_id: '5', slots: [{ slot: 0, user_id: '20', speaking: true }] });
  one.peers[0].becomes('failed');
  assert.deepEqual([one.now.phase, one.now.speaking], ['broken', []]);
  await one.pass(1_000);
  assert.equal(one.told.length, 2);
  status = 503;
  await one.event('VOICE_SERVER_UPDATE', server());
  assert.match(one.now.problem, /refused: it is full/);
  await one.pass(1_000);
  assert.equal(one.told.length, 3);
  one.voice.leave();
  await one.pass(60_000);
  assert.equal(one.told.length, 4, 'who has left asks for nothing');
});

test('without a gateway it waits for one', async () => {
  let reached = true;
  const one = await joined({ reached: () => reached });
  reached = false;
  one.peers[0].becomes('failed');
  for (let n = 0; n < 3; n += 1) await one.pass(60_000);
  assert.deepEqual([one.told.length, one.now.problem], [1, 'The connection was lost.']);
  reached = true;
  await one.event('READY', { ...READY, session_id: 'new' });
  assert.equal(one.told.length, 2);
});

test('a new session of the gateway asks again, for what was the old one\'s is gone', async () => {
  const one = await joined();
  await one.event('READY', { ...READY, session_id: 'new' });
  assert.equal(one.told.length, 2);
  await one.event('VOICE_STATE_UPDATE', own(null));
  assert.equal(one.now.channel, '5', 'the end of the old session is no end');
  await one.event('VOICE_SERVER_UPDATE', server());
  assert.equal(one.peers.length, 1, 'a token of the old session');
  await one.event('VOICE_SERVER_UPDATE', server({ session_id: 'new' }));
  assert.equal(one.peers.length, 2);
});

test('who is put out, refused or joins elsewhere is out, and the microphone is off', async () => {
  for (const [type, d, words] of [
    ['VOICE_STATE_UPDATE', own(null), /disconnected/],
    ['VOICE_STATE_UPDATE', own('5', 'other'), /another window/],
    ['VOICE_REFUSED', { guild_id: '1', channel_id: '5', code: 40047, message: 'The channel is full' }, /full/],
  ]) {
    const one = await joined();
    await one.event(type, d);
    assert.match(one.now.problem, words);
    assert.deepEqual([one.now.channel, one.peers[0].closed, one.made.stopped], [null, true, 1]);
  }
});

test('who is in a channel follows the guild; who speaks follows the room', async () => {
  const one = await joined();
  const names = () => people(one.store.state.guilds['1'], '5', nameOf).map(({ name, muted }) => [name, muted]);
  assert.deepEqual(names(), [['grace', true]]);
  const member = { user: { id: '30', username: 'eve' }, roles: [] };
  await one.event('VOICE_STATE_UPDATE', { guild_id: '1', user_id: '30', channel_id: '5', session_id: 'y', member });
  assert.deepEqual(names().map(([name]) => name), ['eve', 'grace']);
  await one.event('VOICE_HEARD', { guild_id: '1', channel_id: '5', slots: [{ slot: 0, user_id: '30', speaking: true }, { slot: 1, user_id: '20', speaking: false }] });
  assert.deepEqual(one.now.speaking, ['30']);
  await one.event('VOICE_HEARD', { guild_id: '1', channel_id: '6', slots: [] });
  assert.deepEqual(one.now.speaking, ['30'], 'another room');
  await one.event('VOICE_STATE_UPDATE', { guild_id: '1', user_id: '30', channel_id: null, session_id: 'y' });
  assert.deepEqual(names().map(([name]) => name), ['grace']);
});

test('another microphone takes the place of the one there is; who has no choice has the first one', async () => {
  const one = await joined();
  one.peers[0].getSenders = () => [{ track: one.track, replaceTrack: async track => { one.made.replaced = track; } }, { track: null }];
  await one.voice.setMicrophone('b');
  assert.deepEqual([one.made.replaced, one.made.stopped, one.now.microphone], [one.track, 1, 'open']);
  const all = [
    { kind: 'audioinput', deviceId: 'a', label: 'A' }, { kind: 'audioinput', deviceId: 'b', label: 'B' },
    { kind: 'audioinput', deviceId: '', label: '' }, { kind: 'audiooutput', deviceId: 'c', label: 'C' },
  ];
  const ids = (kind, id) => listed(all, kind, id).map(({ id, isChosen }) => [id, isChosen]);
  assert.deepEqual(ids('audioinput', 'b'), [['a', false], ['b', true]]);
  assert.deepEqual(ids('audioinput', 'gone'), [['a', true], ['b', false]]);
  assert.deepEqual(ids('audiooutput', null), [['c', true]]);
  assert.deepEqual([wanted(null).deviceId, wanted('b').deviceId], [undefined, { exact: 'b' }]);
  const asked = [];
  const media = { getUserMedia: async ({ audio }) => {
    asked.push(audio.deviceId?.exact ?? null);
    if (asked.length === 1) throw Object.assign(new Error('gone'), { name: 'OverconstrainedError' });
    return 'stream';
  } };
  assert.deepEqual([await open(media), asked.at(-1)], ['stream', null], 'one that is gone is no reason for none');
});

test('one word says how good a connection is', () => {
  assert.equal(verdict({ roundTrip: null, loss: null }), 'unknown');
  assert.equal(verdict({ roundTrip: 20, loss: 0 }), 'good');
  assert.equal(verdict({ roundTrip: 250, loss: null }), 'fair');
  assert.equal(verdict({ roundTrip: null, loss: 0.1 }), 'poor');
  const stats = lost => [
    { type: 'candidate-pair', nominated: true, currentRoundTripTime: 0.0304 }, { type: 'remote-inbound-rtp', fractionLost: 0.01 },
    { type: 'inbound-rtp', packetsLost: lost, packetsReceived: 90 }, { type: 'inbound-rtp', packetsLost: 0, packetsReceived: 0 },
  ];
  const first = measure(stats(10));
  assert.deepEqual(first.quality, { roundTrip: 30, loss: 0.1, word: 'poor' });
  assert.deepEqual(measure(stats(10), first.counts).quality, { roundTrip: 30, loss: 0.01, word: 'good' }, 'only what is new counts');
});
