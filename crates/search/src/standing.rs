//! How the service stands: which index answers, for whom it is complete, how far it is behind. Written by the indexer,
//! read by queries, operators and metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use clarion_model::key::Key;
use clarion_model::time::Timestamp;
use clarion_storage::index::{Index, Progress};
use tokio::sync::mpsc;

/// Of one index. A clone is the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    keys: RwLock<BTreeMap<Key, Ready>>,
    /// When the oldest event was accepted that is not in the index, in microseconds; zero when all are.
    oldest: AtomicU64,
    pending: AtomicU64,
}

/// How complete the index is for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    /// Nothing can be said yet.
    No,
    /// All there is can be found, but for what the index is behind.
    Yes,
    /// The same, but a part of the history is being read again.
    Refilling,
}

/// How many keys there are, and how many of them are complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) keys: usize,
    pub(crate) complete: usize,
}

/// A place of indexes: what answers there, what is being built there, and who is asked to build.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) serving: Serving,
    pub(crate) building: Serving,
    pub(crate) rebuild: mpsc::Sender<()>,
    /// Since when nothing answers, in microseconds; zero when something does.
    away: Arc<AtomicU64>,
}

/// The index that answers, if there is one.
#[derive(Clone, Default)]
pub(crate) struct Serving(Arc<RwLock<Option<Answering>>>);

type Answering = (Arc<dyn Index>, Standing);

impl Ready {
    fn of(progress: &Progress) -> Self {
        match (progress.ready, progress.refill) {
            (false, _) => Self::No,
            (true, Some(_)) => Self::Refilling,
            (true, None) => Self::Yes,
        }
    }
}

impl Standing {
    /// A key has got this far.
    pub(crate) fn set(&self, progress: &Progress) {
        let ready = Ready::of(progress);
        let mut keys = self.0.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.insert(progress.key, ready);
    }

    /// Whether the same is known already of a key that is complete.
    pub(crate) fn says(&self, progress: &Progress) -> bool {
        Ready::of(progress) == Ready::Yes && self.of(progress.key) == Ready::Yes
    }

    pub(crate) fn of(&self, key: Key) -> Ready {
        let keys = self.0.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.get(&key).copied().unwrap_or(Ready::No)
    }

    pub(crate) fn counts(&self) -> Counts {
        let keys = self.0.keys.read().unwrap_or_else(PoisonError::into_inner);
        Counts { keys: keys.len(), complete: keys.values().filter(|ready| **ready == Ready::Yes).count() }
    }

    /// When the oldest event was accepted that cannot be found yet.
    pub(crate) fn set_oldest(&self, oldest: Option<Timestamp>) {
        self.0.oldest.store(oldest.map_or(0, Timestamp::as_micros), Ordering::Relaxed);
    }

    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        Some(self.0.oldest.load(Ordering::Relaxed)).filter(|us| *us > 0).map(Timestamp::from_micros)
    }

    /// How old the oldest event is that cannot be found yet.
    pub(crate) fn lag(&self, now: Timestamp) -> Duration {
        self.oldest().map_or(Duration::ZERO, |oldest| now.since(oldest))
    }

    pub(crate) fn set_pending(&self, pending: u64) {
        self.0.pending.store(pending, Ordering::Relaxed);
    }

    pub(crate) fn pending(&self) -> u64 {
        self.0.pending.load(Ordering::Relaxed)
    }
}

impl Serving {
    pub(crate) fn get(&self) -> Option<Answering> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, serving: Option<Answering>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = serving;
    }
}

impl Place {
    pub(crate) fn new(rebuild: mpsc::Sender<()>) -> Self {
        Self { serving: Serving::default(), building: Serving::default(), rebuild, away: Arc::default() }
    }

    /// How old the oldest event is that cannot be found here yet. Where nothing answers it counts from when that was seen.
    pub(crate) fn lag(&self, now: Timestamp) -> Duration {
        let Some((_, standing)) = self.serving.get() else {
            let away = self.away.compare_exchange(0, now.as_micros(), Ordering::Relaxed, Ordering::Relaxed);
            return away.map_or_else(|since| now.since(Timestamp::from_micros(since)), |_| Duration::ZERO);
        };
        self.away.store(0, Ordering::Relaxed);
        standing.lag(now)
    }

    /// Share of the keys whose history is here, or in what is being built here.
    pub(crate) fn complete(&self) -> f64 {
        let looked_at = self.building.get().or_else(|| self.serving.get());
        let counts = looked_at.map(|(_, standing)| standing.counts()).unwrap_or_default();
        counts.complete as f64 / counts.keys.max(1) as f64
    }
}
