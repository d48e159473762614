//! What a store's client counts: queries, their errors, group commits.

use super::label::label;
use super::{By, By2, Counter, Gauge, Histogram, LATENCY, instruments};

label! {
    /// What was asked of the store.
    Operation = "operation" {
        Commit = "commit", ReadLog = "read_log", ReadHistory = "read_history", ReadMessage = "read_message",
        ReadState = "read_state", ReadSlot = "read_slot", RaiseEpoch = "raise_epoch", ReadNonce = "read_nonce", Route = "route",
    }
}

label! {
    /// Why the store did not do it.
    QueryError = "error_type" {
        Timeout = "timeout", Fenced = "fenced", Conflict = "conflict", Io = "io", Corrupt = "corrupt", Full = "full",
        Unavailable = "unavailable", Other = "other",
    }
}

instruments! {
    /// The instruments of a store's client.
    StorageMetrics:
    /// Duration of queries.
    query_latency: By<Operation, Histogram> = "db.query.latency", Seconds, LATENCY;
    /// Queries.
    queries: By<Operation, Counter> = "db.queries", Count;
    /// Queries that failed.
    query_errors: By2<Operation, QueryError, Counter> = "db.query.errors", Count;
    /// Queries that wait for their turn.
    queries_queued: Gauge = "db.queries.queued", Count;
    /// Batches made durable by one sync.
    commit_batches: Histogram = "db.commit.batches", Count, &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
    /// Room left on the store's disk.
    free: Gauge = "storage.free", Bytes;
    /// Room that there must be on the store's disk for sends to be accepted.
    min_free: Gauge = "storage.min_free", Bytes;
    /// Time to make one group of batches durable.
    commit_latency: Histogram = "db.commit.latency", Seconds, LATENCY;
}
