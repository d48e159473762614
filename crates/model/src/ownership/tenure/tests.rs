//! The tenure by itself: what it lets happen, in which order. What the rules are good for is tested over a store.

use super::*;
use crate::id::GuildId;

const KEY: Key = Key::Guild(GuildId(1));
const OTHER: Key = Key::Guild(GuildId(2));
const MINE: Epoch = Epoch(7);
const NOW: Timestamp = Timestamp::from_millis(id::EPOCH_MS + 1);

fn at(offset: u64) -> Position {
    Position { epoch: MINE, offset }
}

/// A tenure whose key continues after 3:9, with the seal waiting.
fn opened() -> Tenure<&'static str> {
    let mut tenure = Tenure::begin(MINE);
    let tail = Tail { position: Position { epoch: Epoch(3), offset: 9 }, last_id: 1_000 };
    tenure.open(KEY, tail).expect("the tenure is new");
    tenure
}

fn write(tenure: &mut Tenure<&'static str>) -> Check {
    let ticket = tenure.next_batch().expect("rows wait").ticket;
    tenure.written(ticket).expect("it is the batch being written")
}

fn places(verdict: Verdict<&'static str>) -> Vec<Position> {
    match verdict {
        Verdict::Acknowledge(rows) => rows.iter().map(|row| row.position).collect(),
        Verdict::Fenced => panic!("fenced"),
    }
}

#[test]
fn the_first_row_seals_what_was_read() {
    let mut tenure = opened();
    tenure.propose(KEY, "a").expect("open");
    let rows = &tenure.next_batch().expect("rows wait").rows;
    let after = Position { epoch: Epoch(3), offset: 9 };
    assert_eq!(rows[0], Row { key: KEY, position: at(0), last_id: 1_000, body: Body::Seal { after } });
    assert_eq!(rows[1], Row { key: KEY, position: at(1), last_id: 1_000, body: Body::Entry("a") });
}

#[test]
fn nothing_is_acknowledged_unwritten_or_unchecked() {
    let mut tenure = opened();
    assert_eq!(tenure.acknowledged(KEY), None);
    let check = write(&mut tenure);
    assert_eq!(tenure.acknowledged(KEY), None);
    tenure.propose(KEY, "later").expect("open");
    assert_eq!(places(tenure.epoch_read(check, MINE)), [at(0)]);
    assert_eq!(tenure.acknowledged(KEY), Some(at(0)));
}

#[test]
fn one_batch_is_written_at_a_time_and_the_same_one_again() {
    let mut tenure = opened();
    let ticket = tenure.next_batch().expect("rows wait").ticket;
    tenure.propose(KEY, "held back").expect("open");
    assert!(tenure.next_batch().is_none());
    assert_eq!(tenure.writing().map(|batch| (batch.ticket, batch.rows.len())), Some((ticket, 1)));
    assert!(tenure.written(ticket).is_some());
    assert_eq!(tenure.next_batch().map(|batch| batch.rows.len()), Some(1));
}

#[test]
fn answers_that_come_twice_are_no_news() {
    let mut tenure = opened();
    let ticket = tenure.next_batch().expect("rows wait").ticket;
    let check = tenure.written(ticket).expect("first");
    assert_eq!(tenure.written(ticket), None);
    tenure.propose(KEY, "a").expect("open");
    assert_ne!(tenure.next_batch().expect("rows wait").ticket, ticket);
    assert_eq!(tenure.written(ticket), None);
    assert_eq!(places(tenure.epoch_read(check, MINE)), [at(0)]);
    assert_eq!(places(tenure.epoch_read(check, MINE)), []);
}

#[test]
fn a_check_covers_what_was_written_before_it_and_no_more() {
    let mut tenure = opened();
    let first = write(&mut tenure);
    tenure.propose(KEY, "a").expect("open");
    let second = write(&mut tenure);
    tenure.propose(KEY, "b").expect("open");
    let _third = write(&mut tenure);
    assert_eq!(places(tenure.epoch_read(second, MINE)), [at(0), at(1)]);
    assert_eq!(places(tenure.epoch_read(first, MINE)), []);
}

#[test]
fn a_check_of_an_earlier_tenure_proves_nothing() {
    let mut earlier = Tenure::begin(Epoch(5));
    earlier.open(KEY, Tail::default()).expect("the tenure is new");
    let stale = write(&mut earlier);
    let mut tenure = opened();
    let check = write(&mut tenure);
    assert_eq!(places(tenure.epoch_read(stale, Epoch(5))), []);
    assert_eq!(places(tenure.epoch_read(stale, MINE)), []);
    assert_eq!(places(tenure.epoch_read(check, MINE)), [at(0)]);
}

#[test]
fn the_fenced_acknowledge_nothing_and_take_nothing() {
    let mut tenure = opened();
    let check = write(&mut tenure);
    tenure.propose(KEY, "a").expect("open");
    assert_eq!(tenure.epoch_read(check, Epoch(8)), Verdict::Fenced);
    assert_eq!(tenure.epoch_read(check, MINE), Verdict::Fenced);
    assert_eq!(tenure.propose(KEY, "b"), Err(Refused::Fenced));
    assert_eq!(tenure.next_id(KEY, NOW), Err(Refused::Fenced));
    assert_eq!(tenure.open(OTHER, Tail::default()), Err(Refused::Fenced));
    assert!(tenure.next_batch().is_none());
    let left: Vec<_> = tenure.give_up().iter().map(|row| row.position).collect();
    assert_eq!(left, [at(0), at(1)]);
}

#[test]
fn a_tail_of_a_later_epoch_fences() {
    let mut tenure = opened();
    let tail = Tail { position: Epoch(8).start(), last_id: 0 };
    assert_eq!(tenure.open(OTHER, tail), Err(Refused::Fenced));
    assert_eq!(tenure.propose(KEY, "a"), Err(Refused::Fenced));
}

#[test]
fn keys_are_opened_once_and_first() {
    let mut tenure = opened();
    assert_eq!(tenure.open(KEY, Tail::default()), Err(Refused::Open));
    assert_eq!(tenure.propose(OTHER, "a"), Err(Refused::NotOpen));
    assert_eq!(tenure.next_id(OTHER, NOW), Err(Refused::NotOpen));
}

#[test]
fn ids_go_on_from_the_tail_whatever_the_clock_says() {
    let mut tenure = opened();
    assert_eq!(tenure.next_id(KEY, Timestamp::default()), Ok(1_001));
    assert_eq!(tenure.next_id(KEY, NOW), Ok(id::first_of(NOW)));
    assert_eq!(tenure.next_id(KEY, Timestamp::default()), Ok(id::first_of(NOW) + 1));
    tenure.propose(KEY, "a").expect("open");
    let last_ids: Vec<_> = tenure.give_up().iter().map(|row| row.last_id).collect();
    assert_eq!(last_ids, [1_000, id::first_of(NOW) + 1]);
}
