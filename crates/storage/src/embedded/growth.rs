//! Which logs have grown lately: what the committer wrote, remembered for those who follow all of them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use clarion_model::key::Key;
use tokio::sync::watch;

/// How many keys are remembered. Who asks for more than that looks at all tails instead.
const REMEMBERED: usize = 16_384;

/// Shared by the committer, which tells, and the handle, which answers.
pub(super) struct Growth {
    mark: watch::Sender<u64>,
    recent: Mutex<VecDeque<(u64, Key)>>,
}

impl Growth {
    pub(super) fn new() -> Self {
        // Mark 0 is before everything, so that nobody who has just come misses what was there.
        Self { mark: watch::channel(1).0, recent: Mutex::default() }
    }

    /// Logs have grown, and what they have grown by is durable.
    pub(super) fn tell(&self, keys: BTreeSet<Key>) {
        if keys.is_empty() {
            return;
        }
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = *self.mark.borrow() + 1;
        recent.extend(keys.into_iter().map(|key| (mark, key)));
        while recent.len() > REMEMBERED {
            recent.pop_front();
        }
        // Under the lock: who sees the mark finds its keys.
        self.mark.send_replace(mark);
    }

    /// The present mark.
    pub(super) fn mark(&self) -> u64 {
        *self.mark.borrow()
    }

    /// Sees every new mark.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.mark.subscribe()
    }

    /// What has grown after a mark; nothing when that is not remembered any more.
    pub(super) fn since(&self, mark: u64) -> Option<(BTreeSet<Key>, u64)> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.mark();
        let known = mark > 0
            && mark <= now
            && (recent.len() < REMEMBERED || recent.front().is_some_and(|(first, _)| *first <= mark));
        known.then(|| (recent.iter().rev().take_while(|(at, _)| *at > mark).map(|(_, key)| *key).collect(), now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clarion_model::id::GuildId;

    fn keys(ids: std::ops::Range<u64>) -> BTreeSet<Key> {
        ids.map(|id| Key::Guild(GuildId(id))).collect()
    }

    #[test]
    fn what_came_after_a_mark_is_known_until_it_is_forgotten() {
        let growth = Growth::new();
        assert_eq!(growth.since(0), None, "who knows nothing looks at everything");
        let mark = growth.mark();
        growth.tell(keys(1..3));
        growth.tell(keys(2..5));
        assert_eq!(growth.since(mark), Some((keys(1..5), mark + 2)));
        assert_eq!(growth.since(mark + 1), Some((keys(2..5), mark + 2)));
        assert_eq!(growth.since(mark + 2), Some((keys(0..0), mark + 2)));
        assert_eq!(growth.since(mark + 3), None, "a mark of another opening");
        growth.tell(keys(0..REMEMBERED as u64));
        assert_eq!(growth.since(mark), None);
        assert_eq!(growth.since(mark + 3), Some((keys(0..0), mark + 3)));
    }
}
