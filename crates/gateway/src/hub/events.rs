//! What streams bring: snapshots, entries of logs, and what rides beside them.

use std::sync::Arc;

use clarion_model::event::{Event, GuildEvent, LogEntry, Transient, UserEvent};
use clarion_model::guild::GuildState;
use clarion_model::id::{GuildId, UserId};
use clarion_model::key::{Key, Position};
use clarion_model::user::UserState;
use clarion_model::voice::VoiceState;
use clarion_observability::log::{self, ErrorInfo, Fields};
use clarion_observability::metric::{DeliveryError, Label, SentType};
use clarion_observability::{Span, TraceContext, span};
use clarion_proto::v1;
use clarion_proto::v1::follow_request::Request;
use clarion_proto::v1::follow_response::Response;
use clarion_proto::v1::snapshot::State;

use super::follow::{Arrival, Phase, Step};
use super::guild::{Joined, Outgoing};
use super::opening::is_on_shard;
use super::stream::Brought;
use super::{Hub, Seat};
use crate::api::dispatch;
use crate::frame::Dispatch;
use crate::shard::{Command, Delivery, End, Outcome, Variant};

impl Hub {
    /// Takes what a stream brought.
    pub(super) async fn take(&mut self, brought: Brought) {
        let stream = brought.stream;
        match brought.response.map(|r| r.response) {
            None => self.stream_broke(stream),
            Some(None) => {}
            Some(Some(Response::Snapshot(snapshot))) => self.snapshot(stream, snapshot).await,
            Some(Some(Response::Entry(entry))) => self.entry(stream, entry).await,
            Some(Some(Response::Transient(transient))) => self.transient(stream, transient).await,
            Some(Some(Response::Voices(voices))) => self.voices(stream, voices),
            Some(Some(Response::Moved(moved))) => {
                if let Some(key) = self.current(stream, moved.key) {
                    let address = self.streams.address(stream).cloned();
                    self.lost(key, address.as_ref());
                }
            }
            Some(Some(Response::Caught(caught))) => {
                if let Some(key) = self.current(stream, caught.key) {
                    if let Some(follow) = self.follow(key) {
                        follow.caught_up();
                    }
                    match key {
                        Key::User(user) => self.serve_waiting(user).await,
                        Key::Guild(guild) => self.compare_voices(guild).await,
                        Key::Direct(_) => {}
                    }
                }
            }
        }
    }

    fn voices(&mut self, stream: u64, voices: v1::VoiceStates) {
        let Some(Key::Guild(id)) = self.current(stream, voices.key) else { return };
        let states = voices.states.into_iter().map(VoiceState::try_from).collect::<Result<Vec<_>, _>>();
        match (states, self.guilds.get_mut(&id)) {
            (Ok(states), Some(guild)) => guild.voices_told(states),
            (Err(e), _) => self.unreadable(Key::Guild(id), &e),
            (Ok(_), None) => {}
        }
    }

    /// The key, if it is followed over this very stream.
    fn current(&mut self, stream: u64, key: Option<v1::Key>) -> Option<Key> {
        let key = Key::try_from(key?).ok()?;
        (self.follow(key)?.phase == Phase::On(stream)).then_some(key)
    }

    fn stream_broke(&mut self, stream: u64) {
        let address = self.streams.address(stream).cloned();
        self.streams.close(stream);
        let on = |phase: Phase| phase == Phase::On(stream);
        let guilds = self.guilds.iter().filter(|(_, g)| on(g.follow.phase)).map(|(id, _)| Key::Guild(*id));
        let users = self.users.iter().filter(|(_, u)| on(u.follow.phase)).map(|(id, _)| Key::User(*id));
        let keys: Vec<_> = guilds.chain(users).collect();
        log::FOLLOW_RESTARTED.emit(Fields { message_count: Some(keys.len() as u64), ..Fields::default() });
        keys.into_iter().for_each(|key| self.lost(key, address.as_ref()));
    }

    async fn snapshot(&mut self, stream: u64, snapshot: v1::Snapshot) {
        let Some(key) = self.current(stream, snapshot.key) else { return };
        let position = snapshot.position.map(Position::from).unwrap_or_default();
        match (key, snapshot.state) {
            (Key::Guild(id), Some(State::Guild(state))) => match GuildState::try_from(state) {
                Ok(state) => self.guild_snapshot(id, position, Some(state)).await,
                Err(e) => self.unreadable(key, &e),
            },
            (Key::Guild(id), _) => self.guild_snapshot(id, position, None).await,
            (Key::User(id), Some(State::User(state))) => match UserState::try_from(state) {
                Ok(state) => self.user_snapshot(id, position, Some(state)).await,
                Err(e) => self.unreadable(key, &e),
            },
            (Key::User(id), _) => self.user_snapshot(id, position, None).await,
            (Key::Direct(_), _) => {}
        }
    }

    async fn guild_snapshot(&mut self, id: GuildId, position: Position, state: Option<GuildState>) {
        let Some(entry) = self.guilds.get_mut(&id) else { return };
        let arrival = entry.follow.arrive(position);
        entry.replace(state);
        if arrival == Arrival::First {
            self.first_voices(id).await;
        } else {
            self.compare_voices(id).await;
        }
        if arrival == Arrival::First && self.begin_presences(id) {
            return;
        }
        self.rewatch(id);
        let Some(entry) = self.guilds.get_mut(&id) else { return };
        if arrival == Arrival::Lost {
            let seats = entry.seats();
            self.end_sessions(seats, End::Invalid).await;
            return;
        }
        let joined = entry.admit_all(&self.presences.watched);
        self.welcome(joined).await;
    }

    async fn user_snapshot(&mut self, id: UserId, position: Position, state: Option<UserState>) {
        let Some(entry) = self.users.get_mut(&id) else { return };
        let arrival = entry.follow.arrive(position);
        entry.state = state;
        if arrival == Arrival::Lost {
            // A token may have been revoked, a guild joined or left.
            self.accounts.forget(id);
            let seats = std::mem::take(&mut entry.sessions);
            self.end_sessions(seats, End::Invalid).await;
        }
        self.serve_waiting(id).await;
    }

    async fn entry(&mut self, stream: u64, entry: v1::LogEntry) {
        let Some(key) = self.current(stream, entry.key) else { return };
        let position = entry.position.map(Position::from).unwrap_or_default();
        let Some(follow) = self.follow(key) else { return };
        match follow.step(position) {
            Step::Drop => return,
            Step::Rewind => {
                let after = follow.position().map(v1::Position::from);
                self.metrics.follow_restarts.increment(1);
                self.streams.ask(stream, Request::Unfollow(key.into()));
                self.streams.ask(stream, Request::Follow(v1::FollowKey { key: Some(key.into()), after }));
                return;
            }
            Step::Apply => {}
        }
        let entry = match LogEntry::try_from(entry) {
            Ok(entry) => entry,
            Err(e) => return self.unreadable(key, &e),
        };
        match (key, entry.event) {
            (Key::Guild(id), Event::Guild(event)) => {
                let Some(guild) = self.guilds.get_mut(&id) else { return };
                let out = guild.apply(&event, entry.at);
                let joined = guild.admit_all(&self.presences.watched);
                if matches!(event, GuildEvent::MemberPut(_) | GuildEvent::MemberRemove(_)) {
                    self.rewatch(id);
                }
                for outgoing in out {
                    self.deliver(outgoing, &entry.traceparent).await;
                }
                self.welcome(joined).await;
            }
            (Key::User(id), Event::User(event)) => self.user_event(id, &event).await,
            _ => {}
        }
    }

    async fn transient(&mut self, stream: u64, transient: v1::TransientEvent) {
        let Some(Key::Guild(id)) = self.current(stream, transient.key) else { return };
        let Some(Ok(event)) = transient.event.map(Transient::try_from) else { return };
        if let Transient::Voice { state, traceparent } = event {
            return self.voice_changed(id, state, &traceparent).await;
        }
        let Some(guild) = self.guilds.get_mut(&id) else { return };
        for outgoing in guild.ride(&event) {
            self.deliver(outgoing, "").await;
        }
    }

    async fn user_event(&mut self, id: UserId, event: &UserEvent) {
        let Some(entry) = self.users.get_mut(&id) else { return };
        let Some(state) = &mut entry.state else { return };
        state.apply(event);
        let sessions: Vec<Seat> = entry.sessions.iter().copied().collect();
        match event {
            UserEvent::Put(user) => {
                self.accounts.changed(user);
                for seat in sessions {
                    self.push(seat, vec![dispatch::user_update(user)]).await;
                }
            }
            UserEvent::ReadStatePut(put) if !state.user.bot => {
                let dispatch = dispatch::read_state_update(put);
                for seat in sessions {
                    self.push(seat, vec![dispatch.clone()]).await;
                }
            }
            UserEvent::TokenIssued { .. } | UserEvent::ReadStatePut(_) | UserEvent::ReadStateDrop { .. } => {}
            UserEvent::TokenRevoked { hash } => {
                entry.revoke(*hash);
                self.accounts.revoked(hash);
                let theirs = |seat: &Seat| self.seats.get(*seat).is_some_and(|o| o.identity.token == *hash);
                let theirs: Vec<_> = sessions.into_iter().filter(theirs).collect();
                self.end_sessions(theirs, End::Revoked).await;
            }
            UserEvent::GuildJoined(guild) => {
                for seat in sessions {
                    let Some(occupant) = self.seats.get_mut(seat) else { continue };
                    let identity = occupant.identity.clone();
                    if is_on_shard(*guild, identity.shard) {
                        occupant.guilds.insert(*guild);
                        let joined = self.expect(*guild, seat, identity.listener());
                        self.welcome(joined).await;
                    }
                }
            }
            UserEvent::GuildLeft(guild) => {
                for seat in sessions {
                    if let Some(occupant) = self.seats.get_mut(seat) {
                        occupant.guilds.remove(guild);
                    }
                    let told = self.guilds.get_mut(guild).and_then(|entry| entry.leave(seat, *guild));
                    self.push(seat, told.into_iter().collect()).await;
                }
            }
        }
    }

    /// Sessions are in a guild now.
    pub(super) async fn welcome(&mut self, joined: impl IntoIterator<Item = Joined>) {
        for (seat, told) in joined {
            self.push(seat, told.into_iter().collect()).await;
        }
    }

    async fn push(&mut self, seat: Seat, dispatches: Vec<Dispatch>) {
        if !dispatches.is_empty() {
            self.tell(seat.shard, Command::Push { seat: seat.seat, dispatches }).await;
        }
    }

    /// Sends one event to every shard with somebody to get it.
    pub(super) async fn deliver(&mut self, out: Outgoing, traceparent: &str) {
        let parent = TraceContext::parse(traceparent);
        let outcome = (parent.is_some() || out.message.is_some()).then(|| {
            let span = parent.map(|parent| span::gateway_deliver(&parent, SentType::of(out.name).as_str()));
            Arc::new(Outcome::new(span.unwrap_or_else(Span::none), out.message))
        });
        let variants = self.ledger.share(out.variants);
        for cohort in out.cohorts.iter() {
            let here =
                |(seat, variant): &(Seat, Variant)| (seat.shard == cohort.shard).then_some((seat.seat, *variant));
            let groups = [(Variant::Full, &cohort.full), (Variant::Stripped, &cohort.stripped)];
            let groups = groups.into_iter().filter(|(_, seats)| !seats.is_empty());
            let delivery = Delivery {
                variants: variants.clone(),
                groups: groups.map(|(variant, seats)| (variant, seats.clone())).collect(),
                exceptions: out.exceptions.iter().filter_map(here).collect(),
                receipt: out.receipt,
                outcome: outcome.clone(),
            };
            self.tell(cohort.shard, Command::Deliver(delivery)).await;
        }
    }

    /// A peer sent what cannot be read: it is of a version that is too new. What it says is lost, but not silently.
    fn unreadable(&self, key: Key, error: &dyn std::error::Error) {
        self.metrics.delivery_failures.with(DeliveryError::Encode).increment(1);
        let error = Some(ErrorInfo::new("encode", error));
        log::MESSAGE_DELIVERY_FAILED.emit(Fields { error, detail: Some(key.to_string()), ..Fields::default() });
    }
}
