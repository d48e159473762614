//! The committer: the one thread that writes. It makes groups of what waits, and a group durable with one sync.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use clarion_model::key::{Epoch, Key, Position, Slot};
use clarion_model::limits::NONCE_TTL;
use clarion_model::time::Timestamp;
use clarion_observability::metric::StorageMetrics;
use clarion_observability::{ErrorInfo, Fields, log};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};

use super::Config;
use super::db::{Db, record};
use super::pending::Pending;
use super::room::{LOOK_EVERY, Room};
use super::schema::{self, NonceRow, SlotRow, Table, TailRow};
use super::stage::Staged;
use crate::error::{CommitError, ReadError};
use crate::growth::Growth;

/// Who waits for an answer.
pub(super) type Answer<T> = oneshot::Sender<Result<T, CommitError>>;

/// What the committer is asked to do.
pub(super) enum Work {
    /// Write a batch.
    Commit { staged: Staged, answer: Answer<()> },
    /// Take slots.
    Raise { slots: Vec<Slot>, owner: String, answer: Answer<Vec<Epoch>> },
    /// Forget entries of a log.
    Trim { key: Key, positions: Vec<Position>, answer: Answer<()> },
}

/// What waits for the committer. Once the store closes, only what is there already.
pub(super) struct Inbox {
    work: mpsc::Receiver<Work>,
    closing: Option<oneshot::Receiver<()>>,
}

/// An answer that is due when the group is durable.
enum Due {
    Written { slot: Slot, epoch: Epoch, answer: Answer<()> },
    Refused { error: CommitError, answer: Answer<()> },
    Raised { epochs: Vec<Epoch>, answer: Answer<Vec<Epoch>> },
    Trimmed { answer: Answer<()> },
}

/// What the thread owns.
pub(super) struct Committer {
    db: Arc<Db>,
    inbox: Inbox,
    failure: watch::Sender<Option<String>>,
    metrics: StorageMetrics,
    /// The slots as the database has them, with the raises of the group that is being written.
    slots: BTreeMap<Slot, SlotRow>,
    /// Nonces up to this age row were forgotten. Kept so that a look for more need not pass the removed rows again.
    swept: Vec<u8>,
    room: Room,
    group_batches: usize,
    group_bytes: usize,
    growth: Arc<Growth>,
}

impl Inbox {
    pub(super) fn new(work: mpsc::Receiver<Work>, closing: oneshot::Receiver<()>) -> Self {
        Self { work, closing: Some(closing) }
    }

    /// What is to be done next; nothing when the store closes and all that was in the queue is done.
    async fn next(&mut self) -> Option<Work> {
        if let Some(closing) = &mut self.closing {
            tokio::select! {
                biased;
                _ = closing => self.close(),
                work = self.work.recv() => return work,
            }
        }
        // Not `recv`: it would wait for those who have got a place in the queue and not come to use it.
        self.work.try_recv().ok()
    }

    fn close(&mut self) {
        self.closing = None;
        self.work.close();
    }
}

impl Committer {
    pub(super) fn new(
        config: &Config,
        db: Arc<Db>,
        metrics: StorageMetrics,
        inbox: Inbox,
        failure: watch::Sender<Option<String>>,
        growth: Arc<Growth>,
    ) -> Result<Self, ReadError> {
        let mut slots = BTreeMap::new();
        for row in db.view().range(Table::Slots, (Bound::Unbounded, Bound::Unbounded)) {
            let (key, value) = row?;
            let slot = key.as_ref().try_into().map(|number| Slot(u16::from_be_bytes(number)));
            let slot = slot.map_err(|_| ReadError::Damaged("slots: key".into()))?;
            slots.insert(slot, record(Table::Slots, &value)?);
        }
        Ok(Self {
            db,
            inbox,
            failure,
            room: Room::new(config.min_free, metrics.clone()),
            metrics,
            slots,
            swept: Vec::new(),
            group_batches: config.group_batches.max(1),
            group_bytes: config.group_bytes,
            growth,
        })
    }

    /// Works until the store closes, or the database cannot be written.
    pub(super) fn run(mut self, waiting: &Runtime) {
        while let Some(group) = self.next_group(waiting) {
            let mut due = Vec::with_capacity(group.len());
            if let Err(reason) = self.write(group, &mut due) {
                self.fail(reason, due);
                break;
            }
            for due in due {
                self.answer(due);
            }
        }
    }

    fn next_group(&mut self, waiting: &Runtime) -> Option<Vec<Work>> {
        let first = loop {
            self.room.look(self.db.free_bytes());
            let next = waiting.block_on(async { tokio::time::timeout(LOOK_EVERY, self.inbox.next()).await });
            if let Ok(next) = next {
                break next?;
            }
        };
        let mut bytes = first.bytes();
        let mut group = vec![first];
        while group.len() < self.group_batches
            && bytes < self.group_bytes
            && let Ok(next) = self.inbox.work.try_recv()
        {
            bytes += next.bytes();
            group.push(next);
        }
        Some(group)
    }

    /// Makes a group durable. After an error nobody knows what of it is.
    fn write(&mut self, group: Vec<Work>, due: &mut Vec<Due>) -> Result<(), String> {
        // Raises and trims are let through: they are small, and they are how a full store is put right.
        let full = !self.room.look(self.db.free_bytes());
        let db = self.db.clone();
        let mut pending = Pending::new(db.view());
        let mut batches = 0u32;
        let mut nonces = (0, Timestamp::default());
        let mut grown = BTreeSet::new();
        let mut staged = Ok(());
        for work in group {
            // After a failure the rest is only taken along, to be told.
            let done = match work {
                Work::Commit { staged: batch, answer } => {
                    let (slot, epoch) = (batch.slot(), batch.epoch);
                    let owner = self.epoch(slot);
                    if owner != epoch {
                        due.push(Due::Refused { error: CommitError::Fenced(owner), answer });
                        continue;
                    }
                    match continues(&pending, &batch) {
                        Ok(true) if !full => {}
                        Ok(_) => {
                            due.push(Due::Refused { error: CommitError::Full, answer });
                            continue;
                        }
                        Err(error) => staged = staged.and(Err(error)),
                    }
                    due.push(Due::Written { slot, epoch, answer });
                    batches += 1;
                    if !batch.positions.is_empty() && !matches!(batch.key, Key::User(_)) {
                        grown.insert(batch.key);
                    }
                    if let Some(at) = batch.nonce_at {
                        nonces = (nonces.0 + 1, nonces.1.max(at));
                    }
                    put_batch(&mut pending, batch)
                }
                Work::Raise { slots, owner, answer } => {
                    let epochs = slots.iter().map(|slot| self.raise(&mut pending, *slot, &owner)).collect();
                    due.push(Due::Raised { epochs, answer });
                    Ok(())
                }
                Work::Trim { key, positions, answer } => {
                    due.push(Due::Trimmed { answer });
                    trim(&mut pending, key, &positions)
                }
            };
            staged = staged.and(done);
        }
        staged.map_err(|error| error.to_string())?;
        if nonces.0 > 0 {
            self.forget_nonces(&mut pending, nonces).map_err(|error| error.to_string())?;
        }
        if pending.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        db.write(pending.into_rows()).map_err(|error| error.to_string())?;
        self.metrics.commit_latency.record_duration(started.elapsed());
        self.metrics.commit_batches.record(batches.into());
        self.growth.tell(grown);
        Ok(())
    }

    /// Answers, now that the group is durable.
    ///
    /// The epoch is looked at here, after the write, and not only before it: between the two a raise may have been in the
    /// group, and once a raise is answered nothing of an earlier epoch may be acknowledged. Raises go through this thread
    /// alone, so the map is what the database says; a store with other writers has to read the database here.
    fn answer(&self, due: Due) {
        // Who has gone away needs no answer.
        let _ = match due {
            Due::Written { slot, epoch, answer } => {
                let owner = self.epoch(slot);
                answer.send(if owner == epoch { Ok(()) } else { Err(CommitError::Fenced(owner)) }).is_ok()
            }
            Due::Refused { error, answer } => answer.send(Err(error)).is_ok(),
            Due::Raised { epochs, answer } => answer.send(Ok(epochs)).is_ok(),
            Due::Trimmed { answer } => answer.send(Ok(())).is_ok(),
        };
    }

    /// Tells everybody who waits, and whoever still comes, that nothing is written any more.
    fn fail(&mut self, reason: String, due: Vec<Due>) {
        let error = ErrorInfo { kind: "failed", detail: reason.clone() };
        log::STORAGE_FAILED.emit(Fields { error: Some(error), fatal: true, ..Fields::default() });
        self.failure.send_replace(Some(reason.clone()));
        let error = CommitError::Failed(reason);
        for due in due {
            due.refuse(error.clone());
        }
        self.inbox.close();
        while let Ok(work) = self.inbox.work.try_recv() {
            work.refuse(error.clone());
        }
    }

    fn epoch(&self, slot: Slot) -> Epoch {
        Epoch(self.slots.get(&slot).map_or(0, |row| row.epoch))
    }

    fn raise(&mut self, pending: &mut Pending<'_>, slot: Slot, owner: &str) -> Epoch {
        let row = SlotRow { epoch: self.epoch(slot).0 + 1, owner: owner.to_owned() };
        pending.put(Table::Slots, schema::slot(slot), &row);
        let epoch = Epoch(row.epoch);
        self.slots.insert(slot, row);
        epoch
    }

    /// Forgets nonces that were too old when the newest of the group were used: two for each one that comes, so that they
    /// cannot grow, and no more, so that no group waits long.
    fn forget_nonces(&mut self, pending: &mut Pending<'_>, (new, at): (usize, Timestamp)) -> Result<(), ReadError> {
        let end = schema::nonce_age(at.before(NONCE_TTL), &[]);
        let range = (Bound::Excluded(self.swept.as_slice()), Bound::Excluded(end.as_slice()));
        let old = pending.base().range(Table::NonceAges, range).take(2 * new).collect::<Result<Vec<_>, _>>()?;
        for (age, _) in old {
            let nonce = age.get(8..).unwrap_or_default();
            let row: Option<NonceRow> = pending.record(Table::Nonces, nonce)?;
            // It may have been used again since.
            if row.is_some_and(|row| schema::number(&age, 0) == Some(row.at_us)) {
                pending.delete(Table::Nonces, nonce.to_vec());
            }
            pending.delete(Table::NonceAges, age.to_vec());
            self.swept = age.to_vec();
        }
        Ok(())
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.failure.send_replace(Some("committer panicked".into()));
        }
    }
}

impl Work {
    fn bytes(&self) -> usize {
        match self {
            Work::Commit { staged, .. } => staged.bytes,
            Work::Raise { .. } | Work::Trim { .. } => 0,
        }
    }

    fn refuse(self, error: CommitError) {
        let _ = match self {
            Work::Commit { answer, .. } | Work::Trim { answer, .. } => answer.send(Err(error)).is_ok(),
            Work::Raise { answer, .. } => answer.send(Err(error)).is_ok(),
        };
    }
}

impl Due {
    fn refuse(self, error: CommitError) {
        let _ = match self {
            Due::Written { answer, .. } | Due::Trimmed { answer } => answer.send(Err(error)).is_ok(),
            Due::Refused { error, answer } => answer.send(Err(error)).is_ok(),
            Due::Raised { answer, .. } => answer.send(Err(error)).is_ok(),
        };
    }
}

/// Whether a batch leaves no hole before it. One does when the batch before it was refused and it was on its way already:
/// who follows the log would wait for what never comes. What was there already may be written again.
fn continues(pending: &Pending<'_>, batch: &Staged) -> Result<bool, ReadError> {
    let Some(first) = batch.positions.first() else { return Ok(true) };
    let tail: TailRow = pending.record(Table::Tails, &schema::key(batch.key))?.unwrap_or_default();
    let tail = tail.position();
    let begins_epoch = first.epoch > tail.epoch && first.offset == 1;
    Ok(*first <= tail || *first == tail.next() || begins_epoch)
}

fn put_batch(pending: &mut Pending<'_>, batch: Staged) -> Result<(), ReadError> {
    if !batch.positions.is_empty() {
        let key = schema::key(batch.key);
        let mut tail: TailRow = pending.record(Table::Tails, &key)?.unwrap_or_default();
        for at in batch.positions {
            // What was there already is written again and counts once.
            if at > tail.position() {
                (tail.epoch, tail.offset) = (at.epoch.0, at.offset);
                tail.entries += 1;
            }
        }
        tail.last_id = tail.last_id.max(batch.last_id);
        pending.put(Table::Tails, key, &tail);
    }
    batch.changes.into_iter().try_for_each(|change| pending.apply(change))
}

fn trim(pending: &mut Pending<'_>, key: Key, positions: &[Position]) -> Result<(), ReadError> {
    let tail_key = schema::key(key);
    let mut tail: TailRow = pending.record(Table::Tails, &tail_key)?.unwrap_or_default();
    // Another trim may have come first.
    for at in positions.iter().filter(|at| **at > tail.trimmed()).copied().collect::<Vec<_>>() {
        pending.delete(Table::Logs, schema::log(key, at));
        (tail.trimmed_epoch, tail.trimmed_offset) = (at.epoch.0, at.offset);
        tail.entries = tail.entries.saturating_sub(1);
    }
    pending.put(Table::Tails, tail_key, &tail);
    Ok(())
}
