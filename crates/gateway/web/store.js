// Holds the state and tells views when the part that they show has changed, once for all changes of one turn.

import { initial, reduce } from './state/reduce.js';

export function createStore() {
  let state = initial();
  const watchers = new Set();
  let scheduled = false;

  const tell = () => {
    scheduled = false;
    for (const watcher of [...watchers]) {
      const picked = watcher.pick(state);
      if (picked.length === watcher.last?.length && picked.every((part, n) => Object.is(part, watcher.last[n]))) continue;
      watcher.last = picked;
      watcher.show(...picked);
    }
  };

  return {
    get state() { return state; },

    /** Takes an action; views follow at the end of the turn. */
    dispatch(action) {
      const next = reduce(state, action);
      if (next === state) return;
      state = next;
      if (scheduled) return;
      scheduled = true;
      queueMicrotask(tell);
    },

    /** Calls `show(...parts)` now and whenever one of the parts that `pick(state)` answers is another. */
    watch(pick, show) {
      const watcher = { pick, show, last: pick(state) };
      watchers.add(watcher);
      show(...watcher.last);
      return () => watchers.delete(watcher);
    },
  };
}
