//! Which streams are told of whom. Pure.

use std::collections::{HashMap, HashSet};

use clarion_model::id::UserId;

/// Who watches whom.
#[derive(Debug)]
pub(crate) struct Watchers {
    limit: usize,
    count: usize,
    by_user: HashMap<UserId, Vec<u64>>,
    by_stream: HashMap<u64, HashSet<UserId>>,
}

impl Watchers {
    /// Nobody watches; `limit` is the most that may be watched, a user counted once for each stream.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, count: 0, by_user: HashMap::new(), by_stream: HashMap::new() }
    }

    /// How many are watched, a user counted once for each stream.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// A stream watches a user. `false`: too many are watched.
    pub(crate) fn watch(&mut self, stream: u64, user: UserId) -> bool {
        let watched = self.by_stream.entry(stream).or_default();
        if watched.contains(&user) {
            return true;
        }
        if self.count >= self.limit {
            return false;
        }
        watched.insert(user);
        self.by_user.entry(user).or_default().push(stream);
        self.count += 1;
        true
    }

    /// A stream watches a user no more.
    pub(crate) fn unwatch(&mut self, stream: u64, user: UserId) {
        if self.by_stream.get_mut(&stream).is_some_and(|watched| watched.remove(&user)) {
            self.drop_one(stream, user);
        }
    }

    /// A stream is gone.
    pub(crate) fn forget(&mut self, stream: u64) {
        for user in self.by_stream.remove(&stream).unwrap_or_default() {
            self.drop_one(stream, user);
        }
    }

    /// The streams that are told of a user.
    pub(crate) fn of(&self, user: UserId) -> &[u64] {
        self.by_user.get(&user).map_or(&[], Vec::as_slice)
    }

    fn drop_one(&mut self, stream: u64, user: UserId) {
        self.count -= 1;
        if let Some(streams) = self.by_user.get_mut(&user) {
            streams.retain(|s| *s != stream);
            if streams.is_empty() {
                self.by_user.remove(&user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn who_watches_is_told_and_nobody_else(
            steps in proptest::collection::vec((0u8..5, 0u64..4, 1u64..6), 0..80),
        ) {
            let mut watchers = Watchers::new(10);
            let mut model: BTreeSet<(u64, u64)> = BTreeSet::new();
            for (what, stream, user) in steps {
                match what {
                    0..=2 => {
                        let fits = model.len() < 10 || model.contains(&(stream, user));
                        prop_assert_eq!(watchers.watch(stream, UserId(user)), fits);
                        if fits {
                            model.insert((stream, user));
                        }
                    }
                    3 => {
                        watchers.unwatch(stream, UserId(user));
                        model.remove(&(stream, user));
                    }
                    _ => {
                        watchers.forget(stream);
                        model.retain(|(s, _)| *s != stream);
                    }
                }
                prop_assert_eq!(watchers.len(), model.len());
                for user in 1..6 {
                    let told: BTreeSet<u64> = watchers.of(UserId(user)).iter().copied().collect();
                    let expected = model.iter().filter(|(_, u)| *u == user).map(|(s, _)| *s).collect();
                    prop_assert_eq!(told, expected);
                }
            }
            prop_assert!(watchers.by_user.values().all(|streams| !streams.is_empty()));
        }
    }
}
