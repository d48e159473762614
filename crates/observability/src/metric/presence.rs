//! What a presence server counts: who is there, what gateways say, who is told.

use super::label::label;
use super::{By, Counter, Gauge, Histogram, LATENCY, instruments};

label! {
    /// How somebody is there.
    ShownStatus = "status" { Online = "online", Idle = "idle", Dnd = "dnd" }
}

label! {
    /// What a gateway said of a user.
    UpdateType = "update_type" { Connect = "connect", Disconnect = "disconnect", StatusChange = "status_change" }
}

label! {
    /// What others see happen.
    PresenceEvent = "event_type" {
        Online = "online", Idle = "idle", Dnd = "dnd", Offline = "offline", Activity = "activity",
        LeaseExpired = "lease_expired",
    }
}

label! {
    /// Why a word was not taken, or was not told or kept.
    UpdateError = "error_type" { Invalid = "invalid", Full = "full", Cache = "cache", SlowWatcher = "slow_watcher" }
}

instruments! {
    /// The instruments of a presence server.
    PresenceMetrics:
    /// Users whom others see there. Of the servers that know a user, one counts.
    users_online: By<ShownStatus, Gauge> = "presence.users.online", Count;
    /// What gateways said of users.
    updates: Counter = "presence.update", Count;
    /// Words that were not taken, not kept in the cache, or not told to a gateway that watches.
    update_failures: By<UpdateError, Counter> = "presence.update.failures", Count;
    /// Time from a gateway's word to every gateway that watches having it in its queue.
    update_latency: By<UpdateType, Histogram> = "presence.update.latency", Seconds, LATENCY;
    /// Changes that others see; and gateways' leases that ran out, by user.
    events: By<PresenceEvent, Counter> = "presence.events", Count;
    /// Users watched, counted once for each gateway that watches them.
    subscriptions_active: Gauge = "presence.subscriptions.active", Count;
    /// Gateways that attend.
    gateways: Gauge = "presence.gateways", Count;
}
