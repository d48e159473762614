//! Redis as the cache: presence works over it, and while it is away everything else goes on.

use std::time::{Duration, Instant};

use clarion::Topology;
use clarion_e2e::{Cluster, PATIENCE, Socket};
use clarion_model::id::UserId;
use clarion_storage::cache::{Kind, RedisConfig};
use clarion_storage::conformance::RedisServer;
use serde_json::json;

/// GUILDS, GUILD_PRESENCES, GUILD_MESSAGES, MESSAGE_CONTENT.
const INTENTS: u64 = 1 | 1 << 8 | 1 << 9 | 1 << 15;
/// Longest time until the cache is used again by itself.
const BACK_WITHIN: Duration = Duration::from_secs(30);

async fn over(server: &RedisServer, topology: Topology) -> anyhow::Result<Cluster> {
    let redis = RedisConfig { url: server.url().into(), ..RedisConfig::default() };
    Cluster::with(topology, |config| {
        config.cache.kind = Kind::Redis;
        config.cache.redis = redis;
        config.presence.lease_ms = 2_000;
    })
    .await
}

async fn show(socket: &mut Socket, status: &str) -> anyhow::Result<()> {
    let d = json!({"status": status, "activities": [], "since": null, "afk": false});
    socket.send(json!({"op": 3, "d": d})).await
}

async fn until_shown(socket: &mut Socket, user: UserId, status: &str) -> anyhow::Result<()> {
    loop {
        let seen = socket.dispatch("PRESENCE_UPDATE").await?;
        if seen["user"]["id"] == user.to_string() && seen["status"] == status {
            return Ok(());
        }
    }
}

/// Waits until Redis has what the gateway says.
async fn kept(server: &RedisServer, within: Duration) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    while !server
        .say("EXISTS clarion:presence:gateway:presence-0/gateway-0")
        .is_ok_and(|answer| answer.starts_with(":1"))
    {
        anyhow::ensure!(begun.elapsed() < within, "nothing is kept after {:?}", begun.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(begun.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presence_server_that_begins_anew_knows_from_redis_who_is_there() -> anyhow::Result<()> {
    let Some(server) = RedisServer::start(&[]) else { return Ok(()) };
    let mut cluster = over(&server, Topology::default()).await?;
    let mut session = cluster.session(cluster.bot(), 0, INTENTS).await?;
    show(&mut session, "dnd").await?;
    kept(&server, PATIENCE).await?;
    cluster = tokio::task::spawn_blocking(move || {
        cluster.clarion().process().stop_one("presence-0", true)?;
        cluster.clarion().restart_presence(0)?;
        anyhow::Ok(cluster)
    })
    .await??;
    let begun = Instant::now();
    while cluster.capture().lines_of("presence.restored").is_empty() {
        anyhow::ensure!(begun.elapsed() < PATIENCE, "nothing was found in the cache");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(cluster.metric("cache_lookups_total", &["service=\"presence\"", "result=\"hit\""]).await? > 0.0);
    assert!(cluster.metric("cache_memory_used_bytes", &["service=\"presence\""]).await? > 0.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_everything_goes_on_and_it_is_used_again_by_itself() -> anyhow::Result<()> {
    let Some(mut server) = RedisServer::start(&[]) else { return Ok(()) };
    let away = Duration::from_secs(if std::env::var_os("CLARION_TEST_LONG").is_some() { 60 } else { 3 });
    let cluster = over(&server, Topology { gateways: 2, ..Topology::default() }).await?;
    let (user, channel) = (cluster.bot().clone(), cluster.demo().channel_id);
    let mut session = cluster.session(&user, 0, INTENTS).await?;
    let mut watching = cluster.session(cluster.other_bot(), 1, INTENTS).await?;
    kept(&server, PATIENCE).await?;
    let api = cluster.api(cluster.other_bot(), 0);

    server.stop();
    let (until, mut sent) = (Instant::now() + away, 0);
    while Instant::now() < until {
        let content = format!("message {sent}");
        let asked = Instant::now();
        api.send(channel, &content).await?;
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        assert_eq!(session.dispatch("MESSAGE_CREATE").await?["content"], content);
        let status = if sent % 2 == 0 { "idle" } else { "online" };
        show(&mut session, status).await?;
        until_shown(&mut watching, user.id, status).await?;
        // A session may begin, too.
        drop(cluster.session(cluster.demo().users.first().unwrap_or(&user), 1, INTENTS).await?);
        for path in ["healthz", "readyz"] {
            let answer = reqwest::get(format!("{}/{path}", cluster.admin_url())).await?;
            assert!(answer.status().is_success(), "{path}: {}", answer.status());
        }
        sent += 1;
    }
    assert!(cluster.metric("cache_errors_total", &["service=\"presence\""]).await? > 0.0);

    server.restart();
    let back = kept(&server, BACK_WITHIN).await?;
    println!("away {away:?}, {sent} messages sent and delivered meanwhile, in use again after {back:?}");
    api.send(channel, "after").await?;
    assert_eq!(session.dispatch("MESSAGE_CREATE").await?["content"], "after");
    Ok(())
}
