// A voice server alone: the program of that name, an example of the crate clarion-voice, told what to do on its input.

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

export class Alone {
  #answers = []

  constructor(program) {
    this.child = spawn(program, [], { stdio: ['pipe', 'pipe', 'inherit'] })
    createInterface({ input: this.child.stdout }).on('line', line => this.#answers.shift()?.(JSON.parse(line)))
  }

  async ask(...words) {
    const answer = new Promise(done => this.#answers.push(done))
    this.child.stdin.write(`${words.join(' ')}\n`)
    const found = await answer
    if (found.error) throw new Error(`${words}: ${found.error}`)
    return found
  }

  async stop() {
    const ended = new Promise(done => this.child.once('exit', done))
    this.child.stdin.end()
    await ended
  }
}
