// Voice in the side: a voice channel with those who are in it, and the panel of somebody who is in one.

import { h, icon, iconButton } from '../dom.js';
import { nameOf } from '../state/guilds.js';
import { channelOf } from '../state/reduce.js';
import { people } from '../state/voice.js';
import { avatar, hidden } from './pieces.js';
import { menu } from './popup.js';

const PHASES = {
  joining: 'Joining…', connecting: 'Connecting…', open: 'Connected', waiting: 'Waiting for a voice server…', broken: 'Reconnecting…',
};
const WORDS = { good: 'Good', fair: 'Fair', poor: 'Poor', unknown: 'Measuring…' };
const MICROPHONE = {
  asking: 'Your browser asks whether this page may use the microphone.',
  refused: 'The microphone is refused: you can listen. Allow it for this page, then join again.',
  missing: 'No microphone can be used here: you can listen.',
};

/** Who is in a channel, as one text that differs when what is shown does. */
export const peopleKey = list => list.map(one => `${one.id}/${one.name}/${one.muted}/${one.deafened}`).join();

export const peopleIn = (guild, channel) => people(guild, channel, nameOf);

/** A voice channel: a button that enters it, and beneath it who is there. */
export function voiceRow({ channel, joined, people: list, speaking, join }) {
  const person = ({ id, user, name, muted, deafened }) => h('li', { class: ['voice-person', speaking.includes(id) && 'speaking'], data: { voice: id } },
    avatar(user, name), h('span', { class: 'voice-name' }, name),
    deafened ? [icon('deaf'), hidden(', deafened')] : muted && [icon('muted'), hidden(', muted')]);
  return h('li', {}, h('button', {
    type: 'button', class: ['channel', 'voice-channel', joined && 'joined'], onclick: join, title: joined ? 'You are here' : 'Join',
    data: { focus: 'channel', channel: channel.id },
  }, icon('voice'), h('span', { class: 'channel-name' }, channel.name), hidden(joined ? ', voice, you are here' : ', voice, join')),
  list.length > 0 && h('ul', { class: 'voice-people', 'aria-label': `In ${channel.name}` }, list.map(person)));
}

/** Marks those who speak; the rows stay what they are. */
export function showSpeaking(root, speaking) {
  for (const row of root.querySelectorAll('.voice-person')) row.classList.toggle('speaking', speaking.includes(row.dataset.voice));
}

export function createVoicePanel({ store, session }) {
  const phase = h('strong', { class: 'voice-phase' });
  const place = h('span', { class: 'voice-place' });
  const quality = h('span', { class: 'voice-quality' });
  const problem = h('p', { class: 'voice-problem' });
  const { voice } = session;
  const mute = iconButton('mic', 'Mute', () => voice.setMuted(!(store.state.voice.muted || store.state.voice.deafened)), { class: 'voice-mute' });
  const deafen = iconButton('ear', 'Deafen', () => voice.setDeafened(!store.state.voice.deafened), { class: 'voice-deafen' });
  const leave = iconButton('hangup', 'Leave voice', () => {
    // The button is about to be gone; the focus goes to where one could join again.
    const row = document.querySelector(`.voice-channel[data-channel="${store.state.voice.channel}"]`);
    voice.leave();
    row?.focus();
  }, { class: 'voice-leave' });
  const devices = iconButton('more', 'Microphone and speakers', async () => {
    const { microphones, speakers } = await voice.devices();
    const item = (icon, choose) => ({ id, label, isChosen }) => ({ label, icon, checked: isChosen, run: () => choose(id) });
    const mine = microphones.map(item('mic', id => voice.setMicrophone(id)));
    const theirs = speakers.map(item('ear', id => voice.setSpeakers(id)));
    const items = [...mine, ...(mine.length && theirs.length ? [null] : []), ...theirs];
    // A browser that was not asked for a microphone, or was not given one, names no devices.
    if (items.length > 0) menu(devices, 'Microphone and speakers', items);
  }, { class: 'voice-devices', 'aria-haspopup': 'menu' });
  const dismiss = iconButton('close', 'Dismiss', () => store.dispatch({ type: 'voice-leave', problem: null }), { class: 'voice-dismiss' });
  const element = h('section', { class: 'voice-panel', 'aria-label': 'Voice', hidden: true },
    h('div', { class: 'voice-head' }, h('div', { class: 'voice-text', role: 'status' }, phase, place), dismiss, quality),
    h('div', { role: 'alert' }, problem), h('div', { class: 'voice-buttons' }, mute, deafen, devices, leave));

  const set = (node, text) => { if (node.textContent !== text) node.textContent = text; };
  const show = now => {
    const is_in = now.channel !== null;
    element.hidden = !is_in && !now.problem;
    element.dataset.phase = now.phase;
    element.dataset.microphone = now.microphone;
    set(phase, is_in ? PHASES[now.phase] : 'Not in voice');
    set(place, is_in ? channelOf(store.state, now.channel)?.name ?? '' : '');
    const text = now.problem ?? (is_in ? MICROPHONE[now.microphone] : null) ?? '';
    problem.hidden = text === '';
    set(problem, text);
    mute.parentElement.hidden = !is_in;
    dismiss.hidden = is_in;
    mute.disabled = now.microphone !== 'open';
    mute.setAttribute('aria-pressed', String(now.muted || now.deafened));
    mute.replaceChildren(icon(now.muted || now.deafened ? 'muted' : 'mic'));
    deafen.setAttribute('aria-pressed', String(now.deafened));
    deafen.replaceChildren(icon(now.deafened ? 'deaf' : 'ear'));
    const known = now.quality;
    quality.hidden = !known;
    quality.className = `voice-quality ${known?.word ?? ''}`;
    if (!known) return set(quality, '');
    const loss = known.loss === null ? '' : `, ${(known.loss * 100).toFixed(known.loss > 0 && known.loss < 0.01 ? 1 : 0)} % lost`;
    quality.title = known.roundTrip === null ? 'Nothing is measured yet' : `Round trip ${known.roundTrip} ms${loss}`;
    const figures = known.roundTrip === null ? '' : ` ${known.roundTrip} ms${loss}`;
    return set(quality, `${WORDS[known.word]}${figures}`);
  };
  const unwatch = store.watch(state => [state.voice, channelOf(state, state.voice.channel)], show);
  return { element, close: unwatch };
}
