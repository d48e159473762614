//! Where a span goes when it ends: into the ring of recent traces, and to the collector if its trace is kept.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::SpanId;
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanProcessor};

use crate::metric::TelemetryMetrics;
use crate::propagation::placeholder;
use crate::recent::{RecentTraces, SpanRecord};
use crate::span;

/// The longest a finished span waits for its batch.
const EXPORT_DELAY: Duration = Duration::from_millis(500);

/// The one span processor of a service: two would copy every span.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) service: &'static str,
    pub(crate) instance: Arc<str>,
    pub(crate) recent: RecentTraces,
    pub(crate) collector: Option<BatchSpanProcessor>,
    pub(crate) metrics: TelemetryMetrics,
}

/// A batching exporter to a collector. Its connection lives on the current tokio runtime.
pub(crate) fn collector(endpoint: &str) -> Result<BatchSpanProcessor, ExporterBuildError> {
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    let config = BatchConfigBuilder::default().with_scheduled_delay(EXPORT_DELAY).build();
    Ok(BatchSpanProcessor::builder(exporter).with_batch_config(config).build())
}

impl SpanProcessor for Pipeline {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, mut data: SpanData) {
        self.metrics.spans_ended.increment(1);
        if data.parent_span_is_remote && data.parent_span_id == placeholder(data.span_context.trace_id()) {
            data.parent_span_id = SpanId::INVALID;
            data.parent_span_is_remote = false;
        }
        if span::measures_itself(&data.name) && !data.attributes.iter().any(|a| a.key.as_str() == span::DURATION) {
            let lasted = data.end_time.duration_since(data.start_time).unwrap_or_default();
            data.attributes.push(KeyValue::new(span::DURATION, lasted.as_secs_f64()));
        }
        if self.recent.is_kept() {
            let record = SpanRecord::new(&data, self.service, self.instance.clone());
            if !self.recent.record(record) {
                self.metrics.spans_overflowed.increment(1);
            }
        }
        if let Some(collector) = self.collector.as_ref().filter(|_| data.span_context.is_sampled()) {
            collector.on_end(data);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.collector.as_ref().map_or(Ok(()), SpanProcessor::force_flush)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.collector.as_ref().map_or(Ok(()), |collector| collector.shutdown_with_timeout(timeout))
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(collector) = &mut self.collector {
            collector.set_resource(resource);
        }
    }
}
