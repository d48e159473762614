//! Everybody loses the connection at once and comes back at once: all resume, nobody misses anything, and those who were
//! connected all along notice nothing.

#![allow(clippy::disallowed_methods, reason = "a test is no service: its tasks end with it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clarion::Topology;
use clarion_e2e::{Api, Cluster, Frame, PATIENCE, Socket};
use reqwest::Method;
use serde_json::json;
use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinSet;

const INTENTS: u64 = 1 | 1 << 9 | 1 << 15;
/// Sessions that may be opened at once: so few that a line forms.
const CONCURRENCY: usize = 8;
/// Clients that open their first session at the same time.
const OPENING: usize = 32;
/// Messages that everybody has before the cut, and that are sent while nobody is there.
const BEFORE: u64 = 5;
const AWAY: u64 = 5;
const BEAT_EVERY: Duration = Duration::from_millis(250);
const SEND_EVERY: Duration = Duration::from_millis(250);
/// Longest time that coming back may take.
const BACK_WITHIN: Duration = Duration::from_secs(120);

fn sessions() -> usize {
    if std::env::var_os("CLARION_TEST_LONG").is_some() { 5_000 } else { 1_500 }
}

/// What all clients of the test share.
struct Storm {
    url: String,
    /// The last message that was acknowledged.
    sent: AtomicU64,
    /// The last one that those have who are connected all along, one at each gateway.
    stayed: [AtomicU64; 2],
    /// The last one of all, once it is known.
    last: AtomicU64,
    /// Who cannot be connected or is closed before the session goes on, and tries again.
    retries: AtomicU64,
    /// Everybody is there and has what was sent before; then nobody is.
    cut: Barrier,
    /// All come back.
    back: Barrier,
}

/// A client and the last message that it has.
struct Client {
    socket: Socket,
    token: String,
    seen: u64,
}

impl Client {
    /// Looks at a frame. Messages come in order, each once.
    fn take(&mut self, frame: &Frame) {
        if let Frame::Op { t: Some(t), d, .. } = frame
            && t == "MESSAGE_CREATE"
        {
            let n = d["content"].as_str().and_then(|content| content.parse().ok());
            assert_eq!(n, Some(self.seen + 1), "in order, each once");
            self.seen += 1;
        }
    }

    async fn take_until(&mut self, last: impl Fn() -> u64) -> anyhow::Result<()> {
        while self.seen < last() {
            match self.socket.next().await? {
                frame @ Frame::Op { .. } => self.take(&frame),
                end => bail!("after message {}: {end:?}", self.seen),
            }
        }
        Ok(())
    }

    /// Goes on with the session, as often as it takes.
    async fn come_back(&mut self, storm: &Storm) -> anyhow::Result<()> {
        let until = Instant::now() + BACK_WITHIN;
        let (session, sequence) = (self.socket.session_id.clone(), self.socket.sequence);
        while Instant::now() < until {
            if self.try_to_come_back(storm, &session, sequence).await? {
                return Ok(());
            }
            storm.retries.fetch_add(1, Ordering::Relaxed);
        }
        bail!("it did not come back in time")
    }

    async fn try_to_come_back(&mut self, storm: &Storm, session: &str, sequence: u64) -> anyhow::Result<bool> {
        let Ok(mut socket) = Socket::open(&storm.url).await else { return Ok(false) };
        if socket.resume(&self.token, session, sequence).await.is_err() {
            return Ok(false);
        }
        loop {
            match socket.next().await {
                Ok(Frame::Op { op: 10, .. }) => {}
                Ok(Frame::Op { op: 9, .. }) => bail!("the session was lost"),
                Ok(Frame::Close(code)) => {
                    assert_eq!(code, 4000, "a code after which it may try to resume again");
                    return Ok(false);
                }
                Ok(Frame::Broken) | Err(_) => return Ok(false),
                Ok(frame) => {
                    self.socket = socket;
                    self.take(&frame);
                    return Ok(true);
                }
            }
        }
    }

    /// The whole of it.
    async fn live(mut self, storm: Arc<Storm>) -> anyhow::Result<Duration> {
        self.take_until(|| BEFORE).await?;
        storm.cut.wait().await;
        self.socket.abandon().await;
        storm.back.wait().await;
        let begun = Instant::now();
        self.come_back(&storm).await?;
        let took = begun.elapsed();
        self.take_until(|| storm.last.load(Ordering::Acquire)).await?;
        Ok(took)
    }
}

/// Sends numbered messages until told to stop.
async fn send(api: Api, channel: String, storm: Arc<Storm>, stop: Arc<AtomicBool>) -> anyhow::Result<u64> {
    let mut n = 0;
    loop {
        n += 1;
        let is_last = stop.load(Ordering::Acquire);
        if is_last {
            // Known before it is delivered: nobody waits for another one.
            storm.last.store(n, Ordering::Release);
        }
        api.send(&channel, &n.to_string()).await?;
        storm.sent.store(n, Ordering::Release);
        if is_last {
            return Ok(n);
        }
        tokio::time::sleep(SEND_EVERY).await;
        // No faster than those who stayed get them: server and clients share a machine, perhaps a busy one.
        while storm.stayed.iter().any(|seen| seen.load(Ordering::Acquire) < n) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Somebody who is connected all along: gets every message, and an answer to every heartbeat. The longest waits for both.
async fn stay(mut client: Client, gateway: usize, storm: Arc<Storm>) -> anyhow::Result<(Duration, Duration)> {
    let (mut beat, mut answered, mut slowest, mut late) = (Instant::now(), true, Duration::ZERO, Duration::ZERO);
    while client.seen < storm.last.load(Ordering::Acquire) {
        if answered && beat.elapsed() > BEAT_EVERY {
            (beat, answered) = (Instant::now(), false);
            client.socket.send(json!({ "op": 1, "d": client.socket.sequence })).await?;
        }
        let Ok(frame) = tokio::time::timeout(BEAT_EVERY, client.socket.next()).await else { continue };
        match frame? {
            Frame::Op { op: 11, .. } => (answered, slowest) = (true, slowest.max(beat.elapsed())),
            frame @ Frame::Op { .. } => {
                let (before, at) = (client.seen, message_time(&frame));
                client.take(&frame);
                storm.stayed[gateway].store(client.seen, Ordering::Release);
                if client.seen > before {
                    late = late.max(at.and_then(|at| at.elapsed().ok()).unwrap_or_default());
                }
            }
            end => bail!("who stayed was closed: {end:?}"),
        }
    }
    Ok((slowest, late))
}

/// When a message was accepted, by its id.
fn message_time(frame: &Frame) -> Option<std::time::SystemTime> {
    let Frame::Op { d, .. } = frame else { return None };
    let id: u64 = d["id"].as_str()?.parse().ok()?;
    Some(std::time::UNIX_EPOCH + Duration::from_millis((id >> 22) + 1_420_070_400_000))
}

/// The most sessions that were being opened, and the most that waited, whenever somebody looked.
async fn watch(cluster: &Cluster, stop: &AtomicBool) -> anyhow::Result<(f64, f64)> {
    let (mut active, mut waiting): (f64, f64) = (0.0, 0.0);
    while !stop.load(Ordering::Acquire) {
        active = active.max(cluster.metric("gateway_admission_active", &["gateway-0"]).await?);
        waiting = waiting.max(cluster.metric("gateway_admission_waiting", &["gateway-0"]).await?);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok((active, waiting))
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_comes_back_and_nobody_else_notices() -> anyhow::Result<()> {
    let count = sessions();
    let cluster = Cluster::with(Topology { gateways: 2, ..Topology::default() }, |config| {
        config.gateway.admission.concurrency = CONCURRENCY;
        // Those who wait for the cut send none; opening thousands takes longer than the usual patience.
        config.gateway.heartbeat_interval_ms = 600_000;
        config.telemetry.sample_ratio = 0.0;
    })
    .await?;
    let storm = Arc::new(Storm {
        url: cluster.gateway_url(0),
        sent: AtomicU64::new(0),
        stayed: Default::default(),
        last: AtomicU64::new(u64::MAX),
        retries: AtomicU64::new(0),
        cut: Barrier::new(count + 1),
        back: Barrier::new(count + 1),
    });
    let demo = cluster.demo();
    let tokens: Vec<_> = demo.bots.iter().chain(&demo.users).map(|account| account.token.clone()).collect();
    let places = Arc::new(Semaphore::new(OPENING));
    let mut opening = JoinSet::new();
    for n in 0..count {
        let (url, token, places) = (storm.url.clone(), tokens[n % tokens.len()].clone(), places.clone());
        opening.spawn(async move {
            let _place = places.acquire().await?;
            let mut socket = Socket::connect(&url).await?;
            socket.identify(&token, INTENTS).await?;
            socket.dispatch("GUILD_CREATE").await?;
            anyhow::Ok(Client { socket, token, seen: 0 })
        });
    }
    let clients = opening.join_all().await.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let mut staying = JoinSet::new();
    for gateway in [0, 1] {
        let socket = cluster.session(cluster.bot(), gateway, INTENTS).await?;
        staying.spawn(stay(Client { socket, token: String::new(), seen: 0 }, gateway, storm.clone()));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let channel = demo.channel_id.to_string();
    let sending = tokio::spawn(send(cluster.api(cluster.bot(), 1), channel, storm.clone(), stop.clone()));
    let mut living: JoinSet<_> = clients.into_iter().map(|client| client.live(storm.clone())).collect();
    let all = async {
        storm.cut.wait().await;
        let away = storm.sent.load(Ordering::Acquire) + AWAY;
        while storm.sent.load(Ordering::Acquire) < away {
            tokio::time::sleep(BEAT_EVERY).await;
        }
        let waits = cluster.metric("gateway_admission_wait_seconds_count", &["gateway-0", "resume"]).await?;
        storm.back.wait().await;
        let begun = Instant::now();
        let back = async {
            while cluster.metric("websocket_reconnections_pending", &["gateway-0"]).await? > 0.0
                || cluster.metric("gateway_admission_wait_seconds_count", &["gateway-0", "resume"]).await? - waits
                    < count as f64
            {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            stop.store(true, Ordering::Release);
            anyhow::Ok(begun.elapsed())
        };
        tokio::try_join!(back, watch(&cluster, &stop))
    };
    let mut all = std::pin::pin!(tokio::time::timeout(BACK_WITHIN + 3 * PATIENCE, all));
    let mut times = Vec::new();
    let (took, (active, waiting)) = loop {
        tokio::select! {
            all = all.as_mut() => break all.context("they did not all come back")??,
            // If one of them fails the others would wait for it for ever.
            Some(ended) = living.join_next() => times.push(ended??),
        }
    };
    let total = sending.await??;
    times.extend(living.join_all().await.into_iter().collect::<anyhow::Result<Vec<_>>>()?);
    let stayed = staying.join_all().await.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    times.sort_unstable();
    assert_eq!(times.len(), count);
    // What waits at one moment may be missed by whoever looks now and then; how long all waited together is counted.
    let waited = cluster.metric("gateway_admission_wait_seconds_sum", &["gateway-0", "resume"]).await?;
    println!(
        "{count} sessions resumed in {took:.1?} (median {:.1?}), {} tries again; at most {active} opened at once and \
         {waiting} waited, {waited:.1} s all together; {total} messages reached all of them; for those who stayed the slowest heartbeat and message \
         took {stayed:.1?}",
        times[count / 2],
        storm.retries.load(Ordering::Relaxed),
    );
    assert!(active <= CONCURRENCY as f64, "{active} were being opened at once");
    assert!(waited > 0.01, "no line formed: all waited {waited} s together");
    // Not how long it takes, which here is that the clients have the same processors: that nobody waits for the storm's end.
    for (heartbeat, message) in stayed {
        assert!(heartbeat.max(message) < PATIENCE, "{heartbeat:?}, {message:?}");
    }
    let (status, _) = cluster.api(cluster.bot(), 0).call(Method::GET, "/users/@me", None).await?;
    assert!(status.is_success());
    Ok(())
}
