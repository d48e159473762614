// Timers by name: of each name one at a time, and a new one takes the place of the old one.

export class Timers {
  #env;
  #running = new Map();

  /** `env` has `setTimeout` and `clearTimeout`. */
  constructor(env) {
    this.#env = env;
  }

  /** Does `f` after `ms`. */
  after(name, ms, f) {
    this.clear(name);
    this.#running.set(name, this.#env.setTimeout(() => {
      this.#running.delete(name);
      f();
    }, ms));
  }

  clear(...names) {
    for (const name of names) {
      this.#env.clearTimeout(this.#running.get(name));
      this.#running.delete(name);
    }
  }

  clearAll() {
    this.clear(...this.#running.keys());
  }

  has(name) {
    return this.#running.has(name);
  }
}
