//! What is known of a key's log: its seals, what is kept, where it ends. Pure.

use std::collections::BTreeMap;

use clarion_model::key::{Epoch, Position};
use clarion_model::ownership::Chain;

use crate::Tail;

/// The seals of a key: what each epoch goes on after.
pub(super) type Seals = BTreeMap<Epoch, Position>;

/// A key whose seal is acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) seals: Seals,
    /// The last entry that was forgotten.
    pub(super) trimmed: Position,
    /// The newest row, written or not: an entry of this epoch, or its seal.
    pub(super) proposed: Position,
    /// The last entry that is acknowledged and in the tables.
    pub(super) applied: Position,
    /// The highest message id up to `proposed`.
    pub(super) last_id: u64,
    /// The highest timestamp given to an entry or seal.
    pub(super) stamp: i64,
}

/// Which entries of a log a reader may see.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    chain: Chain,
    pub(super) trimmed: Position,
    upto: Position,
}

impl Line {
    /// A timestamp for the next entry: the clock's, unless the last one was as late.
    pub(super) fn next_stamp(&mut self, now_us: i64) -> i64 {
        self.stamp = now_us.max(self.stamp + 1);
        self.stamp
    }

    /// How many entries are kept.
    pub(super) fn entries(&self) -> u64 {
        count(&self.seals, self.applied, self.trimmed)
    }

    /// The last entry at or before a position.
    pub(super) fn entry_at(&self, upto: Position) -> Position {
        let found = stretches(&self.seals, self.applied).into_iter().find_map(|last| {
            let first = Position { epoch: last.epoch, offset: 1 };
            (last.offset > 0 && upto >= first).then_some(last.min(upto))
        });
        found.unwrap_or(Position::START)
    }

    /// Where the log ends.
    pub(super) fn tail(&self) -> Tail {
        Tail { position: self.applied, last_id: self.last_id, entries: self.entries() }
    }

    pub(super) fn seen(&self) -> Seen {
        Seen::new(&self.seals, self.trimmed, self.applied)
    }
}

impl Seen {
    pub(super) fn new(seals: &Seals, trimmed: Position, upto: Position) -> Self {
        let chain = Chain::new(seals.iter().map(|(epoch, after)| (*epoch, *after)));
        Self { chain, trimmed, upto }
    }

    pub(super) fn holds(&self, place: Position) -> bool {
        place > self.trimmed && place <= self.upto && self.chain.holds(place)
    }
}

/// The last entry of a log whose newest row is given. `None` if a seal is missing.
pub(super) fn last_entry(seals: &Seals, newest: Position) -> Option<Position> {
    let mut at = newest;
    while at.offset == 0 && at != Position::START {
        let after = *seals.get(&at.epoch)?;
        if after >= at {
            return None;
        }
        at = after;
    }
    Some(at)
}

/// How many entries there are after `trimmed`, up to `end`: offsets of an epoch have no holes.
pub(super) fn count(seals: &Seals, end: Position, trimmed: Position) -> u64 {
    let stretches = stretches(seals, end).into_iter();
    let kept = stretches.map(|last| match last.epoch.cmp(&trimmed.epoch) {
        std::cmp::Ordering::Greater => last.offset,
        std::cmp::Ordering::Equal => last.offset.saturating_sub(trimmed.offset),
        std::cmp::Ordering::Less => 0,
    });
    // What a damaged seal says may be too much for a number.
    kept.fold(0, u64::saturating_add)
}

/// The last place of each epoch that the log goes through, newest first, as [`Chain`] walks it.
fn stretches(seals: &Seals, end: Position) -> Vec<Position> {
    let mut end = end;
    let mut found = Vec::new();
    for (epoch, after) in seals.iter().rev() {
        if *epoch <= end.epoch {
            if *epoch == end.epoch {
                found.push(end);
            }
            end = *after;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, offset: u64) -> Position {
        Position { epoch: Epoch(epoch), offset }
    }

    /// Epochs 1 to 6 entries, 2 sealed late and passed by, 4 sealed and left empty, 7 with 3 entries.
    fn line() -> Line {
        let seals = [(1, Position::START), (2, at(1, 5)), (4, at(1, 6)), (7, at(4, 0))];
        Line {
            seals: seals.into_iter().map(|(epoch, after)| (Epoch(epoch), after)).collect(),
            trimmed: Position::START,
            proposed: at(7, 4),
            applied: at(7, 3),
            last_id: 0,
            stamp: 10,
        }
    }

    #[test]
    fn entries_are_counted_along_the_chain() {
        let mut line = line();
        let counts = [(Position::START, 9), (at(1, 2), 7), (at(1, 6), 3), (at(7, 1), 2), (at(7, 3), 0)];
        for (trimmed, expected) in counts {
            line.trimmed = trimmed;
            assert_eq!(line.entries(), expected, "after {trimmed}");
        }
    }

    #[test]
    fn a_position_is_brought_back_to_an_entry() {
        let line = line();
        let cases = [
            (Position::START, Position::START),
            (at(1, 0), Position::START),
            (at(1, 4), at(1, 4)),
            (at(1, 9), at(1, 6)),
            (at(2, 3), at(1, 6)),
            (at(4, 0), at(1, 6)),
            (at(7, 0), at(1, 6)),
            (at(7, 2), at(7, 2)),
            (at(9, 9), at(7, 3)),
        ];
        for (upto, expected) in cases {
            assert_eq!(line.entry_at(upto), expected, "at {upto}");
        }
    }

    #[test]
    fn readers_see_what_is_acknowledged_and_kept() {
        let mut line = line();
        line.trimmed = at(1, 2);
        let seen = line.seen();
        assert!(seen.holds(at(1, 3)) && seen.holds(at(1, 6)) && seen.holds(at(7, 3)));
        assert!(!seen.holds(at(1, 2)), "forgotten");
        assert!(!seen.holds(at(1, 7)) && !seen.holds(at(2, 1)), "beyond a seal");
        assert!(!seen.holds(at(7, 4)), "not acknowledged");
    }

    #[test]
    fn the_last_entry_lies_behind_empty_epochs() {
        let seals = line().seals;
        assert_eq!(last_entry(&seals, at(4, 0)), Some(at(1, 6)));
        assert_eq!(last_entry(&seals, at(7, 3)), Some(at(7, 3)));
        assert_eq!(last_entry(&seals, at(1, 0)), Some(Position::START));
        assert_eq!(last_entry(&Seals::new(), Position::START), Some(Position::START));
        assert_eq!(last_entry(&seals, at(9, 0)), None, "no such seal");
    }

    #[test]
    fn stamps_rise_when_the_clock_does_not() {
        let mut line = line();
        assert_eq!([line.next_stamp(5), line.next_stamp(50), line.next_stamp(50)], [11, 50, 51]);
    }
}
