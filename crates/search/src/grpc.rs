//! The service's side of `search.proto`. The one place that knows gRPC's status.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use clarion_model::key::Key;
use clarion_observability::metric::{Label, QueryFailure, SearchMetrics};
use clarion_observability::{Instrument, Remote, Span, span};
use clarion_proto::v1::{self, search_server};
use clarion_storage::index::{Found, Index, IndexError, Query};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, async_trait};

use crate::Config;
use crate::request;
use crate::standing::{Place, Ready};

/// So long an index may take to answer while there is another one to ask.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers come at multiples of this after the question: how long the index took tells nothing of what it passed over.
const STEP: Duration = Duration::from_millis(20);

/// The service.
#[derive(Clone)]
pub(crate) struct Grpc {
    copies: Vec<Place>,
    pub(crate) metrics: SearchMetrics,
    turns: Arc<Semaphore>,
    /// Places for those who are worked on and those who wait.
    places: Arc<Semaphore>,
}

impl Grpc {
    pub(crate) fn new(copies: Vec<Place>, metrics: SearchMetrics, config: &Config) -> Self {
        let turns = config.queries.max(1);
        let places = Arc::new(Semaphore::new(turns + config.queries_waiting));
        Self { copies, metrics, turns: Arc::new(Semaphore::new(turns)), places }
    }

    /// The indexes that have the history of a key, the one first that is best.
    fn ready(&self, key: Key) -> Vec<(Arc<dyn Index>, Ready)> {
        let now = SystemTime::now().into();
        let serving = self.copies.iter().filter_map(|copy| copy.serving.get());
        let ready = serving.map(|(index, standing)| (standing.of(key), standing.lag(now), index));
        let mut ready: Vec<_> = ready.filter(|(ready, ..)| *ready != Ready::No).collect();
        ready.sort_by_key(|(ready, lag, _)| (*ready == Ready::Refilling, *lag));
        ready.into_iter().map(|(ready, _, index)| (index, ready)).collect()
    }

    fn fail(&self, span: &Span, failure: QueryFailure, began: Instant) {
        span::fail(span, failure.as_str());
        self.metrics.query_failures.with(failure).increment(1);
        self.metrics.query_latency.record_duration(began.elapsed());
    }
}

#[async_trait]
impl search_server::Search for Grpc {
    async fn find(&self, request: Request<v1::FindRequest>) -> Result<Response<v1::FindResponse>, Status> {
        let began = Instant::now();
        let remote = request.extensions().get::<Remote>().cloned().unwrap_or_default();
        let request = request.into_inner();
        let key = request.key.and_then(|key| Key::try_from(key).ok()).ok_or_else(|| Status::invalid_argument("key"))?;
        let query = request::query(&request);
        let span = span::search_query(&remote, &request::shape(&request, &query));
        self.metrics.queries.increment(1);
        let ready = self.ready(key);
        if ready.is_empty() {
            self.metrics.not_ready.increment(1);
            return Ok(Response::new(v1::FindResponse::default()));
        }
        let Ok(_place) = self.places.try_acquire() else {
            self.fail(&span, QueryFailure::Busy, began);
            return Err(Status::unavailable("too many searches at a time"));
        };
        // Never closed.
        let _turn = self.turns.acquire().await;
        let answer = search(ready, query).instrument(span.clone()).await;
        tokio::time::sleep(until_step(began.elapsed())).await;
        match answer {
            Ok((found, ready)) => {
                span::found(&span, found.total);
                self.metrics.query_latency.record_duration(began.elapsed());
                let hits =
                    found.hits.iter().map(|hit| v1::MessageRef { channel_id: hit.channel.0, message_id: hit.id.0 });
                Ok(Response::new(v1::FindResponse {
                    ready: true,
                    refilling: ready == Ready::Refilling,
                    total: found.total,
                    hits: hits.collect(),
                }))
            }
            Err(error) => {
                let failure = QueryFailure::parse(error.error_type()).unwrap_or(QueryFailure::Unavailable);
                self.fail(&span, failure, began);
                // What an index says may hold what was looked for.
                Err(match error {
                    IndexError::Invalid(_) => Status::invalid_argument("the index does not take the query"),
                    _ => Status::unavailable("the index does not answer"),
                })
            }
        }
    }
}

/// Asks one index after the other until one answers.
async fn search(ready: Vec<(Arc<dyn Index>, Ready)>, query: Query) -> Result<(Found, Ready), IndexError> {
    let mut failed = IndexError::Unavailable("there is none".into());
    let mut left = ready.len();
    for (index, ready) in ready {
        left -= 1;
        let asked = index.search(query.clone());
        let answer = match left {
            0 => asked.await,
            _ => tokio::time::timeout(PATIENCE, asked)
                .await
                .unwrap_or_else(|_| Err(IndexError::Unavailable("no answer in time".into()))),
        };
        match answer {
            Ok(found) => return Ok((found, ready)),
            Err(error @ IndexError::Invalid(_)) => return Err(error),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// How long until the next moment at which answers are given.
fn until_step(elapsed: Duration) -> Duration {
    let steps = elapsed.as_micros() / STEP.as_micros() + 1;
    Duration::from_micros((steps * STEP.as_micros() - elapsed.as_micros()) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_wait_for_the_next_step() {
        for (elapsed, wait) in [(0, 20_000), (1, 19_999), (19_999, 1), (20_000, 20_000), (45_000, 15_000)] {
            assert_eq!(until_step(Duration::from_micros(elapsed)), Duration::from_micros(wait), "{elapsed}");
        }
    }
}
