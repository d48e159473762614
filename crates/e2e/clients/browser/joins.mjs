// Measures how long Chromium takes from its offer to the first packet of media.
//
//   node joins.mjs <voice-alone> <joins> <per second> <seconds>
//
// First alone; then while native clients come and go, so many a second for so many seconds. A line of JSON each.

import { createServer } from 'node:http'
import { Alone } from './alone.mjs'
import { Browser } from './chromium.mjs'

/** What the page does: one join, from the offer to the first packet, in ms. */
const PAGE = String.raw`
globalThis.join = async ({ url, token }, slots) => {
  const peer = new RTCPeerConnection()
  const first = new Promise(done => {
    // A track is unmuted by its first packet.
    peer.ontrack = ({ track }) => { track.onunmute = () => done(performance.now()) }
  })
  for (let n = 0; n < slots; n++) peer.addTransceiver('audio', { direction: 'recvonly' })
  await peer.setLocalDescription()
  const began = performance.now()
  const headers = { authorization: 'Bearer ' + token, 'content-type': 'application/sdp' }
  const answer = await fetch(url, { method: 'POST', headers, body: peer.localDescription.sdp })
  if (answer.status !== 201) throw new Error(answer.status + ': ' + (await answer.text()))
  await peer.setRemoteDescription({ type: 'answer', sdp: await answer.text() })
  const took = await Promise.race([first, new Promise((_, fail) => setTimeout(() => fail(new Error('no packet')), 10000))]) - began
  peer.close()
  return took
}
globalThis.talk = async ({ url, token }) => {
  const audio = new AudioContext()
  await audio.resume()
  const peer = (globalThis.speaker = new RTCPeerConnection())
  const oscillator = new OscillatorNode(audio, { frequency: 440 })
  const out = audio.createMediaStreamDestination()
  oscillator.connect(out)
  oscillator.start()
  peer.addTransceiver(out.stream.getAudioTracks()[0], { direction: 'sendonly' })
  await peer.setLocalDescription()
  const headers = { authorization: 'Bearer ' + token, 'content-type': 'application/sdp' }
  const answer = await fetch(url, { method: 'POST', headers, body: peer.localDescription.sdp })
  await peer.setRemoteDescription({ type: 'answer', sdp: await answer.text() })
}
`
const ROOM = 60
const [program, ...numbers] = process.argv.slice(2)
const [count, rate, seconds] = numbers.map(Number)

async function call(page, name, ...given) {
  const parameters = { expression: `${name}(${given.map(one => JSON.stringify(one)).join()})`, awaitPromise: true, returnByValue: true, userGesture: true }
  const { result, exceptionDetails } = await page.send('Runtime.evaluate', parameters)
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text)
  return result.value
}

async function joins(alone, page, first, isOver = () => false) {
  const took = []
  for (let n = 0; n < count && !isOver(); n += 1) took.push(await call(page, 'join', await alone.ask('admit', ROOM, first + n), 8))
  took.sort((a, b) => a - b)
  const at = share => Number(took[Math.min(Math.floor(took.length * share), took.length - 1)].toFixed(1))
  return { joined: took.length, p50: at(0.5), p95: at(0.95), worst: at(1) }
}

const alone = new Alone(program)
const server = createServer((_, response) => response.setHeader('content-type', 'text/html').end('<!doctype html><title>joins</title>'))
await new Promise(done => server.listen(0, '127.0.0.1', done))
const origin = `http://127.0.0.1:${server.address().port}/`
const browser = await Browser.launch()
const [speaker, page] = [await browser.page({ url: origin }), await browser.page({ url: origin })]
for (const one of [speaker, page]) await one.eval(PAGE)
await call(speaker, 'talk', await alone.ask('admit', ROOM, 1))
// The first one loads what the browser needs for all of them.
await call(page, 'join', await alone.ask('admit', ROOM, 2), 8)
console.log(JSON.stringify({ client: 'chromium', beside: 'nobody', ...await joins(alone, page, 1_000) }))
await alone.ask('joins', rate, seconds)
const until = Date.now() + 1_000 * seconds
const loaded = await joins(alone, page, 2_000, () => Date.now() > until)
const native = await alone.ask('joined')
console.log(JSON.stringify({ client: 'chromium', beside: `native clients, ${native.per_second} joins/s: ${JSON.stringify(native)}`, ...loaded }))
await browser.close()
await alone.stop()
server.close()
