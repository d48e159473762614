// The beginning: signs in again if somebody stayed signed in, else asks who one is; then shows the workspace.

import { Session, keptToken } from './session.js';
import { createStore } from './store.js';
import { recall } from './storage.js';
import { demoAccount, fetchDemo, showSignIn } from './views/signin.js';
import { showWorkspace } from './views/workspace.js';
import { applyTheme } from './views/theme.js';

const root = document.getElementById('app');
const store = createStore();

applyTheme(recall('theme', 'system'));
begin();

async function begin() {
  const named = new URLSearchParams(location.search).get('as');
  if (named) {
    // A second window of the demo, as somebody else.
    history.replaceState(null, '', location.pathname + location.hash);
    const account = demoAccount(await fetchDemo(), named);
    if (account) return enter(account.token, false);
  }
  const token = keptToken();
  return token ? enter(token) : ask(null);
}

async function ask(notice) {
  root.replaceChildren();
  document.title = 'Clarion';
  showSignIn(root, { demo: await fetchDemo(), notice, enter });
}

/** `lasting`: whether the token is to be kept when the tab is closed; undefined: it is kept already. */
function enter(token, lasting) {
  let close = () => {};
  const session = new Session({
    store, token, lasting,
    ended(reason) {
      close();
      ask(reason);
    },
  });
  fetchDemo().then(demo => { session.tracesUrl = demo?.traces ?? null; });
  close = showWorkspace(root, { store, session });
  session.start();
}
