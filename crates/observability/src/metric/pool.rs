//! What a client of remote stores counts: its connections, the requests on their way, and who waits for a place.

use super::{Counter, Gauge, Histogram, LATENCY, instruments};

instruments! {
    /// The instruments of a pool of connections to a store.
    PoolMetrics:
    /// Connections that are open.
    connections_used: Gauge = "db.pool.connections.used", Count;
    /// Connections that the pool keeps when all nodes are up.
    connections_max: Gauge = "db.pool.connections.max", Count;
    /// How long requests wait for a place.
    wait: Histogram = "db.pool.wait", Seconds, LATENCY;
    /// Requests that hold a place.
    in_flight: Gauge = "db.pool.in_flight", Count;
    /// Places for requests.
    in_flight_max: Gauge = "db.pool.in_flight.max", Count;
    /// Requests that held a place for longer than 30 s.
    leaks: Counter = "db.pool.leaks", Count;
    /// Requests that took longer than 100 ms.
    slow: Counter = "db.queries.slow", Count;
    /// Requests that were tried again.
    retries: Counter = "db.retries", Count;
}
