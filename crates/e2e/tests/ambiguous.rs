//! Sends whose answer never comes: the connection is cut around the commit, and the send is repeated with the same nonce at
//! another gateway. One message each.

#![allow(clippy::disallowed_methods, reason = "a test is no service: its tasks end with it")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, ensure};
use clarion::Topology;
use clarion_e2e::{Api, Cluster, PATIENCE, Processes, Shape};
use clarion_model::id::MessageId;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clarion-under-test");
/// Sends under way at a time.
const AT_ONCE: usize = 8;

/// How many sends are cut.
fn sends() -> usize {
    if std::env::var_os("CLARION_TEST_LONG").is_some() { 1_000 } else { 200 }
}

/// Two gateways of one cluster, and somebody who may write to a channel.
#[derive(Clone)]
struct Place {
    gateways: [String; 2],
    token: String,
    channel: String,
}

impl Place {
    fn api(&self, gateway: usize) -> Api {
        Api::new(&format!("http://{}/api/v10", self.gateways[gateway]), &self.token)
    }

    fn body(n: usize) -> Value {
        json!({ "content": format!("number {n}"), "nonce": format!("n-{n}"), "enforce_nonce": true })
    }

    /// Sends and cuts the connection: at once, after a moment, or when the answer is there and nobody has read it.
    async fn send_and_cut(&self, n: usize) -> anyhow::Result<()> {
        let body = Self::body(n).to_string();
        let head = format!(
            "POST /api/v10/channels/{}/messages HTTP/1.1\r\nhost: {}\r\nauthorization: Bot {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.channel,
            self.gateways[n % 2],
            self.token,
            body.len()
        );
        let mut stream = TcpStream::connect(&self.gateways[n % 2]).await?;
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        match n % 4 {
            0 => {}
            1 => tokio::time::sleep(Duration::from_millis(n as u64 % 23)).await,
            _ => drop(tokio::time::timeout(PATIENCE, stream.readable()).await?),
        }
        Ok(())
    }

    /// Repeats a send until it is acknowledged, at the other gateway first. Answers the message's id.
    async fn settle(&self, n: usize) -> anyhow::Result<String> {
        let (path, deadline) = (format!("/channels/{}/messages", self.channel), Instant::now() + PATIENCE);
        for tries in 1.. {
            let answer = self.api((n + tries) % 2).call(Method::POST, &path, Some(Self::body(n))).await;
            if let Ok((StatusCode::OK, message)) = &answer {
                return Ok(message["id"].as_str().context("an id")?.to_owned());
            }
            ensure!(Instant::now() < deadline, "{answer:?}");
        }
        unreachable!("it is tried until it is settled")
    }
}

/// Every send is cut, repeated at the other gateway, and once more: one message, one id.
async fn each_is_one_message(place: Place, sends: usize) -> anyhow::Result<()> {
    let enough = Arc::new(Semaphore::new(AT_ONCE));
    let mut sending = tokio::task::JoinSet::new();
    for n in 0..sends {
        let (place, leave) = (place.clone(), enough.clone().acquire_owned().await?);
        sending.spawn(async move {
            place.send_and_cut(n).await?;
            let repeated_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis() as u64;
            let id = place.settle(n).await?;
            ensure!(place.settle(n).await? == id, "number {n} is two messages");
            drop(leave);
            let made_at = id.parse::<MessageId>()?.created_at().as_millis();
            Ok((id, made_at < repeated_at))
        });
    }
    let (mut ids, mut in_doubt) = (BTreeSet::new(), 0);
    while let Some(sent) = sending.join_next().await {
        let (id, was_made) = sent??;
        ids.insert(id);
        in_doubt += usize::from(was_made);
    }
    assert_eq!(ids.len(), sends);
    // Of half of them the answer was waited for: what was cut had been made, and is found by the one who repeats it.
    assert!(in_doubt >= sends / 2, "{in_doubt} of {sends}");
    let (mut history, mut before) = (Vec::new(), String::new());
    loop {
        let path = format!("/channels/{}/messages?limit=100{before}", place.channel);
        let page = place.api(0).get(&path).await?;
        let page: Vec<(String, String)> = page
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|m| Some((m["id"].as_str()?.to_owned(), m["content"].as_str()?.to_owned())))
            .collect();
        let Some((last, _)) = page.last() else { break };
        before = format!("&before={last}");
        history.extend(page);
    }
    let contents: BTreeSet<&str> = history.iter().map(|(_, content)| content.as_str()).collect();
    assert_eq!((history.len(), contents.len()), (sends, sends), "messages, and different ones");
    assert!(history.iter().all(|(id, _)| ids.contains(id)));
    println!("{sends} sends were cut, {in_doubt} of them after the commit, and repeated: {} messages", history.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn in_one_process() -> anyhow::Result<()> {
    let cluster = Cluster::with(Topology { channel_servers: 2, gateways: 2, ..Topology::default() }, |_| {}).await?;
    // A channel of its own: the demo has messages.
    let place = Place {
        gateways: [0, 1].map(|n| cluster.gateway(n).to_string()),
        token: cluster.bot().token.clone(),
        channel: cluster.demo().second_channel_id.to_string(),
    };
    each_is_one_message(place, sends()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn over_separate_processes() -> anyhow::Result<()> {
    let shape = Shape { routers: 1, channels: 2, presences: 1, gateways: 2 };
    let Some(cluster) = Processes::start(Path::new(PROGRAM), shape, &[]).await? else { return Ok(()) };
    let (token, channel) = cluster.make_channel("router-0").await?;
    let place = Place { gateways: [cluster.gateway(0)?, cluster.gateway(1)?], token, channel };
    each_is_one_message(place, sends()).await
}
