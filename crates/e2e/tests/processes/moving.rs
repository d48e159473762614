//! What moves between processes: slots at a drain, sessions at a drain and at a death.

use std::path::Path;

use anyhow::{Context, ensure};
use clarion_e2e::{Api, Frame, Processes, Shape, Socket};
use clarion_storage::conformance::RedisServer;
use serde_json::{Value, json};

use crate::running::Running;
use crate::{ALONE, INTENTS, PROGRAM, over_redis};

const SHAPE: Shape = Shape { routers: 2, channels: 3, presences: 2, gateways: 2 };
const SESSIONS: u64 = 40;

async fn cluster() -> anyhow::Result<Option<(Processes, RedisServer)>> {
    let Some((redis, env)) = over_redis() else { return Ok(None) };
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Ok(Processes::start(Path::new(PROGRAM), SHAPE, &env).await?.map(|cluster| (cluster, redis)))
}

/// What must not happen at a drain. Where processes or the store hung by themselves it is not the drain that is looked at;
/// then only what always holds has been shown.
fn judge(cluster: &Processes, holds: bool, what: &str) -> anyhow::Result<()> {
    match cluster.hung() {
        _ if holds => {}
        Some(line) => println!("not judged, the machine is too slow: {what}\n{line}"),
        None => anyhow::bail!("{what}\n{}", cluster.warnings()),
    }
    Ok(())
}

/// Each process behind the gateways is asked to end under load and started again: every send is answered with success, at
/// once or a little later.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_fails_no_send() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let Some((mut cluster, _redis)) = cluster().await? else { return Ok(()) };
    let running = Running::start(&cluster, 2, SESSIONS, 12).await?;
    running.recovered("all have sessions", 40).await?;
    let behind = ["channel-0", "channel-1", "channel-2", "presence-0", "presence-1", "router-0", "router-1"];
    for name in behind {
        let status = cluster.end(name).await?;
        ensure!(status.success(), "{name}: {status}\n{}", cluster.log(name));
        running.goes_on(&format!("sends go on without {name}"), 20).await?;
        cluster.restart(name).await?;
        running.recovered(name, 20).await.with_context(|| cluster.warnings())?;
    }
    let report = running.end(&cluster).await?;
    let failed = format!("{} sends, {} processes drained, failed: {:?}", report.sends, behind.len(), report.errors);
    println!("{failed}");
    judge(&cluster, report.errors.is_empty() && report.reconnects == 0, &failed)
}

/// A gateway is asked to end under load: its sessions go on at the other, exactly. What it had begun it has answered; whoever
/// comes when it is closing its door is not heard, and is at the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_drained_gateway_hands_its_sessions_over() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let Some((mut cluster, _redis)) = cluster().await? else { return Ok(()) };
    let running = Running::start(&cluster, 2, SESSIONS, 13).await?;
    running.recovered("all have sessions", 40).await?;
    for name in ["gateway-0", "gateway-1"] {
        let status = cluster.end(name).await?;
        ensure!(status.success(), "{name}: {status}\n{}", cluster.log(name));
        running.recovered(name, 20).await.with_context(|| cluster.warnings())?;
        cluster.restart(name).await?;
        running.go_home();
        running.recovered("both have sessions", 20).await?;
    }
    let report = running.end(&cluster).await?;
    let unheard = |what: &str| matches!(what, "send: connect" | "send: broken") || !what.starts_with("send: ");
    let failed: Vec<_> = report.errors.iter().filter(|(what, _)| !unheard(what)).collect();
    let all_moved = report.invalidated == 0 && report.resumed >= SESSIONS && report.verdict.repeated == 0;
    judge(&cluster, failed.is_empty() && all_moved, &format!("{failed:?} {:?}", report.verdict))
}

/// A gateway is killed under load: its sessions go on at the other, are told what may come again, and miss nothing.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_a_gateway_that_was_killed_go_on_at_the_other() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let Some((mut cluster, _redis)) = cluster().await? else { return Ok(()) };
    let running = Running::start(&cluster, 2, SESSIONS, 14).await?;
    running.recovered("all have sessions", 40).await?;

    let (token, channel) = cluster.make_channel("router-0").await?;
    let mut socket = Socket::connect(&format!("ws://{}", cluster.gateway(0)?)).await?;
    socket.identify(&token, INTENTS).await?;
    socket.dispatch("GUILD_CREATE").await?;
    let api = Api::new(&format!("http://{}/api/v10", cluster.gateway(1)?), &token);
    let mut seen = Vec::new();
    for n in 0..10 {
        api.send(&channel, &n.to_string()).await?;
        seen.push(number(&socket.dispatch("MESSAGE_CREATE").await?)?);
    }
    // Young sessions have no checkpoint; the next two have all of them.
    let kept = cluster.metric("gateway-0", "gateway_checkpoints_total").await?;
    cluster.until_metric("gateway-0", "gateway_checkpoints_total", |now| now >= kept + 2.0).await?;
    let (session, sequence) = (socket.session_id.clone(), socket.sequence);
    cluster.kill("gateway-0").await?;
    for n in 10..20 {
        api.send(&channel, &n.to_string()).await?;
    }
    let mut socket = Socket::connect(&format!("ws://{}", cluster.gateway(1)?)).await?;
    socket.resume(&token, &session, sequence).await?;
    let (mut again, mut numbers) = (Vec::new(), vec![sequence]);
    let resumed = loop {
        match socket.next().await? {
            Frame::Op { op: 0, t: Some(name), d, s: Some(s) } => {
                numbers.push(s);
                match name.as_str() {
                    "MESSAGE_CREATE" => again.push(number(&d)?),
                    "RESUMED" => break d,
                    _ => {}
                }
            }
            other => anyhow::bail!("instead of a replay: {other:?}\n{}", cluster.warnings()),
        }
    };
    assert_eq!(resumed["replayed"], json!(true));
    api.send(&channel, "20").await?;
    again.push(number(&socket.dispatch("MESSAGE_CREATE").await?)?);
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
    assert!(again[0] <= 10 && again == (again[0]..=20).collect::<Vec<_>>(), "{again:?}");
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");

    running.recovered("all sessions are at the other gateway", 20).await.with_context(|| cluster.warnings())?;
    let report = running.end(&cluster).await?;
    ensure!(report.resumed > 0, "{report}\n{}", cluster.warnings());
    judge(&cluster, report.invalidated == 0 && report.resumed >= SESSIONS / 2, &report.to_string())
}

fn number(message: &Value) -> anyhow::Result<usize> {
    message["content"].as_str().and_then(|content| content.parse().ok()).context("a number")
}
