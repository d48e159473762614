//! The hub and the presence server: what is said there of users with sessions here, whom it is asked to tell of, and what
//! clients then see.
//!
//! The gateway watches users, because it has the members of the guilds that its sessions are in: all members of a small
//! guild, in a large one those whom sessions asked for. What changes is told to clients once a second at most, for all
//! guilds at once, encoded once a guild and user; a first change after a quiet second at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clarion_model::id::{GuildId, UserId};
use clarion_model::limits::{PRESENCE_LISTED, PRESENCE_SUBSCRIPTIONS};
use clarion_model::presence::Presence;
use clarion_proto::v1;
use clarion_proto::v1::attend_request::Request;
use clarion_proto::v1::attend_response::Response;
use tokio::sync::{mpsc, oneshot};

use super::guild::Outgoing;
use super::subscriptions::Subscriptions;
use super::watched::{Watch, Watched};
use super::{Hub, Seat};
use crate::conversation::MembersRequest;
use crate::presence::Heard;
use crate::shard::{Command, Delivery, Variant};

/// How often a client is told of presences at most.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Most users watched. Others look offline.
const WATCHED: usize = 500_000;
/// Users in one message.
const BATCH: usize = 4_096;
/// Words in one message.
const WORDS: usize = 256;
/// Members among whom those who are there are looked for, in a large guild, at a time.
const SAMPLED: usize = 16_384;
/// For how long it is taken as known who is there in a large guild.
const SAMPLE_TTL: Duration = Duration::from_secs(10);
/// How long a client waits for what the presence server is asked for its sake.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the hub has to do with the presence server.
pub(super) struct Presences {
    /// The stream, when there is one.
    requests: Option<mpsc::Sender<v1::AttendRequest>>,
    pub(super) watched: Watched,
    pub(super) subscriptions: Subscriptions,
    /// Questions asked; the last one's number.
    asked: u64,
    /// Who waits for an answer, in the order of the questions.
    waiting: VecDeque<(u64, Instant, Waiting)>,
    told_at: Option<Instant>,
    /// From then on, whoever was not told of since the stream began is not there.
    all_told_at: Option<Instant>,
}

/// What waits for an answer.
enum Waiting {
    /// A guild that sessions are to come to.
    Guild(GuildId),
    /// A request for members; of these nothing was known before.
    Members(Seat, Box<MembersRequest>, oneshot::Sender<()>, Vec<UserId>),
}

impl Presences {
    pub(super) fn new() -> Self {
        Self {
            requests: None,
            watched: Watched::new(WATCHED),
            subscriptions: Subscriptions::new(PRESENCE_SUBSCRIPTIONS),
            asked: 0,
            waiting: VecDeque::new(),
            told_at: None,
            all_told_at: None,
        }
    }

    /// When there will be something to do, if nothing else comes.
    pub(super) fn due(&self) -> Option<Instant> {
        let told = self.watched.has_changed().then(|| self.told_at.map_or_else(Instant::now, |at| at + TELL_EVERY));
        told.into_iter()
            .chain(self.all_told_at)
            .chain(self.waiting.front().map(|(_, since, _)| *since + PATIENCE))
            .min()
    }

    /// Says or asks something. `false`: there is no stream, or it takes no more and is given up.
    fn send(&mut self, request: Request) -> bool {
        let Some(requests) = &self.requests else { return false };
        let sent = requests.try_send(v1::AttendRequest { request: Some(request) }).is_ok();
        if !sent {
            // Without its sender the stream ends, and everything is said again over the next one.
            self.requests = None;
        }
        sent
    }

    /// Asks to be told of users. Answers the number of the question, if anybody is there to answer.
    fn watch(&mut self, users: Vec<UserId>) -> Option<u64> {
        let mut asked = None;
        for users in users.chunks(BATCH) {
            self.asked += 1;
            let user_ids = users.iter().map(|user| user.0).collect();
            let sent = self.send(Request::Watch(v1::Watch { token: self.asked, user_ids }));
            asked = sent.then_some(self.asked);
        }
        asked
    }
}

impl Hub {
    /// Takes what came from the presence server.
    pub(super) async fn presence_heard(&mut self, heard: Heard) {
        match heard {
            Heard::Attended { requests, lease } => {
                self.presences.requests = Some(requests);
                self.presences.watched.begin();
                // Another gateway may be attending again just now: until it had the time, nothing is held against it.
                self.presences.all_told_at = Some(Instant::now() + lease);
                self.say_everything();
            }
            Heard::Lost => {
                self.presences.requests = None;
                self.presences.all_told_at = None;
                self.answered(u64::MAX).await;
            }
            Heard::Told(Response::Changes(changes)) => {
                for (user, presence) in readable(changes.changes) {
                    self.presences.watched.tell(user, presence);
                }
            }
            Heard::Told(Response::Sampled(sampled)) => {
                if let Some(guild) = self.guilds.get_mut(&GuildId(sampled.guild_id)) {
                    guild.listed = readable(sampled.presences).map(|(user, p)| (user, Arc::new(p))).collect();
                }
            }
            Heard::Told(Response::Answered(token)) => self.answered(token).await,
            Heard::Told(Response::Welcome(_)) => {}
        }
    }

    fn say_everything(&mut self) {
        let here: Vec<UserId> = self.users.iter().filter(|(_, u)| !u.sessions.is_empty()).map(|(id, _)| *id).collect();
        for users in here.chunks(WORDS) {
            let words = users.iter().map(|user| word(*user, &self.word_of(*user))).collect();
            self.presences.send(Request::Words(v1::Words { words, traceparent: String::new() }));
        }
        self.presences.send(Request::AllSaid(true));
        let watched: Vec<UserId> = self.presences.watched.all().collect();
        self.presences.watch(watched);
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
            self.presences.send(Request::Words(v1::Words { words: vec![word(user, &now)], traceparent }));
        }
    }

    /// Watches whom a guild's sessions are to hear of, and nobody else. Answers the number of the question, if one had to
    /// be asked.
    pub(super) fn rewatch(&mut self, guild: GuildId) -> Option<u64> {
        let (more, fewer) = self.guilds.get_mut(&guild)?.rewatch();
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
        let last: Vec<u64> =
            users.into_iter().filter(|user| watched.unwatch(guild, *user)).map(|user| user.0).collect();
        for user_ids in last.chunks(BATCH) {
            self.presences.send(Request::Unwatch(v1::Unwatch { user_ids: user_ids.to_vec() }));
        }
    }

    /// A guild's state has come for the first time. `true`: its sessions wait until it is known who is there.
    pub(super) fn begin_presences(&mut self, id: GuildId) -> bool {
        let asked = self.rewatch(id);
        let asked = self.sample(id).or(asked);
        let (Some(asked), Some(guild)) = (asked, self.guilds.get_mut(&id)) else { return false };
        guild.is_held = true;
        self.presences.waiting.push_back((asked, Instant::now(), Waiting::Guild(id)));
        true
    }

    /// Asks who is there in a large guild, if that has not been asked lately.
    pub(super) fn sample(&mut self, id: GuildId) -> Option<u64> {
        let now = Instant::now();
        let guild = self.guilds.get_mut(&id)?;
        let is_known = guild.sampled_at.is_some_and(|at| now.saturating_duration_since(at) < SAMPLE_TTL);
        if is_known || !guild.is_large() || self.presences.requests.is_none() {
            return None;
        }
        guild.sampled_at = Some(now);
        let user_ids = guild.next_sample(SAMPLED).iter().map(|user| user.0).collect();
        self.presences.asked += 1;
        let token = self.presences.asked;
        let sample = v1::Sample { token, guild_id: id.0, limit: PRESENCE_LISTED as u32, user_ids };
        self.presences.send(Request::Sample(sample)).then_some(token)
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
        let asked = touched.into_iter().rev().map(|guild| self.rewatch(guild)).last().flatten();
        // Who is known is in the answer; it is no news to the only one who hears of it.
        let fresh: Vec<UserId> = match self.guilds.get(&id) {
            Some(guild) => users.iter().copied().filter(|user| guild.only_subscriber(seat, *user)).collect(),
            None => Vec::new(),
        };
        self.presences.watched.settle(id, fresh.iter().copied());
        let (Some(asked), Some(reply)) = (asked, reply.take()) else { return false };
        let waiting = Waiting::Members(seat, Box::new(request.clone()), reply, fresh);
        self.presences.waiting.push_back((asked, Instant::now(), waiting));
        true
    }

    /// The presence server has answered all questions up to one.
    async fn answered(&mut self, token: u64) {
        while self.presences.waiting.front().is_some_and(|(asked, _, _)| *asked <= token) {
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
        if self.presences.all_told_at.is_some_and(|at| at <= now) {
            self.presences.all_told_at = None;
            self.presences.watched.forget_untold();
        }
        let late = self.presences.waiting.iter().take_while(|(_, since, _)| *since + PATIENCE <= now).last();
        if let Some(token) = late.map(|(token, _, _)| *token) {
            self.answered(token).await;
        }
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

fn word(user: UserId, presence: &Presence) -> v1::Word {
    v1::Word { user_id: user.0, presence: Some(presence.into()) }
}

/// What can be read; a peer that is too new may say more.
fn readable(changes: Vec<v1::PresenceChange>) -> impl Iterator<Item = (UserId, Presence)> {
    changes.into_iter().filter_map(|change| Some((UserId(change.user_id), Presence::try_from(change.presence?).ok()?)))
}
