//! Members come, hold, hang and go; one router orders.

use clarion_model::key::SLOTS;

use super::*;

const ALONE: Option<Lead> = Some(Lead { term: Epoch(0), until: None });

fn leading() -> Table {
    let table = Table::new();
    table.lead(ALONE);
    table
}

/// A channel server that has said what it holds.
fn join(table: &Table, name: &str, held: &[(u32, u64)]) -> (u64, mpsc::Receiver<JoinResponse>) {
    let (serial, orders) = table.join(name, MemberKind::Channel, Address::in_process(name));
    hold(table, name, held);
    (serial, orders)
}

fn hold(table: &Table, name: &str, slots: &[(u32, u64)]) {
    table.held(name, slots.iter().map(|(s, epoch)| (slot(*s), Epoch(*epoch))));
}

fn at(slots: &[u32], epoch: u64) -> Vec<(u32, u64)> {
    slots.iter().map(|slot| (*slot, epoch)).collect()
}

/// The next order that is one.
fn order(orders: &mut mpsc::Receiver<JoinResponse>) -> Option<JoinResponse> {
    loop {
        let order = orders.try_recv().ok()?;
        if !order.take.is_empty() || !order.release.is_empty() {
            return Some(order);
        }
    }
}

/// Carries out all orders until there are none; answers how many slots each holds, and how many have moved.
fn settle(table: &Table, members: &mut BTreeMap<&str, (mpsc::Receiver<JoinResponse>, BTreeMap<u32, u64>)>) -> usize {
    let (mut moved, mut epoch) = (0, 1_000);
    loop {
        let mut quiet = true;
        for (name, (orders, held)) in members.iter_mut() {
            while let Some(order) = order(orders) {
                assert!(order.release.len() <= MOVING, "too many at once");
                (quiet, epoch) = (false, epoch + 1);
                held.retain(|slot, _| !order.release.contains(slot));
                moved += order.take.len();
                held.extend(order.take.iter().map(|slot| (*slot, epoch)));
                hold(table, name, &held.iter().map(|(s, e)| (*s, *e)).collect::<Vec<_>>());
            }
        }
        if quiet {
            return moved;
        }
    }
}

#[test]
fn slots_move_to_a_joiner_only_after_they_are_released() {
    let table = leading();
    let (_, mut a) = join(&table, "a", &[]);
    let take = order(&mut a).expect("ordered").take;
    assert_eq!(take.len(), usize::from(SLOTS));
    hold(&table, "a", &at(&take, 1));
    assert_eq!(table.unowned(), 0);

    let (_, mut b) = join(&table, "b", &[]);
    assert!(order(&mut b).is_none(), "nothing to take before it is released");
    let release = order(&mut a).expect("ordered").release;
    assert_eq!(release.len(), MOVING, "not all at once");
    let rest: Vec<u32> = take.into_iter().filter(|slot| !release.contains(slot)).collect();
    hold(&table, "a", &at(&rest, 1));
    let take = order(&mut b).expect("ordered").take;
    assert_eq!(take, release);
    hold(&table, "b", &at(&take, 2));
    assert_eq!(table.owner(slot(take[0])).expect("owned").server, "b");
}

#[test]
fn a_joiner_takes_at_most_its_share() {
    let table = leading();
    let mut members = BTreeMap::new();
    for (n, name) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        members.insert(name, (join(&table, name, &[]).1, BTreeMap::new()));
        let moved = settle(&table, &mut members);
        let share = usize::from(SLOTS) as f64 / (n + 1) as f64;
        assert!(moved as f64 <= 1.05 * share, "{moved} slots moved to {name}");
        assert!(members.values().all(|(_, held)| held.len() as f64 <= share + 1.0));
        assert_eq!(table.unowned(), 0);
    }
}

#[test]
fn who_leaves_hands_over_what_it_has_and_nothing_else_moves() {
    let table = leading();
    let mut members = BTreeMap::new();
    for name in ["a", "b", "c"] {
        members.insert(name, (join(&table, name, &[]).1, BTreeMap::new()));
        settle(&table, &mut members);
    }
    let had = members["b"].1.len();
    table.leaving("b");
    assert_eq!(settle(&table, &mut members), had);
    assert!(members["b"].1.is_empty() && table.unowned() == 0);
}

#[test]
fn what_the_dead_held_is_taken_by_the_living() {
    let table = leading();
    let (serial, mut a) = join(&table, "a", &[]);
    let take = order(&mut a).expect("ordered").take;
    hold(&table, "a", &at(&take, 1));
    let (_, mut b) = join(&table, "b", &[]);
    table.gone("a", serial);
    let take = order(&mut b).expect("ordered").take;
    assert_eq!(take.len(), usize::from(SLOTS));
    assert_eq!(table.owner(slot(0)), None);
}

#[test]
fn a_stale_goodbye_does_not_remove_the_successor() {
    let table = leading();
    let (first, _a) = join(&table, "a", &[]);
    let (_, mut again) = join(&table, "a", &[]);
    table.gone("a", first);
    assert_eq!(order(&mut again).expect("ordered").take.len(), usize::from(SLOTS));
    assert_eq!(table.members(MemberKind::Channel).len(), 1);
}

#[test]
fn nothing_moves_while_a_server_comes_again() {
    let table = leading();
    let (_, _a) = join(&table, "a", &at(&(0..512).collect::<Vec<_>>(), 1));
    let (first, mut b) = join(&table, "b", &at(&(512..1_024).collect::<Vec<_>>(), 1));
    let (_, mut again) = table.join("b", MemberKind::Channel, Address::in_process("b"));
    table.gone("b", first);
    assert_eq!(table.unowned(), 0);
    hold(&table, "b", &at(&(512..1_024).collect::<Vec<_>>(), 1));
    assert!(order(&mut again).is_none() && order(&mut b).is_none());
}

#[test]
fn who_says_nothing_for_a_lease_is_gone() {
    let table = leading();
    let all: Vec<u32> = (0..SLOTS.into()).collect();
    let (_, mut a) = join(&table, "a", &at(&all, 1));
    let (_, mut b) = join(&table, "b", &[]);
    for _ in 0..TICKS {
        table.heard("b");
        assert_eq!(table.tick(), Vec::<String>::new());
    }
    table.heard("b");
    assert_eq!(table.tick(), ["a"]);
    assert_eq!(order(&mut b).expect("ordered").take.len(), usize::from(SLOTS));
    while a.try_recv().is_ok() {}
    assert!(a.is_closed(), "its stream ends");
}

#[test]
fn an_owner_that_slept_is_told_to_let_go() {
    let table = leading();
    let all: Vec<u32> = (0..SLOTS.into()).collect();
    let (_, _b) = join(&table, "b", &at(&all, 2));
    let (_, mut a) = join(&table, "a", &at(&all, 1));
    assert_eq!(table.owner(slot(7)).expect("owned").server, "b");
    assert_eq!(order(&mut a).expect("ordered").release.len(), usize::from(SLOTS));
}

#[test]
fn who_does_not_lead_orders_nothing_and_knows_all() {
    let table = Table::new();
    let (_, mut a) = join(&table, "a", &[(5, 3)]);
    assert!(order(&mut a).is_none());
    assert_eq!(table.owner(slot(5)).expect("owned").epoch, Epoch(3));
    let now = Instant::now();
    table.lead(Some(Lead { term: Epoch(8), until: Some(now + Duration::from_secs(60)) }));
    assert_eq!(a.try_recv().expect("told who leads").term, 8);
    assert_eq!(order(&mut a).expect("ordered").take.len(), usize::from(SLOTS) - 1);
    table.lead(Some(Lead { term: Epoch(9), until: Some(now) }));
    let (_, mut b) = join(&table, "b", &[]);
    assert!(order(&mut b).is_none() && order(&mut a).is_none(), "its time is over");
}
