//! The task that holds a slot: it takes what is to be written under the slot's keys, from the raising of the epoch until
//! another one is raised, and drives [`Tenure`] over the store.
//!
//! Three things are on their way at a time, one of each: a batch being written to the logs; the slot's epoch being read,
//! for what is written; the tables being brought up to what is acknowledged. A commit is answered after the third.

mod finish;
mod intake;
mod stage;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use clarion_model::key::{Epoch, Key, Position, Slot};
use clarion_model::ownership::{Check, Row, Tenure, Ticket};
use clarion_model::time::Timestamp;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};

use super::apply::Applier;
use super::client::{Client, Fault};
use super::line::Line;
use super::news::News;
use super::record::Stored;
use super::tail::Found;
use crate::error::{CommitError, ReadError};
use crate::{Batch, Tail};

/// Who waits for an answer.
pub(super) type Answer<T> = oneshot::Sender<Result<T, CommitError>>;

/// What a holder is asked to do.
pub(super) enum Work {
    /// Write a batch; its entries are there encoded as well.
    Commit { batch: Batch, encoded: Vec<Vec<u8>>, answer: Answer<()> },
    /// Say where a key's log ends, with what earlier epochs wrote sealed.
    Open { key: Key, answer: Answer<Tail> },
    /// Forget entries of a log.
    Trim { key: Key, upto: Position, answer: Answer<()> },
}

/// The keys whose seals are acknowledged; shared with readers.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<Mutex<HashMap<Key, Line>>>, Arc<AtomicBool>);

/// An entry on its way into the log, and who waits for it.
struct Proposed {
    stored: Stored,
    encoded: Vec<u8>,
    since: Instant,
    answer: Option<Answer<()>>,
}

/// A key that is being opened, and what waits for it.
struct Opening {
    works: VecDeque<Work>,
    /// Since its end was read.
    line: Option<Line>,
    /// Entries that the tables may lack.
    unapplied: Vec<Stored>,
}

/// Somebody who waits until a key has come to a position.
struct Waiter {
    key: Key,
    position: Position,
    answer: Waits,
}

enum Waits {
    Written(Answer<()>),
    Opened(Answer<Tail>),
}

/// Why a slot is not held any more.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// Nobody needs it.
    Closed,
    /// It has another owner.
    Fenced(Epoch),
    /// The fate of a write stayed unknown.
    GivenUp(String),
}

type Read = (Key, Result<Found, ReadError>);
type Applied = (Vec<Row<Proposed>>, Result<(), Fault>);

/// One slot's tenure at work.
pub(super) struct Holder {
    client: Arc<Client>,
    applier: Arc<Applier>,
    news: Arc<News>,
    slot: Slot,
    inbox: mpsc::Receiver<Work>,
    closed: bool,
    tenure: Tenure<Proposed>,
    lines: Lines,
    opening: HashMap<Key, Opening>,
    /// Works that wait for keys to be opened.
    held_back: usize,
    /// Bytes of entries that wait for the next batch.
    bytes: usize,
    tails: FuturesUnordered<BoxFuture<'static, Read>>,
    writing: Option<BoxFuture<'static, (Ticket, Result<(), Fault>)>>,
    due: Option<Check>,
    checking: Option<BoxFuture<'static, (Check, Result<Epoch, ReadError>)>>,
    acknowledged: Vec<Row<Proposed>>,
    applying: Option<BoxFuture<'static, Applied>>,
    waiters: Vec<Waiter>,
    trims: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl Lines {
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<Key, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The slot is not held any more: what is known of it is old.
    fn end(&self) {
        self.1.store(true, Ordering::Release);
        self.lock().clear();
    }

    pub(super) fn is_ended(&self) -> bool {
        self.1.load(Ordering::Acquire)
    }
}

impl Holder {
    /// Holds a slot whose epoch this process has just raised.
    pub(super) fn new(
        client: Arc<Client>,
        applier: Arc<Applier>,
        news: Arc<News>,
        slot: Slot,
        epoch: Epoch,
        inbox: mpsc::Receiver<Work>,
        lines: Lines,
    ) -> Self {
        Self {
            client,
            applier,
            news,
            slot,
            inbox,
            closed: false,
            tenure: Tenure::begin(epoch),
            lines,
            opening: HashMap::new(),
            held_back: 0,
            bytes: 0,
            tails: FuturesUnordered::new(),
            writing: None,
            due: None,
            checking: None,
            acknowledged: Vec::new(),
            applying: None,
            waiters: Vec::new(),
            trims: FuturesUnordered::new(),
        }
    }

    /// Works until the slot is lost, given up or not needed.
    pub(super) async fn run(mut self) {
        let end = self.work().await;
        self.finish(end).await;
    }

    async fn work(&mut self) -> End {
        loop {
            self.start_stages();
            if self.closed && self.is_idle() {
                return End::Closed;
            }
            let has_room = self.has_room() && !self.closed;
            let step = tokio::select! {
                biased;
                (check, read) = ready(&mut self.checking) => self.checked(check, read),
                (ticket, result) = ready(&mut self.writing) => self.written(ticket, result),
                (rows, result) = ready(&mut self.applying) => self.applied(rows, result),
                Some((key, found)) = self.tails.next(), if !self.tails.is_empty() => self.tail_read(key, found),
                Some(()) = self.trims.next(), if !self.trims.is_empty() => Ok(()),
                work = self.inbox.recv(), if has_room => match work {
                    Some(work) => self.take(work),
                    None => {
                        self.closed = true;
                        Ok(())
                    }
                },
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.opening.is_empty()
            && self.writing.is_none()
            && self.due.is_none()
            && self.checking.is_none()
            && self.acknowledged.is_empty()
            && self.applying.is_none()
            && self.trims.is_empty()
            && self.tenure.waiting() == 0
    }

    fn has_room(&self) -> bool {
        let config = &self.client.config;
        self.tenure.waiting() < config.group_entries.max(1)
            && self.bytes < config.group_bytes.max(1)
            && self.held_back + self.waiters.len() + self.trims.len() < config.queue.max(1)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.client.config.write_deadline()
    }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

/// Waits for a stage, for ever if nothing is on its way.
async fn ready<T>(stage: &mut Option<BoxFuture<'static, T>>) -> T {
    match stage {
        Some(future) => {
            let result = future.await;
            *stage = None;
            result
        }
        None => std::future::pending().await,
    }
}
