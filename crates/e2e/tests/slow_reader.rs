//! Clients that stop reading: they are closed with a code after which they may resume, and do so without a gap; what waits
//! for them has a bound; the others get everything in order.

#![allow(clippy::disallowed_methods, reason = "a test is no service: its tasks end with it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use clarion::Topology;
use clarion_e2e::{Cluster, Frame, Socket};
use tokio::sync::watch;
use tokio::task::JoinSet;

const INTENTS: u64 = 1 | 1 << 9 | 1 << 15;
const SOCKETS: usize = 200;
const SLOW: usize = SOCKETS / 10;
/// So much that filling it takes longer than the gateway takes to say what waits, a second.
const OUTBOX: usize = 1 << 20;
/// How far the flow may be ahead of those who read: on a busy machine they must not become slow themselves.
const AHEAD: u64 = 8;
const REPLAY: usize = 16 << 20;
/// Of the largest message; enough of them fill the kernel's buffers too.
const LENGTH: usize = 2_000;

struct Reader {
    socket: Socket,
    seen: u64,
    /// The same, for the flow.
    told: Arc<AtomicU64>,
}

impl Reader {
    /// Takes messages up to a number, or up to the end of the socket, which is returned.
    async fn take_until(&mut self, last: &AtomicU64) -> anyhow::Result<Option<Frame>> {
        while self.seen < last.load(Ordering::Acquire) {
            match self.socket.next().await? {
                Frame::Op { t: Some(t), d, .. } if t == "MESSAGE_CREATE" => {
                    let n = d["content"].as_str().and_then(|content| content.split('.').next()?.parse().ok());
                    assert_eq!(n, Some(self.seen + 1), "in order, each once");
                    self.seen += 1;
                    self.told.store(self.seen, Ordering::Release);
                }
                Frame::Op { .. } => {}
                end => return Ok(Some(end)),
            }
        }
        Ok(None)
    }
}

/// Reads nothing until all slow ones have been closed; reads what there is, resumes, and reads the rest.
async fn read_late(
    mut reader: Reader,
    (url, token): (String, String),
    mut closed: watch::Receiver<bool>,
    last: Arc<AtomicU64>,
) -> anyhow::Result<Frame> {
    closed.wait_for(|closed| *closed).await?;
    let end = reader.take_until(&last).await?.context("it was closed")?;
    let mut socket = Socket::connect(&url).await?;
    socket.resume(&token, &reader.socket.session_id, reader.socket.sequence).await?;
    reader.socket = socket;
    match reader.take_until(&last).await? {
        None => Ok(end),
        Some(again) => bail!("closed again: {again:?}"),
    }
}

/// The most bytes that waited for sockets whenever somebody looked: until the slow ones were closed, and after that.
async fn watch_backlog(
    cluster: &Cluster,
    closed: &watch::Receiver<bool>,
    stop: &AtomicBool,
) -> anyhow::Result<(f64, f64)> {
    let mut most: (f64, f64) = (0.0, 0.0);
    while !stop.load(Ordering::Acquire) {
        let waits = cluster.metric("websocket_backlog_bytes", &[]).await?;
        let most = if *closed.borrow() { &mut most.1 } else { &mut most.0 };
        *most = most.max(waits);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(most)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slow_are_let_go_and_the_others_do_not_notice() -> anyhow::Result<()> {
    let cluster = Cluster::with(Topology::default(), |config| {
        (config.gateway.outbox_bytes, config.gateway.replay_bytes) = (OUTBOX, REPLAY);
        config.gateway.replay_total_bytes = SOCKETS * REPLAY;
        config.telemetry.sample_ratio = 0.0;
    })
    .await?;
    let (url, token, last) =
        (cluster.gateway_url(0), cluster.other_bot().token.clone(), Arc::new(AtomicU64::new(u64::MAX)));
    let (all_closed, closed) = watch::channel(false);
    let mut reading = Vec::new();
    let (mut slow, mut others) = (JoinSet::new(), JoinSet::new());
    for n in 0..SOCKETS {
        let told = Arc::<AtomicU64>::default();
        let socket = cluster.session(cluster.other_bot(), 0, INTENTS).await?;
        let mut reader = Reader { socket, seen: 0, told: told.clone() };
        let last = last.clone();
        if n < SLOW {
            slow.spawn(read_late(reader, (url.clone(), token.clone()), closed.clone(), last));
        } else {
            reading.push(told);
            others.spawn(async move { reader.take_until(&last).await });
        }
    }
    let stop = AtomicBool::new(false);
    let (api, channel) = (cluster.api(cluster.bot(), 0), cluster.demo().channel_id);
    let flow = async {
        let mut sent = 0;
        let mut behind = 0;
        // A steady flow until the last slow one is closed, and a little more.
        while behind < 20 {
            sent += 1;
            api.send(channel, &format!("{sent}.{}", "x".repeat(LENGTH - 20))).await?;
            let read_by_all = || reading.iter().all(|told| told.load(Ordering::Acquire) + AHEAD >= sent);
            while !read_by_all() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let let_go = cluster.metric("websocket_errors_total", &["slow_consumer"]).await?;
            if let_go >= SLOW as f64 {
                assert_eq!(let_go, SLOW as f64, "nobody else is let go");
                all_closed.send_replace(true);
                behind += 1;
            }
            if sent > 5_000 {
                bail!("{let_go} of {SLOW} were let go");
            }
        }
        last.store(sent + 1, Ordering::Release);
        api.send(channel, &format!("{}.", sent + 1)).await?;
        let (mut ends, mut fast) = (Vec::new(), 0);
        while let Some(end) = slow.join_next().await {
            ends.push(end??);
        }
        while let Some(end) = others.join_next().await {
            assert_eq!(end??, None, "who reads is not closed");
            fast += 1;
        }
        stop.store(true, Ordering::Release);
        anyhow::Ok((sent + 1, ends, fast))
    };
    let ((sent, ends, fast), backlog) = tokio::try_join!(flow, watch_backlog(&cluster, &closed, &stop))?;
    println!(
        "{sent} messages of {LENGTH} B to {SOCKETS} sockets, {SLOW} of which stopped reading: {ends:?}; at most {backlog:?} B waited before and after they were let go"
    );
    assert_eq!((ends.len(), fast), (SLOW, SOCKETS - SLOW));
    // One that takes nothing at all for four seconds more gets no code; on a busy machine the last is let go later than that.
    assert!(ends.iter().all(|end| matches!(end, Frame::Close(4000) | Frame::Broken)), "{ends:?}");
    assert!(ends.iter().filter(|end| **end == Frame::Close(4000)).count() >= SLOW / 2, "{ends:?}");
    assert!(backlog.0 > OUTBOX as f64, "something waited for the slow ones");
    assert!(backlog.0 <= (SOCKETS * OUTBOX) as f64, "{backlog:?}");
    // A replay is bounded by what is kept for it.
    assert!(backlog.1 <= (SOCKETS * OUTBOX + SLOW * REPLAY) as f64, "{backlog:?}");
    assert_eq!(cluster.metric("websocket_errors_total", &["slow_consumer"]).await?, SLOW as f64);
    Ok(())
}
