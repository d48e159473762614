//! The service's side of `search.proto`. The one place that knows gRPC's status.

use std::sync::Arc;
use std::time::Instant;

use clarion_model::key::Key;
use clarion_observability::metric::{Label, QueryFailure, SearchMetrics};
use clarion_observability::{Instrument, Remote, Span, span};
use clarion_proto::v1::{self, search_server};
use clarion_storage::index::IndexError;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, async_trait};

use crate::Config;
use crate::request;
use crate::standing::{Ready, Serving};

/// The service.
#[derive(Clone)]
pub(crate) struct Grpc {
    pub(crate) serving: Serving,
    pub(crate) metrics: SearchMetrics,
    turns: Arc<Semaphore>,
    /// Places for those who are worked on and those who wait.
    places: Arc<Semaphore>,
}

impl Grpc {
    pub(crate) fn new(serving: Serving, metrics: SearchMetrics, config: &Config) -> Self {
        let turns = config.queries.max(1);
        let places = Arc::new(Semaphore::new(turns + config.queries_waiting));
        Self { serving, metrics, turns: Arc::new(Semaphore::new(turns)), places }
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
        let ready = self.serving.get().map(|(index, standing)| (index, standing.of(key)));
        let Some((index, ready)) = ready.filter(|(_, ready)| *ready != Ready::No) else {
            self.metrics.not_ready.increment(1);
            return Ok(Response::new(v1::FindResponse::default()));
        };
        let Ok(_place) = self.places.try_acquire() else {
            self.fail(&span, QueryFailure::Busy, began);
            return Err(Status::unavailable("too many searches at a time"));
        };
        // Never closed.
        let _turn = self.turns.acquire().await;
        match index.search(query).instrument(span.clone()).await {
            Ok(found) => {
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
