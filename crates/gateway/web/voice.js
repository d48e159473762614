// Takes part in a voice channel: asks for a place by the gateway, makes one WebRTC connection with one offer, and makes
// another whenever that one fails. It shows nothing. Connections, microphones and timers can be given.

import { createBackoff } from './backoff.js';
import { measure } from './state/voice.js';

/** A room's slots: so many can be heard at once. */
const SLOTS = 8;
/** Longest wait for a server to be named, for a connection to be made, and for one that is interrupted to come back. */
const ASK_MS = 12_000;
/** The same when the gateway has said that one will be. */
const NAMED_MS = 30_000;
const CONNECT_MS = 12_000;
const INTERRUPTED_MS = 4_000;
const QUALITY_MS = 2_000;

export class Voice {
  #peer = null;
  /** The connection being made; it takes the place of the other when it has its answer. */
  #next = null;
  #microphone = null;
  #players = [];
  #session = null;
  #counts;
  #timers = new Map();

  /** `tell(d)` sends op 4 and answers whether it could. */
  constructor({ store, tell, env = {} }) {
    this.store = store;
    this.tell = tell;
    this.env = {
      peer: () => new RTCPeerConnection(),
      microphone: () => navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true } }),
      player: () => new Audio(),
      stream: track => new MediaStream([track]),
      fetch: (...all) => fetch(...all),
      setTimeout: (f, ms) => setTimeout(f, ms),
      clearTimeout: id => clearTimeout(id),
      random: Math.random,
      ...env,
    };
    this.backoff = createBackoff(this.env.random);
  }

  get #state() { return this.store.state.voice; }

  /** Enters a voice channel; leaves another. */
  join(guild, channel) {
    const { guild: before, channel: at, phase } = this.#state;
    if (at === channel && phase !== 'idle') return;
    if (before && before !== guild) this.tell({ guild_id: before, channel_id: null, self_mute: false, self_deaf: false });
    this.store.dispatch({ type: 'voice-join', guild, channel });
    this.backoff.reset();
    this.#listen();
    this.#ask();
  }

  /** Leaves. `problem`: why, if one did not want to. */
  leave(problem = null) {
    const { guild, channel } = this.#state;
    if (channel !== null) this.tell({ guild_id: guild, channel_id: null, self_mute: false, self_deaf: false });
    this.store.dispatch({ type: 'voice-leave', problem });
    this.#close();
  }

  setMuted(muted) {
    // Who wants to be heard wants to hear.
    this.#flags(muted, muted && this.#state.deafened);
  }

  setDeafened(deafened) {
    this.#flags(this.#state.muted, deafened);
  }

  /** An event of the gateway, after the state has taken it. */
  dispatched(type, d) {
    if (type === 'READY') {
      // The voice state was the old session's.
      this.#session = d.session_id;
      this.again();
    }
    if (type === 'VOICE_SERVER_UPDATE' && d.guild_id === this.#state.guild) this.#server(d);
    if ((type === 'VOICE_REFUSED' || type === 'VOICE_STATE_UPDATE') && this.#state.channel === null) this.#close();
  }

  /** Asks for a place again: the media failed, or the gateway may not know of us. */
  again() {
    if (this.#state.channel === null) return;
    this.#phase(this.#peer?.connectionState === 'connected' ? this.#state.phase : 'joining');
    this.#ask();
  }

  #ask() {
    const { guild, channel, muted, deafened } = this.#state;
    this.#after('ask', ASK_MS, () => this.#fail('No voice server answers.'));
    const is_told = this.tell({ guild_id: guild, channel_id: channel, self_mute: muted || deafened, self_deaf: deafened });
    // Without a gateway nothing can be asked; it is asked when it is back.
    if (!is_told) this.#clear('ask');
  }

  #flags(muted, deafened) {
    const { guild, channel } = this.#state;
    this.store.dispatch({ type: 'voice-flags', muted, deafened });
    this.#apply();
    if (channel !== null) this.tell({ guild_id: guild, channel_id: channel, self_mute: muted || deafened, self_deaf: deafened });
  }

  /** Makes the microphone and the players what the flags say. */
  #apply() {
    const { muted, deafened } = this.#state;
    this.#microphone?.then(stream => stream?.getTracks().forEach(track => { track.enabled = !muted && !deafened; }));
    this.#players.forEach(player => { player.muted = deafened; });
  }

  /** Asks for the microphone, once a stay. */
  #listen() {
    if (this.#microphone) return;
    this.store.dispatch({ type: 'voice-microphone', microphone: 'asking' });
    // Pages that are not secure have no devices at all.
    const asked = Promise.resolve().then(() => this.env.microphone()).then(stream => ['open', stream], error =>
      [error.name === 'NotAllowedError' ? 'refused' : 'missing', null]);
    const mine = this.#microphone = asked.then(([microphone, stream]) => {
      if (this.#microphone !== mine) {
        stream?.getTracks().forEach(track => track.stop());
        return null;
      }
      this.store.dispatch({ type: 'voice-microphone', microphone });
      return stream;
    });
    this.#apply();
  }

  #server(d) {
    if (d.channel_id && d.channel_id !== this.#state.channel) return;
    if (this.#session && d.session_id && d.session_id !== this.#session) return;
    if (!d.endpoint || !d.url) {
      this.#phase('waiting');
      return this.#after('ask', NAMED_MS, () => this.#fail('No voice server answers.'));
    }
    this.#connect(d.url, d.token);
  }

  async #connect(url, token) {
    this.#clear('ask');
    this.#clear('retry');
    this.#next?.close();
    const peer = this.#next = this.env.peer();
    const players = [];
    this.#phase('connecting');
    peer.ontrack = ({ track }) => {
      const player = this.env.player();
      player.srcObject = this.env.stream(track);
      player.muted = this.#state.deafened;
      // Whoever joined by a click may play; where it is refused nevertheless, the next click on mute or deafen is one.
      player.play()?.catch?.(() => {});
      players.push(player);
    };
    peer.onconnectionstatechange = () => this.#changed(peer);
    try {
      const stream = await this.#microphone;
      if (this.#next !== peer) return;
      const [voice] = stream?.getAudioTracks() ?? [];
      if (voice) peer.addTransceiver(voice, { direction: 'sendonly', streams: [stream] });
      for (let n = 0; n < SLOTS; n += 1) peer.addTransceiver('audio', { direction: 'recvonly' });
      await peer.setLocalDescription();
      if (this.#next !== peer) return;
      this.#after('connect', CONNECT_MS, () => this.#fail('No connection to the voice server could be made.'));
      const answer = await this.env.fetch(url, {
        method: 'POST', body: peer.localDescription.sdp, credentials: 'omit', referrerPolicy: 'no-referrer',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/sdp' },
      });
      const text = await answer.text();
      if (this.#next !== peer) return;
      if (answer.status !== 201) return this.#fail(`The voice server refused (${answer.status}).`);
      await peer.setRemoteDescription({ type: 'answer', sdp: text });
    } catch {
      // Also where the page was loaded before there was this server: its policy does not know it.
      if (this.#next === peer) this.#fail('The voice server cannot be reached. If this stays so, reload the page.');
      return;
    }
    if (this.#next !== peer) return;
    this.#peer?.close();
    this.#silence();
    [this.#peer, this.#next, this.#players, this.#counts] = [peer, null, players, undefined];
    this.#apply();
    this.#changed(peer);
  }

  #changed(peer) {
    if (peer !== this.#peer) return;
    if (peer.connectionState === 'connected') {
      for (const name of ['connect', 'interrupted', 'retry']) this.#clear(name);
      this.backoff.reset();
      this.#phase('open');
      this.#after('quality', QUALITY_MS / 4, () => this.#measure());
    }
    if (peer.connectionState === 'disconnected') {
      this.#phase('broken', 'The connection is interrupted.');
      this.#after('interrupted', INTERRUPTED_MS, () => this.#fail());
    }
    if (peer.connectionState === 'failed') this.#fail();
  }

  /** Asks for a place again, later each time. */
  #fail(problem = 'The connection was lost.') {
    for (const name of ['ask', 'connect', 'interrupted', 'quality']) this.#clear(name);
    this.#next?.close();
    this.#next = null;
    if (this.#state.channel === null) return;
    this.#phase('broken', problem);
    this.#after('retry', this.backoff.next(), () => this.#ask());
  }

  async #measure() {
    const peer = this.#peer;
    const stats = await peer?.getStats().catch(() => null);
    if (!stats || peer !== this.#peer || this.#state.phase !== 'open') return;
    const { quality, counts } = measure(stats.values(), this.#counts);
    this.#counts = counts;
    this.store.dispatch({ type: 'voice-quality', quality });
    this.#after('quality', QUALITY_MS, () => this.#measure());
  }

  #phase(phase, problem = null) {
    this.store.dispatch({ type: 'voice-phase', phase, problem });
  }

  #silence() {
    this.#players.forEach(player => { player.srcObject = null; });
    this.#players = [];
  }

  #close() {
    for (const name of [...this.#timers.keys()]) this.#clear(name);
    this.#next?.close();
    this.#peer?.close();
    this.#next = this.#peer = null;
    this.#silence();
    this.#microphone?.then(stream => stream?.getTracks().forEach(track => track.stop()));
    this.#microphone = null;
  }

  #after(name, ms, f) {
    this.#clear(name);
    this.#timers.set(name, this.env.setTimeout(() => {
      this.#timers.delete(name);
      f();
    }, ms));
  }

  #clear(name) {
    this.env.clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }
}
