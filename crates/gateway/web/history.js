// Loads what was said: the newest page, older ones as one scrolls up, and what was missed while there was no session.

import { isAfter } from './ids.js';
import { timelineOf } from './state/reduce.js';
import { newest } from './state/timeline.js';

const PAGE = 50;
/** The API's largest page. */
const LARGE = 100;
/** Pages fetched to fill a gap in a channel that is not open; beyond it is loaded anew when it is opened. */
const MISSED_PAGES = 5;

export class History {
  #filling = new Set();

  constructor({ api, store }) {
    this.api = api;
    this.store = store;
  }

  /** Loads the end of a channel that has not been loaded. */
  async open(channel) {
    const now = timelineOf(this.store.state, channel);
    if (now.loaded || now.loading) return;
    await this.#load(channel, 'newest', `?limit=${PAGE}`);
  }

  /** Loads the page before the oldest message. */
  async older(channel) {
    const now = timelineOf(this.store.state, channel);
    if (!now.loaded || now.loading || now.start || now.messages.length === 0) return;
    await this.#load(channel, 'older', `?limit=${PAGE}&before=${now.messages[0].id}`);
  }

  async #load(channel, what, query) {
    const { store } = this;
    store.dispatch({ type: 'loading', channel, what });
    try {
      const { data } = await this.api.get(`/channels/${channel}/messages${query}`);
      // Somebody went elsewhere meanwhile.
      if (timelineOf(store.state, channel).loading !== what) return;
      store.dispatch({ type: 'page', channel, messages: data, full: data.length === PAGE });
    } catch (error) {
      store.dispatch({ type: 'load-failed', channel, error: error.message });
    }
  }

  /** Loads what is around a message, unless it is there. */
  async around(channel, id) {
    if (timelineOf(this.store.state, channel).messages.some(message => message.id === id)) return;
    const { data } = await this.api.get(`/channels/${channel}/messages?around=${id}&limit=${PAGE}`);
    const end = data.filter(message => isAfter(message.id, id)).length < PAGE / 2 - 1;
    this.store.dispatch({ type: 'around', channel, messages: data, end });
    await this.refresh(channel);
  }

  /** Loads the page after the end of what is around an old message. */
  async newer(channel) {
    const { store } = this;
    const now = timelineOf(store.state, channel);
    if (!now.detached || now.loading || now.error) return;
    store.dispatch({ type: 'loading', channel, what: 'newer' });
    try {
      const { data } = await this.api.get(`/channels/${channel}/messages?limit=${PAGE}&after=${newest(now) ?? '0'}`);
      if (timelineOf(store.state, channel).loading !== 'newer') return;
      store.dispatch({ type: 'further', channel, messages: data, end: data.length < PAGE });
      await this.refresh(channel);
    } catch (error) {
      store.dispatch({ type: 'load-failed', channel, error: error.message });
    }
  }

  /** From an old message back to the newest ones. */
  async attach(channel) {
    if (!timelineOf(this.store.state, channel).detached) return;
    this.store.dispatch({ type: 'forget', channel });
    await this.open(channel);
  }

  /** After a new session: fills every gap, the open channel's first. After a resumed one there is none. */
  async catchUp() {
    const { state } = this.store;
    const open = Object.keys(state.timelines).filter(id => state.timelines[id].gapAfter);
    open.sort((a, b) => (b === state.channel) - (a === state.channel));
    for (const channel of open) await this.#fill(channel);
  }

  async #fill(channel) {
    if (this.#filling.has(channel)) return;
    this.#filling.add(channel);
    try {
      await this.#fetchMissed(channel);
      // Edits, deletions and reactions are not in the pages after: the newest page has them.
      const { data } = await this.api.get(`/channels/${channel}/messages?limit=${LARGE}`);
      this.store.dispatch({ type: 'newest', channel, messages: data });
    } catch (error) {
      // The mark of the gap stays; the next session, or opening the channel, tries again.
      if (!error.isPassing) this.store.dispatch({ type: 'forget', channel });
    } finally {
      this.#filling.delete(channel);
    }
  }

  async #fetchMissed(channel) {
    let after = timelineOf(this.store.state, channel).gapAfter;
    for (let pages = 0; after; pages += 1) {
      if (pages === MISSED_PAGES && channel !== this.store.state.channel) {
        return this.store.dispatch({ type: 'forget', channel });
      }
      const { data } = await this.api.get(`/channels/${channel}/messages?limit=${LARGE}&after=${after}`);
      this.store.dispatch({ type: 'missed', channel, messages: data });
      after = data.length < LARGE ? null : data.reduce((last, one) => (isAfter(one.id, last) ? one.id : last), after);
    }
    return undefined;
  }

  /** Fills the gap of a channel that is opened, if it still has one. */
  async refresh(channel) {
    if (timelineOf(this.store.state, channel).gapAfter) await this.#fill(channel);
  }
}
