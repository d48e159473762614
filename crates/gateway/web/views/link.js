// How the connection stands, when it does not: a line above the messages, which stay readable.

import { h } from '../dom.js';

/** A connection that is back within this time was never spoken of, in ms. */
const PATIENCE_MS = 1_200;

export function createLink({ store, session }) {
  const text = h('span');
  const again = h('button', { type: 'button', class: 'link', onclick: () => session.gateway.retry() }, 'Connect now');
  const element = h('div', { class: 'link-line', role: 'status', hidden: true }, h('span', { class: 'spinner', 'aria-hidden': 'true' }), text, again);
  let timer = null;
  let counting = null;

  const say = link => {
    const left = Math.ceil(((link.retryAt ?? 0) - Date.now()) / 1_000);
    const words = {
      connecting: store.state.ready ? 'Reconnecting…' : 'Connecting…',
      waiting: left > 0 ? `No connection to the server. Next try in ${left} s.` : 'Reconnecting…',
      offline: 'You are offline. What you write is sent when the network is back.',
    };
    element.hidden = !words[link.state];
    element.className = `link-line ${link.state}`;
    if (text.textContent !== words[link.state]) text.textContent = words[link.state] ?? '';
    again.hidden = link.state !== 'waiting' || left < 2;
    document.documentElement.dataset.link = link.state;
  };

  const unwatch = store.watch(state => [state.link], link => {
    clearTimeout(timer);
    clearInterval(counting);
    if (link.state === 'open' || !element.hidden) say(link);
    else timer = setTimeout(() => say(store.state.link), PATIENCE_MS);
    document.documentElement.dataset.link = link.state;
    if (link.state === 'waiting') counting = setInterval(() => { if (!element.hidden) say(store.state.link); }, 1_000);
  });
  return {
    element,
    close() {
      unwatch();
      clearTimeout(timer);
      clearInterval(counting);
    },
  };
}
