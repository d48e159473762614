//! How a request stays one trace across hops: the W3C header, what a client may send, what a peer sends.

use clarion_model::id::UserId;
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan;

use crate::json::SpanFields;
use crate::sampling;

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const USER_ID: HeaderName = HeaderName::from_static("x-user-id");
const CLIENT_TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");

/// Longer than any id anybody uses; what is longer is ignored.
const LONGEST_CLIENT_ID: usize = 128;

/// A place in a trace: which trace, under which span, kept or not. A value that may cross services; spans may not.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceContext(SpanContext);

/// What a client sent about its request.
#[derive(Debug, Clone)]
pub struct Origin {
    parent: TraceContext,
    client_trace_id: Option<String>,
    request_id: String,
}

/// What another service sent about its request; the server layer puts one into every request's extensions.
#[derive(Debug, Clone, Default)]
pub struct Remote {
    /// The caller's span.
    pub trace: TraceContext,
    /// The request it works for.
    pub request_id: Option<String>,
    /// The user it works for.
    pub user_id: Option<UserId>,
}

impl Default for TraceContext {
    fn default() -> Self {
        TraceContext(SpanContext::NONE)
    }
}

impl TraceContext {
    /// Of the current span.
    pub fn current() -> TraceContext {
        let current = Context::current();
        TraceContext(current.span().span_context().clone())
    }

    /// Of a span.
    pub fn of(span: &Span) -> TraceContext {
        TraceContext(span.context().span().span_context().clone())
    }

    /// From a `traceparent` header; nothing if it is not one.
    pub fn parse(traceparent: &str) -> Option<TraceContext> {
        let mut parts = traceparent.trim().split('-');
        let [version, trace, span, flags] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
        // A later version may have more parts; the first four stay what they are.
        let known = version == "00" && parts.next().is_none();
        if !(known || hex(version, 2) && version > "00" && version != "ff")
            || !hex(trace, 32)
            || !hex(span, 16)
            || !hex(flags, 2)
        {
            return None;
        }
        let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()? & TraceFlags::SAMPLED.to_u8());
        let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
        let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
        context.is_valid().then_some(TraceContext(context))
    }

    /// As a `traceparent` header; empty if there is no trace.
    pub fn traceparent(&self) -> String {
        if !self.exists() {
            return String::new();
        }
        format!("00-{}-{}-{:02x}", self.0.trace_id(), self.0.span_id(), u8::from(self.0.is_sampled()))
    }

    /// The trace's id in 32 hex digits.
    pub fn trace_id(&self) -> Option<String> {
        self.exists().then(|| self.0.trace_id().to_string())
    }

    /// The trace's id as it is kept.
    pub fn trace_id_bytes(&self) -> Option<[u8; 16]> {
        self.exists().then(|| self.0.trace_id().to_bytes())
    }

    /// The span's id in 16 hex digits.
    pub fn span_id(&self) -> Option<String> {
        self.exists().then(|| self.0.span_id().to_string())
    }

    /// Whether there is a trace at all.
    pub fn exists(&self) -> bool {
        self.0.is_valid()
    }

    /// Whether the trace is exported.
    pub fn is_sampled(&self) -> bool {
        self.0.is_sampled()
    }

    /// To link to it.
    pub(crate) fn span_context(&self) -> SpanContext {
        self.0.clone()
    }

    /// A parent for spans of this process.
    pub(crate) fn to_parent(&self) -> Context {
        let c = &self.0;
        Context::new().with_remote_span_context(SpanContext::new(
            c.trace_id(),
            c.span_id(),
            c.trace_flags(),
            true,
            c.trace_state().clone(),
        ))
    }

    /// A place in a trace of which only the id is given. A parent is needed to hand the id on, so a placeholder made
    /// from it stands in; [`placeholder`] tells who exports the root to forget it.
    fn adopted(trace: TraceId, sampled: bool) -> TraceContext {
        let flags = TraceFlags::NOT_SAMPLED.with_sampled(sampled);
        TraceContext(SpanContext::new(trace, placeholder(trace), flags, true, TraceState::NONE))
    }
}

/// The parent's id in a trace that was adopted by its id alone.
pub(crate) fn placeholder(trace: TraceId) -> SpanId {
    let bits = u128::from_be_bytes(trace.to_bytes());
    SpanId::from(((bits as u64) ^ (bits >> 64) as u64).max(1))
}

impl Origin {
    /// A request that begins its own trace.
    pub fn new_root(request_id: impl Into<String>) -> Origin {
        Origin { parent: TraceContext::default(), client_trace_id: None, request_id: request_id.into() }
    }

    /// What the headers say: `traceparent` wins over `X-Trace-ID`, of which 32 hex digits become the trace id and
    /// anything else printable is kept as an attribute. Invalid headers are ignored, and so is a client's opinion on
    /// whether its trace is worth keeping.
    pub fn from_headers(headers: &HeaderMap, sample_ratio: f64, request_id: impl Into<String>) -> Origin {
        let mut origin = Origin::new_root(request_id);
        if let Some(TraceContext(client)) = text(headers, &TRACEPARENT).and_then(TraceContext::parse) {
            let flags = TraceFlags::NOT_SAMPLED.with_sampled(sampling::keeps(sample_ratio, client.trace_id()));
            let span = SpanContext::new(client.trace_id(), client.span_id(), flags, true, TraceState::NONE);
            origin.parent = TraceContext(span);
        } else if let Some(id) = text(headers, &CLIENT_TRACE_ID).map(str::trim).filter(|id| !id.is_empty()) {
            match adoptable(id) {
                Some(trace) => origin.parent = TraceContext::adopted(trace, sampling::keeps(sample_ratio, trace)),
                None if id.len() <= LONGEST_CLIENT_ID => origin.client_trace_id = Some(id.to_owned()),
                None => {}
            }
        }
        origin
    }

    /// The id of the request.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    pub(crate) fn parent(&self) -> Option<&TraceContext> {
        self.parent.exists().then_some(&self.parent)
    }

    pub(crate) fn client_trace_id(&self) -> Option<&str> {
        self.client_trace_id.as_deref()
    }
}

impl Remote {
    /// What the headers of a peer say.
    pub fn from_headers(headers: &HeaderMap) -> Remote {
        Remote {
            trace: text(headers, &TRACEPARENT).and_then(TraceContext::parse).unwrap_or_default(),
            request_id: text(headers, &REQUEST_ID).filter(|id| id.len() <= LONGEST_CLIENT_ID).map(str::to_owned),
            user_id: text(headers, &USER_ID).and_then(|id| id.parse().ok()),
        }
    }

    /// What the current span says.
    pub fn of_current_span() -> Remote {
        let fields = current_fields();
        Remote {
            trace: TraceContext::current(),
            request_id: fields.request_id,
            user_id: fields.user_id.and_then(|id| id.parse().ok()),
        }
    }

    /// Writes it as headers of a request to a peer.
    pub fn inject(&self, headers: &mut HeaderMap) {
        let mut put = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        if self.trace.exists() {
            put(TRACEPARENT, &self.trace.traceparent());
        }
        if let Some(id) = &self.request_id {
            put(REQUEST_ID, id);
        }
        if let Some(id) = self.user_id {
            put(USER_ID, &id.to_string());
        }
    }
}

/// The ids recorded on the current span and those around it, the innermost first.
fn current_fields() -> SpanFields {
    let mut found = SpanFields::default();
    Span::current().with_subscriber(|(id, dispatch)| {
        let Some(registry) = dispatch.downcast_ref::<Registry>() else { return };
        let mut next = registry.span(id);
        while let Some(span) = next {
            if let Some(fields) = span.extensions().get::<SpanFields>() {
                found.fill_from(fields);
            }
            next = span.parent();
        }
    });
    found
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn adoptable(id: &str) -> Option<TraceId> {
    let lower = id.to_ascii_lowercase();
    if !hex(&lower, 32) {
        return None;
    }
    TraceId::from_hex(&lower).ok().filter(|id| *id != TraceId::INVALID)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_str(v).unwrap())).collect()
    }

    #[test]
    fn a_traceparent_comes_back_as_it_went() {
        assert_eq!(TraceContext::parse(PARENT).unwrap().traceparent(), PARENT);
        assert_eq!(TraceContext::default().traceparent(), "");
        let later = TraceContext::parse("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more").unwrap();
        assert_eq!(later.traceparent(), PARENT);
    }

    #[test]
    fn what_is_not_a_traceparent_is_nothing() {
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-+1",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_clients_traceparent_wins_and_its_flag_is_ignored() {
        let both = headers(&[("traceparent", PARENT), ("x-trace-id", "11111111111111111111111111111111")]);
        let kept = Origin::from_headers(&both, 1.0, "r");
        let dropped = Origin::from_headers(&both, 0.0, "r");
        assert_eq!(kept.parent().unwrap().traceparent(), PARENT);
        assert!(!dropped.parent().unwrap().is_sampled());
        let unsampled = headers(&[("traceparent", &PARENT.replace("-01", "-00"))]);
        assert!(Origin::from_headers(&unsampled, 1.0, "r").parent().unwrap().is_sampled());
    }

    #[test]
    fn a_clients_trace_id_is_adopted_or_kept_as_an_attribute() {
        let digits = Origin::from_headers(&headers(&[("x-trace-id", "0AF7651916CD43DD8448EB211C80319C")]), 1.0, "r");
        assert_eq!(digits.parent().unwrap().trace_id().unwrap(), "0af7651916cd43dd8448eb211c80319c");
        let word = Origin::from_headers(&headers(&[("x-trace-id", "my-own-id")]), 1.0, "r");
        assert_eq!((word.parent(), word.client_trace_id()), (None, Some("my-own-id")));
        for ignored in ["", "é", &"x".repeat(129)] {
            let origin = Origin::from_headers(&headers(&[("x-trace-id", ignored)]), 1.0, "r");
            assert_eq!((origin.parent(), origin.client_trace_id()), (None, None), "{ignored:?}");
        }
        let zero = Origin::from_headers(&headers(&[("x-trace-id", &"0".repeat(32))]), 1.0, "r");
        assert!(zero.parent().is_none());
    }

    #[test]
    fn an_invalid_traceparent_does_not_hide_a_trace_id() {
        let origin = Origin::from_headers(&headers(&[("traceparent", "junk"), ("x-trace-id", "mine")]), 1.0, "r");
        assert_eq!(origin.client_trace_id(), Some("mine"));
    }

    #[test]
    fn what_a_peer_is_told_it_reads() {
        let told = Remote {
            trace: TraceContext::parse(PARENT).unwrap(),
            request_id: Some("r-1".into()),
            user_id: Some(UserId(42)),
        };
        let mut headers = HeaderMap::new();
        told.inject(&mut headers);
        let read = Remote::from_headers(&headers);
        assert_eq!((read.trace, read.request_id, read.user_id), (told.trace, told.request_id, told.user_id));
    }
}
