//! A circuit breaker at work: the pure one with a clock, a lock, and what it tells.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

pub use clarion_model::breaker::Limits as CircuitLimits;
use clarion_model::breaker::{Breaker, Change, Pass};

use crate::Telemetry;
use crate::log::{self, Fields};
use crate::metric::{CircuitMetrics, CircuitTarget};

/// A circuit to one store, cache or peer.
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
    pub fn new(
        enabled: bool,
        limits: CircuitLimits,
        target: CircuitTarget,
        name: String,
        telemetry: &Telemetry,
    ) -> Self {
        let breaker = enabled.then(|| Mutex::new(Breaker::new(limits)));
        Self { breaker, metrics: CircuitMetrics::new(telemetry.meter()), target, name }
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
                self.metrics.open.with(self.target).increment(1.0);
                self.metrics.opened.with(self.target).increment(1);
                log::CIRCUIT_OPENED.emit(Fields::detail(&self.name));
            }
            Some(Change::Closed) => {
                self.metrics.open.with(self.target).decrement(1.0);
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

impl Drop for Circuit {
    fn drop(&mut self) {
        // Others of its kind are counted together with it.
        if self.is_open() {
            self.metrics.open.with(self.target).decrement(1.0);
        }
    }
}
