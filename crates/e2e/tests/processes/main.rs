//! Separate processes over one store: what one of them dies of, the others survive, and what was promised holds.

#![allow(clippy::disallowed_methods, reason = "a test is no service: its tasks end with it")]

mod faults;
mod guilds;
mod moving;
mod presence;
mod running;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clarion_e2e::{PATIENCE, Processes, Shape, Socket};
use clarion_storage::conformance::RedisServer;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clarion-under-test");
const INTENTS: u64 = 1 | 1 << 9 | 1 << 15;

/// One cluster at a time: the machine has other work.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A Redis of the test's own, and the settings that have it used. `None` where there is none.
fn over_redis() -> Option<(RedisServer, Vec<(&'static str, String)>)> {
    let redis = RedisServer::start(&[])?;
    let env = vec![
        ("LOG_LEVEL", "info".to_owned()),
        ("CLARION_CACHE__KIND", "redis".to_owned()),
        ("CLARION_CACHE__REDIS__URL", redis.url()),
    ];
    Some((redis, env))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_goes_from_one_gateway_to_another() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let shape = Shape { routers: 2, channels: 2, presences: 1, gateways: 2 };
    let Some(mut cluster) = Processes::start(Path::new(PROGRAM), shape, &[]).await? else { return Ok(()) };
    let (token, channel) = cluster.make_channel("router-1").await?;
    let mut socket = Socket::connect(&format!("ws://{}", cluster.gateway(1)?)).await?;
    socket.identify(&token, INTENTS).await?;
    socket.dispatch("GUILD_CREATE").await?;
    let api = clarion_e2e::Api::new(&format!("http://{}/api/v10", cluster.gateway(0)?), &token);
    let sent = api.send(&channel, "over there").await?;
    assert_eq!(socket.dispatch("MESSAGE_CREATE").await?["id"], sent["id"]);

    // One of them leads; while one takes over from the other both may say so.
    let began = Instant::now();
    loop {
        let leads =
            [cluster.metric("router-0", "router_leads").await?, cluster.metric("router-1", "router_leads").await?];
        if leads.iter().sum::<f64>() == 1.0 {
            break;
        }
        ensure!(began.elapsed() < PATIENCE, "{leads:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Without routers what is known goes on to be used.
    for router in ["router-0", "router-1"] {
        cluster.kill(router).await?;
    }
    let sent = api.send(&channel, "nobody leads").await?;
    assert_eq!(socket.dispatch("MESSAGE_CREATE").await?["id"], sent["id"]);
    // A router that comes back orders nobody to take what others hold.
    let taken = cluster.metric("channel-0", "channel_takeovers_total").await?;
    cluster.restart("router-1").await?;
    cluster.until_metric("router-1", "router_leads", |leads| leads == 1.0).await?;
    cluster.until_owned("router-1").await?;
    assert_eq!(cluster.metric("channel-0", "channel_takeovers_total").await?, taken);
    let sent = api.send(&channel, "somebody leads").await?;
    assert_eq!(socket.dispatch("MESSAGE_CREATE").await?["id"], sent["id"]);
    // Everybody ends when asked to.
    for name in ["gateway-0", "gateway-1", "channel-0", "channel-1", "presence-0", "router-1"] {
        let status = cluster.end(name).await?;
        assert!(status.success(), "{name}: {status}\n{}", cluster.log(name));
    }
    Ok(())
}
