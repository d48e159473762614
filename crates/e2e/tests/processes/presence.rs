//! Two presence servers: one is killed or hangs, and who is there stays known.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clarion_e2e::{PATIENCE, Processes, Shape, Socket};
use serde_json::{Value, json};

use crate::{ALONE, PROGRAM};

/// GUILDS, GUILD_MEMBERS and GUILD_PRESENCES.
const INTENTS: u64 = 1 | 1 << 1 | 1 << 8;
const LEASE: Duration = Duration::from_secs(2);
/// Time until a change is seen after a server died: a lease and a third until it is given up, a second in which changes
/// are gathered, and the machine's.
const RIGHT_WITHIN: Duration = Duration::from_secs(6);

/// Somebody whose status others see.
struct Person {
    id: String,
    socket: Socket,
}

impl Person {
    async fn show(&mut self, status: &str) -> anyhow::Result<()> {
        let d = json!({ "status": status, "activities": [], "since": null, "afk": false });
        self.socket.send(json!({ "op": 3, "d": d })).await
    }
}

/// Has everybody show a status, and waits until the viewer has seen it of all; nobody may seem to be away in between.
async fn all_show(status: &str, people: &mut [Person], viewer: &mut Socket) -> anyhow::Result<Duration> {
    let began = Instant::now();
    for person in people.iter_mut() {
        person.show(status).await?;
    }
    let mut missing: Vec<&str> = people.iter().map(|person| person.id.as_str()).collect();
    while !missing.is_empty() {
        let seen = viewer.dispatch("PRESENCE_UPDATE").await?;
        ensure!(seen["status"] != "offline", "{seen} while all show {status}");
        if seen["status"] == status {
            missing.retain(|id| seen["user"]["id"] != *id);
        }
        ensure!(began.elapsed() < PATIENCE, "{status} is not seen of {missing:?}");
    }
    Ok(began.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_there_stays_known_when_a_presence_server_dies_or_hangs() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let shape = Shape { routers: 1, channels: 1, presences: 2, gateways: 2 };
    let lease = LEASE.as_millis().to_string();
    let env = [("CLARION_PRESENCE__LEASE_MS", lease.as_str())];
    let Some(mut cluster) = Processes::start(Path::new(PROGRAM), shape, &env).await? else { return Ok(()) };
    // Enough of them that both servers have some.
    let (accounts, _) = cluster.make_guild("router-0", 12).await?;
    let mut viewer = enter(&cluster, 0, &accounts[0].1).await?;
    let mut people = Vec::new();
    for (id, token) in &accounts[1..] {
        people.push(Person { id: id.clone(), socket: enter(&cluster, 1, token).await? });
    }
    all_show("idle", &mut people, &mut viewer).await?;
    for (round, name) in ["presence-0", "presence-1", "presence-0", "presence-1"].into_iter().enumerate() {
        let is_killed = round < 2;
        if is_killed {
            cluster.kill(name).await?;
        } else {
            cluster.signal(name, "STOP")?;
        }
        let took = all_show("dnd", &mut people, &mut viewer).await?;
        println!("{name} {}: all was seen {took:.1?} later", if is_killed { "was killed" } else { "hung" });
        ensure!(took < RIGHT_WITHIN, "{took:?}");
        // It comes back, and those that had gone over come back to it, after its first lease.
        if is_killed {
            cluster.restart(name).await?;
        } else {
            cluster.signal(name, "CONT")?;
        }
        for gateway in ["gateway-0", "gateway-1"] {
            cluster.until_metric(gateway, "gateway_presence_attended", |attended| attended == 2.0).await?;
        }
        all_show("online", &mut people, &mut viewer).await?;
        // Each is counted once.
        cluster.until_metric(name, "presence_users_online", |counted| counted > 0.0).await?;
        let counted = async || {
            let one = cluster.metric("presence-0", "presence_users_online").await?;
            anyhow::Ok(one + cluster.metric("presence-1", "presence_users_online").await?)
        };
        let began = Instant::now();
        while counted().await? != accounts.len() as f64 {
            ensure!(began.elapsed() < PATIENCE, "{} are counted", counted().await?);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        all_show("idle", &mut people, &mut viewer).await?;
    }
    Ok(())
}

async fn enter(cluster: &Processes, gateway: usize, token: &str) -> anyhow::Result<Socket> {
    let mut socket = Socket::connect(&format!("ws://{}", cluster.gateway(gateway)?)).await?;
    let presence: Value = json!({ "status": "online", "activities": [], "since": null, "afk": false });
    let d = json!({ "token": token, "intents": INTENTS, "properties": {}, "presence": presence });
    socket.send(json!({ "op": 2, "d": d })).await?;
    socket.dispatch("GUILD_CREATE").await?;
    Ok(socket)
}
