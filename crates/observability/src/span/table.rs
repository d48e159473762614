//! Every span with its attributes, as the documentation and the checks read them.

/// A span's name, who opens it, and its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanInfo {
    /// `gateway.receive`.
    pub name: &'static str,
    /// The service that opens it.
    pub service: &'static str,
    /// The kind of the data model.
    pub kind: &'static str,
    /// What it can carry.
    pub attributes: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

/// Every span of the product.
pub const ALL: &[SpanInfo] = &[
    SpanInfo {
        name: "gateway.receive",
        service: "gateway",
        kind: "server",
        attributes: &["event_type", "request_id", "user_id", "session_id", "client.trace_id"],
        help: "A client's request or frame, from its last byte to the answer.",
    },
    SpanInfo {
        name: "gateway.authenticate",
        service: "gateway",
        kind: "internal",
        attributes: &["auth_method", "success"],
        help: "Who the client is.",
    },
    SpanInfo {
        name: "channel.route",
        service: "gateway, router",
        kind: "client, internal",
        attributes: &["channel_id", "cached", "target_server"],
        help: "Which channel server owns a channel; internal when the answer was at hand.",
    },
    SpanInfo {
        name: "channel.process",
        service: "channel",
        kind: "server",
        attributes: &["channel_id", "member_count", "request_id", "user_id"],
        help: "A command in its channel server: permission, order, durability.",
    },
    SpanInfo {
        name: "channel.fanout",
        service: "channel",
        kind: "producer",
        attributes: &["channel_id", "recipient_count", "duration"],
        help: "One event handed to every gateway that follows.",
    },
    SpanInfo {
        name: "gateway.deliver",
        service: "gateway",
        kind: "consumer",
        attributes: &["event_type", "recipient_count", "failed_count", "duration"],
        help: "One event written to the sockets of one gateway: an aggregate, never a span a socket.",
    },
    SpanInfo {
        name: "search.index",
        service: "search",
        kind: "consumer",
        attributes: &["message_count"],
        help: "A batch of messages made findable; linked to the traces of those who sent them.",
    },
    SpanInfo {
        name: "search.query",
        service: "search",
        kind: "server",
        attributes: &["query", "result_count", "request_id", "user_id"],
        help: "A search, from the question to the ids of what was found.",
    },
    SpanInfo {
        name: "db.query",
        service: "every service with a store",
        kind: "client",
        attributes: &["query_type", "table", "duration"],
        help: "A read of the store, for a request.",
    },
    SpanInfo {
        name: "db.write",
        service: "every service with a store",
        kind: "client",
        attributes: &["query_type", "table", "duration"],
        help: "A write to the store, until it is durable.",
    },
    SpanInfo {
        name: "cache.lookup",
        service: "every service with a cache",
        kind: "client",
        attributes: &["key", "result"],
        help: "A read of the cache.",
    },
    SpanInfo {
        name: "presence.update",
        service: "presence",
        kind: "server",
        attributes: &["user_id", "recipient_count"],
        help: "A client's own change of its presence, until every gateway that watches is told.",
    },
    SpanInfo {
        name: "voice.join",
        service: "voice",
        kind: "server",
        attributes: &["channel_id", "user_id", "session_id", "transport"],
        help: "A participant's way into a room, from its offer to its first packet of media; in the trace of its admission.",
    },
    SpanInfo {
        name: "voice.answer",
        service: "voice",
        kind: "internal",
        attributes: &[],
        help: "The answer to an offer.",
    },
    SpanInfo {
        name: "voice.ice",
        service: "voice",
        kind: "internal",
        attributes: &[],
        help: "From the answer to the client's first check that is authentic.",
    },
    SpanInfo {
        name: "voice.dtls",
        service: "voice",
        kind: "internal",
        attributes: &[],
        help: "The handshake, until there are keys.",
    },
    SpanInfo {
        name: "voice.first_rtp",
        service: "voice",
        kind: "internal",
        attributes: &[],
        help: "From the keys to the first packet of media, either way. Ends unheard after ten seconds of silence.",
    },
    SpanInfo {
        name: "voice.place",
        service: "router",
        kind: "server",
        attributes: &["channel_id", "target_server", "request_id", "user_id"],
        help: "On which voice server a room is.",
    },
    SpanInfo {
        name: "voice.admit",
        service: "gateway",
        kind: "client",
        attributes: &["channel_id", "session_id", "target_server"],
        help: "A session is let into a room: placed, admitted, and told where to go.",
    },
];

/// Every attribute and what it says.
pub const ATTRIBUTES: &[(&str, &str)] = &[
    ("event_type", "The opcode, dispatch or route a span is about."),
    ("request_id", "The request, the same in every service."),
    ("user_id", "Who asked."),
    ("session_id", "The gateway session it came by."),
    ("client.trace_id", "An `X-Trace-ID` of the client that is not a trace id."),
    ("auth_method", "How a client proves who it is."),
    ("success", "Whether the authentication succeeded."),
    ("transport", "What carries the media: `udp` or `tcp`."),
    ("channel_id", "The channel."),
    ("cached", "Whether the answer was at hand."),
    ("target_server", "The channel server that owns the channel."),
    ("member_count", "How many can read the channel."),
    (
        "recipient_count",
        "Of a fan-out or a presence: gateways that follow or watch. Of a delivery: sessions that should have it.",
    ),
    ("failed_count", "Sessions that did not get it."),
    ("query_type", "What was asked of the store."),
    ("table", "The keyspace or table it is about."),
    ("message_count", "How many messages."),
    ("query", "The shape of a search: how many words and which filters, never what was looked for."),
    ("result_count", "How many messages match a search."),
    ("key", "What kind of key was looked up; never the key itself."),
    ("result", "`hit` or `miss`."),
    ("duration", "How long it took, in seconds."),
    ("error.type", "Why it failed; the same bounded types as in metrics."),
];
