// One session at the gateway: connects, identifies, keeps the connection alive, resumes it when it breaks. Knows nothing
// of what the events mean. Sockets, timers and chance can be given, so that tests decide them.

import { createBackoff } from './backoff.js';
import { Timers } from './timers.js';

/** Guilds, members, voice states, presences, messages, reactions, typing, content. */
const INTENTS = 1 | 1 << 1 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 15;
/** Longest wait for HELLO, for READY, and for the answer to a heartbeat that was sent to find out. */
const HELLO_MS = 15_000;
const READY_MS = 20_000;
const PROBE_MS = 5_000;
/** How often to try although the browser says that there is no network. */
const OFFLINE_MS = 30_000;
/** Closed for good: there is nothing to be gained by trying again. */
const FATAL = new Set([4004, 4010, 4011, 4012, 4013, 4014]);
/** Closed with a session that does not exist any more. */
const SESSION_LOST = new Set([1000, 1001, 4007, 4009]);
/** Closes a socket and keeps the session. */
const KEEP_SESSION = 4000;

/**
 * `on.link({state, retryAt})` with `connecting`, `open`, `waiting`, `offline` or `closed`; `on.dispatch(type, d)`;
 * `on.resumed()`; `on.fatal(code, reason)`. `presence()` answers how to show oneself.
 */
export class Gateway {
  #socket = null;
  #session = null;
  #sequence = null;
  #timers;
  #awaiting = false;
  #stopped = false;
  #open = false;

  constructor({ url, token, presence, on, env = {} }) {
    this.url = url;
    this.token = token;
    this.presence = presence;
    this.on = on;
    this.env = {
      connect: address => new WebSocket(address),
      setTimeout: (f, ms) => setTimeout(f, ms),
      clearTimeout: id => clearTimeout(id),
      random: Math.random,
      now: Date.now,
      isOffline: () => globalThis.navigator?.onLine === false,
      ...env,
    };
    this.backoff = createBackoff(this.env.random);
    this.#timers = new Timers(this.env);
  }

  start() {
    this.#connect();
  }

  /** Ends the session. */
  stop() {
    this.#stopped = true;
    this.#leave(1000);
    this.on.link({ state: 'closed' });
  }

  /** Shows oneself as `presence()` says now. */
  tellPresence() {
    if (this.#open) this.#send(3, this.presence());
  }

  /** Asks for members of a workspace. */
  requestMembers(d) {
    if (this.#open) this.#send(8, d);
  }

  /** Enters a voice channel, is there differently, or leaves. Answers whether there was a connection to say it on. */
  tellVoice(d) {
    if (this.#open) this.#send(4, d);
    return this.#open;
  }

  /** Does not wait any longer before the next try. */
  retry() {
    if (this.#stopped || this.#socket) return;
    this.backoff.reset();
    this.#connect();
  }

  /** The network is back, or the page is looked at again: finds out whether the connection still is one. */
  wake() {
    if (!this.#socket) return this.retry();
    if (this.#open) this.#probe();
  }

  /** The network is gone, says the browser. */
  lost() {
    if (this.#socket && this.#open) this.#probe();
    else if (!this.#stopped) this.on.link({ state: 'offline' });
  }

  #connect() {
    this.#timers.clear('retry');
    if (this.env.isOffline()) {
      this.on.link({ state: 'offline' });
      // Browsers are wrong about this now and then.
      return this.#timers.after('retry', OFFLINE_MS, () => this.#dial());
    }
    this.#dial();
  }

  #dial() {
    this.#timers.clear('retry');
    this.on.link({ state: 'connecting', resuming: Boolean(this.#session) });
    let socket;
    try {
      socket = this.env.connect(this.url);
    } catch {
      return this.#later();
    }
    this.#socket = socket;
    const mine = handler => event => this.#socket === socket && handler(event);
    socket.onmessage = mine(event => this.#receive(event.data));
    socket.onclose = mine(event => this.#closed(event.code, event.reason));
    this.#timers.after('patience', HELLO_MS, () => this.#again());
  }

  #receive(text) {
    const { op, d, s, t } = JSON.parse(text);
    if (typeof s === 'number') this.#sequence = s;
    switch (op) {
      case 0: return this.#dispatch(t, d);
      case 1: return this.#beat();
      case 7: return this.#again();
      case 9:
        if (!d) this.#forget();
        return this.#again(1_000 + 4_000 * this.env.random());
      case 10: return this.#hello(d.heartbeat_interval);
      case 11:
        this.#awaiting = false;
        this.#timers.clear('probe');
        return undefined;
      default: return undefined;
    }
  }

  #hello(interval) {
    this.#awaiting = false;
    const beat = () => {
      // The last one was not answered: whatever this is, it is no connection.
      if (this.#awaiting) return this.#again();
      this.#beat();
      this.#timers.after('beat', interval, beat);
    };
    this.#timers.after('beat', interval * this.env.random(), beat);
    this.#timers.after('patience', READY_MS, () => this.#again());
    const { token } = this;
    if (this.#session) return this.#send(6, { token, session_id: this.#session, seq: this.#sequence });
    const properties = { os: 'web', browser: 'Clarion', device: 'Clarion' };
    this.#send(2, { token, intents: INTENTS, properties, presence: this.presence() });
  }

  #dispatch(type, d) {
    if (type === 'READY') this.#session = d.session_id;
    if (type === 'READY' || type === 'RESUMED') {
      this.#open = true;
      this.#timers.clear('patience');
      this.backoff.reset();
      this.on.link({ state: 'open' });
      if (type === 'RESUMED') return this.on.resumed();
    }
    this.on.dispatch(type, d);
  }

  #beat() {
    this.#awaiting = true;
    this.#send(1, this.#sequence);
  }

  #probe() {
    if (this.#timers.has('probe')) return;
    this.#beat();
    this.#timers.after('probe', PROBE_MS, () => this.#again());
  }

  #closed(code, reason) {
    if (FATAL.has(code)) {
      this.#stopped = true;
      this.#leave();
      return this.on.fatal(code, reason);
    }
    if (SESSION_LOST.has(code)) this.#forget();
    this.#again(code === 4008 ? 5_000 : 0);
  }

  #forget() {
    this.#session = null;
    this.#sequence = null;
  }

  /** Gives this socket up and tries again, not before `least` ms. */
  #again(least = 0) {
    this.#leave(KEEP_SESSION);
    if (!this.#stopped) this.#later(least);
  }

  #later(least = 0) {
    const wait = Math.max(least, this.backoff.next());
    const state = this.env.isOffline() ? 'offline' : 'waiting';
    this.on.link({ state, retryAt: this.env.now() + wait });
    this.#timers.after('retry', wait, () => this.#connect());
  }

  #leave(code) {
    this.#timers.clearAll();
    const socket = this.#socket;
    this.#socket = null;
    this.#open = false;
    if (socket && code) socket.close(code);
  }

  #send(op, d) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify({ op, d }));
  }
}
