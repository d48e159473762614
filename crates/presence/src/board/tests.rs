//! The board against a model of it that keeps every word and works everything out anew.

use super::*;
use clarion_model::presence::{Activity, Device, Devices};
use proptest::prelude::*;

const LEASE: Duration = Duration::from_secs(10);

fn word(status: Status, device: Device, activity: Option<u8>) -> Presence {
    let activity =
        activity.map(|n| Activity { name: format!("a{n}"), kind: 0, state: None, url: None, created_at_ms: 1 });
    Presence { status, activities: activity.into_iter().collect(), devices: Devices::one(device, status) }
}

#[derive(Debug, Clone)]
enum Step {
    Join(usize),
    Leave(usize),
    Beat(usize),
    AllSaid(usize),
    Say(usize, u64, Presence, bool),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let statuses = vec![Status::Online, Status::Idle, Status::Dnd, Status::Invisible, Status::Offline];
    let devices = vec![Device::Desktop, Device::Mobile, Device::Web];
    let presence =
        (proptest::sample::select(statuses), proptest::sample::select(devices), proptest::option::of(0u8..3))
            .prop_map(|(status, device, activity)| word(status, device, activity));
    prop_oneof![
        1 => (0usize..3).prop_map(Step::Join),
        1 => (0usize..3).prop_map(Step::Leave),
        2 => (0usize..3).prop_map(Step::Beat),
        1 => (0usize..3).prop_map(Step::AllSaid),
        8 => (0usize..3, 1u64..4, presence, any::<bool>()).prop_map(|(g, user, word, spare)| Step::Say(g, user, word, spare)),
        2 => (0u64..8).prop_map(Step::Pass),
    ]
}

/// A gateway in the model.
#[derive(Debug, Clone, Default)]
struct Known {
    stream: Option<u64>,
    until: Option<Instant>,
    words: BTreeMap<u64, (Presence, bool)>,
}

fn shown(model: &[Known], user: u64) -> Presence {
    let words = model.iter().filter_map(|g| g.words.get(&user)).map(|(word, _)| word);
    Presence::merge(words).shown()
}

proptest! {
    #[test]
    fn everybody_is_shown_what_the_live_words_come_to(steps in proptest::collection::vec(step(), 1..80)) {
        let mut now = Instant::now();
        let names: Vec<Arc<str>> = (0..3).map(|n| format!("gateway-{n}").into()).collect();
        let mut board = Board::new(LEASE, 1_000);
        let mut model = vec![Known::default(); 3];
        let mut streams = 0;
        // Of users, whether the last word said that another server counts them.
        let mut spare = [false; 4];
        for step in steps {
            let before: Vec<Presence> = (1..4).map(|user| shown(&model, user)).collect();
            let mut changes = Vec::new();
            match step {
                Step::Join(n) => {
                    streams += 1;
                    let former = board.join(now, &names[n], streams);
                    prop_assert_eq!(former, model[n].stream);
                    model[n].stream = Some(streams);
                    model[n].until = Some(now + LEASE);
                    model[n].words.values_mut().for_each(|(_, fresh)| *fresh = false);
                }
                Step::Leave(n) => {
                    if let Some(stream) = model[n].stream.take() {
                        board.leave(now, &names[n], stream);
                        model[n].until = Some(now + LEASE);
                    }
                }
                Step::Beat(n) => {
                    board.beat(now, &names[n]);
                    model[n].until = model[n].until.map(|_| now + LEASE);
                }
                Step::AllSaid(n) => {
                    changes.extend(board.all_said(&names[n]));
                    model[n].words.retain(|_, (_, fresh)| *fresh);
                }
                Step::Say(n, user, word, is_spare) => {
                    let said = board.say(&names[n], UserId(user), word.clone(), is_spare).expect("there is room");
                    changes.extend(said.change);
                    if model[n].until.is_some() {
                        if word.status != Status::Offline {
                            spare[user as usize] = is_spare;
                        }
                        let known = match word.status {
                            Status::Offline => model[n].words.remove(&user),
                            _ => model[n].words.insert(user, (word.clone(), true)),
                        };
                        let expected = match (known, word.status) {
                            (None, Status::Offline) => None,
                            (Some(_), Status::Offline) => Some(Kind::Disconnect),
                            (None, _) => Some(Kind::Connect),
                            (Some((old, _)), _) => (old != word).then_some(Kind::StatusChange),
                        };
                        prop_assert_eq!(said.kind, expected);
                    }
                }
                Step::Pass(seconds) => now += Duration::from_secs(seconds),
            }
            for expired in board.expire(now) {
                changes.extend(expired.changes);
            }
            for known in &mut model {
                if known.until.is_some_and(|until| until <= now) {
                    *known = Known::default();
                }
            }
            let after: Vec<Presence> = (1..4).map(|user| shown(&model, user)).collect();
            for (user, after) in (1..4).zip(&after) {
                let seen = board.of(UserId(user)).map(|p| (**p).clone()).unwrap_or_default();
                prop_assert_eq!(&seen, after);
            }
            // Several gateways may run out at once, each a change: the first and the last of them are what counts.
            for (user, (before, after)) in (1..4).zip(before.iter().zip(&after)) {
                let told: Vec<&Change> = changes.iter().filter(|c| c.user == UserId(user)).collect();
                prop_assert!(told.windows(2).all(|w| w[0].after == w[1].before));
                match (told.first(), told.last()) {
                    (Some(first), Some(last)) => prop_assert_eq!((&*first.before, &*last.after), (before, after)),
                    _ => prop_assert_eq!(before, after),
                }
            }
            let count = |status| (1..4).zip(&after).filter(|(user, p)| !spare[*user] && p.status == status).count();
            let expected = Shown { online: count(Status::Online), idle: count(Status::Idle), dnd: count(Status::Dnd) };
            prop_assert_eq!(board.shown(), expected);
            prop_assert_eq!(board.words, model.iter().map(|g| g.words.len()).sum::<usize>());
            for (n, known) in model.iter().enumerate() {
                prop_assert_eq!(board.words_of(&names[n]).count(), known.words.len());
            }
        }
    }
}

#[test]
fn a_gateway_that_hangs_runs_out_like_one_that_is_gone() {
    let (now, gateway): (_, Arc<str>) = (Instant::now(), "gateway-0".into());
    let mut board = Board::new(LEASE, 10);
    board.join(now, &gateway, 1);
    board.say(&gateway, UserId(1), word(Status::Online, Device::Web, None), false).expect("room");
    board.beat(now + LEASE / 2, &gateway);
    assert!(board.expire(now + LEASE).is_empty());
    let expired = board.expire(now + LEASE * 3 / 2);
    assert_eq!((expired.len(), expired[0].words, expired[0].changes.len()), (1, 1, 1));
    assert!(!board.knows(&gateway));
}

#[test]
fn there_is_a_bound_and_what_is_known_can_still_change() {
    let (now, gateway): (_, Arc<str>) = (Instant::now(), "gateway-0".into());
    let mut board = Board::new(LEASE, 1);
    board.join(now, &gateway, 1);
    let online = || word(Status::Online, Device::Web, None);
    board.say(&gateway, UserId(1), online(), false).expect("room");
    assert_eq!(board.say(&gateway, UserId(2), online(), false), Err(Full));
    assert!(board.say(&gateway, UserId(1), word(Status::Dnd, Device::Web, None), false).is_ok());
    board.say(&gateway, UserId(1), Presence::default(), false).expect("taken back");
    assert!(board.say(&gateway, UserId(2), online(), false).is_ok());
}

#[test]
fn what_was_found_holds_a_lease_unless_its_gateway_comes_back() {
    let (now, gateway): (_, Arc<str>) = (Instant::now(), "gateway-0".into());
    let mut board = Board::new(LEASE, 10);
    let online = || word(Status::Online, Device::Web, None);
    assert_eq!(board.restore(now, &gateway, [(UserId(1), online()), (UserId(2), online())]).len(), 2);
    board.join(now, &gateway, 1);
    assert_eq!(board.say(&gateway, UserId(1), online(), false).map(|said| said.kind), Ok(None));
    let void = board.all_said(&gateway);
    assert_eq!(void.iter().map(|c| c.user).collect::<Vec<_>>(), [UserId(2)]);
}

#[test]
fn whom_another_server_counts_is_shown_all_the_same() {
    let (now, gateway): (_, Arc<str>) = (Instant::now(), "gateway-0".into());
    let mut board = Board::new(LEASE, 10);
    let online = || word(Status::Online, Device::Web, None);
    board.join(now, &gateway, 1);
    let said = board.say(&gateway, UserId(1), online(), true).expect("room");
    assert!(said.change.is_some_and(|change| change.spare));
    assert!(board.of(UserId(1)).is_some());
    assert_eq!(board.shown().online, 0);
    // The other server is gone: the same word counts here, and is no news to those who watch.
    let said = board.say(&gateway, UserId(1), online(), false).expect("room");
    assert_eq!((said, board.shown().online), (Said { kind: None, change: None }, 1));
    board.say(&gateway, UserId(1), online(), true).expect("room");
    assert_eq!(board.shown(), Shown::default());
}

#[test]
fn a_server_that_hung_itself_holds_it_against_nobody() {
    let (now, gateway): (_, Arc<str>) = (Instant::now(), "gateway-0".into());
    let mut board = Board::new(LEASE, 10);
    board.join(now, &gateway, 1);
    board.forgive(now + 5 * LEASE);
    assert!(board.expire(now + 5 * LEASE).is_empty());
    assert_eq!(board.expire(now + 6 * LEASE).len(), 1);
}
