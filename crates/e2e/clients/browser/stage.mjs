// What the scripts here share: the server's demo, people who speak through the API, and a network that can be cut.

import { readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'

export const demo = JSON.parse(readFileSync(process.argv[2], 'utf8'))
const target = new URL(demo.api)

/** Somebody who speaks through the API. */
export function person(account) {
  const call = async (method, path, body) => {
    const response = await fetch(`${demo.api}/v10${path}`, {
      method, headers: { Authorization: account.token, ...(body ? { 'Content-Type': 'application/json' } : {}) }, body: body && JSON.stringify(body),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
    return text ? JSON.parse(text) : null
  }
  return { ...account, call, say: (channel, content, more = {}) => call('POST', `/channels/${channel}/messages`, { content, ...more }) }
}

export async function admin(method, path, body) {
  const response = await fetch(`${demo.admin}/admin/v1/${path}`, { method, body: body && JSON.stringify(body) })
  if (!response.ok) throw new Error(`admin ${path}: ${response.status} ${await response.text()}`)
  return response.json()
}

/** Does something to all sessions of a user; answers how many there were. */
export async function disturb(user, action, body) {
  const { sessions } = await admin('GET', 'sessions')
  const theirs = sessions.filter(session => session.user_id === user)
  for (const session of theirs) await admin('POST', `sessions/${session.id}/${action}`, body)
  return theirs.length
}

/** The way to the server, which can be cut: then connections break and new ones are refused. */
export async function network() {
  const open = new Set()
  const server = createServer(client => {
    if (net.isCut) return client.destroy()
    const upstream = connect(Number(target.port), target.hostname)
    open.add(client)
    for (const [one, other] of [[client, upstream], [upstream, client]]) {
      one.pipe(other)
      one.on('error', () => other.destroy())
      one.on('close', () => { open.delete(client); other.destroy() })
    }
  })
  await new Promise(done => server.listen(0, '127.0.0.1', done))
  const net = {
    url: `http://127.0.0.1:${server.address().port}/`,
    isCut: false,
    cut() {
      net.isCut = true
      open.forEach(client => client.destroy())
    },
    mend() { net.isCut = false },
    close() { net.cut(); server.close() },
  }
  return net
}
