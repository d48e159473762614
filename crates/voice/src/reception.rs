//! How a publisher's stream arrives: what is missing, how uneven it is (RFC 3550, appendices A.1, A.3 and A.8).

use std::time::Instant;

use crate::rewrite::CLOCK;
use crate::rtcp::Block;

/// A step back further than this, or forward, is a new beginning.
const FORWARD: u16 = 3_000;
const BACK: u16 = 100;

/// What is known of one stream.
#[derive(Debug)]
pub(crate) struct Reception {
    ssrc: u32,
    began: Instant,
    first: u32,
    highest: u32,
    received: u32,
    /// At the last report.
    reported: (u32, u32),
    transit: i64,
    jitter: f64,
    /// The clock of the sender's last report and when it came.
    report: Option<(u32, Instant)>,
}

/// Packets that should have come and that did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count {
    pub(crate) expected: u32,
    pub(crate) received: u32,
}

impl Reception {
    pub(crate) fn new(now: Instant, ssrc: u32, sequence: u16, timestamp: u32) -> Self {
        // One turn up, so that a late packet from before the first does not underflow.
        let first = u32::from(sequence) | 0x1_0000;
        let mut it = Self {
            ssrc,
            began: now,
            first,
            highest: first,
            received: 0,
            reported: (0, 0),
            transit: 0,
            jitter: 0.0,
            report: None,
        };
        it.transit = it.transit_of(now, timestamp);
        it
    }

    pub(crate) fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// A packet; answers how many before it are missing, zero if it is late.
    pub(crate) fn packet(&mut self, now: Instant, sequence: u16, timestamp: u32) -> u16 {
        let step = sequence.wrapping_sub(self.highest as u16);
        let mut gap = 0;
        if step < FORWARD {
            gap = step.saturating_sub(1);
            self.highest = self.highest.wrapping_add(u32::from(step));
        } else if step <= u16::MAX - BACK {
            let report = self.report;
            *self = Self { report, ..Self::new(now, self.ssrc, sequence, timestamp) };
        }
        self.received += 1;
        let transit = self.transit_of(now, timestamp);
        let uneven = (transit - self.transit).unsigned_abs();
        self.transit = transit;
        // After a pause the clocks of senders with silence suppression leap; that is no jitter of the network.
        if uneven < u64::from(CLOCK) {
            self.jitter += (uneven as f64 - self.jitter) / 16.0;
        }
        gap
    }

    /// The sender's own report.
    pub(crate) fn sender_report(&mut self, now: Instant, clock: u32) {
        self.report = Some((clock, now));
    }

    /// In seconds.
    pub(crate) fn jitter(&self) -> f64 {
        self.jitter / f64::from(CLOCK)
    }

    /// Since the beginning.
    pub(crate) fn count(&self) -> Count {
        Count { expected: self.highest.wrapping_sub(self.first).wrapping_add(1), received: self.received }
    }

    /// What the sender is told, for the time since it was last told.
    pub(crate) fn block(&mut self, now: Instant) -> Block {
        let Count { expected, received } = self.count();
        let (expected_before, received_before) = std::mem::replace(&mut self.reported, (expected, received));
        let expected_since = expected.saturating_sub(expected_before);
        let lost_since = expected_since.saturating_sub(received.saturating_sub(received_before));
        let (last_report, since) = self.report.map_or((0, 0), |(clock, at)| {
            let since = now.saturating_duration_since(at);
            (clock, (since.as_millis() as u64 * 65_536 / 1_000) as u32)
        });
        Block {
            ssrc: self.ssrc,
            fraction: (u64::from(lost_since) * 256).checked_div(expected_since.into()).map_or(0, |f| f.min(255) as u8),
            lost: i64::from(expected).wrapping_sub(i64::from(received)) as i32,
            highest: self.highest.wrapping_sub(0x1_0000),
            jitter: self.jitter as u32,
            last_report,
            since,
        }
    }

    fn transit_of(&self, now: Instant, timestamp: u32) -> i64 {
        let arrival = now.saturating_duration_since(self.began).as_micros() as u64 * u64::from(CLOCK) / 1_000_000;
        // The difference on the sender's circle, so that its turn is none of ours.
        i64::from((arrival as u32).wrapping_sub(timestamp) as i32)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(now: Instant, millis: u64) -> Instant {
        now + Duration::from_millis(millis)
    }

    #[test]
    fn what_is_missing_is_counted() {
        let now = Instant::now();
        let mut it = Reception::new(now, 5, 65_530, 0);
        for n in 0..100u16 {
            if n % 10 != 9 {
                it.packet(at(now, u64::from(n) * 20), 65_530u16.wrapping_add(n), u32::from(n) * 960);
            }
        }
        // The last one is missing, and nobody knows yet.
        assert_eq!(it.count(), Count { expected: 99, received: 90 });
        let block = it.block(at(now, 2_000));
        assert_eq!((block.lost, block.fraction), (9, (9 * 256 / 99) as u8));
        assert_eq!(it.block(at(now, 2_000)).fraction, 0);
        assert!(it.jitter() < 1e-6);
    }

    #[test]
    fn gaps_are_told_and_late_packets_fill_them() {
        let now = Instant::now();
        let mut it = Reception::new(now, 5, 10, 0);
        assert_eq!(it.packet(now, 10, 0), 0);
        assert_eq!(it.packet(now, 12, 1_920), 1);
        assert_eq!(it.packet(now, 11, 960), 0);
        assert_eq!(it.count(), Count { expected: 3, received: 3 });
    }

    #[test]
    fn unevenness_is_jitter() {
        let now = Instant::now();
        let mut it = Reception::new(now, 5, 0, 0);
        for n in 0..500u16 {
            let late = if n % 2 == 0 { 0 } else { 30 };
            it.packet(at(now, u64::from(n) * 20 + late), n, u32::from(n) * 960);
        }
        assert!((0.029..0.031).contains(&it.jitter()), "{}", it.jitter());
    }

    #[test]
    fn leaps_that_are_no_new_beginning_are_all_loss() {
        let now = Instant::now();
        let mut it = Reception::new(now, 5, 0, 0);
        // As far on with each packet as goes.
        for n in 0..6_000u32 {
            it.packet(now, (n * 2_999) as u16, 0);
        }
        assert_eq!(it.block(now).fraction, 255);
    }

    #[test]
    fn a_leap_begins_anew() {
        let now = Instant::now();
        let mut it = Reception::new(now, 5, 0, 0);
        it.packet(now, 0, 0);
        it.packet(now, 30_000, 0);
        assert_eq!(it.count(), Count { expected: 1, received: 1 });
    }
}
