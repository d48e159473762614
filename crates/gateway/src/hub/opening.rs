//! Sessions begin, change how they show themselves, ask, and end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clarion_model::id::{GuildId, UserId};
use clarion_model::key::Key;
use clarion_model::presence::{Devices, Presence};
use tokio::sync::oneshot;

use super::guild::GuildEntry;
use super::seats::Occupant;
use super::user::Wanted;
use super::{Hub, OpenRequest, Opened, Phase, Seat, members};
use crate::api::ReadState;
use crate::api::dispatch::{self, Ready};
use crate::conversation::MembersRequest;
use crate::session_id::{CHANCE, Place};
use crate::shard::{Command, Ended, Identity};
use crate::visibility::Listener;
use crate::voice::Command as VoiceCommand;

/// Whether a session with this shard number hears of a guild.
pub(super) fn is_on_shard(guild: GuildId, (which, of): (u32, u32)) -> bool {
    (guild.0 >> clarion_model::id::SEQUENCE_BITS) % u64::from(of) == u64::from(which)
}

impl Hub {
    /// Serves those who wait for an account, once its replica is there and kept up.
    pub(super) async fn serve_waiting(&mut self, user: UserId) {
        let Some(entry) = self.users.get_mut(&user) else { return };
        if entry.state.is_none() || entry.follow.phase == Phase::Routing {
            return;
        }
        for waiting in std::mem::take(&mut entry.waiting) {
            match waiting.what {
                Wanted::Watch(reply) => {
                    // Whoever asked may be gone.
                    let _ = reply.send(true);
                }
                Wanted::Open(request, reply) => self.open(*request, reply).await,
                Wanted::Adopt(adoption) => self.adopt(adoption).await,
            }
        }
    }

    /// Starts a session whose user's replica is there.
    async fn open(&mut self, request: OpenRequest, reply: oneshot::Sender<Option<Opened>>) {
        let user = request.user.id;
        let mut chance = [0; CHANCE];
        let Some(entry) = self.users.get(&user) else { return };
        let Some(state) = &entry.state else { return };
        if reply.is_closed() || entry.is_revoked(&request.token) || getrandom::fill(&mut chance).is_err() {
            return;
        }
        let on_shard = |id: &GuildId| is_on_shard(*id, request.shard);
        let guilds: Vec<GuildId> = state.guilds.iter().copied().filter(on_shard).collect();
        let account = state.user.clone();
        let read_states = (!account.bot).then(|| state.read_states.values().map(ReadState::from).collect());
        let Some(seat) = self.seats.next() else { return };
        let place = Place { gateway: self.number, shard: seat.shard, seat: seat.seat };
        let identity = Arc::new(Identity {
            id: place.to_id(chance),
            user,
            token: request.token,
            intents: request.intents,
            shard: request.shard,
            large_threshold: request.large_threshold,
        });
        let before = self.word_of(user);
        let devices = Devices::one(request.device, request.presence.status);
        let occupant = Occupant {
            identity: identity.clone(),
            presence: Presence { devices, ..request.presence },
            device: request.device,
            guilds: guilds.iter().copied().collect(),
            since: self.turn + 1,
        };
        if let Some(entry) = self.users.get_mut(&user) {
            entry.sessions.insert(seat);
            entry.showing.add(seat, occupant.device, &occupant.presence);
        }
        self.seats.take(seat, occupant);
        self.unkept.insert(identity.id.clone(), Some(seat));
        self.say_word(user, &before, String::new());
        let mut dispatches = vec![dispatch::ready(&Ready {
            user: &account,
            session_id: &identity.id,
            resume_gateway_url: &request.resume_url,
            guilds: &guilds,
            shard: request.shard,
            read_states,
            instance: &self.instance,
        })];
        for guild in guilds {
            if let Some((_, told)) = self.expect(guild, seat, identity.listener()) {
                dispatches.extend(told);
            }
        }
        let session_id = identity.id.clone();
        self.tell(seat.shard, Command::Open { seat: seat.seat, identity, link: request.link, dispatches }).await;
        // A client that is gone leaves a session behind, which waits to be resumed like any other.
        let _ = reply.send(Some(Opened { seat, session_id }));
    }

    /// A session's user's account lists a guild.
    pub(super) fn expect(&mut self, guild: GuildId, seat: Seat, listener: Listener) -> Option<super::guild::Joined> {
        let is_new = !self.guilds.contains_key(&guild);
        let entry = self.guilds.entry(guild).or_insert_with(GuildEntry::new);
        let joined = entry.expect(seat, listener, &self.presences.watched);
        if is_new {
            self.route(Key::Guild(guild), Duration::ZERO);
        }
        // For those who come after this one.
        self.sample(guild);
        joined
    }

    /// A session shows itself differently.
    pub(super) fn set_presence(&mut self, seat: Seat, presence: Presence, traceparent: String) {
        let Some(user) = self.seats.get(seat).map(|occupant| occupant.identity.user) else { return };
        let before = self.word_of(user);
        self.show(seat, |occupant| {
            let devices = Devices::one(occupant.device, presence.status);
            occupant.presence = Presence { devices, ..presence };
        });
        self.say_word(user, &before, traceparent);
    }

    /// Changes how a session shows itself.
    fn show(&mut self, seat: Seat, change: impl FnOnce(&mut Occupant)) {
        let Some(occupant) = self.seats.get_mut(seat) else { return };
        let Some(entry) = self.users.get_mut(&occupant.identity.user) else { return };
        entry.showing.remove(seat, occupant.device, &occupant.presence);
        change(occupant);
        self.unkept.insert(occupant.identity.id.clone(), Some(seat));
        entry.showing.add(seat, occupant.device, &occupant.presence);
    }

    /// A session asks who is in a guild. Of members of a large guild it hears from now on, if it asks for presences.
    pub(super) async fn request_members(&mut self, seat: Seat, request: &MembersRequest, reply: oneshot::Sender<()>) {
        let mut reply = Some(reply);
        if let Some((asking, entry)) = self.asked_guild(seat, request)
            && entry.is_large()
            && members::with_presences(asking, request)
            && let Some(state) = &entry.state
        {
            let users: Vec<UserId> = members::found(state, asking, request).collect();
            if self.subscribe(seat, request.guild_id, &users, request, &mut reply) {
                return;
            }
        }
        self.answer_members(seat, request).await;
        // Whoever asked may be gone.
        let _ = reply.map(|reply| reply.send(()));
    }

    /// The answer, with what is known of presences.
    pub(super) async fn answer_members(&mut self, seat: Seat, request: &MembersRequest) {
        let Some((asking, entry)) = self.asked_guild(seat, request) else { return };
        let Some(state) = &entry.state else { return };
        let dispatches = members::answer(state, &self.presences.watched, asking, request);
        self.tell(seat.shard, Command::Push { seat: seat.seat, dispatches }).await;
    }

    fn asked_guild(&self, seat: Seat, request: &MembersRequest) -> Option<(Listener, &GuildEntry)> {
        let occupant = self.seats.get(seat).filter(|o| o.guilds.contains(&request.guild_id))?;
        Some((occupant.identity.listener(), self.guilds.get(&request.guild_id)?))
    }

    /// A shard has ended a session; the seat is free.
    pub(super) fn session_ended(&mut self, ended: Ended) {
        let seat = Seat { shard: ended.shard, seat: ended.seat };
        self.drop_session(seat, |session| VoiceCommand::Ended { session });
        self.seats.release(seat);
    }

    /// Nothing is delivered to a session any more, and voice is told what became of it. What other sessions of its user show
    /// is shown from now on.
    pub(super) fn drop_session(&mut self, seat: Seat, told: impl FnOnce(String) -> VoiceCommand) {
        let Some(user) = self.seats.get(seat).map(|occupant| occupant.identity.user) else { return };
        let before = self.word_of(user);
        let Some(occupant) = self.seats.vacate(seat) else { return };
        self.adopted.forget(&occupant.identity.id, seat);
        self.unkept.insert(occupant.identity.id.clone(), None);
        self.gone.push(told(occupant.identity.id.clone()));
        if let Some(entry) = self.users.get_mut(&user) {
            entry.sessions.remove(&seat);
            entry.showing.remove(seat, occupant.device, &occupant.presence);
            entry.wanted_at = Instant::now();
        }
        self.say_word(user, &before, String::new());
        for guild in occupant.guilds {
            if let Some(entry) = self.guilds.get_mut(&guild) {
                entry.leave(seat, guild);
            }
        }
        let mut touched = BTreeSet::new();
        for (guild, user) in self.presences.subscriptions.end(seat) {
            if let Some(entry) = self.guilds.get_mut(&guild) {
                entry.unsubscribe(seat, user);
                touched.insert(guild);
            }
        }
        for guild in touched {
            self.rewatch(guild);
        }
    }

    /// Sessions have a gap that cannot be filled, or may not go on: their clients are told.
    pub(super) async fn end_sessions(&mut self, seats: impl IntoIterator<Item = Seat>, why: crate::shard::End) {
        for seat in seats.into_iter().collect::<BTreeSet<_>>() {
            self.drop_session(seat, |session| VoiceCommand::Ended { session });
            self.tell(seat.shard, Command::End { seat: seat.seat, why }).await;
        }
    }
}
