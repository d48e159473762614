// Acceptance test: Chromium against a voice server alone.
//
//     node voice.mjs <voice-alone>
//
// voice-alone is an example of the crate clarion-voice: a voice server that is told on its input whom to admit. Pages with a
// tone for a voice talk to each other; what arrives is measured. One line a check, `ok <name>` or `FAIL <name>: why`; the exit
// code is 1 when something failed.

import { createSocket } from 'node:dgram'
import { createServer } from 'node:http'

import { Alone } from './alone.mjs'
import { Browser } from './chromium.mjs'

/** A room and a page: what the page is told to do, as text that it evaluates. */
const PAGE = String.raw`
globalThis.call = { heard: [] }
call.join = async ({ url, token }, tone, slots, hole) => {
  const audio = (call.audio = new AudioContext())
  await audio.resume()
  const peer = (call.peer = new RTCPeerConnection())
  peer.ontrack = ({ track, transceiver }) => {
    // Without an element that plays it Chromium decodes nothing.
    const element = new Audio()
    element.srcObject = new MediaStream([track])
    element.muted = true
    element.play()
    const analyser = audio.createAnalyser()
    analyser.fftSize = 8192
    audio.createMediaStreamSource(element.srcObject).connect(analyser)
    call.heard.push({ mid: transceiver.mid, analyser, element })
  }
  if (tone) {
    const oscillator = (call.oscillator = new OscillatorNode(audio, { frequency: tone }))
    const out = audio.createMediaStreamDestination()
    oscillator.connect(out)
    oscillator.start()
    peer.addTransceiver(out.stream.getAudioTracks()[0], { direction: 'sendonly' })
  }
  for (let n = 0; n < slots; n++) peer.addTransceiver('audio', { direction: 'recvonly' })
  await peer.setLocalDescription()
  const began = performance.now()
  call.bearer = { authorization: 'Bearer ' + token }
  const headers = { ...call.bearer, 'content-type': 'application/sdp' }
  const answer = await fetch(url, { method: 'POST', headers, body: peer.localDescription.sdp })
  if (answer.status !== 201) throw new Error(answer.status + ': ' + (await answer.text()))
  call.location = answer.headers.get('location')
  // As in a network that lets no UDP through: what goes to the server that way gets lost.
  const lost = (all, before, host) => hole ? before + host + ' ' + hole : all
  const sdp = (await answer.text()).replace(/^(a=candidate:\S+ 1 udp \d+ )(\S+) \d+/gm, lost)
  await peer.setRemoteDescription({ type: 'answer', sdp })
  await new Promise((done, fail) => {
    peer.onconnectionstatechange = () => peer.connectionState === 'connected' ? done() : peer.connectionState === 'failed' && fail(new Error('failed'))
    if (peer.connectionState === 'connected') done()
  })
  return performance.now() - began
}
call.tones = () => call.heard.flatMap(({ analyser }) => {
  const bins = new Float32Array(analyser.frequencyBinCount)
  analyser.getFloatFrequencyData(bins)
  let best = 0
  bins.forEach((level, at) => { if (level > bins[best]) best = at })
  return bins[best] > -60 ? [Math.round(best * call.audio.sampleRate / analyser.fftSize)] : []
}).sort((a, b) => a - b)
call.stats = async () => [...(await call.peer.getStats()).values()]
  .filter(s => ['outbound-rtp', 'remote-inbound-rtp', 'inbound-rtp', 'codec', 'transport'].includes(s.type))
call.way = async () => {
  const stats = await call.peer.getStats()
  const transport = [...stats.values()].find(s => s.type === 'transport')
  const pair = stats.get(transport.selectedCandidatePairId)
  const [local, remote] = [stats.get(pair.localCandidateId), stats.get(pair.remoteCandidateId)]
  return { local: local.protocol, remote: remote.protocol, port: remote.port, tcpType: remote.tcpType }
}
`

/** Whether exactly these frequencies are heard, to the width of two bins. */
const hears = tones => `((found, expected) => found.length === expected.length
  && found.every((f, n) => Math.abs(f - expected[n]) <= 12))(call.tones(), ${JSON.stringify(tones)})`

async function caller(browser, origin, alone, channel, user, tone, slots = 8, hole = 0) {
  const page = await browser.page({ url: origin })
  await page.eval(PAGE)
  const admitted = await alone.ask('admit', channel, user)
  const expression = `call.join(${JSON.stringify(admitted)}, ${tone}, ${slots}, ${hole})`
  const parameters = { expression, awaitPromise: true, returnByValue: true, userGesture: true }
  const { result, exceptionDetails } = await page.send('Runtime.evaluate', parameters)
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text)
  page.connectedIn = result.value
  return page
}

async function twoTalkAndMuteIsSilence({ browser, origin, alone }) {
  const a = await caller(browser, origin, alone, 20, 1, 440)
  const b = await caller(browser, origin, alone, 20, 2, 880)
  await b.wait(hears([440]), 'b hears 440 Hz')
  await a.wait(hears([880]), 'a hears 880 Hz')
  await alone.ask('allow', 20, 1, 'false', 'true')
  await b.wait(hears([]), 'b hears nothing of a who is muted')
  await alone.ask('allow', 20, 1, 'true', 'true')
  await b.wait(hears([440]), 'b hears a again')
  const stats = await a.eval('call.stats()')
  const codec = stats.find(s => s.type === 'codec' && s.id === stats.find(o => o.type === 'outbound-rtp').codecId)
  const transport = stats.find(s => s.type === 'transport')
  const told = stats.find(s => s.type === 'remote-inbound-rtp')
  console.log(`   sends ${codec.mimeType}; ${transport.srtpCipher}, ${transport.dtlsCipher}; told loss ${told?.fractionLost}, round trip ${told?.roundTripTime}`)
  console.log(`   from the offer to connected: ${a.connectedIn.toFixed(0)} and ${b.connectedIn.toFixed(0)} ms`)
  const out = stats.find(s => s.type === 'outbound-rtp')
  console.log(`   ${(out.bytesSent / out.packetsSent).toFixed(0)} bytes a packet`)
  return [a, b]
}

async function threeInThreeSlots({ browser, origin, alone }) {
  const listener = await caller(browser, origin, alone, 21, 9, 0)
  const speakers = []
  for (const [user, tone] of [[1, 300], [2, 500], [3, 700]]) speakers.push(await caller(browser, origin, alone, 21, user, tone, 1))
  await listener.wait(hears([300, 500, 700]), 'three tones')
  return [listener, ...speakers]
}

async function silenceIsNotSent({ browser, origin, alone }) {
  const a = await caller(browser, origin, alone, 22, 1, 440)
  const b = await caller(browser, origin, alone, 22, 2, 0)
  await b.wait(hears([440]), 'b hears a')
  await a.eval('call.oscillator.disconnect()')
  await b.wait(hears([]), 'a is silent')
  const sent = `call.stats().then(s => s.find(o => o.type === 'outbound-rtp').packetsSent)`
  const before = await a.eval(sent)
  await a.eval('new Promise(done => setTimeout(done, 2000))')
  const packets = await a.eval(sent) - before
  console.log(`   ${packets} packets in 2 s of silence`)
  if (packets > 30) throw new Error(`${packets} packets in 2 s of silence: no silence suppression`)
  return [a, b]
}

async function withoutUdpACallGoesOverTcp({ browser, origin, alone }) {
  const a = await caller(browser, origin, alone, 24, 81, 440)
  const hole = createSocket('udp4')
  let lost = 0
  hole.on('message', () => lost++)
  await new Promise(done => hole.bind(0, '127.0.0.1', done))
  const b = await caller(browser, origin, alone, 24, 82, 880, 8, hole.address().port)
  await a.wait(hears([880]), 'a hears 880 Hz of b')
  await b.wait(hears([440]), 'b hears 440 Hz')
  const [ofA, ofB] = [await a.eval('call.way()'), await b.eval('call.way()')]
  console.log(`   a goes over ${JSON.stringify(ofA)}, b over ${JSON.stringify(ofB)}, connected in ${b.connectedIn.toFixed(0)} ms; ${lost} datagrams of b lost`)
  hole.close()
  if (!lost) throw new Error('b has not tried UDP')
  if (ofA.local !== 'udp' || ofA.remote !== 'udp') throw new Error('a takes TCP although UDP works')
  if (ofB.local !== 'tcp' || ofB.remote !== 'tcp') throw new Error('b does not go over TCP')
  // Each is told as the server has it, at most half a second late.
  const legs = async () => {
    const { text } = await alone.ask('metrics')
    const of = transport => Number(new RegExp(`^voice_legs\\{.*transport="${transport}".*\\} (.*)$`, 'm').exec(text)?.[1])
    return [of('udp'), of('tcp')]
  }
  for (let n = 0; (await legs())[1] !== 1; n++) {
    if (n === 50) throw new Error(`legs over UDP and TCP: ${await legs()}`)
    await new Promise(done => setTimeout(done, 100))
  }
  const joins = (await alone.ask('spans')).filter(span => span.name === 'voice.join').map(span => span.transport)
  if (!joins.includes('tcp')) throw new Error(`no trace of a join says TCP: ${joins}`)
  return [a, b]
}

async function whoLeavesIsGone({ browser, origin, alone }) {
  const a = await caller(browser, origin, alone, 23, 71, 440)
  const status = await a.eval("fetch(call.location, { method: 'DELETE', headers: call.bearer }).then(answer => answer.status)")
  if (status !== 200) throw new Error(`DELETE: ${status}`)
  const { reason } = await alone.ask('left', 71)
  if (reason !== 'left') throw new Error(reason)
  return [a]
}

const [program] = process.argv.slice(2)
const alone = new Alone(program)
const server = createServer((_, response) => response.setHeader('content-type', 'text/html').end('<!doctype html><title>call</title>'))
await new Promise(done => server.listen(0, '127.0.0.1', done))
const origin = `http://127.0.0.1:${server.address().port}/`
const browser = await Browser.launch()
let failed = 0
for (const check of [twoTalkAndMuteIsSilence, threeInThreeSlots, silenceIsNotSent, withoutUdpACallGoesOverTcp, whoLeavesIsGone]) {
  try {
    const pages = await check({ browser, origin, alone })
    for (const page of pages) await page.close()
    console.log(`ok ${check.name}`)
  } catch (error) {
    failed++
    console.log(`FAIL ${check.name}: ${error.message}`)
  }
}
await browser.close()
await alone.stop()
server.close()
process.exitCode = failed ? 1 : 0
