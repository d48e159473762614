//! The drain: clients are asked to reconnect, some at a time; whoever is still there is closed so that it can resume.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clarion_observability::log::{self, Fields};
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::connection::Gate;
use crate::conversation::Violation;
use crate::frame::CloseCode;
use crate::shard::Command;

/// How many parts of the clients are asked one after another.
const PARTS: u32 = 10;
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
    for part in 0..PARTS {
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
