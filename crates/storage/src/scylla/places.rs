//! The places that requests take: so many at a time, and a line about one that is held for very long.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clarion_observability::metric::{GaugeGuard, PoolMetrics};
use tokio::sync::{Semaphore, SemaphorePermit};

/// A place that is held longer is told of, once: every request has a time limit far below.
const LONG: Duration = Duration::from_secs(30);

/// All places.
pub(super) struct Places {
    free: Semaphore,
    held: Mutex<HashMap<u64, Held>>,
    next: AtomicU64,
}

/// A place that is taken, until it is dropped.
pub(super) struct Place<'a> {
    places: &'a Places,
    id: u64,
    _permit: SemaphorePermit<'a>,
    _counted: GaugeGuard,
}

struct Held {
    since: Instant,
    /// The statement for which it was taken.
    by: &'static str,
    told: bool,
}

impl Places {
    pub(super) fn new(count: usize, metrics: &PoolMetrics) -> Self {
        let count = count.min(Semaphore::MAX_PERMITS);
        metrics.in_flight_max.set(count as f64);
        Self { free: Semaphore::new(count), held: Mutex::default(), next: AtomicU64::new(0) }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<u64, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place. `None` once there are none any more.
    pub(super) async fn take(&self, by: &'static str, metrics: &PoolMetrics) -> Option<Place<'_>> {
        let waiting = Instant::now();
        let permit = self.free.acquire().await.ok()?;
        let since = Instant::now();
        metrics.wait.record_duration(since - waiting);
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.held().insert(id, Held { since, by, told: false });
        Some(Place { places: self, id, _permit: permit, _counted: metrics.in_flight.hold() })
    }

    /// Places that have been held for too long and were not told of yet: by which statement, and for how long.
    pub(super) fn overdue(&self, now: Instant) -> Vec<(&'static str, Duration)> {
        let mut held = self.held();
        let overdue = held.values_mut().filter(|held| !held.told && now.saturating_duration_since(held.since) > LONG);
        overdue
            .map(|held| {
                held.told = true;
                (held.by, now - held.since)
            })
            .collect()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.places.held().remove(&self.id);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clarion_observability::capture::Capture;
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_place_that_is_held_for_long_is_told_of_once() {
        let capture = Capture::new().unwrap();
        let telemetry = capture.process().service("storage-test", "0");
        let metrics = PoolMetrics::new(telemetry.meter());
        let places = Places::new(2, &metrics);
        let first = places.take("SELECT one", &metrics).await.unwrap();
        let second = places.take("SELECT two", &metrics).await.unwrap();
        assert!(places.take("SELECT three", &metrics).now_or_never().is_none(), "two at a time");
        drop(second);
        let later = Instant::now() + LONG + Duration::from_secs(1);
        assert!(places.overdue(Instant::now()).is_empty());
        let overdue = places.overdue(later);
        assert!(matches!(overdue[..], [("SELECT one", age)] if age > LONG), "{overdue:?}");
        assert!(places.overdue(later).is_empty(), "once");
        drop(first);
        assert!(places.held().is_empty());
    }
}
