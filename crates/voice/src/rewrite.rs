//! One listener's stream of one slot: whoever speaks in it, its sequence and its time go on without a break.

use std::time::Instant;

/// Samples a second of Opus in RTP, whatever it carries.
pub(crate) const CLOCK: u32 = 48_000;
/// Samples of a packet of 20 ms.
const PACKET: u32 = 960;
/// A step further than this is no loss but a new beginning.
const STEP: i16 = 300;

/// What a packet is called on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rewritten {
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    /// The first after a switch: a talk spurt begins.
    pub(crate) begins: bool,
}

/// The numbers of a stream.
#[derive(Debug, Default)]
pub(crate) struct Rewriter {
    source: Option<Source>,
    last: Option<Last>,
}

#[derive(Debug)]
struct Source {
    of: u64,
    /// Its highest sequence so far, and its first here.
    highest: u16,
    first: u16,
    /// What is added to its numbers.
    sequence: u16,
    timestamp: u32,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    sequence: u16,
    timestamp: u32,
    at: Instant,
}

impl Rewriter {
    /// A packet of a publisher. `None`: it is from before the switch to that publisher, and has no place any more.
    pub(crate) fn rewrite(&mut self, now: Instant, of: u64, sequence: u16, timestamp: u32) -> Option<Rewritten> {
        let goes_on = self.source.as_ref().is_some_and(|source| {
            let step = sequence.wrapping_sub(source.highest) as i16;
            source.of == of && step.saturating_abs() <= STEP
        });
        if !goes_on {
            self.switch(now, of, sequence, timestamp);
        }
        let source = self.source.as_mut()?;
        if goes_on && (sequence.wrapping_sub(source.first) as i16) < 0 {
            return None;
        }
        let out = Rewritten {
            sequence: sequence.wrapping_add(source.sequence),
            timestamp: timestamp.wrapping_add(source.timestamp),
            begins: !goes_on,
        };
        if !goes_on || (sequence.wrapping_sub(source.highest) as i16) > 0 {
            source.highest = sequence;
            // So that "before the switch" stays within half a turn of the numbers.
            if (sequence.wrapping_sub(source.first) as i16) > STEP * 2 {
                source.first = sequence.wrapping_sub(STEP as u16);
            }
            self.last = Some(Last { sequence: out.sequence, timestamp: out.timestamp, at: now });
        }
        Some(out)
    }

    /// What comes next was not sent all: the server kept some of it back. To the listener nothing is missing.
    pub(crate) fn interrupt(&mut self) {
        self.source = None;
    }

    /// The time in the stream at an instant, if it has begun.
    pub(crate) fn timestamp_at(&self, now: Instant) -> Option<u32> {
        self.last.map(|last| last.timestamp.wrapping_add(samples(now, last.at)))
    }

    fn switch(&mut self, now: Instant, of: u64, sequence: u16, timestamp: u32) {
        let (next, at) = match self.last {
            // Time goes on as long as nothing was said, and never stands still.
            Some(last) => {
                (last.sequence.wrapping_add(1), last.timestamp.wrapping_add(samples(now, last.at).max(PACKET)))
            }
            None => (sequence, timestamp),
        };
        self.source = Some(Source {
            of,
            highest: sequence,
            first: sequence,
            sequence: next.wrapping_sub(sequence),
            timestamp: at.wrapping_sub(timestamp),
        });
    }
}

fn samples(now: Instant, since: Instant) -> u32 {
    let millis = now.saturating_duration_since(since).as_millis() as u64;
    (millis.wrapping_mul(u64::from(CLOCK / 1_000))) as u32
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn go(rewriter: &mut Rewriter, now: Instant, of: u64, sequence: u16) -> Option<(u16, u32, bool)> {
        let out = rewriter.rewrite(now, of, sequence, u32::from(sequence).wrapping_mul(960))?;
        Some((out.sequence, out.timestamp, out.begins))
    }

    #[test]
    fn one_speaker_goes_through_with_gaps_and_disorder() {
        let (mut rewriter, now) = (Rewriter::default(), Instant::now());
        assert_eq!(go(&mut rewriter, now, 1, 10), Some((10, 9_600, true)));
        assert_eq!(go(&mut rewriter, now, 1, 12), Some((12, 11_520, false)));
        assert_eq!(go(&mut rewriter, now, 1, 11), Some((11, 10_560, false)));
        assert_eq!(go(&mut rewriter, now, 1, 13), Some((13, 12_480, false)));
    }

    #[test]
    fn a_switch_goes_on_where_the_last_was() {
        let (mut rewriter, now) = (Rewriter::default(), Instant::now());
        go(&mut rewriter, now, 1, 10);
        let later = now + Duration::from_millis(100);
        assert_eq!(go(&mut rewriter, later, 2, 5_000), Some((11, 9_600 + 4_800, true)));
        assert_eq!(go(&mut rewriter, later, 2, 5_001), Some((12, 9_600 + 4_800 + 960, false)));
        // From before the switch: it would be a duplicate of somebody else's.
        assert_eq!(go(&mut rewriter, later, 2, 4_999), None);
        // Back at once: time moves on all the same.
        assert_eq!(go(&mut rewriter, later, 1, 11), Some((13, 9_600 + 4_800 + 1_920, true)));
    }

    #[test]
    fn what_was_kept_back_is_no_loss() {
        let (mut rewriter, now) = (Rewriter::default(), Instant::now());
        go(&mut rewriter, now, 1, 10);
        rewriter.interrupt();
        let later = now + Duration::from_secs(1);
        assert_eq!(go(&mut rewriter, later, 1, 60), Some((11, 9_600 + 48_000, true)));
        assert_eq!(go(&mut rewriter, later, 1, 59), None);
        assert_eq!(go(&mut rewriter, later, 1, 61), Some((12, 9_600 + 48_000 + 960, false)));
    }

    #[test]
    fn numbers_wrap() {
        let (mut rewriter, now) = (Rewriter::default(), Instant::now());
        let mut sequence = 60_000u16;
        let mut expected = 60_000u16;
        for _ in 0..100_000u32 {
            let out = rewriter.rewrite(now, 1, sequence, 0).expect("in order");
            assert_eq!(out.sequence, expected);
            sequence = sequence.wrapping_add(1);
            expected = expected.wrapping_add(1);
        }
    }

    #[test]
    fn a_leap_is_a_new_beginning() {
        let (mut rewriter, now) = (Rewriter::default(), Instant::now());
        go(&mut rewriter, now, 1, 10);
        assert_eq!(go(&mut rewriter, now, 1, 5_010).map(|out| (out.0, out.2)), Some((11, true)));
    }

    #[test]
    fn the_clock_of_a_stream_goes_on_in_silence() {
        let (mut rewriter, now) = (Rewriter::default(), Instant::now());
        assert_eq!(rewriter.timestamp_at(now), None);
        go(&mut rewriter, now, 1, 10);
        assert_eq!(rewriter.timestamp_at(now + Duration::from_secs(1)), Some(9_600 + 48_000));
    }
}
