// Ids of the API ("snowflakes"): larger is later, and each says when it was made.

const EPOCH_MS = 1420070400000n;

/** Orders two ids, older first. They are decimal texts without leading zeros, too long for a number. */
export const compare = (a, b) => a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);

/** Whether `a` is later than `b`; anything is later than nothing. */
export const isAfter = (a, b) => Boolean(a) && (!b || compare(a, b) > 0);

/** The later of two ids, either of which may be missing. */
export const later = (a, b) => (isAfter(a, b) ? a : b ?? null);

/** When an id was made, in ms since 1970. */
export const timeOf = id => Number((BigInt(id) >> 22n) + EPOCH_MS);

/** Marks a message until the server has numbered it. At most 25 characters. */
export const newNonce = () => Date.now().toString(36) + Math.random().toString(36).slice(2, 12);
