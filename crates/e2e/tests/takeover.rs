//! Slots move between channel servers, by a drain or by a death; what was acknowledged is delivered all the same.

#![allow(clippy::disallowed_methods, reason = "a test is no service: its tasks end with it")]

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context;
use clarion::Topology;
use clarion_e2e::Cluster;
use clarion_observability::recent::SpanRecord;
use reqwest::Method;
use serde_json::json;
use tokio::sync::Semaphore;

const INTENTS: u64 = 1 | 1 << 9 | 1 << 15;
const SENDERS: usize = 4;
const AFTER: usize = 20;

/// The channel server that owns the demo guild just now, as a trace says.
async fn owner(cluster: &Cluster) -> anyhow::Result<String> {
    let path = format!("/channels/{}/messages", cluster.demo().channel_id);
    let api = cluster.api(cluster.bot(), 0);
    let answer = api.request(Method::POST, &path).json(&json!({ "content": "who?" })).send().await?;
    let trace = answer.headers().get("x-trace-id").context("X-Trace-ID")?.to_str()?.to_owned();
    let routed = |s: &&SpanRecord| s.name == "channel.route" && s.trace_id.to_string() == trace;
    let spans = cluster.capture().wait_for(|spans| spans.iter().any(|s| routed(&s))).await?;
    // The last one that was asked is the one that answered.
    let route = spans.iter().filter(routed).max_by_key(|s| s.start).context("channel.route")?;
    route.attribute("target_server").context("target_server")
}

/// Sends from several sides while each channel server in turn is stopped, until each sender has got through afterwards.
/// Every acknowledged message then reached the session, once and in order.
async fn moved(cut: bool) -> anyhow::Result<()> {
    let topology = Topology { channel_servers: 3, ..Topology::default() };
    let mut cluster = Cluster::with(topology, |_| {}).await?;
    let channel = cluster.demo().channel_id;
    let mut socket = cluster.session(cluster.other_bot(), 0, INTENTS).await?;
    // Read all the time: a session that does not is closed.
    let (delivered, mut deliveries) = tokio::sync::mpsc::channel(1 << 16);
    let reader = tokio::task::spawn(async move {
        loop {
            let id = socket.dispatch("MESSAGE_CREATE").await?["id"].as_str().unwrap_or_default().to_owned();
            if delivered.send(id).await.is_err() {
                return anyhow::Ok(());
            }
        }
    });
    let (stopped, is_stopped) = tokio::sync::watch::channel(false);
    let flowing = Arc::new(Semaphore::new(0));
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (api, is_stopped) = (cluster.api(cluster.bot(), 0), is_stopped.clone());
            let flowing = flowing.clone();
            tokio::task::spawn(async move {
                let mut acknowledged = Vec::new();
                let mut left = AFTER;
                for n in 0.. {
                    // A refusal during the move is allowed; a false acknowledgement is not.
                    if let Ok(message) = api.send(channel, &format!("{sender}/{n}")).await {
                        acknowledged.push(message["id"].as_str().unwrap_or_default().to_owned());
                        left -= usize::from(*is_stopped.borrow());
                        flowing.add_permits(1);
                    }
                    if left == 0 {
                        break;
                    }
                }
                acknowledged
            })
        })
        .collect();
    for _ in 0..2 {
        // In full flight, and the one that has the channel.
        flowing.acquire_many(AFTER as u32).await?.forget();
        let server = owner(&cluster).await?;
        let clarion = cluster.clarion();
        let drained = tokio::task::block_in_place(|| clarion.process().stop_one(&server, cut))?;
        assert_eq!(drained, !cut, "{server}");
    }
    stopped.send_replace(true);
    let mut acknowledged = BTreeSet::new();
    for sender in senders {
        acknowledged.extend(sender.await?);
    }

    let mut seen = Vec::new();
    let mut missing = acknowledged.clone();
    while !missing.is_empty() {
        let Some(id) = deliveries.recv().await else {
            reader.await??;
            anyhow::bail!("{} acknowledged messages did not come", missing.len());
        };
        missing.remove(&id);
        seen.push(id);
    }
    assert!(seen.iter().map(|id| id.parse::<u64>().unwrap_or_default()).is_sorted_by(|a, b| a < b));
    println!("{} acknowledged, {} seen", acknowledged.len(), seen.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_channel_server_hands_its_slots_over() -> anyhow::Result<()> {
    moved(false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_channel_server_is_replaced() -> anyhow::Result<()> {
    moved(true).await
}
