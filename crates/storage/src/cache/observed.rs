//! A cache with the metrics and spans of the service that uses it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use clarion_observability::metric::{CacheErrorType, CacheMetrics, LookupResult};
use clarion_observability::{Instrument, Telemetry, span};

use super::{Cache, CacheError, CacheKey, Count, Hash, Memory, Row, Turn, Version, Window};

/// Counts what a service asks of a cache.
pub struct Observed {
    cache: Arc<dyn Cache>,
    metrics: CacheMetrics,
    /// What the cache had evicted when it was last asked.
    evicted: Mutex<Option<u64>>,
}

impl Observed {
    /// A service's view of a cache.
    pub fn new(cache: Arc<dyn Cache>, telemetry: &Telemetry) -> Self {
        Self { cache, metrics: CacheMetrics::new(telemetry.meter()), evicted: Mutex::default() }
    }

    /// Counts an error, unless it is the answer to the question which version there is.
    fn note<T>(&self, result: Result<T, CacheError>) -> Result<T, CacheError> {
        let kind = match &result {
            Ok(_) | Err(CacheError::Conflict) => None,
            Err(CacheError::Full) => Some(CacheErrorType::Full),
            Err(CacheError::Failed(_)) => Some(CacheErrorType::Failed),
        };
        if let Some(kind) = kind {
            self.metrics.errors.with(kind).increment(1);
        }
        result
    }

    /// Counts what was evicted since it was last asked, which is less than ever before when the cache began anew.
    fn note_evicted(&self, evicted: u64) {
        let before = self.evicted.lock().unwrap_or_else(PoisonError::into_inner).replace(evicted);
        let since = before.map_or(0, |before| evicted.checked_sub(before).unwrap_or(evicted));
        self.metrics.evictions.increment(since);
    }
}

#[async_trait::async_trait]
impl Cache for Observed {
    async fn list(&self, prefix: &'static str) -> Result<Vec<String>, CacheError> {
        self.note(self.cache.list(prefix).await)
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Hash>, CacheError> {
        let span = span::cache_lookup(key.prefix());
        let found = self.note(self.cache.read(key).instrument(span.clone()).await);
        match &found {
            Ok(hash) => {
                span::looked_up(&span, hash.is_some());
                let result = if hash.is_some() { LookupResult::Hit } else { LookupResult::Miss };
                self.metrics.lookups.with(result).increment(1);
            }
            Err(error) => span::fail(&span, error.error_type()),
        }
        found
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fields: BTreeMap<String, Bytes>,
        ttl: Duration,
    ) -> Result<Version, CacheError> {
        self.note(self.cache.replace(key, fields, ttl).await)
    }

    async fn change(
        &self,
        key: &CacheKey,
        known: Version,
        changes: Vec<(String, Option<Bytes>)>,
        ttl: Duration,
    ) -> Result<Version, CacheError> {
        self.note(self.cache.change(key, known, changes, ttl).await)
    }

    async fn renew(&self, key: &CacheKey, known: Version, ttl: Duration) -> Result<(), CacheError> {
        self.note(self.cache.renew(key, known, ttl).await)
    }

    async fn forget(&self, key: &CacheKey) -> Result<(), CacheError> {
        self.note(self.cache.forget(key).await)
    }

    async fn count(&self, windows: &[Window]) -> Result<Vec<Count>, CacheError> {
        self.note(self.cache.count(windows).await)
    }

    async fn turn(&self, window: &Window, row: &Row) -> Result<Turn, CacheError> {
        self.note(self.cache.turn(window, row).await)
    }

    fn is_shared(&self) -> bool {
        self.cache.is_shared()
    }

    async fn memory(&self) -> Result<Memory, CacheError> {
        let memory = self.note(self.cache.memory().await)?;
        self.metrics.memory_used.set(memory.used as f64);
        self.metrics.memory_allocated.set(memory.allocated as f64);
        self.note_evicted(memory.evicted);
        Ok(memory)
    }
}
