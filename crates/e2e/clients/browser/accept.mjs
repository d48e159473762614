// Acceptance test: the web client, in a real browser, against a running Clarion server.
//
//   node accept.mjs <demo.json>
//
// demo.json is the file that a server writes into its data folder; its rate limits are to be off. One line a check,
// `ok <name>` or `FAIL <name>: why`, and a last line `N passed, M failed`; the exit code is 1 when something failed.

import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { Browser } from './chromium.mjs'
import { checkSearch } from './search.mjs'
import { admin, demo, disturb, network, person } from './stage.mjs'
import { checkVoice, microphone } from './talk.mjs'

const ALL_WITHIN = 420_000
/** How long the network is away. */
const AWAY = 10_000

const run = Date.now().toString(36)
const [ada, grace] = demo.users.map(person)
const [echo] = demo.bots.map(person)
const { channel_id: general, second_channel_id: random } = demo
const channel = id => `[data-channel="${id}"]`
const contents = `[...document.querySelectorAll('.message')].map(row => row.querySelector('.markup')?.textContent ?? '')`
const has = text => `${contents}.filter(text => text.includes(${JSON.stringify(text)})).length`
const field = 'document.activeElement?.closest(".composer") !== null && document.activeElement.tagName === "TEXTAREA"'
const linkIs = state => `(document.documentElement.dataset.link === '${state}')`
const rowOf = text => `[...document.querySelectorAll('.message')].find(row => row.querySelector('.markup')?.textContent.includes(${JSON.stringify(text)}))`
/** What the browser itself says when there is no network. */
const NETWORK = /net::ERR_|WebSocket connection to/

let passed = 0
let failed = 0
const pages = []
let browser
let net

setTimeout(() => {
  report('everything is over in time', new Error(`not over after ${ALL_WITHIN / 1000} s`))
  finish()
}, ALL_WITHIN).unref()

function report(name, error) {
  error ? failed++ : passed++
  console.log(error ? `FAIL ${name}: ${error.message}` : `ok ${name}`)
}

async function check(name, f) {
  try {
    await f()
    report(name)
  } catch (error) {
    report(name, error)
  }
}

async function finish() {
  await browser?.close().catch(() => {})
  net?.close()
  voice.remove()
  console.log(`${passed} passed, ${failed} failed`)
  process.exit(failed > 0 || passed === 0 ? 1 : 0)
}

async function open(options = {}) {
  const page = await browser.page({ url: net.url, ...options })
  page.tolerated.push(NETWORK)
  pages.push(page)
  return page
}

const ready = page => page.wait(`${linkIs('open')} && document.querySelector('.message, .welcome')`, 'the workspace')
const say = async (page, text) => {
  await page.wait(field, 'the field to write in')
  await page.type(text)
  await page.key('Enter')
}
/** The wanted texts, as a page shows them: each once, in this order. */
const inOrder = async (page, texts) => {
  for (const text of texts) await page.wait(has(text), `"${text}"`)
  const shown = (await page.eval(contents)).map(text => texts.find(one => text.includes(one))).filter(Boolean)
  assert.deepEqual(shown, texts)
}

const voice = microphone()
browser = await Browser.launch(voice.switches)
net = await network()
const one = await open()

await check('one click on a demo account signs in', async () => {
  await one.click('[data-account="ada"]')
  await ready(one)
  assert.match(await one.eval('document.querySelector(".channels").innerText'), /general[^]*random[^]*lounge/)
  assert.equal(await one.eval('document.querySelector(".self-text strong").textContent'), 'ada')
})

const two = await open({ url: `${net.url}?as=grace` })
await check('a second window is somebody else', async () => {
  await ready(two)
  assert.equal(await two.eval('document.querySelector(".self-text strong").textContent'), 'grace')
  assert.equal(await two.eval('location.search'), '')
})

await check('who is there is shown, with the status they choose', async () => {
  const status = page => `document.querySelector('.member[data-user="${grace.id}"]')?.dataset.status`
  await one.wait(`${status()} === 'online'`, 'grace online')
  await two.click('.self-button')
  await two.eval(`[...document.querySelectorAll('.menu-item')].find(item => item.textContent === 'Do not disturb').click()`)
  await one.wait(`${status()} === 'dnd'`, 'grace not to be disturbed')
  await two.click('.self-button')
  await two.eval(`[...document.querySelectorAll('.menu-item')].find(item => item.textContent === 'Online').click()`)
  await one.wait(`${status()} === 'online'`, 'grace online again')
})

await check('what is sent in one window is in the other, once', async () => {
  await say(one, `hello ${run}`)
  await inOrder(one, [`hello ${run}`])
  await inOrder(two, [`hello ${run}`])
  await one.wait(`!document.querySelector('.pending')`, 'the acknowledgement')
  assert.equal(await one.eval(has(`hello ${run}`)), 1)
})

await check('that somebody types is shown, until they have written', async () => {
  await two.click('.composer textarea')
  await two.type('I am ')
  await one.wait(`document.querySelector('.typing').textContent === 'grace is typing'`, 'grace typing')
  await two.type(`here ${run}`)
  await two.key('Enter')
  await inOrder(one, [`hello ${run}`, `I am here ${run}`])
  await one.wait(`document.querySelector('.typing').textContent === ''`, 'nobody typing')
})

await check('arrow up edits the last message, and both windows show it', async () => {
  await one.wait(field)
  await one.key('ArrowUp')
  await one.wait(`document.activeElement.closest('.editor')`, 'the editor')
  await one.key('End')
  await one.type(' again')
  await one.key('Enter')
  for (const page of [one, two]) await page.wait(`${rowOf(`hello ${run} again`)}?.querySelector('.edited')`, 'the edited message')
  await one.key('ArrowUp')
  await one.wait(`document.activeElement.closest('.editor')`, 'the editor')
  await one.type('not this')
  await one.key('Escape')
  await one.wait(field)
  assert.equal(await one.eval(has('not this')), 0)
})

await check('a reaction from the picker is counted, and taken back by its button', async () => {
  await two.eval(`${rowOf(`hello ${run}`)}.focus()`)
  await two.key('+')
  await two.wait(`document.activeElement.closest('.picker')`, 'the picker')
  await two.type('rocket')
  await two.key('Enter')
  await two.wait(`${rowOf(`hello ${run}`)}.querySelector('.reaction.mine')`, 'the own reaction')
  const given = `${rowOf(`hello ${run}`)}.querySelector('.reaction')`
  await one.wait(`${given}?.getAttribute('aria-label') === '🚀, 1'`, 'the reaction of the other')
  await one.eval(`${given}.click()`)
  await two.wait(`${given}?.getAttribute('aria-label') === '🚀, 2, yours'`, 'two reactions')
  await one.eval(`${given}.click()`)
  await two.wait(`${given}?.getAttribute('aria-label') === '🚀, 1, yours'`, 'one reaction')
})

await check('a reply shows what it answers', async () => {
  await two.eval(`${rowOf(`hello ${run}`)}.focus()`)
  await two.key('r')
  await two.wait(`!document.querySelector('.replying').hidden`, 'whom it answers')
  await say(two, `an answer ${run}`)
  await one.wait(`${rowOf(`an answer ${run}`)}?.querySelector('.answered .excerpt')?.textContent.includes('hello ${run}')`, 'the answered message')
})

await check('another channel is marked unread, and a mention counts', async () => {
  await echo.say(random, `news ${run}`)
  await one.wait(`document.querySelector('${channel(random)}').classList.contains('unread')`, 'the mark')
  await echo.say(random, `<@${ada.id}> look ${run}`)
  await one.wait(`document.querySelector('${channel(random)} .badge')?.textContent.startsWith('1')`, 'the badge')
  await one.wait(`document.title.startsWith('(1)')`, 'the title')
  await one.click(channel(random))
  await inOrder(one, [`news ${run}`, `look ${run}`])
  await one.wait(`document.querySelector('.new-line')`, 'the line before what is new')
  await one.wait(`!document.querySelector('${channel(random)} .badge') && !document.title.startsWith('(')`, 'everything read')
  assert.ok(await one.eval(`${rowOf(`look ${run}`)}.classList.contains('mentioned')`))
})

await check('a draft waits in its channel', async () => {
  await one.wait(field)
  await one.type('half a tho')
  await one.click(channel(general))
  await one.wait(`document.querySelector('.composer textarea').value === ''`, 'an empty field')
  await one.click(channel(random))
  await one.wait(`document.querySelector('.composer textarea').value === 'half a tho'`, 'the draft')
  await one.eval(`document.querySelector('.composer textarea').select()`)
  await one.key('Backspace')
  await one.click(channel(general))
})

await check('names complete themselves and become mentions', async () => {
  await one.wait(field)
  await one.type('ask @gra')
  await one.wait(`!document.querySelector('.suggestions').hidden`, 'suggestions')
  await one.key('Enter')
  await one.type(`please ${run}`)
  await one.key('Enter')
  await two.wait(`${rowOf(`please ${run}`)}?.querySelector('.mention.me')?.textContent === '@grace'`, 'the mention')
})

await check('deleting asks first, and then it is gone for both', async () => {
  await say(one, `a slip ${run}`)
  await two.wait(has(`a slip ${run}`))
  await one.wait(`!document.querySelector('.pending')`)
  await one.eval(`${rowOf(`a slip ${run}`)}.focus()`)
  await one.key('Delete')
  await one.wait(`document.querySelector('dialog.confirm[open]')`, 'the question')
  await one.key('Escape')
  await one.wait(`!document.querySelector('dialog')`)
  assert.equal(await one.eval(has(`a slip ${run}`)), 1)
  await one.eval(`${rowOf(`a slip ${run}`)}.focus()`)
  await one.key('Delete')
  await one.wait(`document.querySelector('dialog.confirm[open]')`, 'the question')
  await one.key('Enter')
  for (const page of [one, two]) await page.wait(`${has(`a slip ${run}`)} === 0`, 'it gone')
})

await check('what people write makes no markup and no script', async () => {
  const evil = [
    `<img src=x onerror="window.hurt=1"><script>window.hurt=1</script> ${run}`,
    `[click](javascript:window.hurt=1) <javascript:window.hurt=1> [x](data:text/html,hi) ${run}`,
    `[https://bank.example](https://evil.example) ${run}`,
  ]
  const { id } = await admin('POST', 'users', { username: '<b onclick=alert(1)>eve', bot: true })
  await admin('POST', `guilds/${demo.guild_id}/members/${id}`)
  const { token } = await admin('POST', 'tokens', { user_id: id, label: 'test' })
  const eve = person({ id, token })
  for (const text of evil) await eve.say(general, text)
  await eve.say(general, 'with an embed', { embeds: [{ title: '<i>t</i>', url: 'https://fine.example/', description: '<script>window.hurt=1</script>' }] })
  await one.wait(has('with an embed'))
  assert.equal(await one.eval(`document.querySelectorAll('.messages img, .messages script, .messages b, .members b').length`), 0)
  assert.equal(await one.eval('window.hurt ?? null'), null)
  const links = await one.eval(`[...document.querySelectorAll('.messages .body a')].map(a => [a.protocol, a.rel, a.target])`)
  assert.ok(links.length > 0 && links.every(([protocol, rel]) => protocol.startsWith('http') && rel.includes('noopener') && rel.includes('noreferrer')), JSON.stringify(links))
  assert.equal(await one.eval(`[...document.querySelectorAll('.messages a')].filter(a => a.textContent.includes('bank') && a.host === 'evil.example').length`), 0)
  assert.match(await one.eval(`document.querySelector('.members').innerText`), /<b onclick=alert\(1\)>eve/)
})

await check('a limit is waited for, and a refusal is said', async () => {
  let asked = 0
  one.tolerated.push(/status of (429|403)/)
  await one.intercept('*/messages', ({ method }) => {
    if (method !== 'POST') return null
    asked += 1
    return asked === 1 ? { status: 429, headers: { 'Retry-After': 1 }, body: { message: 'slow', retry_after: 1, global: false } } : null
  })
  const begun = Date.now()
  await say(one, `patience ${run}`)
  await two.wait(has(`patience ${run}`))
  assert.ok(asked === 2 && Date.now() - begun > 900, `${asked} requests`)
  await one.stopIntercepting()
  await one.intercept('*/messages', ({ method }) => (method === 'POST' ? { status: 403, body: { code: 50001, message: 'Missing Access' } } : null))
  await say(one, `refused ${run}`)
  await one.wait(`document.querySelector('.failed .delivery')?.textContent.includes('Missing Access')`, 'why it is not sent')
  await one.stopIntercepting()
  await one.eval(`[...document.querySelectorAll('.failed button')].find(button => button.textContent === 'Try again').click()`)
  await two.wait(has(`refused ${run}`))
  await one.wait(`!document.querySelector('.pending')`)
  assert.equal(await one.eval(has(`refused ${run}`)), 1)
})

await check('a trace is shown', async () => {
  await one.eval(`window.opened = []; window.open = url => { window.opened.push(url); return null }`)
  await one.eval(`${rowOf(`patience ${run}`)}.focus()`)
  await one.key('t')
  await one.wait(`window.opened.length === 1`, 'the trace')
  const [url] = await one.eval('window.opened')
  assert.match(url ?? '', /\/debug\/traces\/[0-9a-f]{32}/)
  const page = await fetch(url)
  assert.ok(page.ok && /message_create/.test(await page.text()), 'the trace is of a message')
})

/** Goes away for a while, during which others speak and one writes; then looks whether all of it is there. */
async function outage(name, meanwhile) {
  try {
    await away(name, meanwhile)
  } finally {
    net.mend()
    await one.offline(false)
  }
}

async function away(name, meanwhile) {
  const texts = Array.from({ length: 12 }, (_, n) => `${name} ${n} ${run}`)
  const begun = Date.now()
  await one.offline(true)
  net.cut()
  await one.wait(`!${linkIs('open')}`, 'the loss to be noticed')
  await one.wait(`!document.querySelector('.link-line').hidden`, 'the loss to be said')
  assert.equal(await one.eval(has(`patience ${run}`)), 1, 'what is there can be read')
  await one.click('.composer textarea')
  await one.type(`${name} mine ${run}`)
  await one.key('Enter')
  for (const text of texts.slice(0, 8)) await grace.say(general, text)
  await meanwhile()
  for (const text of texts.slice(8)) await grace.say(general, text)
  assert.equal(await one.eval(has(texts[0])), 0, 'it is really away')
  await pause(Math.max(0, AWAY - (Date.now() - begun)))
  net.mend()
  await one.offline(false)
  await one.wait(linkIs('open'), 'the connection', 40_000)
  await one.wait(`!document.querySelector('.pending')`, 'the own message', 40_000)
  await inOrder(one, [...texts, `${name} mine ${run}`])
  const order = await one.eval(`[...document.querySelectorAll('.message')].map(row => row.dataset.id).filter(Boolean)`)
  assert.deepEqual(order, [...new Set(order)].sort((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1)), 'in order, nothing twice')
}

await check('ten seconds without network, and nothing is missing (the session is resumed)', () => outage('away', async () => {}))
await check('the same when the session is lost meanwhile', () => outage('lost', async () => {
  assert.ok(await disturb(ada.id, 'invalidate', { resumable: false }) > 0)
  await grace.call('PATCH', `/channels/${general}/messages/${(await grace.call('GET', `/channels/${general}/messages?limit=1`))[0].id}`, { content: `lost 7 ${run} edited` })
}))

await check('told to reconnect (op 7), and cut off, it comes back by itself', async () => {
  for (const action of ['reconnect', 'drop', 'close']) {
    await disturb(ada.id, action)
    await grace.say(general, `after ${action} ${run}`)
    await one.wait(has(`after ${action} ${run}`), `what was said after ${action}`, 40_000)
  }
  await one.wait(linkIs('open'))
  await inOrder(one, ['reconnect', 'drop', 'close'].map(action => `after ${action} ${run}`))
})

await check('a reload shows the same, and one is still signed in', async () => {
  const before = await one.eval(contents)
  await one.reload()
  await ready(one)
  const after = await one.eval(contents)
  assert.deepEqual(after, before.slice(-after.length))
  assert.ok(after.length >= Math.min(50, before.length))
})

await check('history comes as one scrolls up, and stays where one reads', async () => {
  const texts = Array.from({ length: 170 }, (_, n) => `line ${n} of ${run}`)
  for (const text of texts) await echo.say(random, text)
  await one.click(channel(random))
  await one.wait(has(texts[169]))
  await one.eval(`document.querySelector('.scroller').scrollTop = 1e9`)
  assert.equal(await one.eval(has(texts[20])), 0, 'not everything is loaded at once')
  for (let round = 0; round < 12 && !await one.eval(has(texts[0])); round += 1) {
    const oldest = await one.eval(`document.querySelector('.message').dataset.id`)
    const moved = await one.eval(`(async () => {
      const scroller = document.querySelector('.scroller')
      scroller.scrollTop = 0
      const row = document.querySelector('.message')
      const before = row.getBoundingClientRect().top
      for (let n = 0; n < 250 && document.querySelector('.message') === row && !document.querySelector('.welcome'); n += 1) await new Promise(done => setTimeout(done, 20))
      await new Promise(done => setTimeout(done, 60))
      return Math.abs(document.querySelector('[data-id="' + row.dataset.id + '"]').getBoundingClientRect().top - before)
    })()`)
    if (await one.eval(`document.querySelector('.message').dataset.id`) === oldest) break
    assert.ok(moved < 3, `the row moved by ${moved} px`)
  }
  await inOrder(one, texts)
  await one.wait(`!document.querySelector('.jump').hidden`, 'the way back')
  await echo.say(random, `the end of ${run}`)
  await one.wait(`document.querySelector('.jump').textContent.includes('1 new message')`, 'how much is new')
  await one.click('.jump')
  await one.wait(`(() => { const s = document.querySelector('.scroller'); return s.scrollHeight - s.scrollTop - s.clientHeight < 80 })()`, 'the end')
})

await check('who scrolls up is not taken back by what comes in the same moment', async () => {
  // Its sockets are kept, to bring something between a scroll and the event that tells of it.
  await one.send('Page.addScriptToEvaluateOnNewDocument', {
    source: `window.sockets = []; window.WebSocket = class extends WebSocket { constructor(...given) { super(...given); window.sockets.push(this) } }`,
  })
  await one.reload()
  await ready(one)
  const { id } = await echo.say(random, `below of ${run}`)
  await one.click(channel(random))
  await one.wait(has(`below of ${run}`))
  const reaction = { op: 0, s: null, t: 'MESSAGE_REACTION_ADD', d: { guild_id: demo.guild_id, channel_id: random, message_id: id, user_id: echo.id, emoji: { id: null, name: '🌱' } } }
  const [at, after] = await one.eval(`(async () => {
    const scroller = document.querySelector('.scroller')
    const frame = () => new Promise(done => requestAnimationFrame(done))
    scroller.scrollTop = 1e9
    await frame(); await frame()
    scroller.scrollTop -= 300
    const at = scroller.scrollTop
    window.sockets.at(-1).onmessage({ data: ${JSON.stringify(JSON.stringify(reaction))} })
    const came = () => document.querySelector('[data-id="${id}"]').textContent.includes('🌱')
    for (let turn = 0; turn < 1000 && !came(); turn += 1) await null
    if (!came()) throw new Error('the reaction is not shown')
    return [at, scroller.scrollTop]
  })()`)
  assert.ok(at > 0 && Math.abs(after - at) < 3, `it was at ${at} px and is at ${after} px`)
})

await checkSearch({ check, one, echo, general, random, run })

await check('everything goes by keyboard', async () => {
  const page = await open()
  await page.wait(`document.activeElement?.dataset.account === 'ada'`, 'the first account to be focused')
  await page.key('Tab', 'Enter')
  await ready(page)
  await say(page, `by keys ${run}`)
  await page.wait(`${has(`by keys ${run}`)} === 1 && !document.querySelector('.pending')`)
  await page.key('ArrowUp')
  await page.wait(`document.activeElement.closest('.editor')`, 'the editor')
  await page.key('End')
  await page.type('!')
  await page.key('Enter')
  await one.click(channel(general))
  await one.wait(has(`by keys ${run}!`))
  await page.wait(field)
  await page.key('Alt+ArrowDown')
  await page.wait(`document.querySelector('${channel(random)}').ariaCurrent === 'page'`, 'the next channel')
  await page.key('Control+k')
  await page.wait(`document.querySelector('dialog.switcher')`, 'the switch')
  await page.type('gen')
  await page.key('Enter')
  await page.wait(`document.querySelector('${channel(general)}').ariaCurrent === 'page'`, 'the channel by its name')
  await page.key('Control+/')
  await page.wait(`document.querySelector('dialog.help')`, 'the list of keys')
  await page.key('Escape')
  await page.wait(`!document.querySelector('dialog')`)
  await page.key('Shift+Tab')
  for (let n = 0; n < 12 && !await page.eval(`document.activeElement.matches('.scroller')`); n += 1) await page.key('Shift+Tab')
  await page.key('ArrowUp', 'ArrowUp')
  assert.ok(await page.eval(`document.activeElement.matches('.message')`), 'a message is reached')
  await page.key('m')
  await page.wait(`document.activeElement.matches('.menu-item')`, 'its menu')
  await page.key('Escape')
  await page.wait(`document.activeElement.matches('.message')`, 'the focus back')
})

await check('a token signs in, stays if asked, and is gone when one signs out', async () => {
  const page = await open()
  page.tolerated.push(/4004/)
  await page.click('#token')
  await page.type('MTIz.not.a-token')
  await page.key('Enter')
  await page.wait(`document.querySelector('[role=alert]')?.textContent.includes('not valid')`, 'the refusal')
  await page.click('#stay')
  await page.click('#token')
  await page.type(grace.token)
  await page.key('Enter')
  await ready(page)
  const kept = `JSON.stringify([{ ...localStorage }, { ...sessionStorage }]).includes(${JSON.stringify(grace.token)})`
  assert.ok(await page.eval(`localStorage.getItem('clarion:token').includes(${JSON.stringify(grace.token)})`))
  await page.reload()
  await ready(page)
  await page.click('.self-button')
  await page.eval(`[...document.querySelectorAll('.menu-item')].find(item => item.textContent === 'Sign out').click()`)
  await page.wait(`document.querySelector('.signin')`, 'the way in')
  assert.equal(await page.eval(kept), false)
})

await check('a phone has everything, in drawers', async () => {
  const page = await open({ width: 390, height: 844, mobile: true, url: `${net.url}?as=grace` })
  await ready(page)
  assert.ok(await page.eval('document.documentElement.scrollWidth <= 390'), 'nothing is wider than the screen')
  await page.click('button[aria-label="Channels"]')
  await page.wait(`document.querySelector('.side').getBoundingClientRect().left === 0`, 'the channels')
  await page.click(channel(random))
  await page.wait(`document.querySelector('.side').getBoundingClientRect().right <= 0`, 'the messages')
  await page.wait(has(`the end of ${run}`))
  await page.click('button[aria-label="Members"]')
  await page.wait(`document.querySelector('.members').getBoundingClientRect().right <= 390`, 'the members')
})

await checkVoice({ check, open, url: net.url, ready })

await check('no token is in an address', () => {
  const tokens = [...demo.users, ...demo.bots].map(account => account.token)
  for (const page of pages) for (const url of page.requests) assert.ok(!tokens.some(token => decodeURIComponent(url).includes(token)), url)
})

await check('nothing is asked of anybody but the server', () => {
  const own = new URL(net.url).host
  const foreign = pages.flatMap(page => page.requests).filter(url => /^(https?|wss?):/.test(url) && new URL(url).host !== own)
  assert.deepEqual(foreign, [])
})

await check('the browser has nothing to complain about', () => {
  assert.deepEqual(pages.flatMap(page => page.complaints), [])
})

await finish()
