//! The cache inside the process.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Cache, CacheError, CacheKey, Config, Count, Hash, Memory, Row, Turn, Version, Window};

/// What a hash and a field cost beside their bytes, roughly.
const OVERHEAD: usize = 64;
/// The field of a window that says how many it has.
const USED: &str = "used";

/// Hashes in the memory of the process.
#[derive(Debug)]
pub struct MemoryCache {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    hashes: HashMap<CacheKey, Entry>,
    used: usize,
    last: u64,
}

#[derive(Debug)]
struct Entry {
    hash: Hash,
    cost: usize,
    until: Instant,
}

impl MemoryCache {
    /// An empty one.
    pub fn new(config: &Config) -> Self {
        Self { limit: config.memory_bytes, inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// A hash that has not run out.
    fn live(&mut self, key: &CacheKey, now: Instant) -> Option<&mut Entry> {
        if self.hashes.get(key)?.until <= now {
            self.take(key);
        }
        self.hashes.get_mut(key)
    }

    fn known(&mut self, key: &CacheKey, version: Version, now: Instant) -> Result<&mut Entry, CacheError> {
        self.live(key, now).filter(|entry| entry.hash.version == version).ok_or(CacheError::Conflict)
    }

    fn take(&mut self, key: &CacheKey) {
        if let Some(entry) = self.hashes.remove(key) {
            self.used -= entry.cost;
        }
    }

    fn forget_old(&mut self, now: Instant) {
        self.hashes.retain(|_, entry| entry.until > now);
        self.used = self.hashes.values().map(|entry| entry.cost).sum();
    }

    /// Puts a hash in its place if there is room for it.
    fn put(
        &mut self,
        key: &CacheKey,
        fields: BTreeMap<String, Bytes>,
        cost: usize,
        until: Instant,
        limit: usize,
    ) -> Result<Version, CacheError> {
        let before = self.hashes.get(key).map_or(0, |entry| entry.cost);
        if cost > before && self.used - before + cost > limit {
            return Err(CacheError::Full);
        }
        self.used = self.used - before + cost;
        self.last += 1;
        let version = Version(self.last);
        self.hashes.insert(key.clone(), Entry { hash: Hash { version, fields }, cost, until });
        Ok(version)
    }
}

/// How many a window has.
fn used(window: &Hash) -> u32 {
    let value = window.fields.get(USED).and_then(|value| std::str::from_utf8(value).ok());
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

fn cost_of(field: &str, value: &Bytes) -> usize {
    OVERHEAD + field.len() + value.len()
}

#[async_trait::async_trait]
impl Cache for MemoryCache {
    async fn list(&self, prefix: &'static str) -> Result<Vec<String>, CacheError> {
        let mut inner = self.inner();
        inner.forget_old(Instant::now());
        Ok(inner.hashes.keys().filter(|key| key.prefix == prefix).map(|key| key.id.clone()).collect())
    }

    async fn read(&self, key: &CacheKey) -> Result<Option<Hash>, CacheError> {
        Ok(self.inner().live(key, Instant::now()).map(|entry| entry.hash.clone()))
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fields: BTreeMap<String, Bytes>,
        ttl: Duration,
    ) -> Result<Version, CacheError> {
        let (mut inner, now) = (self.inner(), Instant::now());
        inner.forget_old(now);
        let cost = OVERHEAD + fields.iter().map(|(field, value)| cost_of(field, value)).sum::<usize>();
        inner.put(key, fields, cost, now + ttl, self.limit)
    }

    async fn change(
        &self,
        key: &CacheKey,
        known: Version,
        changes: Vec<(String, Option<Bytes>)>,
        ttl: Duration,
    ) -> Result<Version, CacheError> {
        let (mut inner, now) = (self.inner(), Instant::now());
        let entry = inner.known(key, known, now)?;
        let old = |field: &String| entry.hash.fields.get(field).map_or(0, |value| cost_of(field, value));
        // A field that is named twice is counted twice here, which refuses too early and never too late.
        let (added, removed) = changes.iter().fold((0, 0), |(added, removed), (field, value)| {
            (added + value.as_ref().map_or(0, |value| cost_of(field, value)), removed + old(field))
        });
        if added > removed && inner.used + added - removed > self.limit {
            return Err(CacheError::Full);
        }
        inner.last += 1;
        let version = Version(inner.last);
        let entry = inner.known(key, known, now)?;
        let before = entry.cost;
        for (field, value) in changes {
            let cost = value.as_ref().map_or(0, |value| cost_of(&field, value));
            let old = match value {
                Some(value) => entry.hash.fields.insert(field.clone(), value),
                None => entry.hash.fields.remove(&field),
            };
            entry.cost = entry.cost + cost - old.map_or(0, |old| cost_of(&field, &old));
        }
        (entry.hash.version, entry.until) = (version, now + ttl);
        let after = entry.cost;
        inner.used = inner.used - before + after;
        Ok(version)
    }

    async fn renew(&self, key: &CacheKey, known: Version, ttl: Duration) -> Result<(), CacheError> {
        let (mut inner, now) = (self.inner(), Instant::now());
        inner.known(key, known, now)?.until = now + ttl;
        Ok(())
    }

    async fn forget(&self, key: &CacheKey) -> Result<(), CacheError> {
        self.inner().take(key);
        Ok(())
    }

    async fn count(&self, windows: &[Window]) -> Result<Vec<Count>, CacheError> {
        let (mut inner, now) = (self.inner(), Instant::now());
        let mut counts = Vec::with_capacity(windows.len());
        for Window { key, limit, length } in windows {
            let begun = inner.live(key, now).map(|entry| (used(&entry.hash), entry.until));
            let (used, until) = begun.unwrap_or((0, now + *length));
            let (counted, ends_in) = (used < *limit, until - now);
            if !counted {
                counts.push(Count { counted, used, ends_in });
                break;
            }
            let value = Bytes::from((used + 1).to_string());
            let cost = OVERHEAD + cost_of(USED, &value);
            inner.put(key, BTreeMap::from([(USED.to_owned(), value)]), cost, until, self.limit)?;
            counts.push(Count { counted, used: used + 1, ends_in });
        }
        Ok(counts)
    }

    async fn turn(&self, window: &Window, row: &Row) -> Result<Turn, CacheError> {
        let (mut inner, now) = (self.inner(), Instant::now());
        let begun = inner.live(&window.key, now).map(|entry| (used(&entry.hash), entry.until));
        let (used, until) = begun.unwrap_or((0, now + window.length));
        let clear = inner.live(&row.key, now).map_or(now, |entry| entry.until);
        let wait = (clear - now).saturating_sub(row.ahead());
        let count = Count { counted: false, used, ends_in: until - now };
        if used >= window.limit || wait > row.longest {
            return Ok(Turn { wait: None, count, clear_in: clear - now });
        }
        // A row that is there has its place; a new one, and the window, need room.
        let value = Bytes::from((used + 1).to_string());
        let cost = OVERHEAD + cost_of(USED, &value);
        inner.put(&row.key, BTreeMap::new(), OVERHEAD, clear + row.every, self.limit)?;
        let counted = inner.put(&window.key, BTreeMap::from([(USED.to_owned(), value)]), cost, until, self.limit);
        if let Err(full) = counted {
            if let Some(entry) = inner.live(&row.key, now) {
                entry.until = clear;
            }
            return Err(full);
        }
        let count = Count { counted: true, used: used + 1, ..count };
        Ok(Turn { wait: Some(wait), count, clear_in: clear + row.every - now })
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn memory(&self) -> Result<Memory, CacheError> {
        let mut inner = self.inner();
        inner.forget_old(Instant::now());
        Ok(Memory { used: inner.used as u64, allocated: self.limit as u64, evicted: 0 })
    }
}
