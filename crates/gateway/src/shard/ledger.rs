//! What all replay buffers of a gateway hold, in bytes: bodies that many sessions keep are counted once.
//!
//! A body counts from when it is given out until nobody holds it any more, be it a replay buffer or an outbox. What each
//! place in a buffer costs beside that, shards add.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use clarion_observability::metric::Gauge;

use super::Variants;
use crate::frame::Dispatch;

/// The count of one gateway.
#[derive(Debug)]
pub(crate) struct Ledger {
    bytes: AtomicI64,
    shown: Gauge,
}

/// A body that is counted as long as it is held.
struct Counted {
    body: Bytes,
    ledger: Arc<Ledger>,
}

impl Ledger {
    /// Counts from zero, and shows the count.
    pub(crate) fn new(shown: Gauge) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicI64::new(0), shown })
    }

    /// What is held.
    pub(crate) fn bytes(&self) -> i64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Adds what places in buffers cost, or takes it off.
    pub(crate) fn add(&self, bytes: i64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.shown.increment(bytes as f64);
    }

    /// From now on the body counts, until the last copy is dropped.
    pub(crate) fn count(self: &Arc<Self>, dispatch: &mut Dispatch) {
        self.add(dispatch.body.len() as i64);
        let counted = Counted { body: std::mem::take(&mut dispatch.body), ledger: self.clone() };
        dispatch.body = Bytes::from_owner(counted);
    }

    /// An event for many, each encoding of which counts once.
    pub(crate) fn share(self: &Arc<Self>, mut variants: Variants) -> Arc<Variants> {
        variants.made_mut().for_each(|dispatch| self.count(dispatch));
        Arc::new(variants)
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.ledger.add(-(self.body.len() as i64));
    }
}
