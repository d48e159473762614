//! Each kind of process is killed under load and started again, and hangs past its lease and wakes up: what was promised
//! holds.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use clarion_e2e::{Processes, Shape};

use crate::running::Running;
use crate::{ALONE, PROGRAM, over_redis};

/// The lease of members, and of gateways' words; what hangs is stopped for longer.
const LEASE: Duration = Duration::from_secs(3);
const KINDS: [&str; 4] = ["channel", "router", "gateway", "presence"];

/// How often each kind of process is killed, and hangs; and sessions under which. `CLARION_TEST_ROUNDS` says another number.
fn size() -> (u64, u64) {
    let (rounds, sessions) = if std::env::var_os("CLARION_TEST_LONG").is_some() { (20, 200) } else { (2, 60) };
    let asked = std::env::var("CLARION_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    (asked.unwrap_or(rounds), sessions)
}

/// The process of a kind that it hurts most to be without.
async fn victim(cluster: &Processes, kind: &str, round: u64) -> anyhow::Result<String> {
    match kind {
        "channel" => cluster.largest_owner().await,
        "router" => cluster.leader().await,
        kind => Ok(format!("{kind}-{}", round % 2)),
    }
}

/// How long things took that were done again and again, by what it was.
#[derive(Default)]
struct Took(BTreeMap<String, Vec<Duration>>);

impl Took {
    fn note(&mut self, what: String, took: Duration) {
        self.0.entry(what).or_default().push(took);
    }

    fn print(&mut self) {
        for (what, times) in &mut self.0 {
            times.sort_unstable();
            let at = |share: usize| times[(times.len() - 1) * share / 100];
            println!("{what:<17} {:>2} ×, all was well after {:.1?}, {:.1?} at most", times.len(), at(50), at(100));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_promised_holds_whoever_dies() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let Some((_redis, mut env)) = over_redis() else { return Ok(()) };
    env.push(("CLARION_PRESENCE__LEASE_MS", LEASE.as_millis().to_string()));
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let shape = Shape { routers: 2, channels: 3, presences: 2, gateways: 2 };
    let Some(mut cluster) = Processes::start(Path::new(PROGRAM), shape, &env).await? else { return Ok(()) };
    let (rounds, sessions) = size();
    let running = Running::start(&cluster, 2, sessions, 11).await?;
    running.recovered("all have sessions", 40).await?;
    let (began, mut took) = (Instant::now(), Took::default());
    for round in 0..rounds {
        for kind in KINDS {
            let victim = victim(&cluster, kind, round).await?;
            cluster.kill(&victim).await?;
            // Sends go on without it.
            let without = format!("sends go on without {victim}");
            running.goes_on(&without, 20).await.with_context(|| cluster.warnings())?;
            cluster.restart(&victim).await?;
            let time = running.recovered(&victim, 40).await.with_context(|| cluster.warnings())?;
            println!("{victim} was killed and came back; all was well {time:.1?} later");
            took.note(format!("{kind} killed"), time);
            // Sessions of a gateway that died went on at the other one; from now on both have some again.
            running.go_home();
        }
        for kind in KINDS {
            let victim = victim(&cluster, kind, round).await?;
            cluster.signal(&victim, "STOP")?;
            let stopped = Instant::now();
            let without = format!("sends go on while {victim} hangs");
            running.goes_on(&without, 40).await.with_context(|| cluster.warnings())?;
            tokio::time::sleep((LEASE + Duration::from_secs(1)).saturating_sub(stopped.elapsed())).await;
            cluster.signal(&victim, "CONT")?;
            let time = running.recovered(&victim, 40).await.with_context(|| cluster.warnings())?;
            println!("{victim} hung past its lease and woke up; all was well {time:.1?} later");
            took.note(format!("{kind} hung"), time);
        }
    }
    println!("{rounds} rounds under {sessions} sessions took {:.0?}", began.elapsed());
    took.print();
    running.end(&cluster).await?;
    Ok(())
}
