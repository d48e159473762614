// Connections and requests that fail: what is tried again, when, and what never is. Time and sockets are the test's own.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Api, ApiError } from '../api.js';
import { createBackoff } from '../backoff.js';
import { Gateway } from '../gateway.js';
import { Outbox } from '../outbox.js';
import { createStore } from '../store.js';

/** Timers that run when the test says. */
function clock() {
  let now = 0;
  let next = 1;
  const timers = new Map();
  return {
    now: () => now,
    setTimeout: (f, ms) => { timers.set(next, { f, at: now + ms }); return next++; },
    clearTimeout: id => timers.delete(id),
    pass(ms) {
      const until = now + ms;
      for (;;) {
        const due = [...timers].filter(([, timer]) => timer.at <= until).sort((a, b) => a[1].at - b[1].at)[0];
        if (!due) break;
        timers.delete(due[0]);
        now = due[1].at;
        due[1].f();
      }
      now = until;
    },
  };
}

function scene({ offline = false } = {}) {
  const time = clock();
  const sockets = [];
  const heard = [];
  const env = {
    ...time, random: () => 0.5, isOffline: () => scene.offline,
    connect: url => {
      const socket = { url, readyState: 1, sent: [], send: text => socket.sent.push(JSON.parse(text)), close: code => { socket.code = code; socket.readyState = 3; } };
      sockets.push(socket);
      return socket;
    },
  };
  scene.offline = offline;
  const gateway = new Gateway({
    url: 'ws://here/', token: 't', presence: () => ({ status: 'idle' }), env,
    on: { link: link => heard.push(link.state), dispatch: type => heard.push(type), resumed: () => heard.push('resumed'), fatal: code => heard.push(code) },
  });
  gateway.start();
  const last = () => sockets.at(-1);
  const get = payload => last().onmessage({ data: JSON.stringify(payload) });
  const begin = () => {
    get({ op: 10, d: { heartbeat_interval: 10_000 } });
    get({ op: 0, s: 1, t: 'READY', d: { session_id: 's', resume_gateway_url: 'ws://elsewhere/' } });
  };
  return { time, sockets, heard, gateway, last, get, begin };
}

test('a session is identified, kept alive, and resumed at the same address', () => {
  const { time, sockets, last, get, begin, heard } = scene();
  begin();
  assert.deepEqual([last().sent[0].op, last().sent[0].d.presence.status, last().sent[0].d.intents & 1 << 15], [2, 'idle', 1 << 15]);
  time.pass(5_000);
  assert.deepEqual(last().sent.at(-1), { op: 1, d: 1 });
  get({ op: 11 });
  last().onclose({ code: 1006 });
  time.pass(1_000);
  assert.equal(sockets.length, 2);
  assert.equal(last().url, 'ws://here/');
  get({ op: 10, d: { heartbeat_interval: 10_000 } });
  assert.deepEqual(last().sent[0], { op: 6, d: { token: 't', session_id: 's', seq: 1 } });
  get({ op: 0, s: 2, t: 'RESUMED', d: {} });
  assert.deepEqual(heard, ['connecting', 'open', 'READY', 'waiting', 'connecting', 'open', 'resumed']);
});

test('a heartbeat without an answer is the end of a connection, not of the session', () => {
  const { time, sockets, begin } = scene();
  begin();
  time.pass(5_000 + 10_000 + 1_000);
  assert.equal(sockets.length, 2);
  assert.equal(sockets[0].code, 4000);
});

test('what the server orders is done', () => {
  const { time, sockets, get, begin, last } = scene();
  begin();
  get({ op: 1 });
  assert.equal(last().sent.at(-1).op, 1);
  get({ op: 7 });
  time.pass(1_000);
  assert.equal(sockets.length, 2);
  get({ op: 10, d: { heartbeat_interval: 10_000 } });
  get({ op: 9, d: false });
  assert.equal(sockets.length, 2, 'not at once');
  time.pass(6_000);
  get({ op: 10, d: { heartbeat_interval: 10_000 } });
  assert.equal(last().sent[0].op, 2, 'anew');
});

test('a token that does not hold is not tried again', () => {
  const { time, sockets, last, heard } = scene();
  last().onclose({ code: 4004 });
  time.pass(600_000);
  assert.deepEqual([sockets.length, heard.at(-1)], [1, 4004]);
});

test('a server that never says hello is given up, with longer and longer waits', () => {
  const { time, sockets } = scene();
  time.pass(15_000 * 4 + 5_000);
  assert.ok(sockets.length >= 4 && sockets.length <= 6, `${sockets.length}`);
  const backoff = createBackoff(() => 0.999);
  const waits = Array.from({ length: 12 }, () => backoff.next());
  assert.ok(waits.every((wait, n) => wait <= 30_000 && (n === 0 || wait >= waits[n - 1] * 0.99)), waits.join());
});

test('without a network it waits for one', () => {
  const { time, sockets, gateway, heard } = scene({ offline: true });
  assert.deepEqual([sockets.length, heard.at(-1)], [0, 'offline']);
  scene.offline = false;
  gateway.wake();
  assert.equal(sockets.length, 1);
  time.pass(100);
});

test('a page that wakes up finds out whether its connection still is one', () => {
  const { time, sockets, gateway, begin, get } = scene();
  begin();
  gateway.wake();
  get({ op: 11 });
  time.pass(6_000);
  get({ op: 11 });
  assert.equal(sockets.length, 1);
  gateway.wake();
  time.pass(6_000);
  assert.equal(sockets.length, 2);
});

const answer = (status, body, headers = {}) => new Response(body === undefined ? null : JSON.stringify(body), { status, headers });

function api(answers, more = {}) {
  const asked = [];
  const waits = [];
  let now = 0;
  const env = {
    now: () => now, sleep: async ms => { waits.push(ms); now += ms; },
    fetch: async (url, options) => {
      asked.push(`${options.method} ${url}`);
      const next = answers.shift();
      if (next instanceof Error) throw next;
      return next;
    },
  };
  return { api: new Api('t', { env, ...more }), asked, waits, pass: ms => { now += ms; } };
}

test('limits are waited for, also before they refuse', async () => {
  const { api: one, asked, waits } = api([
    answer(429, { message: 'slow', retry_after: 1.5 }), answer(200, { id: '1' }, { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset-after': '2' }), answer(200, { id: '2' }),
  ]);
  assert.equal((await one.call('POST', '/channels/1/messages', {})).data.id, '1');
  await one.call('POST', '/channels/1/messages', {});
  assert.deepEqual([asked.length, waits], [3, [1_500, 2_000]]);
});

test('reads are tried again, writes are not, and errors name the field', async () => {
  const reading = api([new TypeError('net'), answer(503, {}), answer(200, [])]);
  assert.deepEqual((await reading.api.get('/x')).data, []);
  const writing = api([answer(503, {})]);
  await assert.rejects(writing.api.call('POST', '/x', {}), error => error instanceof ApiError && error.isPassing);
  const wrong = api([answer(400, { message: 'Invalid Form Body', code: 50035, errors: { content: { _errors: [{ code: 'X', message: 'Too long.' }] } } })]);
  await assert.rejects(wrong.api.call('POST', '/x', {}), /Too long/);
  assert.equal(api([]).api.token, 't');
});

test('a message without an answer is sent again with its nonce; a refused one is not', async () => {
  const store = createStore();
  const tries = [];
  const outcomes = [new ApiError(0), new ApiError(503, {}), null];
  const outbox = new Outbox({
    store,
    env: { setTimeout: f => queueMicrotask(f) },
    api: {
      async call(method, path, body) {
        tries.push(body.nonce);
        const outcome = outcomes.shift();
        if (outcome) throw outcome;
        return { data: { id: '1', channel_id: '5', nonce: body.nonce, author: { id: '1' } }, trace: 'f' };
      },
    },
  });
  outbox.send('5', 'hi');
  while (outbox.isBusy) await new Promise(setImmediate);
  assert.equal(new Set(tries).size, 1);
  assert.equal(tries.length, 3);
  assert.equal(store.state.timelines['5'].pending.length, 0);
  assert.equal(outbox.traces.get('1'), 'f');
  outcomes.push(new ApiError(403, { message: 'Missing Access' }));
  outbox.send('5', 'no');
  while (outbox.isBusy) await new Promise(setImmediate);
  assert.deepEqual(store.state.timelines['5'].pending.map(entry => [entry.state, entry.reason]), [['failed', 'Missing Access']]);
});
