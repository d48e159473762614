// Own messages on their way: shown at once, sent one after another in each channel, tried again with the same nonce until
// they are accepted, refused, or too old. The nonce makes a repetition harmless, so nothing is said twice.

import { createBackoff } from './backoff.js';
import { newNonce } from './ids.js';

/** The server knows a nonce for ten minutes; after this a message is not repeated by itself. */
const REPEATABLE_MS = 9 * 60_000;
/** Longest wait between two tries. */
const LONGEST_MS = 10_000;
/** Traces remembered. */
const TRACES = 500;

export class Outbox {
  /** Message → its trace, of the last ones sent from here. */
  traces = new Map();
  #queues = new Map();
  #wakers = new Set();

  constructor({ api, store, env = {} }) {
    this.api = api;
    this.store = store;
    this.env = { now: Date.now, setTimeout: (f, ms) => setTimeout(f, ms), ...env };
    this.stopped = false;
  }

  /** Says something; `reply` is the message it answers. */
  send(channel, content, reply = null) {
    this.#queue(channel, { nonce: newNonce(), content, reply, at: this.env.now() });
  }

  /** Tries a message again that had failed. */
  retry(channel, entry) {
    const old = this.env.now() - entry.at > REPEATABLE_MS;
    if (old) this.store.dispatch({ type: 'discard', channel, nonce: entry.nonce });
    this.#queue(channel, { ...entry, ...(old ? { nonce: newNonce() } : {}), at: old ? this.env.now() : entry.at });
  }

  /** Whether anything waits to be sent. */
  get isBusy() {
    return [...this.#queues.values()].some(queue => queue.length > 0);
  }

  /** The connection is back: what waits is tried at once. */
  wake() {
    for (const wake of [...this.#wakers]) wake();
  }

  stop() {
    this.stopped = true;
    this.wake();
  }

  #queue(channel, entry) {
    this.store.dispatch({ type: 'pend', channel, entry: { ...entry, state: 'sending', reason: null } });
    const queue = this.#queues.get(channel) ?? [];
    this.#queues.set(channel, queue);
    queue.push(entry);
    if (queue.length === 1) this.#work(channel, queue);
  }

  async #work(channel, queue) {
    while (queue.length > 0 && !this.stopped) {
      await this.#deliver(channel, queue[0]);
      queue.shift();
    }
  }

  async #deliver(channel, entry) {
    const { nonce, content, reply, at } = entry;
    const backoff = createBackoff();
    while (!this.stopped) {
      try {
        const body = { content, nonce, enforce_nonce: true };
        if (reply) body.message_reference = { message_id: reply.id, fail_if_not_exists: false };
        const { data, trace } = await this.api.call('POST', `/channels/${channel}/messages`, body);
        this.#remember(data.id, trace);
        this.store.dispatch({ type: 'missed', channel, messages: [data] });
        // Where the channel is not shown, nothing is kept of it.
        this.store.dispatch({ type: 'discard', channel, nonce });
        return;
      } catch (error) {
        if (!error.isPassing || this.env.now() - at > REPEATABLE_MS) {
          this.store.dispatch({ type: 'pending', channel, nonce, change: { state: 'failed', reason: error.message } });
          return;
        }
        this.store.dispatch({ type: 'pending', channel, nonce, change: { state: 'waiting', reason: error.message } });
        await this.#pause(Math.max(error.retryAfter ?? 0, Math.min(backoff.next(), LONGEST_MS)));
        this.store.dispatch({ type: 'pending', channel, nonce, change: { state: 'sending', reason: null } });
      }
    }
  }

  #remember(id, trace) {
    if (this.traces.size >= TRACES) this.traces.delete(this.traces.keys().next().value);
    if (trace) this.traces.set(id, trace);
  }

  #pause(ms) {
    return new Promise(done => {
      const wake = () => {
        this.#wakers.delete(wake);
        done();
      };
      this.#wakers.add(wake);
      this.env.setTimeout(wake, ms);
    });
  }
}
