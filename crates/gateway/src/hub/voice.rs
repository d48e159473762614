//! Voice states as guilds' owners tell them: to sessions, and to the actor that has this gateway's own sessions let in.

use std::time::Instant;

use clarion_model::event::Transient;
use clarion_model::id::{ChannelId, GuildId, UserId};
use clarion_model::voice::VoiceState;
use clarion_proto::v1;

use super::{Hub, Seat};
use crate::frame::Dispatch;
use crate::session_id::Place;
use crate::shard;
use crate::voice::{Command, Wanted, leg};

impl Hub {
    /// Somebody entered a voice channel of a guild, is there differently, or left.
    pub(super) async fn voice_changed(&mut self, id: GuildId, state: VoiceState, traceparent: &str) {
        let Some(guild) = self.guilds.get_mut(&id) else { return };
        let before = guild.voice_of(state.user_id).cloned();
        let event = Transient::Voice { state: state.clone(), traceparent: String::new() };
        for outgoing in guild.ride(&event) {
            self.deliver(outgoing, traceparent).await;
        }
        if let Some(before) = before.filter(|before| before.session_id != state.session_id) {
            self.own_voice(id, &before.left(), "").await;
        }
        self.own_voice(id, &state, traceparent).await;
    }

    /// What a state means if it is of a session here.
    async fn own_voice(&mut self, id: GuildId, state: &VoiceState, traceparent: &str) {
        let seat = self.seat_of(&state.session_id);
        if seat.is_none() && Place::of(&state.session_id).is_none_or(|place| place.gateway != self.number) {
            return;
        }
        let key = leg(id, &state.session_id);
        let command = match (seat, state.channel_id) {
            // The session is over, and the owner does not know it.
            (None, Some(_)) => Command::Leave { key, user: state.user_id },
            (None, None) | (Some(_), None) => Command::Want { key, wanted: None },
            (Some(seat), Some(channel)) => {
                let user = self.seats.get(seat).map_or(state.user_id, |occupant| occupant.identity.user);
                Command::Want { key, wanted: Some(self.wanted(id, user, channel, state, traceparent)) }
            }
        };
        self.voice.tell(command).await;
    }

    /// What a state asks for.
    fn wanted(&self, id: GuildId, user: UserId, channel: ChannelId, state: &VoiceState, traceparent: &str) -> Wanted {
        let settings = self.guilds.get(&id).and_then(|guild| guild.state.as_ref());
        let settings = settings.and_then(|state| state.channels.get(&channel)).map(|channel| &channel.voice);
        let account = self.users.get(&user).and_then(|entry| entry.state.as_ref());
        Wanted {
            user,
            person: account.is_some_and(|account| !account.user.bot),
            channel,
            capacity: settings.map_or(0, |settings| settings.user_limit),
            region: settings.and_then(|settings| settings.rtc_region.clone()).unwrap_or_default(),
            permissions: v1::VoicePermissions {
                speak: state.may_speak(),
                listen: !state.deaf,
                priority: state.priority,
                self_mute: state.self_mute,
                self_deaf: state.self_deaf,
            },
            traceparent: traceparent.to_owned(),
        }
    }

    /// A session has come from another gateway. If it is in a voice channel it stays there: the owner is told that it is
    /// here now, and the voice server has it already.
    pub(super) async fn keep_voice(&mut self, id: GuildId, session: &str, user: UserId) {
        let state = self.guilds.get(&id).and_then(|guild| guild.voice_of(user));
        let Some(state) = state.filter(|state| state.session_id == session).cloned() else { return };
        let Some(channel) = state.channel_id else { return };
        let (key, self_mute, self_deaf) = (leg(id, session), state.self_mute, state.self_deaf);
        let wanted = self.wanted(id, user, channel, &state, "");
        self.voice.tell(Command::Keep { key: key.clone(), wanted }).await;
        self.voice.tell(Command::Again { key, user, channel, self_mute, self_deaf }).await;
    }

    /// All voice states of a guild have been told: what changed, and whom the owner has to be told of again.
    pub(super) async fn compare_voices(&mut self, id: GuildId) {
        let Some(guild) = self.guilds.get_mut(&id) else { return };
        let (told, missing) = guild.compare_voices(Instant::now());
        for state in told {
            self.voice_changed(id, state, "").await;
        }
        for state in missing {
            let Some(channel) = state.channel_id else { continue };
            if self.seat_of(&state.session_id).is_some() {
                let key = leg(id, &state.session_id);
                let (user, self_mute, self_deaf) = (state.user_id, state.self_mute, state.self_deaf);
                self.voice.tell(Command::Again { key, user, channel, self_mute, self_deaf }).await;
            }
        }
    }

    /// Those whom an owner has not named for too long have left.
    pub(super) async fn doubt_voices(&mut self, now: Instant) {
        let doubted = self.guilds.iter().filter(|(_, guild)| guild.has_doubts()).map(|(id, _)| *id);
        for id in doubted.collect::<Vec<_>>() {
            let late = self.guilds.get_mut(&id).map(|guild| guild.doubted_voices(now)).unwrap_or_default();
            for state in late {
                self.voice_changed(id, state, "").await;
            }
        }
    }

    /// Nobody here has been told anything of a guild yet; some of its states may be of sessions of an earlier life.
    pub(super) async fn first_voices(&mut self, id: GuildId) {
        let told = self.guilds.get_mut(&id).map(|guild| guild.take_voices()).unwrap_or_default();
        for state in told {
            self.own_voice(id, &state, "").await;
        }
    }

    /// The seat of a session, as long as it lives.
    fn seat_of(&self, session: &str) -> Option<Seat> {
        let place = Place::of(session).filter(|place| place.gateway == self.number);
        let own = place.map(|place| Seat { shard: place.shard, seat: place.seat });
        let seat = self.adopted.seat(session).or(own)?;
        self.seats.get(seat).filter(|occupant| occupant.identity.id == session).map(|_| seat)
    }

    /// Tells a session something, if it is still there.
    pub(super) async fn tell_session(&mut self, session: &str, dispatch: Dispatch) {
        if let Some(seat) = self.seat_of(session) {
            self.tell(seat.shard, shard::Command::Push { seat: seat.seat, dispatches: vec![dispatch] }).await;
        }
    }
}
