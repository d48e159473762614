// Voice as one takes part in it: where one is, how the connection stands, who speaks. Pure functions.

export const initial = () => ({
  /** Where one is or wants to be. */
  guild: null,
  channel: null,
  /** `idle`, `joining` (asked), `connecting`, `open`, `waiting` (for a server), `broken` (asks again). */
  phase: 'idle',
  /** `asking`, `open`, `refused` or `missing`; who has no microphone listens. */
  microphone: 'asking',
  muted: false,
  deafened: false,
  /** Users that speak just now. */
  speaking: [],
  quality: null,
  /** What went wrong, in words. */
  problem: null,
});

/** What the gateway and the connection make of it. `me` is one's id, `session` that of the gateway's session. */
export function reduce(voice, { type, d, ...action }, me, session) {
  switch (type) {
    case 'voice-join':
      return { ...initial(), muted: voice.muted, deafened: voice.deafened, guild: action.guild, channel: action.channel, phase: 'joining' };
    case 'voice-leave':
      return voice.channel === null && voice.problem === action.problem ? voice : ended(voice, action.problem ?? null);
    case 'voice-phase':
      return voice.channel === null ? voice : phased(voice, action.phase, action.problem ?? null);
    case 'voice-microphone': return { ...voice, microphone: action.microphone };
    case 'voice-flags': return { ...voice, muted: action.muted, deafened: action.deafened };
    case 'voice-quality': return voice.phase === 'open' ? { ...voice, quality: action.quality } : voice;
    case 'VOICE_HEARD': {
      if (d.channel_id !== voice.channel) return voice;
      return { ...voice, speaking: d.slots.filter(slot => slot.speaking).map(slot => slot.user_id) };
    }
    case 'VOICE_REFUSED': {
      if (d.guild_id !== voice.guild || (d.channel_id ?? voice.channel) !== voice.channel) return voice;
      return ended(voice, d.message || 'Joining was refused.');
    }
    case 'VOICE_STATE_UPDATE': return placed(voice, d, me, session);
    default: return voice;
  }
}

/** What was measured, and who spoke, is of the connection that there was. */
const phased = (voice, phase, problem) => ({
  ...voice, phase, problem, quality: phase === 'open' ? voice.quality : null, speaking: phase === 'broken' ? [] : voice.speaking,
});

const ended = (voice, problem) => ({ ...initial(), muted: voice.muted, deafened: voice.deafened, problem });

/** Where the guild says that one is: moved, out, or there by another window. */
function placed(voice, d, me, session) {
  if (voice.channel === null || d.user_id !== me || d.guild_id !== voice.guild) return voice;
  const is_own = d.session_id === session;
  // While one asks, what is told may be of before.
  if (voice.phase === 'joining' && d.channel_id !== voice.channel) return voice;
  if (is_own && d.channel_id === null) return ended(voice, 'You were disconnected.');
  if (is_own && d.channel_id !== voice.channel) return { ...voice, channel: d.channel_id, speaking: [] };
  if (!is_own && d.channel_id !== null && voice.phase !== 'joining') return ended(voice, 'You joined from another window.');
  return voice;
}

/** Who is in a voice channel, in the order in which they are shown: `[{id, user, name, muted, deafened}]`. */
export function people(guild, channel, nameOf) {
  return Object.values(guild.voices).filter(state => state.channel_id === channel).map(state => {
    const member = guild.members[state.user_id];
    const user = member?.user ?? { id: state.user_id };
    return {
      id: state.user_id, user, name: nameOf(user, member),
      muted: state.self_mute || state.mute || state.suppress, deafened: state.self_deaf || state.deaf,
    };
  }).sort((a, b) => a.name.localeCompare(b.name));
}

/**
 * One word for a connection: the round trip in ms and the lost share of either way, each `null` where nothing is known.
 */
export function verdict({ roundTrip, loss }) {
  if (roundTrip === null && loss === null) return 'unknown';
  if (roundTrip >= 400 || loss >= 0.08) return 'poor';
  if (roundTrip >= 200 || loss >= 0.02) return 'fair';
  return 'good';
}

/**
 * Sums up what a connection's statistics say, since `before`: `{roundTrip, loss, word}` and the counts for the next time.
 * The loss is that of the worse way.
 */
export function measure(stats, before = { lost: 0, received: 0 }) {
  const all = [...stats];
  const pair = all.find(one => one.type === 'candidate-pair' && one.nominated && one.currentRoundTripTime !== undefined);
  const roundTrip = pair ? Math.round(pair.currentRoundTripTime * 1_000) : null;
  const inbound = all.filter(one => one.type === 'inbound-rtp');
  const sum = field => inbound.reduce((total, one) => total + (one[field] ?? 0), 0);
  const counts = { lost: sum('packetsLost'), received: sum('packetsReceived') };
  const [lost, received] = [Math.max(0, counts.lost - before.lost), Math.max(0, counts.received - before.received)];
  const down = lost + received > 0 ? lost / (lost + received) : null;
  const up = all.find(one => one.type === 'remote-inbound-rtp')?.fractionLost ?? null;
  const known = [down, up].filter(share => share !== null);
  const loss = known.length ? Math.max(...known) : null;
  return { quality: { roundTrip, loss, word: verdict({ roundTrip, loss }) }, counts };
}
