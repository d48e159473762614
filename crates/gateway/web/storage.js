// What the browser keeps: for the tab, or for longer when one asks for it. Where it keeps nothing, everything still works.

const PREFIX = 'clarion:';

const area = lasting => {
  try {
    return lasting ? globalThis.localStorage : globalThis.sessionStorage;
  } catch {
    return null;
  }
};

/** Keeps a value: for the tab, or `lasting`. Undefined removes it. */
export function remember(name, value, lasting = false) {
  try {
    if (value === undefined) area(lasting)?.removeItem(PREFIX + name);
    else area(lasting)?.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // Full or forbidden: it is not kept.
  }
}

/** What was kept, the tab's own first. */
export function recall(name, otherwise = null) {
  return kept(name, false) ?? kept(name, true) ?? otherwise;
}

/** What was kept in one of the two places. */
export function kept(name, lasting) {
  try {
    return JSON.parse(area(lasting)?.getItem(PREFIX + name) ?? 'null');
  } catch {
    // Not ours, or not readable: as if it were not there.
    return null;
  }
}

/** Removes everything whose name begins so. */
export function forgetAll(prefix) {
  for (const lasting of [false, true]) {
    const names = Object.keys(area(lasting) ?? {}).filter(name => name.startsWith(PREFIX + prefix));
    names.forEach(name => remember(name.slice(PREFIX.length), undefined, lasting));
  }
}
