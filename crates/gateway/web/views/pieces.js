// Small things that several views show: avatars, marks of presence, notices, hidden texts.

import { h, iconButton } from '../dom.js';

const HUES = 8;
/** How long a notice stays, in ms. */
const NOTICE_MS = 6_000;

export const STATUS = { online: 'Online', idle: 'Idle', dnd: 'Do not disturb', invisible: 'Invisible', offline: 'Offline' };

/** A user's sign: the first letter on a colour of their own. */
export function avatar(user, name = user.global_name || user.username || user.name || '?') {
  const hue = Number(BigInt(user.id ?? 0) >> 12n & 0xffn) % HUES;
  const letter = Array.from(name.replace(/^[^\p{L}\p{N}]+/u, '') || name)[0] ?? '?';
  return h('span', { class: ['avatar', `hue-${hue}`, user.bot && 'square'], 'aria-hidden': 'true' }, letter.toUpperCase());
}

/** How somebody is there; said and shown. */
export const presence = status => h('span', { class: ['presence', status] }, hidden(STATUS[status] ?? STATUS.offline));

export const hidden = text => h('span', { class: 'hidden' }, text);

export const botTag = user => (user.bot ? h('span', { class: 'tag' }, 'BOT') : null);

/** A place for notices; answers `notice(text, {link, kind})`. */
export function createNotices() {
  const element = h('div', { class: 'notices', role: 'status', 'aria-live': 'polite' });
  const notice = (text, { link = null, kind = 'info' } = {}) => {
    const close = () => one.remove();
    const one = h('div', { class: ['notice', kind] }, h('span', {}, text),
      link && h('a', { href: link.url, target: '_blank', rel: 'noopener noreferrer' }, link.text),
      iconButton('close', 'Dismiss', close));
    element.append(one);
    while (element.children.length > 3) element.firstChild.remove();
    let timer = setTimeout(close, NOTICE_MS);
    one.addEventListener('pointerenter', () => clearTimeout(timer));
    one.addEventListener('pointerleave', () => { timer = setTimeout(close, NOTICE_MS); });
  };
  return { element, notice };
}
