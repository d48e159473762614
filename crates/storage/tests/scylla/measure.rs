//! Figures, for whoever asks: `cargo test --release -p clarion-storage --test scylla -- --ignored --nocapture measure`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use clarion_model::id::{ChannelId, MessageId};
use clarion_model::key::{SLOTS, Slot};
use futures_util::future::join_all;
use scylla::client::session::Session;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;

use crate::keyspace::{Keyspace, Writer};

/// How long each figure is taken for.
const TIME: Duration = Duration::from_secs(8);
/// Writers at a time, each of a key of its own.
const WRITERS: u64 = 32;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes figures"]
async fn measure_takes_and_commits() {
    let Some(keyspace) = Keyspace::new("measure").await else { return };
    let store = keyspace.open().await;
    let slots: Vec<_> = (0..SLOTS).map(Slot).collect();
    for _ in 0..2 {
        let begun = Instant::now();
        store.stores().slots.raise(&slots, "measure").await.unwrap();
        println!("{} slots taken in {:.2} s", slots.len(), begun.elapsed().as_secs_f64());
    }
    for round in 0..2 {
        let begun = Instant::now();
        let writers = (1..=WRITERS).map(async |n| {
            let mut writer = Writer::take(&store, round * WRITERS + n).await;
            let (mut took, mut id) = (Vec::new(), (n << 40) + (round << 32));
            while begun.elapsed() < TIME {
                id += 1;
                let each = Instant::now();
                // Another key may lie in the same slot, and have taken it since.
                match writer.say(ChannelId(round * WRITERS + n), MessageId(id)).await {
                    Ok(()) => took.push(each.elapsed()),
                    Err(_) => break,
                }
            }
            took
        });
        report("commits", join_all(writers).await.concat(), begun.elapsed());
    }
    keyspace.drop().await;
}

struct Raw {
    session: Session,
    log: PreparedStatement,
    epoch: PreparedStatement,
    message: PreparedStatement,
    state: PreparedStatement,
    batch: Batch,
    tables: Batch,
    stamps: AtomicI64,
}

impl Raw {
    async fn new(keyspace: &Keyspace) -> Self {
        let session = keyspace.session().await;
        let log = "INSERT INTO logs (kind, id, epoch, offset, stamp, last_id, applied_epoch, applied_offset, body) \
                   VALUES (1, ?, 1, ?, 1, 1, 1, 1, ?)";
        let log = session.prepare(log).await.unwrap();
        let epoch = session.prepare("SELECT epoch FROM slots WHERE part = 1 AND slot = ?").await.unwrap();
        let message = "INSERT INTO messages (channel, bucket, id, body) VALUES (?, 1, ?, ?)";
        let message = session.prepare(message).await.unwrap();
        let state = "INSERT INTO states (kind, id, part, sub, body) VALUES (1, ?, 4, 0x00, ?)";
        let state = session.prepare(state).await.unwrap();
        let mut batch = Batch::new(BatchType::Logged);
        [&log, &message, &state].into_iter().for_each(|statement| batch.append_statement(statement.clone()));
        let mut tables = Batch::new(BatchType::Unlogged);
        [&message, &state].into_iter().for_each(|statement| tables.append_statement(statement.clone()));
        Self { session, log, epoch, message, state, batch, tables, stamps: AtomicI64::new(0) }
    }

    async fn log_first(&self, key: i64) {
        let (n, body) = (self.stamps.fetch_add(1, Ordering::Relaxed), vec![7u8; 300]);
        self.session.execute_unpaged(&self.log, (key, n, &body)).await.unwrap();
        self.session.execute_unpaged(&self.epoch, (key as i32,)).await.unwrap();
        let (message, state) = tokio::join!(
            self.session.execute_unpaged(&self.message, (key, n, &body)),
            self.session.execute_unpaged(&self.state, (key, &body[..8])),
        );
        message.and(state).unwrap();
    }

    async fn log_first_tables_at_once(&self, key: i64) {
        let (n, body) = (self.stamps.fetch_add(1, Ordering::Relaxed), vec![7u8; 300]);
        self.session.execute_unpaged(&self.log, (key, n, &body)).await.unwrap();
        self.session.execute_unpaged(&self.epoch, (key as i32,)).await.unwrap();
        self.session.batch(&self.tables, ((key, n, &body), (key, &body[..8]))).await.unwrap();
    }

    async fn one_batch(&self, key: i64) {
        let (n, body) = (self.stamps.fetch_add(1, Ordering::Relaxed), vec![7u8; 300]);
        self.session.batch(&self.batch, ((key, n, &body), (key, n, &body), (key, &body[..8]))).await.unwrap();
        self.session.execute_unpaged(&self.epoch, (key as i32,)).await.unwrap();
    }
}

/// The two ways of writing a message, bare: the log, the epoch, then the tables; or all rows in one logged batch, then the
/// epoch. They take turns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes figures"]
async fn measure_log_first_against_one_batch() {
    let Some(keyspace) = Keyspace::new("ways").await else { return };
    let raw = Arc::new(Raw::new(&keyspace).await);
    for round in 0..3 {
        for what in ["log first", "log first, tables at once", "one batch"] {
            let cpu = server_cpu();
            let begun = Instant::now();
            let writers = (0..WRITERS as i64).map(async |key| {
                let mut took = Vec::new();
                while begun.elapsed() < TIME {
                    let each = Instant::now();
                    match what {
                        "log first" => raw.log_first(key).await,
                        "one batch" => raw.one_batch(key).await,
                        _ => raw.log_first_tables_at_once(key).await,
                    }
                    took.push(each.elapsed());
                }
                took
            });
            let took = join_all(writers).await.concat();
            if let (Some(before), Some(after)) = (cpu, server_cpu()) {
                println!("  {:.2} ms of the server's CPU each", (after - before) * 1e3 / took.len() as f64);
            }
            report(&format!("round {round}, {what}"), took, begun.elapsed());
        }
    }
    keyspace.drop().await;
}

/// Seconds of CPU that the server took, if `CLARION_TEST_CQL_PROCESS` names it.
fn server_cpu() -> Option<f64> {
    let process = std::env::var("CLARION_TEST_CQL_PROCESS").ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // Fields 14 and 15 of proc_pid_stat(5), counted after the name; 100 ticks a second on Linux.
    Some((fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?) / 100.0)
}

fn report(what: &str, mut took: Vec<Duration>, wall: Duration) {
    took.sort_unstable();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    let rate = took.len() as f64 / wall.as_secs_f64();
    println!("{what}: {rate:.0} a second, p50 {:.1} ms, p99 {:.1} ms", at(0.5), at(0.99));
}
