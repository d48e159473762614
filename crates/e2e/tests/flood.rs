//! More connections than there may be, which say nothing, or begin and do not end: those that are established go on, and
//! there is room again when the others are gone.

use std::time::{Duration, Instant};

use clarion::Topology;
use clarion_e2e::{Cluster, PATIENCE};
use futures_util::future::join_all;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const INTENTS: u64 = 1 | 1 << 9 | 1 << 15;
const CONNECTIONS: usize = 200;
const FLOOD: usize = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_do_not_starve_those_that_are_established() -> anyhow::Result<()> {
    let cluster = Cluster::with(Topology::default(), |config| config.gateway.max_connections = CONNECTIONS).await?;
    let channel = cluster.demo().channel_id;
    let mut socket = cluster.session(cluster.bot(), 0, INTENTS).await?;
    let api = cluster.api(cluster.other_bot(), 0);
    // Its connection stays open from here on.
    api.send(channel, "before").await?;
    socket.dispatch("MESSAGE_CREATE").await?;

    let address = cluster.gateway_url(0).trim_start_matches("ws://").to_owned();
    let flood = join_all((0..FLOOD).map(|_| TcpStream::connect(&address))).await;
    let mut flood: Vec<_> = flood.into_iter().collect::<Result<_, _>>()?;
    for half in flood.iter_mut().step_by(2) {
        half.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nUpgr").await?;
    }
    let mut slowest = Duration::ZERO;
    for n in 0..20 {
        let begun = Instant::now();
        api.send(channel, &n.to_string()).await?;
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
