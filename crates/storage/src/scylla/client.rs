//! The way to the servers: so many requests at a time, each with a time limit, counted, and tried again within a budget.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use clarion_observability::log::{self, Fields};
use clarion_observability::metric::{CircuitTarget, Label, Operation, PoolMetrics, QueryError, StorageMetrics};
use clarion_observability::{Circuit, CircuitLimits, Instrument, Telemetry, span};
use scylla::client::session::Session;
use scylla::deserialize::row::DeserializeRow;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::response::query_result::{QueryResult, QueryRowsResult};
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::row::SerializeRow;
use scylla::statement::Consistency;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::bound::BoundStatement;

use super::places::Places;
use super::statement::{Statement, Statements};
use super::{Config, place};
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
    places: Places,
    circuit: Circuit,
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

/// What a request answered: rows, or that it was done.
pub(super) struct Answer(Option<QueryRowsResult>);

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
        let places = Places::new(config.in_flight, &pool);
        let metrics = StorageMetrics::new(telemetry.meter());
        let (enabled, limits) = (config.circuit_breaker, CircuitLimits::default());
        let circuit = Circuit::new(enabled, limits, CircuitTarget::Store, place(&config), telemetry);
        let client = Self { session, statements, config, metrics, pool, places, circuit, budget: Budget::new() };
        client.measure_pool();
        client
    }

    /// A request: a statement with its values.
    pub(super) fn bind(&self, statement: &Statement, values: &impl SerializeRow) -> Result<Request, Fault> {
        let bound = statement.prepared.clone().bind(values).map_err(|error| Fault::other(error.to_string()))?;
        Ok(Request { bound, template: statement.template })
    }

    /// Sends a request once.
    pub(super) async fn send(&self, request: &Request) -> Result<Answer, Fault> {
        let sent = self.session.execute_bound_unpaged(&request.bound);
        let answer = self.ask(request.template, async { Ok((sent.await?, ())) }).await?;
        Ok(answer.0)
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
        let sent = self.session.batch(&batch, rows);
        let (answer, ()) = self.ask(statement.template, async { Ok((sent.await?, ())) }).await?;
        // The first column says it; what follows depends on the answer.
        let row = answer.0.and_then(|rows| rows.first_row::<scylla::value::Row>().ok());
        let set = row.and_then(|row| row.columns.first()?.as_ref()?.as_boolean());
        set.ok_or_else(|| Fault::other("compare-and-set answered nothing".into()))
    }

    /// Asks for a page once.
    async fn send_page(&self, request: &Request, state: PagingState) -> Result<(Answer, PagingStateResponse), Fault> {
        self.ask(request.template, self.session.execute_bound_single_page(&request.bound, state)).await
    }

    /// The rows of a short answer.
    pub(super) async fn rows<R: Row>(&self, request: Result<Request, Fault>) -> Result<Vec<R>, ReadError> {
        let request = request?;
        let mut left = READ_RETRIES;
        loop {
            match self.send(&request).await {
                Ok(answer) => {
                    self.budget.earn();
                    return answer.all();
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
            let (answer, next) = match self.send_page(&request, state.clone()).await {
                Ok(page) => page,
                Err(fault) => {
                    self.may_ask_again(&mut left, fault).await?;
                    continue;
                }
            };
            self.budget.earn();
            for row in answer.all()? {
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

    /// Makes a request once a place is free, unless the circuit is open; counts how it ends.
    async fn ask<X>(
        &self,
        template: &'static str,
        request: impl Future<Output = Result<(QueryResult, X), ExecutionError>>,
    ) -> Result<(Answer, X), Fault> {
        let unavailable = |text: &str| Fault { kind: QueryError::Unavailable, text: text.into() };
        let queued = self.metrics.queries_queued.hold();
        let place = self.places.take(template, &self.pool).await;
        drop(queued);
        let _place = place.ok_or_else(|| unavailable("the store is closed"))?;
        let admitted =
            self.circuit.admit().ok_or_else(|| unavailable("the store does not answer, it is left alone"))?;
        let started = Instant::now();
        let result = request.await.map_err(Fault::from);
        let answered = match &result {
            Ok(_) => true,
            Err(fault) => !matches!(fault.kind, QueryError::Timeout | QueryError::Unavailable | QueryError::Io),
        };
        self.circuit.ended(admitted, answered);
        let result = result.and_then(|(result, rest)| Ok((Answer::of(result)?, rest)));
        self.note_slow(template, started.elapsed(), result.as_ref().ok().map(|(answer, _)| answer.rows()));
        result
    }

    fn note_slow(&self, template: &'static str, took: Duration, rows: Option<usize>) {
        if took > SLOWISH {
            self.pool.slow.increment(1);
        }
        if took > SLOW {
            let duration_ms = Some(took.as_secs_f64() * 1e3);
            let rows = rows.map_or_else(|| "failed".to_owned(), |rows| format!("{rows} rows"));
            log::QUERY_SLOW.emit(Fields { duration_ms, ..Fields::detail(format!("{template} ({rows})")) });
        }
    }

    /// What the driver tells of its connections.
    pub(super) fn measure_pool(&self) {
        let nodes = self.session.get_cluster_state().get_nodes_info().len();
        self.pool.connections_max.set((nodes * self.config.connections) as f64);
        self.pool.connections_used.set(self.session.get_metrics().get_total_connections() as f64);
        for (template, age) in self.places.overdue(Instant::now()) {
            self.pool.leaks.increment(1);
            let duration_ms = Some(age.as_secs_f64() * 1e3);
            log::PLACE_HELD.emit(Fields { duration_ms, ..Fields::detail(template) });
        }
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

impl Answer {
    fn of(result: QueryResult) -> Result<Self, Fault> {
        if !result.is_rows() {
            return Ok(Self(None));
        }
        let rows = result.into_rows_result().map_err(|error| Fault::other(error.to_string()))?;
        Ok(Self(Some(rows)))
    }

    fn rows(&self) -> usize {
        self.0.as_ref().map_or(0, QueryRowsResult::rows_num)
    }

    /// All of its rows.
    pub(super) fn all<R: Row>(&self) -> Result<Vec<R>, ReadError> {
        let damaged = |error: &dyn std::fmt::Display| ReadError::Damaged(error.to_string());
        let Some(rows) = &self.0 else { return Err(damaged(&"an answer without rows")) };
        let rows = rows.rows::<R>().map_err(|error| damaged(&error))?;
        rows.map(|row| row.map_err(|error| damaged(&error))).collect()
    }
}

/// All rows of an answer that was got without a client.
pub(super) fn all_rows<R: Row>(result: QueryResult) -> Result<Vec<R>, ReadError> {
    Answer::of(result)?.all()
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
