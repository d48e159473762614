//! A session goes on at another gateway: while its own lives, after its own drained, after its own died. Somebody sends all
//! the while; what the client gets is all of it, in order, and only after a death some of it again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use clarion::Topology;
use clarion_e2e::{Cluster, Frame, PATIENCE, Socket};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// GUILDS, GUILD_MESSAGES, MESSAGE_CONTENT.
const INTENTS: u64 = 1 | 1 << 9 | 1 << 15;

/// Somebody who sends numbered messages until told to stop.
struct Sender {
    sent: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<anyhow::Result<()>>,
}

/// A client with one session, on one socket after another, and all that it has seen.
struct Client {
    token: String,
    socket: Socket,
    session: String,
    sequence: u64,
    /// The numbers of the messages, in the order in which they came.
    seen: Vec<usize>,
    /// The sequence numbers of all dispatches.
    numbers: Vec<u64>,
}

impl Sender {
    fn start(cluster: &Cluster) -> Self {
        let (api, channel) = (cluster.api(cluster.other_bot(), 0), cluster.demo().channel_id);
        let (sent, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, until) = (sent.clone(), stop.clone());
        #[allow(clippy::disallowed_methods, reason = "a test is no service: its tasks end with it")]
        let task = tokio::spawn(async move {
            while !until.load(Ordering::Relaxed) {
                api.send(channel, &format!("{}", count.load(Ordering::Relaxed))).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        Self { sent, stop, task }
    }

    /// Waits for so many more messages.
    async fn more(&self, count: usize) -> anyhow::Result<()> {
        let goal = self.sent.load(Ordering::Relaxed) + count;
        let sent = async {
            while self.sent.load(Ordering::Relaxed) < goal && !self.task.is_finished() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        Ok(tokio::time::timeout(PATIENCE, sent).await?)
    }

    /// Stops; answers how many were sent.
    async fn stop(self) -> anyhow::Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await??;
        Ok(self.sent.load(Ordering::Relaxed))
    }
}

impl Client {
    async fn begin(cluster: &Cluster, gateway: usize) -> anyhow::Result<Self> {
        let token = cluster.bot().token.clone();
        let socket = cluster.session(cluster.bot(), gateway, INTENTS).await?;
        let (session, sequence) = (socket.session_id.clone(), socket.sequence);
        Ok(Self { token, socket, session, sequence, seen: Vec::new(), numbers: Vec::new() })
    }

    /// Takes a frame into account. Answers the data of a dispatch that is no message.
    fn take(&mut self, frame: Frame) -> Option<(String, Value)> {
        let Frame::Op { t: Some(t), s: Some(s), d, .. } = frame else { return None };
        self.numbers.push(s);
        self.sequence = s;
        if t != "MESSAGE_CREATE" {
            return Some((t, d));
        }
        self.seen.push(d["content"].as_str().and_then(|content| content.parse().ok()).expect("a number"));
        None
    }

    /// Reads until `count` messages have come in all.
    async fn read(&mut self, count: usize) -> anyhow::Result<()> {
        while self.seen.len() < count {
            let frame = self.socket.next().await?;
            anyhow::ensure!(matches!(frame, Frame::Op { .. }), "{frame:?}");
            self.take(frame);
        }
        Ok(())
    }

    /// Reads what is there, until the socket ends.
    async fn read_to_end(&mut self) -> anyhow::Result<Frame> {
        loop {
            match self.socket.next().await? {
                frame @ Frame::Op { .. } => drop(self.take(frame)),
                end => return Ok(end),
            }
        }
    }

    /// Goes on over a new socket. Answers the data of RESUMED, and the socket that was left.
    async fn resume(&mut self, cluster: &Cluster, gateway: usize) -> anyhow::Result<(Value, Socket)> {
        let mut socket = Socket::connect(&cluster.gateway_url(gateway)).await?;
        socket.resume(&self.token, &self.session, self.sequence).await?;
        let old = std::mem::replace(&mut self.socket, socket);
        loop {
            match self.socket.next().await? {
                frame @ Frame::Op { op: 0, .. } => {
                    if let Some((name, d)) = self.take(frame) {
                        anyhow::ensure!(name == "RESUMED", "{name}");
                        return Ok((d, old));
                    }
                }
                other => anyhow::bail!("instead of a replay: {other:?}"),
            }
        }
    }

    fn assert_everything_once(&self, sent: usize) {
        assert_eq!(self.seen, (0..sent).collect::<Vec<_>>());
        assert!(self.numbers.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", self.numbers);
    }
}

async fn cluster(gateways: usize) -> anyhow::Result<Cluster> {
    Cluster::with(Topology { gateways, ..Topology::default() }, |config| config.gateway.drain_ms = 200).await
}

async fn stop_gateway(mut cluster: Cluster, n: usize, cut: bool) -> anyhow::Result<Cluster> {
    let stopped = move || cluster.clarion().process().stop_one(&format!("gateway-{n}"), cut).map(|_| cluster);
    tokio::task::spawn_blocking(stopped).await?
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_moves_between_living_gateways_without_a_seam() -> anyhow::Result<()> {
    let cluster = cluster(3).await?;
    let mut client = Client::begin(&cluster, 1).await?;
    let sender = Sender::start(&cluster);
    // Its own gateway may have said nothing of itself yet.
    sender.more(5).await?;
    until_checkpointed(&cluster, 3).await?;
    for gateway in [0, 1, 2, 1, 0, 2] {
        let seen = client.seen.len();
        client.read(seen + 3).await?;
        // What came and was not read, the client never saw.
        let (resumed, mut old) = client.resume(&cluster, gateway).await?;
        assert_eq!(resumed["replayed"], Value::Null);
        assert_eq!(old.closed().await?, Frame::Close(4000));
    }
    let sent = sender.stop().await?;
    client.read(sent).await?;
    client.assert_everything_once(sent);
    assert_eq!(cluster.capture().lines_of("session.moved").len(), 6);
    // It is still one that operators find by its id.
    let url = format!("{}/admin/v1/sessions/{}/drop", cluster.admin_url(), client.session);
    reqwest::Client::new().post(url).json(&json!({})).send().await?.error_for_status()?;
    assert_eq!(client.read_to_end().await?, Frame::Broken);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_outlives_the_drain_of_its_gateway() -> anyhow::Result<()> {
    let cluster = cluster(2).await?;
    let mut client = Client::begin(&cluster, 1).await?;
    let sender = Sender::start(&cluster);
    client.read(5).await?;
    #[allow(clippy::disallowed_methods, reason = "a test is no service: its tasks end with it")]
    let stopping = tokio::spawn(stop_gateway(cluster, 1, false));
    loop {
        match client.socket.next().await? {
            Frame::Op { op: 7, .. } => break,
            frame @ Frame::Op { .. } => drop(client.take(frame)),
            end => anyhow::bail!("{end:?} before op 7"),
        }
    }
    client.socket.abandon().await;
    let cluster = stopping.await??;
    sender.more(20).await?;
    let (resumed, _) = client.resume(&cluster, 0).await?;
    assert_eq!(resumed["replayed"], Value::Null);
    let sent = sender.stop().await?;
    client.read(sent).await?;
    client.assert_everything_once(sent);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_told_any_more_is_not_guessed_at() -> anyhow::Result<()> {
    let cluster = cluster(2).await?;
    let mut client = Client::begin(&cluster, 1).await?;
    let cluster = stop_gateway(cluster, 1, false).await?;
    client.read_to_end().await?;
    // What was to be seen changes: whoever comes later cannot tell it as it was.
    let guild = cluster.demo().guild_id;
    let path = format!("/guilds/{guild}/channels");
    let owner = cluster.api(cluster.demo().users.first().expect("an owner"), 0);
    let (status, made) = owner.call(reqwest::Method::POST, &path, Some(json!({"name": "made-meanwhile"}))).await?;
    anyhow::ensure!(status.is_success(), "{status}: {made}");
    let mut socket = Socket::connect(&cluster.gateway_url(0)).await?;
    socket.resume(&client.token, &client.session, client.sequence).await?;
    assert_eq!(socket.op(9).await?, json!(false));
    // It begins anew, on the same socket.
    socket.identify(&client.token, INTENTS).await?;
    socket.dispatch("READY").await?;
    let guild = socket.dispatch("GUILD_CREATE").await?;
    assert!(guild["channels"].to_string().contains("made-meanwhile"), "{guild}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_outlives_the_death_of_its_gateway_and_says_what_may_come_again() -> anyhow::Result<()> {
    let cluster = cluster(2).await?;
    let mut client = Client::begin(&cluster, 1).await?;
    until_checkpointed(&cluster, 2).await?;
    let sender = Sender::start(&cluster);
    client.read(5).await?;
    let cluster = stop_gateway(cluster, 1, true).await?;
    client.read_to_end().await?;
    sender.more(20).await?;
    let before = client.seen.len();
    let (resumed, _) = client.resume(&cluster, 0).await?;
    assert_eq!(resumed["replayed"], json!(true));
    let sent = sender.stop().await?;
    let last = sent.checked_sub(1);
    while client.seen.last().copied() != last {
        let seen = client.seen.len();
        client.read(seen + 1).await?;
    }
    // After the death it goes on somewhere at or before where it was, and misses nothing from there on.
    let again = client.seen[before..].to_vec();
    assert!(again[0] <= before, "{} after {before}", again[0]);
    assert_eq!(again, (again[0]..sent).collect::<Vec<_>>());
    assert_eq!(client.seen[..before], (0..before).collect::<Vec<_>>());
    assert!(client.numbers.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", client.numbers);

    // Whoever has seen what nobody knows of begins anew, and is told at once.
    let mut stranger = Socket::connect(&cluster.gateway_url(0)).await?;
    stranger.resume(&client.token, &"0".repeat(32), 1).await?;
    assert_eq!(stranger.op(9).await?, json!(false));
    Ok(())
}

/// Waits until each gateway has kept how far it is, with the sessions that there are now.
async fn until_checkpointed(cluster: &Cluster, gateways: usize) -> anyhow::Result<()> {
    for gateway in 0..gateways {
        let instance = format!("instance=\"gateway-{gateway}\"");
        let kept = async || cluster.metric("gateway_checkpoints_total", &[&instance]).await;
        // The next may have begun before now, the one after it cannot.
        let goal = kept().await? + 2.0;
        let begun = std::time::Instant::now();
        while kept().await? < goal {
            anyhow::ensure!(begun.elapsed() < PATIENCE, "gateway {gateway} keeps nothing");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}
