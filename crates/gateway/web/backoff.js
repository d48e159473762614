// How long to wait before the next try: longer each time, never in step with others.

const FIRST_MS = 500;
const LONGEST_MS = 30_000;

/** Waits of one kind of attempt. `random` answers 0 up to 1. */
export function createBackoff(random = Math.random) {
  let tries = 0;
  return {
    /** The next wait in ms: the first one short, then between half and all of a doubling time. */
    next() {
      const most = Math.min(LONGEST_MS, FIRST_MS * 2 ** tries);
      tries += 1;
      return tries === 1 ? most * random() : most / 2 + (most / 2) * random();
    },
    reset() { tries = 0; },
  };
}
