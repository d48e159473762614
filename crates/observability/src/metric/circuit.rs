//! What circuit breakers count: whether they are open, how often they opened, and whom they refused.

use super::label::label;
use super::{By, Counter, Gauge, instruments};

label! {
    /// Where a circuit leads to.
    CircuitTarget = "target" { Store = "store", Cache = "cache", Peer = "peer" }
}

instruments! {
    /// The instruments of a circuit breaker.
    CircuitMetrics:
    /// Circuits that are open: requests over them are refused without being made.
    open: By<CircuitTarget, Gauge> = "circuit.open", Count;
    /// How often a circuit opened.
    opened: By<CircuitTarget, Counter> = "circuit.opened", Count;
    /// Requests that were refused without being made.
    refused: By<CircuitTarget, Counter> = "circuit.refused", Count;
}
