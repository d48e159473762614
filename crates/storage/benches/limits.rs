//! What limits that gateways share over Redis cost a request: a request's two windows are counted in one call, beside the
//! cache of one process, in turns.
//!
//! `cargo bench -p clarion-storage --bench limits -- [calls]`. The time is what a request waits for; processor time is that
//! of this process, which is a gateway's part of it, and of the Redis server, both over all calls. Each call is by another
//! of a thousand users.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on ends")]
#![allow(clippy::disallowed_methods, reason = "a measurement is no service: its tasks end with it")]

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clarion_observability::capture::Capture;
use clarion_storage::cache::{Cache, CacheKey, Config, MemoryCache, RedisCache, RedisConfig, Window};
use clarion_storage::conformance::RedisServer;

const KIND: &str = "bench:limits";
const USERS: u64 = 1_000;
/// Requests that are on their way at a time.
const AT_ONCE: [u64; 3] = [1, 16, 64];
const TURNS: usize = 5;

/// What calls took.
struct Took {
    p50: Duration,
    p99: Duration,
    each: Duration,
    here: Duration,
    redis: Option<Duration>,
}

/// The windows of a user's request: all of theirs, and those of the operation.
fn windows(user: u64) -> [Window; 2] {
    let window = |name: &str, limit, seconds| Window {
        key: CacheKey::new(KIND, format!("{name}:{user}")),
        limit,
        length: Duration::from_secs(seconds),
    };
    [window("global", u32::MAX, 1), window("send", u32::MAX, 5)]
}

/// Processor time of a process so far; of this one without an id.
fn cpu(id: Option<u32>) -> Option<Duration> {
    let of = id.map_or("self".to_owned(), |id| id.to_string());
    let stat = std::fs::read_to_string(format!("/proc/{of}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

async fn measure(cache: &Arc<dyn Cache>, calls: u64, at_once: u64, redis: Option<u32>) -> Took {
    let (here, there, begun) = (cpu(None).unwrap(), redis.and_then(|id| cpu(Some(id))), Instant::now());
    let askers = (0..at_once).map(|asker| {
        let cache = cache.clone();
        tokio::spawn(async move {
            let mut waits = Vec::new();
            for n in (asker..calls).step_by(at_once as usize) {
                let asked = Instant::now();
                assert!(cache.count(&windows(n % USERS)).await.unwrap().iter().all(|count| count.counted));
                waits.push(asked.elapsed());
            }
            waits
        })
    });
    let mut waits = Vec::new();
    for asker in askers.collect::<Vec<_>>() {
        waits.extend(asker.await.unwrap());
    }
    let each = begun.elapsed() / calls as u32;
    waits.sort_unstable();
    let at = |share: usize| waits[waits.len() * share / 100];
    Took {
        p50: at(50),
        p99: at(99),
        each,
        here: (cpu(None).unwrap() - here) / calls as u32,
        redis: redis.and_then(|id| cpu(Some(id))).zip(there).map(|(now, before)| (now - before) / calls as u32),
    }
}

fn median(values: impl Iterator<Item = Duration>) -> Duration {
    let mut values: Vec<Duration> = values.collect();
    values.sort_unstable();
    values[values.len() / 2]
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let calls = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(200_000);
    let Some(server) = RedisServer::start(&[]) else { return };
    let capture = Capture::new().unwrap();
    let telemetry = capture.process().service("bench", "0");
    let config = RedisConfig { url: server.url().into(), ..RedisConfig::default() };
    let redis = Arc::new(RedisCache::new(&config, &telemetry).unwrap());
    redis.connect().await;
    let running = redis.clone();
    tokio::spawn(async move { running.run(pending()).await });
    let inside: Arc<dyn Cache> = Arc::new(MemoryCache::new(&Config::default()));
    let redis: Arc<dyn Cache> = redis;
    println!("{calls} calls of two windows, {TURNS} turns each, medians; per call");
    for at_once in AT_ONCE {
        let (mut in_redis, mut in_process) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            in_process.push(measure(&inside, calls, at_once, None).await);
            in_redis.push(measure(&redis, calls, at_once, server.id()).await);
        }
        for (name, all) in [("in process", &in_process), ("over Redis", &in_redis)] {
            let [p50, p99, each, here] = [
                median(all.iter().map(|took| took.p50)),
                median(all.iter().map(|took| took.p99)),
                median(all.iter().map(|took| took.each)),
                median(all.iter().map(|took| took.here)),
            ];
            let there = median(all.iter().map(|took| took.redis.unwrap_or_default()));
            println!(
                "{name}, {at_once} at a time: waits p50 {p50:?}, p99 {p99:?}; one every {each:?}; processor {here:?} here, \
                 {there:?} in Redis"
            );
        }
    }
}
