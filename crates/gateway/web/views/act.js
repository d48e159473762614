// What can be done with a message: by a button, from its menu, by a key.

import { h, iconButton } from '../dom.js';
import { plain, safeUrl } from '../markdown.js';
import { ADD_REACTIONS, MANAGE_MESSAGES, SEND_MESSAGES, may } from '../state/permissions.js';
import { channelOf, guildOf } from '../state/reduce.js';
import { confirm } from './dialog.js';
import { QUICK, pickEmoji } from './picker.js';
import { menu } from './popup.js';

export function createActs({ store, session, notice }) {
  const failed = what => error => notice(`${what}: ${error.message}.`, { kind: 'error' });
  const allowed = (message, bit) => {
    const guild = guildOf(store.state, message.channel_id);
    const channel = channelOf(store.state, message.channel_id);
    return Boolean(guild && channel) && may(guild, channel, store.state.me.id, bit);
  };
  const isMine = message => message.author.id === store.state.me.id;
  const composer = () => document.querySelector('.composer textarea');

  const act = {
    may: {
      reply: message => allowed(message, SEND_MESSAGES),
      edit: isMine,
      react: message => allowed(message, ADD_REACTIONS),
      remove: message => isMine(message) || allowed(message, MANAGE_MESSAGES),
    },
    editing(id, refocus = false) {
      store.dispatch({ type: 'editing', id });
      if (refocus) composer()?.focus();
    },
    edit(message, text) {
      session.edit(message, text).catch(failed('Not edited'));
      composer()?.focus();
    },
    reply(message) {
      store.dispatch({ type: 'reply', channel: message.channel_id, id: message.id });
      composer()?.focus();
    },
    react(message, emoji, added) {
      return session.react(message, emoji, added).catch(failed('No reaction'));
    },
    pick(message, anchor) {
      pickEmoji(anchor, name => act.react(message, { id: null, name }, true));
    },
    async remove(message) {
      const sure = await confirm({
        title: 'Delete message?', text: 'It is removed for everybody, and for good.', detail: plain(message.content).slice(0, 300), action: 'Delete',
      });
      if (sure) session.remove(message).then(() => composer()?.focus(), failed('Not deleted'));
    },
    async copy(message) {
      try {
        await navigator.clipboard.writeText(message.content);
        notice('Copied.');
      } catch {
        notice('The browser does not allow copying here.', { kind: 'error' });
      }
    },
    async trace(message) {
      try {
        const url = safeUrl(await session.trace(message));
        if (!url) throw new Error('its address is not one');
        window.open(url, '_blank', 'noopener,noreferrer');
        notice('The trace opens in a new tab.', { link: { url, text: 'Open it here' } });
      } catch (error) {
        notice(error.status === 404 ? 'No trace of this message is kept.' : `No trace: ${error.message}.`, { kind: 'error' });
      }
    },
    retry: pending => session.outbox.retry(store.state.channel, pending),
    discard: pending => store.dispatch({ type: 'discard', channel: store.state.channel, nonce: pending.nonce }),
    menu(message, anchor) {
      menu(anchor, 'Message', [
        act.may.reply(message) && { label: 'Reply', icon: 'reply', key: 'R', run: () => act.reply(message) },
        act.may.edit(message) && { label: 'Edit', icon: 'pencil', key: 'E', run: () => act.editing(message.id) },
        act.may.react(message) && { label: 'Add reaction', icon: 'smile', key: '+', run: () => act.pick(message, anchor) },
        { label: 'Copy text', icon: 'copy', run: () => act.copy(message) },
        { label: 'Show trace', icon: 'trace', key: 'T', run: () => act.trace(message) },
        act.may.remove(message) && null,
        act.may.remove(message) && { label: 'Delete', icon: 'trash', danger: true, key: 'Del', run: () => act.remove(message) },
      ].filter(item => item !== false));
    },
    /** A key on a message. Answers whether it means something. */
    key(event, message, row) {
      if (event.ctrlKey || event.metaKey || event.altKey) return false;
      const keys = {
        r: act.may.reply(message) && (() => act.reply(message)),
        e: act.may.edit(message) && (() => act.editing(message.id)),
        '+': act.may.react(message) && (() => act.pick(message, row)),
        t: () => act.trace(message),
        m: () => act.menu(message, row),
        Delete: act.may.remove(message) && (() => act.remove(message)),
      };
      const run = keys[event.key] ?? keys[event.key.toLowerCase()];
      if (!run) return false;
      event.preventDefault();
      run();
      return true;
    },
  };
  return act;
}

/** The buttons beside the message that is looked at; there is one such bar for all of them. */
export function createBar(act) {
  const element = h('div', { class: 'bar', role: 'toolbar', 'aria-label': 'Message actions' });
  let shown = null;
  return {
    element,
    show(row, message) {
      if (shown === message && element.parentNode === row) return;
      shown = message;
      element.replaceChildren(...[
        ...(act.may.react(message) ? QUICK.map(emoji => h('button', {
          type: 'button', class: 'icon-button quick', 'aria-label': `React with ${emoji}`,
          onclick: () => act.react(message, { id: null, name: emoji }, !message.reactions?.some(given => given.me && given.emoji.name === emoji)),
        }, emoji)) : []),
        act.may.react(message) && iconButton('smile', 'Add reaction', event => act.pick(message, event.currentTarget)),
        act.may.reply(message) && iconButton('reply', 'Reply', () => act.reply(message)),
        act.may.edit(message) && iconButton('pencil', 'Edit', () => act.editing(message.id)),
        iconButton('trace', 'Show trace', () => act.trace(message)),
        iconButton('more', 'More', event => act.menu(message, event.currentTarget), { 'aria-haspopup': 'menu' }),
      ].filter(Boolean));
      row.append(element);
    },
    hide() {
      shown = null;
      element.remove();
    },
  };
}
