// Acceptance test: discord.js as it is published, against a running Clarion server. Only the base URL is changed.
//
//   node accept.mjs <demo.json>
//
// demo.json is the file that a server writes into its data folder. Two bots of its demo workspace talk to each other
// through the library; the admin API disturbs them. One line a check, `ok <name>` or `FAIL <name>: why`, and a last
// line `N passed, M failed`; the exit code is 1 when something failed. Every wait has a bound, and none is for luck.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Client, GatewayIntentBits as Intent, MessageType, Routes, Status, version } from 'discord.js'

/** Longest wait for one event, in ms: a burst of twelve messages may be paced over fifteen seconds. */
const EVENT_WITHIN = 20_000
/** Longest run of one check, and of all of them. */
const CHECK_WITHIN = 30_000
const ALL_WITHIN = 90_000

const [demoFile, errand] = process.argv.slice(2)
const demo = JSON.parse(readFileSync(demoFile, 'utf8'))
const [botAccount, otherAccount] = demo.bots

if (errand) {
  await whileTheLibraryStandsStill(JSON.parse(errand))
  process.exit(0)
}

/** Makes what is said in this run different from what was said in another one. */
const run = Date.now().toString(36)
const everything = [
  Intent.Guilds,
  Intent.GuildMembers,
  Intent.GuildPresences,
  Intent.GuildMessages,
  Intent.GuildMessageReactions,
  Intent.GuildMessageTyping,
  Intent.MessageContent,
  Intent.GuildVoiceStates,
]
const unknownId = '111111111111111111'
const thumb = '👍'
const rainbow = '🏳️‍🌈'

let passed = 0
let failed = 0
const clients = new Set()
const debugLines = []

process.on('unhandledRejection', error => report('nothing fails unnoticed', error))
process.on('uncaughtException', error => report('nothing fails unnoticed', error))
setTimeout(() => {
  report('everything is over in time', new Error(`not over after ${ALL_WITHIN / 1000} s`))
  finish()
}, ALL_WITHIN).unref()

console.log(`discord.js ${version}, node ${process.version}, ${demo.api}`)
const bot = newClient(everything)
const other = newClient(everything)
await check('two bots log in and are ready', () =>
  Promise.all([start(bot, botAccount.token), start(other, otherAccount.token)]),
)
if (failed > 0) await finish()

const guild = bot.guilds.cache.get(demo.guild_id)
const general = bot.channels.cache.get(demo.channel_id)
const second = bot.channels.cache.get(demo.second_channel_id)
const otherGeneral = other.channels.cache.get(demo.channel_id)
const otherSecond = other.channels.cache.get(demo.second_channel_id)

await check('ready brings the guild, its channels, its roles, members and the bot itself', () => {
  assert.equal(bot.user.id, botAccount.id)
  assert.equal(bot.user.username, botAccount.name)
  assert.equal(bot.user.bot, true)
  assert.ok(guild, 'the guild is there')
  assert.ok(general?.isTextBased() && second?.isTextBased(), 'both text channels are there')
  assert.ok(guild.channels.cache.get(demo.voice_channel_id)?.isVoiceBased(), 'the voice channel is there')
  assert.equal(guild.roles.everyone.id, demo.guild_id)
  assert.ok(guild.roles.cache.has(demo.bot_role_id), 'the role of the bots is there')
  assert.ok(guild.members.me.roles.cache.has(demo.bot_role_id), 'the bot has its role')
  assert.ok(guild.members.me.permissions.has('Administrator'), 'the bot may do everything')
  assert.equal(guild.ownerId, demo.users[0].id)
})

await check('a message arrives with its content', async () => {
  const content = `${run} good morning, Zoë 🌱`
  const arrives = event(bot, 'messageCreate', m => m.content === content)
  const sent = await otherGeneral.send(content)
  const got = await arrives
  assert.equal(got.id, sent.id)
  assert.equal(got.channelId, demo.channel_id)
  assert.equal(got.guildId, demo.guild_id)
  assert.equal(got.author.id, otherAccount.id)
  assert.equal(got.type, MessageType.Default)
  assert.ok(Math.abs(Date.now() - got.createdTimestamp) < 60_000, 'it was made just now')
})

await check('without the intent for content it is empty, unless the bot is mentioned', async () => {
  const deaf = newClient([Intent.Guilds, Intent.GuildMessages])
  await start(deaf, otherAccount.token)
  const fromBot = m => m.author.id === botAccount.id
  let arrives = event(deaf, 'messageCreate', fromBot)
  const secret = await general.send(`${run} not for everybody`)
  const without = await arrives
  assert.deepEqual([without.id, without.content], [secret.id, ''])
  arrives = event(deaf, 'messageCreate', fromBot)
  const open = await general.send(`${run} for <@${otherAccount.id}>`)
  const addressed = await arrives
  assert.deepEqual([addressed.id, addressed.content], [open.id, open.content])
  await deaf.destroy()
})

await check('a reply refers to its message and mentions', async () => {
  const question = await otherGeneral.send(`${run} a question`)
  const content = `${run} an answer for <@${demo.users[0].id}> and <@&${demo.bot_role_id}>`
  const arrives = event(other, 'messageCreate', m => m.content === content)
  const original = await general.messages.fetch(question.id)
  const sent = await original.reply(content)
  const got = await arrives
  assert.equal(got.id, sent.id)
  assert.equal(got.type, MessageType.Reply)
  assert.equal(got.reference.messageId, question.id)
  assert.equal(got.reference.channelId, demo.channel_id)
  assert.equal(got.mentions.repliedUser.id, otherAccount.id)
  assert.deepEqual([...got.mentions.users.keys()].sort(), [demo.users[0].id, otherAccount.id].sort())
  assert.deepEqual([...got.mentions.roles.keys()], [demo.bot_role_id])
  assert.equal((await got.fetchReference()).content, question.content)
})

await check('history is read before, after, around and up to a limit, newest first', async () => {
  const ids = []
  for (const n of [0, 1, 2, 3, 4]) ids.push((await otherSecond.send(`${run} history ${n}`)).id)
  const read = async options => [...(await second.messages.fetch({ cache: false, ...options })).keys()]
  assert.deepEqual(await read({ limit: 3 }), [ids[4], ids[3], ids[2]])
  assert.deepEqual(await read({ before: ids[2], limit: 2 }), [ids[1], ids[0]])
  assert.deepEqual(await read({ after: ids[1], limit: 2 }), [ids[3], ids[2]])
  assert.deepEqual(await read({ around: ids[2], limit: 3 }), [ids[3], ids[2], ids[1]])
})

for (const emoji of [thumb, rainbow]) {
  await check(`a reaction with ${emoji} comes and goes`, async () => {
    const content = `${run} to be liked with ${emoji}`
    const arrives = event(other, 'messageCreate', m => m.content === content)
    const message = await general.send(content)
    const seen = await arrives
    const ours = (reaction, user) => reaction.message.id === message.id && user.id === botAccount.id

    const added = event(other, 'messageReactionAdd', ours)
    await message.react(emoji)
    assert.equal((await added)[0].emoji.name, emoji)
    const mine = await seen.react(emoji)
    assert.deepEqual([...(await mine.users.fetch()).keys()].sort(), [botAccount.id, otherAccount.id].sort())
    const fetched = await general.messages.fetch({ message: message.id, force: true })
    assert.equal(fetched.reactions.cache.get(emoji).count, 2)
    assert.equal(fetched.reactions.cache.get(emoji).me, true)

    const removed = event(other, 'messageReactionRemove', ours)
    await fetched.reactions.cache.get(emoji).users.remove()
    assert.equal((await removed)[0].emoji.name, emoji)
    assert.deepEqual([...(await mine.users.fetch()).keys()], [otherAccount.id])
  })
}

await check('an edit is seen at once and by who asks later', async () => {
  const content = `${run} writen`
  const arrives = event(other, 'messageCreate', m => m.content === content)
  const message = await general.send(content)
  await arrives
  const changes = event(other, 'messageUpdate', (_, m) => m.id === message.id)
  await message.edit(`${run} written`)
  const [before, after] = await changes
  assert.deepEqual([before.content, after.content], [content, `${run} written`])
  assert.ok(after.editedTimestamp >= after.createdTimestamp, 'it says when it was edited')
  const fetched = await otherGeneral.messages.fetch({ message: message.id, force: true })
  assert.equal(fetched.content, `${run} written`)
  assert.ok(fetched.editedTimestamp, 'it still says so when it is fetched')
})

await check('a deleted message is gone', async () => {
  const content = `${run} a mistake`
  const arrives = event(other, 'messageCreate', m => m.content === content)
  const message = await general.send(content)
  await arrives
  const goes = event(other, 'messageDelete', m => m.id === message.id)
  await message.delete()
  assert.equal((await goes).channelId, demo.channel_id)
  await refused(10008, otherGeneral.messages.fetch({ message: message.id, force: true }))
})

await check('typing is seen', async () => {
  const seen = event(other, 'typingStart', t => t.user.id === botAccount.id)
  await general.sendTyping()
  const typing = await seen
  assert.equal(typing.channel.id, demo.channel_id)
  assert.equal(typing.member.id, botAccount.id)
  assert.ok(Math.abs(Date.now() - typing.startedTimestamp) < 60_000, 'it began just now')
})

await check('a presence that a bot sets is seen by the other', async () => {
  const seen = event(other, 'presenceUpdate', (_, p) => p.userId === botAccount.id && p.status === 'dnd')
  bot.user.setPresence({ status: 'dnd', activities: [{ name: 'chess' }] })
  const [, presence] = await seen
  assert.equal(presence.guild.id, demo.guild_id)
  assert.deepEqual(presence.activities.map(a => a.name), ['chess'])
})

await check('a bot enters a voice channel by the adapter that voice libraries take, and leaves', async () => {
  const channel = demo.voice_channel_id
  const is = (state, where) => state.id === botAccount.id && state.channelId === where
  const seen = event(other, 'voiceStateUpdate', (_, now) => is(now, channel))
  const states = []
  let name
  const named = new Promise(done => { name = done })
  const adapter = guild.voiceAdapterCreator({
    onVoiceStateUpdate: data => states.push(data),
    // While no server is named yet there is no endpoint.
    onVoiceServerUpdate: data => data.endpoint && name(data),
    destroy: () => {},
  })
  const say = channel_id => adapter.sendPayload({ op: 4, d: { guild_id: guild.id, channel_id, self_mute: false, self_deaf: true } })
  assert.ok(say(channel), 'the library sends it')
  const server = await named
  assert.equal(server.guild_id, guild.id)
  assert.ok(server.token.length > 0 && /^[^/]+:\d+$/.test(server.endpoint), JSON.stringify(server))
  assert.deepEqual(states.map(state => [state.channel_id, state.user_id, state.self_deaf]), [[channel, botAccount.id, true]])
  assert.ok(states[0].session_id.length > 0)
  const [, there] = await seen
  assert.deepEqual([there.selfDeaf, there.selfMute], [true, false])
  assert.equal(guild.members.me.voice.channelId, channel)
  const left = [bot, other].map(client => event(client, 'voiceStateUpdate', (_, now) => is(now, null)))
  say(null)
  await Promise.all(left)
  assert.equal(states.at(-1).channel_id, null)
  adapter.destroy()
})

await check('members are fetched over the socket and over REST', async () => {
  const everybody = [...demo.bots, ...demo.users].map(account => account.id)
  const missing = members => everybody.filter(id => !members.has(id))
  assert.deepEqual(missing(await guild.members.fetch()), [])
  assert.deepEqual(missing(await guild.members.list({ limit: 1000, cache: false })), [])
  const person = demo.users[0]
  const found = await guild.members.fetch({ query: person.name, limit: 5 })
  assert.equal(found.get(person.id)?.user.username, person.name)
  const some = await guild.members.fetch({ user: [person.id, otherAccount.id] })
  assert.deepEqual([...some.keys()].sort(), [person.id, otherAccount.id].sort())
  const one = await guild.members.fetch({ user: otherAccount.id, force: true })
  assert.ok(one.roles.cache.has(demo.bot_role_id), 'a member comes with its roles')
})

await check('mistakes are refused with their codes', async () => {
  await refused(50006, general.send(''))
  await refused(50035, general.send('x'.repeat(2001)))
  await refused(10003, bot.channels.fetch(unknownId, { force: true }))
  await refused(10008, general.messages.fetch({ message: unknownId, force: true }))
})

await check('a wrong token does not log in', async () => {
  const wrong = botAccount.token.slice(0, -4) + (botAccount.token.endsWith('AAAA') ? 'BBBB' : 'AAAA')
  const client = newClient(everything)
  await assert.rejects(client.login(wrong), { code: 'TokenInvalid' })
})

await check('the same nonce makes one message', async () => {
  const heard = hear(other, botAccount, demo.channel_id)
  const body = { content: `${run} once`, nonce: `${run}-once`, enforce_nonce: true }
  const first = await bot.rest.post(Routes.channelMessages(demo.channel_id), { body })
  const again = await bot.rest.post(Routes.channelMessages(demo.channel_id), { body })
  assert.equal(again.id, first.id)
  assert.equal(first.nonce, body.nonce)
  assert.deepEqual(await heard.upTo(general, `${run} after once`), [body.content, `${run} after once`])
})

await check('a dropped connection is resumed with exactly what was missed', async () => {
  const session = bot.sessionIds[0]
  const contents = [1, 2, 3].map(n => `${run} missed ${n}`)
  const heard = hear(bot, otherAccount, demo.channel_id)
  const resumed = event(bot, 'shardResume')
  standStill({ session, contents })
  await resumed
  assert.deepEqual(await heard.upTo(otherGeneral, `${run} back`), [...contents, `${run} back`])
  assert.equal(bot.sessionIds[0], session)
})

await check('asked to reconnect (op 7) it resumes', async () => {
  const session = bot.sessionIds[0]
  const heard = hear(bot, otherAccount, demo.channel_id)
  const resumed = event(bot, 'shardResume')
  await control(session, 'reconnect')
  await resumed
  assert.deepEqual(await heard.upTo(otherGeneral, `${run} after op 7`), [`${run} after op 7`])
  assert.equal(bot.sessionIds[0], session)
})

await check('told that its session is invalid (op 9) it begins a new one', async () => {
  const session = bot.sessionIds[0]
  const ready = event(bot, 'shardReady')
  await control(session, 'invalidate', { resumable: false })
  await ready
  assert.notEqual(bot.sessionIds[0], session)
  const heard = hear(bot, otherAccount, demo.channel_id)
  assert.deepEqual(await heard.upTo(otherGeneral, `${run} after op 9`), [`${run} after op 9`])
})

await check('a burst is slowed down, and arrives whole and in order', async () => {
  let limited = 0
  bot.rest.on('rateLimited', () => (limited += 1))
  const contents = Array.from({ length: 12 }, (_, n) => `${run} burst ${n}`)
  const heard = hear(other, botAccount, demo.second_channel_id)
  const sent = Promise.all(contents.slice(0, -1).map(content => second.send(content)))
  assert.deepEqual(await heard.upTo(second, contents.at(-1)), contents)
  await sent
  assert.ok(limited > 0, 'the library was rate limited')
})

await check('two shards: the guild is on the right one, messages arrive once', async () => {
  const sharded = newClient(everything, { shards: [0, 1], shardCount: 2 })
  const right = Number((BigInt(demo.guild_id) >> 22n) % 2n)
  const guildShards = []
  const messageShards = []
  sharded.on('raw', (packet, shard) => {
    if (packet.t === 'GUILD_CREATE') guildShards.push(shard)
    if (packet.t === 'MESSAGE_CREATE') messageShards.push(shard)
  })
  await start(sharded, botAccount.token)
  assert.deepEqual(sharded.ws.shards.map(shard => [shard.id, shard.status]), [[0, Status.Ready], [1, Status.Ready]])
  assert.equal(new Set(sharded.sessionIds).size, 2)
  assert.deepEqual(guildShards, [right])
  assert.equal(sharded.guilds.cache.get(demo.guild_id).shardId, right)

  const heard = hear(sharded, otherAccount, demo.channel_id)
  await otherGeneral.send(`${run} to a shard`)
  assert.deepEqual(await heard.upTo(otherGeneral, `${run} to it again`), [`${run} to a shard`, `${run} to it again`])
  assert.deepEqual(messageShards, [right, right])
  await sharded.destroy()
})

await check('a session whose token is revoked is closed for good (4004)', async () => {
  const { token } = await admin('POST', '/tokens', { user_id: otherAccount.id, label: 'acceptance' })
  const client = newClient(everything)
  await start(client, token)
  const closed = event(client, 'shardDisconnect')
  await admin('POST', '/tokens/revoke', { token })
  assert.equal((await closed)[0].code, 4004)
})

await finish()

/** Runs one check and says how it went. */
async function check(name, body) {
  const limit = new AbortController()
  const overdue = pause(CHECK_WITHIN, undefined, { signal: limit.signal, ref: false }).then(() => {
    throw new Error(`not done after ${CHECK_WITHIN / 1000} s`)
  })
  overdue.catch(() => {})
  try {
    await Promise.race([body(), overdue])
    passed += 1
    console.log(`ok ${name}`)
  } catch (error) {
    report(name, error)
  } finally {
    limit.abort()
  }
}

function report(name, error) {
  failed += 1
  console.log(`FAIL ${name}: ${String(error?.message ?? error).replace(/\s*\n\s*/g, ' | ')}`)
}

/** Ends the process, with the library's last words if something failed. */
async function finish() {
  if (failed > 0) debugLines.forEach(line => console.error(line))
  console.log(`${passed} passed, ${failed} failed`)
  const goodbyes = [...clients].map(client => client.destroy())
  await Promise.race([Promise.allSettled(goodbyes), pause(3_000)])
  process.exit(failed > 0 ? 1 : 0)
}

/** A client of the server under test that remembers its session's id by shard. */
function newClient(intents, options = {}) {
  const client = new Client({ intents, rest: { api: demo.api }, ...options })
  client.sessionIds = []
  client.on('raw', (packet, shard) => {
    if (packet.t === 'READY') client.sessionIds[shard] = packet.d.session_id
  })
  client.on('error', error => report('no client has an error', error))
  client.on('debug', line => {
    debugLines.push(line)
    if (debugLines.length > 60) debugLines.shift()
  })
  clients.add(client)
  return client
}

async function start(client, token) {
  const ready = event(client, 'clientReady')
  await client.login(token)
  await ready
}

/** The next event of a name that is as wanted: its argument, or an array of them if there are several. */
function event(client, name, wanted = () => true) {
  const next = new Promise((resolve, reject) => {
    const take = (...values) => {
      if (!wanted(...values)) return
      end()
      resolve(values.length > 1 ? values : values[0])
    }
    const late = setTimeout(() => {
      end()
      reject(new Error(`no ${name} within ${EVENT_WITHIN / 1000} s`))
    }, EVENT_WITHIN)
    const end = () => {
      clearTimeout(late)
      client.off(name, take)
    }
    client.on(name, take)
  })
  next.catch(() => {}) // whoever waits is told; if what was to cause it fails, nobody waits
  return next
}

/** Keeps what a client hears an account say in a channel, from now on: as it arrives, for the library hides repeats. */
function hear(client, account, channelId) {
  const contents = []
  const take = ({ t, d }) => {
    if (t === 'MESSAGE_CREATE' && d.author.id === account.id && d.channel_id === channelId) contents.push(d.content)
  }
  client.on('raw', take)
  return {
    /** Sends a last message, waits for it, and stops: what came before it is all that came. */
    async upTo(channel, content) {
      const last = event(client, 'messageCreate', m => m.content === content)
      await channel.send(content)
      await last
      client.off('raw', take)
      return contents
    },
  }
}

async function refused(code, request) {
  await assert.rejects(request, error => {
    assert.equal(error.code, code, `expected code ${code}, got ${error.code}: ${error.message}`)
    return true
  })
}

async function admin(method, path, body) {
  const answer = await fetch(`${demo.admin}/admin/v1${path}`, {
    method,
    headers: { 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(EVENT_WITHIN),
  })
  const text = await answer.text()
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`)
  return JSON.parse(text)
}

function control(session, action, body = {}) {
  return admin('POST', `/sessions/${session}/${action}`, body)
}

/** Has another process run the errand while this one, and the library in it, cannot do anything: not even reconnect. */
function standStill(task) {
  const command = [fileURLToPath(import.meta.url), demoFile, JSON.stringify(task)]
  execFileSync(process.execPath, command, { timeout: EVENT_WITHIN, stdio: ['ignore', 'ignore', 'inherit'] })
}

/** The errand: drops a session's connection, and sends messages as the other bot while it has none. */
async function whileTheLibraryStandsStill({ session, contents }) {
  const connected = async () => {
    const { sessions } = await admin('GET', '/sessions')
    const found = sessions.find(s => s.id === session)
    assert.ok(found, 'the session is there')
    return found.connected
  }
  await control(session, 'drop')
  for (let tries = 0; await connected(); tries += 1) {
    assert.ok(tries < 100, 'the connection is not dropped')
    await pause(20)
  }
  for (const content of contents) await sendPlainly(otherAccount.token, demo.channel_id, content)
  assert.equal(await connected(), false, 'the session was away all the time')
}

/** Sends a message without the library, as patiently as the server asks for. */
async function sendPlainly(token, channel, content) {
  for (;;) {
    const answer = await fetch(`${demo.api}/v10/channels/${channel}/messages`, {
      method: 'POST',
      headers: { authorization: `Bot ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ content }),
    })
    const body = await answer.json()
    if (answer.ok) return
    assert.equal(answer.status, 429, JSON.stringify(body))
    await pause(body.retry_after * 1000)
  }
}
