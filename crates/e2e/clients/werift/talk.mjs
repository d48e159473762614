// Acceptance test: werift, through the gateway's op 4, against a running Clarion server with its own voice server.
//
//     node talk.mjs <demo.json>
//
// demo.json is the file that a server writes into its data folder. Bots of its demo workspace join its voice channel as any
// Discord library has it done: op 4, then VOICE_SERVER_UPDATE; from there on it is WebRTC. One line a check, `ok <name>` or
// `FAIL <name>: why`, and a last line `N passed, M failed`; the exit code is 1 when something failed. Every wait has a bound.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import WebSocket from 'ws'

import { Caller, number, pause, until } from './caller.mjs'

const ALL_WITHIN = 60_000
/** GUILDS and GUILD_VOICE_STATES. */
const INTENTS = 1 | (1 << 7)

const demo = JSON.parse(readFileSync(process.argv[2], 'utf8'))
const lounge = demo.voice_channel_id

/** A session of the gateway, and what it was told of voice. */
class Session {
  states = new Map()
  servers = []

  constructor(account) {
    this.id = account.id
    this.socket = new WebSocket(`${demo.gateway}/?v=10&encoding=json`)
    this.socket.on('message', frame => this.#take(JSON.parse(frame)))
    this.socket.on('open', () => this.send(2, { token: account.token, intents: INTENTS, properties: {} }))
  }

  send(op, d) {
    this.socket.send(JSON.stringify({ op, d }))
  }

  #take({ op, t, d }) {
    if (op === 10) this.beat = setInterval(() => this.send(1, null), d.heartbeat_interval)
    if (t === 'READY') this.session = d.session_id
    if (t === 'GUILD_CREATE') this.isThere = true
    if (t === 'VOICE_STATE_UPDATE') this.states.set(d.user_id, d)
    if (t === 'VOICE_SERVER_UPDATE' && d.endpoint) this.servers.push(d)
  }

  place(channel, flags = {}) {
    this.send(4, { guild_id: demo.guild_id, channel_id: channel, self_mute: false, self_deaf: false, ...flags })
  }

  /** Goes into the lounge with a peer connection. */
  async enter(name, sections) {
    await until(() => this.isThere, 'GUILD_CREATE')
    this.place(lounge)
    const server = await until(() => this.servers.at(-1), 'VOICE_SERVER_UPDATE')
    assert.equal(this.states.get(this.id).channel_id, lounge)
    assert.equal(server.session_id, this.session)
    this.caller = await new Caller(name, { sections }).join(server)
    return this.caller
  }

  async close() {
    clearInterval(this.beat)
    await this.caller?.close()
    this.socket.close()
  }
}

async function enteredOverTheGatewayTheyTalk(one, two) {
  const speaker = (await one.enter(1, ['sendonly', 'recvonly'])).talk()
  const listener = (await two.enter(2, ['sendrecv'])).talk()
  for (const [caller, name] of [[speaker, 2], [listener, 1]]) {
    const [{ packets }] = caller.heard
    await until(() => packets.length >= 50, () => `50 frames of ${name}; ${packets.length} came`)
    packets.forEach((packet, n) => assert.equal(number(packet, name) - number(packets[0], name), n, 'each once, in order'))
  }
}

/** Who mutes herself is shown so, over the same connection. */
async function aFlagIsToldToAll(one, two) {
  one.place(lounge, { self_mute: true })
  await until(() => two.states.get(one.id)?.self_mute, 'the flag is told')
  assert.equal(one.servers.length, 1, 'no other server is named for it')
}

async function whoLeavesIsOutOfTheRoom(one, two) {
  one.place(null)
  await until(() => two.states.get(one.id)?.channel_id === null, 'it is told')
  // Candidates are taken, and not needed, as long as she is in.
  const headers = { ...one.caller.bearer, 'content-type': 'application/trickle-ice-sdpfrag' }
  const status = async () => (await fetch(one.caller.location, { method: 'PATCH', headers, body: 'a=end-of-candidates\r\n' })).status
  await until(async () => (await status()) === 401, 'her token is void')
  const [{ packets }] = two.caller.heard
  packets.length = 0
  await pause(500)
  assert.equal(packets.length, 0, 'she is heard no more, whatever she sends')
  one.caller.location = undefined
}

setTimeout(() => {
  console.log(`FAIL not over after ${ALL_WITHIN / 1000} s`)
  process.exit(1)
}, ALL_WITHIN).unref()

const sessions = demo.bots.slice(0, 2).map(account => new Session(account))
let [passed, failed] = [0, 0]
for (const check of [enteredOverTheGatewayTheyTalk, aFlagIsToldToAll, whoLeavesIsOutOfTheRoom]) {
  try {
    await check(...sessions)
    passed++
    console.log(`ok ${check.name}`)
  } catch (error) {
    failed++
    console.log(`FAIL ${check.name}: ${error.stack}`)
    break
  }
}
for (const session of sessions) await session.close()
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed ? 1 : 0)
