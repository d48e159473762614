//! The checker finds what is planted, and nothing else.

use proptest::prelude::*;

use super::*;

const SOCKETS: usize = 3;

/// What a socket gets.
type Got = Vec<u64>;

/// Messages 1 to `count` of two senders; every socket gets what `change` makes of them.
fn run(count: u64, mut change: impl FnMut(usize, &mut Got)) -> Verdict {
    let mut checker = Checker::new(1, SOCKETS);
    let mut gets: Vec<Got> = (0..SOCKETS).map(|_| (1..=count).collect()).collect();
    (0..SOCKETS).for_each(|socket| checker.begin(socket, 0, 0));
    gets.iter_mut().enumerate().for_each(|(socket, got)| change(socket, got));
    for at in 0..gets.iter().map(Vec::len).max().unwrap_or(0) {
        for (socket, got) in gets.iter().enumerate() {
            if let Some(id) = got.get(at) {
                deliver(&mut checker, socket, *id);
            }
        }
    }
    (1..=count).for_each(|id| checker.acknowledged(0, id, (id % 2) as u32, (id / 2) as u32));
    checker.finish()
}

fn deliver(checker: &mut Checker, socket: usize, id: u64) {
    checker.delivered(socket, 0, id, (id % 2) as u32, (id / 2) as u32);
}

fn found(verdict: &Verdict) -> Vec<Fault> {
    verdict.faults.keys().copied().collect()
}

#[test]
fn a_run_without_faults_is_clean() {
    let verdict = run(50, |_, _| {});
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!((verdict.messages, verdict.deliveries, verdict.acknowledged), (50, 150, 50));
}

#[test]
fn a_message_lost_by_one_or_by_all_is_found() {
    let drop = |_: usize, got: &mut Got| {
        got.remove(20);
    };
    assert!(
        found(&run(50, |socket, got| if socket == 1 {
            drop(socket, got)
        }))
        .contains(&Fault::Lost)
    );
    // Nobody got it: it is known by its acknowledgement.
    let verdict = run(50, drop);
    assert_eq!((found(&verdict), verdict.lost), (vec![Fault::Lost], SOCKETS as u64));
    // The last one of all leaves no gap behind it.
    assert_eq!(
        found(&run(50, |socket, got| if socket == 2 {
            got.truncate(49)
        })),
        [Fault::Lost]
    );
}

#[test]
fn a_message_that_comes_twice_is_found() {
    for (again, at) in [(20, 20), (3, 40)] {
        let verdict = run(50, |socket, got| {
            if socket == 0 {
                got.insert(at, again)
            }
        });
        assert!(found(&verdict).contains(&Fault::Twice), "{verdict:?}");
    }
}

#[test]
fn messages_that_change_places_are_found() {
    assert!(
        !run(50, |socket, got| if socket == 1 {
            got.swap(20, 21)
        })
        .is_clean()
    );
    assert!(!run(50, |_, got| got.swap(20, 21)).is_clean(), "also when all see the same");
}

#[test]
fn a_send_that_makes_two_messages_is_found() {
    let mut checker = Checker::new(1, 1);
    checker.begin(0, 0, 0);
    checker.delivered(0, 0, 1, 0, 0);
    checker.delivered(0, 0, 2, 0, 0);
    assert_eq!(found(&checker.finish()), [Fault::Twice]);
}

#[test]
fn a_senders_numbers_rise() {
    let mut checker = Checker::new(1, 1);
    checker.begin(0, 0, 0);
    checker.delivered(0, 0, 1, 0, 1);
    checker.delivered(0, 0, 2, 0, 0);
    assert_eq!(found(&checker.finish()), [Fault::Order]);
    // Unless nobody knows what became of one of them.
    let mut checker = Checker::new(1, 1);
    checker.begin(0, 0, 0);
    checker.delivered(0, 0, 1, 0, 1);
    checker.delivered(0, 0, 2, 0, 0);
    checker.unsettled(0, 0, 0);
    assert!(checker.finish().is_clean());
}

#[test]
fn a_message_that_is_another_is_found() {
    let mut checker = Checker::new(1, 1);
    checker.begin(0, 0, 0);
    checker.acknowledged(0, 1, 0, 0);
    checker.delivered(0, 0, 1, 0, 5);
    assert!(found(&checker.finish()).contains(&Fault::Changed));
}

#[test]
fn a_new_session_begins_where_the_channel_stands() {
    let mut checker = Checker::new(1, 2);
    checker.begin(0, 0, 0);
    checker.begin(1, 0, 0);
    (1..=10).for_each(|id| deliver(&mut checker, 0, id));
    (1..=3).for_each(|id| deliver(&mut checker, 1, id));
    assert_eq!(checker.behind(), 1);
    checker.end(1);
    checker.begin(1, 0, 7);
    (8..=10).for_each(|id| deliver(&mut checker, 1, id));
    assert_eq!(checker.behind(), 0);
    let verdict = checker.finish();
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!((verdict.sessions, verdict.away), (3, 4));
}

#[test]
fn a_guild_that_is_told_again_hides_no_gap() {
    let mut checker = Checker::new(1, 2);
    checker.begin(0, 0, 0);
    checker.begin(1, 0, 0);
    (1..=10).for_each(|id| deliver(&mut checker, 0, id));
    checker.begin(1, 0, 5);
    (6..=10).for_each(|id| deliver(&mut checker, 1, id));
    let verdict = checker.finish();
    assert_eq!((verdict.lost, verdict.away), (5, 0));
}

#[test]
fn a_new_session_that_misses_its_first_message_is_found() {
    let mut checker = Checker::new(1, 2);
    checker.begin(0, 0, 0);
    (1..=10).for_each(|id| deliver(&mut checker, 0, id));
    checker.begin(1, 0, 7);
    (9..=10).for_each(|id| deliver(&mut checker, 1, id));
    assert!(found(&checker.finish()).contains(&Fault::Lost));
}

#[test]
fn what_comes_again_after_a_death_is_no_fault_where_it_is_said() {
    let judged = |said: bool, replay: &[u64]| {
        let mut checker = Checker::new(1, 2);
        (0..2).for_each(|socket| checker.begin(socket, 0, 0));
        (1..=10).for_each(|id| deliver(&mut checker, 0, id));
        (1..=6).for_each(|id| deliver(&mut checker, 1, id));
        if said {
            checker.again(1, 0, replay[0]);
        }
        replay.iter().for_each(|id| deliver(&mut checker, 1, *id));
        let verdict = checker.finish();
        (found(&verdict), verdict.repeated)
    };
    assert_eq!(judged(true, &[4, 5, 6, 7, 8, 9, 10]), (vec![], 3));
    assert_eq!(judged(true, &[7, 8, 9, 10]), (vec![], 0));
    assert_eq!(judged(true, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), (vec![], 6));
    assert_eq!(judged(false, &[4, 5, 6, 7, 8, 9, 10]).0, [Fault::Twice]);
    // Nothing may be left out of it, change places, come a third time, or be missed before it.
    assert!(judged(true, &[4, 6, 7, 8, 9, 10]).0.contains(&Fault::Lost));
    assert!(judged(true, &[4, 5, 7, 6, 8, 9, 10]).0.contains(&Fault::Twice));
    assert!(judged(true, &[4, 5, 5, 6, 7, 8, 9, 10]).0.contains(&Fault::Twice));
    assert!(judged(true, &[8, 9, 10]).0.contains(&Fault::Lost));
}

#[test]
fn a_history_without_something_acknowledged_is_found() {
    let history: Vec<Entry> = (1..=10).map(|id| entry(id, 0, id as u32)).collect();
    let judged = |history: &[Entry]| {
        let mut checker = Checker::new(1, 0);
        (1..=10).for_each(|id| checker.acknowledged(0, id, 0, id as u32));
        checker.history(0, history);
        found(&checker.finish())
    };
    assert!(judged(&history).is_empty());
    let more = [&history[..], &[entry(11, 0, 11)]].concat();
    assert!(judged(&more).is_empty(), "what was not acknowledged may be there");
    assert_eq!(judged(&history[..9]), [Fault::Lost]);
    let twice = [&history[..], &[entry(11, 0, 10)]].concat();
    assert_eq!(judged(&twice), [Fault::Twice]);
    let mut swapped = history.clone();
    swapped.swap(2, 3);
    assert_eq!(judged(&swapped), [Fault::Order]);
}

proptest! {
    /// Any one fault at any place is found, whoever hears of it first.
    #[test]
    fn every_planted_fault_is_found(victim in 0..SOCKETS, place in 0usize..28, kind in 0..3) {
        let verdict = run(30, |socket, got| if socket == victim {
            match kind {
                0 => {
                    got.remove(place);
                }
                1 => got.insert(place, got[place]),
                _ => got.swap(place, place + 1),
            }
        });
        prop_assert!(!verdict.is_clean());
    }

    /// Acknowledgements and deliveries may come in any order among sockets.
    #[test]
    fn sockets_that_are_not_equally_fast_are_no_fault(lags in prop::collection::vec(0usize..20, SOCKETS), early in 0u64..30) {
        let mut checker = Checker::new(1, SOCKETS);
        (0..SOCKETS).for_each(|socket| checker.begin(socket, 0, 0));
        (1..=early).rev().for_each(|id| checker.acknowledged(0, id, (id % 2) as u32, (id / 2) as u32));
        for step in 0..60usize {
            for (socket, lag) in lags.iter().enumerate() {
                if let Some(id) = (step + 1).checked_sub(*lag).filter(|id| (1..=30).contains(id)) {
                    deliver(&mut checker, socket, id as u64);
                }
            }
        }
        prop_assert!(checker.finish().is_clean());
    }
}

/// What a broken server could do, each found by itself: it acknowledges before it has written, and dies; it drops one
/// event, swaps two, or doubles one on the way to one socket.
#[test]
fn four_planted_faults_are_found() {
    let all: Vec<u64> = (1..=40).collect();
    let judged = |history: &[u64], got: &[u64]| {
        let mut checker = Checker::new(1, 2);
        (0..2).for_each(|socket| checker.begin(socket, 0, 0));
        history.iter().for_each(|id| deliver(&mut checker, 0, *id));
        got.iter().for_each(|id| deliver(&mut checker, 1, *id));
        all.iter().for_each(|id| checker.acknowledged(0, *id, (id % 2) as u32, (id / 2) as u32));
        let history: Vec<Entry> = history.iter().map(|id| entry(*id, (id % 2) as u32, (id / 2) as u32)).collect();
        checker.history(0, &history);
        found(&checker.finish())
    };
    assert!(judged(&all, &all).is_empty());
    let unwritten: Vec<u64> = all.iter().copied().filter(|id| *id != 17).collect();
    assert!(judged(&unwritten, &unwritten).contains(&Fault::Lost), "acknowledged, and not written");
    assert!(judged(&all, &unwritten).contains(&Fault::Lost), "one event dropped");
    let mut swapped = all.clone();
    swapped.swap(16, 17);
    assert!(judged(&all, &swapped).contains(&Fault::Twice), "two swapped: the earlier one comes late");
    let doubled = [&all[..17], &all[16..]].concat();
    assert!(judged(&all, &doubled).contains(&Fault::Twice), "one doubled");
}
