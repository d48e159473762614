//! Circuits to peers: one an address, whoever in a service calls it. A peer that does not answer is left alone for moments,
//! and its callers hear so at once.
//!
//! What counts is a sign of life. Whatever a peer itself answers is one, `unavailable` too: that a slot has no owner, or that
//! the store is away, is no reason to leave alone who says so. No sign of life are a connection that cannot be made or
//! breaks, an answer of somebody between (a 5xx of HTTP), and a call that its caller gave up after a while. A stream counts
//! by its beginning.
//!
//! The pauses are short: they are added to what its callers wait for a peer that is back.

use std::collections::HashMap;
use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use clarion_observability::metric::CircuitTarget;
use clarion_observability::{Admitted, Circuit, CircuitLimits, Telemetry};
use futures_util::future::BoxFuture;
use http::{Request, Response};
use tonic::Status;
use tower::{BoxError, Service};

use crate::Address;

/// When a circuit to a peer opens, and for how long.
const LIMITS: CircuitLimits =
    CircuitLimits { failures: 10, pause: Duration::from_millis(100), longest: Duration::from_millis(500) };
/// A call that was given up sooner says nothing of the peer: its caller may have left, or somebody else answered.
const GIVEN_UP: Duration = Duration::from_millis(250);
/// Addresses whose circuits are remembered.
const ADDRESSES: usize = 1_024;

/// The circuits of a service. A clone is the same set.
#[derive(Clone)]
pub(crate) struct Circuits(Arc<Inner>);

struct Inner {
    enabled: bool,
    telemetry: Telemetry,
    known: Mutex<HashMap<Address, Arc<Circuit>>>,
}

/// A client over a circuit.
#[derive(Clone)]
pub struct Guarded<S> {
    inner: S,
    circuit: Arc<Circuit>,
}

/// A call was not made, because its peer has not answered others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it does not answer, it is left alone for a moment")]
pub struct LeftAlone;

/// A call that is under way.
struct Underway {
    circuit: Arc<Circuit>,
    admitted: Option<Admitted>,
    began: Instant,
}

/// Whether a call certainly reached nobody: no connection could be made, or it was not tried.
pub fn never_reached(status: &Status) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() || error.is::<LeftAlone>() {
            return true;
        }
        cause = error.source();
    }
    false
}

impl Circuits {
    pub(crate) fn new(enabled: bool, telemetry: Telemetry) -> Self {
        Self(Arc::new(Inner { enabled, telemetry, known: Mutex::default() }))
    }

    /// Puts the circuit of an address before a client of it.
    pub(crate) fn guard<S>(&self, address: &Address, inner: S) -> Guarded<S> {
        Guarded { inner, circuit: self.to(address) }
    }

    fn to(&self, address: &Address) -> Arc<Circuit> {
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(circuit) = known.get(address) {
            return circuit.clone();
        }
        if known.len() >= ADDRESSES {
            known.retain(|_, circuit| Arc::strong_count(circuit) > 1);
        }
        let Inner { enabled, telemetry, .. } = &*self.0;
        let circuit = Circuit::new(*enabled, LIMITS, CircuitTarget::Peer, address.to_string(), telemetry);
        let circuit = Arc::new(circuit);
        // With so many in use, a further one is its client's own.
        if known.len() < ADDRESSES {
            known.insert(address.clone(), circuit.clone());
        }
        circuit
    }
}

impl<S, B, R> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    R: Send + 'static,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<R>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Some(admitted) = self.circuit.admit() else {
            let mut status = Status::unavailable(LeftAlone.to_string());
            status.set_source(Arc::new(LeftAlone));
            return Box::pin(ready(Err(status.into())));
        };
        let call = Underway { circuit: self.circuit.clone(), admitted: Some(admitted), began: Instant::now() };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await.map_err(Into::into);
            call.ended(answer.as_ref().is_ok_and(|response| !response.status().is_server_error()));
            answer
        })
    }
}

impl Underway {
    fn ended(mut self, answered: bool) {
        if let Some(admitted) = self.admitted.take() {
            self.circuit.ended(admitted, answered);
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if let Some(admitted) = self.admitted.take()
            && self.began.elapsed() >= GIVEN_UP
        {
            self.circuit.ended(admitted, false);
        }
    }
}
