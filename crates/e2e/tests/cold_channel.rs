//! Many who read a channel that nobody has read for long cost the store one query: over the store behind CQL, after the
//! process that had it in memory was killed.

use std::path::Path;

use anyhow::{Context, ensure};
use clarion_e2e::{Api, PATIENCE, Processes, Shape};
use futures_util::future::join_all;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clarion-under-test");
const READERS: usize = 50;
const MESSAGES: usize = 60;

/// How often the channel server has read a history from the store.
async fn histories_read(cluster: &Processes) -> anyhow::Result<u64> {
    let text = reqwest::get(format!("{}/metrics", cluster.admin_url("channel-0")?)).await?.text().await?;
    let is_it = |line: &&str| line.starts_with("db_queries_total{") && line.contains("operation=\"read_history\"");
    let line = text.lines().find(is_it).context("db_queries_total")?;
    Ok(line.rsplit(' ').next().context("a value")?.parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_readers_of_a_cold_channel_cause_one_query() -> anyhow::Result<()> {
    let shape = Shape { routers: 1, channels: 1, gateways: 1, presences: 1 };
    let Some(mut cluster) = Processes::start(Path::new(PROGRAM), shape, &[]).await? else { return Ok(()) };
    let (token, channel) = cluster.make_channel("router-0").await?;
    let api = Api::new(&format!("http://{}/api/v10", cluster.gateway(0)?), &token);
    for n in 0..MESSAGES {
        api.send(&channel, &format!("message {n}")).await?;
    }
    cluster.kill("channel-0").await?;
    cluster.restart("channel-0").await?;
    cluster.until_owned("router-0").await?;
    // The gateway knows who asks, and each reader has a connection: what is cold is the channel.
    let readers: Vec<Api> = (0..READERS).map(|_| api.clone()).collect();
    let ready = join_all(readers.iter().map(|reader| reader.get("/users/@me")));
    for known in tokio::time::timeout(2 * PATIENCE, ready).await? {
        known?;
    }
    let before = histories_read(&cluster).await?;
    let path = format!("/channels/{channel}/messages?limit=50");
    let pages = tokio::time::timeout(2 * PATIENCE, join_all(readers.iter().map(|reader| reader.get(&path)))).await?;
    let pages = pages.into_iter().collect::<anyhow::Result<Vec<Value>>>()?;
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
