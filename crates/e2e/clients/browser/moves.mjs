// Acceptance test: a voice server is killed, or drained, while two windows of the web client talk on it.
//
//   node moves.mjs <demo.json> <clarion> <router>
//
// demo.json is the file of a running server that has no voice server of its own; `router` is where its router answers. Voice
// servers, each a process, join it while the windows are open. One line a check, `ok <name>` or `FAIL <name>: why`, and a last
// line `N passed, M failed`; the exit code is 1 when something failed.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createWriteStream, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Browser } from './chromium.mjs'
import { network } from './stage.mjs'
import { KEEP, microphone } from './talk.mjs'

/** What is promised, in ms: heard again after a death; the longest gap of a drain. */
const HEARD_AGAIN = 3_000
const GAP = 200
/** Drains that are tried: a machine that stands still for a moment is silent, too, whoever drains. */
const DRAINS = 4

const [, clarion, router] = process.argv.slice(2)
const folder = mkdtempSync(join(tmpdir(), 'clarion-moves-'))

/** A voice server: a process. */
class Server {
  static async start(name) {
    const server = new Server()
    server.log = join(folder, `${name}.log`)
    const local = '127.0.0.1:0'
    const env = {
      ...process.env, CLARION_VOICE__LISTEN: local, CLARION_VOICE__HTTP: local, CLARION_VOICE__UDP: local, CLARION_INSTANCE: name,
      CLARION_ADMIN__LISTEN: local, CLARION_PEERS__ROUTERS: JSON.stringify([router]),
    }
    server.child = spawn(clarion, ['serve', 'voice'], { stdio: ['ignore', 'pipe', 'pipe'], env })
    const log = createWriteStream(server.log)
    server.child.stdout.pipe(log)
    server.child.stderr.pipe(log)
    server.ended = new Promise(done => server.child.once('exit', done))
    for (const deadline = Date.now() + 20_000; !server.url; await pause(20)) {
      assert.ok(Date.now() < deadline, `${name} does not listen`)
      const line = read(server.log).split('\n').find(line => line.includes('"service.listening"') && line.endsWith('}'))
      server.url = line && JSON.parse(line).detail.split(' ')[1]
    }
    return server
  }

  async end(signal) {
    this.child.kill(signal)
    return this.ended
  }
}

const read = file => {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

/** Notes when there was something to hear, and by which of the page's connections. */
const LISTEN = `(async () => {
  window.heard = []
  const before = new Map()
  for (;; await new Promise(done => setTimeout(done, 20))) {
    const all = await Promise.all(window.peers.map((peer, n) => peer.connectionState === 'closed' ? [] : peer.getStats().then(stats => [n, [...stats.values()]])))
    for (const [n, stats] of all.filter(one => one.length)) {
      for (const { id, totalAudioEnergy = 0 } of stats.filter(one => one.type === 'inbound-rtp')) {
        const key = n + id
        if (totalAudioEnergy - (before.get(key) ?? totalAudioEnergy) > 1e-6) window.heard.push([Date.now(), n])
        before.set(key, totalAudioEnergy)
      }
    }
  }
})(), 0`
const isOpen = `document.querySelector('.voice-panel[data-phase="open"]')`

let failed = 0
let passed = 0
async function check(name, f) {
  try {
    await f()
    passed += 1
    console.log(`ok ${name}`)
  } catch (error) {
    failed += 1
    console.log(`FAIL ${name}: ${error.message}`)
  }
}

/** The longest time without anything to hear, in ms. */
async function gap(page, since, end) {
  const times = (await page.eval('window.heard')).map(([at]) => at).filter(at => at >= since && at <= end)
  return [since, ...times].reduce((most, at, n) => Math.max(most, (times[n] ?? end) - at), 0)
}

const voice = microphone({ restless: true })
const browser = await Browser.launch(voice.switches)
const net = await network()
const pages = []
const running = new Set()
const start = async name => {
  const server = await Server.start(name)
  running.add(server)
  return server
}

try {
  let here = await start('voice-a')
  let there
  for (const who of ['ada', 'grace']) {
    const page = await browser.page({ url: null })
    await page.send('Page.addScriptToEvaluateOnNewDocument', { source: KEEP })
    await page.goto(`${net.url}?as=${who}`)
    await page.wait(`document.documentElement.dataset.link === 'open' && document.querySelector('.voice-channel')`, 'the workspace')
    await page.eval('window.isTheSame = true')
    pages.push(page)
  }
  await check('two windows talk over a voice server that is a process', async () => {
    for (const page of pages) await page.click('.voice-channel')
    for (const page of pages) {
      await page.wait(isOpen, 'the connection to the voice server', 20_000)
      await page.eval(LISTEN)
      await page.wait('window.heard.length > 20', 'the other one to be heard', 20_000)
    }
  })

  await check('the server is killed, and they hear each other over one that the pages never knew', async () => {
    there = await start('voice-b')
    const counts = await Promise.all(pages.map(page => page.eval('window.peers.length')))
    const began = Date.now()
    await here.end('SIGKILL')
    running.delete(here)
    for (const [n, page] of pages.entries()) {
      const again = `window.heard.find(([, n]) => n >= ${counts[n]})`
      await page.wait(again, 'the other one over another connection', 20_000)
      const [at] = await page.eval(again)
      console.log(`   window ${n + 1} hears the other again after ${((at - began) / 1_000).toFixed(2)} s`)
      assert.ok(at - began <= HEARD_AGAIN, `${at - began} ms`)
      await page.wait(isOpen, 'the connection')
      assert.ok(await page.eval('window.isTheSame'), 'the page was not loaded again')
    }
  })

  await check('the server drains, and nobody misses anything', async () => {
    const found = []
    for (let n = 0; n < DRAINS; n += 1) {
      ;[here, there] = [there, await start(`voice-${n}`)]
      await pause(1_500)
      const began = Date.now()
      const code = await here.end('SIGTERM')
      running.delete(here)
      const over = Date.now()
      await pause(1_000)
      assert.equal(code, 0, 'it ended well')
      const before = await Promise.all(pages.map(page => gap(page, began - 1_000, began)))
      const gaps = await Promise.all(pages.map(page => gap(page, began, over + 1_000)))
      console.log(`   drained in ${((over - began) / 1_000).toFixed(2)} s; longest gaps ${gaps.join(' and ')} ms; before: ${Math.max(...before)} ms`)
      found.push(Math.max(...gaps))
      for (const page of pages) assert.ok(await page.eval(`window.isTheSame && !!${isOpen}`), 'the same page, and connected')
      if (found.at(-1) <= GAP) break
    }
    assert.ok(Math.min(...found) <= GAP, `${found}`)
  })

  await check('the browser has nothing to complain about', () => {
    assert.deepEqual(pages.flatMap(page => page.complaints), [])
  })
} catch (error) {
  failed += 1
  console.log(`FAIL it could be tried: ${error.stack}`)
} finally {
  await browser.close().catch(() => {})
  net.close()
  voice.remove()
  for (const server of running) await server.end('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
}
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed > 0 || passed === 0 ? 1 : 0)
