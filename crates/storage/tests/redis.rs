//! The cache in Redis keeps the rules of every cache, on a real server, and lives through what happens to one.

#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "a test is no service: its tasks end with it")]

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clarion_observability::capture::Capture;
use clarion_storage::cache::{Cache, CacheError, CacheKey, Observed, RedisCache, RedisConfig};
use clarion_storage::conformance::{RedisServer, cache_suite};

const KIND: &str = "conformance:redis";
const TTL: Duration = Duration::from_secs(60);
/// Longest time until a cache is back by itself.
const BACK_WITHIN: Duration = Duration::from_secs(30);

/// A cache that keeps its connection, and the task that does.
async fn connect(server: &RedisServer) -> (Arc<RedisCache>, tokio::task::JoinHandle<()>) {
    let capture = Capture::new().unwrap();
    connect_with(&RedisConfig { url: server.url().into(), ..RedisConfig::default() }, &capture).await
}

async fn connect_with(config: &RedisConfig, capture: &Capture) -> (Arc<RedisCache>, tokio::task::JoinHandle<()>) {
    let telemetry = capture.process().service("cache-test", "0");
    telemetry.adopt_thread();
    let cache = Arc::new(RedisCache::new(config, &telemetry).unwrap());
    cache.connect().await;
    let running = cache.clone();
    (cache, tokio::spawn(async move { running.run(pending()).await }))
}

/// Waits until it answers.
async fn answers(cache: &RedisCache) -> Duration {
    let begun = Instant::now();
    while let Err(error) = cache.read(&CacheKey::new(KIND, "is it there")).await {
        assert!(begun.elapsed() < BACK_WITHIN, "{error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}

fn big(bytes: usize) -> BTreeMap<String, Bytes> {
    BTreeMap::from([("a".to_owned(), Bytes::from(vec![0xff; bytes]))])
}

#[tokio::test]
async fn keeps_the_rules_before_and_after_the_server_begins_anew() {
    let Some(mut server) = RedisServer::start(&[]) else { return };
    let (cache, task) = connect(&server).await;
    cache_suite(&*cache, KIND).await;
    let key = CacheKey::new(KIND, "lost");
    let version = cache.replace(&key, big(10), TTL).await.unwrap();
    assert_eq!(cache.read(&key).await.unwrap().unwrap().fields, big(10), "bytes are no text");
    server.restart();
    answers(&cache).await;
    assert_eq!(cache.renew(&key, version, TTL).await, Err(CacheError::Conflict));
    assert_eq!(cache.list(KIND).await, Ok(Vec::new()));
    let anew = cache.replace(&key, big(10), TTL).await.unwrap();
    assert_ne!(anew, version, "a version does not come back with the server");
    cache_suite(&*cache, KIND).await;
    task.abort();
}

#[tokio::test]
async fn a_server_that_is_away_or_hangs_costs_no_more_than_the_timeout_and_comes_back() {
    let Some(mut server) = RedisServer::start(&[]) else { return };
    let (cache, task) = connect(&server).await;
    let key = CacheKey::new(KIND, "asked");
    let long = std::env::var_os("CLARION_TEST_LONG").is_some();
    for (hangs, away) in [(false, 2), (true, 5)] {
        let away = Duration::from_secs(if long { 60 } else { away });
        if hangs {
            server.signal("STOP");
        } else {
            server.stop();
        }
        let (until, mut failed) = (Instant::now() + away, 0);
        while Instant::now() < until {
            let asked = Instant::now();
            let answer = cache.replace(&key, big(10), TTL).await;
            assert!(matches!(answer, Err(CacheError::Failed(_))), "{answer:?}");
            assert!(asked.elapsed() < Duration::from_millis(1_500), "{:?}", asked.elapsed());
            failed += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Each of the first few may wait as long as any call; then nothing is waited for.
        assert!(failed >= 20, "{failed}");
        if hangs {
            server.signal("CONT");
        } else {
            server.restart();
        }
        let back = answers(&cache).await;
        println!("hangs: {hangs}, away {away:?}, {failed} calls failed, back in {back:?}");
        assert!(cache.replace(&key, big(10), TTL).await.is_ok());
    }
    task.abort();
}

/// A circuit opens after a few calls that failed, is closed by a sign of life that nobody had to ask for, and with the switch
/// off is not there.
#[tokio::test]
async fn a_server_that_does_not_answer_is_left_alone() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let key = CacheKey::new(KIND, "asked");
    for circuit_breaker in [true, false] {
        let capture = Capture::new().unwrap();
        let config =
            RedisConfig { url: server.url().into(), timeout_ms: 300, circuit_breaker, ..RedisConfig::default() };
        let (cache, task) = connect_with(&config, &capture).await;
        let metric = |name: &str| -> f64 {
            let text = capture.process().render_metrics();
            let line = text.lines().find(|line| line.starts_with(name) && line.contains("target=\"cache\"")).unwrap();
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        assert!(cache.replace(&key, big(10), TTL).await.is_ok());
        assert_eq!(metric("circuit_open{"), 0.0);
        server.signal("STOP");
        for _ in 0..3 {
            assert!(cache.read(&key).await.is_err());
        }
        assert_eq!(metric("circuit_open{"), f64::from(u8::from(circuit_breaker)));
        if circuit_breaker {
            let (begun, mut quickest) = (Instant::now(), TTL);
            while begun.elapsed() < Duration::from_secs(1) {
                let asked = Instant::now();
                assert!(cache.read(&key).await.is_err());
                quickest = quickest.min(asked.elapsed());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert!(quickest < Duration::from_millis(20), "{quickest:?}");
            assert!(metric("circuit_refused_total{") > 10.0);
        }
        server.signal("CONT");
        // Nobody asks: it is found by itself.
        let begun = Instant::now();
        while metric("circuit_open{") > 0.0 {
            assert!(begun.elapsed() < BACK_WITHIN, "it stays open");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        println!("circuit breaker {circuit_breaker}: back {:?} after the server went on", begun.elapsed());
        answers(&cache).await;
        assert_eq!(metric("circuit_opened_total{"), f64::from(u8::from(circuit_breaker)));
        assert_eq!(capture.lines_of("circuit.closed").len(), usize::from(circuit_breaker));
        task.abort();
    }
}

/// What is lost and found is said once, however often connecting fails between.
#[tokio::test]
async fn a_connection_that_is_lost_and_found_is_said_once() {
    let Some(mut server) = RedisServer::start(&[]) else { return };
    let capture = Capture::new().unwrap();
    let config = RedisConfig { url: server.url().into(), ..RedisConfig::default() };
    let (cache, task) = connect_with(&config, &capture).await;
    answers(&cache).await;
    let said = |event: &str| capture.lines_of(event).len();
    let until = async |event: &str, times: usize| {
        let begun = Instant::now();
        while said(event) != times {
            assert!(begun.elapsed() < BACK_WITHIN, "{event}: {}", said(event));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    until("cache.connected", 1).await;
    server.stop();
    until("cache.lost", 1).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((said("cache.connected"), said("cache.lost")), (1, 1));
    server.restart();
    until("cache.connected", 2).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((said("cache.connected"), said("cache.lost")), (2, 1));
    task.abort();
}

#[tokio::test]
async fn a_server_that_is_full_refuses_and_changes_nothing() {
    let Some(server) = RedisServer::start(&["--maxmemory-policy", "noeviction"]) else { return };
    let (cache, task) = connect(&server).await;
    let key = CacheKey::new(KIND, "first");
    let version = cache.replace(&key, big(10), TTL).await.unwrap();
    for n in 0..15 {
        cache.replace(&CacheKey::new(KIND, n.to_string()), big(200_000), TTL).await.unwrap();
    }
    assert!(server.say("CONFIG SET maxmemory 2mb").unwrap().starts_with("+OK"));
    assert_eq!(cache.replace(&key, big(200_000), TTL).await, Err(CacheError::Full));
    assert_eq!(cache.change(&key, version, vec![("a".into(), None)], TTL).await, Err(CacheError::Full));
    let kept = cache.read(&key).await.unwrap().unwrap();
    assert_eq!((kept.version, kept.fields), (version, big(10)), "nothing was changed");
    let memory = cache.memory().await.unwrap();
    assert!(memory.used > memory.allocated && memory.allocated == 2 << 20, "{memory:?}");
    for n in 0..15 {
        cache.forget(&CacheKey::new(KIND, n.to_string())).await.unwrap();
    }
    assert!(cache.replace(&key, big(20), TTL).await.is_ok(), "there is room again");
    task.abort();
}

#[tokio::test]
async fn what_a_server_throws_out_is_counted() {
    let Some(server) = RedisServer::start(&["--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru"]) else { return };
    let (cache, task) = connect(&server).await;
    let capture = Capture::new().unwrap();
    let observed = Observed::new(cache, &capture.process().service("cache-test", "0"));
    observed.memory().await.unwrap();
    for n in 0..40 {
        observed.replace(&CacheKey::new(KIND, n.to_string()), big(200_000), TTL).await.unwrap();
    }
    let evicted = observed.memory().await.unwrap().evicted;
    assert!(evicted > 0);
    let text = capture.process().render_metrics();
    let line = text.lines().find(|line| line.starts_with("cache_evictions_total{")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.ends_with(&format!(" {evicted}")), "{line}");
    task.abort();
}
