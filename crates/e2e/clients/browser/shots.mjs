// Takes the pictures of docs/web-client.md: a conversation, at the widths of a desktop and of a phone, light and dark; and
// people in a voice channel.
//
//   node shots.mjs <demo.json> <folder>
//
// The server's rate limits are to be off, its workspace new.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Browser } from './chromium.mjs'
import { admin, demo, network, person } from './stage.mjs'
import { microphone } from './talk.mjs'

const folder = process.argv[3]
const [ada, grace] = demo.users.map(person)
const [echo] = demo.bots.map(person)
const { channel_id: general, second_channel_id: random, guild_id: guild } = demo
const react = (who, message, emoji) => who.call('PUT', `/channels/${general}/messages/${message.id}/reactions/${encodeURIComponent(emoji)}/@me`)

async function join_(username, bot = false) {
  const { id } = await admin('POST', 'users', { username, bot })
  await admin('POST', `guilds/${guild}/members/${id}`)
  return person({ id, token: (await admin('POST', 'tokens', { user_id: id, label: 'picture' })).token })
}

const linus = await join_('linus')
const margaret = await join_('margaret')
const relay = person(demo.bots[1])
await relay.call('PATCH', `/channels/${general}`, { topic: 'Release 1.2 – what is left, and who does it' })
await relay.call('POST', `/guilds/${guild}/channels`, { name: 'incidents', type: 0 })
await relay.call('POST', `/guilds/${guild}/channels`, { name: 'design', type: 0 })

await grace.say(general, 'Morning! The fan-out numbers from last night are in: **p99 41 ms** at 5,000 sockets.')
await grace.say(general, 'One slow reader did not move anybody else – exactly what we wanted.')
const asked = await linus.say(general, `Nice. <@${ada.id}> did the resume path survive the restart?`)
const said = await ada.say(general, 'It did. Every session came back with the right sequence number:', { message_reference: { message_id: asked.id } })
await ada.say(general, '```\nresumed   4,998\nre-identified 2\nlost          0\n```')
await react(grace, said, '🎉')
await react(linus, said, '🎉')
await react(margaret, said, '👀')
await echo.say(general, 'Deploy of `1.2.0-rc.3` to staging finished.', { embeds: [{ title: 'staging', url: 'https://example.com/deploys/113', color: 0x1f8f55,
  description: 'All probes are green.', fields: [{ name: 'Duration', value: '48 s', inline: true }, { name: 'Errors', value: '0', inline: true }] }] })
const plan = await margaret.say(general, 'I will write the release notes. Two things to decide:\n> keep the old metric names for one version\n> announce on *Thursday*')
await linus.say(general, `Thursday works. Details in <#${random}>, the trace of the slow one is at https://traces.example.com/5f2b`)
await react(ada, plan, '👍')
await react(linus, plan, '👍')
await react(grace, plan, '👍')

const voice = microphone({ restless: true })
const browser = await Browser.launch(voice.switches)
const net = await network()
const others = []
for (const [who, status] of [[grace, 'online'], [linus, 'idle'], [margaret, 'dnd'], [echo, 'online']]) {
  const page = await browser.page({ url: `${net.url}web/icon.svg` })
  await page.eval(`sessionStorage.setItem('clarion:token', ${JSON.stringify(JSON.stringify(who.token))}); localStorage.setItem('clarion:status', ${JSON.stringify(JSON.stringify(status))})`)
  await page.goto(net.url)
  await page.wait(`document.documentElement.dataset.link === 'open'`)
  others.push(page)
}

async function enter(options) {
  const page = await browser.page({ url: `${net.url}?as=ada`, ...options })
  await page.wait(`document.querySelectorAll('.message').length >= 8 && document.documentElement.dataset.link === 'open'`)
  return page
}

for (const dark of [false, true]) {
  const look = dark ? 'dark' : 'light'
  const page = await enter({ width: 1440, height: 900, dark })
  await relay.say(random, `<@${ada.id}> lunch?`)
  for (let n = 0; n < 2; n += 1) await linus.say((await relay.call('GET', `/guilds/${guild}/channels`)).find(one => one.name === 'design').id, 'a new sketch')
  await page.type('Thursday it is, then')
  for (let n = 0; n < 2; n += 1) {
    await others[0].click('.composer textarea')
    await others[0].type('.')
  }
  await page.wait(`document.querySelector('.typing').textContent.includes('grace')`).catch(() => {})
  await page.hover('.message:nth-last-of-type(2)')
  await pause(400)
  writeFileSync(join(folder, `web-1440-${look}.png`), await page.screenshot())
  await page.close()
  await others[0].reload()
  await others[0].wait(`document.documentElement.dataset.link === 'open'`)
  const phone = await enter({ width: 390, height: 844, dark, mobile: true })
  await pause(400)
  writeFileSync(join(folder, `web-390-${look}.png`), await phone.screenshot())
  await phone.click('button[aria-label="Channels"]')
  await pause(400)
  if (dark) writeFileSync(join(folder, `web-390-channels-${look}.png`), await phone.screenshot())
  await phone.close()
}

// Two who speak, one who is muted, and oneself.
for (const page of others.slice(0, 3)) {
  await page.click('.voice-channel')
  await page.wait(`document.querySelector('.voice-panel[data-phase="open"]')`)
}
await others[2].click('.voice-mute')
for (const dark of [false, true]) {
  const page = await enter({ width: 1440, height: 900, dark })
  await page.click('.voice-channel')
  await page.wait(`document.querySelector('.voice-panel[data-phase="open"]') && document.querySelectorAll('.voice-person').length === 4`)
  await page.wait(`document.querySelectorAll('.voice-person.speaking').length === 3 && document.querySelector('.voice-person .icon-muted')`)
  await page.wait(`/^(Good|Fair|Poor) \\d+ ms/.test(document.querySelector('.voice-quality').textContent)`)
  await pause(400)
  writeFileSync(join(folder, `web-voice-${dark ? 'dark' : 'light'}.png`), await page.screenshot())
  await page.close()
}
await browser.close()
net.close()
voice.remove()
process.exit(0)
