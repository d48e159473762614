//! Many who read a channel that nobody has read for long cost the store one query: over the store behind CQL, after the
//! process that had it in memory was killed.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use clarion_e2e::{Api, PATIENCE, Processes, Shape};
use futures_util::future::join_all;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clarion-under-test");
const READERS: usize = 50;
const MESSAGES: usize = 60;
/// How long the store is slow: many times what fifty requests take to come, and less than any lease.
const SLOW: Duration = Duration::from_secs(2);

/// A way to the store on which answers wait while it is held.
async fn proxy(server: String, held: watch::Receiver<bool>) -> anyhow::Result<(String, JoinSet<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (address, mut tasks) = (listener.local_addr()?.to_string(), JoinSet::new());
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(&server).await else { continue };
            let mut held = held.clone();
            connections.spawn(async move {
                let ((mut asks, mut hears), (mut says, mut takes)) = (client.into_split(), server.into_split());
                let answers = async {
                    let mut bytes = vec![0; 64 << 10];
                    while let Ok(count @ 1..) = says.read(&mut bytes).await {
                        let free = held.wait_for(|held| !held).await.is_ok();
                        if !free || hears.write_all(&bytes[..count]).await.is_err() {
                            return;
                        }
                    }
                };
                tokio::select! { _ = copy(&mut asks, &mut takes) => {} () = answers => {} }
            });
        }
    });
    Ok((address, tasks))
}

/// How often the channel server has read a history from the store.
async fn histories_read(cluster: &Processes) -> anyhow::Result<u64> {
    let text = reqwest::get(format!("{}/metrics", cluster.admin_url("channel-0")?)).await?.text().await?;
    let is_it = |line: &&str| line.starts_with("db_queries_total{") && line.contains("operation=\"read_history\"");
    let line = text.lines().find(is_it).context("db_queries_total")?;
    Ok(line.rsplit(' ').next().context("a value")?.parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_readers_of_a_cold_channel_cause_one_query() -> anyhow::Result<()> {
    let server = std::env::var("CLARION_TEST_CQL").unwrap_or_default();
    let (hold, held) = watch::channel(false);
    let (store, _tasks) = proxy(server, held).await?;
    let hosts = format!("[\"{store}\"]");
    let shape = Shape { routers: 1, channels: 1, presences: 1, gateways: 1 };
    let env = [("CLARION_STORAGE__SCYLLA__HOSTS", hosts.as_str())];
    let Some(mut cluster) = Processes::start(Path::new(PROGRAM), shape, &env).await? else { return Ok(()) };
    let (token, channel) = cluster.make_channel("router-0").await?;
    let api = Api::new(&format!("http://{}/api/v10", cluster.gateway(0)?), &token);
    for n in 0..MESSAGES {
        api.send(&channel, &format!("message {n}")).await?;
    }
    cluster.kill("channel-0").await?;
    cluster.restart("channel-0").await?;
    cluster.until_owned("router-0").await?;
    // The owner has its key and knows who asks: what nobody has read is the history.
    api.get(&format!("/channels/{channel}")).await?;
    let before = histories_read(&cluster).await?;
    assert_eq!(before, 0);
    let path = format!("/channels/{channel}/messages?limit=50");
    hold.send_replace(true);
    let free = async {
        tokio::time::sleep(SLOW).await;
        hold.send_replace(false);
    };
    let reads = join_all((0..READERS).map(|_| api.get(&path)));
    let (pages, ()) = tokio::join!(tokio::time::timeout(2 * PATIENCE, reads), free);
    let pages = pages?.into_iter().collect::<anyhow::Result<Vec<Value>>>()?;
    let queries = histories_read(&cluster).await? - before;
    for page in &pages {
        let page = page.as_array().context("a page")?;
        ensure!(page.len() == 50 && page[0]["content"] == format!("message {}", MESSAGES - 1), "{page:?}");
    }
    println!("{READERS} readers of one cold channel: {queries} query");
    assert_eq!(queries, 1);
    // Who comes later reads what was written since.
    api.send(&channel, "one more").await?;
    assert_eq!(api.get(&path).await?[0]["content"], "one more");
    assert_eq!(histories_read(&cluster).await? - before, 2);
    Ok(())
}
