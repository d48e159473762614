//! The cache inside the process keeps the rules of every cache, its bound, and counts.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clarion_observability::capture::Capture;
use clarion_storage::cache::{Cache, CacheError, CacheKey, Config, MemoryCache, Observed};
use clarion_storage::conformance::cache_suite;

const TTL: Duration = Duration::from_secs(60);

fn big(field: &str) -> BTreeMap<String, Bytes> {
    BTreeMap::from([(field.to_owned(), Bytes::from(vec![0; 400]))])
}

#[tokio::test]
async fn keeps_the_rules() {
    cache_suite(&MemoryCache::new(&Config::default()), "conformance:test").await;
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_room_comes_back() {
    let cache = MemoryCache::new(&Config { memory_bytes: 1_000, ..Config::default() });
    let (first, second) = (CacheKey::new("test", "1"), CacheKey::new("test", "2"));
    let version = cache.replace(&first, big("a"), TTL).await.unwrap();
    let used = cache.memory().await.unwrap().used;
    assert!(used > 400 && used < 1_000, "{used}");
    assert_eq!(
        cache.replace(&second, big("aa").into_iter().chain(big("b")).collect(), TTL).await,
        Err(CacheError::Full)
    );
    let more = vec![("b".to_owned(), Some(Bytes::from(vec![0; 600])))];
    assert_eq!(cache.change(&first, version, more, TTL).await, Err(CacheError::Full));
    assert_eq!(cache.read(&first).await.unwrap().unwrap().version, version, "nothing was changed");
    cache.forget(&first).await.unwrap();
    assert_eq!(cache.memory().await.unwrap().used, 0);
    assert!(cache.replace(&second, big("b"), TTL).await.is_ok());
}

#[tokio::test]
async fn what_was_asked_is_counted() {
    let capture = Capture::new().unwrap();
    let telemetry = capture.process().service("cache-test", "0");
    let cache =
        Observed::new(Arc::new(MemoryCache::new(&Config { memory_bytes: 600, ..Config::default() })), &telemetry);
    let key = CacheKey::new("test", "1");
    cache.read(&key).await.unwrap();
    cache.replace(&key, big("a"), TTL).await.unwrap();
    cache.read(&key).await.unwrap();
    assert_eq!(cache.replace(&CacheKey::new("test", "2"), big("a"), TTL).await, Err(CacheError::Full));
    cache.memory().await.unwrap();
    let text = capture.process().render_metrics();
    for expected in [
        r#"cache_lookups_total{service="cache-test",instance="0",region="local",version="0.1.0",result="hit"} 1"#,
        r#"result="miss"} 1"#,
        r#"error_type="full"} 1"#,
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
    let gauge = |name: &str| {
        let line = text.lines().find(|l| l.starts_with(name)).unwrap_or_else(|| panic!("{name} in\n{text}"));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert!(gauge("cache_memory_used_bytes{") > 400.0);
    assert!((gauge("cache_memory_allocated_bytes{") - 600.0).abs() < 0.5);
}
