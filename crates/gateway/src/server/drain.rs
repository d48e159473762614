//! The drain: clients are asked to reconnect, some at a time; whoever is still there is closed so that it can resume.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clarion_observability::log::{self, Fields};
use futures_util::{StreamExt, stream};
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::connection::Gate;
use crate::conversation::Violation;
use crate::frame::CloseCode;
use crate::hub::Seat;
use crate::shard::Command;

/// How many parts of the clients are asked one after another.
const PARTS: u32 = 10;
/// Sessions that are being left behind at once.
const AT_ONCE: usize = 64;
/// How long clients that were asked have to go by themselves.
const GRACE: Duration = Duration::from_millis(500);
/// Longest wait for closed sockets to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Has every session's client go elsewhere.
pub(super) async fn sessions(config: &Config, gate: &Gate, connections: &Arc<Semaphore>) {
    let began = Instant::now();
    let open = || config.max_connections.saturating_sub(connections.available_permits());
    log::DRAIN_STARTED.emit(Fields { message_count: Some(open() as u64), ..Fields::default() });
    let pause = Duration::from_millis(config.drain_ms) / PARTS;
    let mut seats = gate.hub.seats().await;
    for part in 0..PARTS {
        let (leaving, others) = seats.into_iter().partition(|(seat, _)| seat.seat % PARTS == part);
        seats = others;
        leave(gate, leaving).await;
        for shard in &gate.shards {
            // A shard that is gone has no sessions.
            let _ = shard.send(Command::Reconnect { part, parts: PARTS }).await;
        }
        wait_until(pause, || open() == 0).await;
    }
    wait_until(GRACE, || open() == 0).await;
    let why = Violation { code: CloseCode::RESTARTING, reason: "restarting" };
    gate.closing.cancel();
    for shard in &gate.shards {
        let _ = shard.send(Command::CloseAll(why)).await;
    }
    wait_until(GONE_WITHIN, || open() == 0).await;
    gate.metrics.shutdown_time.record_duration(began.elapsed());
    log::DRAIN_FINISHED.emit(Fields {
        message_count: Some(open() as u64),
        duration_ms: Some(began.elapsed().as_secs_f64() * 1e3),
        ..Fields::default()
    });
}

/// Leaves sessions behind, so that their clients can go on with them at another gateway. They are told nothing more here.
async fn leave(gate: &Gate, sessions: Vec<(Seat, String)>) {
    let leaving = sessions.into_iter().map(|(seat, id)| {
        let (hub, elsewhere) = (gate.hub.clone(), gate.elsewhere.clone());
        async move {
            // One that has ended meanwhile is not there to be left.
            let Some(kept) = hub.give_up(seat, &id, None).await else { return Ok(()) };
            elsewhere.leave(&kept).await
        }
    });
    let mut leaving = stream::iter(leaving).buffer_unordered(AT_ONCE);
    let mut failed = None;
    while let Some(left) = leaving.next().await {
        failed = failed.or(left.err());
    }
    if let Some(error) = failed {
        log::SESSIONS_NOT_KEPT.emit(Fields::error(error.error_type(), &error));
    }
}

/// Ends the shards' threads.
pub(super) async fn shards(gate: &Gate, threads: Vec<JoinHandle<()>>) {
    for shard in &gate.shards {
        let _ = shard.send(Command::Stop).await;
    }
    let joined = tokio::task::spawn_blocking(move || {
        threads.into_iter().for_each(|thread| {
            // A panic in it was caught and has been said.
            let _ = thread.join();
        });
    });
    let _ = joined.await;
}

async fn wait_until(at_most: Duration, done: impl Fn() -> bool) {
    let deadline = Instant::now() + at_most;
    while !done() && Instant::now() < deadline {
        tokio::time::sleep(LOOK_EVERY.min(deadline.saturating_duration_since(Instant::now()))).await;
    }
}
