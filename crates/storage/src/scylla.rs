//! The store behind CQL: ScyllaDB, or Apache Cassandra, which speaks the same.
//!
//! Several processes write, and each may be slow, stopped or cut off; what keeps them apart is the pure model of
//! ownership. **The log comes first**: entries are written to it, the slot's epoch is read, and only what is acknowledged
//! by that, and so is part of the log for ever, is brought into the tables. Whoever takes a slot finds in the log what the
//! tables may lack. A change of a table bears a timestamp that rises along the log, so that it may come late or twice.

mod apply;
mod change;
mod client;
mod config;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod handle;
mod holder;
mod inspect;
mod keys;
mod line;
mod messages;
mod migrate;
mod news;
mod places;
mod record;
mod schema;
mod slots;
mod state;
mod statement;
mod tail;

use std::sync::Arc;

use clarion_observability::{Fields, Telemetry, log};

pub use config::{Config, Strategy};
pub use inspect::{Answer, Inspection, Node, inspect};
pub use migrate::{Migrated, migrate};
pub use schema::VERSION as SCHEMA;

use client::Client;
use handle::Handle;
use statement::Statements;

use crate::Stores;
use crate::error::OpenError;

/// The open store. Whoever holds it keeps the slots that it took; dropping it ends them at once, as a crash would.
pub struct Scylla {
    stores: Stores,
    handle: Arc<Handle>,
}

impl Scylla {
    /// Connects to the cluster. The keyspace has to be at this program's version of the schema: see [`migrate`]. Slots are
    /// held on the runtime that this is called on.
    pub async fn open(config: &Config, telemetry: &Telemetry) -> Result<Self, OpenError> {
        let failed = |reason: &dyn std::fmt::Display| failed(config, reason);
        config.check().map_err(|error| failed(&error))?;
        let session = migrate::connect(config).await?;
        let found = migrate::version(&session, config).await?;
        if found > schema::VERSION {
            return Err(OpenError::Schema { path: place(config), found, known: schema::VERSION });
        }
        if found < schema::VERSION {
            let known = schema::VERSION;
            return Err(failed(&format!("schema version is {found}, expected {known}: run `clarion migrate`")));
        }
        session.use_keyspace(&config.keyspace, false).await.map_err(|error| failed(&error))?;
        let statements = Statements::prepare(&session).await.map_err(|error| failed(&error))?;
        let client = Client::new(session, statements, config.clone(), telemetry);
        let handle = Arc::new(Handle::new(client, tokio::runtime::Handle::current()));
        let stores = Stores {
            logs: handle.clone(),
            messages: handle.clone(),
            guilds: handle.clone(),
            users: handle.clone(),
            slots: handle.clone(),
            routes: handle.clone(),
            keys: handle.clone(),
        };
        telemetry.in_scope(|| log::STORAGE_OPENED.emit(Fields::detail(place(config))));
        Ok(Self { stores, handle })
    }

    /// The handles. They write for as long as the store is open.
    pub fn stores(&self) -> Stores {
        self.stores.clone()
    }

    /// Takes nothing new, and returns when what was begun has ended.
    pub async fn close(self) {
        self.handle.close().await;
    }

    /// Measures the pool of connections, for whoever shows metrics.
    pub fn measure(&self) {
        self.handle.client.measure_pool();
    }
}

impl AsRef<Stores> for Scylla {
    fn as_ref(&self) -> &Stores {
        &self.stores
    }
}

impl Drop for Scylla {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// What a store of this kind is called.
fn place(config: &Config) -> String {
    format!("keyspace {} at {}", config.keyspace, config.hosts.join(", "))
}

fn failed(config: &Config, reason: &dyn std::fmt::Display) -> OpenError {
    OpenError::Failed { path: place(config), reason: reason.to_string() }
}
