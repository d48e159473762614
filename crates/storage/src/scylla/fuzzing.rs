//! What fuzzing finds in the tables of the store behind CQL.

use clarion_model::key::{Epoch, Position};
use prost::Message as _;

use super::change;
use super::line::{self, Line, Seals, Seen};
use super::record::{self, LogRow, Stored, StoredNonce};
use super::schema;

/// A row of a log, or what is known of a log; the first byte says which.
pub(crate) fn rows(data: &[u8]) {
    match data {
        [0, data @ ..] => line_of(data),
        [1, kind, id @ ..] => key(*kind, id),
        [_, data @ ..] => log_row(data),
        [] => {}
    }
}

/// Entries that are read are written as they were, and change as many rows the second time.
fn log_row(data: &[u8]) {
    let Ok(stored) = record::decode(data) else { return };
    let nonces = stored.iter().enumerate().filter_map(|(at, s)| Some(StoredNonce::new(at, s.nonce.as_ref()?)));
    let row = LogRow {
        entries: stored.iter().map(|stored| record::encode(&stored.entry)).collect(),
        stamps: stored.iter().map(|stored| stored.stamp).collect(),
        nonces: nonces.collect(),
    };
    let again: Vec<Stored> = record::decode(&row.encode_to_vec()).expect("what is written is read");
    assert_eq!(again, stored);
    let changes = change::of_all(&stored);
    assert!(changes.len() <= stored.len() * 4);
    assert_eq!(change::of_all(&again), changes);
}

fn key(kind: u8, id: &[u8]) {
    let Some(id) = id.first_chunk().map(|id| i64::from_be_bytes(*id)) else { return };
    if let Ok(of) = schema::key_of(kind as i8, id) {
        assert_eq!(schema::key(of), (kind as i8, id));
    }
    assert!(schema::bucket_of(id) >= 0 || id < 0);
}

/// Seals of three bytes each behind the ends of the log and of what is forgotten. Whatever seals say, no reader sees what
/// lies beyond the end or is forgotten, and counting comes to an end.
fn line_of(data: &[u8]) {
    let [a, b, c, d, seals @ ..] = data else { return };
    let (end, trimmed) = (at(*a, *b), at(*c, *d));
    let seals: Seals =
        seals.chunks_exact(3).take(64).map(|seal| (Epoch(wide(seal[0])), at(seal[1], seal[2]))).collect();
    if let Some(entry) = line::last_entry(&seals, end) {
        assert!(entry <= end && (entry.offset > 0 || entry == Position::START));
    }
    line::count(&seals, end, trimmed);
    let seen = Seen::new(&seals, trimmed, end);
    let places: Vec<Position> =
        seals.iter().flat_map(|(epoch, after)| [Position { epoch: *epoch, offset: 1 }, *after]).collect();
    for place in places.into_iter().chain([end, trimmed]) {
        assert!(!seen.holds(place) || (place <= end && place > trimmed));
    }
    let mut line = Line { seals, trimmed, proposed: end, applied: end, last_id: 0, stamp: 0 };
    assert!(line.entry_at(trimmed) <= trimmed);
    assert_eq!(line.tail().position, end);
    assert!(line.next_stamp(0) < line.next_stamp(0));
}

fn at(epoch: u8, offset: u8) -> Position {
    Position { epoch: Epoch(wide(epoch)), offset: wide(offset) }
}

/// The largest of a byte stands for the largest there is.
fn wide(byte: u8) -> u64 {
    if byte == u8::MAX { u64::MAX } else { byte.into() }
}
