//! Gateways and presence servers that die.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_users_of_a_gateway_that_dies_are_offline_after_its_lease() -> anyhow::Result<()> {
    const LEASE: Duration = Duration::from_secs(2);
    let topology = Topology { gateways: 2, ..Topology::default() };
    let mut cluster = Cluster::with(topology, |config| config.presence.lease_ms = LEASE.as_millis() as u32).await?;
    let (viewer, user) = (cluster.other_bot().clone(), cluster.bot().clone());
    let (mut watching, _) = enter(&cluster, &viewer, 0, json!({})).await?;
    let (_session, _) = enter(&cluster, &user, 1, json!({})).await?;
    until_status(&mut watching, user.id, "online").await?;
    // Heartbeats renew the lease, which is shorter than this.
    for _ in 0..2 {
        assert_eq!(rest(&mut watching, user.id).await?, Vec::<Value>::new());
    }

    let cut = Instant::now();
    cluster =
        tokio::task::spawn_blocking(move || cluster.clarion().process().stop_one("gateway-1", true).map(|_| cluster))
            .await??;
    until_status(&mut watching, user.id, "offline").await?;
    assert!(cut.elapsed() >= LEASE, "after {:?}", cut.elapsed());
    metric_is(&cluster, "presence_events_total", &["event_type=\"lease_expired\""], 1.0).await?;
    metric_is(&cluster, "presence_users_online", &["status=\"online\""], 1.0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_presence_server_gateways_serve_and_it_recovers() -> anyhow::Result<()> {
    let mut cluster = Cluster::with(Topology::default(), |config| config.presence.lease_ms = 2_000).await?;
    let (viewer, user) = (cluster.other_bot().clone(), cluster.bot().clone());
    let (mut watching, _) = enter(&cluster, &viewer, 0, json!({})).await?;
    let (mut session, _) = enter(&cluster, &user, 0, json!({})).await?;
    until_status(&mut watching, user.id, "online").await?;
    for cut in [false, true] {
        cluster = tokio::task::spawn_blocking(move || {
            cluster.clarion().process().stop_one("presence-0", cut).map(|_| cluster)
        })
        .await??;
        metric_is(&cluster, "gateway_presence_attended", &[], 0.0).await?;
        // What it was told last stays; sessions begin, and what they say is said later.
        let third = cluster.demo().users[0].clone();
        let (other, guild) = enter(&cluster, &third, 0, json!({"presence": {"status": "idle"}})).await?;
        assert!(guild["presences"].to_string().contains(&user.id.to_string()), "{guild}");
        set(&mut session, "dnd", None).await?;
        cluster.api(&user, 0).send(cluster.demo().channel_id, "without presence").await?;
        assert_eq!(rest(&mut watching, user.id).await?, Vec::<Value>::new());

        cluster.clarion().restart_presence(0)?;
        // Nobody seemed to be away in between; the two come in the order of their ids, which are by chance.
        let mut told = Vec::new();
        for _ in 0..2 {
            let seen = watching.dispatch("PRESENCE_UPDATE").await?;
            told.push((seen["user"]["id"].clone(), seen["status"].clone()));
        }
        for (user, status) in [(user.id, "dnd"), (third.id, "idle")] {
            assert!(told.contains(&(json!(user.to_string()), json!(status))), "{told:?}");
        }
        metric_is(&cluster, "gateway_presence_attended", &[], 1.0).await?;
        set(&mut session, "online", None).await?;
        until_status(&mut watching, user.id, "online").await?;
        leave(other).await?;
        until_status(&mut watching, third.id, "offline").await?;
    }
    Ok(())
}

/// Of two presence servers either may die: what everybody shows is told by the other, and nobody seems to be away.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_presence_servers_may_die() -> anyhow::Result<()> {
    let topology = Topology { presence_servers: 2, gateways: 2, ..Topology::default() };
    let mut cluster = Cluster::with(topology, |config| config.presence.lease_ms = 1_000).await?;
    let viewer = cluster.other_bot().clone();
    let (mut watching, _) = enter(&cluster, &viewer, 0, json!({})).await?;
    let accounts: Vec<Account> = cluster.demo().users.iter().chain([cluster.bot()]).cloned().collect();
    let mut sessions = Vec::new();
    for account in &accounts {
        sessions.push(enter(&cluster, account, 1, json!({})).await?.0);
    }
    // Each user is counted at one of the servers, whoever knows of the user beside it.
    let counted = async |cluster: &Cluster, at: &[&str]| {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut count = 0.0;
            for server in at {
                count += metric(cluster, "presence_users_online", &[&format!("instance=\"{server}\"")]).await?;
            }
            if count == (accounts.len() + 1) as f64 {
                return anyhow::Ok(());
            }
            anyhow::ensure!(Instant::now() < deadline, "{count} are counted at {at:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    all_show("idle", &accounts, &mut sessions, &mut watching).await?;
    counted(&cluster, &["presence-0", "presence-1"]).await?;
    for (dies, stays) in [("presence-0", "presence-1"), ("presence-1", "presence-0")] {
        cluster =
            tokio::task::spawn_blocking(move || cluster.clarion().process().stop_one(dies, true).map(|_| cluster))
                .await??;
        all_show("dnd", &accounts, &mut sessions, &mut watching).await?;
        counted(&cluster, &[stays]).await?;
        cluster.clarion().restart_presence(usize::from(dies == "presence-1"))?;
        metric_is(&cluster, "gateway_presence_attended", &[], 4.0).await?;
        all_show("online", &accounts, &mut sessions, &mut watching).await?;
        counted(&cluster, &["presence-0", "presence-1"]).await?;
        all_show("idle", &accounts, &mut sessions, &mut watching).await?;
    }
    for (account, session) in accounts.iter().zip(sessions) {
        leave(session).await?;
        until_status(&mut watching, account.id, "offline").await?;
    }
    Ok(())
}

/// Has everybody show a status, and waits until the viewer has seen it of all; nobody may seem to be away in between.
async fn all_show(
    status: &str,
    accounts: &[Account],
    sessions: &mut [Socket],
    viewer: &mut Socket,
) -> anyhow::Result<()> {
    for session in sessions {
        set(session, status, None).await?;
    }
    let mut missing: Vec<String> = accounts.iter().map(|account| account.id.to_string()).collect();
    while !missing.is_empty() {
        let seen = viewer.dispatch("PRESENCE_UPDATE").await?;
        anyhow::ensure!(seen["status"] != "offline", "{seen} while all show {status}");
        if seen["status"] == status {
            missing.retain(|id| seen["user"]["id"] != *id);
        }
    }
    Ok(())
}
