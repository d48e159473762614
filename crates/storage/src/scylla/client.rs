//! The way to the servers: so many requests at a time, each with a time limit, counted, and tried again within a budget.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use clarion_observability::log::{self, Fields};
use clarion_observability::metric::{Label, Operation, PoolMetrics, QueryError, StorageMetrics};
use clarion_observability::{Instrument, Telemetry, span};
use scylla::client::session::Session;
use scylla::deserialize::row::DeserializeRow;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::response::query_result::QueryResult;
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::row::SerializeRow;
use scylla::statement::Consistency;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::bound::BoundStatement;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Config;
use super::statement::{Statement, Statements};
use crate::error::{CommitError, ReadError};

/// A request that takes longer is counted.
const SLOWISH: Duration = Duration::from_millis(100);
/// A request that takes longer is worth a line.
const SLOW: Duration = Duration::from_secs(1);
/// How often a read is tried again.
const READ_RETRIES: u32 = 2;
/// Before a read is tried again.
const READ_PAUSE: Duration = Duration::from_millis(50);

/// A session with what surrounds it.
pub(super) struct Client {
    session: Session,
    pub(super) statements: Statements,
    pub(super) config: Config,
    pub(super) metrics: StorageMetrics,
    pool: PoolMetrics,
    places: Semaphore,
    budget: Budget,
}

/// A request that failed. Of a write nobody knows whether it was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: QueryError,
    pub(super) text: String,
}

/// Retries that may be made: a tenth of the requests that went well, so that a cluster in trouble is not given twice the
/// work.
struct Budget(AtomicU32);

/// A statement with its values.
pub(super) struct Request {
    bound: BoundStatement,
    template: &'static str,
}

/// One column, or a few, of each row.
pub(super) trait Row: for<'a, 'b> DeserializeRow<'a, 'b> {}
impl<R: for<'a, 'b> DeserializeRow<'a, 'b>> Row for R {}

impl Client {
    pub(super) fn new(session: Session, statements: Statements, config: Config, telemetry: &Telemetry) -> Self {
        let pool = PoolMetrics::new(telemetry.meter());
        let places = Semaphore::new(config.in_flight.min(Semaphore::MAX_PERMITS));
        let metrics = StorageMetrics::new(telemetry.meter());
        let client = Self { session, statements, config, metrics, pool, places, budget: Budget::new() };
        client.measure_pool();
        client
    }

    /// A request: a statement with its values.
    pub(super) fn bind(&self, statement: &Statement, values: &impl SerializeRow) -> Result<Request, Fault> {
        let bound = statement.prepared.clone().bind(values).map_err(|error| Fault::other(error.to_string()))?;
        Ok(Request { bound, template: statement.template })
    }

    /// Sends a request once.
    pub(super) async fn send(&self, request: &Request) -> Result<QueryResult, Fault> {
        let _place = self.place().await?;
        let started = Instant::now();
        let result = self.session.execute_bound_unpaged(&request.bound).await;
        self.ended(request.template, started, result)
    }

    /// Compares and sets several rows of a partition, all or none, once. Says whether they were set.
    pub(super) async fn compare_and_set<V: SerializeRow>(
        &self,
        statement: &Statement,
        rows: Vec<V>,
    ) -> Result<bool, Fault> {
        let mut batch = Batch::new(BatchType::Unlogged);
        batch.set_consistency(Consistency::Quorum);
        rows.iter().for_each(|_| batch.append_statement(statement.prepared.clone()));
        let _place = self.place().await?;
        let started = Instant::now();
        let result = self.session.batch(&batch, rows).await;
        let result = self.ended(statement.template, started, result)?;
        // The first column says it; what follows depends on the answer.
        let rows = result.into_rows_result().map_err(|error| Fault::other(error.to_string()))?;
        let row = rows.first_row::<scylla::value::Row>().map_err(|error| Fault::other(error.to_string()))?;
        let set = row.columns.first().and_then(|column| column.as_ref()?.as_boolean());
        set.ok_or_else(|| Fault::other("compare-and-set answered nothing".into()))
    }

    /// Asks for a page once.
    async fn send_page(
        &self,
        request: &Request,
        state: PagingState,
    ) -> Result<(QueryResult, PagingStateResponse), Fault> {
        let _place = self.place().await?;
        let started = Instant::now();
        let result = self.session.execute_bound_single_page(&request.bound, state).await;
        self.ended(request.template, started, result)
    }

    /// The rows of a short answer.
    pub(super) async fn rows<R: Row>(&self, request: Result<Request, Fault>) -> Result<Vec<R>, ReadError> {
        let request = request?;
        let mut left = READ_RETRIES;
        loop {
            match self.send(&request).await {
                Ok(result) => {
                    self.budget.earn();
                    return all_rows(result);
                }
                Err(fault) => self.may_ask_again(&mut left, fault).await?,
            }
        }
    }

    /// The first row of an answer.
    pub(super) async fn row<R: Row>(&self, request: Result<Request, Fault>) -> Result<Option<R>, ReadError> {
        Ok(self.rows(request).await?.into_iter().next())
    }

    /// The rows of a long answer, page by page, until `each` has seen enough.
    pub(super) async fn pages<R: Row>(
        &self,
        request: Result<Request, Fault>,
        mut each: impl FnMut(R) -> Result<ControlFlow<()>, ReadError> + Send,
    ) -> Result<(), ReadError> {
        let request = request?;
        let (mut state, mut left) = (PagingState::start(), READ_RETRIES);
        loop {
            let (result, next) = match self.send_page(&request, state.clone()).await {
                Ok(page) => page,
                Err(fault) => {
                    self.may_ask_again(&mut left, fault).await?;
                    continue;
                }
            };
            self.budget.earn();
            for row in all_rows(result)? {
                if each(row)?.is_break() {
                    return Ok(());
                }
            }
            match next.into_paging_control_flow() {
                ControlFlow::Continue(next) => state = next,
                ControlFlow::Break(()) => return Ok(()),
            }
        }
    }

    /// Writes until it is known to be written, or the time is over. What is sent again must write the same.
    pub(super) async fn write(&self, request: Result<Request, Fault>, deadline: Instant) -> Result<(), Fault> {
        let request = request?;
        let mut pause = Duration::from_millis(20);
        loop {
            match self.send(&request).await {
                Ok(_) => return Ok(()),
                Err(fault) if Instant::now() + pause > deadline => return Err(fault),
                Err(_) => {
                    self.pool.retries.increment(1);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(500));
                }
            }
        }
    }

    async fn may_ask_again(&self, left: &mut u32, fault: Fault) -> Result<(), ReadError> {
        if *left == 0 || !self.budget.spend() {
            return Err(fault.into());
        }
        *left -= 1;
        self.pool.retries.increment(1);
        tokio::time::sleep(READ_PAUSE).await;
        Ok(())
    }

    async fn place(&self) -> Result<SemaphorePermit<'_>, Fault> {
        let waiting = Instant::now();
        let _queued = self.metrics.queries_queued.hold();
        let place = self.places.acquire().await;
        self.pool.wait.record_duration(waiting.elapsed());
        place.map_err(|_| Fault { kind: QueryError::Unavailable, text: "the store is closed".into() })
    }

    fn ended<T>(
        &self,
        template: &'static str,
        started: Instant,
        result: Result<T, ExecutionError>,
    ) -> Result<T, Fault> {
        let took = started.elapsed();
        if took > SLOWISH {
            self.pool.slow.increment(1);
            self.measure_pool();
        }
        if took > SLOW {
            let duration_ms = Some(took.as_secs_f64() * 1e3);
            log::QUERY_SLOW.emit(Fields { duration_ms, ..Fields::detail(template) });
        }
        result.map_err(|error| {
            self.measure_pool();
            Fault::from(error)
        })
    }

    /// What the driver tells of its connections.
    pub(super) fn measure_pool(&self) {
        let nodes = self.session.get_cluster_state().get_nodes_info().len();
        self.pool.connections_max.set((nodes * self.config.connections) as f64);
        self.pool.connections_used.set(self.session.get_metrics().get_total_connections() as f64);
    }

    // ── what a noun's handle does: a span, and a place in the metrics ──

    /// A read for whoever asks.
    pub(super) async fn query<T>(
        &self,
        operation: Operation,
        query_type: &'static str,
        table: &'static str,
        read: impl Future<Output = Result<T, ReadError>> + Send,
    ) -> Result<T, ReadError> {
        let span = span::db_query(query_type, table);
        let started = Instant::now();
        let result = read.instrument(span.clone()).await;
        self.note(operation, started);
        result.inspect_err(|error| {
            let kind = match error {
                ReadError::Failed(_) => QueryError::Unavailable,
                ReadError::Damaged(_) => QueryError::Corrupt,
            };
            span::fail(&span, error.error_type());
            self.metrics.query_errors.with(operation, kind).increment(1);
        })
    }

    /// A write for whoever asks, until it is durable.
    pub(super) async fn change<T>(
        &self,
        operation: Operation,
        query_type: &'static str,
        table: &'static str,
        write: impl Future<Output = Result<T, CommitError>> + Send,
    ) -> Result<T, CommitError> {
        let span = span::db_write(query_type, table);
        let started = Instant::now();
        let result = write.instrument(span.clone()).await;
        self.note(operation, started);
        result.inspect_err(|error| {
            let kind = match error {
                CommitError::Fenced(_) => QueryError::Fenced,
                CommitError::Full => QueryError::Full,
                CommitError::Unknown(_) => QueryError::Timeout,
                CommitError::Failed(_) => QueryError::Io,
            };
            span::fail(&span, error.error_type());
            self.metrics.query_errors.with(operation, kind).increment(1);
        })
    }

    fn note(&self, operation: Operation, started: Instant) {
        self.metrics.queries.with(operation).increment(1);
        self.metrics.query_latency.with(operation).record_duration(started.elapsed());
    }
}

/// All rows of an answer, or of a page of one.
pub(super) fn all_rows<R: Row>(result: QueryResult) -> Result<Vec<R>, ReadError> {
    let damaged = |error: &dyn std::fmt::Display| ReadError::Damaged(error.to_string());
    let result = result.into_rows_result().map_err(|error| damaged(&error))?;
    let rows = result.rows::<R>().map_err(|error| damaged(&error))?;
    rows.map(|row| row.map_err(|error| damaged(&error))).collect()
}

impl Budget {
    const COST: u32 = 10;
    const MOST: u32 = 1_000;

    fn new() -> Self {
        Self(AtomicU32::new(Self::MOST))
    }

    fn earn(&self) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < Self::MOST).then_some(n + 1));
    }

    fn spend(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(Self::COST)).is_ok()
    }
}

impl Fault {
    /// An answer that makes no sense.
    pub(super) fn other(text: String) -> Self {
        Self { kind: QueryError::Other, text }
    }
}

impl From<ExecutionError> for Fault {
    fn from(error: ExecutionError) -> Self {
        let kind = match &error {
            ExecutionError::RequestTimeout(_) => QueryError::Timeout,
            ExecutionError::ConnectionPoolError(_) | ExecutionError::EmptyPlan => QueryError::Unavailable,
            ExecutionError::LastAttemptError(RequestAttemptError::BrokenConnectionError(_)) => QueryError::Io,
            ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, _)) => match error {
                DbError::Unavailable { .. } | DbError::Overloaded | DbError::IsBootstrapping => QueryError::Unavailable,
                DbError::ReadTimeout { .. } | DbError::WriteTimeout { .. } => QueryError::Timeout,
                _ => QueryError::Other,
            },
            _ => QueryError::Other,
        };
        Self { kind, text: error.to_string() }
    }
}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> Self {
        ReadError::Failed(fault.to_string())
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_tenth_of_what_went_well() {
        let budget = Budget::new();
        let spent = (0..1_000).filter(|_| budget.spend()).count();
        assert_eq!(spent, 100);
        (0..100).for_each(|_| budget.earn());
        assert_eq!((0..1_000).filter(|_| budget.spend()).count(), 10);
    }
}
