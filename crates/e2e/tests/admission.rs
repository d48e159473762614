//! How often an account may start sessions: clients are told, held to it, and can go on by what they are told.

use std::time::{Duration, Instant};

use clarion::Topology;
use clarion_e2e::{Cluster, Frame, Socket};
use serde_json::json;

const INTENTS: u64 = 1 | 1 << 9;

async fn identified(cluster: &Cluster) -> anyhow::Result<Socket> {
    let mut socket = Socket::connect(&cluster.gateway_url(0)).await?;
    socket.identify(&cluster.bot().token, INTENTS).await?;
    Ok(socket)
}

/// Waits for READY; who is told to start over does so. How often that was.
async fn ready(mut socket: Socket, cluster: &Cluster) -> anyhow::Result<u32> {
    let mut told = 0;
    loop {
        match socket.next().await? {
            Frame::Op { t: Some(t), .. } if t == "READY" => return Ok(told),
            Frame::Op { op: 9, d, .. } => {
                assert_eq!(d, json!(false));
                told += 1;
                socket.identify(&cluster.bot().token, INTENTS).await?;
            }
            Frame::Op { .. } => {}
            end => anyhow::bail!("{end:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_too_early_waits_and_one_more_is_told_to_come_again() -> anyhow::Result<()> {
    let cluster = Cluster::with(Topology::default(), |config| {
        (config.gateway.identify.enforced, config.gateway.identify.burst) = (true, 2);
    })
    .await?;
    let begun = Instant::now();
    for _ in 0..2 {
        identified(&cluster).await?.dispatch("READY").await?;
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "a few at once need not wait");
    // Which of the two is the one that waits is up to the scheduler.
    let (one, other) = (identified(&cluster).await?, identified(&cluster).await?);
    let told = tokio::try_join!(ready(one, &cluster), ready(other, &cluster))?;
    assert!(told.0.min(told.1) == 0 && told.0.max(told.1) > 0, "{told:?}");
    assert!(begun.elapsed() >= Duration::from_secs(9), "one every five seconds, after two at once");
    assert!(cluster.metric("gateway_admission_refused_total", &["reason=\"concurrency\""]).await? >= 1.0);
    assert!(cluster.metric("gateway_rate_limited_total", &["scope=\"identify\""]).await? >= 1.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_has_so_many_starts_and_a_resume_is_none() -> anyhow::Result<()> {
    let cluster = Cluster::with(Topology::default(), |config| {
        (config.gateway.identify.enforced, config.gateway.identify.session_start_limit) = (true, 2);
    })
    .await?;
    let api = cluster.api(cluster.bot(), 0);
    let limit = async || -> anyhow::Result<serde_json::Value> {
        Ok(api.get("/gateway/bot").await?["session_start_limit"].clone())
    };
    let day = 86_400_000;
    let fresh = json!({ "total": 2, "remaining": 2, "reset_after": day, "max_concurrency": 16 });
    assert_eq!(limit().await?, fresh);
    let mut first = identified(&cluster).await?;
    first.dispatch("READY").await?;
    let told = limit().await?;
    assert_eq!(told["remaining"], json!(1));
    let left = told["reset_after"].as_u64().unwrap_or_default();
    assert!((day - 60_000..day).contains(&left), "{left}");
    identified(&cluster).await?.dispatch("READY").await?;
    assert_eq!(limit().await?["remaining"], json!(0));
    assert_eq!(identified(&cluster).await?.closed().await?, Frame::Close(4008));
    assert_eq!(limit().await?["remaining"], json!(0));

    let mut again = Socket::connect(&cluster.gateway_url(0)).await?;
    again.resume(&cluster.bot().token, &first.session_id, first.sequence).await?;
    again.dispatch("RESUMED").await?;
    let other = cluster.api(cluster.other_bot(), 0).get("/gateway/bot").await?;
    assert_eq!(other["session_start_limit"]["remaining"], json!(2), "an account of its own");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_tokens_over_sockets_is_stopped_but_not_those_who_are_known() -> anyhow::Result<()> {
    let cluster = Cluster::with(Topology::default(), |config| {
        config.gateway.rest.rate_limits.enabled = true;
        config.gateway.rest.rate_limits.invalid.limit = 3;
    })
    .await?;
    identified(&cluster).await?.dispatch("READY").await?;
    let mut guess = cluster.bot().token.clone();
    guess.replace_range(guess.len() - 6.., "guess!");
    let url = cluster.gateway_url(0);
    for _ in 0..3 {
        let mut socket = Socket::connect(&url).await?;
        socket.identify(&guess, INTENTS).await?;
        assert_eq!(socket.closed().await?, Frame::Close(4004));
    }
    let mut socket = Socket::connect(&url).await?;
    socket.identify(&guess, INTENTS).await?;
    assert_eq!(socket.op(9).await?, json!(false), "nobody looks whether it holds");
    identified(&cluster).await?.dispatch("READY").await?;
    assert_eq!(cluster.metric("gateway_rate_limited_total", &["scope=\"address\""]).await?, 1.0);
    Ok(())
}
