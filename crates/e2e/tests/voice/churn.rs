//! Whoever comes and goes leaves nothing behind in a voice server: neither memory nor open files.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clarion_e2e::PATIENCE;
use clarion_proto::v1;
use clarion_proto::v1::voice_client::VoiceClient;
use futures_util::{StreamExt, TryStreamExt, stream};
use tonic::transport::Channel as GrpcChannel;

use crate::bare::{Bare, Connected, OPUS};
use crate::process::Process;

/// Sessions that are there at a time, and how many of them share a room.
const WAVE: u64 = 50;
const ROOM: u64 = 10;
/// Joins that are under way at a time.
const JOINING: usize = 8;
/// By how much the server may grow, in bytes.
const GROWTH: i64 = 5 << 20;

/// How many sessions come and go.
fn sessions() -> u64 {
    if std::env::var_os("CLARION_TEST_LONG").is_some() { 5_000 } else { 1_000 }
}

/// A voice server that nobody but the test knows, and what the test asks of it.
struct Alone {
    process: Process,
    client: VoiceClient<GrpcChannel>,
    http: reqwest::Client,
}

impl Alone {
    async fn start() -> anyhow::Result<Self> {
        // No router is there.
        let process = Process::start("voice-0", "http://127.0.0.1:9").await?;
        let client = VoiceClient::connect(process.grpc.clone()).await?;
        let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(PATIENCE).build()?;
        Ok(Self { process, client, http })
    }

    /// Somebody comes and says something.
    async fn join(&self, n: u64) -> anyhow::Result<Session> {
        let participant = v1::Participant { channel_id: 1 + n / ROOM, user_id: 1 + n, session_id: format!("s{n}") };
        let permissions = Some(v1::VoicePermissions { speak: true, listen: true, ..v1::VoicePermissions::default() });
        let request =
            v1::AdmitRequest { participant: Some(participant), guild_id: 1, permissions, ..Default::default() };
        let admitted = self.client.clone().admit(request).await?.into_inner();
        let bare = Bare::new(1_000 + n as u32);
        let offer = self.http.post(&admitted.url).bearer_auth(&admitted.token);
        let answer = offer.header("content-type", "application/sdp").body(bare.offer(8)).send().await?;
        ensure!(answer.status() == 201, "{}", answer.status());
        let answer = answer.text().await?;
        let mut connected = tokio::task::spawn_blocking(move || bare.connect(&answer)).await?;
        connected.say(OPUS, 1, 960, b"here I am");
        Ok(Session { admitted, _connected: connected })
    }

    async fn leave(&self, session: Session) -> anyhow::Result<()> {
        let Session { admitted, .. } = session;
        let answer = self.http.delete(&admitted.url).bearer_auth(&admitted.token).send().await?;
        ensure!(answer.status() == 200, "{}", answer.status());
        Ok(())
    }

    async fn wave(&self, first: u64) -> anyhow::Result<()> {
        let joins = stream::iter(first..first + WAVE).map(|n| self.join(n));
        let there: Vec<Session> = joins.buffer_unordered(JOINING).try_collect().await?;
        self.until("voice_users_active", WAVE as f64).await?;
        let leaves = stream::iter(there).map(|session| self.leave(session));
        leaves.buffer_unordered(JOINING).try_collect::<()>().await?;
        self.until("voice_users_active", 0.0).await
    }

    async fn until(&self, name: &str, expected: f64) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let text = self.http.get(format!("{}/metrics", self.process.admin)).send().await?.text().await?;
            let value = text.lines().find(|line| line.starts_with(&format!("{name}{{")));
            let value: Option<f64> = value.and_then(|line| line.rsplit_once(' ')?.1.parse().ok());
            if value == Some(expected) {
                return Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "{name} is {value:?}, not {expected}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Its resident memory in bytes, and its open files.
    fn size(&self) -> anyhow::Result<(i64, usize)> {
        let process = format!("/proc/{}", self.process.child.id().context("it runs")?);
        let status = std::fs::read_to_string(format!("{process}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        let kib: i64 = resident.trim().trim_end_matches(" kB").parse()?;
        Ok((kib << 10, std::fs::read_dir(format!("{process}/fd"))?.count()))
    }

    /// Open files once requests that were under way are over.
    async fn settled(&self, files: usize) -> anyhow::Result<(i64, usize)> {
        let begun = Instant::now();
        loop {
            let size = self.size()?;
            if size.1 <= files || begun.elapsed() > PATIENCE {
                return Ok(size);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

struct Session {
    admitted: v1::AdmitResponse,
    _connected: Connected,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_who_came_and_went_leave_nothing_behind() -> anyhow::Result<()> {
    let voice = Alone::start().await?;
    for first in [0, WAVE] {
        voice.wave(first).await?;
    }
    let (before, files) = voice.settled(0).await?;
    for wave in 2..2 + sessions() / WAVE {
        voice.wave(wave * WAVE).await?;
    }
    let (after, now) = voice.settled(files).await?;
    let growth = after - before;
    println!(
        "{} sessions came and went: {} KiB resident before, {} KiB after; {files} open files before, {now} after",
        sessions(),
        before >> 10,
        after >> 10
    );
    assert!(growth < GROWTH, "it grew by {growth} bytes");
    assert!(now <= files, "{files} open files before, {now} after");
    Ok(())
}
