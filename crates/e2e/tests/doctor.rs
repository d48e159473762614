//! `clarion doctor` finds every service of a cluster by what its settings name and what a router knows, and says who is not
//! there.

use anyhow::{Context, ensure};
use clarion::Topology;
use clarion_e2e::{Cluster, PATIENCE, Program};
use clarion_runtime::Listen;
use tokio::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clarion-under-test");

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_looks_at_whoever_has_joined() -> anyhow::Result<()> {
    let [router, channel, presence, search, gateway, voice] = Program::steady_ports()?;
    let mut cluster = Cluster::with(Topology::default(), |config| {
        let listen = |port| Listen::Tcp(([127, 0, 0, 1], port).into());
        config.router.listen = listen(router);
        config.channel.listen = listen(channel);
        config.presence.listen = listen(presence);
        config.search.listen = listen(search);
        config.gateway.rpc = listen(gateway);
        config.voice.listen = listen(voice);
    })
    .await?;
    let at = |port: u16| format!("http://127.0.0.1:{port}");
    let doctor = async || -> anyhow::Result<(bool, String)> {
        let mut command = Command::new(PROGRAM);
        command.arg("doctor").kill_on_drop(true).env("CLARION_PEERS__ROUTERS", format!("[\"{}\"]", at(router)));
        command.env("CLARION_PEERS__PRESENCE", at(presence)).env("CLARION_PEERS__SEARCH", at(search));
        let out = tokio::time::timeout(2 * PATIENCE, command.output()).await.context("it does not end")??;
        Ok((out.status.success(), String::from_utf8_lossy(&out.stdout).into_owned()))
    };
    let has = |said: &str, begins: &str| said.lines().any(|line| line.starts_with(begins));

    let (well, said) = doctor().await?;
    ensure!(well && !said.contains("could not be asked"), "{said}");
    for begins in [
        format!("ok    router: peers.routers: {} is ready, version ", at(router)),
        format!("ok    presence server: peers.presence: {} is ready, version ", at(presence)),
        format!("ok    search service: peers.search: {} is ready, version ", at(search)),
        format!("ok    channel server: channel-0 at {} is ready, version ", at(channel)),
        format!("ok    gateway: gateway-0 at {} is ready, version ", at(gateway)),
        format!("ok    voice server: voice-0 at {} is ready, version ", at(voice)),
        format!("ok    gateway's clock: gateway-0 at {}: ", at(gateway)),
    ] {
        ensure!(has(&said, &begins), "{begins} in\n{said}");
    }

    tokio::task::block_in_place(|| cluster.clarion().process().stop_one("search-0", true))?;
    tokio::task::block_in_place(|| cluster.clarion().process().stop_one("channel-0", true))?;
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let (well, said) = doctor().await?;
        let search = format!("FAIL  search service: peers.search: {} cannot be reached", at(search));
        ensure!(!well && has(&said, &search), "{said}");
        // Until its router has noticed, it is a member that cannot be reached.
        if has(&said, "warn  channel server: none has joined a router") {
            return Ok(());
        }
        let channel = format!("FAIL  channel server: channel-0 at {} could not be asked", at(channel));
        ensure!(has(&said, &channel) && std::time::Instant::now() < deadline, "{said}");
    }
}
