//! What the search service counts: how far it is behind, what it indexes, what it is asked.

use super::label::label;
use super::{By, Counter, Gauge, Histogram, LATENCY, instruments};

label! {
    /// What was done to the index.
    IndexOperation = "operation" { Put = "put", Delete = "delete" }
}

label! {
    /// Why the index, or what it is fed from, did not do something.
    IndexError = "error_type" {
        Lost = "lost", Unavailable = "unavailable", Full = "full", Invalid = "invalid", Store = "store",
    }
}

label! {
    /// Why a query was not answered.
    QueryFailure = "error_type" {
        Lost = "lost", Unavailable = "unavailable", Full = "full", Invalid = "invalid", Busy = "busy",
    }
}

instruments! {
    /// The instruments of the search service.
    SearchMetrics:
    /// Age of the oldest event that cannot be found yet; zero when all can.
    lag: Gauge = "search.index.lag", Seconds;
    /// Events that were written to a log and are not in the index yet.
    pending: Gauge = "search.indexing.pending", Count;
    /// Messages put into the index or taken out of it.
    indexed: By<IndexOperation, Counter> = "search.indexed", Count;
    /// What the index, or the store it is fed from, refused or failed to do.
    errors: By<IndexError, Counter> = "search.errors", Count;
    /// Time from a message's acceptance until it can be found.
    index_latency: Histogram = "search.index.latency", Seconds, LATENCY;
    /// Time to make one batch durable and found.
    commit_latency: Histogram = "search.commit.latency", Seconds, LATENCY;
    /// Queries.
    queries: Counter = "search.query", Count;
    /// Queries that were not answered. An index that is being built is an answer.
    query_failures: By<QueryFailure, Counter> = "search.query.failures", Count;
    /// Queries told to come again because the index is being built.
    not_ready: Counter = "search.query.not_ready", Count;
    /// Duration of queries.
    query_latency: Histogram = "search.query.latency", Seconds, LATENCY;
    /// Messages in the index.
    documents: Gauge = "search.index.documents", Count;
    /// What the index takes on its disk.
    bytes: Gauge = "search.index.size", Bytes;
    /// Share of the guilds and direct channels whose history is in the index, from 0 to 1.
    complete: Gauge = "search.index.complete", Ratio;
    /// Messages of which the index and the store did not agree, and that were put right.
    repaired: Counter = "search.repaired", Count;
    /// Times the index was built anew.
    rebuilds: Counter = "search.rebuilds", Count;
    /// Share of one processor's time that the service's threads took lately; above 1 with several.
    cpu: Gauge = "search.cpu.utilization", Ratio;
}
