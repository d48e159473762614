//! The keys in memory: an actor each, started when a key is first asked for, as long as this server holds its slot.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use clarion_model::key::{Epoch, Key, Slot};
use clarion_model::time::Timestamp;
use clarion_observability::metric::ChannelMetrics;
use clarion_observability::{Span, log};
use clarion_runtime::Host;
use clarion_storage::Stores;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Config;
use crate::actor::{self, Ask, Message};
use crate::owner::{Answer, Command, Shared};
use crate::refusal::Refusal;

/// How long released slots may take to finish what is on its way. The store keeps later owners safe from the rest.
const RELEASE: Duration = Duration::from_secs(2);
/// Keys that are loaded at a time without anybody having asked them for something. After a take-over all their followers come
/// at once; whoever asks does not wait behind those.
pub(crate) const LOADING: usize = 32;

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It may not be.
    Refused(Refusal),
    /// This server does not own the key.
    NotOwner,
    /// Not now; whether it happened is not known if it was a write.
    Unavailable(&'static str),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::Refused(refusal)
    }
}

/// The way to an actor.
#[derive(Clone)]
pub(crate) struct Handle {
    id: u64,
    inbox: mpsc::Sender<Message>,
    truth: watch::Receiver<Option<Shared>>,
    leave: CancellationToken,
    usage: Arc<actor::Usage>,
    asked: Arc<Notify>,
}

/// A slot that this server owns.
#[derive(Debug)]
pub(crate) struct Holding {
    pub(crate) slot: Slot,
    pub(crate) epoch: Epoch,
    /// Cancelled when the slot is given up: its actors finish what is on its way, and end.
    pub(crate) ended: CancellationToken,
    actors: TaskTracker,
}

/// All keys of this server. A clone is the same set.
#[derive(Clone)]
pub(crate) struct Keys(Arc<Inner>);

struct Inner {
    host: Host,
    stores: Stores,
    config: Config,
    metrics: ChannelMetrics,
    held: Mutex<HashMap<Slot, Arc<Holding>>>,
    active: Mutex<HashMap<Key, Handle>>,
    ids: AtomicU64,
    changed: watch::Sender<()>,
    streams_end: CancellationToken,
    loading: Semaphore,
}

impl Keys {
    /// No slots yet.
    pub(crate) fn new(host: Host, stores: Stores, config: Config) -> Self {
        let metrics = ChannelMetrics::new(host.telemetry().meter());
        metrics.capacity.set(config.active_keys as f64);
        let inner = Inner {
            host,
            stores,
            config,
            metrics,
            held: Mutex::default(),
            active: Mutex::default(),
            ids: AtomicU64::new(1),
            changed: watch::Sender::new(()),
            streams_end: CancellationToken::new(),
            loading: Semaphore::new(LOADING),
        };
        Self(Arc::new(inner))
    }

    pub(crate) fn host(&self) -> &Host {
        &self.0.host
    }

    pub(crate) fn stores(&self) -> &Stores {
        &self.0.stores
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn metrics(&self) -> &ChannelMetrics {
        &self.0.metrics
    }

    /// Cancelled when all followers are to go.
    pub(crate) fn streams_end(&self) -> &CancellationToken {
        &self.0.streams_end
    }

    /// The places of those that are loaded without having been asked.
    pub(crate) fn loading(&self) -> &Semaphore {
        &self.0.loading
    }

    /// A number that no other actor or stream of this server has.
    pub(crate) fn next_id(&self) -> u64 {
        self.0.ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }

    fn active(&self) -> MutexGuard<'_, HashMap<Key, Handle>> {
        self.0.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held_slots(&self) -> MutexGuard<'_, HashMap<Slot, Arc<Holding>>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ── slots ──

    /// The slots that are held, with their epochs; those that are being given up too, until that is done.
    pub(crate) fn held(&self) -> Vec<(Slot, Epoch)> {
        let mut held: Vec<_> = self.held_slots().values().map(|holding| (holding.slot, holding.epoch)).collect();
        held.sort_unstable();
        held
    }

    /// Changes with what is held.
    pub(crate) fn held_changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// Slots are this server's from now on.
    pub(crate) fn hold(&self, slots: impl IntoIterator<Item = (Slot, Epoch)>) {
        {
            let mut held = self.held_slots();
            for (slot, epoch) in slots {
                let holding = Holding { slot, epoch, ended: CancellationToken::new(), actors: TaskTracker::new() };
                if let Some(before) = held.insert(slot, Arc::new(holding)) {
                    before.ended.cancel();
                }
            }
        }
        self.held_changed();
    }

    /// Gives slots up. Nothing new is begun in them; they count as held until their actors have ended, or have had the time
    /// for it, so that nobody takes them before.
    pub(crate) async fn release(&self, slots: &[Slot]) {
        let holdings: Vec<_> = {
            let held = self.held_slots();
            slots.iter().filter_map(|slot| held.get(slot).cloned()).collect()
        };
        for holding in &holdings {
            holding.ended.cancel();
            holding.actors.close();
        }
        let ended = async {
            for holding in &holdings {
                holding.actors.wait().await;
            }
        };
        let _ = tokio::time::timeout(RELEASE, ended).await;
        {
            let mut held = self.held_slots();
            for holding in &holdings {
                drop_holding(&mut held, holding.slot, holding.epoch);
            }
        }
        self.held_changed();
    }

    /// A write found that a slot has another owner.
    pub(crate) fn fenced(&self, slot: Slot, epoch: Epoch) {
        let Some(holding) = drop_holding(&mut self.held_slots(), slot, epoch) else { return };
        holding.ended.cancel();
        log::SLOT_FENCED.emit(log::Fields::detail(format!("slot {slot} epoch {}", epoch.0)));
        self.held_changed();
    }

    fn held_changed(&self) {
        self.count_slots();
        self.0.changed.send_replace(());
    }

    fn count_slots(&self) {
        self.0.metrics.slots_owned.set(self.held_slots().len() as f64);
    }

    // ── actors ──

    /// Asks a key, and waits for the answer.
    pub(crate) async fn ask(&self, key: Key, command: Command, span: Span) -> Result<Answer, Failure> {
        // An actor that has just left answers that it has, and another one is asked.
        for _ in 0..3 {
            let handle = self.handle(key)?;
            let (reply, answer) = oneshot::channel();
            let ask = Ask::new(command.clone(), span.clone(), reply, self.metrics().queue_depth.hold());
            match handle.inbox.try_send(Message::Ask(Box::new(ask))) {
                Ok(()) => handle.asked.notify_one(),
                Err(mpsc::error::TrySendError::Full(_)) => return Err(Failure::Unavailable("the key is overloaded")),
                Err(mpsc::error::TrySendError::Closed(_)) => {
                    self.forget(key, handle.id);
                    continue;
                }
            }
            match answer.await {
                Ok(actor::Reply::Answer(answer)) => return answer,
                Ok(actor::Reply::Left) => continue,
                Err(_) => return Err(Failure::Unavailable("the key's owner ended")),
            }
        }
        Err(Failure::Unavailable("the key does not stay"))
    }

    /// The durable state of a key, for reading.
    pub(crate) async fn truth(&self, key: Key) -> Result<Shared, Failure> {
        for _ in 0..3 {
            let mut handle = self.handle(key)?;
            handle.usage.touch(self.now());
            handle.asked.notify_one();
            if let Ok(truth) = handle.truth.wait_for(Option::is_some).await
                && let Some(truth) = truth.clone()
            {
                return Ok(truth);
            }
            self.forget(key, handle.id);
        }
        Err(Failure::Unavailable("the key cannot be loaded"))
    }

    /// Tells a key something. `false`: it is not here.
    pub(crate) async fn tell(&self, key: Key, message: Message) -> bool {
        match self.handle(key) {
            Ok(handle) => handle.inbox.send(message).await.is_ok(),
            Err(_) => false,
        }
    }

    /// Tells a key something if it is in memory.
    pub(crate) async fn tell_active(&self, key: Key, message: Message) {
        let handle = self.active().get(&key).cloned();
        if let Some(handle) = handle {
            // Who has left has nothing to remember.
            let _ = handle.inbox.send(message).await;
        }
    }

    /// The actor of a key, started if need be.
    fn handle(&self, key: Key) -> Result<Handle, Failure> {
        let holding = self.held_slots().get(&key.slot()).filter(|h| !h.ended.is_cancelled()).cloned();
        let holding = holding.ok_or(Failure::NotOwner)?;
        let mut active = self.active();
        if let Some(handle) = active.get(&key)
            && !handle.inbox.is_closed()
        {
            return Ok(handle.clone());
        }
        if active.len() >= self.0.config.active_keys && !make_room(&active, self.0.config.active_keys / 16) {
            return Err(Failure::Unavailable("too many keys are active"));
        }
        let (inbox, messages) = mpsc::channel(self.0.config.inbox.max(1));
        let (publish, truth) = watch::channel(None);
        let handle = Handle {
            id: self.next_id(),
            inbox,
            truth,
            leave: CancellationToken::new(),
            usage: Arc::new(actor::Usage::new(self.now())),
            asked: Arc::default(),
        };
        let start = actor::Start {
            key,
            id: handle.id,
            keys: self.clone(),
            holding: holding.clone(),
            inbox: messages,
            publish,
            leave: handle.leave.clone(),
            usage: handle.usage.clone(),
            asked: handle.asked.clone(),
        };
        active.insert(key, handle.clone());
        self.0.metrics.hosted.set(active.len() as f64);
        self.0.host.spawn("key", holding.actors.track_future(actor::run(start)));
        Ok(handle)
    }

    /// An actor has ended.
    pub(crate) fn forget(&self, key: Key, id: u64) {
        let mut active = self.active();
        if active.get(&key).is_some_and(|handle| handle.id == id) {
            active.remove(&key);
            self.0.metrics.hosted.set(active.len() as f64);
        }
    }
}

/// Takes a slot out of those that are held, if it is held at this epoch.
fn drop_holding(held: &mut HashMap<Slot, Arc<Holding>>, slot: Slot, epoch: Epoch) -> Option<Arc<Holding>> {
    if held.get(&slot)?.epoch == epoch { held.remove(&slot) } else { None }
}

/// Asks the keys that were used longest ago to leave, if nobody needs them. `false`: all are needed.
fn make_room(active: &HashMap<Key, Handle>, how_many: usize) -> bool {
    let mut idle: Vec<_> =
        active.values().filter_map(|handle| Some((handle.usage.idle_since()?, &handle.leave))).collect();
    idle.sort_unstable_by_key(|(since, _)| *since);
    idle.iter().take(how_many.max(1)).for_each(|(_, leave)| leave.cancel());
    !idle.is_empty()
}
