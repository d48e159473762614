//! The traces of the last moments, kept in the process: what a laptop has instead of a collector.
//!
//! Bounded by traces and by spans a trace; what does not fit is counted.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanId, SpanKind, Status, TraceId};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

mod html;

/// The most spans one trace may keep.
const MOST_SPANS: usize = 512;

/// The ring; clones share it.
#[derive(Debug, Clone)]
pub struct RecentTraces(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    order: VecDeque<TraceId>,
    traces: HashMap<TraceId, Trace>,
    overflowed: u64,
}

#[derive(Debug, Default)]
struct Trace {
    spans: Vec<Arc<SpanRecord>>,
    overflowed: u64,
}

/// A finished span.
#[derive(Debug, Clone, Serialize)]
pub struct SpanRecord {
    /// The trace.
    #[serde(serialize_with = "as_text")]
    pub trace_id: TraceId,
    /// The span.
    #[serde(serialize_with = "as_text")]
    pub span_id: SpanId,
    /// The span around it, if there is one; it may be a client's, which is never seen here.
    #[serde(serialize_with = "as_optional_text", skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<SpanId>,
    /// Its name.
    pub name: String,
    /// `server`, `client`, `producer`, `consumer` or `internal`.
    pub kind: &'static str,
    /// The service that opened it.
    pub service: &'static str,
    /// The instance of the service.
    pub instance: Arc<str>,
    /// When it began.
    #[serde(serialize_with = "as_time")]
    pub start: SystemTime,
    /// How long it took.
    #[serde(rename = "duration_ms", serialize_with = "as_milliseconds")]
    pub duration: Duration,
    /// Whether it failed, and how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether it is exported.
    pub sampled: bool,
    /// What was said about it.
    #[serde(serialize_with = "as_map")]
    pub attributes: Vec<KeyValue>,
    /// Traces that it is linked to.
    #[serde(serialize_with = "as_texts", skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<TraceId>,
}

/// A trace in one line.
#[derive(Debug, Clone, Serialize)]
pub struct TraceSummary {
    /// The trace.
    #[serde(serialize_with = "as_text")]
    pub trace_id: TraceId,
    /// The name of its first span.
    pub root: String,
    /// What the first span says happened (`event_type`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// When it began.
    #[serde(serialize_with = "as_time")]
    pub start: SystemTime,
    /// From the begin of the first span to the end of the last.
    #[serde(rename = "duration_ms", serialize_with = "as_milliseconds")]
    pub duration: Duration,
    /// How many spans are kept.
    pub spans: usize,
    /// How many spans there was no room for.
    pub overflowed: u64,
    /// Who took part, in the order they appear.
    pub services: Vec<&'static str>,
    /// Whether a span failed.
    pub error: bool,
}

impl RecentTraces {
    pub(crate) fn new(most: usize) -> RecentTraces {
        RecentTraces(Arc::new(Shared { most, ring: Mutex::default() }))
    }

    /// Whether anything is kept at all.
    pub(crate) fn is_kept(&self) -> bool {
        self.0.most > 0
    }

    /// Keeps a span; false if its trace is full.
    pub(crate) fn record(&self, span: SpanRecord) -> bool {
        let mut guard = self.0.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = &mut *guard;
        let id = span.trace_id;
        let trace = ring.traces.entry(id).or_insert_with(|| {
            ring.order.push_back(id);
            Trace::default()
        });
        let fits = trace.spans.len() < MOST_SPANS;
        if fits {
            trace.spans.push(Arc::new(span));
        } else {
            trace.overflowed += 1;
            ring.overflowed += 1;
        }
        // What is forgotten is freed after the lock.
        let oldest = if ring.order.len() > self.0.most { ring.order.pop_front() } else { None };
        let forgotten = oldest.and_then(|id| ring.traces.remove(&id));
        drop(guard);
        drop(forgotten);
        fits
    }

    /// Every trace, the newest first.
    pub fn list(&self) -> Vec<TraceSummary> {
        let kept: Vec<_> = {
            let ring = self.0.ring.lock().unwrap_or_else(PoisonError::into_inner);
            let newest_first = ring.order.iter().rev();
            newest_first.filter_map(|id| ring.traces.get(id)).map(|t| (t.spans.clone(), t.overflowed)).collect()
        };
        kept.into_iter().filter_map(|(spans, overflowed)| TraceSummary::new(&spans, overflowed)).collect()
    }

    /// The spans of a trace in the order they began; nothing if it is not kept.
    pub fn get(&self, trace_id: &str) -> Option<Vec<SpanRecord>> {
        let id = TraceId::from_hex(trace_id).ok()?;
        let spans = self.0.ring.lock().unwrap_or_else(PoisonError::into_inner).traces.get(&id)?.spans.clone();
        Some(in_order(spans))
    }

    /// Every kept span, in the order they began.
    pub fn spans(&self) -> Vec<SpanRecord> {
        let ring = self.0.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let spans = ring.traces.values().flat_map(|trace| trace.spans.iter().cloned()).collect();
        drop(ring);
        in_order(spans)
    }

    /// How many spans there was no room for in their traces.
    pub fn overflowed(&self) -> u64 {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner).overflowed
    }

    /// A page with every trace.
    pub fn html_list(&self) -> String {
        html::list(&self.list(), self.0.most)
    }

    /// A page with one trace; nothing if it is not kept.
    pub fn html_trace(&self, trace_id: &str) -> Option<String> {
        let spans = self.get(trace_id)?;
        let id = TraceId::from_hex(trace_id).ok()?;
        let overflowed = self.0.ring.lock().unwrap_or_else(PoisonError::into_inner).traces.get(&id)?.overflowed;
        html::trace(&spans, overflowed, &self.linked_to(id))
    }

    /// The traces with a span that is linked to this one, the newest first.
    pub fn linked_to(&self, id: TraceId) -> Vec<TraceId> {
        let ring = self.0.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let is_linked = |trace: &Trace| trace.spans.iter().any(|span| span.links.contains(&id));
        ring.order.iter().rev().filter(|other| ring.traces.get(other).is_some_and(is_linked)).copied().collect()
    }
}

fn in_order(mut spans: Vec<Arc<SpanRecord>>) -> Vec<SpanRecord> {
    spans.sort_by_key(|span| span.start);
    spans.into_iter().map(Arc::unwrap_or_clone).collect()
}

impl SpanRecord {
    pub(crate) fn new(data: &SpanData, service: &'static str, instance: Arc<str>) -> SpanRecord {
        SpanRecord {
            trace_id: data.span_context.trace_id(),
            span_id: data.span_context.span_id(),
            parent_id: Some(data.parent_span_id).filter(|id| *id != SpanId::INVALID),
            name: data.name.clone().into_owned(),
            kind: match data.span_kind {
                SpanKind::Server => "server",
                SpanKind::Client => "client",
                SpanKind::Producer => "producer",
                SpanKind::Consumer => "consumer",
                SpanKind::Internal => "internal",
            },
            service,
            instance,
            start: data.start_time,
            duration: data.end_time.duration_since(data.start_time).unwrap_or_default(),
            error: match &data.status {
                Status::Error { description } => Some(description.to_string()),
                _ => None,
            },
            sampled: data.span_context.is_sampled(),
            attributes: data.attributes.clone(),
            links: data.links.iter().map(|link| link.span_context.trace_id()).collect(),
        }
    }

    /// An attribute as text.
    pub fn attribute(&self, name: &str) -> Option<String> {
        self.attributes.iter().find(|a| a.key.as_str() == name).map(|a| a.value.to_string())
    }

    /// When it ended.
    pub fn end(&self) -> SystemTime {
        self.start + self.duration
    }
}

impl TraceSummary {
    fn new(spans: &[Arc<SpanRecord>], overflowed: u64) -> Option<TraceSummary> {
        let start = spans.iter().map(|s| s.start).min()?;
        let end = spans.iter().map(|s| s.end()).max()?;
        let mut ordered: Vec<_> = spans.iter().collect();
        ordered.sort_by_key(|s| s.start);
        let known: HashSet<_> = spans.iter().map(|s| s.span_id).collect();
        let root = ordered.iter().find(|s| !s.parent_id.is_some_and(|id| known.contains(&id)))?;
        let mut services = Vec::new();
        for span in &ordered {
            if !services.contains(&span.service) {
                services.push(span.service);
            }
        }
        Some(TraceSummary {
            trace_id: root.trace_id,
            root: root.name.clone(),
            event_type: root.attribute("event_type"),
            start,
            duration: end.duration_since(start).unwrap_or_default(),
            spans: spans.len(),
            overflowed,
            services,
            error: spans.iter().any(|s| s.error.is_some()),
        })
    }
}

fn as_text<S: Serializer>(value: &impl std::fmt::Display, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

fn as_texts<S: Serializer>(values: &[TraceId], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(values.iter().map(TraceId::to_string))
}

fn as_optional_text<S: Serializer>(value: &Option<SpanId>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(id) => to.collect_str(id),
        None => to.serialize_none(),
    }
}

fn as_time<S: Serializer>(value: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&time(*value))
}

fn as_milliseconds<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(value.as_nanos() as f64 / 1e6)
}

fn as_map<S: Serializer>(attributes: &[KeyValue], to: S) -> Result<S::Ok, S::Error> {
    let mut map = to.serialize_map(Some(attributes.len()))?;
    for attribute in attributes {
        let key = attribute.key.as_str();
        match &attribute.value {
            Value::Bool(value) => map.serialize_entry(key, value)?,
            Value::I64(value) => map.serialize_entry(key, value)?,
            Value::F64(value) => map.serialize_entry(key, value)?,
            other => map.serialize_entry(key, other.as_str().as_ref())?,
        }
    }
    map.end()
}

/// RFC 3339 in UTC, to the microsecond.
fn time(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).map(|at| format!("{at:.6}")).unwrap_or_default()
}
