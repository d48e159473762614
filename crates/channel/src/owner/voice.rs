//! Voice states: who of a guild is in which voice channel. Nothing of it is kept: a state lasts as long as the gateway
//! session it is for, and that no longer than its gateway follows the guild.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use clarion_model::event::Transient;
use clarion_model::guild::{ChannelKind, GuildState, Member};
use clarion_model::id::{ChannelId, UserId};
use clarion_model::permission::{Permissions, in_channel};
use clarion_model::time::Timestamp;
use clarion_model::voice::VoiceState;

use super::access::{self, Actor, rank, require, require_above};
use super::{Answer, Outcome, Owner};
use crate::refusal::Refusal;

/// How long states of a gateway last that does not follow the guild. It may follow again, and its sessions may come to other
/// gateways, which say so. As long a client may be silent before a voice server lets it go.
pub(crate) const LEASE: Duration = Duration::from_secs(10);

/// A session wants to be in a voice channel, or in none.
#[derive(Debug, Clone)]
pub(crate) struct SetVoice {
    pub(crate) user: UserId,
    pub(crate) session_id: String,
    pub(crate) gateway: Arc<str>,
    pub(crate) channel_id: Option<ChannelId>,
    pub(crate) self_mute: bool,
    pub(crate) self_deaf: bool,
    /// It was there before this owner was one, or at another gateway.
    pub(crate) again: bool,
    /// It leaves only if the state is the gateway's.
    pub(crate) if_own: bool,
}

/// The voice states of a guild.
#[derive(Debug, Default)]
pub(super) struct Voices(BTreeMap<UserId, Held>);

#[derive(Debug)]
struct Held {
    state: VoiceState,
    gateway: Arc<str>,
    /// Since when the gateway does not follow.
    alone_since: Option<Timestamp>,
    /// Somebody who may do so put the user there, who could not have entered.
    brought: bool,
}

impl Owner {
    /// All voice states.
    pub(crate) fn voices(&self) -> impl Iterator<Item = &VoiceState> {
        self.voices.0.values().map(|held| &held.state)
    }

    /// Whether anybody is in a voice channel.
    pub(crate) fn has_voices(&self) -> bool {
        !self.voices.0.is_empty()
    }

    pub(super) fn set_voice(&mut self, set: SetVoice) -> Result<Outcome, Refusal> {
        let truth = self.truth.clone();
        let truth = truth.read();
        let guild = truth.state.guild()?;
        let Some(channel) = set.channel_id else { return Ok(self.leave_voice(&set)) };
        let held = voice_channel(guild, set.user, channel)?;
        // What is known of it here is later than what it was elsewhere.
        if set.again
            && let Some(there) =
                self.voices.0.get_mut(&set.user).filter(|there| there.state.session_id == set.session_id)
        {
            (there.gateway, there.alone_since) = (set.gateway, None);
            return Ok(Outcome::Answer(Answer::Done));
        }
        let there = self.voices.0.get(&set.user);
        let is_there = there.is_some_and(|there| there.state.channel_id == Some(channel));
        let brought = is_there && there.is_some_and(|there| there.brought);
        if !brought {
            require(held, Permissions::CONNECT)?;
        }
        if !is_there && !set.again && !held.contains(Permissions::MOVE_MEMBERS) && self.is_full(guild, channel) {
            return Err(Refusal::VOICE_FULL);
        }
        let state = VoiceState {
            user_id: set.user,
            channel_id: Some(channel),
            session_id: set.session_id,
            self_mute: set.self_mute,
            self_deaf: set.self_deaf,
            mute: false,
            deaf: false,
            suppress: false,
            priority: false,
        };
        let state = as_permitted(guild, state, held);
        let before = self
            .voices
            .0
            .insert(set.user, Held { state: state.clone(), gateway: set.gateway, alone_since: None, brought });
        Ok(match before {
            Some(before) if before.state == state => Outcome::Answer(Answer::Done),
            _ => Outcome::Tell(told(state)),
        })
    }

    fn leave_voice(&mut self, set: &SetVoice) -> Outcome {
        // Another session of the user may be there now, or this one at another gateway; it stays.
        let stays =
            |there: &Held| there.state.session_id != set.session_id || (set.if_own && there.gateway != set.gateway);
        if self.voices.0.get(&set.user).is_none_or(stays) {
            return Outcome::Answer(Answer::Done);
        }
        match self.voices.0.remove(&set.user) {
            Some(gone) => Outcome::Tell(told(gone.state.left())),
            None => Outcome::Answer(Answer::Done),
        }
    }

    /// Somebody puts a member into another voice channel, or out of all.
    pub(super) fn move_voice(&mut self, actor: Actor, user: UserId, to: Option<ChannelId>) -> Result<Outcome, Refusal> {
        let truth = self.truth.clone();
        let truth = truth.read();
        let guild = truth.state.guild()?;
        if !guild.members.contains_key(&user) {
            access::guild_wide(guild, actor)?;
            return Err(Refusal::UNKNOWN_MEMBER);
        }
        let there = self.voices.0.get_mut(&user).ok_or(Refusal::NOT_IN_VOICE)?;
        let from = there.state.channel_id.ok_or(Refusal::NOT_IN_VOICE)?;
        require(held_in(guild, actor, from)?, Permissions::MOVE_MEMBERS)?;
        let Some(to) = to else {
            let gone = self.voices.0.remove(&user).ok_or(Refusal::NOT_IN_VOICE)?;
            return Ok(Outcome::Tell(told(gone.state.left())));
        };
        if let Actor::User(actor) = actor {
            // One brings others only where one could go oneself.
            let theirs = voice_channel(guild, actor, to)?;
            require(theirs, Permissions::CONNECT.union(Permissions::MOVE_MEMBERS))?;
        }
        let held = voice_channel(guild, user, to)?;
        if from == to {
            return Ok(Outcome::Answer(Answer::Done));
        }
        there.brought = !held.contains(Permissions::CONNECT);
        there.state = as_permitted(guild, VoiceState { channel_id: Some(to), ..there.state.clone() }, held);
        Ok(Outcome::Tell(told(there.state.clone())))
    }

    /// Checks a change of who is heard and who hears: it is for those who may silence, and for members who are there.
    pub(super) fn check_silence(
        &self,
        guild: &GuildState,
        actor: Actor,
        old: &Member,
        new: &Member,
    ) -> Result<(), Refusal> {
        if (old.mute, old.deaf) == (new.mute, new.deaf) || actor == Actor::Operator {
            return Ok(());
        }
        let there = self.voices.0.get(&new.user.id).and_then(|there| there.state.channel_id);
        let channel = there.ok_or(Refusal::NOT_IN_VOICE)?;
        let held = held_in(guild, actor, channel)?;
        if old.mute != new.mute {
            require(held, Permissions::MUTE_MEMBERS)?;
        }
        if old.deaf != new.deaf {
            require(held, Permissions::DEAFEN_MEMBERS)?;
        }
        if actor.user() == Some(new.user.id) {
            return Ok(());
        }
        require_above(rank(guild, actor), rank(guild, Actor::User(new.user.id)))
    }

    /// What a change of the guild's structure means for those who are in its voice channels.
    pub(crate) fn review_voices(&mut self) -> Vec<Transient> {
        let truth = self.truth.clone();
        let truth = truth.read();
        let guild = truth.state.guild().ok();
        let mut changes = Vec::new();
        self.voices.0.retain(|user, there| {
            let Some(channel) = there.state.channel_id else { return false };
            let held = guild.and_then(|guild| Some((guild, voice_channel(guild, *user, channel).ok()?)));
            match held {
                Some((guild, held)) if there.brought || held.contains(Permissions::CONNECT) => {
                    let state = as_permitted(guild, there.state.clone(), held);
                    if state != there.state {
                        there.state = state.clone();
                        changes.push(told(state));
                    }
                    true
                }
                _ => {
                    changes.push(told(there.state.clone().left()));
                    false
                }
            }
        });
        changes
    }

    /// Ends the states of gateways that have not followed for too long.
    pub(crate) fn expire_voices(&mut self, now: Timestamp, following: &BTreeSet<Arc<str>>) -> Vec<Transient> {
        let mut changes = Vec::new();
        self.voices.0.retain(|_, there| {
            if following.contains(&there.gateway) {
                there.alone_since = None;
                return true;
            }
            let stays = now.since(*there.alone_since.get_or_insert(now)) < LEASE;
            if !stays {
                changes.push(told(there.state.clone().left()));
            }
            stays
        });
        changes
    }

    fn is_full(&self, guild: &GuildState, channel: ChannelId) -> bool {
        let limit = guild.channels.get(&channel).map_or(0, |channel| channel.voice.user_limit);
        limit > 0 && self.voices().filter(|state| state.channel_id == Some(channel)).count() >= limit as usize
    }
}

/// What a user may do in a voice channel.
fn voice_channel(guild: &GuildState, user: UserId, channel: ChannelId) -> Result<Permissions, Refusal> {
    let (channel, held) = access::visible(guild, user, channel)?;
    if channel.kind == ChannelKind::Voice { Ok(held) } else { Err(Refusal::NOT_A_VOICE_CHANNEL) }
}

fn held_in(guild: &GuildState, actor: Actor, channel: ChannelId) -> Result<Permissions, Refusal> {
    match actor {
        Actor::Operator => Ok(Permissions::ALL),
        Actor::User(user) => in_channel(guild, user, channel).ok_or(Refusal::MISSING_ACCESS),
    }
}

/// A state with what the guild says of the user.
fn as_permitted(guild: &GuildState, state: VoiceState, held: Permissions) -> VoiceState {
    let member = guild.members.get(&state.user_id);
    VoiceState {
        mute: member.is_some_and(|member| member.mute),
        deaf: member.is_some_and(|member| member.deaf),
        suppress: !held.contains(Permissions::SPEAK),
        priority: held.contains(Permissions::PRIORITY_SPEAKER),
        ..state
    }
}

fn told(state: VoiceState) -> Transient {
    Transient::Voice { state, traceparent: String::new() }
}
