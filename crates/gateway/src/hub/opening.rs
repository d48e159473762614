//! Sessions begin, change how they show themselves, ask, and end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clarion_model::id::{GuildId, UserId};
use clarion_model::key::Key;
use clarion_model::presence::Presence;
use clarion_proto::v1;
use clarion_proto::v1::follow_request::Request;
use tokio::sync::oneshot;

use super::guild::GuildEntry;
use super::seats::Occupant;
use super::user::Wanted;
use super::{Hub, OpenRequest, Opened, Phase, Seat, members};
use crate::api::dispatch::{self, Ready};
use crate::conversation::MembersRequest;
use crate::session_id::{CHANCE, Place};
use crate::shard::{Command, Ended, Identity};
use crate::visibility::Listener;

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
        let Some(seat) = self.seats.next() else { return };
        let place = Place { gateway: self.number, shard: seat.shard, seat: seat.seat };
        let identity = Arc::new(Identity {
            id: place.to_id(chance),
            user,
            token: request.token,
            intents: request.intents,
            shard: request.shard,
        });
        let occupant = Occupant {
            identity: identity.clone(),
            presence: request.presence,
            guilds: guilds.iter().copied().collect(),
        };
        self.seats.take(seat, occupant);
        if let Some(entry) = self.users.get_mut(&user) {
            entry.sessions.insert(seat);
        }
        let mut dispatches = vec![dispatch::ready(&Ready {
            user: &account,
            session_id: &identity.id,
            resume_gateway_url: &request.resume_url,
            guilds: &guilds,
            shard: request.shard,
            instance: &self.instance,
        })];
        for guild in guilds {
            if let Some((seat, told)) = self.expect(guild, seat, Listener { user, intents: identity.intents }) {
                dispatches.extend(told);
                self.tell_presence(guild, seat);
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
        let joined = self.guilds.entry(guild).or_insert_with(GuildEntry::new).expect(seat, listener);
        if is_new {
            self.route(Key::Guild(guild), Duration::ZERO);
        }
        joined
    }

    /// A session shows itself differently.
    pub(super) fn set_presence(&mut self, seat: Seat, presence: Presence) {
        let Some(occupant) = self.seats.get_mut(seat) else { return };
        occupant.presence = presence;
        for guild in occupant.guilds.clone() {
            self.tell_presence(guild, seat);
        }
    }

    /// Tells the owner of a guild how a user shows themselves here: as their session on this seat says.
    pub(super) fn tell_presence(&mut self, guild: GuildId, seat: Seat) {
        let Some(occupant) = self.seats.get(seat) else { return };
        let (user, presence) = (occupant.identity.user, occupant.presence.clone());
        self.say_presence(guild, user, &presence);
    }

    /// Tells the owner of a guild how all users with sessions here show themselves: it forgot with the last stream.
    pub(super) fn tell_presences(&mut self, guild: GuildId) {
        let Some(entry) = self.guilds.get(&guild) else { return };
        for (_, seat) in entry.users().collect::<Vec<_>>() {
            self.tell_presence(guild, seat);
        }
    }

    fn say_presence(&mut self, guild: GuildId, user: UserId, presence: &Presence) {
        let Some(Phase::On(stream)) = self.guilds.get(&guild).map(|g| g.follow.phase) else { return };
        let request =
            v1::SetPresence { key: Some(Key::Guild(guild).into()), user_id: user.0, presence: Some(presence.into()) };
        self.streams.ask(stream, Request::Presence(request));
    }

    /// A session asks who is in a guild.
    pub(super) async fn request_members(&mut self, seat: Seat, request: &MembersRequest) {
        let Some(occupant) = self.seats.get(seat).filter(|o| o.guilds.contains(&request.guild_id)) else { return };
        let Some(entry) = self.guilds.get(&request.guild_id) else { return };
        let Some(state) = &entry.state else { return };
        let asking = Listener { user: occupant.identity.user, intents: occupant.identity.intents };
        let dispatches = members::answer(state, &entry.presences, asking, request);
        self.tell(seat.shard, Command::Push { seat: seat.seat, dispatches }).await;
    }

    /// A shard has ended a session; the seat is free.
    pub(super) fn session_ended(&mut self, ended: Ended) {
        let seat = Seat { shard: ended.shard, seat: ended.seat };
        self.drop_session(seat);
        self.seats.release(seat);
    }

    /// Nothing is delivered to a session any more. What other sessions of its user show is shown from now on.
    pub(super) fn drop_session(&mut self, seat: Seat) {
        let Some(occupant) = self.seats.vacate(seat) else { return };
        let user = occupant.identity.user;
        if let Some(entry) = self.users.get_mut(&user) {
            entry.sessions.remove(&seat);
            entry.wanted_at = Instant::now();
        }
        for guild in occupant.guilds {
            let Some(entry) = self.guilds.get_mut(&guild) else { continue };
            entry.leave(seat, guild);
            match entry.seat_of(user) {
                Some(other) => self.tell_presence(guild, other),
                None => self.say_presence(guild, user, &Presence::default()),
            }
        }
    }

    /// Sessions have a gap that cannot be filled, or may not go on: their clients are told.
    pub(super) async fn end_sessions(&mut self, seats: impl IntoIterator<Item = Seat>, why: crate::shard::End) {
        for seat in seats.into_iter().collect::<BTreeSet<_>>() {
            self.drop_session(seat);
            self.tell(seat.shard, Command::End { seat: seat.seat, why }).await;
        }
    }
}
