//! Who is in a guild's voice channels, as its owner says, and which sessions hear of it. Pure.
//!
//! An owner that has just begun has to be told again who is there. Until it has been, or until that has taken too long,
//! those whom the former owner named are still there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use clarion_model::guild::GuildState;
use clarion_model::id::{ChannelId, UserId};
use clarion_model::voice::VoiceState;

use super::{GuildEntry, Outgoing};
use crate::api::dispatch;
use crate::hub::seats::Seat;
use crate::intents::Intents;
use crate::visibility::{Cohort, Need};

/// How long somebody is taken to be there whom the owner does not name.
const DOUBTED: Duration = Duration::from_secs(5);

/// The voice states of a guild.
#[derive(Debug, Default)]
pub(super) struct Voices {
    there: BTreeMap<UserId, VoiceState>,
    /// Those whom the owner did not name, and since when.
    doubted: BTreeMap<UserId, Instant>,
    /// What the owner said of all, before the state or the place that it is of.
    told: Vec<VoiceState>,
}

impl Voices {
    pub(super) fn all(&self) -> impl Iterator<Item = &VoiceState> {
        self.there.values()
    }
}

impl GuildEntry {
    /// Where a user is in voice, as far as is known.
    pub(in crate::hub) fn voice_of(&self, user: UserId) -> Option<&VoiceState> {
        self.voices.there.get(&user)
    }

    /// The owner begins to tell: these are all that are there.
    pub(in crate::hub) fn voices_told(&mut self, states: Vec<VoiceState>) {
        self.voices.told = states;
    }

    /// Nobody has been told anything yet: what the owner said is how it is.
    pub(in crate::hub) fn take_voices(&mut self) -> Vec<VoiceState> {
        let told = std::mem::take(&mut self.voices.told);
        self.voices.there = told.iter().map(|state| (state.user_id, state.clone())).collect();
        self.voices.doubted.clear();
        told
    }

    /// Compares with what the owner said: what is to be told, and whom the owner does not know of.
    pub(in crate::hub) fn compare_voices(&mut self, now: Instant) -> (Vec<VoiceState>, Vec<VoiceState>) {
        let told = std::mem::take(&mut self.voices.told);
        let named: BTreeSet<UserId> = told.iter().map(|state| state.user_id).collect();
        let missing: Vec<_> = self.voices.all().filter(|state| !named.contains(&state.user_id)).cloned().collect();
        for state in &missing {
            self.voices.doubted.entry(state.user_id).or_insert(now);
        }
        (told, missing)
    }

    /// Those who were doubted for too long: they have left.
    pub(in crate::hub) fn doubted_voices(&mut self, now: Instant) -> Vec<VoiceState> {
        let late = self.voices.doubted.iter().filter(|(_, since)| now.saturating_duration_since(**since) >= DOUBTED);
        let late: Vec<UserId> = late.map(|(user, _)| *user).collect();
        late.iter().filter_map(|user| self.voices.there.get(user)).map(|state| state.clone().left()).collect()
    }

    /// Whether anybody is doubted.
    pub(in crate::hub) fn has_doubts(&self) -> bool {
        !self.voices.doubted.is_empty()
    }

    /// A state came, changed or ended: who is told.
    pub(super) fn voice(&mut self, state: &VoiceState) -> Vec<Outgoing> {
        let Some(guild) = self.state.clone() else { return Vec::new() };
        let user = state.user_id;
        self.voices.doubted.remove(&user);
        let before = match state.channel_id {
            Some(_) => self.voices.there.insert(user, state.clone()),
            None => self.voices.there.remove(&user),
        };
        if before.as_ref() == Some(state) {
            return Vec::new();
        }
        let from = before.and_then(|before| before.channel_id);
        let Some(channel) = state.channel_id.or(from) else { return Vec::new() };
        let told = self.who_hears(&guild, channel);
        let mut out = Vec::new();
        // Who saw where they were and does not see where they are, sees them leave.
        if let Some(from) = from.filter(|from| *from != channel) {
            let sees: BTreeSet<Seat> = seats(&told).collect();
            let lost: Vec<Seat> = seats(&self.who_hears(&guild, from)).filter(|seat| !sees.contains(seat)).collect();
            let left = dispatch::voice_state_update(&guild, &state.clone().left());
            out.extend(self.tell_seats("VOICE_STATE_UPDATE", lost, left));
        }
        if !told.is_empty() {
            let dispatch = dispatch::voice_state_update(&guild, state);
            out.push(Outgoing::plain("VOICE_STATE_UPDATE", told, dispatch));
        }
        out
    }

    /// Channels came into view of some sessions, or went out of it: they hear of those who are in them.
    pub(super) fn reveal_voices(
        &self,
        guild: &GuildState,
        shown: &BTreeMap<ChannelId, Vec<Seat>>,
        hidden: &BTreeMap<ChannelId, Vec<Seat>>,
    ) -> Vec<Outgoing> {
        let mut out = Vec::new();
        for state in self.voices.all() {
            let Some(channel) = state.channel_id else { continue };
            for (seats, state) in [(shown.get(&channel), state.clone()), (hidden.get(&channel), state.clone().left())] {
                let hears = |seat: &&Seat| {
                    let listener = self.listeners.get(seat);
                    listener.is_some_and(|listener| listener.intents.contains(Intents::GUILD_VOICE_STATES))
                };
                let seats: Vec<Seat> = seats.into_iter().flatten().filter(hears).copied().collect();
                if !seats.is_empty() {
                    let dispatch = dispatch::voice_state_update(guild, &state);
                    out.extend(self.tell_seats("VOICE_STATE_UPDATE", seats, dispatch));
                }
            }
        }
        out
    }

    /// The sessions that hear of a channel; of one that is gone, all of them.
    fn who_hears(&mut self, guild: &GuildState, channel: ChannelId) -> std::sync::Arc<[Cohort]> {
        let channel = guild.channels.contains_key(&channel).then_some(channel);
        let need = Need { channel, intents: Intents::GUILD_VOICE_STATES, content: false };
        self.audience.of(guild, &self.listeners, need)
    }
}

fn seats(cohorts: &[Cohort]) -> impl Iterator<Item = Seat> {
    cohorts.iter().flat_map(|cohort| cohort.full.iter().map(|seat| Seat { shard: cohort.shard, seat: *seat }))
}
