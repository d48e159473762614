//! Which server should hold which slot: even shares, and no move that evenness does not ask for. Pure.

use std::collections::BTreeMap;

use clarion_model::key::{SLOTS, Slot};

/// Decides an owner for every slot. `current` names the owners there are; only those among `servers` count. Empty when
/// there is no server.
pub(crate) fn place<'a>(servers: &[&'a str], current: &BTreeMap<Slot, &'a str>) -> BTreeMap<Slot, &'a str> {
    if servers.is_empty() {
        return BTreeMap::new();
    }
    let mut servers = servers.to_vec();
    servers.sort_unstable();
    servers.dedup();
    let count = |s: &str| current.values().filter(|o| **o == s).count();
    // Who holds most keeps the larger shares, so that a remainder moves nothing.
    servers.sort_by_key(|s| (std::cmp::Reverse(count(s)), *s));
    let (share, extra) = (usize::from(SLOTS) / servers.len(), usize::from(SLOTS) % servers.len());
    let mut room: BTreeMap<&str, usize> =
        servers.iter().enumerate().map(|(i, s)| (*s, share + usize::from(i < extra))).collect();

    let mut placed = BTreeMap::new();
    for (slot, owner) in current {
        if let Some(left) = room.get_mut(owner)
            && *left > 0
        {
            *left -= 1;
            placed.insert(*slot, *owner);
        }
    }
    let mut free = servers.iter().flat_map(|s| std::iter::repeat_n(*s, room[s]));
    for slot in (0..SLOTS).map(Slot) {
        if let std::collections::btree_map::Entry::Vacant(entry) = placed.entry(slot)
            && let Some(server) = free.next()
        {
            entry.insert(server);
        }
    }
    placed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

    fn moves(before: &BTreeMap<Slot, &str>, after: &BTreeMap<Slot, &str>) -> usize {
        before.iter().filter(|(slot, owner)| after.get(slot) != Some(owner)).count()
    }

    #[test]
    fn a_joiner_takes_its_share_and_nothing_else_moves() {
        for n in 1..NAMES.len() {
            let before = place(&NAMES[..n], &BTreeMap::new());
            let after = place(&NAMES[..=n], &before);
            let share = usize::from(SLOTS) / (n + 1);
            assert!(moves(&before, &after) <= share + 1, "{n} servers and one more");
        }
    }

    proptest! {
        #[test]
        fn every_slot_has_one_owner_and_shares_are_even(
            members in proptest::sample::subsequence(NAMES.to_vec(), 1..=NAMES.len()),
            owners in proptest::collection::btree_map(0..SLOTS, 0..NAMES.len(), 0..=usize::from(SLOTS)),
        ) {
            let current: BTreeMap<Slot, &str> = owners.iter().map(|(s, o)| (Slot(*s), NAMES[*o])).collect();
            let placed = place(&members, &current);
            prop_assert_eq!(placed.len(), usize::from(SLOTS));
            let share = usize::from(SLOTS) / members.len();
            for server in &members {
                let held = placed.values().filter(|o| *o == server).count();
                prop_assert!(held == share || held == share + 1);
            }
            prop_assert_eq!(&place(&members, &placed), &placed, "placing again moves nothing");
        }
    }
}
