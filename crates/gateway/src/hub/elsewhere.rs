//! Sessions that come from another gateway, and those that go to one.
//!
//! One that goes is told nothing from some point of each stream on; the points go along. One that comes is told everything
//! from some point on, which its shard keeps for it; what lies between the two points is read from the logs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clarion_model::event::{Event, LogEntry, UserEvent};
use clarion_model::guild::GuildState;
use clarion_model::id::GuildId;
use clarion_model::key::{Key, Position};
use clarion_model::presence::Devices;
use clarion_model::user::TokenHash;
use clarion_proto::v1;
use clarion_proto::v1::follow_request::Request;
use clarion_proto::v1::follow_response::Response;
use futures_util::future::try_join_all;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use super::guild::GuildEntry;
use super::opening::is_on_shard;
use super::seats::Occupant;
use super::{GivenUp, Hub, Seat};
use crate::api::dispatch;
use crate::directory::{Directory, Target};
use crate::frame::Dispatch;
use crate::handover::Kept;
use crate::session::CannotResume;
use crate::shard::{Command, End, Identity, Resumption};
use crate::voice::Command as VoiceCommand;

/// How long a session waits until the keys it hears of are followed.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long reading what was missed may take.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// Most events of one key that are read for one session.
const MISSED: usize = 10_000;

/// A session on its way here, with the socket of its client.
pub(crate) struct Adoption {
    pub(crate) kept: Kept,
    pub(crate) token: TokenHash,
    pub(crate) resume: Resumption,
    pub(crate) reply: oneshot::Sender<Result<Seat, CannotResume>>,
    pub(crate) since: Instant,
}

/// How far sessions had been told at one moment, and what is known of those that changed.
pub(crate) struct Marked {
    pub(crate) turn: u64,
    pub(crate) positions: BTreeMap<Key, Position>,
    /// By id; `None`: it is over.
    pub(crate) changes: Vec<(String, Option<Kept>)>,
    /// Sessions, by their seats' numbers, that wait to be told of a guild.
    pub(crate) unready: BTreeSet<u64>,
    /// Of each shard.
    pub(crate) sequences: Vec<(u16, oneshot::Receiver<Sequences>)>,
}

/// The latest number of each seat of a shard.
pub(crate) type Sequences = Vec<(u32, u64)>;

/// A stretch of a log: after the first, up to and with the second.
type Stretch = (Key, Position, Position);

/// What a session missed has been read, or could not be.
pub(super) struct Fetched {
    adoption: Adoption,
    seat: Seat,
    /// The guilds as they were at the ends of the stretches.
    states: BTreeMap<GuildId, Arc<GuildState>>,
    entries: Result<Vec<(Key, Vec<LogEntry>)>, CannotResume>,
}

/// Whether a session can be seated.
enum Readiness {
    Ready,
    NotYet,
    Never,
}

impl std::fmt::Debug for Adoption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Adoption").field("id", &self.kept.id).finish_non_exhaustive()
    }
}

impl Adoption {
    /// Whether nobody waits for it any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn refuse(self, why: CannotResume) {
        // Whoever asked may be gone.
        let _ = self.reply.send(Err(why));
    }
}

impl Hub {
    /// A session is told nothing more; it goes on elsewhere.
    pub(super) async fn give_up(&mut self, seat: Seat, id: &str, seen: Option<u64>) -> Option<GivenUp> {
        let occupant = self.seats.get(seat).filter(|occupant| occupant.identity.id == id)?;
        let kept = self.kept(seat, occupant);
        // It is not over: its calls go along.
        self.drop_session(seat, |session| VoiceCommand::HandedOver { session });
        let (reply, exported) = oneshot::channel();
        self.tell(seat.shard, Command::Export { seat: seat.seat, seen, reply }).await;
        Some((kept, exported))
    }

    /// A session as the hub knows it.
    fn kept(&self, seat: Seat, occupant: &Occupant) -> Kept {
        let identity = &occupant.identity;
        let user = self.users.get(&identity.user).and_then(|entry| entry.follow.position());
        let guilds = occupant.guilds.iter().filter_map(|id| {
            let entry = self.guilds.get(id).filter(|entry| entry.has(seat))?;
            Some((Key::Guild(*id), entry.follow.position()?))
        });
        Kept {
            id: identity.id.clone(),
            user: identity.user,
            intents: identity.intents,
            shard: identity.shard,
            large_threshold: identity.large_threshold,
            presence: occupant.presence.clone(),
            device: occupant.device,
            sequence: 0,
            replay: Vec::new(),
            positions: user.map(|at| (Key::User(identity.user), at)).into_iter().chain(guilds).collect(),
            seat: seat.number(),
            since: occupant.since,
        }
    }

    /// How far sessions have been told, now: what is told to a shard after this is not in it. With `all`, every session is
    /// described, else those that changed.
    pub(super) async fn checkpoint(&mut self, all: bool) -> Marked {
        self.turn += 1;
        let users = self.users.iter().filter(|(_, entry)| !entry.sessions.is_empty());
        let users = users.filter_map(|(id, entry)| Some((Key::User(*id), entry.follow.position()?)));
        let guilds = self.guilds.iter().filter_map(|(id, entry)| Some((Key::Guild(*id), entry.follow.position()?)));
        let positions = users.chain(guilds).collect();
        let mut unkept = std::mem::take(&mut self.unkept);
        if all {
            unkept = self.seats.with_seats().map(|(seat, o)| (o.identity.id.clone(), Some(seat))).collect();
        }
        let changes = unkept.into_iter().map(|(id, seat)| {
            let occupant = seat.and_then(|seat| Some((seat, self.seats.get(seat)?)));
            // How far it has been told is not part of the description.
            let kept =
                occupant.map(|(seat, occupant)| Kept { positions: BTreeMap::new(), ..self.kept(seat, occupant) });
            (id, kept)
        });
        let changes = changes.collect();
        // Those who have not been told of a guild yet cannot go on from here.
        let unready: BTreeSet<u64> =
            self.guilds.values().flat_map(GuildEntry::kept_waiting).map(Seat::number).collect();
        let mut sequences = Vec::new();
        for shard in 0..self.shards.len() as u16 {
            let (reply, answer) = oneshot::channel();
            self.tell(shard, Command::Sequences(reply)).await;
            sequences.push((shard, answer));
        }
        Marked { turn: self.turn, positions, changes, unready, sequences }
    }

    /// The replica of a coming session's user is there.
    pub(super) async fn adopt(&mut self, mut adoption: Box<Adoption>) {
        let Some(state) = self.users.get(&adoption.kept.user).and_then(|entry| entry.state.as_ref()) else {
            return adoption.refuse(CannotResume::Gap);
        };
        // Of a gateway that died, all its keys are known; the user's are of interest.
        let (user, shard) = (adoption.kept.user, adoption.kept.shard);
        adoption.kept.positions.retain(|key, _| match *key {
            Key::User(id) => id == user,
            Key::Guild(id) => state.guilds.contains(&id) && is_on_shard(id, shard),
            Key::Direct(_) => false,
        });
        let guilds: Vec<Key> = adoption.kept.positions.keys().copied().collect();
        for key in guilds {
            if let Key::Guild(id) = key
                && !self.guilds.contains_key(&id)
            {
                self.guilds.insert(id, GuildEntry::new());
                self.route(key, Duration::ZERO);
            }
        }
        self.adoptions.push(*adoption);
    }

    /// Seats the sessions whose keys are followed now.
    pub(super) async fn try_adoptions(&mut self, now: Instant) {
        for adoption in std::mem::take(&mut self.adoptions) {
            match self.readiness(&adoption.kept) {
                _ if adoption.is_abandoned() => {}
                Readiness::Ready => self.seat_adopted(adoption).await,
                Readiness::NotYet if now.saturating_duration_since(adoption.since) < PATIENCE => {
                    self.adoptions.push(adoption);
                }
                Readiness::NotYet => adoption.refuse(CannotResume::Unreachable),
                Readiness::Never => adoption.refuse(CannotResume::Gap),
            }
        }
    }

    fn readiness(&self, kept: &Kept) -> Readiness {
        for (key, told) in &kept.positions {
            let (position, is_there, is_in) = match key {
                Key::User(id) => match self.users.get(id) {
                    Some(entry) => (entry.follow.position(), entry.state.is_some(), true),
                    None => return Readiness::Never,
                },
                Key::Guild(id) => match self.guilds.get(id) {
                    Some(entry) => {
                        let is_in = entry.state.as_ref().is_some_and(|state| state.members.contains_key(&kept.user));
                        (entry.follow.position(), !entry.is_held, is_in)
                    }
                    None => return Readiness::Never,
                },
                Key::Direct(_) => return Readiness::Never,
            };
            match position {
                Some(position) if position >= *told && is_there && is_in => {}
                Some(position) if position >= *told && is_there => return Readiness::Never,
                _ => return Readiness::NotYet,
            }
        }
        if kept.positions.contains_key(&Key::User(kept.user)) { Readiness::Ready } else { Readiness::Never }
    }

    /// Gives a session its seat: what happens from now on is kept for it.
    async fn seat_adopted(&mut self, adoption: Adoption) {
        let kept = &adoption.kept;
        let (user, shard) = (kept.user, kept.shard);
        let before = self.word_of(user);
        let Some(entry) = self.users.get(&user).filter(|entry| !entry.is_revoked(&adoption.token)) else {
            return adoption.refuse(CannotResume::Gap);
        };
        let Some(state) = &entry.state else { return adoption.refuse(CannotResume::Gap) };
        let guilds: Vec<GuildId> = state.guilds.iter().copied().filter(|id| is_on_shard(*id, shard)).collect();
        let Some(seat) = self.seats.next() else { return adoption.refuse(CannotResume::Unreachable) };
        let identity = Arc::new(Identity {
            id: kept.id.clone(),
            user,
            token: adoption.token,
            intents: kept.intents,
            shard,
            large_threshold: kept.large_threshold,
        });
        let listener = identity.listener();
        let devices = Devices::one(kept.device, kept.presence.status);
        let presence = clarion_model::presence::Presence { devices, ..kept.presence.clone() };
        let occupant = Occupant {
            identity: identity.clone(),
            presence,
            device: kept.device,
            guilds: guilds.iter().copied().collect(),
            since: self.turn + 1,
        };
        if let Some(entry) = self.users.get_mut(&user) {
            entry.sessions.insert(seat);
            entry.showing.add(seat, occupant.device, &occupant.presence);
        }
        self.seats.take(seat, occupant);
        self.adopted.learn(&kept.id, seat);
        self.unkept.insert(kept.id.clone(), Some(seat));
        self.say_word(user, &before, String::new());
        self.tell(seat.shard, Command::Reserve { seat: seat.seat, identity }).await;

        let (mut stretches, mut states): (Vec<Stretch>, _) = (Vec::new(), BTreeMap::new());
        for (&key, &told) in &kept.positions {
            if let Key::Guild(id) = key
                && let Some(entry) = self.guilds.get_mut(&id)
            {
                entry.adopt(seat, listener);
                states.extend(entry.state.clone().map(|state| (id, state)));
            }
            let here = self.follow(key).and_then(|follow| follow.position());
            stretches.extend(here.filter(|here| *here > told).map(|here| (key, told, here)));
        }
        for guild in guilds {
            if kept.positions.contains_key(&Key::Guild(guild)) {
                self.keep_voice(guild, &kept.id, user).await;
                self.rewatch(guild);
                self.sample(guild);
            } else {
                let joined = self.expect(guild, seat, listener);
                self.welcome(joined).await;
            }
        }
        let directory = self.directory.clone();
        self.fetching.push(Box::pin(async move {
            let reading = try_join_all(stretches.into_iter().map(|stretch| read(&directory, stretch)));
            let entries = tokio::time::timeout(READ_WITHIN, reading).await;
            Fetched { adoption, seat, states, entries: entries.unwrap_or(Err(CannotResume::Unreachable)) }
        }));
    }

    /// What a session missed is known: it is here.
    pub(super) async fn fetched(&mut self, fetched: Fetched) {
        let Fetched { adoption, seat, states, entries } = fetched;
        let Adoption { kept, token, resume, reply, .. } = adoption;
        // It may have ended meanwhile, and somebody else may sit there.
        let listener = self.seats.get(seat).filter(|o| o.identity.id == kept.id).map(|o| o.identity.listener());
        let missed = entries.and_then(|entries| {
            let listener = listener.ok_or(CannotResume::Gap)?;
            let told = entries.iter().map(|(key, stretch)| match key {
                Key::Guild(id) => GuildEntry::missed(states.get(id)?, seat, listener, stretch),
                _ => missed_of_user(stretch, &token, self.users.get(&kept.user)?.state.as_ref()?.user.bot),
            });
            Ok(told.collect::<Option<Vec<_>>>().ok_or(CannotResume::Gap)?.concat())
        });
        match missed {
            Ok(missed) => {
                let sequence = kept.sequence + missed.len() as u64;
                let earlier = kept.replay.into_iter().chain(missed).collect();
                self.tell(seat.shard, Command::Adopt { seat: seat.seat, sequence, earlier, resume, reply }).await;
            }
            Err(why) => {
                let _ = reply.send(Err(why));
                if listener.is_some() {
                    self.end_sessions([seat], End::Invalid).await;
                }
            }
        }
    }
}

/// What the events of a stretch of an account's log make a session see. `None`: the account's guilds or the session's token
/// changed on the way.
fn missed_of_user(stretch: &[LogEntry], token: &TokenHash, is_bot: bool) -> Option<Vec<Dispatch>> {
    let mut told = Vec::new();
    for entry in stretch {
        match &entry.event {
            Event::User(UserEvent::Put(user)) => told.push(dispatch::user_update(user)),
            Event::User(UserEvent::ReadStatePut(put)) if !is_bot => told.push(dispatch::read_state_update(put)),
            Event::User(UserEvent::TokenRevoked { hash }) if hash != token => {}
            Event::User(
                UserEvent::TokenIssued { .. } | UserEvent::ReadStatePut(_) | UserEvent::ReadStateDrop { .. },
            ) => {}
            _ => return None,
        }
    }
    Some(told)
}

/// Reads a stretch of a log from its owner.
async fn read(directory: &Directory, (key, after, upto): Stretch) -> Result<(Key, Vec<LogEntry>), CannotResume> {
    let unreachable = |_| CannotResume::Unreachable;
    let route = directory.route(Target::Key(key)).await.map_err(|_| CannotResume::Unreachable)?;
    let (requests, waiting) = mpsc::channel(1);
    let follow = Request::Follow(v1::FollowKey { key: Some(key.into()), after: Some(after.into()) });
    // There is room: nothing was asked yet.
    let _ = requests.try_send(v1::FollowRequest { request: Some(follow) });
    let answer = directory.client(&route.address).follow(ReceiverStream::new(waiting)).await;
    let mut stream = answer.map_err(unreachable)?.into_inner();
    let mut entries: Vec<LogEntry> = Vec::new();
    while entries.last().is_none_or(|last| last.position < upto) {
        match stream.message().await.map_err(unreachable)?.and_then(|message| message.response) {
            Some(Response::Entry(entry)) if entries.len() < MISSED => {
                entries.push(LogEntry::try_from(entry).map_err(|_| CannotResume::Gap)?);
            }
            Some(Response::Transient(_)) => {}
            Some(Response::Moved(_)) | None => return Err(CannotResume::Unreachable),
            // Too many, or not all that was asked for.
            Some(_) => return Err(CannotResume::Forgotten),
        }
    }
    drop(requests);
    if entries.last().is_some_and(|last| last.position == upto) {
        return Ok((key, entries));
    }
    Err(CannotResume::Gap)
}
