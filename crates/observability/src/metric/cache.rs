//! What a user of a cache counts: look-ups, errors, how full it is.

use super::label::label;
use super::{By, Counter, Gauge, instruments};

label! {
    /// Whether what was looked up was there.
    LookupResult = "result" { Hit = "hit", Miss = "miss" }
}

label! {
    /// Why the cache did not do it.
    CacheErrorType = "error_type" { Full = "full", Failed = "failed" }
}

instruments! {
    /// The instruments of a cache's client.
    CacheMetrics:
    /// Look-ups in the cache.
    lookups: By<LookupResult, Counter> = "cache.lookups", Count;
    /// What the cache did not do.
    errors: By<CacheErrorType, Counter> = "cache.errors", Count;
    /// What the cache has thrown out to make room.
    evictions: Counter = "cache.evictions", Count;
    /// Memory that the cache holds.
    memory_used: Gauge = "cache.memory.used", Bytes;
    /// Memory that the cache may hold.
    memory_allocated: Gauge = "cache.memory.allocated", Bytes;
}
