// Keeps what has been read: tells the server, hears from other devices, and remembers by itself where the server does not.

import { isAfter } from './ids.js';
import { timelineOf } from './state/reduce.js';
import { newest } from './state/timeline.js';
import { remember, recall } from './storage.js';

/** Reading on within this time is told once. */
const TELL_MS = 800;

export class Reading {
  #told = new Map();
  #timers = new Map();
  /** Whether the server keeps read states; null until it is known. */
  #kept = null;

  constructor({ api, store }) {
    this.api = api;
    this.store = store;
  }

  #key() {
    return `read:${this.store.state.me?.id}`;
  }

  /** At the begin of a session: what is unread. */
  async begin() {
    const { store } = this;
    try {
      const { data } = await this.api.get('/x/users/@me/read-states');
      this.#kept = true;
      store.dispatch({ type: 'read-states', states: data });
    } catch (error) {
      if (error.status !== 404) return;
      this.#kept = false;
      const channels = Object.entries(store.state.lasts).map(([id, last_message_id]) => ({ id, last_message_id }));
      store.dispatch({ type: 'read-guess', channels, remembered: recall(this.#key(), {}) });
    }
  }

  /** The end of a channel is in view of somebody who looks. */
  seen(channel) {
    const { store } = this;
    const id = newest(timelineOf(store.state, channel));
    const state = store.state.reads[channel];
    if (!id || (!isAfter(id, state?.last_read_id) && !state?.unread)) return;
    store.dispatch({ type: 'read', channel, id });
    if (!this.#timers.has(channel)) {
      this.#timers.set(channel, setTimeout(() => this.#tell(channel), TELL_MS));
    }
  }

  async #tell(channel) {
    this.#timers.delete(channel);
    const id = this.store.state.reads[channel]?.last_read_id;
    if (!id || !isAfter(id, this.#told.get(channel))) return;
    this.#told.set(channel, id);
    if (this.#kept === false) {
      return remember(this.#key(), { ...recall(this.#key(), {}), [channel]: id }, true);
    }
    try {
      await this.api.call('PUT', `/x/users/@me/read-states/${channel}`, { last_read_id: id });
    } catch (error) {
      // Told again with the next message that is read.
      if (error.isPassing) this.#told.delete(channel);
    }
  }
}
