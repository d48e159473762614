//! Separate processes over one store: what one of them dies of, the others survive, and what was promised holds.

#![allow(clippy::disallowed_methods, reason = "a test is no service: its tasks end with it")]

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clarion::load::{Load, Options, Report, Tally, Watch};
use clarion_e2e::{PATIENCE, Processes, Shape, Socket};
use tokio::task::JoinHandle;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clarion-under-test");
const INTENTS: u64 = 1 | 1 << 9 | 1 << 15;
/// The lease of members, and what an owner that hangs is stopped for beyond it.
const LEASE: Duration = Duration::from_secs(3);

/// How often each kind of process is killed.
fn rounds() -> u64 {
    if std::env::var_os("CLARION_TEST_LONG").is_some() { 20 } else { 2 }
}

/// A load run over all gateways of a cluster, in which every send and delivery is checked.
struct Running {
    watch: Watch,
    load: JoinHandle<anyhow::Result<Report>>,
    sockets: u64,
}

impl Running {
    async fn start(cluster: &Processes, gateways: usize, sockets: u64, seed: u64) -> anyhow::Result<Self> {
        let hosts: Vec<String> =
            (0..gateways).map(|n| Ok(format!("ws://{}", cluster.gateway(n)?))).collect::<anyhow::Result<_>>()?;
        let flags = [
            format!("--sockets={sockets}"),
            format!("--host={}", hosts.join(",")),
            format!("--seed={seed}"),
            "--senders=20".to_owned(),
            format!("--send-rate={}", 20.0 / sockets as f64),
            "--rate=200".to_owned(),
            "--duration=3600".to_owned(),
            "--channels=3".to_owned(),
            "--settle=60".to_owned(),
        ];
        let options = Options::read(flags.iter().map(String::as_str))?;
        let load = Load::prepare(options, Some(cluster.operators("router-0")?), None).await?;
        let watch = load.watch();
        Ok(Self { watch, load: tokio::task::spawn(load.run(|_| {})), sockets })
    }

    /// Waits until sends and sessions are what they were before a trouble: everybody is there, and `more` sends were
    /// acknowledged. Answers how long that took.
    async fn recovered(&self, what: &str, more: u64) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let before = self.watch.tally().acknowledged;
        let all = self.sockets;
        until(&self.watch, what, |now| now.live == all && now.acknowledged >= before + more).await?;
        Ok(began.elapsed())
    }

    /// Ends the run; nothing may be wrong.
    async fn end(self, cluster: &Processes) -> anyhow::Result<Report> {
        self.watch.enough();
        let report = self.load.await??;
        println!("{report}");
        ensure!(report.failure.is_none(), "{:?}\n{:?}\n{}", report.failure, report.verdict, cluster.warnings());
        let verdict = &report.verdict;
        ensure!(verdict.history >= verdict.acknowledged, "{verdict:?}");
        Ok(report)
    }
}

async fn until(watch: &Watch, what: &str, so: impl Fn(&Tally) -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + 3 * PATIENCE;
    loop {
        let now = watch.tally();
        if so(&now) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("waited for: {what}; {now:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One cluster at a time: the machine has other work.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn a_message_goes_from_one_gateway_to_another() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let shape = Shape { routers: 2, channels: 2, gateways: 2 };
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

/// Each kind of process is killed under load and started again; an owner hangs past its lease and wakes up.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_promised_holds_whoever_dies() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let shape = Shape { routers: 2, channels: 3, gateways: 2 };
    let Some(mut cluster) = Processes::start(Path::new(PROGRAM), shape, &[("LOG_LEVEL", "info")]).await? else {
        return Ok(());
    };
    let running = Running::start(&cluster, 2, 40, 11).await?;
    running.recovered("all have sessions", 40).await?;
    for round in 0..rounds() {
        for kind in ["channel", "router", "gateway", "presence"] {
            let victim = match kind {
                "channel" => cluster.largest_owner().await?,
                "router" => cluster.leader().await?,
                "gateway" => format!("gateway-{}", round % 2),
                _ => "presence-0".to_owned(),
            };
            cluster.kill(&victim).await?;
            // Sends go on without it, but for clients of a gateway that is not there.
            let before = running.watch.tally().acknowledged;
            until(&running.watch, &format!("sends go on without {victim}"), |now| now.acknowledged >= before + 20)
                .await
                .with_context(|| cluster.warnings())?;
            cluster.restart(&victim).await?;
            let took = running.recovered(&victim, 40).await.with_context(|| cluster.warnings())?;
            println!("{victim} was killed and came back; all was well {took:.1?} later");
        }
        let hung = cluster.largest_owner().await?;
        cluster.signal(&hung, "STOP")?;
        let stopped = Instant::now();
        let before = running.watch.tally().acknowledged;
        until(&running.watch, "sends go on without who hangs", |now| now.acknowledged >= before + 60)
            .await
            .with_context(|| cluster.warnings())?;
        tokio::time::sleep((LEASE + Duration::from_secs(1)).saturating_sub(stopped.elapsed())).await;
        cluster.signal(&hung, "CONT")?;
        let took = running.recovered(&hung, 40).await.with_context(|| cluster.warnings())?;
        println!("{hung} hung past its lease and woke up; all was well {took:.1?} later");
    }
    running.end(&cluster).await?;
    Ok(())
}
