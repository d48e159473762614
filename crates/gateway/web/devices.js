// Which microphone and which speakers voice uses: what there is, and what was chosen, also for the next time.

import { recall, remember } from './storage.js';

/** As browsers call them. */
export const MICROPHONE = 'audioinput';
export const SPEAKERS = 'audiooutput';

/** The device that was chosen; null for the browser's own choice. */
export const chosen = kind => recall(`voice:${kind}`);

export const choose = (kind, id) => remember(`voice:${kind}`, id, true);

/** What a microphone is asked for with. */
export const wanted = id => ({ echoCancellation: true, noiseSuppression: true, autoGainControl: true, ...(id ? { deviceId: { exact: id } } : {}) });

/** The microphone that was chosen; where it is not there any more, any. */
export async function open(media = navigator.mediaDevices) {
  try {
    return await media.getUserMedia({ audio: wanted(chosen(MICROPHONE)) });
  } catch (error) {
    if (error.name !== 'OverconstrainedError') throw error;
    return media.getUserMedia({ audio: wanted(null) });
  }
}

/** The devices of a kind: `[{id, label, isChosen}]`; the first one where the chosen one is not there. Nameless ones are left out. */
export function listed(all, kind, id) {
  const some = all.filter(one => one.kind === kind && one.deviceId && one.label);
  const found = some.some(one => one.deviceId === id);
  return some.map((one, n) => ({ id: one.deviceId, label: one.label, isChosen: found ? one.deviceId === id : n === 0 }));
}
