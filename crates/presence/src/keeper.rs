//! Keeps words in the cache: a hash a gateway, a field a user, which run out with the gateway's lease. Each presence server
//! has hashes of its own.
//!
//! It works behind the actor, which never waits for it. What it could not write, or finds changed by somebody else, it
//! has the actor say again as a whole.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clarion_model::id::UserId;
use clarion_model::presence::Presence;
use clarion_observability::log::{self, Fields};
use clarion_observability::metric::{PresenceMetrics, UpdateError};
use clarion_proto::v1;
use clarion_storage::cache::{Cache, CacheError, CacheKey, Observed, Version};
use prost::Message;
use tokio::sync::mpsc;

use crate::actor::Command;

/// The kind of the hashes.
const PREFIX: &str = "presence:gateway";
/// How long the cache may take for one call.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the cache is asked how full it is.
const MEMORY_EVERY: Duration = Duration::from_secs(5);
/// Jobs taken at a time; changes of one gateway among them are one call.
const TURN: usize = 256;

/// What the keeper is to do.
#[derive(Debug)]
pub(crate) enum Keep {
    /// A gateway's word about a user is this now; `None`: it has none.
    Word { gateway: Arc<str>, user: UserId, word: Option<Bytes> },
    /// All that a gateway says.
    All { gateway: Arc<str>, words: Vec<(UserId, Bytes)> },
    /// A gateway gave a sign of life.
    Renew { gateway: Arc<str> },
    /// A gateway's lease ran out.
    Forget { gateway: Arc<str> },
}

/// The keeper's state.
pub(crate) struct Keeper {
    server: Arc<str>,
    cache: Arc<Observed>,
    lease: Duration,
    metrics: PresenceMetrics,
    actor: mpsc::WeakSender<Command>,
    /// The hashes that are as they should be.
    kept: HashMap<Arc<str>, Version>,
}

/// A word as it is kept.
pub(crate) fn encode(word: &Presence) -> Bytes {
    v1::Presence::from(word).encode_to_vec().into()
}

/// What the cache has of a gateway's words, as a server of this name kept them.
pub(crate) async fn found(
    cache: &Observed,
    server: &str,
    gateway: &str,
) -> Result<Vec<(UserId, Presence)>, CacheError> {
    let key = key(server, gateway);
    let hash = patient(cache.read(&key)).await?;
    let fields = hash.into_iter().flat_map(|hash| hash.fields);
    let words = fields.filter_map(|(user, word)| {
        let word = v1::Presence::decode(word).ok()?;
        Some((user.parse().ok()?, Presence::try_from(word).ok()?))
    });
    Ok(words.collect())
}

/// The gateways of which the cache has words that a server of this name kept.
pub(crate) async fn gateways(cache: &Observed, server: &str) -> Result<Vec<String>, CacheError> {
    let all = patient(cache.list(PREFIX)).await?;
    let own = all.iter().filter_map(|id| id.strip_prefix(server)?.strip_prefix('/'));
    Ok(own.map(str::to_owned).collect())
}

async fn patient<T>(call: impl Future<Output = Result<T, CacheError>>) -> Result<T, CacheError> {
    let answer = tokio::time::timeout(PATIENCE, call).await;
    answer.unwrap_or_else(|_| Err(CacheError::Failed("no answer in time".to_owned())))
}

impl Keeper {
    pub(crate) fn new(
        server: Arc<str>,
        cache: Arc<Observed>,
        lease: Duration,
        metrics: PresenceMetrics,
        actor: mpsc::WeakSender<Command>,
    ) -> Self {
        Self { server, cache, lease, metrics, actor, kept: HashMap::new() }
    }

    /// Works until nobody has anything to be kept any more.
    pub(crate) async fn run(mut self, mut jobs: mpsc::Receiver<Keep>) {
        let mut turn = Vec::with_capacity(TURN);
        let mut memory_due = Instant::now();
        while jobs.recv_many(&mut turn, TURN).await > 0 {
            let mut changes: BTreeMap<Arc<str>, Vec<(String, Option<Bytes>)>> = BTreeMap::new();
            for job in turn.drain(..) {
                match job {
                    Keep::Word { gateway, user, word } => {
                        changes.entry(gateway).or_default().push((user.to_string(), word));
                    }
                    Keep::All { gateway, words } => {
                        // It says all that was said before it.
                        changes.remove(&gateway);
                        self.replace(gateway, words).await;
                    }
                    Keep::Renew { gateway } => {
                        if let Some(changes) = changes.remove(&gateway) {
                            self.change(gateway, changes).await;
                        } else {
                            self.renew(gateway).await;
                        }
                    }
                    Keep::Forget { gateway } => {
                        changes.remove(&gateway);
                        self.kept.remove(&gateway);
                        let key = self.key(&gateway);
                        self.done(&gateway, patient(self.cache.forget(&key)).await);
                    }
                }
            }
            for (gateway, changes) in changes {
                self.change(gateway, changes).await;
            }
            if memory_due <= Instant::now() {
                // The gauges follow; an error has been counted.
                let _ = patient(self.cache.memory()).await;
                memory_due = Instant::now() + MEMORY_EVERY;
            }
        }
    }

    fn key(&self, gateway: &str) -> CacheKey {
        key(&self.server, gateway)
    }

    async fn replace(&mut self, gateway: Arc<str>, words: Vec<(UserId, Bytes)>) {
        let fields = words.into_iter().map(|(user, word)| (user.to_string(), word)).collect();
        let kept = patient(self.cache.replace(&self.key(&gateway), fields, self.lease)).await;
        self.keep(gateway, kept);
    }

    async fn change(&mut self, gateway: Arc<str>, changes: Vec<(String, Option<Bytes>)>) {
        let kept = match self.kept.get(&gateway) {
            Some(known) => patient(self.cache.change(&self.key(&gateway), *known, changes, self.lease)).await,
            None => Err(CacheError::Conflict),
        };
        self.keep(gateway, kept);
    }

    async fn renew(&mut self, gateway: Arc<str>) {
        let kept = match self.kept.get(&gateway) {
            Some(known) => patient(self.cache.renew(&self.key(&gateway), *known, self.lease)).await.map(|()| *known),
            None => Err(CacheError::Conflict),
        };
        self.keep(gateway, kept);
    }

    fn keep(&mut self, gateway: Arc<str>, kept: Result<Version, CacheError>) {
        match self.done(&gateway, kept) {
            Some(version) => {
                self.kept.insert(gateway, version);
            }
            None => {
                self.kept.remove(&gateway);
            }
        }
    }

    /// Says what did not work. What was changed by somebody else, or lost, is said again at once; otherwise with the next
    /// sign of life.
    fn done<T>(&self, gateway: &Arc<str>, result: Result<T, CacheError>) -> Option<T> {
        match result {
            Ok(value) => return Some(value),
            Err(CacheError::Conflict) => {
                if let Some(actor) = self.actor.upgrade() {
                    // If there is no room, the next sign of life finds it out again.
                    let _ = actor.try_send(Command::SayAgain(gateway.clone()));
                }
            }
            Err(error) => {
                self.metrics.update_failures.with(UpdateError::Cache).increment(1);
                log::PRESENCE_NOT_KEPT
                    .emit(Fields { detail: Some(gateway.to_string()), ..Fields::error(error.error_type(), &error) });
            }
        }
        None
    }
}

fn key(server: &str, gateway: &str) -> CacheKey {
    CacheKey::new(PREFIX, format!("{server}/{gateway}"))
}
