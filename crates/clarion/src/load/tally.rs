//! What a run counts, and the times it measures. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest time that is told apart, in microseconds; longer ones count as this.
const LONGEST_US: u64 = 600_000_000;

/// Times, as the percentiles of a report need them.
#[derive(Debug, Clone)]
pub struct Times(Histogram<u64>);

/// Percentiles of times, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Percentiles {
    /// How many there were.
    pub count: u64,
    /// Half of them took no longer.
    pub p50_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
    /// 999 of 1,000 took no longer.
    pub p999_ms: f64,
    /// None took longer.
    pub max_ms: f64,
}

/// Everything that is counted, since the start.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Connections that were opened.
    pub connects: u64,
    /// Sockets that are connected and have a session.
    pub live: u64,
    /// Sessions begun.
    pub ready: u64,
    /// Sessions resumed.
    pub resumed: u64,
    /// Connections that ended before their time, each followed by another.
    pub reconnects: u64,
    /// Sessions that could not be resumed (op 9).
    pub invalidated: u64,
    /// Sends that were answered with a message.
    pub acknowledged: u64,
    /// Requests to send, retries among them.
    pub requests: u64,
    /// Messages that came, those of replays among them.
    pub deliveries: u64,
    /// Messages that came in replays.
    pub replayed: u64,
    /// Bytes on the wire of all messages that came.
    pub message_bytes: u64,
    /// Bytes on the wire of everything that came.
    pub bytes: u64,
    /// What went wrong, by kind.
    pub errors: BTreeMap<String, u64>,
    /// From when a message was due to its acknowledgement.
    pub ack: Times,
    /// From when a message was due to its delivery; without replays and sockets that do not read.
    pub delivery: Times,
}

impl Default for Times {
    fn default() -> Self {
        // Fails for nonsensical bounds only.
        Self(Histogram::new_with_bounds(1, LONGEST_US, 3).expect("bounds that make sense"))
    }
}

impl Times {
    /// Counts one.
    pub fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_micros()).unwrap_or(LONGEST_US).max(1));
    }

    /// Adds all of another.
    pub fn add(&mut self, other: &Times) {
        // Of the same bounds, so that it always has room.
        let _ = self.0.add(&other.0);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// Their percentiles.
    pub fn percentiles(&self) -> Percentiles {
        let at = |quantile| if self.0.is_empty() { 0.0 } else { self.0.value_at_quantile(quantile) as f64 / 1e3 };
        Percentiles { count: self.0.len(), p50_ms: at(0.5), p99_ms: at(0.99), p999_ms: at(0.999), max_ms: at(1.0) }
    }
}

impl Tally {
    /// Counts something that went wrong.
    pub fn error(&mut self, kind: impl Into<String>) {
        *self.errors.entry(kind.into()).or_default() += 1;
    }
}

/// Bytes of a text frame of a server on the wire.
pub(super) fn frame_bytes(payload: usize) -> u64 {
    let header = match payload {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    };
    payload as u64 + header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_counted() {
        let (mut times, mut more) = (Times::default(), Times::default());
        (1..=500).for_each(|ms| times.record(Duration::from_millis(ms)));
        (501..=1_000).for_each(|ms| more.record(Duration::from_millis(ms)));
        times.add(&more);
        let p = times.percentiles();
        assert_eq!(p.count, 1_000);
        for (is, should) in [(p.p50_ms, 500.0), (p.p99_ms, 990.0), (p.p999_ms, 999.0), (p.max_ms, 1_000.0)] {
            assert!((is - should).abs() <= should * 0.002, "{is} is not {should}");
        }
        times.record(Duration::MAX);
        assert!(times.percentiles().max_ms > 590_000.0);
    }

    #[test]
    fn frames_have_the_headers_of_the_protocol() {
        assert_eq!([125, 126, 65_535, 65_536].map(frame_bytes), [127, 130, 65_539, 65_546]);
    }
}
