//! The spans: functions with typed arguments. One message sent is one trace:
//!
//! ```text
//! gateway.receive
//! ├─ gateway.authenticate
//! ├─ channel.route
//! └─ channel.process
//!    ├─ db.write
//!    └─ channel.fanout
//!       └─ gateway.deliver      one on every gateway with recipients
//! ```
//!
//! `search.index` is a trace of its own, linked to those of the messages that it put into the index.
//!
//! A span ends when it is left for the last time, or when it is dropped if it was never entered: instrument the future
//! that does the work, or hold the span over the work without entering it, but do not mix the two.

mod table;

use std::time::Duration;

use clarion_model::id::{ChannelId, UserId};
use opentelemetry::Context;
use opentelemetry::trace::Status;
use tracing::field::{Empty, display};
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::metric::{Label, MediaTransport};
use crate::propagation::{Origin, Remote, TraceContext};

pub use table::{ALL, ATTRIBUTES, SpanInfo};

/// The target of every span and log event of the vocabulary.
pub(crate) const TARGET: &str = "clarion";

/// The attribute that holds how long something took, in seconds.
pub(crate) const DURATION: &str = "duration";

/// How many traces one span is linked to at most; exporters drop what is more.
pub const MOST_LINKS: usize = 128;

/// A client's request or frame. The user is recorded when it is known.
pub fn gateway_receive(from: &Origin, event_type: &'static str) -> Span {
    let span = info_span!(target: TARGET, parent: None, "gateway.receive", otel.kind = "server", event_type, request_id = from.request_id(),
        user_id = Empty, session_id = Empty, client.trace_id = from.client_trace_id());
    // No parent at all, not even one this thread happens to be in: a client's request begins or continues its own trace.
    begin(span, from.parent().map_or_else(Context::new, TraceContext::to_parent))
}

/// Says whose request it is.
pub fn record_user(span: &Span, user: UserId) {
    span.record("user_id", display(user));
}

/// Says which session it belongs to.
pub fn record_session(span: &Span, session: &str) {
    span.record("session_id", session);
}

/// Who the client is; how it ends is said by [`authenticated`].
pub fn gateway_authenticate(auth_method: &'static str) -> Span {
    info_span!(target: TARGET, "gateway.authenticate", otel.kind = "internal", auth_method, success = Empty)
}

/// Says how an authentication ended.
pub fn authenticated(span: &Span, success: bool) {
    span.record("success", success);
}

/// Which channel server owns a channel. Its parent is the given one, else the current span.
pub fn channel_route(parent: Option<&TraceContext>, channel_id: ChannelId, cached: bool) -> Span {
    let kind = if cached { "internal" } else { "client" };
    let span = info_span!(target: TARGET, "channel.route", otel.kind = kind, channel_id = %channel_id, cached, target_server = Empty);
    match parent.filter(|parent| parent.exists()) {
        Some(parent) => begin(span, parent.to_parent()),
        None => span,
    }
}

/// Says where a request was routed to.
pub fn routed(span: &Span, target_server: &str) {
    span.record("target_server", target_server);
}

/// A command in its channel server.
pub fn channel_process(from: &Remote, channel_id: ChannelId, member_count: usize) -> Span {
    let span = info_span!(target: TARGET, parent: None, "channel.process", otel.kind = "server", channel_id = %channel_id, member_count,
        request_id = from.request_id.as_deref(), user_id = from.user_id.map(display));
    begin(span, from.trace.to_parent())
}

/// Says how many members a channel has, once known.
pub fn record_members(span: &Span, member_count: usize) {
    span.record("member_count", member_count);
}

/// One event handed to every follower. A child of the current span.
pub fn channel_fanout(channel_id: ChannelId, recipient_count: usize) -> Span {
    info_span!(target: TARGET, "channel.fanout", otel.kind = "producer", channel_id = %channel_id, recipient_count)
}

/// One event written to the sockets of this gateway; how it went is said by [`delivered`].
pub fn gateway_deliver(parent: &TraceContext, event_type: &'static str) -> Span {
    let span = info_span!(target: TARGET, parent: None, "gateway.deliver", otel.kind = "consumer", event_type,
        recipient_count = Empty, failed_count = Empty, duration = Empty);
    begin(span, parent.to_parent())
}

/// Says how a delivery went.
pub fn delivered(span: &Span, recipients: usize, failed: usize, duration: Duration) {
    span.record("recipient_count", recipients);
    span.record("failed_count", failed);
    span.record(DURATION, duration.as_secs_f64());
}

/// A batch of messages made findable, and the traces in which they were sent; more than [`MOST_LINKS`] are left out.
pub fn search_index(sent: &[TraceContext], message_count: usize) -> Span {
    let span = info_span!(target: TARGET, parent: None, "search.index", otel.kind = "consumer", message_count);
    for trace in sent.iter().filter(|trace| trace.exists()).take(MOST_LINKS) {
        span.add_link(trace.span_context());
    }
    begin(span, Context::new())
}

/// A search; what it found is said by [`found`].
pub fn search_query(from: &Remote, query: &str) -> Span {
    let span = info_span!(target: TARGET, parent: None, "search.query", otel.kind = "server", query, result_count = Empty,
        request_id = from.request_id.as_deref(), user_id = from.user_id.map(display));
    begin(span, from.trace.to_parent())
}

/// Says how many messages match.
pub fn found(span: &Span, result_count: u64) {
    span.record("result_count", result_count);
}

/// A read of the store. A child of the current span; without one nobody asked for it, and it is no span.
pub fn db_query(query_type: &'static str, table: &'static str) -> Span {
    if !TraceContext::current().exists() {
        return Span::none();
    }
    info_span!(target: TARGET, "db.query", otel.kind = "client", query_type, table)
}

/// A write to the store. A child of the current span; without one nobody asked for it, and it is no span.
pub fn db_write(query_type: &'static str, table: &'static str) -> Span {
    if !TraceContext::current().exists() {
        return Span::none();
    }
    info_span!(target: TARGET, "db.write", otel.kind = "client", query_type, table)
}

/// A read of the cache; what came of it is said by [`looked_up`]. `key` is a kind of key.
pub fn cache_lookup(key: &'static str) -> Span {
    info_span!(target: TARGET, "cache.lookup", otel.kind = "client", key, result = Empty)
}

/// Says whether something was in the cache.
pub fn looked_up(span: &Span, hit: bool) {
    span.record("result", if hit { "hit" } else { "miss" });
}

/// A client's change of its presence in the presence server; whom it was told to is said by [`presence_told`].
pub fn presence_update(parent: &TraceContext, user: UserId) -> Span {
    let span = info_span!(target: TARGET, parent: None, "presence.update", otel.kind = "server", user_id = %user,
        recipient_count = Empty);
    begin(span, parent.to_parent())
}

/// Says how many gateways were told of a presence.
pub fn presence_told(span: &Span, recipients: usize) {
    span.record("recipient_count", recipients);
}

/// A participant's way into a voice room, in the trace of its admission.
pub fn voice_join(admission: &TraceContext, channel: ChannelId, user: UserId, session: &str) -> Span {
    let span = info_span!(target: TARGET, parent: None, "voice.join", otel.kind = "server", channel_id = %channel,
        user_id = %user, session_id = session, transport = Empty);
    begin(span, admission.to_parent())
}

/// Says what carries the media of a participant that joins.
pub fn carried(join: &Span, transport: MediaTransport) {
    join.record("transport", transport.as_str());
}

/// The answer to an offer; a part of the join.
pub fn voice_answer(join: &Span) -> Span {
    info_span!(target: TARGET, parent: join, "voice.answer", otel.kind = "internal")
}

/// The wait for a check; a part of the join.
pub fn voice_ice(join: &Span) -> Span {
    info_span!(target: TARGET, parent: join, "voice.ice", otel.kind = "internal")
}

/// The handshake; a part of the join.
pub fn voice_dtls(join: &Span) -> Span {
    info_span!(target: TARGET, parent: join, "voice.dtls", otel.kind = "internal")
}

/// The wait for media; a part of the join.
pub fn voice_first_rtp(join: &Span) -> Span {
    info_span!(target: TARGET, parent: join, "voice.first_rtp", otel.kind = "internal")
}

/// On which voice server a room is; where is said by [`routed`].
pub fn voice_place(from: &Remote, channel_id: ChannelId) -> Span {
    let span = info_span!(target: TARGET, parent: None, "voice.place", otel.kind = "server", channel_id = %channel_id,
        target_server = Empty, request_id = from.request_id.as_deref(), user_id = from.user_id.map(display));
    begin(span, from.trace.to_parent())
}

/// A session is let into a room, because of what was told in `parent`; where is said by [`routed`].
pub fn voice_admit(parent: &TraceContext, channel_id: ChannelId, session_id: &str) -> Span {
    let span = info_span!(target: TARGET, parent: None, "voice.admit", otel.kind = "client", channel_id = %channel_id,
        session_id, target_server = Empty);
    begin(span, parent.to_parent())
}

/// Says that what a span stands for failed, and why.
pub fn fail(span: &Span, error_type: &'static str) {
    span.set_status(Status::error(error_type));
    span.set_attribute("error.type", error_type);
}

/// Runs something as a part of a trace without a span of its own: its log lines carry the trace, its spans join it.
pub fn in_trace<T>(trace: &TraceContext, f: impl FnOnce() -> T) -> T {
    let _attached = trace.to_parent().attach();
    f()
}

/// Whether how long a span took is also one of its attributes.
pub(crate) fn measures_itself(name: &str) -> bool {
    matches!(name, "channel.fanout" | "gateway.deliver" | "db.query" | "db.write")
}

/// Gives a span that has not begun its parent.
fn begin(span: Span, parent: Context) -> Span {
    // It fails without a layer for spans, and then there is nothing to give a parent to.
    let _ = span.set_parent(parent);
    span
}
