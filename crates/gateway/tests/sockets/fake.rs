//! A router, a channel server and a presence server in memory: just enough of the contract to be followed, and to misbehave on demand.
#![allow(clippy::disallowed_methods)] // A fake's tasks end with their streams; its queues are a test's.

mod services;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use clarion_model::event::{Event, GuildEvent, LogEntry, Transient, UserEvent};
use clarion_model::guild::GuildState;
use clarion_model::id::{GuildId, UserId};
use clarion_model::key::{Epoch, Key, Position};
use clarion_model::presence::Presence;
use clarion_model::time::Timestamp;
use clarion_model::token;
use clarion_model::user::{TokenHash, User, UserState};
use clarion_proto::v1;
use clarion_proto::v1::attend_request::Request as Attends;
use clarion_proto::v1::attend_response::Response as Attended;
use clarion_proto::v1::channel_server::{Channel, ChannelServer};
use clarion_proto::v1::follow_request::Request as Asked;
use clarion_proto::v1::follow_response::Response as Told;
use clarion_proto::v1::presences_server::{Presences, PresencesServer};
use clarion_proto::v1::router_server::{Router, RouterServer};
use clarion_runtime::{Address, Host, Listen};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

type Follower = mpsc::UnboundedSender<Result<v1::FollowResponse, Status>>;

/// The world behind the gateway. A clone is the same one.
#[derive(Clone, Default)]
pub(crate) struct World(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    users: HashMap<UserId, UserState>,
    guilds: HashMap<GuildId, GuildState>,
    tokens: HashSet<TokenHash>,
    logs: HashMap<Key, Vec<LogEntry>>,
    /// Logs do not reach back before these.
    floors: HashMap<Key, Position>,
    followers: HashMap<Key, Vec<Follower>>,
    streams: Vec<Follower>,
    words: Vec<v1::Word>,
    /// What others say, and to whom it is told.
    shown: HashMap<UserId, v1::Presence>,
    attending: Vec<mpsc::UnboundedSender<Result<v1::AttendResponse, Status>>>,
    address: String,
    gateway: Option<String>,
    refusing: bool,
}

impl World {
    /// Serves the world as a service of a process.
    pub(crate) fn start(&self, process: &mut clarion_runtime::Process) -> Address {
        let world = self.clone();
        let bind = move |host: Host| async move {
            let listener = host.listen(&Listen::InProcess)?;
            let address = listener.address().clone();
            world.lock().address = address.to_string();
            let routes = Routes::new(ChannelServer::new(world.clone()))
                .add_service(RouterServer::new(world.clone()))
                .add_service(PresencesServer::new(world));
            Ok((address, async move { host.serve_grpc(listener, routes).await }))
        };
        process.start("channel", "channel-0", 1, bind).expect("the fake starts")
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no test panics in here")
    }

    /// A user with a token.
    pub(crate) fn add_user(&self, user: &User, guilds: &[GuildId]) -> String {
        let token = token::mint(user.id, Timestamp::from_millis(1_000), &[user.id.0 as u8; token::SECRET_BYTES]);
        let mut inner = self.lock();
        inner.tokens.insert(token::hash(&token));
        let mut state = UserState::new(user.clone());
        state.guilds.extend(guilds);
        inner.users.insert(user.id, state);
        token
    }

    pub(crate) fn add_guild(&self, state: GuildState) {
        self.lock().guilds.insert(state.guild.id, state);
    }

    pub(crate) fn guild(&self, id: GuildId) -> GuildState {
        self.lock().guilds[&id].clone()
    }

    /// Something happens in a guild.
    pub(crate) fn commit(&self, guild: GuildId, event: GuildEvent) {
        self.commit_traced(guild, event, "");
    }

    pub(crate) fn commit_traced(&self, guild: GuildId, event: GuildEvent, traceparent: &str) {
        let mut inner = self.lock();
        if let Some(state) = inner.guilds.get_mut(&guild) {
            state.apply(&event);
        }
        inner.append(Key::Guild(guild), Event::Guild(event), traceparent);
    }

    /// Something happens in a guild that the streams do not tell.
    pub(crate) fn commit_silently(&self, guild: GuildId, event: GuildEvent) {
        let followers = self.lock().followers.remove(&Key::Guild(guild));
        self.commit(guild, event);
        self.lock().followers.extend(followers.map(|f| (Key::Guild(guild), f)));
    }

    /// Something happens to an account.
    pub(crate) fn commit_user(&self, user: UserId, event: UserEvent) {
        let mut inner = self.lock();
        if let UserEvent::TokenRevoked { hash } = &event {
            inner.tokens.remove(hash);
        }
        if let Some(state) = inner.users.get_mut(&user) {
            state.apply(&event);
        }
        inner.append(Key::User(user), Event::User(event), "");
    }

    pub(crate) fn ride(&self, guild: GuildId, event: &Transient) {
        let transient = v1::TransientEvent { key: Some(Key::Guild(guild).into()), event: Some(event.into()) };
        self.lock().tell(Key::Guild(guild), &Told::Transient(transient));
    }

    /// All streams end; until [`World::recover`] nobody can follow.
    pub(crate) fn break_streams(&self) {
        let mut inner = self.lock();
        inner.refusing = true;
        inner.followers.clear();
        inner.streams.clear();
    }

    pub(crate) fn recover(&self) {
        self.lock().refusing = false;
    }

    /// What gateways said of their users.
    pub(crate) fn words(&self) -> Vec<v1::Word> {
        self.lock().words.clone()
    }

    /// A user shows themselves somewhere else; every gateway is told, whomever it watches.
    pub(crate) fn show(&self, user: UserId, presence: &Presence) {
        let mut inner = self.lock();
        inner.shown.insert(user, presence.into());
        let changes = vec![v1::PresenceChange { user_id: user.0, presence: Some(presence.into()) }];
        let told = Attended::Changes(v1::PresenceChanges { changes });
        inner.attending.retain(|to| to.send(Ok(v1::AttendResponse { response: Some(told.clone()) })).is_ok());
    }

    /// The presence server loses every gateway.
    pub(crate) fn break_attendance(&self) {
        self.lock().attending.clear();
    }

    /// The log of a guild forgets all it has.
    pub(crate) fn truncate(&self, guild: GuildId) {
        let mut inner = self.lock();
        let key = Key::Guild(guild);
        let position = inner.position(key);
        inner.floors.insert(key, position);
    }

    /// Where the gateway answers operators, once it has joined.
    pub(crate) fn gateway(&self) -> Option<String> {
        self.lock().gateway.clone()
    }
}

impl Inner {
    fn position(&self, key: Key) -> Position {
        let start = Position { epoch: Epoch(1), offset: 0 };
        self.logs.get(&key).and_then(|log| log.last()).map_or(start, |entry| entry.position)
    }

    fn append(&mut self, key: Key, event: Event, traceparent: &str) {
        let at = std::time::SystemTime::now().into();
        let entry =
            LogEntry { key, position: self.position(key).next(), at, traceparent: traceparent.to_owned(), event };
        self.tell(key, &Told::Entry((&entry).into()));
        self.logs.entry(key).or_default().push(entry);
    }

    fn tell(&mut self, key: Key, told: &Told) {
        if let Some(followers) = self.followers.get_mut(&key) {
            followers.retain(|f| f.send(Ok(v1::FollowResponse { response: Some(told.clone()) })).is_ok());
        }
    }

    fn follow(&mut self, key: Key, after: Option<Position>, follower: &Follower) {
        let say = |told| {
            let _ = follower.send(Ok(v1::FollowResponse { response: Some(told) }));
        };
        let floor = self.floors.get(&key).copied().unwrap_or(Position::START);
        match after.filter(|after| *after >= floor) {
            Some(after) => {
                let missed = self.logs.get(&key).into_iter().flatten().filter(|e| e.position > after);
                missed.for_each(|entry| say(Told::Entry(entry.into())));
            }
            None => {
                let state = match key {
                    Key::Guild(id) => self.guilds.get(&id).map(|g| v1::snapshot::State::Guild(g.into())),
                    Key::User(id) => self
                        .users
                        .get(&id)
                        .map(|u| v1::snapshot::State::User(clarion_proto::convert::user_state(u, false))),
                    Key::Direct(_) => None,
                };
                say(Told::Snapshot(v1::Snapshot {
                    key: Some(key.into()),
                    position: Some(self.position(key).into()),
                    state: Some(state.unwrap_or(v1::snapshot::State::Absent(true))),
                }));
            }
        }
        say(Told::Caught(v1::Caught { key: Some(key.into()) }));
        self.followers.entry(key).or_default().push(follower.clone());
    }

    fn take(&mut self, asked: Asked, follower: &Follower) {
        match asked {
            Asked::Hello(_) => {}
            Asked::Follow(v1::FollowKey { key, after }) => {
                let key = key.and_then(|k| Key::try_from(k).ok()).expect("a key");
                self.follow(key, after.map(Position::from), follower);
            }
            Asked::Unfollow(key) => {
                let key = Key::try_from(key).expect("a key");
                if let Some(followers) = self.followers.get_mut(&key) {
                    followers.retain(|f| !f.same_channel(follower));
                }
            }
        }
    }
}
