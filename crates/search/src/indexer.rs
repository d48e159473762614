//! Follows the logs of all keys into one index.
//!
//! A turn looks at what has grown, takes a batch of it from the logs, goes on with histories that are being read, and
//! writes all of it with how far it got in one commit. Nothing is taken as done that the index has not confirmed: after an
//! error the index is asked how far it is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use clarion_model::event::{Event, GuildEvent, LogEntry};
use clarion_model::key::Key;
use clarion_model::time::Timestamp;
use clarion_observability::metric::{IndexError as Counted, IndexOperation, Label, SearchMetrics};
use clarion_observability::{Instrument, TraceContext, span};
use clarion_storage::index::{Change, Index, IndexError, Progress};
use clarion_storage::{ReadError, Stores};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::audit::{self, Audit};
use crate::failure::Failure;
use crate::keys::{Keys, Known};
use crate::refill::{self, Allowance};
use crate::standing::Standing;

/// Entries that are read from a log at a time.
const PAGE: usize = 512;
/// With nothing to do, the index is looked at this often.
const LOOK: Duration = Duration::from_secs(1);
const PAUSE_LEAST: Duration = Duration::from_millis(200);
const PAUSE_MOST: Duration = Duration::from_secs(5);
/// Between two looks at a difference.
const AUDIT_PAUSE: Duration = Duration::from_millis(500);

/// The indexer of one index.
pub(crate) struct Indexer {
    stores: Stores,
    index: Arc<dyn Index>,
    standing: Standing,
    config: Config,
    metrics: SearchMetrics,
    keys: Keys,
    growth: watch::Receiver<u64>,
    mark: u64,
    /// Messages that may be read from the stores until the next second.
    allowance: Allowance,
    audit: Option<Audit>,
    audit_at: Instant,
    failing: bool,
    /// What was accepted last of that which is in the index.
    written_upto: Timestamp,
    refilling_since: Option<Timestamp>,
}

/// What an indexer does not recover from.
#[derive(Debug)]
pub(crate) enum End {
    /// It was told to stop.
    Stopped,
    /// The index is gone.
    Lost(String),
    /// It was to stop when everything is in the index, and it is.
    Complete,
}

/// What a batch consists of.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    progress: Vec<Progress>,
    /// Of each message that comes: when it was accepted.
    accepted: Vec<Timestamp>,
    /// Of each of these: in which trace it was sent.
    sent: Vec<TraceContext>,
    /// When the oldest and the newest event of the batch were accepted.
    oldest: Option<Timestamp>,
    newest: Timestamp,
    gone: u64,
}

impl Indexer {
    pub(crate) fn new(
        stores: Stores,
        index: Arc<dyn Index>,
        standing: Standing,
        config: Config,
        metrics: SearchMetrics,
    ) -> Self {
        let growth = stores.keys.growth();
        let audit_at = Instant::now() + Duration::from_secs(config.audit_s);
        let allowance = Allowance::new(config.refill_per_s);
        Self {
            stores,
            index,
            standing,
            config,
            metrics,
            keys: Keys::default(),
            growth,
            mark: 0,
            allowance,
            audit: None,
            audit_at,
            failing: false,
            written_upto: Timestamp::default(),
            refilling_since: None,
        }
    }

    /// Works until it is stopped, the index is lost, or, if that was asked for, everything is in it. It is never
    /// interrupted within a turn: what was written counts.
    pub(crate) async fn run(mut self, stop: CancellationToken, until_complete: bool) -> End {
        let mut pause = PAUSE_LEAST;
        let mut known = false;
        while !stop.is_cancelled() {
            let began = Instant::now();
            let turn = async {
                if !known {
                    self.keys.reload(self.index.progress().await?);
                    self.keys.all().for_each(|key| self.standing.set(&key.progress));
                    known = true;
                }
                self.turn().await
            };
            match turn.await {
                Ok(()) => {
                    self.recovered();
                    pause = PAUSE_LEAST;
                    if until_complete && self.is_complete() {
                        return End::Complete;
                    }
                    stop.run_until_cancelled(self.rest(began)).await;
                }
                Err(Failure::Index(IndexError::Lost(why))) => {
                    self.metrics.errors.with(Counted::Lost).increment(1);
                    return End::Lost(why);
                }
                Err(failure) => {
                    self.failed(&failure);
                    // Nobody knows what of the batch is in the index.
                    known = false;
                    stop.run_until_cancelled(tokio::time::sleep(pause)).await;
                    pause = (pause * 2).min(PAUSE_MOST);
                }
            }
        }
        End::Stopped
    }

    async fn turn(&mut self) -> Result<(), Failure> {
        self.growth.mark_unchanged();
        let grown = self.stores.keys.grown(self.mark).await?;
        self.mark = grown.mark;
        self.keys.grown(grown.keys).iter().for_each(|progress| self.standing.set(progress));
        self.standing.set_pending(self.keys.pending());
        let batch = self.gather().await?;
        if batch.progress.is_empty() {
            self.index.check().await?;
        } else {
            self.write(batch).await?;
        }
        let unread = self.unread_since();
        self.standing.set_oldest(unread);
        self.standing.set_pending(self.keys.pending());
        self.compare().await
    }

    /// Takes from logs and stores what fits into one commit.
    async fn gather(&mut self) -> Result<Batch, Failure> {
        let mut batch = Batch::default();
        let mut later: VecDeque<Key> = VecDeque::new();
        while batch.changes.len() < self.config.batch
            && let Some(known) = self.keys.next()
        {
            let key = known.progress.key;
            if known.progress.refill.is_some() && !self.allowance.is_left() {
                later.push_back(key);
                continue;
            }
            if let Err(error) = self.take(&known, &mut batch).await {
                self.keys.put_back(key);
                later.into_iter().for_each(|key| self.keys.put_back(key));
                return Err(error.into());
            }
        }
        later.into_iter().for_each(|key| self.keys.put_back(key));
        Ok(batch)
    }

    /// Takes what there is of one key, some of it if it is much.
    async fn take(&mut self, known: &Known, batch: &mut Batch) -> Result<(), ReadError> {
        if let Some(refill) = known.progress.refill {
            let step = refill::go_on(&self.stores, known, refill).await?;
            self.allowance.take(step.read);
            batch.add(step.changes, step.progress);
            return Ok(());
        }
        let after = known.progress.position;
        let page = self.stores.logs.read(known.progress.key, after, PAGE).await?;
        let is_missing = page.entries.is_empty() && after < known.tail.position;
        if !page.complete || is_missing {
            let step = refill::begin(&self.stores, known, known.tail).await?;
            batch.add(step.changes, step.progress);
            return Ok(());
        }
        let mut reached = after;
        let mut changes = Vec::with_capacity(page.entries.len());
        for entry in page.entries {
            reached = entry.position;
            self.entry(entry, &mut changes, batch).await?;
        }
        batch.add(changes, known.at(reached));
        Ok(())
    }

    async fn entry(&self, entry: LogEntry, changes: &mut Vec<Change>, batch: &mut Batch) -> Result<(), ReadError> {
        let at = entry.at;
        batch.oldest = Some(batch.oldest.map_or(at, |oldest| oldest.min(at)));
        batch.newest = batch.newest.max(at);
        let Event::Guild(event) = entry.event else { return Ok(()) };
        match event {
            GuildEvent::MessageCreate(view) => {
                let documents = refill::documents(&self.stores, vec![view]).await?;
                changes.extend(documents.into_iter().map(Change::Add));
                batch.accepted.push(at);
                batch.sent.extend(TraceContext::parse(&entry.traceparent));
            }
            GuildEvent::MessageUpdate(view) => {
                let documents = refill::documents(&self.stores, vec![view]).await?;
                changes.extend(documents.into_iter().map(Change::Put));
                batch.accepted.push(at);
                batch.sent.extend(TraceContext::parse(&entry.traceparent));
            }
            GuildEvent::MessageDelete { id, .. } => {
                changes.push(Change::Delete(id));
                batch.gone += 1;
            }
            GuildEvent::ChannelDelete(channel) => changes.push(Change::Clear(channel, 0..=u64::MAX)),
            _ => {}
        }
        Ok(())
    }

    async fn write(&mut self, batch: Batch) -> Result<(), Failure> {
        let Batch { mut changes, progress, accepted, sent, oldest, newest, gone } = batch;
        // Events that change nothing in the index are worth no commit: after a restart they are read once more.
        if changes.is_empty() && progress.iter().all(|progress| self.standing.says(progress)) {
            progress.into_iter().for_each(|progress| self.keys.done(progress));
            return Ok(());
        }
        // What waited before goes on waiting until it is written.
        let waiting = self.standing.oldest().into_iter().chain(oldest).min();
        self.standing.set_oldest(waiting);
        let put = changes.iter().filter(|change| matches!(change, Change::Add(_) | Change::Put(_))).count();
        changes.extend(progress.iter().cloned().map(Change::Progress));
        let span = if accepted.is_empty() {
            clarion_observability::Span::none()
        } else {
            span::search_index(&sent, accepted.len())
        };
        let began = Instant::now();
        let written = self.index.write(changes).instrument(span.clone()).await;
        if let Err(error) = written {
            span::fail(&span, error.error_type());
            return Err(error.into());
        }
        self.metrics.commit_latency.record_duration(began.elapsed());
        self.metrics.indexed.with(IndexOperation::Put).increment(put as u64);
        self.metrics.indexed.with(IndexOperation::Delete).increment(gone);
        let now = now();
        for at in accepted {
            self.metrics.index_latency.record_duration(now.since(at));
        }
        for progress in progress {
            self.standing.set(&progress);
            self.keys.done(progress);
        }
        self.written_upto = self.written_upto.max(newest);
        Ok(())
    }

    /// Since when something is in the logs or the stores that is not in the index, as far as is known: what of a log was
    /// not read yet is newer than what was.
    fn unread_since(&mut self) -> Option<Timestamp> {
        if self.keys.is_idle() {
            self.refilling_since = None;
            return None;
        }
        let refilling = self.keys.all().any(|known| known.progress.refill.is_some());
        self.refilling_since = if refilling { self.refilling_since.or_else(|| Some(now())) } else { None };
        let unread = Some(self.written_upto).filter(|at| *at > Timestamp::default() && self.keys.pending() > 0);
        self.refilling_since.into_iter().chain(unread).min()
    }

    /// Goes on with a comparison of index and store, or begins one.
    async fn compare(&mut self) -> Result<(), Failure> {
        if self.config.audit_s == 0 || Instant::now() < self.audit_at || !self.keys.is_idle() && self.audit.is_none() {
            return Ok(());
        }
        let keys = &self.keys;
        let audit = self.audit.get_or_insert_with(|| {
            let settled = keys.all().filter(|known| known.progress.ready && known.progress.refill.is_none());
            Audit::new(settled.map(|known| (known.progress.key, known.covered)))
        });
        match audit.step(&self.stores, &self.index).await {
            Ok(audit::Step::Agreed) => {}
            Ok(audit::Step::LookAgain) => self.audit_at = Instant::now() + AUDIT_PAUSE,
            Ok(audit::Step::Repair(changes)) => {
                let count = changes.len() as u64;
                self.index.write(changes).await?;
                self.metrics.repaired.increment(count);
                clarion_observability::log::INDEX_REPAIRED.emit(clarion_observability::Fields {
                    message_count: Some(count),
                    ..clarion_observability::Fields::default()
                });
            }
            Ok(audit::Step::Over) => {
                self.audit = None;
                self.audit_at = Instant::now() + Duration::from_secs(self.config.audit_s);
            }
            Err(failure) => {
                self.audit = None;
                self.audit_at = Instant::now() + Duration::from_secs(self.config.audit_s);
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Waits until there is something to do, and for the time between two commits.
    async fn rest(&mut self, began: Instant) {
        let auditing = self.audit.is_some() && Instant::now() >= self.audit_at;
        if self.keys.is_idle() && !auditing {
            let soon = if self.audit.is_some() { AUDIT_PAUSE } else { LOOK };
            // An error means that the store is closed; then the process ends.
            let _ = tokio::time::timeout(soon, self.growth.changed()).await;
        }
        tokio::time::sleep(self.config.commit_pause().saturating_sub(began.elapsed())).await;
    }

    fn is_complete(&self) -> bool {
        self.keys.all().all(|known| known.progress.ready && known.progress.refill.is_none())
            && self.keys.pending() < self.config.batch as u64
    }

    fn failed(&mut self, failure: &Failure) {
        let (counted, error) = (failure.counted(), failure.error());
        self.metrics.errors.with(counted).increment(1);
        // As long as the index does not take anything, nobody knows what it lacks: counted from the first failure.
        self.standing.set_oldest(Some(self.standing.oldest().unwrap_or_else(now)));
        // Once, however often it is tried.
        if !std::mem::replace(&mut self.failing, true) {
            clarion_observability::log::INDEX_FAILED
                .emit(clarion_observability::Fields::error(counted.as_str(), error));
        }
    }

    fn recovered(&mut self) {
        if std::mem::replace(&mut self.failing, false) {
            clarion_observability::log::INDEX_RECOVERED.emit(clarion_observability::Fields::default());
        }
    }
}

impl Batch {
    fn add(&mut self, changes: Vec<Change>, progress: Progress) {
        self.changes.extend(changes);
        self.progress.push(progress);
    }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}
