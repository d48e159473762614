//! Connecting, and bringing a keyspace to this program's version of the schema.

use std::num::NonZeroUsize;
use std::time::Duration;

use scylla::client::PoolSize;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::unprepared::Statement;
use scylla::statement::{Consistency, SerialConsistency};

use super::client::all_rows;
use super::schema::{MIGRATIONS, VERSION, VERSION_TABLE};
use super::{Config, failed, place};
use crate::error::OpenError;

/// A change of the schema takes longer than a request.
const SCHEMA_TIMEOUT: Duration = Duration::from_secs(120);

/// From which version of the schema to which a keyspace was brought; the same when nothing was to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// What was found; 0 of a new keyspace.
    pub from: u32,
    /// What it has now.
    pub to: u32,
}

/// Brings the keyspace to this program's version of the schema; makes it when it is not there. May be run again, and
/// while older programs are running. One at a time.
pub async fn migrate(config: &Config) -> Result<Migrated, OpenError> {
    let failed = |reason: &dyn std::fmt::Display| failed(config, reason);
    config.check().map_err(|error| failed(&error))?;
    let session = connect(config).await?;
    let keyspace = &config.keyspace;
    let replication = config.replication();
    let create = format!("CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {replication}");
    run(&session, &create).await.map_err(|error| failed(&error))?;
    session.use_keyspace(keyspace, false).await.map_err(|error| failed(&error))?;
    run(&session, VERSION_TABLE).await.map_err(|error| failed(&error))?;
    let from = version(&session, config).await?;
    if from > VERSION {
        return Err(OpenError::Schema { path: place(config), found: from, known: VERSION });
    }
    for (to, statements) in (1..).zip(MIGRATIONS).skip(from as usize) {
        for statement in *statements {
            run(&session, statement).await.map_err(|error| failed(&format!("migration to schema {to}: {error}")))?;
        }
        let insert = format!("INSERT INTO schema_version (part, version) VALUES ('all', {to})");
        run(&session, &insert).await.map_err(|error| failed(&error))?;
    }
    Ok(Migrated { from, to: VERSION })
}

/// Connects to the cluster.
pub(super) async fn connect(config: &Config) -> Result<Session, OpenError> {
    let profile = ExecutionProfile::builder()
        .consistency(Consistency::Quorum)
        .serial_consistency(Some(SerialConsistency::Serial))
        .request_timeout(Some(config.request_timeout()))
        .build();
    let connections = NonZeroUsize::new(config.connections).unwrap_or(NonZeroUsize::MIN);
    let mut builder = SessionBuilder::new()
        .known_nodes(&config.hosts)
        .connection_timeout(Duration::from_millis(config.connect_timeout_ms))
        .default_execution_profile_handle(profile.into_handle())
        .pool_size(PoolSize::PerHost(connections))
        .tcp_nodelay(true);
    if let Some(datacenter) = &config.datacenter {
        builder = builder.prefer_datacenter(datacenter.clone());
    }
    if let (Some(user), Some(password)) = (&config.user, &config.password) {
        builder = builder.user(user, password);
    }
    builder.build().await.map_err(|error| failed(config, &error))
}

/// The version of the schema that the keyspace has; 0 when it has none, or is not there.
pub(super) async fn version(session: &Session, config: &Config) -> Result<u32, OpenError> {
    let failed = |reason: &dyn std::fmt::Display| failed(config, reason);
    let known = session
        .query_unpaged(
            "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = 'schema_version'",
            (&config.keyspace,),
        )
        .await;
    let known = known.map_err(|error| failed(&error))?;
    if all_rows::<(String,)>(known).map_err(|error| failed(&error))?.is_empty() {
        return Ok(0);
    }
    let read = format!("SELECT version FROM {}.schema_version WHERE part = 'all'", config.keyspace);
    let found = session.query_unpaged(read, ()).await.map_err(|error| failed(&error))?;
    let found = all_rows::<(i32,)>(found).map_err(|error| failed(&error))?;
    Ok(found.first().and_then(|(version,)| u32::try_from(*version).ok()).unwrap_or(0))
}

async fn run(session: &Session, statement: &str) -> Result<(), scylla::errors::ExecutionError> {
    let mut statement = Statement::new(statement);
    statement.set_request_timeout(Some(SCHEMA_TIMEOUT));
    statement.set_is_idempotent(true);
    session.query_unpaged(statement, ()).await.map(|_| ())
}
