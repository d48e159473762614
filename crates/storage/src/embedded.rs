//! The store inside the process: fjall on the local disk, one committer thread, a sync before every acknowledgement.
//!
//! Everything that is written goes through the committer: it takes all that waits, writes it at once, syncs once, and only
//! then answers. Reads see what is durable and nothing else, and wait for no sync.

mod committer;
mod db;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod handle;
mod pending;
mod read;
mod room;
mod schema;
mod stage;
#[cfg(test)]
mod tests;
mod write;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use clarion_observability::metric::StorageMetrics;
use clarion_observability::{Fields, Telemetry, log};
use fjall::PersistMode;
use tokio::sync::{mpsc, oneshot, watch};

use committer::{Committer, Inbox};
use db::Db;
use handle::{Handle, Queue};

use crate::Stores;
use crate::error::OpenError;
use crate::growth::Growth;

/// Settings of the embedded store.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The directory it lies in; created when it is not there.
    pub path: PathBuf,
    /// Below so much room on its disk nothing is written, in bytes.
    pub min_free: u64,
    /// What happens before a batch is acknowledged.
    pub sync: Sync,
    /// Most batches that share one sync.
    pub group_batches: usize,
    /// Most bytes that share one sync, but for a batch that is larger alone.
    pub group_bytes: usize,
    /// Most batches that wait; who comes after them waits for a place.
    pub queue: usize,
    /// Memory for what was read from the disk, in bytes.
    pub cache_bytes: u64,
}

/// What makes a batch durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sync {
    /// `fdatasync` before the acknowledgement: what was acknowledged outlives the machine's power.
    #[default]
    Data,
    /// Nothing. **What was acknowledged is lost when the machine goes down**; only the death of the process does no harm.
    /// For measurements: never for anything that somebody wants to keep.
    None,
}

/// The open store. Whoever holds it keeps the committer running; dropping it writes what waits and ends it.
pub struct Embedded {
    stores: Stores,
    /// Dropped to have the committer end.
    closing: Option<oneshot::Sender<()>>,
    committer: Option<JoinHandle<()>>,
    failure: Failure,
}

/// Tells when the store can write no more.
#[derive(Debug, Clone)]
pub struct Failure(watch::Receiver<Option<String>>);

impl Default for Config {
    fn default() -> Self {
        Self {
            path: PathBuf::from("data/store"),
            min_free: 64 << 20,
            sync: Sync::default(),
            group_batches: 256,
            group_bytes: 4 << 20,
            queue: 1_024,
            cache_bytes: 64 << 20,
        }
    }
}

impl Sync {
    fn durability(self) -> PersistMode {
        match self {
            Sync::Data => PersistMode::SyncData,
            Sync::None => PersistMode::Buffer,
        }
    }
}

impl Embedded {
    /// Opens the store, or creates it, and starts its committer. Blocks while the journal is replayed.
    pub fn open(config: &Config, telemetry: &Telemetry) -> Result<Self, OpenError> {
        let failed = |reason: String| OpenError::Failed { path: config.path.display().to_string(), reason };
        let db = Arc::new(Db::open(config)?);
        let metrics = StorageMetrics::new(telemetry.meter());
        let (queue, work) = mpsc::channel(config.queue.max(1));
        let (fail, failure) = watch::channel(None);
        let failure = Failure(failure);
        let (closing, closed) = oneshot::channel();
        let growth = Arc::new(Growth::new());
        let inbox = Inbox::new(work, closed);
        let committer = Committer::new(config, db.clone(), metrics.clone(), inbox, fail, growth.clone());
        let committer = committer.map_err(|error| failed(error.to_string()))?;
        let waiting = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let waiting = waiting.map_err(|error| failed(error.to_string()))?;
        let of_thread = telemetry.clone();
        let thread = std::thread::Builder::new().name("store-commit".into());
        let committer = thread.spawn(move || {
            of_thread.adopt_thread();
            committer.run(&waiting);
        });
        let committer = committer.map_err(|error| failed(error.to_string()))?;
        let handle = Arc::new(Handle { db, queue: Queue::new(queue), failure: failure.clone(), metrics, growth });
        let stores = Stores {
            logs: handle.clone(),
            messages: handle.clone(),
            guilds: handle.clone(),
            users: handle.clone(),
            slots: handle.clone(),
            routes: handle.clone(),
            keys: handle,
        };
        let opened = Fields::detail(config.path.display().to_string());
        telemetry.in_scope(|| log::STORAGE_OPENED.emit(opened));
        Ok(Self { stores, closing: Some(closing), committer: Some(committer), failure })
    }

    /// The handles. They write for as long as the store is open; as long as one of them is kept, no other process may
    /// open it.
    pub fn stores(&self) -> Stores {
        self.stores.clone()
    }

    /// Tells when the store can write no more, and the process has to end.
    pub fn failure(&self) -> Failure {
        self.failure.clone()
    }
}

impl AsRef<Stores> for Embedded {
    fn as_ref(&self) -> &Stores {
        &self.stores
    }
}

impl Drop for Embedded {
    /// Waits until what was queued is written, and for nobody who is still waiting for a place in the queue: it may be
    /// this thread that would have to let them go on.
    fn drop(&mut self) {
        self.closing = None;
        if let Some(committer) = self.committer.take() {
            // A panic was told to whoever waits for the failure.
            let _ = committer.join();
        }
    }
}

impl Failure {
    /// Returns why the store can write no more, when that happens. Never returns for a store that is closed in peace.
    pub async fn wait(mut self) -> String {
        match self.0.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
            Ok(Some(reason)) => reason,
            _ => std::future::pending().await,
        }
    }

    /// What to tell those who still try.
    fn reason(&self) -> String {
        self.0.borrow().clone().unwrap_or_else(|| "store is closed".into())
    }
}
