// The checks of the web client's search. Called by accept.mjs, after there is a long history.

import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { demo } from './stage.mjs'

/** Waits until so many messages with a word are in the index, which follows what is said. */
async function indexed(person, word, wanted) {
  const deadline = Date.now() + 20_000
  for (;;) {
    const { total_results: found } = await person.call('GET', `/guilds/${demo.guild_id}/messages/search?content=${word}`)
    if (found === wanted) return
    assert.ok(Date.now() < deadline, `${found} of ${wanted} messages with ${word} are indexed`)
    await pause(40)
  }
}

/** `one`: a page that is signed in; `echo` speaks through the API. */
export async function checkSearch({ check, one, echo, general, random, run }) {
  const field = `document.querySelector('.search input')`
  const rows = `[...document.querySelectorAll('.found-row')]`
  const texts = `${rows}.map(row => row.querySelector('.markup').textContent)`
  const count = `document.querySelector('.search-count').textContent`
  const ask = async (text, wanted) => {
    // What the last question found is not the answer to this one.
    await one.eval(`${field}.focus(); ${field}.select(); document.querySelector('.search-count').textContent = ''`)
    await one.type(text)
    await one.wait(`${count} === '${wanted}'`, `"${text}" to find ${wanted}`)
  }
  const go = async channel => {
    await one.click(`[data-channel="${channel}"]`)
    await one.wait(`document.querySelector('[data-channel="${channel}"]').ariaCurrent === 'page'`)
  }

  await check('a message is found by its words, which are marked', async () => {
    await echo.say(random, `The quokka${run} smiled at https://example.com/q`)
    await echo.say(general, `another quokka${run} came by, <b>bold</b>`)
    await indexed(echo, `quokka${run}`, 2)
    await go(general)
    await one.key('Control+Shift+f')
    await one.wait(`document.activeElement === ${field}`, 'the field')
    await ask(`quokka${run} `, '2 messages')
    assert.deepEqual(await one.eval(texts), [`another quokka${run} came by, <b>bold</b>`, `The quokka${run} smiled at https://example.com/q`])
    assert.deepEqual(await one.eval(`[...document.querySelectorAll('.found-row mark')].map(mark => mark.textContent)`), [`quokka${run}`, `quokka${run}`])
    assert.equal(await one.eval(`document.querySelectorAll('.found-row b').length`), 0)
  })

  await check('filters narrow it, complete themselves, and say what they do not know', async () => {
    await ask(`quokka${run} in:random`, '1 message')
    await ask(`quokka${run} has:link`, '1 message')
    await ask(`quokka${run} from:ada`, 'No message')
    await ask(`quokka${run} before:2020-01-01`, 'No message')
    await ask('from:nobody-of-that-name', 'Nobody here is called “nobody-of-that-name”.')
    await one.eval(`${field}.select()`)
    await one.type(`quokka${run} in:ran`)
    await one.wait(`document.querySelector('.filter').textContent === 'in:random'`, 'the channel')
    await one.key('Tab')
    await one.wait(`${field}.value === 'quokka${run} in:random ' && ${count} === '1 message'`, 'the completed filter')
  })

  await check('an old message is shown in its place, and from there one comes back to the end', async () => {
    // Long before what is loaded when a channel is opened.
    const old = `line 20 of ${run}`
    await ask(`"${old}" in:random`, '1 message')
    await one.reload()
    await one.wait(`document.documentElement.dataset.link === 'open' && document.querySelector('.message')`)
    await one.key('Control+Shift+f')
    await ask(`"${old}" in:random`, '1 message')
    await one.key('ArrowDown', 'Enter')
    const shown = `[...document.querySelectorAll('.message')].map(row => row.querySelector('.markup').textContent)`
    await one.wait(`document.activeElement.matches('.message') && document.activeElement.textContent.includes('${old}')`, 'the message')
    const inView = await one.eval(`(() => { const r = document.activeElement.getBoundingClientRect(); return r.top > 0 && r.bottom < innerHeight })()`)
    assert.ok(inView, 'it is in view')
    const around = await one.eval(shown)
    const at = around.findIndex(text => text.includes(old))
    assert.deepEqual(around.slice(at - 2, at + 3), [18, 19, 20, 21, 22].map(n => `line ${n} of ${run}`))
    // What is said meanwhile does not come into the middle of it.
    await echo.say(random, `after the jump ${run}`)
    await one.wait(`!document.querySelector('.jump').hidden`, 'the way to the end')
    assert.equal(await one.eval(`${shown}.some(text => text.includes('after the jump'))`), false)
    await one.key('Escape')
    await one.click('.jump')
    await one.wait(`${shown}.at(-1).includes('after the jump ${run}')`, 'the end')
    const ids = await one.eval(`[...document.querySelectorAll('.message')].map(row => row.dataset.id)`)
    assert.deepEqual(ids, [...new Set(ids)].sort((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1)), 'in order, nothing twice')
  })

  await check('scrolling on from an old message reaches the end without a gap', async () => {
    await one.key('Control+Shift+f')
    await ask(`"line 60 of ${run}"`, '1 message')
    await one.key('ArrowDown', 'Enter')
    await one.wait(`document.activeElement.matches('.message') && document.activeElement.textContent.includes('line 60 of ${run}')`, 'the message')
    const last = `[...document.querySelectorAll('.message .markup')].at(-1).textContent.includes('after the jump ${run}')`
    for (let n = 0; n < 60 && !await one.eval(last); n += 1) {
      await one.eval(`(async () => { const s = document.querySelector('.scroller'); s.scrollTop = s.scrollHeight - s.clientHeight - 200; await new Promise(done => setTimeout(done, 100)) })()`)
    }
    const lines = await one.eval(`[...document.querySelectorAll('.message .markup')].map(one => /^line (\\d+) of ${run}$/.exec(one.textContent)?.[1]).filter(Boolean).map(Number)`)
    assert.deepEqual(lines.slice(lines.indexOf(60)), Array.from({ length: 110 }, (_, n) => 60 + n))
    await one.key('Control+Shift+f')
    await one.key('Escape')
    await one.wait(`document.querySelector('.search').hidden`, 'the search closed')
  })

  await check('an index that is being built is asked again', async () => {
    let asked = 0
    await one.intercept('*/messages/search*', () => {
      asked += 1
      return asked === 1 ? { status: 202, body: { message: 'Index not yet available. Try again later', code: 110000, documents_indexed: 0, retry_after: 1 } } : null
    })
    await one.key('Control+Shift+f')
    await one.eval(`${field}.select()`)
    await one.type(`quokka${run} `)
    await one.wait(`${count}.includes('still being indexed')`, 'that it is not ready')
    await one.wait(`${count} === '2 messages'`, 'the answer')
    await one.stopIntercepting()
    await one.key('Escape')
    await go(general)
  })
}
