// Acceptance test: werift as it is published, against a voice server alone.
//
//     node accept.mjs <voice-alone> [<check>…]
//
// voice-alone is an example of the crate clarion-voice: a voice server that is told on its input whom to admit. People say
// numbered frames to each other; what arrives is compared with what was said. One line a check, `ok <name>` or
// `FAIL <name>: why`, and a last line `N passed, M failed`; the exit code is 1 when something failed. Every wait has a bound.
//
// What werift cannot do, so that it is not tried: it has no Opus encoder or decoder; it tells a server nothing when it closes
// (`DELETE` does); it does not call itself closed when the server ends it, and now and then does not hear of that at all, since
// it takes an encrypted alert for a plain one if its first bytes look like one; with a data channel that is refused it waits for
// that channel for ever.

import assert from 'node:assert/strict'
import {
  RTCRtpCodecParameters,
  useAbsSendTime,
  useAudioLevelIndication,
  useNACK,
  useOPUS,
  usePCMU,
  useREMB,
  useSdesMid,
  useTWCC,
  useTransportWideCC,
} from 'werift'

import { Alone } from './alone.mjs'
import { ALONE, Caller, SAMPLES, number, pause, until } from './caller.mjs'

/** Longest run of all of it, in ms. */
const ALL_WITHIN = 100_000
const EIGHT = Array(8).fill('recvonly')

const [program, ...wanted] = process.argv.slice(2)
const alone = new Alone(program)
const callers = new Set()
let passed = 0
let failed = 0

async function enter(channel, user, options) {
  const caller = new Caller(user, options)
  callers.add(caller)
  return await caller.join(await alone.ask('admit', channel, user))
}

/** At least so many packets came in a section, all of them as they were said by somebody, none missing, none twice. */
async function hears(caller, section, name, least = 50) {
  const { packets } = caller.heard[section]
  await until(() => packets.length >= least, () => `${least} packets in section ${section}; ${packets.length} came`)
  const heard = packets.slice()
  heard.forEach((packet, n) => {
    assert.equal(packet.header.ssrc, caller.sources()[section], 'the source that the answer names')
    const first = heard[0]
    const ahead = number(packet, name) - number(first, name)
    assert.equal(ahead, n, 'each frame once, in order')
    assert.equal((packet.header.sequenceNumber - first.header.sequenceNumber) & 0xffff, ahead, 'sequence')
    assert.equal((packet.header.timestamp - first.header.timestamp) >>> 0, ahead * SAMPLES, 'time')
  })
  return heard
}

/** One that is set up in some way is heard by a plain listener, and hears a plain speaker. */
async function talksAndHears(channel, options) {
  const ear = await enter(channel, 1, { sections: ['recvonly'] })
  const one = (await enter(channel, 2, { ...options, sections: ['sendonly', 'recvonly', 'recvonly'] })).talk()
  await hears(ear, 0, 2)
  ;(await enter(channel, 3)).talk()
  const at = await until(() => 1 + one.heard.findIndex(({ packets }) => packets.length > 0), 'anything')
  await hears(one, at - 1, 3)
}

const checks = {
  /** One publishes, another one only listens; the payload type is the listener's own. */
  async whip_and_whep() {
    const codecs = { audio: [useOPUS({ payloadType: 111 })] }
    const listener = await enter(20, 2, { sections: ['recvonly'], config: { ...ALONE, codecs } })
    const speaker = (await enter(20, 1)).talk()
    const [packet] = await hears(listener, 0, 1, 100)
    assert.equal(packet.header.payloadType, 111)
    const said = speaker.peer.getSenders()[0].ssrc
    assert.notEqual(packet.header.ssrc, said, 'a source is the way from the server, not who speaks')
    assert.doesNotMatch(listener.answer, /a=(recvonly|sendrecv)/)
    assert.doesNotMatch(speaker.answer, /a=(sendonly|sendrecv)/)
  },

  /** One that sends and eight that receive, in one offer. */
  async combined_offers() {
    const options = { sections: ['sendonly', ...EIGHT] }
    const [one, two] = [await enter(21, 1, options), await enter(21, 2, options)]
    one.talk()
    await hears(two, 0, 1)
    two.talk()
    await hears(one, 1, 2)
    for (const caller of [one, two]) {
      const silent = caller.heard.filter(({ packets }) => packets.length === 0)
      assert.equal(silent.length, 7, 'nobody hears himself, nor anything twice')
      assert.equal(new Set(caller.sources()).size, 8)
    }
  },

  /** As simple bots have it. */
  async one_section_both_ways() {
    const [one, two] = [await enter(22, 1, { sections: ['sendrecv'] }), await enter(22, 2, { sections: ['sendrecv'] })]
    one.talk()
    await hears(two, 0, 1)
    two.talk()
    await hears(one, 0, 2)
  },

  async three_who_speak_are_three() {
    const listener = await enter(23, 9, { sections: EIGHT })
    for (const user of [1, 2, 3]) (await enter(23, user)).talk()
    for (const section of [0, 1, 2]) await hears(listener, section, section + 1)
    assert.deepEqual(listener.names(), [1, 2, 3, ...Array(5)])
  },

  async mute_is_silence() {
    const listener = await enter(24, 2, { sections: ['recvonly'] })
    const speaker = (await enter(24, 1)).talk()
    await hears(listener, 0, 1)
    await alone.ask('allow', 24, 1, 'false', 'true')
    // What was on its way has arrived when more has been thrown away.
    await dropped('muted', 10)
    const [{ packets }] = listener.heard
    const before = packets.at(-1)
    listener.forget()
    await dropped('muted', 50)
    assert.equal(packets.length, 0)
    await alone.ask('allow', 24, 1, 'true', 'true')
    const [first] = await hears(listener, 0, 1)
    assert.ok(number(first, 1) - number(before, 1) >= 60, 'what was said meanwhile was never heard')
    assert.equal((first.header.sequenceNumber - before.header.sequenceNumber) & 0xffff, 1, 'nothing seems lost')
    await alone.ask('allow', 24, 2, 'true', 'false')
    await pause(200)
    listener.forget()
    await pause(500)
    assert.equal(packets.length, 0, 'who is deaf is sent nothing')
    speaker.hush()
  },

  async who_leaves_is_gone() {
    const listener = await enter(25, 2, { sections: ['recvonly'] })
    const speaker = (await enter(25, 71)).talk()
    await hears(listener, 0, 71)
    await speaker.leave()
    assert.deepEqual(await alone.ask('left', 71), { reason: 'left' })
    const again = await enter(25, 71)
    listener.forget()
    again.talk()
    await hears(listener, 0, 71)
  },

  /** As different bots set it up: each talks to the next one, and hears the one before. */
  async however_it_is_set_up() {
    const feedback = [useNACK(), useREMB(), useTWCC()]
    const extensions = [useSdesMid(), useAudioLevelIndication(), useAbsSendTime(), useTransportWideCC()]
    const red = new RTCRtpCodecParameters({ mimeType: 'audio/red', clockRate: 48_000, channels: 2, payloadType: 63, parameters: '111/111' })
    const ways = {
      'its defaults': { config: ALONE },
      'all feedback': { config: { ...ALONE, codecs: { audio: [useOPUS({ rtcpFeedback: feedback })] } } },
      'all header extensions': { config: { ...ALONE, headerExtensions: { audio: extensions } } },
      'transport-cc': {
        config: { ...ALONE, codecs: { audio: [useOPUS({ rtcpFeedback: [useTWCC()] })] }, headerExtensions: { audio: [useTransportWideCC()] } },
      },
      'max-bundle': { config: { ...ALONE, bundlePolicy: 'max-bundle' } },
      'balanced': { config: { ...ALONE, bundlePolicy: 'balanced' } },
      'opus behind PCMU': { config: { ...ALONE, codecs: { audio: [usePCMU(), useOPUS({ payloadType: 111 })] } } },
      'opus with parameters': {
        config: { ...ALONE, codecs: { audio: [useOPUS({ payloadType: 109, parameters: 'minptime=10;useinbandfec=1;stereo=1' })] } },
      },
      'redundancy offered': { config: { ...ALONE, codecs: { audio: [useOPUS({ payloadType: 111 }), red] } } },
      'IPv4 alone': { config: { ...ALONE, iceUseIpv6: false } },
      'video too, which is refused': { more: peer => peer.addTransceiver('video', { direction: 'recvonly' }) },
      'video in front': { first: peer => peer.addTransceiver('video', { direction: 'sendrecv' }) },
    }
    const problems = []
    await Promise.all(Object.entries(ways).map(async ([way, options], n) => {
      try {
        await talksAndHears(100 + n, options)
        console.log(`   ${way}: heard and hears`)
      } catch (error) {
        problems.push(`${way}: ${error.message}`)
      }
    }))
    assert.deepEqual(problems, [])
  },

  /** Sections that are not in a bundle are refused, and it is said why; the token still opens after that. */
  async what_is_not_bundled_is_refused() {
    const admitted = await alone.ask('admit', 27, 1)
    const config = { ...ALONE, bundlePolicy: 'disable' }
    const refused = new Caller(1, { config, sections: ['sendonly', 'recvonly'] })
    callers.add(refused)
    await assert.rejects(refused.join(admitted), /400: .*BUNDLE/)
    const single = new Caller(1, { config })
    callers.add(single)
    await single.join(admitted)
  },

  /** As behind a firewall that lets no UDP through: nobody is told of the UDP port. */
  async media_goes_over_tcp() {
    const reads = sdp => sdp.replace(/a=candidate:\d+ 1 udp .*\r\n/g, '')
    const options = { config: { ...ALONE, iceUseTcp: true }, reads }
    const listener = await enter(29, 2, { ...options, sections: ['recvonly'] })
    const speaker = (await enter(29, 1, options)).talk()
    assert.match(speaker.answer, /a=candidate:\d+ 1 tcp .* tcptype passive/)
    await hears(listener, 0, 1)
  },

  /** Its reports are understood. */
  async its_reports_are_measured() {
    const listener = await enter(28, 2, { sections: ['recvonly'] })
    const speaker = (await enter(28, 1)).talk()
    await hears(listener, 0, 1)
    await alone.ask('quality', 2)
    const { detail } = await alone.ask('quality', 2)
    console.log(`   ${detail}`)
    assert.match(detail, /down\.loss=0\.00%/)
    assert.match(detail, /round_trip=\d/)
    speaker.hush()
  },
}

/** Waits until so many more packets were dropped for a reason. */
async function dropped(reason, more) {
  const soFar = async () => {
    const { text } = await alone.ask('metrics')
    const lines = text.split('\n').filter(line => line.startsWith('voice_packets_dropped') && line.includes(reason))
    return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
  }
  const before = await soFar()
  await until(async () => (await soFar()) >= before + more, `${more} packets are dropped: ${reason}`)
}

setTimeout(() => {
  console.log(`FAIL not over after ${ALL_WITHIN / 1000} s`)
  process.exit(1)
}, ALL_WITHIN).unref()

for (const [name, check] of Object.entries(checks)) {
  if (wanted.length && !wanted.includes(name)) continue
  try {
    await check()
    passed++
    console.log(`ok ${name}`)
  } catch (error) {
    failed++
    console.log(`FAIL ${name}: ${error.stack}`)
  }
  await Promise.all([...callers].map(caller => caller.close()))
  callers.clear()
}
await alone.stop()
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed ? 1 : 0)
