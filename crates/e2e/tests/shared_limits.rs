//! Limits hold across gateways that share Redis: a client gets no more by asking two of them. Without Redis each gateway
//! counts for itself, and sends go on.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clarion::Topology;
use clarion_e2e::{Api, Cluster, Frame, PATIENCE, Socket};
use clarion_storage::cache::{Kind, RedisConfig};
use clarion_storage::conformance::RedisServer;
use reqwest::{Method, StatusCode};
use serde_json::json;

const INTENTS: u64 = 1 | 1 << 9;
const SENDS: u32 = 7;
/// So long that it does not end while it is looked at.
const WINDOW: Duration = Duration::from_secs(60);
const DAY_MS: u64 = 86_400_000;

async fn over(server: &RedisServer, change: impl FnOnce(&mut clarion::Config)) -> anyhow::Result<Cluster> {
    let redis = RedisConfig { url: server.url().into(), ..RedisConfig::default() };
    Cluster::with(Topology { gateways: 2, ..Topology::default() }, |config| {
        config.cache.kind = Kind::Redis;
        config.cache.redis = redis;
        let limits = &mut config.gateway.rest.rate_limits;
        limits.enabled = true;
        (limits.send.limit, limits.send.window_ms) = (SENDS, WINDOW.as_millis() as u64);
        change(config);
    })
    .await
}

/// What an answer says of limits.
#[derive(Debug, PartialEq, Eq)]
struct Stands {
    status: StatusCode,
    limit: u32,
    remaining: u32,
    scope: String,
    reset_after: Duration,
}

async fn send(api: &Api, channel: &str) -> anyhow::Result<Stands> {
    let request = api.request(Method::POST, &format!("/channels/{channel}/messages"));
    let answer = request.json(&json!({ "content": "again" })).send().await?;
    let of = |name: &str| {
        let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
        value.map(str::to_owned).with_context(|| format!("{name} in {:?}", answer.headers()))
    };
    let reset_after: f64 = of("x-ratelimit-reset-after")?.parse()?;
    if answer.status() == StatusCode::TOO_MANY_REQUESTS {
        let retry: f64 = of("retry-after")?.parse()?;
        ensure!((retry - reset_after).abs() <= 1.0, "retry after {retry}, reset after {reset_after}");
    }
    Ok(Stands {
        status: answer.status(),
        limit: of("x-ratelimit-limit")?.parse()?,
        remaining: of("x-ratelimit-remaining")?.parse()?,
        scope: of("x-ratelimit-scope")?,
        reset_after: Duration::from_secs_f64(reset_after),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_two_gateways_may_not_send_twice_as_much() -> anyhow::Result<()> {
    let Some(mut server) = RedisServer::start(&[]) else { return Ok(()) };
    let cluster = over(&server, |_| {}).await?;
    let channel = cluster.demo().channel_id.to_string();
    let both = |account| [cluster.api(account, 0), cluster.api(account, 1)];

    let apis = both(cluster.bot());
    for n in 0..SENDS {
        let stands = send(&apis[n as usize % 2], &channel).await?;
        assert_eq!((stands.status, stands.limit, stands.remaining), (StatusCode::OK, SENDS, SENDS - 1 - n), "{n}");
        assert!(stands.reset_after <= WINDOW && stands.reset_after > WINDOW / 2, "{stands:?}");
    }
    let before = cluster.metric("gateway_rate_limited_total", &["scope=\"channel\""]).await?;
    for api in &apis {
        let stands = send(api, &channel).await?;
        assert_eq!((stands.status, stands.remaining), (StatusCode::TOO_MANY_REQUESTS, 0));
        assert_eq!(stands.scope, "user");
    }
    assert_eq!(cluster.metric("gateway_rate_limited_total", &["scope=\"channel\""]).await?, before + 2.0);

    // The same when everything is asked at once, and for somebody whom the others' limit does not touch.
    let apis = both(cluster.other_bot());
    let all = (0..4 * SENDS).map(|n| send(&apis[n as usize % 2], &channel));
    let all = futures_util::future::join_all(all).await.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let sent = all.iter().filter(|stands| stands.status == StatusCode::OK).count();
    assert_eq!(sent as u32, SENDS, "{all:?}");

    // Without Redis each gateway goes on from where it last knew, and counts for itself.
    server.stop();
    let begun = Instant::now();
    let fresh = both(cluster.demo().users.first().context("a person")?);
    let mut sent = 0;
    for n in 0..4 * SENDS {
        let stands = send(&fresh[n as usize % 2], &channel).await?;
        assert!(matches!(stands.status, StatusCode::OK | StatusCode::TOO_MANY_REQUESTS), "{stands:?}");
        sent += u32::from(stands.status == StatusCode::OK);
    }
    assert_eq!(sent, 2 * SENDS, "as many at each");
    assert_eq!(send(&apis[0], &channel).await?.status, StatusCode::TOO_MANY_REQUESTS);
    println!("without Redis {} requests took {:?}", 4 * SENDS + 1, begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(10), "nothing waits for it: {:?}", begun.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_begins_at_two_gateways_may_not_begin_twice_as_often() -> anyhow::Result<()> {
    let Some(server) = RedisServer::start(&[]) else { return Ok(()) };
    let cluster = over(&server, |config| {
        let identify = &mut config.gateway.identify;
        (identify.enforced, identify.session_start_limit, identify.burst) = (true, 4, 10);
    })
    .await?;
    let account = cluster.bot();
    let mut open = Vec::new();
    for n in 0..4 {
        for gateway in [0, 1] {
            let limit = &cluster.api(account, gateway).get("/gateway/bot").await?["session_start_limit"];
            assert_eq!((limit["total"].as_u64(), limit["remaining"].as_u64()), (Some(4), Some(4 - n)), "{limit}");
            let reset_after = limit["reset_after"].as_u64().context("reset_after")?;
            assert!(reset_after <= DAY_MS && reset_after > DAY_MS - 600_000, "{limit}");
        }
        open.push(cluster.session(account, n as usize % 2, INTENTS).await?);
    }
    for gateway in [0, 1] {
        let mut socket = Socket::connect(&cluster.gateway_url(gateway)).await?;
        socket.identify(&account.token, INTENTS).await?;
        assert_eq!(tokio::time::timeout(PATIENCE, socket.closed()).await??, Frame::Close(4008));
    }
    // Somebody else may.
    open.push(cluster.session(cluster.other_bot(), 1, INTENTS).await?);
    Ok(())
}

/// Many begin at the same moment, and nobody has begun before: each is counted, at whichever gateway it is.
#[tokio::test(flavor = "multi_thread")]
async fn who_begins_at_the_same_moment_is_counted_once() -> anyhow::Result<()> {
    const LIMIT: usize = 6;
    let Some(server) = RedisServer::start(&[]) else { return Ok(()) };
    let cluster = over(&server, |config| {
        let identify = &mut config.gateway.identify;
        (identify.enforced, identify.session_start_limit, identify.burst) = (true, LIMIT as u32, 100);
    })
    .await?;
    for account in [cluster.bot(), cluster.other_bot()] {
        let mut sockets = Vec::new();
        for n in 0..4 * LIMIT {
            sockets.push(Socket::connect(&cluster.gateway_url(n % 2)).await?);
        }
        let begun = sockets.into_iter().map(async |mut socket| -> anyhow::Result<bool> {
            socket.identify(&account.token, INTENTS).await?;
            Ok(match tokio::time::timeout(PATIENCE, socket.next()).await?? {
                Frame::Op { t: Some(event), .. } if event == "READY" => true,
                Frame::Close(4008) => false,
                other => anyhow::bail!("{other:?}"),
            })
        });
        let begun = futures_util::future::join_all(begun).await.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        assert_eq!(begun.iter().filter(|begun| **begun).count(), LIMIT, "{begun:?}");
        let left = &cluster.api(account, 0).get("/gateway/bot").await?["session_start_limit"]["remaining"];
        assert_eq!(left.as_u64(), Some(0));
    }
    Ok(())
}

/// A bucket allows `burst` at once, wherever; one more waits for its turn, and the next one is told to start over.
#[tokio::test(flavor = "multi_thread")]
async fn turns_are_taken_at_all_gateways_together() -> anyhow::Result<()> {
    let Some(server) = RedisServer::start(&[]) else { return Ok(()) };
    let cluster = over(&server, |config| {
        let identify = &mut config.gateway.identify;
        (identify.enforced, identify.burst) = (true, 2);
    })
    .await?;
    let account = cluster.bot();
    let mut open = Vec::new();
    for gateway in [0, 1] {
        open.push(cluster.session(account, gateway, INTENTS).await?);
    }
    let begun = Instant::now();
    let mut waits = Socket::connect(&cluster.gateway_url(0)).await?;
    waits.identify(&account.token, INTENTS).await?;
    // It has its turn before the next one asks.
    let api = cluster.api(account, 1);
    while api.get("/gateway/bot").await?["session_start_limit"]["remaining"] != 1_000 - 3 {
        ensure!(begun.elapsed() < Duration::from_secs(3), "it has no turn");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let mut refused = Socket::connect(&cluster.gateway_url(1)).await?;
    refused.identify(&account.token, INTENTS).await?;
    assert_eq!(refused.op(9).await?, json!(false));
    waits.dispatch("READY").await?;
    assert!(begun.elapsed() > Duration::from_secs(3), "it waited: {:?}", begun.elapsed());
    Ok(())
}
