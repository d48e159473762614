//! Every log event of the product.

use super::{Level, LogEvent};

/// Constants and the table of them all, from one list.
macro_rules! events {
    ($($constant:ident = $name:literal, $level:ident, $component:literal, $message:literal $(, fatal = $fatal:literal)?;)*) => {
        $(#[doc = concat!("`", $name, "`: ", $message, ".")]
        pub const $constant: LogEvent = LogEvent {
            name: $name, level: Level::$level, message: $message, component: $component, fatal: false $(| $fatal)?,
        };)*
        /// Every event, in the order of the documentation.
        pub const ALL: &[LogEvent] = &[$($constant),*];
    };
}

events! {
    PROCESS_STARTED = "process.started", Info, "process", "process started";
    PROCESS_STOPPING = "process.stopping", Info, "process", "process stopping";
    PROCESS_STOPPED = "process.stopped", Info, "process", "process stopped";
    SERVICE_LISTENING = "service.listening", Info, "process", "service listening";
    CONFIG_LOADED = "config.loaded", Info, "process", "configuration loaded";
    LOG_LEVEL_CHANGED = "log_level.changed", Warn, "process", "log level changed";
    DRAIN_STARTED = "drain.started", Info, "process", "drain started";
    DRAIN_FINISHED = "drain.finished", Info, "process", "drain finished";
    TASK_PANICKED = "task.panicked", Error, "process", "a task panicked";
    SERVICE_FAILED = "service.failed", Error, "process", "a service ended with an error";
    ACCEPT_FAILED = "accept.failed", Error, "gateway", "connections cannot be accepted";
    MEMBER_JOINED = "member.joined", Info, "router", "a member joined";
    MEMBER_SILENT = "member.silent", Warn, "router", "a member said nothing for a lease and is taken for gone";
    LEADER_CHANGED = "leader.changed", Info, "router", "another router orders who holds which slot";
    MEMBER_LEFT = "member.left", Info, "router", "a member left";
    PEER_UNREACHABLE = "peer.unreachable", Warn, "process", "peer unreachable";
    DEMO_CREATED = "demo.created", Info, "process", "demonstration data created";

    CONNECTION_ESTABLISHED = "connection.established", Info, "gateway", "connection established";
    CONNECTION_CLOSED = "connection.closed", Info, "gateway", "connection closed";
    AUTH_SUCCEEDED = "auth.succeeded", Info, "gateway", "authentication succeeded";
    AUTH_FAILED = "auth.failed", Warn, "gateway", "authentication failed";
    AUTHZ_DENIED = "authz.denied", Warn, "channel", "not permitted";
    SESSION_STARTED = "session.started", Info, "gateway", "session started";
    SESSION_RESUMED = "session.resumed", Info, "gateway", "session resumed";
    SESSION_MOVED = "session.moved", Info, "gateway", "session goes on at another gateway";
    SESSIONS_NOT_KEPT = "sessions.not_kept", Warn, "gateway", "sessions cannot be kept in the cache: if the gateway dies, clients begin anew";
    SESSION_ENDED = "session.ended", Info, "gateway", "session ended";
    SESSION_INVALIDATED = "session.invalidated", Info, "gateway", "session cannot be resumed";
    ADMISSION_REFUSED = "admission.refused", Warn, "gateway", "client sent away: it may not open a session just now";
    SLOW_CONSUMER_CLOSED = "slow_consumer.closed", Warn, "gateway", "connection closed because its client reads too slowly";
    REQUEST_COMPLETED = "request.completed", Debug, "gateway", "request completed";
    REQUEST_FAILED = "request.failed", Error, "gateway", "request failed";

    MESSAGE_SENT = "message.sent", Info, "gateway", "message sent";
    MESSAGE_DELIVERED = "message.delivered", Info, "gateway", "message delivered";
    MESSAGE_DELIVERY_FAILED = "message.delivery_failed", Warn, "gateway", "message not delivered";
    MESSAGE_EDITED = "message.edited", Info, "channel", "message edited";
    MESSAGE_DELETED = "message.deleted", Info, "channel", "message deleted";
    FOLLOW_RESTARTED = "follow.restarted", Warn, "gateway", "log followed again";

    PRESENCE_GATEWAY_ATTENDS = "presence.gateway_attends", Info, "presence", "a gateway attends";
    PRESENCE_GATEWAY_LOST = "presence.gateway_lost", Warn, "presence", "a gateway is not heard of any more";
    PRESENCE_LEASE_EXPIRED = "presence.lease_expired", Warn, "presence", "a gateway's lease ran out; its users are offline";
    PRESENCE_RESTORED = "presence.restored", Info, "presence", "presences found in the cache";
    PRESENCE_NOT_KEPT = "presence.not_kept", Warn, "presence", "presences cannot be kept in the cache";
    PRESENCE_WATCHER_CUT_OFF = "presence.watcher_cut_off", Warn, "presence", "a gateway that reads too slowly was cut off";

    VOICE_JOINED = "voice.joined", Info, "voice", "a participant's media is connected";
    VOICE_TRANSPORT_CHANGED = "voice.transport_changed", Info, "voice", "a participant's media goes another way";
    VOICE_LEFT = "voice.left", Info, "voice", "a participant is gone";
    VOICE_REFUSED = "voice.refused", Warn, "voice", "an offer was refused";
    VOICE_QUALITY = "voice.quality", Info, "voice", "how well a participant hears and is heard";
    VOICE_WATCHER_CUT_OFF = "voice.watcher_cut_off", Warn, "voice", "a gateway that reads too slowly was cut off";
    PRESENCE_RECOVERED = "presence.recovered", Info, "gateway", "a presence server is attended";

    SLOT_TAKEN = "slot.taken", Info, "channel", "slot taken";
    SLOT_LOST = "slot.lost", Info, "channel", "slot released or lost";
    SLOT_FENCED = "slot.fenced", Warn, "channel", "slot given up because its epoch was raised";
    STORAGE_OPENED = "storage.opened", Info, "storage", "store opened";
    STORAGE_FAILED = "storage.failed", Error, "storage", "store failed", fatal = true;
    STORAGE_LOW = "storage.low", Warn, "storage", "disk has less room than it must have: sends are refused";
    STORAGE_RECOVERED = "storage.recovered", Info, "storage", "disk has room again: sends are accepted";
    CACHE_CONNECTED = "cache.connected", Info, "cache", "cache connected";
    CACHE_LOST = "cache.lost", Warn, "cache", "cache does not answer: what is kept there waits, nothing else does";
    QUERY_SLOW = "query.slow", Warn, "storage", "query slow";
    PLACE_HELD = "pool.place_held", Warn, "storage", "a request has held a place in the pool for very long";
    CIRCUIT_OPENED = "circuit.opened", Warn, "process", "requests are refused for a while: none is answered";
    CIRCUIT_CLOSED = "circuit.closed", Info, "process", "requests are made again";

    INDEX_BUILDING = "index.building", Warn, "search", "search index is built anew from the store";
    INDEX_READY = "index.ready", Info, "search", "search index is complete";
    INDEX_FAILED = "index.failed", Error, "search", "search index cannot be written";
    INDEX_RECOVERED = "index.recovered", Info, "search", "search index is written again";
    INDEX_REPAIRED = "index.repaired", Warn, "search", "search index differed from the store and was put right";

    ADMIN_ACTION = "admin.action", Info, "admin", "administrator acted";
    SECURITY_EVENT = "security.event", Warn, "security", "security event";
    TOKEN_ISSUED = "token.issued", Info, "security", "token issued";
    TOKEN_REVOKED = "token.revoked", Info, "security", "token revoked";
    TELEMETRY_FAILED = "telemetry.failed", Error, "telemetry", "spans cannot be exported";
}
