//! Who owns what, and how to reach them: answered from what is known, asked of a router otherwise.
//!
//! A router tells of every change. What is known may be old all the same: an owner that is not the owner any more says so,
//! and what another router says next is waited for, or asked. Without routers what is known goes on to be used.

mod following;
mod routers;
mod table;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use clarion_model::id::ChannelId;
use clarion_model::key::{Epoch, Key, Slot};
use clarion_observability::{Span, span};
use clarion_proto::v1;
use clarion_proto::v1::channel_client::ChannelClient;
use clarion_proto::v1::route_request::What;
use clarion_runtime::{Address, Host, Peer, never_reached};
use futures_util::future::BoxFuture;
use prost::Message;
use tokio::sync::watch;
use tonic::{Code, Response, Status};

use routers::Routers;
use table::{Owner, Table};

/// How long a call is tried again while its key changes hands.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest first pause between two tries; each further one may be twice as long.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a slot that has no owner is waited for where every change is told, before a router is asked.
const OWNER_WAIT: Duration = Duration::from_secs(1);
/// How long an answer may take of an owner that is none any more: one who hands over finishes what it has begun.
const LAST_WORD: Duration = Duration::from_millis(250);
/// Largest answer of a channel server: a guild with all its members.
const ANSWER_BYTES: usize = 64 << 20;
/// Connections kept to channel servers. Beyond it all are made anew.
const PEERS: usize = 256;

/// The directory. A clone is the same one.
#[derive(Clone)]
pub(crate) struct Directory(Arc<Inner>);

struct Inner {
    host: Host,
    routers: Routers,
    table: RwLock<Table>,
    /// Counts changes of the table.
    changed: watch::Sender<u64>,
    /// Whether a router tells of every change just now.
    is_followed: watch::Sender<bool>,
    peers: Mutex<HashMap<Address, ChannelClient<Peer>>>,
}

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The key that a channel lies in, and its owner.
    Channel(ChannelId),
    /// The owner of a key.
    Key(Key),
}

/// Where something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) key: Key,
    pub(crate) slot: Slot,
    /// The owner's instance.
    pub(crate) server: Arc<str>,
    pub(crate) address: Address,
    pub(crate) epoch: Epoch,
}

/// Something was not found.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum RouteError {
    /// It does not exist.
    #[error("there is no such channel")]
    Unknown,
    /// Nobody owns it, or nobody knows who does, just now.
    #[error("no owner is known: {0}")]
    Unavailable(String),
}

/// A call came to nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CallError {
    /// There is no such channel.
    #[error("there is no such channel")]
    UnknownChannel,
    /// The owner refuses, and says why.
    #[error("refused: {}", .0.message)]
    Refused(v1::Refusal),
    /// Nobody could be asked, or nobody answered; it may be tried later.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// An answer that the contract does not have.
    #[error("broken: {0}")]
    Broken(String),
}

/// Whether a call may be made again when nobody knows what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Always,
    /// Only when it was certainly not begun.
    IfNotBegun,
}

impl Directory {
    /// A directory that knows nothing but the routers.
    pub(crate) fn new(host: Host, routers: &[Address]) -> Self {
        let routers = Routers::new(&host, routers);
        let (changed, is_followed) = (watch::Sender::new(0), watch::Sender::new(false));
        Self(Arc::new(Inner { host, routers, table: RwLock::default(), changed, is_followed, peers: Mutex::default() }))
    }

    fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn table_mut(&self) -> RwLockWriteGuard<'_, Table> {
        self.0.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds something, from what is known or by asking a router. Looking for a channel is a step of a request's trace.
    pub(crate) async fn route(&self, target: Target) -> Result<Route, RouteError> {
        let mut known = self.table().find(target);
        if known.is_none() {
            known = self.told(target).await;
        }
        if let Some(route) = known {
            if let Target::Channel(channel) = target {
                span::routed(&span::channel_route(None, channel, true), &route.server);
            }
            return Ok(route);
        }
        self.ask(target).await
    }

    /// Waits for an owner where every change is told.
    async fn told(&self, target: Target) -> Option<Route> {
        self.table().key(target)?;
        let (mut changed, mut followed) = (self.0.changed.subscribe(), self.0.is_followed.subscribe());
        let found = async {
            loop {
                changed.borrow_and_update();
                if let Some(route) = self.table().find(target) {
                    return Some(route);
                }
                tokio::select! {
                    changed = changed.changed() => changed.ok()?,
                    _ = followed.wait_for(|followed| !followed) => return None,
                }
            }
        };
        tokio::time::timeout(OWNER_WAIT, found).await.ok().flatten()
    }

    /// Returns when a slot has had another owner for a while than the one that was found.
    async fn moved_on(&self, route: &Route) {
        let mut changed = self.0.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let has_moved = |owner: &Owner| owner.epoch > route.epoch && owner.address != route.address;
            if self.table().owner(route.slot).is_some_and(has_moved) {
                return tokio::time::sleep(LAST_WORD).await;
            }
            if changed.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Where a key lies, as far as is known.
    pub(crate) fn known(&self, key: Key) -> Option<Address> {
        self.table().owner(key.slot()).map(|owner| owner.address.clone())
    }

    async fn ask(&self, target: Target) -> Result<Route, RouteError> {
        let what = match target {
            Target::Channel(channel) => What::ChannelId(channel.0),
            Target::Key(key) => What::Key(key.into()),
        };
        let answer = self.0.routers.route(v1::RouteRequest { what: Some(what) }).await;
        let found = answer.map_err(|status| match status.code() {
            Code::NotFound => RouteError::Unknown,
            _ => RouteError::Unavailable(status.message().to_owned()),
        })?;
        let route = read(found).map_err(RouteError::Unavailable)?;
        self.table_mut().learn(target, &route);
        Ok(route)
    }

    /// The owner of a key is not the one at an address.
    pub(crate) fn forget(&self, key: Key, address: &Address) {
        self.table_mut().forget(key.slot(), address);
    }

    /// A client of a channel server.
    pub(crate) fn client(&self, address: &Address) -> ChannelClient<Peer> {
        let mut peers = self.0.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = peers.get(address) {
            return client.clone();
        }
        if peers.len() >= PEERS {
            peers.clear();
        }
        let client = ChannelClient::new(self.0.host.peer(address)).max_decoding_message_size(ANSWER_BYTES);
        peers.insert(address.clone(), client.clone());
        client
    }

    /// Calls the owner of something. A call whose outcome is unknown is made again: it must be one that can be.
    pub(crate) async fn call<T, F>(&self, target: Target, f: F) -> Result<T, CallError>
    where
        F: Fn(ChannelClient<Peer>, Key) -> BoxFuture<'static, Result<Response<T>, Status>>,
    {
        self.call_with(target, Repeat::Always, f).await
    }

    /// Calls the owner of something, and not again unless it is certain that the first call was not begun.
    pub(crate) async fn call_once<T, F>(&self, target: Target, f: F) -> Result<T, CallError>
    where
        F: Fn(ChannelClient<Peer>, Key) -> BoxFuture<'static, Result<Response<T>, Status>>,
    {
        self.call_with(target, Repeat::IfNotBegun, f).await
    }

    async fn call_with<T, F>(&self, target: Target, repeat: Repeat, f: F) -> Result<T, CallError>
    where
        F: Fn(ChannelClient<Peer>, Key) -> BoxFuture<'static, Result<Response<T>, Status>>,
    {
        let deadline = Instant::now() + PATIENCE;
        let (mut pause, mut rerouted) = (PAUSE, false);
        loop {
            let error = match self.route(target).await {
                Ok(route) => {
                    let answer = tokio::select! {
                        answer = f(self.client(&route.address), route.key) => answer,
                        // Of one that hangs nothing is to be expected.
                        () = self.moved_on(&route) => Err(Status::unavailable("it went to another owner meanwhile")),
                    };
                    let status = match answer {
                        Ok(response) => return Ok(response.into_inner()),
                        Err(status) => status,
                    };
                    let failure = Failure::of(&status);
                    if !matches!(failure, Failure::Final(_)) {
                        self.forget(route.key, &route.address);
                    }
                    match failure {
                        Failure::Final(error) => return Err(error),
                        Failure::NotOwner if !rerouted => {
                            rerouted = true;
                            continue;
                        }
                        Failure::NotOwner | Failure::NotBegun => unavailable(&status),
                        Failure::Unknown if repeat == Repeat::Always => unavailable(&status),
                        Failure::Unknown => return Err(unavailable(&status)),
                    }
                }
                Err(RouteError::Unknown) => return Err(CallError::UnknownChannel),
                Err(RouteError::Unavailable(why)) => CallError::Unavailable(why),
            };
            let wait = pause.mul_f64(0.5 + 0.5 * chance());
            if Instant::now() + wait >= deadline {
                span::fail(&Span::current(), "unavailable");
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            pause *= 2;
        }
    }
}

/// What to do about a call that failed.
#[derive(Debug)]
enum Failure {
    /// It is the answer.
    Final(CallError),
    /// Somebody else owns the key.
    NotOwner,
    /// The call did not reach anybody.
    NotBegun,
    /// It may have been carried out or not.
    Unknown,
}

impl Failure {
    fn of(status: &Status) -> Self {
        if !status.details().is_empty()
            && let Ok(refusal) = v1::Refusal::decode(status.details())
            && refusal.status != 0
        {
            return Self::Final(CallError::Refused(refusal));
        }
        match status.code() {
            Code::FailedPrecondition => Self::NotOwner,
            Code::Unavailable if never_reached(status) => Self::NotBegun,
            // What a connection that breaks half-way looks like, beside the server's own word for it.
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Aborted | Code::DeadlineExceeded => {
                Self::Unknown
            }
            code => Self::Final(CallError::Broken(format!("{code:?}: {}", status.message()))),
        }
    }
}

fn unavailable(status: &Status) -> CallError {
    CallError::Unavailable(status.message().to_owned())
}

fn read(found: v1::RouteResponse) -> Result<Route, String> {
    let key = found.key.ok_or("no key")?;
    let key = Key::try_from(key).map_err(|e| e.to_string())?;
    let address = found.address.parse::<Address>().map_err(|e| e.to_string())?;
    Ok(Route { key, slot: key.slot(), server: found.server.into(), address, epoch: Epoch(found.epoch) })
}

impl From<&Route> for Owner {
    fn from(route: &Route) -> Self {
        Self { server: route.server.clone(), address: route.address.clone(), epoch: route.epoch }
    }
}

/// Between 0 and 1; without randomness all wait equally long.
fn chance() -> f64 {
    let mut byte = [0; 1];
    let _ = getrandom::fill(&mut byte);
    f64::from(byte[0]) / 255.0
}
