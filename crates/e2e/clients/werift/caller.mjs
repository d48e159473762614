// Somebody who talks and listens over werift, as a bot does: it makes RTP packets itself and reads those that come.
//
// werift has no Opus encoder, and needs none: a frame says in its first byte how it was made (here: CELT, full band, 20 ms,
// stereo), and whatever stands behind that byte decodes to some sound. So a frame carries who made it and how many were made
// before, and what arrives is compared byte by byte.

import { MediaStreamTrack, RTCPeerConnection, RtpHeader, RtpPacket } from 'werift'

/** Longest wait for one thing, in ms. */
const WITHIN = 15_000
/** Samples and milliseconds of a frame. */
export const SAMPLES = 960
const FRAME_MS = 20
const TOC = 0xfc

/** No server outside of this machine is asked what its address is. */
export const ALONE = { iceServers: [] }

export const pause = ms => new Promise(done => setTimeout(done, ms))

/** Waits until something is there; answers it. */
export async function until(look, what, within = WITHIN) {
  const deadline = Date.now() + within
  for (;;) {
    const found = await look()
    if (found) return found
    if (Date.now() > deadline) throw new Error(`not within ${within} ms: ${typeof what === 'function' ? what() : what}`)
    await pause(10)
  }
}

export class Caller {
  /** What came, by the section in which it came, in the order of the sections that receive. */
  heard = []
  #said = 0

  /** `name` is a byte that all its frames carry. `sections` are the directions of its audio sections; `first` and `more` add
   * others around them. `reads` is what it makes of an answer. */
  constructor(name, { config = ALONE, sections = ['sendonly'], first, more, reads = sdp => sdp } = {}) {
    this.name = name
    this.reads = reads
    this.peer = new RTCPeerConnection(config)
    first?.(this.peer)
    for (const direction of sections) {
      const sends = direction !== 'recvonly'
      if (sends) this.track ??= new MediaStreamTrack({ kind: 'audio' })
      const transceiver = this.peer.addTransceiver(sends ? this.track : 'audio', { direction })
      if (direction !== 'sendonly') this.#listen(transceiver)
    }
    more?.(this.peer)
  }

  #listen(transceiver) {
    const section = { packets: [], transceiver }
    this.heard.push(section)
    transceiver.onTrack.subscribe(track => track.onReceiveRtp.subscribe(packet => section.packets.push(packet)))
  }

  /** The offer, once all candidates are in it. */
  async offer() {
    await this.peer.setLocalDescription(await this.peer.createOffer())
    await until(() => this.peer.iceGatheringState === 'complete', 'the candidates')
    return this.peer.localDescription.sdp
  }

  /** Posts its offer to where it was admitted; waits until it is connected. */
  async join({ url, token }) {
    this.bearer = { authorization: `Bearer ${token}` }
    const headers = { ...this.bearer, 'content-type': 'application/sdp' }
    const answer = await fetch(url, { method: 'POST', headers, body: await this.offer() })
    const text = await answer.text()
    if (answer.status !== 201) throw new Error(`${answer.status}: ${text}`)
    this.location = answer.headers.get('location')
    await this.accept(text)
    return this
  }

  async accept(sdp) {
    this.answer = this.reads(sdp)
    await this.peer.setRemoteDescription({ type: 'answer', sdp: this.answer })
    await until(() => this.peer.connectionState === 'connected', () => `connected; it is ${this.peer.connectionState}`)
  }

  /** One frame a 20 ms, from now on. */
  talk() {
    const sender = this.peer.getSenders().find(sender => sender.track === this.track)
    this.talks ??= setInterval(() => sender.sendRtp(this.#packet()), FRAME_MS)
    return this
  }

  #packet() {
    const n = this.#said++
    // Its sequence and its time are about to go round.
    const header = new RtpHeader({ sequenceNumber: (65_500 + n) & 0xffff, timestamp: (0xffff_f000 + n * SAMPLES) >>> 0, marker: n === 0 })
    const frame = Buffer.alloc(80, this.name)
    frame[0] = TOC
    frame.writeUInt32BE(n, 1)
    return new RtpPacket(header, frame)
  }

  hush() {
    clearInterval(this.talks)
    this.talks = undefined
  }

  /** What its answer calls the streams it is sent, in the order of the sections. */
  sources() {
    return [...this.answer.matchAll(/a=ssrc:(\d+) cname/g)].map(found => Number(found[1]))
  }

  /** Whose frames were heard, by section: a name, or nothing where nothing came. */
  names() {
    return this.heard.map(({ packets }) => packets.at(-1)?.payload[5])
  }

  forget() {
    for (const section of this.heard) section.packets.length = 0
  }

  /** Tells the server that it is over. */
  async leave() {
    this.hush()
    const answer = await fetch(this.location, { method: 'DELETE', headers: this.bearer })
    if (answer.status !== 200) throw new Error(`${answer.status}: ${await answer.text()}`)
    this.location = undefined
  }

  /** It closes without a word to the server, so who is still in says that first. */
  async close() {
    this.hush()
    if (this.location) await this.leave().catch(() => {})
    await this.peer.close()
  }
}

/** The number of a frame among those of who made it, if it is as it was made. */
export function number(packet, name) {
  const { payload } = packet
  const whole = payload.length === 80 && payload[0] === TOC && payload.subarray(5).every(byte => byte === name)
  if (!whole) throw new Error(`not a frame of ${name}: ${payload.toString('hex')}`)
  return payload.readUInt32BE(1)
}
