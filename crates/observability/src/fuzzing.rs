//! What fuzzing sends through this crate: the headers that say where in a trace a request stands.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::propagation::{Origin, Remote, TraceContext};

/// Headers, one a line. What a client says is taken up or it is not, and is never longer than it may be; what a peer says
/// is said on as it was.
pub fn trace_headers(data: &[u8]) {
    let headers = headers(data);
    for ratio in [0.0, 1.0] {
        let origin = Origin::from_headers(&headers, ratio, "request");
        assert_eq!(origin.request_id(), "request");
        if let Some(parent) = origin.parent() {
            assert!(parent.exists());
            assert_eq!(parent.is_sampled(), ratio == 1.0, "whether a trace is kept is not the client's to say");
            assert_eq!(parent.span_context().trace_state().header(), "");
            same(parent);
        }
        assert!(origin.client_trace_id().is_none_or(|id| (1..=128).contains(&id.len()) && id.is_ascii()));
    }
    let remote = Remote::from_headers(&headers);
    let mut told = HeaderMap::new();
    remote.inject(&mut told);
    let read = Remote::from_headers(&told);
    assert_eq!((&read.trace, &read.request_id, read.user_id), (&remote.trace, &remote.request_id, remote.user_id));
    if let Some(context) = std::str::from_utf8(data).ok().and_then(TraceContext::parse) {
        same(&context);
    }
}

fn same(context: &TraceContext) {
    let read = TraceContext::parse(&context.traceparent()).expect("what is written is read");
    assert_eq!((read.trace_id(), read.span_id()), (context.trace_id(), context.span_id()));
    assert_eq!(read.is_sampled(), context.is_sampled());
}

fn headers(data: &[u8]) -> HeaderMap {
    let lines = data.split(|byte| *byte == b'\n').take(64);
    let header = |line: &[u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
    };
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(header) {
        headers.append(name, value);
    }
    headers
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_kept_is_decoded() {
        clarion_corpus::replay("trace_headers", super::trace_headers);
    }
}
