//! Which logs have grown lately: what was written, remembered for those who follow all of them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use clarion_model::key::Key;
use tokio::sync::watch;

/// How many keys are remembered. Who asks for more than that looks at all tails instead.
const REMEMBERED: usize = 16_384;

/// Shared by who writes, and tells, and the handle, which answers.
pub(crate) struct Growth {
    mark: watch::Sender<u64>,
    recent: Mutex<Recent>,
}

#[derive(Default)]
struct Recent {
    keys: VecDeque<(u64, Key)>,
    /// Of what came up to this mark nobody knows whether it is all.
    unsure: u64,
}

impl Growth {
    pub(crate) fn new() -> Self {
        // Mark 0 is before everything, so that nobody who has just come misses what was there.
        Self { mark: watch::channel(1).0, recent: Mutex::default() }
    }

    /// Logs have grown, and what they have grown by is durable.
    pub(crate) fn tell(&self, keys: BTreeSet<Key>) {
        if keys.is_empty() {
            return;
        }
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = *self.mark.borrow() + 1;
        recent.keys.extend(keys.into_iter().map(|key| (mark, key)));
        while recent.keys.len() > REMEMBERED {
            recent.keys.pop_front();
        }
        // Under the lock: who sees the mark finds its keys.
        self.mark.send_replace(mark);
    }

    /// Something may have been missed: whoever asks next looks at everything.
    pub(crate) fn forget(&self) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.keys.clear();
        recent.unsure = self.mark();
        self.mark.send_replace(recent.unsure + 1);
    }

    /// Whether somebody follows.
    pub(crate) fn is_watched(&self) -> bool {
        self.mark.receiver_count() > 0
    }

    /// The present mark.
    pub(crate) fn mark(&self) -> u64 {
        *self.mark.borrow()
    }

    /// Sees every new mark.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.mark.subscribe()
    }

    /// What has grown after a mark; nothing when that is not remembered any more.
    pub(crate) fn since(&self, mark: u64) -> Option<(BTreeSet<Key>, u64)> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.mark();
        let recent = &*recent;
        let known = mark > recent.unsure
            && mark <= now
            && (recent.keys.len() < REMEMBERED || recent.keys.front().is_some_and(|(first, _)| *first <= mark));
        known.then(|| (recent.keys.iter().rev().take_while(|(at, _)| *at > mark).map(|(_, key)| *key).collect(), now))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
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

    #[test]
    fn what_may_have_been_missed_is_looked_for_everywhere() {
        let growth = Growth::new();
        growth.tell(keys(1..3));
        let mark = growth.mark();
        let watch = growth.watch();
        growth.forget();
        assert!(watch.has_changed().unwrap(), "who waits for growth looks now");
        assert_eq!(growth.since(mark), None);
        let mark = growth.mark();
        growth.tell(keys(2..3));
        assert_eq!(growth.since(mark), Some((keys(2..3), mark + 1)));
    }
}
