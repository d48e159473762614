// Voice in the web client: two windows that hear each other, in a real browser and by a real voice server.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { demo, disturb } from './stage.mjs'

const RATE = 48_000
/** Longest wait until somebody is heard, in ms. */
const HEARD_WITHIN = 10_000

/**
 * A microphone for all windows: chords of which each sounds for a while, so that nobody takes them for noise. `restless`:
 * without pauses between them, for those who look for gaps.
 */
export function microphone({ restless = false } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'clarion-voice-'))
  const samples = 4 * RATE
  const wave = Buffer.alloc(44 + samples * 2)
  wave.write('RIFF', 0)
  wave.writeUInt32LE(36 + samples * 2, 4)
  wave.write('WAVEfmt ', 8)
  wave.writeUInt32LE(16, 16)
  for (const [value, at] of [[1, 20], [1, 22], [2, 32], [16, 34]]) wave.writeUInt16LE(value, at)
  wave.writeUInt32LE(RATE, 24)
  wave.writeUInt32LE(RATE * 2, 28)
  wave.write('data', 36)
  wave.writeUInt32LE(samples * 2, 40)
  for (let n = 0; n < samples; n += 1) {
    const seconds = n / RATE
    const pitch = restless ? 150 + 23 * (Math.floor(seconds / 0.125) * 7 % 11) : 160 + 60 * Math.floor(seconds / 0.5 % 4)
    const pausing = seconds % 0.5 < 0.4 ? Math.sin(Math.PI * (seconds % 0.5) / 0.4) : 0
    const loud = restless ? 0.7 + 0.3 * Math.sin(2 * Math.PI * 3 * seconds) : pausing
    const sound = [1, 2, 3, 5, 8].reduce((sum, k) => sum + Math.sin(2 * Math.PI * pitch * k * seconds) / k, 0)
    wave.writeInt16LE(Math.round(9_000 * loud * sound), 44 + n * 2)
  }
  const file = join(folder, 'microphone.wav')
  writeFileSync(file, wave)
  return {
    switches: ['--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream', `--use-file-for-fake-audio-capture=${file}`],
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

/** Keeps the connections that the page makes, for their statistics. */
export const KEEP = `window.peers = []; window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...all) { super(...all); window.peers.push(this) }
}`
const ENERGY = `(async () => {
  const stats = [...(await window.peers.at(-1).getStats()).values()]
  return stats.filter(one => one.type === 'inbound-rtp').reduce((sum, one) => sum + (one.totalAudioEnergy ?? 0), 0)
})()`
/** How much more there is to hear after some time. */
const GROWTH = `(async () => {
  const energy = () => ${ENERGY}
  const before = await energy()
  await new Promise(done => setTimeout(done, 700))
  return await energy() - before
})()`
const people = `[...document.querySelectorAll('.voice-person')].map(row => row.querySelector('.voice-name').textContent).join()`
const row = name => `[...document.querySelectorAll('.voice-person')].find(row => row.querySelector('.voice-name').textContent === '${name}')`
const isOpen = `document.querySelector('.voice-panel[data-phase="open"]')`

const hears = page => page.wait(`${GROWTH}.then(more => more > 1e-4)`, 'something to hear', HEARD_WITHIN)
const hearsNothing = page => page.wait(`${GROWTH}.then(more => more < 1e-6)`, 'silence', HEARD_WITHIN)

export async function checkVoice({ check, open, url, ready, picture = async () => {} }) {
  const enter = async who => {
    const page = await open({ url: null })
    await page.send('Page.addScriptToEvaluateOnNewDocument', { source: KEEP })
    await page.goto(`${url}?as=${who}`)
    await ready(page)
    return page
  }
  const one = await enter('ada')
  const two = await enter('grace')

  await check('two who join a voice channel see and hear each other', async () => {
    await one.click('.voice-channel')
    await two.wait(`${people} === 'ada'`, 'ada in the channel')
    await two.click('.voice-channel')
    for (const page of [one, two]) {
      await page.wait(isOpen, 'the connection to the voice server')
      await page.wait(`${people} === 'ada,grace'`, 'both in the channel')
      await hears(page)
    }
    for (const name of ['ada', 'grace']) await two.wait(`${row(name)}.classList.contains('speaking')`, `the ring of ${name}`)
    await two.wait(`/^(Good|Fair|Poor) \\d+ ms/.test(document.querySelector('.voice-quality').textContent)`, 'how good the connection is')
    await picture('open', one)
  })

  await check('muting by keyboard is silence for the other, and is shown', async () => {
    await one.eval(`document.querySelector('.voice-mute').focus()`)
    await one.key('Enter')
    await one.wait(`document.querySelector('.voice-mute').ariaPressed === 'true'`, 'the button pressed')
    await two.wait(`${row('ada')}.querySelector('.icon-muted')`, 'the mark of ada')
    await hearsNothing(two)
    await two.wait(`!${row('ada')}.classList.contains('speaking')`, 'the ring gone')
    await hears(one)
    await picture('muted', two)
    await one.key('Enter')
    await hears(two)
  })

  await check('deafening is silence for oneself and for the other', async () => {
    await one.click('.voice-deafen')
    await two.wait(`${row('ada')}.querySelector('.icon-deaf')`, 'the mark of ada')
    await hearsNothing(two)
    await hearsNothing(one)
    await one.click('.voice-deafen')
    for (const page of [one, two]) await hears(page)
  })

  await check('another microphone and other speakers can be chosen', async () => {
    await one.click('.voice-devices')
    await one.wait(`document.querySelectorAll('.menu [role=menuitemradio]').length > 2`, 'the devices')
    assert.equal(await one.eval(`document.querySelectorAll('.menu [aria-checked=true]').length`), 2)
    await picture('devices', one)
    const sent = 'window.peers.at(-1).getSenders().find(sender => sender.track)?.track.getSettings().deviceId'
    const before = await one.eval(sent)
    await one.eval(`document.querySelector('.menu [role=menuitemradio][aria-checked=false]').click()`)
    await one.wait(`${sent} !== ${JSON.stringify(before)}`, 'another microphone')
    await hears(two)
  })

  await check('a session that is lost comes back to the channel by itself', async () => {
    const before = await one.eval('window.peers.length')
    assert.ok(await disturb(demo.users[0].id, 'invalidate', { resumable: false }) > 0)
    await one.wait(`window.peers.length > ${before} && window.peers.at(-1).connectionState === 'connected'`, 'another connection', 20_000)
    await one.wait(isOpen, 'the connection to the voice server')
    for (const page of [one, two]) await hears(page)
    await two.wait(`${people} === 'ada,grace'`, 'both in the channel')
  })

  await check('who leaves is gone, and who may not use a microphone listens', async () => {
    await two.click('.voice-leave')
    await two.wait(`document.querySelector('.voice-panel').hidden`, 'the panel gone')
    await one.wait(`${people} === 'ada'`, 'grace gone')
    await two.eval(`navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotAllowedError') }`)
    await two.click('.voice-channel')
    await two.wait(isOpen, 'the connection to the voice server')
    assert.match(await two.eval(`document.querySelector('.voice-problem').textContent`), /refused: you can listen/)
    assert.ok(await two.eval(`document.querySelector('.voice-mute').disabled`))
    await hears(two)
    await hearsNothing(one)
    await picture('refused', two)
    for (const page of [one, two]) await page.click('.voice-leave')
    for (const page of [one, two]) await page.wait(`${people} === ''`, 'nobody in the channel')
  })
}
