//! A receiver of OTLP, and what it was sent: traces as whoever exports to a collector would find them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use tokio_stream::wrappers::TcpListenerStream;

use crate::PATIENCE;

/// A span, as it was exported.
#[derive(Debug, Clone)]
pub struct Span {
    /// The trace, in hexadecimal digits.
    pub trace: String,
    /// The span, in hexadecimal digits.
    pub id: String,
    /// The span that it is in.
    pub parent: String,
    /// What is done in it.
    pub name: String,
    /// Who did it.
    pub service: String,
    /// Which one of them.
    pub instance: String,
    /// When it began, since 1970.
    pub began: Duration,
    /// How long it took.
    pub took: Duration,
    attributes: Vec<KeyValue>,
}

/// Collects what is exported. A clone is the same one.
#[derive(Clone, Default)]
pub struct Receiver(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.map(|r| r.attributes).unwrap_or_default();
            let (service, instance) = (text(&attributes, "service.name"), text(&attributes, "service.instance.id"));
            for span in resource.scope_spans.into_iter().flat_map(|s| s.spans) {
                spans.push(Span {
                    trace: hex(&span.trace_id),
                    id: hex(&span.span_id),
                    parent: hex(&span.parent_span_id),
                    name: span.name,
                    service: service.clone(),
                    instance: instance.clone(),
                    began: Duration::from_nanos(span.start_time_unix_nano),
                    took: Duration::from_nanos(span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano)),
                    attributes: span.attributes,
                });
            }
        }
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Receiver {
    /// Listens on a free port, for as long as the test's runtime.
    #[allow(clippy::disallowed_methods, reason = "a test is no service: its tasks end with it")]
    pub async fn start() -> anyhow::Result<(Self, SocketAddr)> {
        let receiver = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let service = TraceServiceServer::new(receiver.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::task::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Ok((receiver, address))
    }

    /// All that came so far.
    pub fn spans(&self) -> Vec<Span> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The spans of a trace, once there are as many as expected.
    pub async fn trace(&self, id: &str, count: usize) -> anyhow::Result<Vec<Span>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut spans = self.spans();
            spans.retain(|s| s.trace == id);
            if spans.len() >= count {
                return Ok(spans);
            }
            if Instant::now() > deadline {
                bail!("{} of {count} spans came: {spans:#?}", spans.len());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Span {
    /// An attribute as text; empty where it is not there.
    pub fn text(&self, key: &str) -> String {
        text(&self.attributes, key)
    }
}

/// Each span as `name@instance < parent's name@instance`, sorted.
pub fn edges(spans: &[Span]) -> Vec<String> {
    let name = |s: &Span| format!("{}@{}", s.name, s.instance);
    let mut edges: Vec<String> = spans
        .iter()
        .map(|s| {
            let parent = spans.iter().find(|p| p.id == s.parent);
            format!("{} < {}", name(s), parent.map_or_else(|| "-".to_owned(), name))
        })
        .collect();
    edges.sort();
    edges
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let value = attributes.iter().find(|a| a.key == key).and_then(|a| a.value.as_ref()?.value.as_ref());
    match value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        Some(Value::IntValue(number)) => number.to_string(),
        _ => String::new(),
    }
}
