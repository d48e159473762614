//! When a shard waits a moment before it writes, so that more is written at once. Pure.
//!
//! One write costs a socket about as much as thirty frames more in it. So when turns are long, because many sockets are
//! written, and events come faster than turns pass, the next turn begins a moment after its first event. An event that
//! comes alone is never waited with.

use std::time::{Duration, Instant};

use crate::shard::Command;

/// How long is waited.
pub(super) const WAIT: Duration = Duration::from_millis(1);
/// Turns that take less are not worth it.
const LONG: Duration = Duration::from_millis(2);
/// How long after a turn with several events more are expected.
const SOON: Duration = Duration::from_millis(100);

/// What is known of the turns before.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When a long turn with several events ended.
    busy: Option<Instant>,
}

impl Pace {
    /// Whether to wait before a turn that begins with these commands.
    pub(super) fn waits(&self, now: Instant, turn: &[Command]) -> bool {
        let soon = self.busy.is_some_and(|ended| now.saturating_duration_since(ended) < SOON);
        soon && turn.iter().all(|command| matches!(command, Command::Deliver(_)))
    }

    /// A turn with so many events is over. A single one tells nothing: events may have been waited with.
    pub(super) fn turned(&mut self, begun: Instant, ended: Instant, events: usize) {
        let long = ended.saturating_duration_since(begun) >= LONG;
        match events {
            0 => {}
            1 => self.busy = None,
            _ => self.busy = long.then_some(ended),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_turns_with_several_events_make_the_next_one_wait() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert!(!pace.waits(at(0), &[]));
        pace.turned(at(0), at(9), 1);
        assert!(!pace.waits(at(9), &[]));
        pace.turned(at(10), at(11), 5);
        assert!(!pace.waits(at(11), &[]));
        pace.turned(at(11), at(20), 5);
        assert!(pace.waits(at(21), &[]));
        assert!(!pace.waits(at(21), &[Command::Stop]));
        assert!(!pace.waits(at(200), &[]));
        pace.turned(at(201), at(209), 1);
        assert!(!pace.waits(at(210), &[]));
    }
}
