//! More connections than there may be, which say nothing, or begin and do not end: those that are established go on, and
//! there is room again when the others are gone.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clarion::Topology;
use clarion_e2e::{Cluster, PATIENCE};
use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const INTENTS: u64 = 1 | 1 << 9 | 1 << 15;
const CONNECTIONS: usize = 200;
const FLOOD: usize = 1_000;

/// One connection, by construction: a client with a pool may open another, which then waits behind the flood.
struct Connection(BufReader<TcpStream>);

impl Connection {
    async fn send(&mut self, path: &str, token: &str, content: &str) -> anyhow::Result<()> {
        let body = json!({ "content": content }).to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bot {token}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        self.0.write_all((head + &body).as_bytes()).await?;
        let status = self.line().await?;
        ensure!(status.contains(" 200 "), "{status}");
        let mut length = 0;
        loop {
            let line = self.line().await?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        self.0.read_exact(&mut vec![0; length]).await?;
        Ok(())
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, self.0.read_line(&mut line)).await.context("nothing came")??;
        ensure!(read > 0, "the connection ended");
        Ok(line.trim_end().to_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_do_not_starve_those_that_are_established() -> anyhow::Result<()> {
    let cluster = Cluster::with(Topology::default(), |config| config.gateway.max_connections = CONNECTIONS).await?;
    let channel = cluster.demo().channel_id;
    let mut socket = cluster.session(cluster.bot(), 0, INTENTS).await?;
    let address = cluster.gateway_url(0).trim_start_matches("ws://").to_owned();
    let mut api = Connection(BufReader::new(TcpStream::connect(&address).await?));
    let (path, token) = (format!("/api/v10/channels/{channel}/messages"), cluster.other_bot().token.clone());
    api.send(&path, &token, "before").await?;
    socket.dispatch("MESSAGE_CREATE").await?;

    let flood = join_all((0..FLOOD).map(|_| TcpStream::connect(&address))).await;
    let mut flood: Vec<_> = flood.into_iter().collect::<Result<_, _>>()?;
    for half in flood.iter_mut().step_by(2) {
        half.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nUpgr").await?;
    }
    let mut slowest = Duration::ZERO;
    for n in 0..20 {
        let begun = Instant::now();
        api.send(&path, &token, &n.to_string()).await?;
        assert_eq!(socket.dispatch("MESSAGE_CREATE").await?["content"], n.to_string());
        socket.send(json!({ "op": 1, "d": socket.sequence })).await?;
        socket.op(11).await?;
        slowest = slowest.max(begun.elapsed());
    }
    println!(
        "beside {FLOOD} connections that say nothing, the slowest of 20 messages and heartbeats took {slowest:.1?}"
    );
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");

    let new = cluster.session(cluster.other_bot(), 0, INTENTS);
    let mut new = std::pin::pin!(new);
    let early = tokio::time::timeout(Duration::from_millis(500), new.as_mut()).await;
    assert!(early.is_err(), "there is no room");
    drop(flood);
    tokio::time::timeout(PATIENCE, new).await??;
    Ok(())
}
