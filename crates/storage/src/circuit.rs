//! A circuit breaker at work: the pure one with a clock, a lock, and what it tells.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clarion_model::breaker::{Breaker, Change, Limits, Pass};
use clarion_observability::Telemetry;
use clarion_observability::log::{self, Fields};
use clarion_observability::metric::{CircuitMetrics, CircuitTarget};

/// A circuit to one store or cache.
pub struct Circuit {
    /// `None` when it is switched off: everything is let through.
    breaker: Option<Mutex<Breaker>>,
    metrics: CircuitMetrics,
    target: CircuitTarget,
    /// Where it leads to, for the log.
    name: String,
}

/// What a request that was let through holds.
#[derive(Debug, Clone, Copy)]
pub struct Admitted(Option<Pass>);

impl Circuit {
    /// A closed circuit, or none at all.
    pub fn new(enabled: bool, target: CircuitTarget, name: String, telemetry: &Telemetry) -> Self {
        let breaker = enabled.then(|| Mutex::new(Breaker::new(Limits::default())));
        let metrics = CircuitMetrics::new(telemetry.meter());
        metrics.open.with(target).set(0.0);
        Self { breaker, metrics, target, name }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Breaker) -> T) -> Option<T> {
        self.breaker.as_ref().map(|breaker| f(&mut breaker.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Lets a request through; `None` while the circuit is open.
    pub fn admit(&self) -> Option<Admitted> {
        match self.with(|breaker| breaker.admit(Instant::now())) {
            Some(None) => {
                self.metrics.refused.with(self.target).increment(1);
                None
            }
            pass => Some(Admitted(pass.flatten())),
        }
    }

    /// How a request ended: whether there was an answer, be it an error.
    pub fn ended(&self, admitted: Admitted, answered: bool) {
        let change = self.with(|breaker| match admitted.0 {
            _ if answered => breaker.succeeded(),
            Some(pass) => breaker.failed(pass, Instant::now()),
            None => None,
        });
        match change.flatten() {
            Some(Change::Opened) => {
                self.metrics.open.with(self.target).set(1.0);
                self.metrics.opened.with(self.target).increment(1);
                log::CIRCUIT_OPENED.emit(Fields::detail(&self.name));
            }
            Some(Change::Closed) => {
                self.metrics.open.with(self.target).set(0.0);
                log::CIRCUIT_CLOSED.emit(Fields::detail(&self.name));
            }
            None => {}
        }
    }

    /// Whether requests are refused.
    pub fn is_open(&self) -> bool {
        self.with(|breaker| breaker.is_open()).unwrap_or(false)
    }
}
