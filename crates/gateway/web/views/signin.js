// Who one is: a demo account in one click where there are any, or a token.

import { h } from '../dom.js';
import { avatar } from './pieces.js';

let fetched = null;
let known = null;

/** The demo workspace, if this server shows one to this machine; asked for once. */
export function fetchDemo() {
  fetched ??= fetch('/api/x/demo', { cache: 'no-store', credentials: 'omit' })
    .then(response => (response.ok ? response.json() : null))
    .catch(() => null);
  // Without an answer it is asked for again the next time.
  fetched.then(demo => {
    known = demo;
    if (!demo) fetched = null;
  });
  return fetched;
}

/** The demo workspace as far as it is known already. */
export const knownDemo = () => known;

export const demoAccount = (demo, name) => demo?.accounts.find(account => account.name === name) ?? null;

export function showSignIn(root, { demo, notice, enter }) {
  const stay = h('input', { type: 'checkbox', id: 'stay' });
  const token = h('input', {
    type: 'password', id: 'token', name: 'token', autocomplete: 'current-password', spellcheck: 'false', required: true,
    placeholder: 'Paste a token', 'aria-describedby': notice ? 'notice' : null,
  });
  const people = demo?.accounts.filter(account => !account.bot) ?? [];
  const bots = demo?.accounts.filter(account => account.bot) ?? [];
  const choice = (account, hint) => h('button', {
    type: 'button', class: 'choice', data: { account: account.name }, onclick: () => enter(account.token, stay.checked),
  }, avatar(account), h('span', { class: 'choice-text' }, h('strong', {}, account.name), h('span', {}, hint)));
  const submit = event => {
    event.preventDefault();
    const text = token.value.trim().replace(/^(Bot|Bearer) /, '');
    if (text) enter(text, stay.checked);
  };
  root.replaceChildren(h('main', { class: 'signin' }, h('div', { class: 'card' },
    h('h1', {}, h('img', { src: '/web/icon.svg', alt: '', width: 40, height: 40 }), 'Clarion'),
    h('p', { class: 'lead' }, 'Chat that can be seen through: every message is one trace, from your keyboard to the last reader.'),
    notice && h('p', { id: 'notice', class: 'warning', role: 'alert' }, notice),
    people.length > 0 && h('section', { 'aria-labelledby': 'demo-title' },
      h('h2', { id: 'demo-title' }, 'Enter the demo workspace'),
      h('div', { class: 'choices' }, people.map((account, n) => choice(account, n === 0 ? 'owner' : 'member'))),
      bots.length > 0 && h('details', {}, h('summary', {}, 'or be one of its bots'),
        h('div', { class: 'choices' }, bots.map(account => choice(account, 'bot, all permissions'))))),
    h('form', { onsubmit: submit },
      h('h2', {}, h('label', { for: 'token' }, people.length > 0 ? 'Or sign in with a token' : 'Sign in with a token')),
      h('div', { class: 'field' }, token, h('button', { type: 'submit', class: 'primary' }, 'Sign in')),
      people.length === 0 && h('p', { class: 'hint' }, 'Whoever operates this server issues one: ', h('code', {}, 'clarion token issue --user <id>'))),
    h('label', { class: 'check', for: 'stay' }, stay, 'Stay signed in on this device'),
  )));
  root.querySelector('.choice, #token')?.focus({ preventScroll: true });
}
