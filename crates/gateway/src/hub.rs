//! The hub: one actor that follows the logs of guilds and users, keeps their replicas, and tells shards what to deliver.
//!
//! Events of a key reach it in order, and it tells a shard of a session's beginning, joins, leaves and events over one
//! queue: a session sees a guild's state at one point of the stream and every event after it. It never waits for a
//! client, only for a shard whose inbox is full.

mod devices;
mod elsewhere;
mod encode;
mod events;
mod follow;
mod guild;
mod handle;
mod members;
mod opening;
mod presence;
mod seats;
mod stream;
mod subscriptions;
#[cfg(test)]
pub(crate) mod testing;
mod user;
mod voice;
mod watched;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clarion_model::id::{GuildId, UserId};
use clarion_model::key::{Key, Slot};
use clarion_model::rendezvous::Places;
use clarion_observability::metric::GatewayMetrics;
use clarion_proto::v1;
use clarion_proto::v1::follow_request::Request;
use clarion_runtime::{Address, Host};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::accounts::Accounts;
use crate::adopted::Adopted;
use crate::directory::{Directory, Target};
use crate::presence::Heard;
use crate::shard::{self, Ended, Inbox, Ledger};
use crate::voice::{Command as VoiceCommand, VoiceHandle};
use elsewhere::Fetched;
pub(crate) use elsewhere::{Adoption, Marked};
use follow::{Follow, Phase};
use guild::GuildEntry;
use handle::Command;
pub(crate) use handle::{GivenUp, HubHandle, OpenRequest, Opened, handle};
use presence::Presences;
pub(crate) use seats::Seat;
use seats::Seats;
use stream::{Brought, Streams};
use user::{UserEntry, Wanted};

/// What streams brought and the hub has not looked at; streams wait beyond it.
const BROUGHT: usize = 1_024;
/// Most accounts followed. Beyond it nothing is cached and no session begins.
const USERS: usize = 200_000;
const TICK: Duration = Duration::from_secs(1);
/// How long an account is followed that nobody asks for.
const USER_TTL: Duration = Duration::from_secs(300);
/// How long a guild is followed without sessions.
const GUILD_TTL: Duration = Duration::from_secs(60);

/// What the hub is made of.
pub(crate) struct Parts {
    pub(crate) host: Host,
    pub(crate) directory: Directory,
    pub(crate) accounts: Accounts,
    pub(crate) metrics: GatewayMetrics,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) shards: Vec<Inbox>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) ended: mpsc::Receiver<Ended>,
    /// What comes from the presence servers.
    pub(crate) heard: mpsc::Receiver<Heard>,
    /// The presence servers.
    pub(crate) places: Places,
    /// Slots that have another owner.
    pub(crate) moved: mpsc::Receiver<Vec<Slot>>,
    pub(crate) voice: VoiceHandle,
    /// What the gateway is called in this life of it.
    pub(crate) life: String,
    /// The number of this gateway in session ids.
    pub(crate) number: u32,
    /// The sessions of other gateways that are here.
    pub(crate) adopted: Adopted,
    /// Ends the hub.
    pub(crate) stop: CancellationToken,
}

/// The owner of a key was asked for. `None`: nobody knows it just now.
type Routed = (Key, Option<Address>);

/// The hub's state.
pub(crate) struct Hub {
    instance: String,
    directory: Directory,
    accounts: Accounts,
    metrics: GatewayMetrics,
    commands: mpsc::Receiver<Command>,
    shards: Vec<Inbox>,
    ledger: Arc<Ledger>,
    ended: mpsc::Receiver<Ended>,
    heard: mpsc::Receiver<Heard>,
    moved: mpsc::Receiver<Vec<Slot>>,
    voice: VoiceHandle,
    /// What voice is to be told of sessions that are over, or gone on with elsewhere.
    gone: Vec<VoiceCommand>,
    number: u32,
    stop: CancellationToken,
    streams: Streams,
    brought: mpsc::Receiver<Brought>,
    routing: FuturesUnordered<BoxFuture<'static, Routed>>,
    guilds: HashMap<GuildId, GuildEntry>,
    users: HashMap<UserId, UserEntry>,
    seats: Seats,
    presences: Presences,
    adopted: Adopted,
    /// Sessions from elsewhere that wait until the keys they hear of are followed.
    adoptions: Vec<Adoption>,
    /// The number of the latest checkpoint.
    turn: u64,
    /// Sessions that changed or ended since then.
    unkept: HashMap<String, Option<Seat>>,
    fetching: FuturesUnordered<BoxFuture<'static, Fetched>>,
}

impl Hub {
    /// A hub that follows nothing yet.
    pub(crate) fn new(parts: Parts) -> Self {
        let (out, brought) = mpsc::channel(BROUGHT);
        Self {
            instance: parts.host.instance().to_owned(),
            streams: Streams::new(parts.host, parts.life, parts.stop.clone(), out),
            directory: parts.directory,
            accounts: parts.accounts,
            metrics: parts.metrics,
            commands: parts.commands,
            seats: Seats::new(parts.shards.len()),
            shards: parts.shards,
            ledger: parts.ledger,
            ended: parts.ended,
            heard: parts.heard,
            moved: parts.moved,
            voice: parts.voice,
            gone: Vec::new(),
            number: parts.number,
            stop: parts.stop,
            brought,
            routing: FuturesUnordered::new(),
            guilds: HashMap::new(),
            users: HashMap::new(),
            presences: Presences::new(parts.places),
            adopted: parts.adopted,
            adoptions: Vec::new(),
            turn: 0,
            unkept: HashMap::new(),
            fetching: FuturesUnordered::new(),
        }
    }

    /// Works until it is stopped.
    pub(crate) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let due = self.presences.due();
            let due_at = due.unwrap_or_else(Instant::now);
            tokio::select! {
                () = self.stop.cancelled() => break,
                Some(brought) = self.brought.recv() => self.take(brought).await,
                Some(command) = self.commands.recv() => self.command(command).await,
                Some(ended) = self.ended.recv() => self.session_ended(ended),
                Some(heard) = self.heard.recv() => self.presence_heard(heard).await,
                () = tokio::time::sleep_until(due_at.into()), if due.is_some() => self.presences_due(Instant::now()).await,
                Some((key, address)) = self.routing.next() => self.routed(key, address),
                Some(slots) = self.moved.recv() => self.move_on(slots),
                Some(fetched) = self.fetching.next() => self.fetched(fetched).await,
                _ = tick.tick() => {
                    self.sweep(Instant::now());
                    self.doubt_voices(Instant::now()).await;
                }
            }
            for told in std::mem::take(&mut self.gone) {
                self.voice.tell(told).await;
            }
            if !self.adoptions.is_empty() {
                self.try_adoptions(Instant::now()).await;
            }
        }
    }

    async fn command(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Open(request, reply) => {
                let user = request.user.id;
                self.want_user(user, now, Wanted::Open(request, reply));
                self.serve_waiting(user).await;
            }
            Command::Watch(user, reply) => {
                self.want_user(user, now, Wanted::Watch(reply));
                self.serve_waiting(user).await;
            }
            Command::SetPresence(seat, presence, traceparent) => self.set_presence(seat, presence, traceparent),
            Command::RequestMembers(seat, request, reply) => {
                self.request_members(seat, &request, reply).await;
            }
            Command::Adopt(adoption) => {
                let user = adoption.kept.user;
                self.want_user(user, now, Wanted::Adopt(adoption));
                self.serve_waiting(user).await;
            }
            Command::GiveUp(seat, id, seen, reply) => {
                let given = self.give_up(seat, &id, seen).await;
                let _ = reply.send(given);
            }
            Command::Checkpoint(all, reply) => {
                let marked = self.checkpoint(all).await;
                let _ = reply.send(marked);
            }
            Command::ListSeats(reply) => {
                let _ = reply.send(self.seats.with_seats().map(|(seat, o)| (seat, o.identity.id.clone())).collect());
            }
            Command::Tell(session, dispatch) => self.tell_session(&session, dispatch).await,
            Command::CountGuilds(reply) => {
                let counts = self.seats.iter().map(|o| (o.identity.id.clone(), o.guilds.len() as u32)).collect();
                // Whoever asked may be gone.
                let _ = reply.send(counts);
            }
        }
    }

    /// Has an account followed, for somebody who waits.
    fn want_user(&mut self, user: UserId, now: Instant, what: Wanted) {
        if !self.users.contains_key(&user) {
            if self.users.len() >= USERS {
                return;
            }
            self.users.insert(user, UserEntry::new(now));
            self.route(Key::User(user), Duration::ZERO);
        }
        if let Some(entry) = self.users.get_mut(&user) {
            entry.wait(now, what);
        }
    }

    /// Looks for the owner of a key, after a while.
    fn route(&mut self, key: Key, delay: Duration) {
        let directory = self.directory.clone();
        self.routing.push(Box::pin(async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            (key, directory.route(Target::Key(key)).await.ok().map(|route| route.address))
        }));
    }

    /// The owner of a key is known, or not to be found just now.
    fn routed(&mut self, key: Key, address: Option<Address>) {
        let Some(follow) = self.follow(key).filter(|f| f.phase == Phase::Routing) else { return };
        let after = follow.position().map(v1::Position::from);
        let Some(address) = address else { return self.lost(key, None) };
        let directory = &self.directory;
        let stream = self.streams.to(&address, || directory.client(&address));
        let request = Request::Follow(v1::FollowKey { key: Some(key.into()), after });
        if !self.streams.ask(stream, request) {
            return self.lost(key, None);
        }
        if let Some(follow) = self.follow(key) {
            follow.phase = Phase::On(stream);
        }
    }

    /// A key is not followed any more: its owner is looked for again, and is not who was at an address.
    fn lost(&mut self, key: Key, address: Option<&Address>) {
        if let Some(address) = address {
            self.directory.forget(key, address);
        }
        let mut chance = [0; 1];
        // Without chance, everybody waits equally long.
        let _ = getrandom::fill(&mut chance);
        let Some(follow) = self.follow(key) else { return };
        let delay = follow.lose(chance[0]);
        if let Key::User(user) = key {
            // Revocations are not seen meanwhile.
            self.accounts.forget(user);
        }
        self.metrics.follow_restarts.increment(1);
        self.route(key, delay);
    }

    /// Slots have another owner: their keys are followed there. Who had them may be gone, hang, or say so too.
    fn move_on(&mut self, slots: Vec<Slot>) {
        let slots: HashSet<Slot> = slots.into_iter().collect();
        let guilds = self.guilds.iter().map(|(id, guild)| (Key::Guild(*id), guild.follow.phase));
        let users = self.users.iter().map(|(id, user)| (Key::User(*id), user.follow.phase));
        let moved: Vec<_> = guilds.chain(users).filter(|(key, _)| slots.contains(&key.slot())).collect();
        for (key, phase) in moved {
            let Phase::On(stream) = phase else { continue };
            let owner = self.directory.known(key);
            if owner.is_none() || owner.as_ref() == self.streams.address(stream) {
                continue;
            }
            self.streams.ask(stream, Request::Unfollow(key.into()));
            if let Some(follow) = self.follow(key) {
                follow.move_on();
            }
            if let Key::User(user) = key {
                // Revocations are not seen meanwhile.
                self.accounts.forget(user);
            }
            self.metrics.follow_restarts.increment(1);
            self.route(key, Duration::ZERO);
        }
    }

    fn follow(&mut self, key: Key) -> Option<&mut Follow> {
        match key {
            Key::Guild(id) => self.guilds.get_mut(&id).map(|g| &mut g.follow),
            Key::User(id) => self.users.get_mut(&id).map(|u| &mut u.follow),
            Key::Direct(_) => None,
        }
    }

    /// Stops following what nobody needs.
    fn sweep(&mut self, now: Instant) {
        let (mut unneeded, mut phases) = (Vec::new(), Vec::new());
        for (id, user) in &mut self.users {
            user.turn_away(now);
            if user.is_idle(now, USER_TTL) {
                unneeded.push(Key::User(*id));
                phases.push(user.follow.phase);
            }
        }
        for (id, guild) in &mut self.guilds {
            if guild.is_needed() {
                guild.idle_since = None;
            } else if now.saturating_duration_since(*guild.idle_since.get_or_insert(now)) >= GUILD_TTL {
                unneeded.push(Key::Guild(*id));
                phases.push(guild.follow.phase);
            }
        }
        for (key, phase) in unneeded.into_iter().zip(phases) {
            match key {
                Key::User(id) => {
                    self.users.remove(&id);
                    self.accounts.forget(id);
                }
                Key::Guild(id) => {
                    if let Some(guild) = self.guilds.remove(&id) {
                        self.unwatch(id, guild.watched());
                    }
                }
                Key::Direct(_) => {}
            }
            if let Phase::On(stream) = phase {
                self.streams.ask(stream, Request::Unfollow(key.into()));
            }
        }
    }

    /// Sends a shard a command, waiting while its inbox is full.
    async fn tell(&mut self, shard: u16, mut command: shard::Command) {
        command.count_own(&self.ledger);
        if let Some(inbox) = self.shards.get(usize::from(shard)) {
            // A shard that is gone has no sessions.
            let _ = inbox.send(command).await;
        }
    }
}
