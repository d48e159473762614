//! What a session's reports come to over a window: loss, jitter, round trip, and the score. Where nothing was reported
//! there is nothing, which is not zero.

use std::time::Duration;

use crate::emodel;
use crate::reception::Count;
use crate::rewrite::CLOCK;
use crate::rtcp::Block;
use crate::slots::SLOTS;

/// How long a window is. Browsers report every five seconds.
pub(crate) const WINDOW: Duration = Duration::from_secs(10);

/// What a listener reports in a window.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    /// Of each slot's stream, what was last reported: the highest sequence and what was lost.
    last: [Option<(u32, i32)>; SLOTS],
    expected: u64,
    lost: i64,
    jitter: Option<f64>,
    round_trip: Option<f64>,
    reports: u64,
}

/// A way that packets go, as it was in a window. Times in seconds, loss from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Way {
    pub(crate) loss: Option<f64>,
    pub(crate) jitter: Option<f64>,
    pub(crate) round_trip: Option<f64>,
}

/// A session in a window.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Quality {
    /// From the client to the server.
    pub(crate) up: Way,
    /// From the server to the client.
    pub(crate) down: Way,
    /// From the mouths of those who were heard to this client's server port and on to it, without buffers.
    pub(crate) latency: Option<f64>,
    /// How well this client hears the others.
    pub(crate) mos: Option<f64>,
}

impl Listening {
    /// A report of a slot's stream.
    pub(crate) fn report(&mut self, slot: usize, block: &Block, round_trip: Option<Duration>) {
        let Some(last) = self.last.get_mut(slot) else { return };
        self.reports += 1;
        if let Some((highest, lost)) = last.replace((block.highest, block.lost)) {
            let expected = block.highest.wrapping_sub(highest);
            // Backwards: the receiver began anew.
            if expected < u32::MAX / 2 {
                self.expected += u64::from(expected);
                self.lost += i64::from(block.lost) - i64::from(lost);
            }
        } else {
            // The first report covers all that came before it, of which only the loss is said.
            let share = f64::from(block.fraction) / 256.0;
            if let Some(expected) = expected_of_first(block, share) {
                self.expected += expected;
                self.lost += i64::from(block.lost);
            }
        }
        let jitter = f64::from(block.jitter) / f64::from(CLOCK);
        self.jitter = Some(self.jitter.map_or(jitter, |before| before.max(jitter)));
        if let Some(round_trip) = round_trip {
            let round_trip = round_trip.as_secs_f64();
            self.round_trip = Some(self.round_trip.map_or(round_trip, |before| before.min(round_trip)));
        }
    }

    /// How many reports there were in the window.
    pub(crate) fn reports(&self) -> u64 {
        self.reports
    }

    /// Ends the window.
    pub(crate) fn close(&mut self) -> Way {
        let way = Way {
            loss: (self.expected > 0).then(|| (self.lost.max(0) as f64 / self.expected as f64).min(1.0)),
            jitter: self.jitter,
            round_trip: self.round_trip,
        };
        *self = Self { last: self.last, ..Self::default() };
        way
    }
}

/// A receiver that lost something at once says how much of how many; one that lost nothing says nothing of how many.
fn expected_of_first(block: &Block, share: f64) -> Option<u64> {
    (block.lost > 0 && share > 0.0).then(|| (f64::from(block.lost) / share).round() as u64)
}

/// The way of a stream that comes in, from two counts.
pub(crate) fn incoming(before: Count, now: Count, jitter: f64, round_trip: Option<f64>) -> Way {
    let expected = now.expected.checked_sub(before.expected).filter(|n| *n > 0);
    let Some(expected) = expected else { return Way { round_trip, ..Way::default() } };
    let received = now.received.saturating_sub(before.received);
    let loss = f64::from(expected.saturating_sub(received)) / f64::from(expected);
    Way { loss: Some(loss), jitter: Some(jitter), round_trip }
}

/// What those who were heard have in common: the mean of what is known of their ways up.
pub(crate) fn mean(ways: impl Iterator<Item = Way>) -> Way {
    let (mut loss, mut trip, mut jitter) = (Vec::new(), Vec::new(), Vec::new());
    for way in ways {
        loss.extend(way.loss);
        trip.extend(way.round_trip);
        jitter.extend(way.jitter);
    }
    let mean = |of: Vec<f64>| (!of.is_empty()).then(|| of.iter().sum::<f64>() / of.len() as f64);
    Way { loss: mean(loss), jitter: mean(jitter), round_trip: mean(trip) }
}

/// The score of a listener, from its own ways and those of the people it heard. Without a report of loss and of a round
/// trip there is none.
pub(crate) fn score(up: Way, down: Way, speakers: Way, forward: f64) -> Quality {
    let mut quality = Quality { up, down, latency: None, mos: None };
    let (Some(loss), Some(round_trip)) = (down.loss, down.round_trip) else { return quality };
    // Those who only speak have no round trip of their own: it counts as none, and the latency is theirs and more.
    let theirs = speakers.round_trip.unwrap_or_default();
    quality.latency = Some(theirs / 2.0 + forward + round_trip / 2.0);
    let whole = 1.0 - (1.0 - loss) * (1.0 - speakers.loss.unwrap_or_default());
    let jitter = down.jitter.unwrap_or_default().max(speakers.jitter.unwrap_or_default());
    let delay = emodel::mouth_to_ear(theirs * 1_000.0, forward * 1_000.0, round_trip * 1_000.0, jitter * 1_000.0);
    quality.mos = Some(emodel::mos(whole, delay, true));
    quality
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(highest: u32, lost: i32) -> Block {
        Block { highest, lost, jitter: 480, ..Block::default() }
    }

    #[test]
    fn no_report_is_no_data() {
        let mut listening = Listening::default();
        assert_eq!(listening.close(), Way::default());
        let quality = score(Way::default(), Way::default(), Way::default(), 0.0);
        assert_eq!((quality.mos, quality.latency), (None, None));
    }

    #[test]
    fn loss_is_of_what_was_expected_in_the_window() {
        let mut listening = Listening::default();
        listening.report(0, &block(1_000, 10), None);
        assert_eq!(listening.close().loss, None);
        listening.report(0, &block(1_250, 20), Some(Duration::from_millis(83)));
        listening.report(1, &block(50, 0), None);
        listening.report(1, &block(300, 15), Some(Duration::from_millis(90)));
        let way = listening.close();
        assert_eq!(way.loss, Some(25.0 / 500.0));
        assert_eq!((way.jitter, way.round_trip), (Some(0.01), Some(0.083)));
        assert_eq!(listening.close(), Way::default());
    }

    #[test]
    fn a_receiver_that_begins_anew_loses_nothing() {
        let mut listening = Listening::default();
        listening.report(0, &block(1_000, 10), None);
        listening.report(0, &block(10, 0), None);
        listening.report(0, &block(110, 5), None);
        assert_eq!(listening.close().loss, Some(0.05));
    }

    #[test]
    fn what_comes_in_is_counted_between_two_looks() {
        let (before, now) = (Count { expected: 100, received: 100 }, Count { expected: 300, received: 290 });
        assert_eq!(incoming(before, now, 0.002, None).loss, Some(0.05));
        assert_eq!(incoming(now, now, 0.002, None), Way::default());
    }

    #[test]
    fn the_score_is_that_of_both_ways_together() {
        let down = Way { loss: Some(0.0), jitter: Some(0.0), round_trip: Some(0.002) };
        let clean = score(Way::default(), down, Way { loss: Some(0.0), ..down }, 0.0005);
        assert!(clean.mos.expect("a score") > 4.3);
        let lossy = score(Way::default(), down, Way { loss: Some(0.05), ..down }, 0.0005);
        assert!((3.6..3.9).contains(&lossy.mos.expect("a score")), "{lossy:?}");
        assert_eq!(clean.latency.map(|l| (l * 1e4).round()), Some(25.0));
    }
}
