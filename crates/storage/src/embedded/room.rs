//! The room on the store's disk: whether it is enough, and what operators are told when that changes.

use std::time::Duration;

use clarion_observability::log;
use clarion_observability::metric::StorageMetrics;
use clarion_observability::{ErrorInfo, Fields};

/// How often somebody looks while nothing is written.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is known of the room.
pub(super) struct Room {
    min_free: u64,
    low: bool,
    metrics: StorageMetrics,
}

impl Room {
    /// A disk that had room when it was last looked at.
    pub(super) fn new(min_free: u64, metrics: StorageMetrics) -> Self {
        metrics.min_free.set(min_free as f64);
        Self { min_free, low: false, metrics }
    }

    /// Takes note of how many bytes are free. Whether that is enough to write something.
    pub(super) fn look(&mut self, free: u64) -> bool {
        self.metrics.free.set(free as f64);
        let low = free < self.min_free;
        if std::mem::replace(&mut self.low, low) != low {
            let detail = format!("{free} bytes are free, storage.embedded.min_free is {}", self.min_free);
            if low {
                let error = ErrorInfo { kind: "full", detail };
                log::STORAGE_LOW.emit(Fields { error: Some(error), ..Fields::default() });
            } else {
                log::STORAGE_RECOVERED.emit(Fields::detail(detail));
            }
        }
        !low
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clarion_observability::capture::Capture;

    #[tokio::test]
    async fn operators_are_told_once_of_each_change() {
        let capture = Capture::new().expect("telemetry");
        let telemetry = capture.process().service("storage", "storage-0");
        let mut room = Room::new(100, StorageMetrics::new(telemetry.meter()));
        let seen = [100, 99, 0, 50, 100, 500, 99];
        let enough: Vec<_> = telemetry.in_scope(|| seen.into_iter().map(|free| room.look(free)).collect());
        assert_eq!(enough, [true, false, false, false, true, true, false]);
        let lines = capture.wait_for_lines(|lines| lines.len() >= 3).await.expect("three lines");
        let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap_or_default()).collect();
        assert_eq!(events, ["storage.low", "storage.recovered", "storage.low"]);
        let metrics = capture.process().render_metrics();
        for line in ["storage_free_bytes", "storage_min_free_bytes"] {
            assert!(metrics.contains(line), "{metrics}");
        }
    }
}
