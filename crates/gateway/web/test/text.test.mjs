// What people write: read without ever becoming markup, and turned into what is sent.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inline, isJumbo, parse, plain, safeUrl } from '../markdown.js';
import { decode, encode, suggest } from '../mentions.js';

const text = (...children) => [{ type: 'text', children }];

test('marks are read', () => {
  assert.deepEqual(inline('a **b** *c* _d_ ~~e~~ `f*g*`'), [
    'a ', { type: 'strong', children: ['b'] }, ' ', { type: 'em', children: ['c'] }, ' ', { type: 'em', children: ['d'] }, ' ',
    { type: 'strike', children: ['e'] }, ' ', { type: 'code', text: 'f*g*' },
  ]);
  assert.deepEqual(inline('**a *b* c**'), [{ type: 'strong', children: ['a ', { type: 'em', children: ['b'] }, ' c'] }]);
  assert.deepEqual(inline('snake_case_name 2 * 3 * 4 \\*no\\*'), ['snake_case_name 2 * 3 * 4 *no*']);
  assert.deepEqual(inline('``a ` b``'), [{ type: 'code', text: 'a ` b' }]);
});

test('blocks are read', () => {
  assert.deepEqual(parse('a\n```js\nlet x = "*y*"\n```\nb'), [
    ...text('a'), { type: 'fence', language: 'js', text: 'let x = "*y*"' }, ...text('b'),
  ]);
  assert.deepEqual(parse('> q\n> r\ns'), [{ type: 'quote', children: ['q\nr'] }, ...text('s')]);
  assert.deepEqual(parse('```never closed'), text('```never closed'));
});

test('markup stays text', () => {
  const evil = '<img src=x onerror=alert(1)> <script>alert(1)</script> &amp;';
  assert.deepEqual(parse(evil), text(evil));
});

test('only safe addresses are links, and a text does not lie about where it leads', () => {
  for (const evil of ['javascript:alert(1)', 'data:text/html,x', 'vbscript:x', 'file:///etc', '//x', 'https://', 'https://user@evil.example/']) {
    assert.equal(safeUrl(evil), null, evil);
    assert.ok(!JSON.stringify(inline(`[x](${evil})`)).includes('"link"'), evil);
  }
  assert.deepEqual(inline('[x](https://a.example/)'), [{ type: 'link', url: 'https://a.example/', children: ['x'] }]);
  assert.equal(inline('[https://bank.example](https://evil.example)').find(node => node.type === 'link' && node.url.includes('evil')).children[0], 'https://evil.example');
  assert.deepEqual(inline('see https://a.example/b_(c). (https://d.example)').filter(node => node.type).map(node => node.url), ['https://a.example/b_(c)', 'https://d.example/']);
});

test('mentions are read', () => {
  assert.deepEqual(inline('<@1> <@!2> <@&3> <#4> <:smile:5> @everyone a@here').filter(node => node.type).map(node => [node.type, node.id ?? node.name ?? node.text]), [
    ['user', '1'], ['user', '2'], ['role', '3'], ['channel', '4'], ['emoji', 'smile'], ['everyone', '@everyone'],
  ]);
});

test('no text takes long or much depth', () => {
  const begun = performance.now();
  for (const unit of ['*', '_', '**a', '[', '`', '> ', '~~', '<@', '[a](', '```\n', 'https://a.']) parse(unit.repeat(2_000 / unit.length));
  assert.ok(performance.now() - begun < 2_000);
});

test('emoji alone are large', () => {
  assert.ok(isJumbo('👍') && isJumbo('🏳️‍🌈 ❤️') && !isJumbo('12') && !isJumbo('hi 👍') && !isJumbo(''));
  assert.equal(plain('**a**\n> b `c`'), 'a b c');
});

const member = (id, username, nick) => ({ user: { id, username }, nick });
const guild = {
  members: { 1: member('1', 'ada'), 2: member('2', 'grace.h', 'Grace'), 3: member('3', 'mary jane') },
  channels: { 9: { id: '9', name: 'general', type: 0, position: 0 } },
};

test('names become ids where they stand for somebody, and names again to be edited', () => {
  assert.equal(encode('@ada and @Grace, @grace.h. #general!', guild), '<@1> and <@2>, <@2>. <#9>!');
  assert.equal(encode('mail@ada `@ada` @nobody\n```\n@ada\n```', guild), 'mail@ada `@ada` @nobody\n```\n@ada\n```');
  assert.equal(decode('<@1> <@2> <#9> <@77>', guild), '@ada @Grace #general <@77>');
  assert.equal(encode(decode('<@1> hi', guild), guild), '<@1> hi');
  assert.deepEqual(suggest(guild, 'gr').map(one => one.user.id), ['2']);
});
