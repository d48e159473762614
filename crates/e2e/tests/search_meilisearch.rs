//! Meilisearch behind the search service: the rules of every index, and what happens when servers are out of reach, slow,
//! full or gone. The server is a stand-in that checks every request; a real one is used too where there is one.

#![allow(clippy::disallowed_methods, reason = "a test is no service: its tasks end with it")]

use std::time::{Duration, Instant};

use anyhow::bail;
use clarion::Topology;
use clarion_e2e::{Api, Cluster, Meili, PATIENCE, meili};
use clarion_storage::index::{Config, Kind, Meilisearch, conformance};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// The rules of every index, over a server.
async fn keep_the_rules(url: &str, config: Config) {
    conformance::suite(|| Meilisearch::new(url, &config).expect("a server")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_rules() -> anyhow::Result<()> {
    let server = Meili::start()?;
    keep_the_rules(&server.url(), Config { key: meili::KEY.into(), ..Config::default() }).await;
    assert_eq!(server.complaints(), Vec::<String>::new());
    Ok(())
}

/// The same, over the real server where there is one.
#[tokio::test(flavor = "multi_thread")]
async fn the_real_server_keeps_the_rules() -> anyhow::Result<()> {
    let Ok(url) = std::env::var("CLARION_TEST_MEILI_URL") else {
        eprintln!("CLARION_TEST_MEILI_URL names no Meilisearch server: the real one was not asked");
        return Ok(());
    };
    let key = std::env::var("CLARION_TEST_MEILI_KEY").unwrap_or_default();
    let name = format!("clarion-test-{}", std::process::id());
    keep_the_rules(&url, Config { name, key: key.as_str().into(), ..Config::default() }).await;
    Ok(())
}

/// A cluster whose index is on these servers.
async fn cluster(servers: &[&Meili]) -> anyhow::Result<Cluster> {
    let urls: Vec<String> = servers.iter().map(|server| server.url()).collect();
    Cluster::with(Topology::default(), |config| {
        let index = &mut config.search.index;
        (index.kind, index.urls, index.key) = (Kind::Meilisearch, urls, meili::KEY.into());
        index.timeout_ms = 2_000;
    })
    .await
}

/// How many messages a search finds, once it is as many as wanted.
async fn until(cluster: &Cluster, text: &str, total: u64) -> anyhow::Result<()> {
    let (api, guild) = (cluster.api(cluster.bot(), 0), cluster.demo().guild_id);
    let deadline = Instant::now() + 2 * PATIENCE;
    loop {
        let (status, body) = search(&api, guild, text).await?;
        if status == StatusCode::OK && body["total_results"] == total {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{text}: {total} expected, {status}: {body}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn search(api: &Api, guild: impl std::fmt::Display, text: &str) -> anyhow::Result<(StatusCode, Value)> {
    api.call(Method::GET, &format!("/guilds/{guild}/messages/search?content={text}"), None).await
}

async fn until_lag(cluster: &Cluster, wanted: impl Fn(f64) -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + 2 * PATIENCE;
    while !wanted(cluster.metric("search_index_lag_seconds", &[]).await?) {
        anyhow::ensure!(Instant::now() < deadline, "the lag");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn say(cluster: &Cluster, text: &str, count: usize) -> anyhow::Result<()> {
    let api = cluster.api(cluster.bot(), 0);
    for n in 0..count {
        api.send(cluster.demo().channel_id, &format!("{text} {n}")).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_found_edited_and_gone() -> anyhow::Result<()> {
    let server = Meili::start()?;
    let cluster = cluster(&[&server]).await?;
    let api = cluster.api(cluster.bot(), 0);
    let sent = api.send(cluster.demo().channel_id, "the quokka smiles").await?;
    until(&cluster, "quokka", 1).await?;
    until(&cluster, "quoka%20", 1).await?;
    let path = format!("/channels/{}/messages/{}", cluster.demo().channel_id, sent["id"].as_str().unwrap_or_default());
    api.call(Method::PATCH, &path, Some(json!({ "content": "the wombat digs" }))).await?;
    until(&cluster, "wombat", 1).await?;
    until(&cluster, "quokka", 0).await?;
    api.call(Method::DELETE, &path, None).await?;
    until(&cluster, "wombat", 0).await?;
    assert_eq!(server.complaints(), Vec::<String>::new());
    Ok(())
}

/// What can be wrong with a server, and how it comes back.
type Fault = (&'static str, fn(&mut Meili), fn(&mut Meili) -> anyhow::Result<()>);

#[tokio::test(flavor = "multi_thread")]
async fn out_of_reach_slow_or_full_nothing_is_lost_and_the_lag_says_it() -> anyhow::Result<()> {
    let faults: [Fault; 3] = [
        ("out of reach", Meili::down, Meili::up),
        (
            "slow",
            |server| server.hold(true),
            |server| {
                server.hold(false);
                Ok(())
            },
        ),
        (
            "full",
            |server| server.fill(true),
            |server| {
                server.fill(false);
                Ok(())
            },
        ),
    ];
    let mut server = Meili::start()?;
    let cluster = cluster(&[&server]).await?;
    let mut said = 0;
    for (what, begin, end) in faults {
        say(&cluster, "steady", 5).await?;
        said += 5;
        until(&cluster, "steady", said).await?;
        until_lag(&cluster, |lag| lag == 0.0).await?;
        begin(&mut server);
        // Sends do not notice.
        say(&cluster, "steady", 20).await?;
        said += 20;
        until_lag(&cluster, |lag| lag > 2.0).await?;
        // It grows: after five minutes it is what the alert waits for.
        let before = cluster.metric("search_index_lag_seconds", &[]).await?;
        until_lag(&cluster, |lag| lag > before + 1.0).await?;
        end(&mut server)?;
        until(&cluster, "steady", said).await.map_err(|error| error.context(what))?;
        until_lag(&cluster, |lag| lag == 0.0).await?;
    }
    assert_eq!(server.messages() as u64, said, "each is there once");
    assert_eq!(server.complaints(), Vec::<String>::new());
    assert!(cluster.metric("search_errors_total", &[]).await? > 0.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_servers_is_enough() -> anyhow::Result<()> {
    let (mut one, mut two) = (Meili::start()?, Meili::start()?);
    let cluster = cluster(&[&one, &two]).await?;
    say(&cluster, "steady", 5).await?;
    until(&cluster, "steady", 5).await?;
    for down in [true, false] {
        let server = if down { &mut one } else { &mut two };
        until_lag(&cluster, |lag| lag == 0.0).await?;
        server.down();
        let before = cluster.metric("search_query_failures_total", &[]).await?;
        say(&cluster, "steady", 5).await?;
        // Found all the time, in the one that is left.
        until(&cluster, "steady", if down { 10 } else { 15 }).await?;
        assert_eq!(cluster.metric("search_query_failures_total", &[]).await?, before);
        until_lag(&cluster, |lag| lag > 1.0).await?;
        server.up()?;
        until_lag(&cluster, |lag| lag == 0.0).await?;
    }
    // Both have everything again.
    assert_eq!((one.messages(), two.messages()), (15, 15));
    assert_eq!((one.complaints(), two.complaints()), (Vec::new(), Vec::new()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_everything_is_filled_again() -> anyhow::Result<()> {
    let server = Meili::start()?;
    let cluster = cluster(&[&server]).await?;
    say(&cluster, "lasting", 30).await?;
    until(&cluster, "lasting", 30).await?;
    server.wipe();
    say(&cluster, "lasting", 10).await?;
    until(&cluster, "lasting", 40).await?;
    assert_eq!(server.messages(), 40);
    assert!(server.requests(&["/search"]) > 0);
    Ok(())
}
