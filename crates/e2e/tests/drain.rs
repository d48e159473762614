//! A drain tells the clients, ends in time whatever they do, and loses nothing.

#![allow(clippy::disallowed_methods, reason = "a test is no service: its tasks end with it")]

use clarion_e2e::{Cluster, Frame};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const INTENTS: u64 = 1 | 1 << 9 | 1 << 15;

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_asked_to_come_back_and_nobody_holds_it_up() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let mut socket = cluster.session(cluster.bot(), 0, INTENTS).await?;
    let public = cluster.demo().gateway.trim_start_matches("ws://").to_owned();
    // One who begins a request and does not end it, and one whose body does not come.
    let mut half = TcpStream::connect(&public).await?;
    half.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nUpgr").await?;
    let mut body = TcpStream::connect(&public).await?;
    let channel = cluster.demo().channel_id;
    let head =
        format!("POST /api/v10/channels/{channel}/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{");
    body.write_all(head.as_bytes()).await?;
    cluster.api(cluster.bot(), 0).send(channel, "before the drain").await?;
    socket.dispatch("MESSAGE_CREATE").await?;

    let said = cluster.capture().clone();
    let stopping = tokio::task::spawn(cluster.stop());
    assert_eq!(socket.op(7).await?, json!(null));
    assert!(matches!(socket.closed().await?, Frame::Close(1012 | 4000)));
    let report = stopping.await??;
    assert!(report.cut_off.is_empty() && report.failed.is_empty(), "{report:?}");
    // It was measured, and the socket's messages were counted: HELLO, IDENTIFY, READY, GUILD_CREATE, the message, op 7.
    let metrics = said.process().render_metrics();
    let count = metrics.lines().find_map(|line| line.strip_prefix("websocket_shutdown_time_seconds_count"));
    assert!(count.is_some_and(|count| count.ends_with(" 1")), "{count:?}");
    let closed = said.lines_of("connection.closed");
    assert!(closed.iter().any(|line| line["message_count"].as_u64().is_some_and(|n| n >= 6)), "{closed:?}");
    drop((half, body));
    Ok(())
}
