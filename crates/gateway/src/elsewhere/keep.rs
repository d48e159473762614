//! Once a second, how far sessions have been told is put into the cache, for the case that this gateway dies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clarion_observability::log::{self, Fields};
use clarion_proto::v1;
use clarion_runtime::Address;
use clarion_storage::cache::{CacheError, CacheKey, Version};
use prost::Message;
use tokio_util::sync::CancellationToken;

use super::{CHECKPOINTS, Elsewhere, FIELD, SESSIONS, patient};
use crate::adopted::Adopted;
use crate::handover::Checkpoint;
use crate::hub::{HubHandle, Marked, Seat};

const EVERY: Duration = Duration::from_secs(1);
/// The latest checkpoints that are kept: a client that had not been told for longer when its gateway died begins anew.
const KEPT: u64 = 30;

/// What the cache has of this gateway, as far as is known.
#[derive(Default)]
struct Known {
    checkpoints: Option<Version>,
    sessions: Option<Version>,
}

impl Elsewhere {
    /// Keeps checkpoints until `stop`. `address` is where other gateways reach this one.
    pub(crate) async fn keep(
        self: Arc<Self>,
        hub: HubHandle,
        adopted: Adopted,
        address: Address,
        stop: CancellationToken,
    ) {
        let (mut known, mut failing, mut placed_at) = (Known::default(), false, Instant::now());
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            let Some(marked) = hub.checkpoint(known.sessions.is_none()).await else { return };
            match self.keep_one(&mut known, marked, &address).await {
                Ok(()) => failing = false,
                Err(error) => {
                    known = Known::default();
                    if !std::mem::replace(&mut failing, true) {
                        log::SESSIONS_NOT_KEPT.emit(Fields::error(error.error_type(), &error));
                    }
                }
            }
            // Those from elsewhere are to be found as long as they are here.
            if placed_at.elapsed() >= self.window / 2 {
                placed_at = Instant::now();
                for id in adopted.ids() {
                    self.note_place(&id).await;
                }
            }
        }
    }

    async fn keep_one(&self, known: &mut Known, marked: Marked, address: &Address) -> Result<(), CacheError> {
        let Marked { turn, positions, changes, unready, sequences } = marked;
        let mut by_seat = BTreeMap::new();
        for (shard, answer) in sequences {
            let told = answer.await.unwrap_or_default().into_iter();
            let told = told.map(|(seat, sequence)| (Seat { shard, seat }.number(), sequence));
            by_seat.extend(told.filter(|(seat, _)| !unready.contains(seat)));
        }
        let changes = changes
            .into_iter()
            .map(|(id, kept)| (id, kept.map(|kept| Bytes::from(v1::KeptSession::from(&kept).encode_to_vec()))));
        // The sessions first: a checkpoint is of use only with them.
        known.sessions = Some(self.put(SESSIONS, known.sessions, changes.collect()).await?);
        let checkpoint = Checkpoint { turn, positions, sequences: by_seat };
        let bytes = Bytes::from(v1::Checkpoint::from(&checkpoint).encode_to_vec());
        let slot = ((turn % KEPT).to_string(), Some(bytes));
        let address = (FIELD.to_owned(), Some(Bytes::from(address.to_string())));
        let fields = if known.checkpoints.is_none() { vec![slot, address] } else { vec![slot] };
        known.checkpoints = Some(self.put(CHECKPOINTS, known.checkpoints, fields).await?);
        self.checkpoints.increment(1);
        Ok(())
    }

    /// Changes a hash of this gateway, or puts a new one where there is none that is known.
    async fn put(
        &self,
        kind: &'static str,
        known: Option<Version>,
        fields: Vec<(String, Option<Bytes>)>,
    ) -> Result<Version, CacheError> {
        let key = CacheKey::new(kind, self.number.to_string());
        match known {
            Some(known) if fields.is_empty() => {
                patient(self.cache.renew(&key, known, self.window)).await.map(|()| known)
            }
            Some(known) => patient(self.cache.change(&key, known, fields, self.window)).await,
            None => {
                let fields = fields.into_iter().filter_map(|(field, value)| Some((field, value?))).collect();
                patient(self.cache.replace(&key, fields, self.window)).await
            }
        }
    }
}
