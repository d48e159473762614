//! What the nouns' handles have in common: asking a state of the database, and having the committer do something; both
//! with their span and their metrics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clarion_observability::log::{self, Fields};
use clarion_observability::metric::{Label, Operation, QueryError, StorageMetrics};
use clarion_observability::{Instrument, Span, span};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::Failure;
use super::committer::{Answer, Work};
use super::db::{Db, View};
use super::schema::Table;
use crate::error::{CommitError, ReadError};
use crate::growth::Growth;

/// A query that takes longer is worth a line.
const SLOW: Duration = Duration::from_secs(1);

/// What every noun's handle is made of.
pub(super) struct Handle {
    pub(super) db: Arc<Db>,
    pub(super) queue: Queue,
    pub(super) failure: Failure,
    pub(super) metrics: StorageMetrics,
    pub(super) growth: Arc<Growth>,
}

/// The way to the committer, in the order of the first polls, also when it is full: a queue with several places alone
/// would let a newcomer take a free one while those who were woken for others have not come yet.
pub(super) struct Queue {
    places: Mutex<mpsc::Sender<Work>>,
}

impl Queue {
    pub(super) fn new(queue: mpsc::Sender<Work>) -> Self {
        Self { places: Mutex::new(queue) }
    }

    /// Puts work into the queue, as soon as there is a place. Says when the committer has ended.
    pub(super) async fn put(&self, work: Work) -> Result<(), Closed> {
        // One at a time waits for a place, and the others, in order, for their turn.
        self.places.lock().await.send(work).await.map_err(|_| Closed)
    }
}

/// The committer takes nothing any more.
pub(super) struct Closed;

impl Handle {
    /// Looks something up, on the caller's thread: it takes microseconds, one block of the disk at most.
    pub(super) async fn read<T>(
        &self,
        operation: Operation,
        query_type: &'static str,
        table: Table,
        ask: impl FnOnce(&View<'_>) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let span = span::db_query(query_type, table.name());
        let started = Instant::now();
        let result = span.in_scope(|| ask(&self.db.view()));
        self.note(operation, started, &span, result, read_error)
    }

    /// Reads a range, on a thread for work that blocks. No read waits for a sync of the journal, but one that meets the
    /// end of a flush or a compaction waits until that is on the disk, tens of milliseconds under load, and a cold range
    /// is many blocks: too long for a thread that serves others.
    pub(super) async fn scan<T: Send + 'static>(
        &self,
        operation: Operation,
        query_type: &'static str,
        table: Table,
        ask: impl FnOnce(&View<'_>) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let span = span::db_query(query_type, table.name());
        let started = Instant::now();
        let db = self.db.clone();
        let scanned = tokio::task::spawn_blocking(move || ask(&db.view())).await;
        let result = scanned.unwrap_or_else(|error| Err(ReadError::Failed(error.to_string())));
        self.note(operation, started, &span, result, read_error)
    }

    /// Has the committer do something, and waits until it is durable.
    pub(super) async fn write<T>(
        &self,
        operation: Operation,
        query_type: &'static str,
        table: Table,
        make: impl FnOnce(Answer<T>) -> Work,
    ) -> Result<T, CommitError> {
        let span = span::db_write(query_type, table.name());
        let started = Instant::now();
        let result = self.submit(make).instrument(span.clone()).await;
        self.note(operation, started, &span, result, commit_error)
    }

    async fn submit<T>(&self, make: impl FnOnce(Answer<T>) -> Work) -> Result<T, CommitError> {
        let _queued = self.metrics.queries_queued.hold();
        let failed = || CommitError::Failed(self.failure.reason());
        let (answer, answered) = oneshot::channel();
        let work = make(answer);
        self.queue.put(work).await.map_err(|Closed| failed())?;
        answered.await.unwrap_or_else(|_| Err(failed()))
    }

    fn note<T, E>(
        &self,
        operation: Operation,
        started: Instant,
        span: &Span,
        result: Result<T, E>,
        kind: impl FnOnce(&E) -> (&'static str, QueryError),
    ) -> Result<T, E> {
        self.metrics.queries.with(operation).increment(1);
        let took = started.elapsed();
        self.metrics.query_latency.with(operation).record_duration(took);
        if took > SLOW {
            span.in_scope(|| {
                log::QUERY_SLOW
                    .emit(Fields { duration_ms: Some(took.as_secs_f64() * 1e3), ..Fields::detail(operation.as_str()) });
            });
        }
        result.inspect_err(|error| {
            let (name, kind) = kind(error);
            span::fail(span, name);
            self.metrics.query_errors.with(operation, kind).increment(1);
        })
    }
}

fn read_error(error: &ReadError) -> (&'static str, QueryError) {
    let kind = match error {
        ReadError::Failed(_) => QueryError::Io,
        ReadError::Damaged(_) => QueryError::Corrupt,
    };
    (error.error_type(), kind)
}

fn commit_error(error: &CommitError) -> (&'static str, QueryError) {
    let kind = match error {
        CommitError::Fenced(_) => QueryError::Fenced,
        CommitError::Full => QueryError::Full,
        CommitError::Unknown(_) => QueryError::Timeout,
        CommitError::Failed(_) => QueryError::Io,
    };
    (error.error_type(), kind)
}
