// Drives a headless Chromium over its DevTools protocol, through a pipe: no port, no library.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

/** Longest wait for a condition, in ms. */
const PATIENCE = 15_000
const COMMAND_WITHIN = 30_000

/** Keys that are not characters: key, code, number. */
const KEYS = {
  Enter: ['Enter', 'Enter', 13, '\r'], Escape: ['Escape', 'Escape', 27], Tab: ['Tab', 'Tab', 9], ArrowUp: ['ArrowUp', 'ArrowUp', 38],
  ArrowDown: ['ArrowDown', 'ArrowDown', 40], ArrowRight: ['ArrowRight', 'ArrowRight', 39], Delete: ['Delete', 'Delete', 46], End: ['End', 'End', 35],
  Backspace: ['Backspace', 'Backspace', 8], Home: ['Home', 'Home', 36],
}
const MODIFIERS = { Alt: 1, Control: 2, Meta: 4, Shift: 8 }

export class Browser {
  #next = 1
  #waiting = new Map()
  #listeners = new Map()

  /** `more`: switches of Chromium. */
  static async launch(more = [], binary = process.env.CHROMIUM ?? 'chromium') {
    const browser = new Browser()
    browser.profile = mkdtempSync(join(tmpdir(), 'clarion-browser-'))
    browser.child = spawn(binary, [
      '--headless=new', '--no-sandbox', '--remote-debugging-pipe', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--mute-audio',
      '--disable-background-networking', '--disable-component-update', '--disable-default-apps', '--disable-extensions', '--disable-sync',
      '--disable-background-timer-throttling', '--disable-backgrounding-occluded-windows', '--disable-renderer-backgrounding',
      '--hide-scrollbars', '--lang=en-GB', `--user-data-dir=${browser.profile}`, ...more, 'about:blank',
    ], { stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'], env: { ...process.env, LANG: 'en_GB.UTF-8', TZ: 'UTC' } })
    let said = ''
    browser.child.stderr.on('data', data => { said = (said + data).slice(-4_000) })
    browser.child.on('exit', code => browser.#fail(new Error(`the browser ended (${code}): ${said}`)))
    browser.child.stdio[3].on('error', () => {})
    browser.#read(browser.child.stdio[4])
    await browser.send('Target.setDiscoverTargets', { discover: false })
    return browser
  }

  #read(pipe) {
    let parts = []
    pipe.on('data', data => {
      for (let end; (end = data.indexOf(0)) >= 0; data = data.subarray(end + 1)) {
        parts.push(data.subarray(0, end))
        this.#receive(JSON.parse(Buffer.concat(parts).toString()))
        parts = []
      }
      if (data.length) parts.push(data)
    })
  }

  #receive({ id, result, error, method, params, sessionId }) {
    if (id === undefined) return this.#listeners.get(sessionId)?.(method, params)
    const { done, fail, what, timer } = this.#waiting.get(id)
    clearTimeout(timer)
    this.#waiting.delete(id)
    return error ? fail(new Error(`${what}: ${error.message}`)) : done(result)
  }

  #fail(error) {
    this.ended = error
    for (const { fail, timer } of this.#waiting.values()) {
      clearTimeout(timer)
      fail(error)
    }
    this.#waiting.clear()
  }

  send(method, params = {}, sessionId) {
    if (this.ended) return Promise.reject(this.ended)
    const id = this.#next++
    return new Promise((done, fail) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id)
        fail(new Error(`no answer to ${method}`))
      }, COMMAND_WITHIN)
      this.#waiting.set(id, { done, fail, what: method, timer })
      this.child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`)
    })
  }

  /** A page with storage of its own. */
  async page({ width = 1440, height = 900, url, dark = false, reduced = true, scale = 1, mobile = false } = {}) {
    const { browserContextId } = await this.send('Target.createBrowserContext')
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank', browserContextId, width, height })
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true })
    const page = new Page(this, sessionId, targetId, browserContextId)
    this.#listeners.set(sessionId, (method, params) => page.heard(method, params))
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await page.send(`${domain}.enable`)
    await page.send('Emulation.setFocusEmulationEnabled', { enabled: true })
    await page.size(width, height, { scale, mobile })
    await page.media({ dark, reduced })
    if (url) await page.goto(url)
    return page
  }

  async close() {
    this.child.removeAllListeners('exit')
    this.child.on('exit', () => this.#fail(new Error('closed')))
    const ended = new Promise(done => this.child.once('exit', done))
    this.send('Browser.close').catch(() => {})
    await Promise.race([ended, pause(5_000)])
    this.child.kill('SIGKILL')
    await Promise.race([ended, pause(2_000)])
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 })
  }
}

class Page {
  /** What the console and the browser complained about. */
  complaints = []
  /** What may be complained about while the network is away. */
  tolerated = []
  requests = []
  #answer = null

  constructor(browser, sessionId, targetId, contextId) {
    Object.assign(this, { browser, sessionId, targetId, contextId })
  }

  send(method, params) {
    return this.browser.send(method, params, this.sessionId)
  }

  heard(method, params) {
    if (method === 'Runtime.exceptionThrown') {
      const { text, exception } = params.exceptionDetails
      this.#complain(`exception: ${text} ${exception?.description ?? ''}`)
    }
    if (method === 'Runtime.consoleAPICalled' && ['error', 'warning', 'assert'].includes(params.type)) {
      this.#complain(`console.${params.type}: ${params.args.map(a => a.value ?? a.description).join(' ')}`)
    }
    if (method === 'Log.entryAdded' && ['error', 'warning'].includes(params.entry.level)) {
      this.#complain(`${params.entry.source}: ${params.entry.text} ${params.entry.url ?? ''}`)
    }
    if (method === 'Network.requestWillBeSent') this.requests.push(params.request.url)
    if (method === 'Network.webSocketCreated') this.requests.push(params.url)
    if (method === 'Fetch.requestPaused') this.#answer?.(params)
    if (method === 'Page.javascriptDialogOpening') this.send('Page.handleJavaScriptDialog', { accept: true }).catch(() => {})
  }

  #complain(text) {
    if (!this.tolerated.some(pattern => pattern.test(text))) this.complaints.push(text)
  }

  async goto(url) {
    await this.send('Page.navigate', { url })
    await this.wait('document.readyState === "complete" && location.href !== "about:blank"', `the page at ${url}`)
  }

  async reload() {
    await this.eval('window.isOld = true')
    await this.send('Page.reload')
    await this.wait('!window.isOld && document.readyState === "complete"', 'the page again')
  }

  async eval(expression) {
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true })
    if (exceptionDetails) throw new Error(`${exceptionDetails.exception?.description ?? exceptionDetails.text}\n in ${expression}`)
    return result.value
  }

  /** Waits until an expression is true; answers its value. */
  async wait(expression, what = expression, within = PATIENCE) {
    const deadline = Date.now() + within
    for (;;) {
      let value
      let why = ''
      try {
        value = await this.eval(expression)
      } catch (error) {
        // A page that is being replaced cannot be asked.
        why = error.message
      }
      if (value) return value
      if (Date.now() > deadline) throw new Error(`waited in vain for ${what} ${why}`)
      await pause(40)
    }
  }

  async click(selector) {
    await this.wait(`document.querySelector(${JSON.stringify(selector)})`, `an element ${selector}`).catch(async error => {
      throw error
    })
    const { x, y } = await this.eval(`(() => {
      const element = document.querySelector(${JSON.stringify(selector)})
      element.scrollIntoView({ block: 'nearest' })
      const { left, top, width, height } = element.getBoundingClientRect()
      return { x: left + width / 2, y: top + height / 2 }
    })()`)
    await this.mouse(x, y)
    for (const type of ['mousePressed', 'mouseReleased']) {
      await this.send('Input.dispatchMouseEvent', { type, x, y, button: 'left', clickCount: 1 })
    }
  }

  async mouse(x, y) {
    await this.send('Input.dispatchMouseEvent', { type: 'mouseMoved', x, y })
  }

  async hover(selector) {
    const { x, y } = await this.eval(`(() => {
      const { left, top, width, height } = document.querySelector(${JSON.stringify(selector)}).getBoundingClientRect()
      return { x: left + width / 2, y: top + height / 2 }
    })()`)
    await this.mouse(x, y)
  }

  /** Types a text as from a keyboard. */
  async type(text) {
    await this.send('Input.insertText', { text })
  }

  /** Presses keys such as `Enter`, `Shift+Tab`, `a`. */
  async key(...names) {
    for (const name of names) {
      const parts = name === '+' ? ['+'] : name.split('+')
      const last = parts.pop()
      const modifiers = parts.reduce((bits, part) => bits | MODIFIERS[part], 0)
      const [key, code, number, text] = KEYS[last] ?? [last, '', last.toUpperCase().charCodeAt(0), modifiers & ~8 ? undefined : last]
      const event = { key, code, windowsVirtualKeyCode: number, modifiers, text }
      await this.send('Input.dispatchKeyEvent', { type: text ? 'keyDown' : 'rawKeyDown', ...event })
      await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...event, text: undefined })
    }
  }

  async size(width, height, { scale = 1, mobile = false } = {}) {
    await this.send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: scale, mobile })
  }

  async media({ dark = false, reduced = true }) {
    await this.send('Emulation.setEmulatedMedia', { features: [
      { name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }, { name: 'prefers-reduced-motion', value: reduced ? 'reduce' : 'no-preference' },
    ] })
  }

  /** Whether the browser believes that there is a network. */
  async offline(offline) {
    await this.send('Network.emulateNetworkConditions', { offline, latency: 0, downloadThroughput: -1, uploadThroughput: -1 })
  }

  /** Has requests that match answered by `answer(request)`, which may answer nothing. */
  async intercept(pattern, answer) {
    this.#answer = async ({ requestId, request }) => {
      const given = answer(request)
      const headers = Object.entries(given?.headers ?? {}).map(([name, value]) => ({ name, value: String(value) }))
      const body = Buffer.from(JSON.stringify(given?.body ?? {})).toString('base64')
      const sent = given ? this.send('Fetch.fulfillRequest', { requestId, responseCode: given.status, responseHeaders: headers, body })
        : this.send('Fetch.continueRequest', { requestId })
      await sent.catch(() => {})
    }
    await this.send('Fetch.enable', { patterns: [{ urlPattern: pattern }] })
  }

  async stopIntercepting() {
    await this.send('Fetch.disable')
    this.#answer = null
  }

  async screenshot() {
    const { data } = await this.send('Page.captureScreenshot', { format: 'png' })
    return Buffer.from(data, 'base64')
  }

  async close() {
    await this.browser.send('Target.disposeBrowserContext', { browserContextId: this.contextId })
  }
}
