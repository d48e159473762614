// Takes part in a voice channel: asks for a place by the gateway, makes one WebRTC connection with one offer, and makes
// another whenever that one fails. Offers go by the gateway, too: a page may speak to no other origin than its own. It shows
// nothing. Connections, microphones and timers can be given.

import { createBackoff } from './backoff.js';
import { MICROPHONE, SPEAKERS, choose, chosen, listed, open } from './devices.js';
import { measure } from './state/voice.js';
import { Timers } from './timers.js';

/** A room's slots: so many can be heard at once. */
const SLOTS = 8;
/** Longest wait for a server to be named, for a connection to be made, and for one that is interrupted to come back. */
const ASK_MS = 12_000;
/** The same when the gateway has said that one will be. */
const NAMED_MS = 30_000;
const CONNECT_MS = 12_000;
const INTERRUPTED_MS = 4_000;
const QUALITY_MS = 2_000;
/** How long the connection that was stays beside the new one: the others go over at about the same time, not at once. */
const OVERLAP_MS = 1_500;

export class Voice {
  #peer = null;
  /** The connection being made; it takes the place of the other when it has its answer. */
  #next = null;
  /** The connection that was, until the one that there is has worked for a while; with its players. */
  #former = null;
  /** A server that was named for a channel of which one does not know yet that one was moved to it. */
  #early = null;
  #microphone = null;
  #players = [];
  #session = null;
  #counts;
  #timers;

  /** `tell(d)` sends op 4 and answers whether it could; `offer({url, token, sdp})` answers with the server's description. */
  constructor({ store, tell, offer, env = {} }) {
    this.store = store;
    this.tell = tell;
    this.offer = offer;
    this.env = {
      peer: () => new RTCPeerConnection(),
      microphone: () => open(),
      devices: () => navigator.mediaDevices.enumerateDevices(),
      player: () => new Audio(),
      stream: track => new MediaStream([track]),
      setTimeout: (f, ms) => setTimeout(f, ms),
      clearTimeout: id => clearTimeout(id),
      random: Math.random,
      ...env,
    };
    this.backoff = createBackoff(this.env.random);
    this.#timers = new Timers(this.env);
  }

  get #state() { return this.store.state.voice; }

  /** Enters a voice channel; leaves another. */
  join(guild, channel) {
    const { guild: before, channel: at, phase } = this.#state;
    if (at === channel && phase !== 'idle') return;
    if (before && before !== guild) this.tell({ guild_id: before, channel_id: null, self_mute: false, self_deaf: false });
    // Nobody is in two rooms.
    this.#hangUp();
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

  /** What there is to speak into and to hear with: `{microphones, speakers}`, a list of `{id, label, isChosen}` each. */
  async devices() {
    const all = await this.env.devices();
    return { microphones: listed(all, MICROPHONE, chosen(MICROPHONE)), speakers: listed(all, SPEAKERS, chosen(SPEAKERS)) };
  }

  /** Speaks into another microphone from now on. */
  async setMicrophone(id) {
    choose(MICROPHONE, id);
    if (!this.#microphone) return;
    const before = await this.#microphone;
    this.#microphone = null;
    this.#listen();
    const track = (await this.#microphone)?.getAudioTracks()[0] ?? null;
    const peers = [this.#peer, this.#next, this.#former?.peer].filter(Boolean);
    const senders = peers.flatMap(peer => peer.getSenders().filter(sender => sender.track));
    await Promise.all(senders.map(sender => sender.replaceTrack(track)));
    before?.getTracks().forEach(one => one.stop());
  }

  /** Hears with other speakers from now on. */
  async setSpeakers(id) {
    choose(SPEAKERS, id);
    await Promise.all(this.#players.map(player => player.setSinkId?.(id)));
  }

  /** An event of the gateway, after the state has taken it. */
  dispatched(type, d) {
    if (type === 'READY') {
      // The voice state was the old session's.
      this.#session = d.session_id;
      this.again();
    }
    if (type === 'VOICE_SERVER_UPDATE' && d.guild_id === this.#state.guild) this.#server(d);
    if (type === 'VOICE_STATE_UPDATE' && this.#early && this.#early.channel_id === this.#state.channel) this.#server(this.#early);
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
    this.#timers.after('ask', ASK_MS, () => this.#fail('No voice server answers.'));
    const is_told = this.tell({ guild_id: guild, channel_id: channel, self_mute: muted || deafened, self_deaf: deafened });
    // Without a gateway nothing can be asked; it is asked when it is back.
    if (!is_told) this.#timers.clear('ask');
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
    [...this.#players, ...this.#former?.players ?? []].forEach(player => { player.muted = deafened; });
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
    if (this.#session && d.session_id && d.session_id !== this.#session) return;
    const is_elsewhere = d.channel_id && d.channel_id !== this.#state.channel;
    // That one was moved may come after where to.
    this.#early = is_elsewhere ? d : null;
    if (is_elsewhere) return;
    if (!d.endpoint || !d.url) {
      this.#phase('waiting');
      return this.#timers.after('ask', NAMED_MS, () => this.#fail('No voice server answers.'));
    }
    this.#connect(d.url, d.token);
  }

  async #connect(url, token) {
    this.#timers.clear('ask');
    this.#timers.clear('retry');
    this.#next?.close();
    const peer = this.#next = this.env.peer();
    const players = [];
    this.#phase('connecting');
    peer.ontrack = ({ track }) => {
      const player = this.env.player();
      player.srcObject = this.env.stream(track);
      player.muted = this.#state.deafened;
      // Without the chosen ones it is heard with the others.
      if (chosen(SPEAKERS)) player.setSinkId?.(chosen(SPEAKERS))?.catch(() => {});
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
      this.#timers.after('connect', CONNECT_MS, () => this.#fail('No connection to the voice server could be made.'));
      const sdp = await this.offer({ url, token, sdp: peer.localDescription.sdp });
      if (this.#next !== peer) return;
      await peer.setRemoteDescription({ type: 'answer', sdp });
    } catch (error) {
      if (this.#next === peer) this.#fail(error.status ? `The voice server refused: ${error.message}` : 'The voice server cannot be reached.');
      return;
    }
    if (this.#next !== peer) return;
    this.#replace(peer, players);
    this.#apply();
    this.#changed(peer);
  }

  /** The connection that works stays until the new one does. */
  #replace(peer, players) {
    if (this.#peer?.connectionState === 'connected' || !this.#former) {
      this.#end(this.#former);
      this.#former = this.#peer && { peer: this.#peer, players: this.#players };
    } else {
      this.#end({ peer: this.#peer, players: this.#players });
    }
    this.#timers.clear('overlap');
    [this.#peer, this.#next, this.#players, this.#counts] = [peer, null, players, undefined];
  }

  #end(connection) {
    connection?.peer?.close();
    connection?.players.forEach(player => { player.srcObject = null; });
  }

  #changed(peer) {
    if (peer !== this.#peer) return;
    if (peer.connectionState === 'connected') {
      this.#timers.clear('connect', 'interrupted', 'retry');
      this.backoff.reset();
      this.#phase('open');
      this.#timers.after('overlap', OVERLAP_MS, () => {
        this.#end(this.#former);
        this.#former = null;
      });
      this.#timers.after('quality', QUALITY_MS / 4, () => this.#measure());
    }
    if (peer.connectionState === 'disconnected') {
      this.#phase('broken', 'The connection is interrupted.');
      this.#timers.after('interrupted', INTERRUPTED_MS, () => this.#fail());
    }
    // What is on its way has waits of its own.
    if (peer.connectionState === 'failed' && !this.#next) this.#fail();
  }

  /** Asks for a place again, later each time. */
  #fail(problem = 'The connection was lost.') {
    this.#timers.clear('ask', 'connect', 'interrupted', 'quality');
    this.#next?.close();
    this.#next = null;
    if (this.#state.channel === null) return;
    this.#phase('broken', problem);
    this.#timers.after('retry', this.backoff.next(), () => this.#ask());
  }

  async #measure() {
    const peer = this.#peer;
    const stats = await peer?.getStats().catch(() => null);
    if (!stats || peer !== this.#peer || this.#state.phase !== 'open') return;
    const { quality, counts } = measure(stats.values(), this.#counts);
    this.#counts = counts;
    this.store.dispatch({ type: 'voice-quality', quality });
    this.#timers.after('quality', QUALITY_MS, () => this.#measure());
  }

  #phase(phase, problem = null) {
    this.store.dispatch({ type: 'voice-phase', phase, problem });
  }

  #hangUp() {
    this.#timers.clearAll();
    this.#next?.close();
    this.#end(this.#former);
    this.#end({ peer: this.#peer, players: this.#players });
    this.#next = this.#peer = this.#former = this.#early = null;
    this.#players = [];
  }

  #close() {
    this.#hangUp();
    this.#microphone?.then(stream => stream?.getTracks().forEach(track => track.stop()));
    this.#microphone = null;
  }
}
