// Reads what people write into a tree, which a view makes into elements. Pure; no markup ever comes of a text.
//
// Blocks: {type: 'text' | 'quote', children} and {type: 'fence', language, text}. Inline: a text, or {type, …} with
// `strong`, `em`, `underline`, `strike` (children), `code` (text), `link` (url, children), `user`, `role`, `channel` (id),
// `everyone` (text), `emoji` (name).

/** How deep marks may lie in one another; beyond it they are text. */
const DEPTH = 8;
const FENCE = /```(?:([\w+#.-]{1,20})\n)?\n?([\s\S]*?\S[\s\S]*?)```/;
const ESCAPABLE = '\\`*_~|<>[]()#@:.-';

/** The blocks of a text. */
export function parse(text) {
  const blocks = [];
  let rest = text;
  for (let fence; (fence = FENCE.exec(rest)); rest = rest.slice(fence.index + fence[0].length).replace(/^\n/, '')) {
    paragraphs(rest.slice(0, fence.index).replace(/\n$/, ''), blocks);
    blocks.push({ type: 'fence', language: fence[1] ?? '', text: fence[2].replace(/\n$/, '') });
  }
  paragraphs(rest, blocks);
  return blocks;
}

function paragraphs(text, blocks) {
  if (!text) return;
  let lines = [];
  let quoted = false;
  const flush = () => {
    if (lines.length) blocks.push({ type: quoted ? 'quote' : 'text', children: inline(lines.join('\n')) });
    lines = [];
  };
  for (const line of text.split('\n')) {
    const quote = /^> ?(?!>)/.exec(line);
    if (Boolean(quote) !== quoted) flush();
    quoted = Boolean(quote);
    lines.push(quote ? line.slice(quote[0].length) : line);
  }
  flush();
}

/** What stands in a line. */
export function inline(text, depth = 0) {
  const out = [];
  let plain = '';
  const put = node => {
    if (plain) out.push(plain);
    plain = '';
    out.push(node);
  };
  let at = 0;
  while (at < text.length) {
    const found = depth < DEPTH ? mark(text, at, depth) : null;
    if (found?.node) put(found.node);
    else plain += found ? found.text : text[at];
    at += found ? found.length : 1;
  }
  if (plain) out.push(plain);
  return out;
}

const SPANS = [
  ['**', 'strong', /^\*\*(?=\S)([\s\S]*?\S)\*\*(?!\*)/],
  ['__', 'underline', /^__(?=\S)([\s\S]*?\S)__(?!_)/],
  ['~~', 'strike', /^~~(?=\S)([\s\S]*?\S)~~/],
  ['*', 'em', /^\*(?=[^\s*])((?:\*\*|[^*])*?[^\s*])\*(?!\*)/],
  ['_', 'em', /^_(?=[^\s_])([^_]*?[^\s_])_(?![\w])/],
];

/** The mark that begins at a place, if one does: its node or text, and how long it is. */
function mark(text, at, depth) {
  const here = text[at];
  if (here === '\\' && ESCAPABLE.includes(text[at + 1] ?? ' ')) return { text: text[at + 1], length: 2 };
  if (!'`<[*_~h@'.includes(here)) return null;
  const rest = text.slice(at);
  const before = text[at - 1] ?? ' ';
  if (here === '`') return code(rest);
  if (here === '<') return angle(rest);
  if (here === '[') return masked(rest, depth);
  if (here === 'h') return /\w/.test(before) ? null : bare(rest);
  if (here === '@') return everyone(rest, before);
  if (here === '_' && /\w/.test(before)) return null;
  for (const [opening, type, form] of SPANS) {
    const match = rest.startsWith(opening) && form.exec(rest);
    if (match) return { node: { type, children: inline(match[1], depth + 1) }, length: match[0].length };
  }
  return null;
}

function code(rest) {
  const match = /^(`+)([^]*?[^`])\1(?!`)/.exec(rest);
  return match && { node: { type: 'code', text: match[2].replace(/^ (?=`)|(?<=`) $/g, '') }, length: match[0].length };
}

function angle(rest) {
  const mention = /^<(@!?|@&|#)(\d{1,20})>/.exec(rest);
  if (mention) {
    const type = { '@': 'user', '@!': 'user', '@&': 'role', '#': 'channel' }[mention[1]];
    return { node: { type, id: mention[2] }, length: mention[0].length };
  }
  const emoji = /^<a?:(\w{1,32}):\d{1,20}>/.exec(rest);
  if (emoji) return { node: { type: 'emoji', name: emoji[1] }, length: emoji[0].length };
  const link = /^<(https?:\/\/[^\s<>]+)>/.exec(rest);
  return link && asLink(link[1], [link[1]], link[0].length);
}

/** A link with a text of its own. A text that looks like an address could lie about where it leads: it is none. */
function masked(rest, depth) {
  const match = /^\[([^\]\n]{1,200})\]\(<?([^\s<>()]{1,1000}(?:\([^\s<>()]*\)[^\s<>()]*)?)>?\)/.exec(rest);
  if (!match || /:\/\/|^\s*www\./i.test(match[1])) return null;
  return asLink(match[2], inline(match[1], depth + 1), match[0].length);
}

function bare(rest) {
  const match = /^https?:\/\/[^\s<>]+/.exec(rest);
  if (!match) return null;
  let url = match[0].replace(/[.,:;!?'"*_~]+$/, '');
  // A closing bracket belongs to the address only if it was opened there.
  while (url.endsWith(')') && url.split('(').length < url.split(')').length) url = url.slice(0, -1).replace(/[.,:;!?'"]+$/, '');
  return asLink(url, [url], url.length);
}

function asLink(url, children, length) {
  const safe = safeUrl(url);
  return safe && { node: { type: 'link', url: safe, children }, length };
}

/** The address if a browser may be sent there, else null. */
export function safeUrl(text) {
  let url;
  try {
    url = new URL(text);
  } catch {
    return null;
  }
  return ['http:', 'https:'].includes(url.protocol) && url.hostname && !url.username ? url.href : null;
}

function everyone(rest, before) {
  const match = /^@(everyone|here)\b/.exec(rest);
  return match && !/\w/.test(before) ? { node: { type: 'everyone', text: match[0] }, length: match[0].length } : null;
}

/** Whether a text is a few emoji and nothing else. */
export const isJumbo = text => /^(?:(?:\p{RI}{2}|\p{Emoji_Presentation}|\p{Emoji}\uFE0F)(?:\p{EMod}|\u200D\p{Emoji}\uFE0F?)*\s*){1,8}$/u.test(text.trim());

/** The first line of a text without marks, for places where there is one line. */
export function plain(text) {
  const flat = nodes => nodes.map(node => (typeof node === 'string' ? node
    : node.children ? flat(node.children) : node.text ?? (node.name ? `:${node.name}:` : '@…'))).join('');
  return flat(parse(text).flatMap(block => [...(block.children ?? [block.text]), '\n'])).replace(/\s+/g, ' ').trim();
}
