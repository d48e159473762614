//! The hub and the presence servers: what is said there of users with sessions here, whom they are asked to tell of, and
//! what clients then see.
//!
//! The gateway watches users, because it has the members of the guilds that its sessions are in: all members of a small
//! guild, in a large one those whom sessions asked for. What changes is told to clients once a second at most, for all
//! guilds at once, encoded once a guild and user; a first change after a quiet second at once.

mod servers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clarion_model::id::{GuildId, UserId};
use clarion_model::limits::{PRESENCE_LISTED, PRESENCE_SUBSCRIPTIONS};
use clarion_model::presence::Presence;
use clarion_model::rendezvous::Places;
use clarion_proto::v1;
use clarion_proto::v1::attend_request::Request;
use clarion_proto::v1::attend_response::Response;
use tokio::sync::oneshot;

use super::guild::Outgoing;
use super::subscriptions::Subscriptions;
use super::watched::{Watch, Watched};
use super::{Hub, Seat};
use crate::conversation::MembersRequest;
use crate::presence::{Heard, What};
use crate::shard::{Command, Delivery, Variant};
use servers::{Question, Servers};

/// How often a client is told of presences at most.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Most users watched. Others look offline.
const WATCHED: usize = 500_000;
/// Members among whom those who are there are looked for, in a large guild, at a time.
const SAMPLED: usize = 16_384;
/// For how long it is taken as known who is there in a large guild.
const SAMPLE_TTL: Duration = Duration::from_secs(10);
/// How long a client waits for what the presence server is asked for its sake.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the hub has to do with the presence servers.
pub(super) struct Presences {
    servers: Servers,
    pub(super) watched: Watched,
    pub(super) subscriptions: Subscriptions,
    /// Who waits for an answer, in the order of the questions.
    waiting: VecDeque<(Question, Instant, Waiting)>,
    told_at: Option<Instant>,
}

/// What waits for an answer.
enum Waiting {
    /// A guild that sessions are to come to.
    Guild(GuildId),
    /// A request for members; of these nothing was known before.
    Members(Seat, Box<MembersRequest>, oneshot::Sender<()>, Vec<UserId>),
}

impl Presences {
    pub(super) fn new(places: Places) -> Self {
        Self {
            servers: Servers::new(places),
            watched: Watched::new(WATCHED),
            subscriptions: Subscriptions::new(PRESENCE_SUBSCRIPTIONS),
            waiting: VecDeque::new(),
            told_at: None,
        }
    }

    /// When there will be something to do, if nothing else comes.
    pub(super) fn due(&self) -> Option<Instant> {
        let told = self.watched.has_changed().then(|| self.told_at.map_or_else(Instant::now, |at| at + TELL_EVERY));
        told.into_iter()
            .chain(self.servers.due())
            .chain(self.waiting.front().map(|(_, since, _)| *since + PATIENCE))
            .min()
    }

    /// Has users told of by the servers that are to tell of them, as far as these are attended.
    fn watch(&mut self, users: Vec<UserId>) -> Question {
        let placed: Vec<_> = users.into_iter().filter_map(|user| Some((user, self.servers.best(user)?))).collect();
        placed.iter().for_each(|(user, server)| self.watched.place(*user, Some(*server)));
        self.servers.watch(placed)
    }

    /// Servers have come or gone: whoever is to be told of by another one now is watched there. What is known of them
    /// stays known until that one has had the time to tell.
    fn rehome(&mut self, now: Instant) {
        let (mut leave, mut come) = (Vec::new(), Vec::new());
        let moves = self.watched.all().filter_map(|(user, at)| {
            let best = self.servers.best(user);
            (best != at).then_some((user, at, best))
        });
        for (user, at, best) in moves.collect::<Vec<_>>() {
            self.watched.place(user, best);
            leave.extend(at.map(|server| (user, server)));
            come.extend(best.map(|server| (user, server)));
        }
        self.servers.unwatch(leave);
        for server in come.iter().map(|(_, server)| *server).collect::<BTreeSet<_>>() {
            self.servers.asked_of(server, now);
        }
        self.servers.watch(come);
    }
}

impl Hub {
    /// Takes what came from a presence server.
    pub(super) async fn presence_heard(&mut self, heard: Heard) {
        let server = heard.server;
        match heard.what {
            What::Attended { requests, lease } => {
                let now = Instant::now();
                // Another gateway may be attending again just now: until it had the time, nothing is held against it.
                self.presences.servers.attend(server, requests, lease, now);
                self.say_again(server);
                self.presences.servers.send(server, Request::AllSaid(true));
                self.presences.rehome(now);
                self.count_attended();
            }
            What::Lost => {
                if self.presences.servers.lose(server) {
                    if self.presences.servers.are_several() {
                        self.say_again(server);
                    }
                    self.presences.rehome(Instant::now());
                    self.release().await;
                }
                self.count_attended();
            }
            What::Told(Response::Changes(changes)) => {
                for (user, presence) in readable(changes.changes) {
                    self.presences.watched.tell(server, user, presence);
                }
            }
            What::Told(Response::Sampled(sampled)) => {
                if let Some(guild) = self.guilds.get_mut(&GuildId(sampled.guild_id)) {
                    // The others told of theirs.
                    guild.listed.retain(|user, _| self.presences.servers.best(*user) != Some(server));
                    guild.listed.extend(readable(sampled.presences).map(|(user, p)| (user, Arc::new(p))));
                }
            }
            What::Told(Response::Answered(token)) => {
                self.presences.servers.answered(server, token);
                self.release().await;
            }
            What::Told(Response::Welcome(_) | Response::Beat(_)) => {}
        }
    }

    fn count_attended(&self) {
        self.metrics.presence_attended.set(self.presences.servers.attended() as f64);
    }

    /// Says what there is to say of users of a server, to all their servers: which of them counts a user may have changed.
    fn say_again(&mut self, server: usize) {
        let here = self.users.iter().filter(|(_, u)| !u.sessions.is_empty()).map(|(id, _)| *id);
        let here: Vec<UserId> = here.filter(|user| self.presences.servers.of(*user).any(|of| of == server)).collect();
        let words: Vec<_> = here.into_iter().map(|user| (user, self.word_of(user))).collect();
        self.presences.servers.say(words, "");
    }

    /// What a user's sessions here come to.
    pub(super) fn word_of(&self, user: UserId) -> Presence {
        let Some(entry) = self.users.get(&user) else { return Presence::default() };
        entry.showing.word(|seat| self.seats.get(seat).map(|occupant| &occupant.presence))
    }

    /// Says what a user's sessions here come to, if that is not what they came to before.
    pub(super) fn say_word(&mut self, user: UserId, before: &Presence, traceparent: String) {
        let now = self.word_of(user);
        if now != *before {
            self.presences.servers.say([(user, now)], &traceparent);
        }
    }

    /// Watches whom a guild's sessions are to hear of, and nobody else. Answers what had to be asked for it.
    pub(super) fn rewatch(&mut self, guild: GuildId) -> Question {
        let Some(entry) = self.guilds.get_mut(&guild) else { return Question::default() };
        let (more, fewer) = entry.rewatch();
        self.unwatch(guild, fewer);
        let mut unknown = Vec::new();
        for user in more {
            match self.presences.watched.watch(guild, user) {
                Watch::Ask => unknown.push(user),
                Watch::Known => {}
                Watch::Refused => self.metrics.presence_refused.increment(1),
            }
        }
        self.presences.watch(unknown)
    }

    /// A guild's sessions are to hear of users no more.
    pub(super) fn unwatch(&mut self, guild: GuildId, users: impl IntoIterator<Item = UserId>) {
        let watched = &mut self.presences.watched;
        let last = users.into_iter().filter_map(|user| Some((user, watched.unwatch(guild, user)?)));
        self.presences.servers.unwatch(last.collect::<Vec<_>>());
    }

    /// A guild's state has come for the first time. `true`: its sessions wait until it is known who is there.
    pub(super) fn begin_presences(&mut self, id: GuildId) -> bool {
        let asked = self.rewatch(id).and(self.sample(id));
        let Some(guild) = self.guilds.get_mut(&id).filter(|_| !asked.is_empty()) else { return false };
        guild.is_held = true;
        self.presences.waiting.push_back((asked, Instant::now(), Waiting::Guild(id)));
        true
    }

    /// Asks who is there in a large guild, if that has not been asked lately.
    pub(super) fn sample(&mut self, id: GuildId) -> Question {
        let now = Instant::now();
        let Some(guild) = self.guilds.get_mut(&id) else { return Question::default() };
        let is_known = guild.sampled_at.is_some_and(|at| now.saturating_duration_since(at) < SAMPLE_TTL);
        if is_known || !guild.is_large() || self.presences.servers.attended() == 0 {
            return Question::default();
        }
        guild.sampled_at = Some(now);
        self.presences.servers.sample(id.0, &guild.next_sample(SAMPLED), PRESENCE_LISTED)
    }

    /// A session asks to hear of members of a large guild. `false`: all is known that it asks for.
    pub(super) fn subscribe(
        &mut self,
        seat: Seat,
        id: GuildId,
        users: &[UserId],
        request: &MembersRequest,
        reply: &mut Option<oneshot::Sender<()>>,
    ) -> bool {
        let mut touched = vec![id];
        for user in users.iter().take(PRESENCE_SUBSCRIPTIONS) {
            let Some(given_up) = self.presences.subscriptions.add(seat, id, *user) else { continue };
            if let Some(guild) = self.guilds.get_mut(&id) {
                guild.subscribe(seat, *user);
            }
            if let Some((other, user)) = given_up {
                self.metrics.presence_refused.increment(1);
                if let Some(guild) = self.guilds.get_mut(&other) {
                    guild.unsubscribe(seat, user);
                }
                touched.push(other);
            }
        }
        touched.dedup();
        let asked = touched.into_iter().rev().fold(Question::default(), |asked, guild| asked.and(self.rewatch(guild)));
        // Who is known is in the answer; it is no news to the only one who hears of it.
        let fresh: Vec<UserId> = match self.guilds.get(&id) {
            Some(guild) => users.iter().copied().filter(|user| guild.only_subscriber(seat, *user)).collect(),
            None => Vec::new(),
        };
        self.presences.watched.settle(id, fresh.iter().copied());
        let Some(reply) = reply.take_if(|_| !asked.is_empty()) else { return false };
        let waiting = Waiting::Members(seat, Box::new(request.clone()), reply, fresh);
        self.presences.waiting.push_back((asked, Instant::now(), waiting));
        true
    }

    /// Lets those go on whose questions have been answered, or are not going to be.
    async fn release(&mut self) {
        let now = Instant::now();
        while let Some((asked, since, _)) = self.presences.waiting.front() {
            if !self.presences.servers.is_answered(asked) && *since + PATIENCE > now {
                return;
            }
            let Some((_, _, waiting)) = self.presences.waiting.pop_front() else { return };
            match waiting {
                Waiting::Guild(id) => {
                    let Some(guild) = self.guilds.get_mut(&id) else { continue };
                    guild.is_held = false;
                    let watched = guild.watched().collect::<Vec<_>>();
                    let joined = guild.admit_all(&self.presences.watched);
                    self.presences.watched.settle(id, watched);
                    self.welcome(joined).await;
                }
                Waiting::Members(seat, request, reply, fresh) => {
                    self.presences.watched.settle(request.guild_id, fresh);
                    self.answer_members(seat, &request).await;
                    // Whoever asked may be gone.
                    let _ = reply.send(());
                }
            }
        }
    }

    /// Does what is due: tells clients what has changed, and lets nobody wait for too long.
    pub(super) async fn presences_due(&mut self, now: Instant) {
        for (server, is_first) in self.presences.servers.take_due(now) {
            self.presences.watched.forget_untold(server);
            if is_first && self.presences.servers.are_several() {
                self.say_again(server);
                self.presences.rehome(now);
            }
        }
        self.release().await;
        if self.presences.told_at.is_none_or(|at| at + TELL_EVERY <= now) && self.presences.watched.has_changed() {
            self.presences.told_at = Some(now);
            self.tell_changed().await;
        }
    }

    /// One command a shard, which writes all of it in one turn.
    async fn tell_changed(&mut self) {
        let mut by_shard: BTreeMap<u16, Vec<Delivery>> = BTreeMap::new();
        for (guild, user, seen) in self.presences.watched.take_changed() {
            let Some(guild) = self.guilds.get_mut(&guild) else { continue };
            let presence = seen.unwrap_or_default();
            let Some(Outgoing { cohorts, variants, .. }) = guild.show(user, &presence) else { continue };
            let variants = self.ledger.share(variants);
            for cohort in cohorts.iter() {
                by_shard.entry(cohort.shard).or_default().push(Delivery {
                    variants: variants.clone(),
                    groups: vec![(Variant::Full, cohort.full.clone())],
                    exceptions: Vec::new(),
                    receipt: None,
                    outcome: None,
                });
            }
        }
        for (shard, deliveries) in by_shard {
            self.tell(shard, Command::DeliverAll(deliveries)).await;
        }
    }
}

/// What can be read; a peer that is too new may say more.
fn readable(changes: Vec<v1::PresenceChange>) -> impl Iterator<Item = (UserId, Presence)> {
    changes.into_iter().filter_map(|change| Some((UserId(change.user_id), Presence::try_from(change.presence?).ok()?)))
}
