// Times and days as people of the browser's language write them.

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });
const short = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const dated = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'long', year: 'numeric' });

const DAY_MS = 86_400_000;

/** The day of a moment, as a key. */
export function dayOf(ms) {
  const date = new Date(ms);
  return `${date.getFullYear()}-${date.getMonth() + 1}-${date.getDate()}`;
}

export const timeText = ms => clock.format(ms);
export const fullText = ms => full.format(ms);

/** A moment beside an author: the time alone while it is today. */
export const momentText = (ms, now = Date.now()) => (dayOf(ms) === dayOf(now) ? clock.format(ms) : short.format(ms));

/** The name of a day. */
export function dayText(ms, now = Date.now()) {
  if (dayOf(ms) === dayOf(now)) return 'Today';
  if (dayOf(ms) === dayOf(now - DAY_MS)) return 'Yesterday';
  return Math.abs(now - ms) < 180 * DAY_MS ? weekday.format(ms) : dated.format(ms);
}
