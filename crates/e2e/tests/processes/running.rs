//! A load run over all gateways of a cluster, in which every send and delivery is checked.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use clarion::load::{Load, Options, Report, Tally, Watch};
use clarion_e2e::{PATIENCE, Processes};
use tokio::task::JoinHandle;

/// Sends a second, of all senders together.
const SENDS: f64 = 20.0;

pub(crate) struct Running {
    watch: Watch,
    load: JoinHandle<anyhow::Result<Report>>,
    sockets: u64,
}

impl Running {
    pub(crate) async fn start(cluster: &Processes, gateways: usize, sockets: u64, seed: u64) -> anyhow::Result<Self> {
        let hosts: Vec<String> =
            (0..gateways).map(|n| Ok(format!("ws://{}", cluster.gateway(n)?))).collect::<anyhow::Result<_>>()?;
        let flags = [
            format!("--sockets={sockets}"),
            format!("--host={}", hosts.join(",")),
            format!("--seed={seed}"),
            "--senders=20".to_owned(),
            format!("--send-rate={}", SENDS / sockets as f64),
            "--rate=200".to_owned(),
            "--duration=7200".to_owned(),
            "--channels=3".to_owned(),
            "--settle=60".to_owned(),
        ];
        let options = Options::read(flags.iter().map(String::as_str))?;
        let load = Load::prepare(options, Some(cluster.operators("router-0")?), None).await?;
        let watch = load.watch();
        Ok(Self { watch, load: tokio::task::spawn(load.run(|_| {})), sockets })
    }

    pub(crate) fn tally(&self) -> Tally {
        self.watch.tally()
    }

    /// Waits until so many more sends were acknowledged.
    pub(crate) async fn goes_on(&self, what: &str, more: u64) -> anyhow::Result<()> {
        let before = self.tally().acknowledged;
        self.until(what, |now| now.acknowledged >= before + more).await
    }

    /// Waits until sends and sessions are what they were before a trouble: everybody is there, and `more` sends were
    /// acknowledged. Answers how long that took.
    pub(crate) async fn recovered(&self, what: &str, more: u64) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let (before, all) = (self.tally().acknowledged, self.sockets);
        self.until(what, |now| now.live == all && now.acknowledged >= before + more).await?;
        Ok(began.elapsed())
    }

    /// Has all sessions go on at the gateways that they began at, which live.
    pub(crate) fn go_home(&self) {
        self.watch.go_home();
    }

    pub(crate) async fn until(&self, what: &str, so: impl Fn(&Tally) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + 3 * PATIENCE;
        loop {
            let now = self.tally();
            if so(&now) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("waited for: {what}; {now:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends the run; nothing may be wrong.
    pub(crate) async fn end(self, cluster: &Processes) -> anyhow::Result<Report> {
        self.watch.enough();
        let report = self.load.await??;
        println!("{report}");
        ensure!(report.failure.is_none(), "{:?}\n{:?}\n{}", report.failure, report.verdict, cluster.warnings());
        let verdict = &report.verdict;
        ensure!(verdict.history >= verdict.acknowledged, "{verdict:?}");
        Ok(report)
    }
}
