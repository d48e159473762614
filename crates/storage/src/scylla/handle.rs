//! The nouns that write: logs and slots. What belongs to a slot that this process holds goes to the slot's holder, in
//! the order of the first polls.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use clarion_model::key::{Epoch, Key, Position, Slot};
use clarion_observability::metric::Operation;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::apply::Applier;
use super::client::Client;
use super::holder::{Answer, Holder, Lines, Work};
use super::line::{Line, Seen};
use super::news::News;
use super::{record, slots, tail};
use crate::error::{CommitError, ReadError};
use crate::{Batch, LogPage, Logs, SlotRecord, Slots, Tail};

/// What every noun's handle is made of.
pub(super) struct Handle {
    pub(super) client: Arc<Client>,
    pub(super) news: Arc<News>,
    applier: Arc<Applier>,
    held: Mutex<HashMap<Slot, Held>>,
    holders: Mutex<JoinSet<()>>,
    telling: Mutex<JoinSet<()>>,
    /// Where holders run.
    runtime: tokio::runtime::Handle,
}

/// A slot that this process took.
#[derive(Clone)]
struct Held {
    epoch: Epoch,
    queue: Arc<tokio::sync::Mutex<mpsc::Sender<Work>>>,
    lines: Lines,
}

impl Handle {
    pub(super) fn new(client: Client, runtime: tokio::runtime::Handle) -> Self {
        let client = Arc::new(client);
        let applier = Arc::new(Applier::new(client.clone()));
        let news = Arc::new(News::new(client.clone()));
        let mut telling = JoinSet::new();
        telling.spawn_on(news.clone().run(), &runtime);
        let (held, holders) = (Mutex::default(), Mutex::default());
        Self { client, news, applier, held, holders, telling: Mutex::new(telling), runtime }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Slot, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holders(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn telling(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.telling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a slot from now on. Who held it at an earlier epoch finds out by reading the epoch.
    fn hold(&self, slot: Slot, epoch: Epoch) {
        let (send, inbox) = mpsc::channel(self.client.config.queue.max(1));
        let lines = Lines::default();
        let (client, applier, news) = (self.client.clone(), self.applier.clone(), self.news.clone());
        let holder = Holder::new(client, applier, news, slot, epoch, inbox, lines.clone());
        let queue = Arc::new(tokio::sync::Mutex::new(send));
        self.held().insert(slot, Held { epoch, queue, lines });
        let mut holders = self.holders();
        while holders.try_join_next().is_some() {}
        holders.spawn_on(holder.run(), &self.runtime);
    }

    /// Takes nothing new; returns when what was begun has ended.
    pub(super) async fn close(&self) {
        self.held().clear();
        let mut holders = std::mem::take(&mut *self.holders());
        while holders.join_next().await.is_some() {}
        self.telling().abort_all();
        // Whoever is not told looks at everything, later.
        let _ = self.news.write().await;
    }

    /// Ends the holders without waiting for what they have begun.
    pub(super) fn abort(&self) {
        self.held().clear();
        self.holders().abort_all();
        self.telling().abort_all();
    }

    /// Has the holder of a key's slot do something.
    async fn submit<T>(
        &self,
        key: Key,
        epoch: Option<Epoch>,
        make: impl FnOnce(Answer<T>) -> Work,
    ) -> Result<T, CommitError> {
        let slot = key.slot();
        let held = self.held().get(&slot).filter(|held| epoch.is_none_or(|epoch| epoch == held.epoch)).cloned();
        let Some(held) = held else { return Err(self.not_held(slot).await) };
        let (answer, answered) = oneshot::channel();
        let work = make(answer);
        // One at a time waits for a place, and the others, in order, for their turn.
        let sent = held.queue.lock().await.send(work).await;
        if sent.is_ok()
            && let Ok(answer) = answered.await
        {
            return answer;
        }
        // Its holder has ended, so that what it knew is old.
        self.held().extract_if(|at, other| *at == slot && other.epoch == held.epoch).for_each(drop);
        Err(match self.not_held(slot).await {
            CommitError::Fenced(owner) if owner == held.epoch => CommitError::Unknown("the slot was given up".into()),
            error => error,
        })
    }

    /// What to say to somebody who writes into a slot that is not held at that epoch.
    async fn not_held(&self, slot: Slot) -> CommitError {
        match slots::get(&self.client, slot).await {
            Ok(record) => CommitError::Fenced(record.epoch),
            Err(error) => CommitError::Unknown(error.to_string()),
        }
    }

    async fn open_log(&self, key: Key, epoch: Epoch) -> Result<Tail, CommitError> {
        let unread = |error: ReadError| CommitError::Unknown(error.to_string());
        // Who was fenced must not be told an end that is none any more.
        let owner = slots::get(&self.client, key.slot()).await.map_err(unread)?.epoch;
        if owner != epoch {
            return Err(CommitError::Fenced(owner));
        }
        let held = self.held().get(&key.slot()).is_some_and(|held| held.epoch == epoch);
        if !held {
            // Another process took the slot: it alone seals and writes.
            return Ok(tail::read(&self.client, key).await.map_err(unread)?.tail());
        }
        self.submit(key, Some(epoch), |answer| Work::Open { key, answer }).await
    }

    /// Whether this process took a slot, and does not know yet that another one did after it.
    pub(super) fn holds(&self, slot: Slot) -> bool {
        self.held().get(&slot).is_some_and(|held| !held.lines.is_ended())
    }

    /// Something of a log that is open in this process.
    fn own<T>(&self, key: Key, look: impl FnOnce(&Line) -> T) -> Option<T> {
        let lines = self.held().get(&key.slot()).map(|held| held.lines.clone())?;
        lines.lock().get(&key).map(look)
    }

    /// Where a log ends that is open in this process.
    pub(super) fn own_tail(&self, key: Key) -> Option<Tail> {
        self.own(key, Line::tail)
    }

    /// What may be seen of a log: what its owner has acknowledged, where that is this process.
    async fn seen(&self, key: Key) -> Result<Seen, ReadError> {
        if let Some(seen) = self.own(key, Line::seen) {
            return Ok(seen);
        }
        // Only its seal says what of the last owner's rows is part of it.
        if self.holds(key.slot())
            && self.submit(key, None, |answer| Work::Open { key, answer }).await.is_ok()
            && let Some(seen) = self.own(key, Line::seen)
        {
            return Ok(seen);
        }
        tail::seen(&self.client, key).await
    }
}

#[async_trait]
impl Logs for Handle {
    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        let (key, epoch) = (batch.key, batch.epoch);
        let encoded = batch.entries.iter().map(record::encode).collect();
        let write = self.submit(key, Some(epoch), |answer| Work::Commit { batch, encoded, answer });
        self.client.change(Operation::Commit, "batch", "logs", write).await
    }

    async fn open(&self, key: Key, epoch: Epoch) -> Result<Tail, CommitError> {
        self.client.change(Operation::ReadLog, "tail", "logs", self.open_log(key, epoch)).await
    }

    async fn read(&self, key: Key, after: Position, limit: usize) -> Result<LogPage, ReadError> {
        let read = async {
            let seen = self.seen(key).await?;
            if after < seen.trimmed {
                return Ok(LogPage { entries: Vec::new(), complete: false });
            }
            let entries = tail::entries(&self.client, key, &seen, after, limit).await?;
            Ok(LogPage { entries: tail::plain(entries), complete: true })
        };
        self.client.query(Operation::ReadLog, "range", "logs", read).await
    }

    async fn trim(&self, key: Key, upto: Position) -> Result<(), CommitError> {
        let trim = self.submit(key, None, |answer| Work::Trim { key, upto, answer });
        self.client.change(Operation::Commit, "trim", "logs", trim).await
    }
}

#[async_trait]
impl Slots for Handle {
    async fn get(&self, slot: Slot) -> Result<SlotRecord, ReadError> {
        self.client.query(Operation::ReadSlot, "get", "slots", slots::get(&self.client, slot)).await
    }

    async fn raise(&self, slots: &[Slot], owner: &str) -> Result<Vec<Epoch>, CommitError> {
        // A slot that is named twice is raised twice, one after the other.
        let raise = async {
            let mut epochs = vec![Epoch::default(); slots.len()];
            let mut left: Vec<_> = (0..slots.len()).collect();
            while !left.is_empty() {
                let mut now = BTreeSet::new();
                let (places, later): (Vec<_>, _) = left.into_iter().partition(|place| now.insert(slots[*place]));
                let raised = slots::raise(&self.client, now, owner).await?;
                for place in places {
                    epochs[place] = raised.get(&slots[place]).copied().unwrap_or_default();
                }
                left = later;
            }
            Ok(epochs)
        };
        let epochs = self.client.change(Operation::RaiseEpoch, "raise", "slots", raise).await?;
        for (slot, epoch) in slots.iter().zip(&epochs) {
            self.hold(*slot, *epoch);
        }
        Ok(epochs)
    }
}
