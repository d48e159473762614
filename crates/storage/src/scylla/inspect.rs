//! What a cluster is like, for whoever wants to know before trusting it with messages: asked of each node.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use clarion_model::time::Timestamp;
use scylla::client::session::Session;
use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::statement::unprepared::Statement;
use scylla::value::CqlTimestamp;

use super::client::all_rows;
use super::{Config, failed, migrate, schema};
use crate::error::{OpenError, ReadError};

/// A cluster with its keyspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The version of the schema that the keyspace has; 0 when it has none, or is not there.
    pub schema: u32,
    /// The version that this program needs.
    pub known: u32,
    /// How many nodes hold a row, in the data centre that holds the fewest; `None` when there is no keyspace.
    pub replication: Option<u32>,
    /// Its nodes.
    pub nodes: Vec<Node>,
}

/// A node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where it is.
    pub address: String,
    /// What it answered.
    pub answer: Result<Answer, String>,
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// When the commit log is brought to the disk: `batch`, `group`, `periodic`; `None` when it does not tell.
    pub commit_log: Option<String>,
    /// How far its clock is ahead of this machine's, in milliseconds; the time of the answer's way is halved.
    pub ahead_ms: i64,
}

/// Asks a cluster and each of its nodes.
pub async fn inspect(config: &Config) -> Result<Inspection, OpenError> {
    let failed = |reason: &dyn std::fmt::Display| failed(config, reason);
    config.check().map_err(|error| failed(&error))?;
    let session = migrate::connect(config).await?;
    let schema = migrate::version(&session, config).await?;
    let keyspace = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let rows = session.query_unpaged(keyspace, (&config.keyspace,)).await.map_err(|error| failed(&error))?;
    let rows = all_rows::<(HashMap<String, String>,)>(rows).map_err(|error| failed(&error))?;
    let replication = rows.first().and_then(|(options,)| factor(options));
    let mut nodes = Vec::new();
    for node in session.get_cluster_state().get_nodes_info() {
        let answer = ask(&session, NodeIdentifier::HostId(node.host_id)).await;
        nodes.push(Node { address: node.address.to_string(), answer });
    }
    Ok(Inspection { schema, known: schema::VERSION, replication, nodes })
}

/// The replication factor among a keyspace's options: one for all, or one for each data centre.
fn factor(options: &HashMap<String, String>) -> Option<u32> {
    options.iter().filter(|(name, _)| *name != "class").filter_map(|(_, value)| value.parse().ok()).min()
}

async fn ask(session: &Session, node: NodeIdentifier) -> Result<Answer, String> {
    let target = SingleTargetLoadBalancingPolicy::new(node, None);
    let statement = |text: &str| {
        let mut statement = Statement::new(text);
        statement.set_load_balancing_policy(Some(target.clone() as Arc<_>));
        statement.set_consistency(scylla::statement::Consistency::One);
        statement
    };
    let begun = Instant::now();
    let clock = session.query_unpaged(statement("SELECT toTimestamp(now()) FROM system.local"), ()).await;
    let (took, here) = (begun.elapsed(), Timestamp::from(SystemTime::now()));
    let clock = all_rows::<(CqlTimestamp,)>(clock.map_err(|error| error.to_string())?);
    let clock = clock.map_err(|error: ReadError| error.to_string())?;
    let there = clock.first().ok_or("it does not tell the time")?.0.0;
    let ahead_ms = there - (here.before(took / 2).as_millis() as i64);
    // Cassandra has its settings in one place, ScyllaDB in another.
    let mut commit_log = None;
    for place in ["system_views.settings", "system.config"] {
        let text = format!("SELECT value FROM {place} WHERE name = 'commitlog_sync'");
        if let Ok(answer) = session.query_unpaged(statement(&text), ()).await
            && let Ok(rows) = all_rows::<(Option<String>,)>(answer)
            && let Some((Some(value),)) = rows.into_iter().next()
        {
            commit_log = Some(value.trim_matches('"').to_lowercase());
            break;
        }
    }
    Ok(Answer { commit_log, ahead_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_factor_counts() {
        let options = |all: &[(&str, &str)]| all.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        assert_eq!(factor(&options(&[("class", "SimpleStrategy"), ("replication_factor", "3")])), Some(3));
        assert_eq!(factor(&options(&[("class", "NetworkTopologyStrategy"), ("eu", "3"), ("us", "1")])), Some(1));
        assert_eq!(factor(&options(&[("class", "LocalStrategy")])), None);
    }
}
