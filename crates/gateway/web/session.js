// One person, signed in: ties the gateway, the API and the store together, and is what views ask to do things.

import { Api } from './api.js';
import { Gateway } from './gateway.js';
import { History } from './history.js';
import { encode } from './mentions.js';
import { Outbox } from './outbox.js';
import { Reading } from './reading.js';
import { textChannels } from './state/guilds.js';
import { channelOf, guildOf, timelineOf } from './state/reduce.js';
import { forgetAll, kept, recall, remember } from './storage.js';
import { Voice } from './voice.js';

/** Others are told at most this often that one types. */
const TYPING_MS = 8_000;
/** How often it is looked whether somebody has stopped typing. */
const TICK_MS = 1_000;

const TOKEN = 'token';

/** The token that was kept, if one was. */
export const keptToken = () => recall(TOKEN);

export class Session {
  /** The page of recent traces, where the demo names it. */
  tracesUrl = null;
  #typedAt = new Map();
  #disposers = [];

  /** `ended(reason)` is called when the session is over; `reason` is null when one signed out. */
  constructor({ store, token, lasting, ended, notify }) {
    this.store = store;
    this.notify = notify;
    this.ended = ended;
    this.token = token;
    if (lasting !== undefined) remember(TOKEN, token, lasting);
    this.api = new Api(token, { onUnauthorized: () => this.#end('This token is not valid any more.') });
    this.history = new History(this);
    this.outbox = new Outbox(this);
    this.reading = new Reading(this);
    store.dispatch({ type: 'status', status: recall('status', 'online') });
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    this.gateway = new Gateway({
      url: `${scheme}://${location.host}/?v=10&encoding=json`,
      token,
      presence: () => ({ since: null, activities: [], status: store.state.status, afk: false }),
      on: {
        link: link => store.dispatch({ type: 'link', link }),
        dispatch: (type, d) => this.#dispatched(type, d),
        resumed: () => {
          this.outbox.wake();
          // It may have been resumed at another gateway.
          this.voice.again();
        },
        fatal: (code, reason) => this.#end(code === 4004 ? 'This token is not valid.' : `The server refused: ${reason || code}.`),
      },
    });
    this.voice = new Voice({
      store,
      tell: d => this.gateway.tellVoice(d),
      offer: async d => (await this.api.call('POST', '/x/voice', d)).data.sdp,
    });
  }

  start() {
    const listen = (target, name, f) => {
      target.addEventListener(name, f);
      this.#disposers.push(() => target.removeEventListener(name, f));
    };
    listen(window, 'online', () => {
      this.gateway.wake();
      this.outbox.wake();
    });
    listen(window, 'offline', () => this.gateway.lost());
    listen(document, 'visibilitychange', () => document.visibilityState === 'visible' && this.gateway.wake());
    listen(window, 'pagehide', () => this.voice.leave());
    listen(window, 'beforeunload', event => this.outbox.isBusy && event.preventDefault());
    const timer = setInterval(() => this.store.dispatch({ type: 'tick', now: Date.now() }), TICK_MS);
    this.#disposers.push(() => clearInterval(timer));
    this.gateway.start();
  }

  signOut() {
    this.#end(null);
  }

  #end(reason) {
    if (!this.#disposers) return;
    this.#disposers.forEach(dispose => dispose());
    this.#disposers = null;
    this.outbox.stop();
    this.voice.leave();
    this.gateway.stop();
    // What stays signed in may be somebody else, of another tab.
    for (const lasting of [false, true]) if (kept(TOKEN, lasting) === this.token) remember(TOKEN, undefined, lasting);
    forgetAll(`draft:${this.store.state.me?.id}:`);
    this.store.dispatch({ type: 'signed-out' });
    this.ended(reason);
  }

  #dispatched(type, d) {
    const before = this.store.state;
    this.store.dispatch({ type, d, now: Date.now() });
    this.voice.dispatched(type, d);
    const { state } = this.store;
    if (type === 'READY') this.outbox.wake();
    if (type === 'GUILD_CREATE' && d.large) this.gateway.requestMembers({ guild_id: d.id, query: '', limit: 0, presences: true });
    if (type === 'GUILD_CREATE' && state.order.every(id => state.guilds[id])) this.#arrived();
    if (type === 'MESSAGE_CREATE') this.notify?.(d, before);
    if (type === 'CHANNEL_DELETE' && state.channel === d.id) this.#settle();
  }

  /** All workspaces of a new session are there. */
  async #arrived() {
    this.#settle();
    await this.reading.begin();
    await this.history.catchUp();
  }

  /** Goes to the channel of the address, the one of last time, or the first. */
  #settle() {
    const { state } = this.store;
    const wanted = [state.channel, addressed(), recall(`channel:${state.me?.id}`)].find(id => id && channelOf(state, id));
    const first = state.order.flatMap(id => (state.guilds[id] ? textChannels(state.guilds[id]) : []))[0]?.id;
    if (wanted ?? first) this.open(wanted ?? first);
  }

  open(channel) {
    const { store } = this;
    if (!channelOf(store.state, channel)) return;
    if (store.state.channel !== channel) store.dispatch({ type: 'open', channel });
    if (addressed() !== channel) history.replaceState(null, '', `#/c/${channel}`);
    remember(`channel:${store.state.me?.id}`, channel, true);
    this.history.open(channel);
    this.history.refresh(channel);
  }

  /** Goes to a message in its place. */
  async jump(channel, id) {
    const { store } = this;
    if (!channelOf(store.state, channel)) return;
    if (store.state.channel !== channel) {
      store.dispatch({ type: 'open', channel });
      history.replaceState(null, '', `#/c/${channel}`);
    }
    await this.history.around(channel, id);
  }

  send(channel, text) {
    const { state } = this.store;
    this.history.attach(channel);
    const reply = timelineOf(state, channel).messages.find(message => message.id === state.replies[channel]) ?? null;
    this.store.dispatch({ type: 'reply', channel, id: null });
    this.outbox.send(channel, encode(text, guildOf(state, channel)), reply);
    this.#typedAt.delete(channel);
  }

  async edit(message, text) {
    const content = encode(text, guildOf(this.store.state, message.channel_id));
    this.store.dispatch({ type: 'editing', id: null });
    if (content === message.content) return;
    const { data } = await this.api.call('PATCH', place(message), { content });
    this.store.dispatch({ type: 'MESSAGE_UPDATE', d: data });
  }

  async remove(message) {
    await this.api.call('DELETE', place(message));
    this.store.dispatch({ type: 'MESSAGE_DELETE', d: message });
  }

  /** Adds or takes one's own reaction. It is shown at once, and taken back if it is refused. */
  async react(message, emoji, added) {
    const action = { type: 'react', channel: message.channel_id, message_id: message.id, emoji };
    const name = encodeURIComponent(emoji.id ? `${emoji.name}:${emoji.id}` : emoji.name);
    this.store.dispatch({ ...action, added });
    try {
      await this.api.call(added ? 'PUT' : 'DELETE', `${place(message)}/reactions/${name}/@me`);
    } catch (error) {
      this.store.dispatch({ ...action, added: !added });
      throw error;
    }
  }

  typing(channel) {
    const now = Date.now();
    if (now - (this.#typedAt.get(channel) ?? 0) < TYPING_MS) return;
    this.#typedAt.set(channel, now);
    // Nobody misses it.
    this.api.call('POST', `/channels/${channel}/typing`).catch(() => {});
  }

  setStatus(status) {
    this.store.dispatch({ type: 'status', status });
    remember('status', status, true);
    this.gateway.tellPresence();
  }

  /** Where the trace of a message can be seen. */
  async trace(message) {
    try {
      const { data } = await this.api.get(`/x${place(message)}/trace`);
      return data.url;
    } catch (error) {
      // Of what was sent from here, the trace is known, if not for whom it is shown.
      const own = this.outbox.traces.get(message.id);
      if (error.status === 404 && own && this.tracesUrl) return `${this.tracesUrl}/${own}`;
      throw error;
    }
  }
}

const place = message => `/channels/${message.channel_id}/messages/${message.id}`;

/** The channel that the page's address names. */
export const addressed = () => /^#\/c\/(\d+)$/.exec(location.hash)?.[1] ?? null;
