// What stands before the first message of a channel; in the demo also how to have somebody to talk to.

import { h, icon } from '../dom.js';
import { knownDemo } from './signin.js';

export function welcome(channel, guild, me) {
  const demo = knownDemo();
  const other = demo?.guild_id === guild?.id && demo?.accounts.find(account => !account.bot && account.id !== me?.id);
  return h('div', { class: 'welcome' }, h('div', { class: 'welcome-sign', 'aria-hidden': 'true' }, '#'),
    h('h2', {}, `This is the beginning of #${channel?.name ?? ''}`),
    h('p', {}, channel?.topic || 'Say something: it is kept, delivered once, and can be traced to everybody who gets it.'),
    other && h('div', { class: 'welcome-more' },
      h('a', { class: 'button', href: `/?as=${encodeURIComponent(other.name)}`, target: '_blank', rel: 'noopener' }, `Open a second window as ${other.name}`),
      h('a', { class: 'button', href: demo.traces, target: '_blank', rel: 'noopener noreferrer' }, icon('trace'), 'Look at the traces')));
}
