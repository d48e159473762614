// The messages of the open channel: scrolled to the newest unless one reads older ones, which come as one scrolls up.

import { h, icon, keyed } from '../dom.js';
import { nothing } from '../state/reads.js';
import { guildOf, timelineOf } from '../state/reduce.js';
import { rows } from '../state/rows.js';
import { createBar } from './act.js';
import { makeRow } from './message.js';
import { knownDemo } from './signin.js';
import { welcome } from './welcome.js';

/** So close to the end counts as at the end, in px. */
const AT_END = 80;
/** So close to the beginning older messages are fetched. */
const NEAR_BEGIN = 900;

export function createTimeline({ store, session, act }) {
  const list = h('ol', { class: 'messages' });
  const begin = h('div', { class: 'begin' });
  const scroller = h('div', { class: 'scroller', tabIndex: 0, role: 'region', 'aria-label': 'Messages' }, begin, list);
  const jumpText = h('span');
  const jump = h('button', { type: 'button', class: 'jump', hidden: true, onclick: () => toEnd(true) }, jumpText, icon('down'));
  const element = h('div', { class: 'timeline' }, scroller, jump);
  const bar = createBar(act);
  let shown = null;
  let atEnd = true;
  /** How far it was scrolled when that was found out. */
  let measuredAt = 0;
  /** On the way to a message: what is above and below it comes later. */
  let settling = false;

  const isAttending = () => atEnd && document.visibilityState === 'visible' && document.hasFocus();

  /** The end is in view of somebody who looks: it is read. */
  const look = () => {
    const { state } = store;
    const now = timelineOf(state, state.channel);
    if (shown === state.channel && now.loaded && !now.gapAfter && !now.detached && isAttending()) session.reading.seen(state.channel);
    jump.hidden = (atEnd && !now.detached) || !now.loaded;
    const { unread } = state.reads[state.channel] ?? nothing;
    jumpText.textContent = unread > 0 ? `${unread} new ${unread === 1 ? 'message' : 'messages'}` : 'Newest messages';
  };

  const toEnd = smooth => {
    atEnd = true;
    if (shown && timelineOf(store.state, shown).detached) session.history.attach(shown);
    const calm = !smooth || matchMedia('(prefers-reduced-motion: reduce)').matches || scroller.scrollHeight - scroller.scrollTop > 6_000;
    scroller.scrollTo({ top: scroller.scrollHeight, behavior: calm ? 'instant' : 'smooth' });
    look();
  };

  const toMessage = id => {
    const row = list.querySelector(`[data-id="${CSS.escape(id)}"]`);
    if (!row) return;
    row.scrollIntoView({ block: 'center' });
    row.focus({ preventScroll: true });
    row.classList.add('found');
    row.addEventListener('animationend', () => row.classList.remove('found'), { once: true });
  };

  const older = () => {
    if (!shown || settling) return;
    if (scroller.scrollTop < NEAR_BEGIN) session.history.older(shown);
    if (scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_BEGIN) session.history.newer(shown);
  };

  /** Goes to a message, wherever it is. */
  const goTo = async (channel, id) => {
    settling = true;
    try {
      await session.jump(channel, id);
      // Its row is made once the store has told of it.
      await new Promise(done => requestAnimationFrame(done));
      atEnd = false;
      toMessage(id);
      measure();
    } finally {
      settling = false;
    }
    older();
    look();
  };

  const show = (channel, timeline, me, members, roles, editing) => {
    if (!channel || !me) return;
    const isOther = shown !== channel;
    const wasEmpty = list.childElementCount === 0;
    const guild = guildOf(store.state, channel);
    const own = guild?.members[me.id]?.roles ?? [];
    const context = { guild, me, roles: own, editing, act, open: id => session.open(id), jump: toMessage };
    bar.element.remove();
    // The event that says that somebody has scrolled comes with the next frame only.
    if (scroller.scrollTop !== measuredAt) measure();
    // Whoever reads older messages keeps the row that they look at where it is.
    const anchor = !isOther && !atEnd && [...list.querySelectorAll('.message')].find(row => row.getBoundingClientRect().bottom > scroller.getBoundingClientRect().top);
    const top = anchor && anchor.getBoundingClientRect().top;
    keyed(list, rows(timeline, { me, roles: own }), {
      key: row => `${channel}/${row.key}`,
      parts: row => (row.kind === 'message'
        ? [row.pending ?? row.message, row.first, row.mentioned, editing === row.message.id && Boolean(editing), members, roles]
        : [row.kind === 'day' ? new Date().getDate() : 0]),
      make: row => makeRow(row, context),
    });
    const at = guild?.channels[channel];
    keyed(begin, [timeline.error ? 'error' : timeline.start ? 'welcome' : 'more'], {
      key: what => `${channel}/${what}`,
      parts: () => [timeline.error, timeline.loaded, at?.name, at?.topic, knownDemo()],
      make: what => beginning(what, timeline, guild, channel),
    });
    list.setAttribute('aria-busy', String(Boolean(timeline.loading)));
    shown = channel;
    if (isOther || (wasEmpty && timeline.loaded)) arrive(timeline);
    else if (settling) { /* The message decides where it stands. */ } else if (anchor) {
      const row = anchor.isConnected ? anchor : list.querySelector(`[data-id="${anchor.dataset.id}"]`);
      if (row) scroller.scrollTop += row.getBoundingClientRect().top - top;
    } else if (atEnd && !timeline.detached) scroller.scrollTop = scroller.scrollHeight;
    look();
    older();
  };

  /** In a channel that was just opened: to the first unread message, or to the end. */
  const arrive = () => {
    const line = list.querySelector('.new-line');
    scroller.scrollTop = scroller.scrollHeight;
    if (line) line.scrollIntoView({ block: 'center' });
    measure();
  };

  const measure = () => {
    measuredAt = scroller.scrollTop;
    atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < AT_END;
  };

  const beginning = (what, timeline, guild, channel) => {
    if (what === 'welcome') return welcome(guild?.channels[channel], guild, store.state.me);
    if (what === 'more') return h('div', { class: 'skeletons', 'aria-hidden': 'true' }, [72, 48, 88, 60, 40].map(n => h('div', { class: `skeleton w${n}` })));
    return h('div', { class: 'load-failed', role: 'alert' }, `Messages could not be loaded: ${timeline.error}. `,
      h('button', { type: 'button', onclick: () => (timeline.loaded ? session.history.older(channel) : session.history.open(channel)) }, 'Try again'));
  };

  scroller.addEventListener('scroll', () => {
    measure();
    older();
    look();
  }, { passive: true });
  new ResizeObserver(() => { if (atEnd && !settling) scroller.scrollTop = scroller.scrollHeight; }).observe(scroller);
  for (const name of ['focus', 'blur']) window.addEventListener(name, look);
  document.addEventListener('visibilitychange', look);

  const messageOf = row => timelineOf(store.state, shown).messages.find(one => one.id === row?.dataset.id);
  const offer = event => {
    const row = event.target.closest?.('.message');
    const message = messageOf(row);
    if (message && !row.classList.contains('editing')) bar.show(row, message);
  };
  list.addEventListener('pointerover', offer);
  list.addEventListener('focusin', offer);
  list.addEventListener('pointerleave', () => { if (!list.contains(document.activeElement)) bar.hide(); });

  scroller.addEventListener('keydown', event => {
    if (event.target.closest('textarea, input')) return;
    const row = event.target.closest('.message');
    if (event.key === 'ArrowUp' || event.key === 'ArrowDown') {
      const all = [...list.querySelectorAll('.message')];
      const step = event.key === 'ArrowUp' ? -1 : 1;
      const next = row ? all[all.indexOf(row) + step] : all.at(-1);
      event.preventDefault();
      next?.focus();
      if (row && !next && step > 0) document.querySelector('.composer textarea')?.focus();
      return;
    }
    const message = row && event.target === row && messageOf(row);
    if (message && act.key(event, message, row)) event.stopPropagation();
  });

  const unwatch = store.watch(state => {
    const guild = guildOf(state, state.channel);
    return [state.channel, timelineOf(state, state.channel), state.me, guild?.members, guild?.roles, state.editing];
  }, show);
  const unlook = store.watch(state => [state.reads[state.channel]], look);
  const close = () => {
    unwatch();
    unlook();
    for (const name of ['focus', 'blur']) window.removeEventListener(name, look);
    document.removeEventListener('visibilitychange', look);
  };
  return { element, scroller, toEnd, goTo, isAttending, close };
}
