//! Admission: how many clients open a session at once, and in which order when everybody comes back together.
//!
//! To open a session takes a look at the token, the user's log, the guilds, and what is encoded of them. A bounded number of
//! clients does that at a time; the others wait in line, those that go on with a session before those that begin one. Who
//! finds the line full, or waits for too long, is sent away and comes back later. Sessions that are open notice nothing.

mod queue;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clarion_observability::metric::{AdmissionRefusal, GatewayMetrics, Opening};
use tokio::sync::oneshot;

use crate::config::AdmissionConfig;
use queue::{Bounds, Entered, Queue};

/// The line in front of the gateway's sessions.
pub(crate) struct Admission {
    queue: Mutex<Queue<oneshot::Sender<Permit>>>,
    /// Longest wait.
    patience: Duration,
    metrics: GatewayMetrics,
}

/// The right to open one session, until it is dropped.
pub(crate) struct Permit {
    admission: Arc<Admission>,
    kind: Opening,
}

/// A place in the line, until it is dropped.
struct Place<'a> {
    admission: &'a Admission,
    kind: Opening,
    ticket: u64,
}

impl Admission {
    pub(crate) fn new(config: &AdmissionConfig, metrics: GatewayMetrics) -> Arc<Self> {
        let bounds = Bounds { concurrency: config.concurrency, waiting: config.waiting };
        let patience = Duration::from_millis(config.wait_ms);
        Arc::new(Self { queue: Mutex::new(Queue::new(bounds)), patience, metrics })
    }

    /// Waits until a session may be opened.
    pub(crate) async fn enter(self: &Arc<Self>, kind: Opening) -> Result<Permit, AdmissionRefusal> {
        let came = Instant::now();
        let (turn, comes) = oneshot::channel();
        let entered = self.queue().enter(kind, turn);
        let permit = match entered {
            Entered::Admitted => Ok(self.permit(kind)),
            Entered::Full => Err(AdmissionRefusal::QueueFull),
            Entered::Waits(ticket) => {
                let _waits = self.metrics.admission_waiting.with(kind).hold();
                let _place = Place { admission: self, kind, ticket };
                match tokio::time::timeout(self.patience, comes).await {
                    Ok(Ok(permit)) => Ok(permit),
                    _ => Err(AdmissionRefusal::Timeout),
                }
            }
        };
        if permit.is_ok() {
            self.metrics.admission_wait.with(kind).record_duration(came.elapsed());
        }
        permit
    }

    fn permit(self: &Arc<Self>, kind: Opening) -> Permit {
        self.metrics.admission_active.with(kind).increment(1.0);
        Permit { admission: self.clone(), kind }
    }

    fn queue(&self) -> MutexGuard<'_, Queue<oneshot::Sender<Permit>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let admission = &self.admission;
        admission.metrics.admission_active.with(self.kind).decrement(1.0);
        admission.queue().leave(self.kind);
        loop {
            let next = admission.queue().next();
            let Some((kind, turn)) = next else { return };
            // Who does not wait any more gives it back, which is this again.
            let _ = turn.send(admission.permit(kind));
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.admission.queue().give_up(self.kind, self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clarion_observability::capture::Capture;
    use futures_util::FutureExt;

    fn admission(concurrency: usize, waiting: usize, wait_ms: u64) -> Arc<Admission> {
        let capture = Capture::new().expect("telemetry");
        let telemetry = capture.process().service("gateway", "gateway-0");
        let config = AdmissionConfig { concurrency, waiting, wait_ms };
        Admission::new(&config, GatewayMetrics::new(telemetry.meter()))
    }

    #[tokio::test]
    async fn a_permit_goes_to_who_waits_longest() {
        let admission = admission(1, 10, 60_000);
        let first = admission.enter(Opening::Resume).await.expect("room");
        let (mut second, mut third) =
            (Box::pin(admission.enter(Opening::Resume)), Box::pin(admission.enter(Opening::Resume)));
        assert!(second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none());
        drop(first);
        assert!(third.as_mut().now_or_never().is_none());
        let second = second.await.expect("its turn");
        assert!(third.as_mut().now_or_never().is_none());
        drop(second);
        third.await.expect("its turn");
    }

    #[tokio::test]
    async fn who_leaves_takes_no_turn_along() {
        let admission = admission(1, 10, 60_000);
        let first = admission.enter(Opening::Identify).await.expect("room");
        let (mut gone, mut waits) =
            (Box::pin(admission.enter(Opening::Identify)), Box::pin(admission.enter(Opening::Identify)));
        assert!(gone.as_mut().now_or_never().is_none() && waits.as_mut().now_or_never().is_none());
        drop(first);
        // It has its turn, and does not know it yet.
        drop(gone);
        waits.await.expect("its turn");
    }

    #[tokio::test]
    async fn nobody_waits_for_long_and_not_too_many_wait() {
        let admission = admission(1, 1, 20);
        let _first = admission.enter(Opening::Resume).await.expect("room");
        let mut waits = Box::pin(admission.enter(Opening::Resume));
        assert!(waits.as_mut().now_or_never().is_none());
        assert_eq!(admission.enter(Opening::Resume).await.err(), Some(AdmissionRefusal::QueueFull));
        assert_eq!(waits.await.err(), Some(AdmissionRefusal::Timeout));
    }
}
