// What people type to search becomes a question of the API, and tells what is to be marked in the answers. Pure.

import { nameOf, textChannels } from './guilds.js';

const EPOCH_MS = 1420070400000n;
const DAY_MS = 86_400_000;
/** `name:value`, or `name:"value with gaps"`; what is typed last may have no value yet. */
const FILTER = /(^|\s)(from|mentions|in|has|before|after):(?:"([^"]*)"?|(\S*))/giu;
/** A word of so many letters is also found with a typo in it. */
const TYPO_LETTERS = 5;
const DENSE = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;

/** What messages can have. */
export const HAS = ['link', 'embed', 'image', 'video'];
export const FILTERS = ['from', 'in', 'has', 'mentions', 'before', 'after'];

/**
 * Reads what was typed: `{query, text, faults}`. `query` is the part of an address after the question mark, `text` what is
 * looked for besides the filters, `faults` what cannot be asked.
 */
export function read(typed, guild) {
  const asked = new URLSearchParams();
  const faults = [];
  const put = (name, value, otherwise) => (value ? asked.append(name, value) : faults.push(otherwise));
  const text = typed.replace(FILTER, (whole, gap, filter, quoted, plain) => {
    const value = (quoted ?? plain).trim();
    switch (value && filter.toLowerCase()) {
      case 'from': put('author_id', memberOf(guild, value), `Nobody here is called “${value}”.`); break;
      case 'mentions': put('mentions', memberOf(guild, value), `Nobody here is called “${value}”.`); break;
      case 'in': put('channel_id', channelOf(guild, value), `There is no channel called “${value}”.`); break;
      case 'has': put('has', HAS.find(one => one === value.toLowerCase().replace(/s$/, '')), `has: goes with ${HAS.join(', ')}.`); break;
      case 'before': put('max_id', idAt(value, 0), `“${value}” is no day: write 2026-01-31.`); break;
      case 'after': put('min_id', idAt(value, DAY_MS), `“${value}” is no day: write 2026-01-31.`); break;
      default: faults.push(`${filter}: what?`);
    }
    return gap;
  }).trimStart();
  if (/\S/.test(text)) asked.set('content', text);
  return { query: asked.toString(), text, faults };
}

function memberOf(guild, name) {
  const wanted = name.replace(/^@/, '').toLowerCase();
  const all = Object.values(guild.members);
  return all.find(({ user }) => user.username.toLowerCase() === wanted)?.user.id
    ?? all.find(member => nameOf(member.user, member).toLowerCase() === wanted)?.user.id;
}

function channelOf(guild, name) {
  const wanted = name.replace(/^#/, '').toLowerCase();
  return textChannels(guild).find(channel => channel.name.toLowerCase() === wanted)?.id;
}

/** The first id of a day where one is, so many ms later; nothing if it is none. */
function idAt(day, later) {
  const parts = /^(\d{4})-(\d{1,2})-(\d{1,2})$/.exec(day);
  if (!parts) return undefined;
  const [year, month, date] = parts.slice(1).map(Number);
  const begin = new Date(year, month - 1, date);
  if (begin.getMonth() !== month - 1 || begin.getDate() !== date) return undefined;
  const ms = BigInt(later ? new Date(year, month - 1, date + 1).getTime() : begin.getTime()) - EPOCH_MS;
  return ms < 0n ? '0' : String(ms << 22n);
}

/** What may complete the filter that is typed last: `{begun, options}`, `options` being whole filters; null if it is none. */
export function complete(typed, guild) {
  const match = /(?:^|\s)((from|in|has|mentions):("?)([^"\s]*))$/iu.exec(typed);
  if (!match) return null;
  const [, begun, filter, , value] = match;
  const wanted = value.replace(/^[@#]/, '').toLowerCase();
  const names = {
    from: () => people(guild), mentions: () => people(guild), in: () => textChannels(guild).map(channel => channel.name), has: () => HAS,
  }[filter.toLowerCase()]();
  const fitting = names.filter(name => name.toLowerCase().includes(wanted) && name.toLowerCase() !== wanted);
  fitting.sort((a, b) => b.toLowerCase().startsWith(wanted) - a.toLowerCase().startsWith(wanted) || a.localeCompare(b));
  return { begun, options: fitting.slice(0, 6).map(name => `${filter.toLowerCase()}:${/\s/.test(name) ? `"${name}"` : name}`) };
}

const people = guild => Object.values(guild.members).map(({ user }) => user.username);

/** What is to be marked for a text: words, beginnings, and parts of scripts without gaps. */
export function terms(text) {
  const open = /\S$/.test(text) && !text.endsWith('"');
  const words = [...text.matchAll(/([\p{L}\p{N}\p{M}]+)(\*?)/gu)];
  return words.flatMap((match, n) => {
    const word = fold(match[1]);
    const beginning = match[2] === '*' || (open && n === words.length - 1 && word.length > 1);
    const typo = [...word].length >= TYPO_LETTERS && !/\p{N}/u.test(word);
    return [{ word, beginning, typo, part: DENSE.test(word) }];
  });
}

/** A text in pieces: `[{text, hit}]`. */
export function mark(text, wanted) {
  const pieces = [];
  const put = (piece, hit) => {
    if (!piece) return;
    if (pieces.at(-1)?.hit === hit) pieces.at(-1).text += piece;
    else pieces.push({ text: piece, hit });
  };
  let at = 0;
  for (const { 0: word, index } of text.matchAll(/[\p{L}\p{N}\p{M}]+/gu)) {
    put(text.slice(at, index), false);
    const folded = fold(word);
    const part = wanted.find(term => term.part && folded.includes(term.word));
    // Where folding changes how long a text is, the whole run is marked.
    if (part && folded.length === word.length) {
      const begin = folded.indexOf(part.word);
      put(word.slice(0, begin), false);
      put(word.slice(begin, begin + part.word.length), true);
      put(word.slice(begin + part.word.length), false);
    } else put(word, Boolean(part) || wanted.some(term => fits(folded, term)));
    at = index + word.length;
  }
  put(text.slice(at), false);
  return pieces;
}

const fits = (word, term) => word === term.word || (term.beginning && word.startsWith(term.word)) || (term.typo && isTypo(word, term.word));

/** Whether one letter is too many, too few, another, or two changed places. */
function isTypo(one, other) {
  const [a, b] = [[...one], [...other]];
  if (Math.abs(a.length - b.length) > 1) return false;
  let at = 0;
  while (at < a.length && a[at] === b[at]) at += 1;
  const rest = (list, skip) => list.slice(at + skip).join('');
  if (a.length > b.length) return rest(a, 1) === rest(b, 0);
  if (a.length < b.length) return rest(a, 0) === rest(b, 1);
  return rest(a, 1) === rest(b, 1) || (a[at] === b[at + 1] && a[at + 1] === b[at] && rest(a, 2) === rest(b, 2));
}

/** Case and accents left out. */
export function fold(text) {
  return text.normalize('NFKD').replace(/[\u0300-\u036f]/g, '').normalize('NFC').toLowerCase()
    .replace(/ß/g, 'ss').replace(/æ/g, 'ae').replace(/œ/g, 'oe').replace(/ø/g, 'o');
}
