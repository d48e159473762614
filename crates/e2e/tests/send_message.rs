//! A message over REST reaches every socket that may see it, on every gateway, and stays.

#![allow(clippy::disallowed_methods, reason = "a test is no service: its tasks end with it")]

use clarion::Topology;
use clarion_e2e::Cluster;
use serde_json::json;

/// GUILDS, GUILD_MESSAGES, MESSAGE_CONTENT.
const INTENTS: u64 = 1 | 1 << 9 | 1 << 15;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_reaches_sockets_on_two_gateways() -> anyhow::Result<()> {
    let topology = Topology { gateways: 2, ..Topology::default() };
    let cluster = Cluster::with(topology, |_| {}).await?;
    let channel = cluster.demo().channel_id;
    let mut here = cluster.session(cluster.bot(), 0, INTENTS).await?;
    let mut there = cluster.session(cluster.other_bot(), 1, INTENTS).await?;

    let sent = cluster.api(cluster.bot(), 0).send(channel, "hello").await?;
    for socket in [&mut here, &mut there] {
        let got = socket.dispatch("MESSAGE_CREATE").await?;
        assert_eq!((&got["id"], &got["content"]), (&sent["id"], &json!("hello")));
    }
    let history = cluster.api(cluster.other_bot(), 1).get(&format!("/channels/{channel}/messages")).await?;
    assert_eq!(history[0]["id"], sent["id"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recipient_sees_the_order_of_the_ids() -> anyhow::Result<()> {
    let topology = Topology { gateways: 2, channel_servers: 2, ..Topology::default() };
    let cluster = Cluster::with(topology, |_| {}).await?;
    let channel = cluster.demo().channel_id;
    let mut sockets =
        [cluster.session(cluster.bot(), 0, INTENTS).await?, cluster.session(cluster.other_bot(), 1, INTENTS).await?];
    let senders: Vec<_> = (0..8)
        .map(|n| {
            let api = cluster.api(if n % 2 == 0 { cluster.bot() } else { cluster.other_bot() }, n % 2);
            tokio::task::spawn(async move {
                for i in 0..25 {
                    api.send(channel, &format!("{n}/{i}")).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for sender in senders {
        sender.await??;
    }
    for socket in &mut sockets {
        let mut ids = Vec::new();
        for _ in 0..200 {
            let message = socket.dispatch("MESSAGE_CREATE").await?;
            ids.push(message["id"].as_str().unwrap_or_default().parse::<u64>()?);
        }
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_makes_one_message_wherever_the_retry_lands() -> anyhow::Result<()> {
    let topology = Topology { gateways: 2, ..Topology::default() };
    let cluster = Cluster::with(topology, |_| {}).await?;
    let path = format!("/channels/{}/messages", cluster.demo().channel_id);
    let body = json!({ "content": "once", "nonce": "abc-1", "enforce_nonce": true });
    let mut tries = Vec::new();
    for n in 0..6 {
        let (api, path, body) = (cluster.api(cluster.bot(), n % 2), path.clone(), body.clone());
        tries.push(tokio::task::spawn(async move { api.call(reqwest::Method::POST, &path, Some(body)).await }));
    }
    let mut ids = Vec::new();
    for one in tries {
        let (status, message) = one.await??;
        assert_eq!(status, 200, "{message}");
        ids.push(message["id"].clone());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let history = cluster.api(cluster.bot(), 0).get(&path).await?;
    assert_eq!(history.as_array().map(Vec::len), Some(1));
    // Another author's nonce is another nonce.
    let (_, other) = cluster.api(cluster.other_bot(), 0).call(reqwest::Method::POST, &path, Some(body)).await?;
    assert_ne!(other["id"], ids[0]);
    Ok(())
}
