//! The log line: one JSON object of an event, the service it happened in and the span around it.

use std::fmt::{self, Write as _};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::Context as OtelContext;
use opentelemetry::trace::TraceContextExt;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::config::ClientIpPolicy;
use crate::lines::RecentLines;
use crate::log::Level as Severity;
use crate::metric::TelemetryMetrics;
use crate::redact::ClientIp;
use crate::span::TARGET;

/// The most a library's message may take of a line.
const LONGEST_FOREIGN: usize = 512;

/// Where a process's lines go.
pub(crate) struct Output(Mutex<Box<dyn Write + Send>>);

impl Output {
    pub(crate) fn new(to: Box<dyn Write + Send>) -> Output {
        Output(Mutex::new(to))
    }

    fn write(&self, line: &str) -> std::io::Result<()> {
        let mut to = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        to.write_all(line.as_bytes())?;
        to.flush()
    }
}

/// The ids a span carries for the lines and the calls inside it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SpanFields {
    pub(crate) request_id: Option<String>,
    pub(crate) user_id: Option<String>,
    session_id: Option<String>,
    channel_id: Option<String>,
}

impl SpanFields {
    pub(crate) fn fill_from(&mut self, outer: &SpanFields) {
        let SpanFields { request_id, user_id, session_id, channel_id } = outer;
        for (mine, theirs) in [
            (&mut self.request_id, request_id),
            (&mut self.user_id, user_id),
            (&mut self.session_id, session_id),
            (&mut self.channel_id, channel_id),
        ] {
            if mine.is_none() {
                mine.clone_from(theirs);
            }
        }
    }

    fn named(&mut self, name: &str) -> Option<&mut Option<String>> {
        match name {
            "request_id" => Some(&mut self.request_id),
            "user_id" => Some(&mut self.user_id),
            "session_id" => Some(&mut self.session_id),
            "channel_id" => Some(&mut self.channel_id),
            _ => None,
        }
    }
}

impl Visit for SpanFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if let Some(slot) = self.named(field.name()) {
            *slot = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if let Some(slot) = self.named(field.name()) {
            *slot = Some(format!("{value:?}"));
        }
    }
}

/// Writes the lines of one service.
pub(crate) struct JsonLayer {
    /// `"service":…,"instance_id":…,"environment":…,"pid":…`, the same on every line.
    pub(crate) head: String,
    pub(crate) client_ip: ClientIpPolicy,
    pub(crate) fatal_only: Arc<AtomicBool>,
    pub(crate) output: Arc<Output>,
    pub(crate) recent: RecentLines,
    pub(crate) metrics: TelemetryMetrics,
}

/// The part of every line that says who writes it.
pub(crate) fn head(service: &str, instance: &str, environment: &str) -> String {
    let mut head = String::new();
    for (name, value) in [("service", service), ("instance_id", instance), ("environment", environment)] {
        text(&mut head, name, value);
    }
    number(&mut head, "pid", std::process::id());
    head
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for JsonLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        let mut fields = SpanFields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<SpanFields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let own = event.metadata().target() == TARGET;
        // A library's details may hold what must not be written; its warnings are worth a line.
        if !own && *event.metadata().level() > Level::WARN {
            return;
        }
        let mut parts = Parts { own, client_ip: self.client_ip, ..Parts::default() };
        event.record(&mut parts);
        if self.fatal_only.load(Ordering::Relaxed) && !parts.fatal {
            return;
        }
        let mut around = SpanFields::default();
        let mut next = ctx.event_span(event);
        while let Some(span) = next {
            if let Some(fields) = span.extensions().get::<SpanFields>() {
                around.fill_from(fields);
            }
            next = span.parent();
        }
        let line = self.line(event, parts, around);
        self.recent.keep(severity(*event.metadata().level()), &line);
        match self.output.write(&line) {
            Ok(()) => self.metrics.log_lines.increment(1),
            Err(_) => self.metrics.log_lines_lost.increment(1),
        }
    }
}

impl JsonLayer {
    fn line(&self, event: &Event<'_>, parts: Parts, around: SpanFields) -> String {
        let mut line = String::with_capacity(384);
        text(&mut line, "timestamp", &now());
        text(&mut line, "level", if parts.fatal { "CRITICAL" } else { event.metadata().level().as_str() });
        line.push(',');
        line.push_str(&self.head);
        let otel = OtelContext::current();
        let span = otel.span();
        if span.span_context().is_valid() {
            text(&mut line, "trace_id", &span.span_context().trace_id().to_string());
            text(&mut line, "span_id", &span.span_context().span_id().to_string());
        }
        let target = event.metadata().target();
        text(&mut line, "event", if parts.own { &parts.event } else { "library" });
        text(&mut line, "message", &parts.message);
        text(&mut line, "component", if parts.own { &parts.component } else { target });
        let SpanFields { request_id, user_id, session_id, channel_id } = around;
        for (name, value) in
            [("request_id", request_id), ("user_id", user_id), ("session_id", session_id), ("channel_id", channel_id)]
        {
            if let Some(value) = value.filter(|_| !parts.given.contains(&name)) {
                text(&mut line, name, &value);
            }
        }
        if !parts.rest.is_empty() {
            line.push(',');
            line.push_str(&parts.rest);
        }
        if let Some(kind) = &parts.error_type {
            line.push_str(",\"error\":{");
            let mut error = String::new();
            text(&mut error, "type", kind);
            if let Some(stack) = &parts.error_stack {
                text(&mut error, "stack", stack);
            }
            line.push_str(&error);
            line.push('}');
        }
        if parts.fatal {
            line.push_str(",\"fatal\":true");
        }
        format!("{{{line}}}\n")
    }
}

/// An event's fields on their way into a line.
#[derive(Default)]
struct Parts {
    own: bool,
    client_ip: ClientIpPolicy,
    event: String,
    message: String,
    component: String,
    error_type: Option<String>,
    error_stack: Option<String>,
    fatal: bool,
    given: Vec<&'static str>,
    rest: String,
}

impl Visit for Parts {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            _ if !self.own => {}
            "event" => self.event = value.to_owned(),
            "component" => self.component = value.to_owned(),
            "error.type" => self.error_type = Some(value.to_owned()),
            "error.stack" => self.error_stack = Some(value.to_owned()),
            name => {
                self.given.push(name);
                text(&mut self.rest, name, value);
            }
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}").chars().take(LONGEST_FOREIGN).collect();
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            _ if !self.own => {}
            // Ids are text: a number of 64 bits loses its end in many readers.
            name if name.ends_with("_id") => {
                self.given.push(name);
                text(&mut self.rest, name, &value.to_string());
            }
            name => number(&mut self.rest, name, value),
        }
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        let address = (self.own && field.name() == "client_ip").then(|| ClientIp::from_bits(value));
        if let Some(shown) = address.and_then(|address| address.shown(self.client_ip)) {
            text(&mut self.rest, "client_ip", &shown);
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if self.own && value.is_finite() {
            number(&mut self.rest, field.name(), (value * 1_000.0).round() / 1_000.0);
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        match field.name() {
            _ if !self.own => {}
            "fatal" => self.fatal = value,
            name => number(&mut self.rest, name, value),
        }
    }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warn,
        Level::INFO => Severity::Info,
        _ => Severity::Debug,
    }
}

fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

fn comma(line: &mut String) {
    if !line.is_empty() {
        line.push(',');
    }
}

fn number(line: &mut String, name: &str, value: impl fmt::Display) {
    comma(line);
    // Writing to a string cannot fail.
    let _ = write!(line, "\"{name}\":{value}");
}

fn text(line: &mut String, name: &str, value: &str) {
    number(line, name, serde_json::Value::from(value));
}
