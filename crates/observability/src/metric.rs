//! Metrics as values: what exists, how it is named, and the meter that registers it with a service's constant labels.
//!
//! A metric has one dotted name. Its Prometheus name follows mechanically: dots become underscores, the unit is
//! appended, counters end in `_total`. Labels are closed enums, so no id can become one.

use std::sync::Arc;

use metrics::{Key, Metadata, Recorder};
use metrics_exporter_prometheus::PrometheusRecorder;

mod buckets;
mod cache;
mod channel;
mod circuit;
mod gateway;
mod http;
mod instrument;
mod label;
mod pool;
mod presence;
mod router;
mod search;
mod storage;
mod telemetry;
mod voice;

pub(crate) use buckets::Histograms;
pub use cache::{CacheErrorType, CacheMetrics, LookupResult};
pub use channel::{ChannelMetrics, ChannelSize, DuplicateReason};
pub use circuit::{CircuitMetrics, CircuitTarget};
pub use gateway::{
    AdmissionRefusal, AuthResult, ChannelType, DeliveryError, EventType, GatewayMetrics, Opening, RateScope,
    ResumedFrom, SendError, SentType, SocketError, Status,
};
pub use http::RequestDurations;
pub use instrument::{
    By, By2, ChannelServer, Counter, GatewayInstance, Gauge, GaugeGuard, Histogram, Instrument, Named, Own,
};
pub use label::Label;
pub use pool::PoolMetrics;
pub use presence::{PresenceEvent, PresenceMetrics, ShownStatus, UpdateError, UpdateType};
pub use router::{AdminAction, Cached, MemberKind, RouterMetrics};
pub use search::{IndexError, IndexOperation, QueryFailure, SearchMetrics};
pub use storage::{Operation, QueryError, StorageMetrics};
pub use telemetry::TelemetryMetrics;
pub use voice::{JoinResult, LeaveReason, MediaDirection, MediaDrop, MediaTransport, TcpClosed, VoiceMetrics};

/// Latency edges in seconds; each threshold of an objective or an alert is one of them.
pub const LATENCY: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0];

/// The labels every instrument carries.
pub const CONSTANT_LABELS: &[&str] = &["service", "instance", "region", "version"];

/// Every instrument of the product, a table a struct.
pub const ALL: &[&[Descriptor]] = &[
    gateway::TABLE,
    channel::TABLE,
    presence::TABLE,
    storage::TABLE,
    pool::TABLE,
    circuit::TABLE,
    cache::TABLE,
    router::TABLE,
    search::TABLE,
    voice::TABLE,
    telemetry::TABLE,
];

/// Every instrument of the product, in the order of the documentation.
pub fn all() -> impl Iterator<Item = &'static Descriptor> {
    ALL.iter().flat_map(|table| table.iter())
}

/// What an instrument measures and how it is called.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Descriptor {
    /// The dotted name, `websocket.connections.active`.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// What one of it is.
    pub unit: Unit,
    /// The labels beside [`CONSTANT_LABELS`].
    pub labels: &'static [LabelSet],
    /// The upper edges of a histogram's buckets.
    pub buckets: &'static [f64],
    /// One sentence.
    pub help: &'static str,
}

/// A label and what it can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelSet {
    /// The label's name.
    pub name: &'static str,
    /// Its values; empty if they come from a bounded table elsewhere (route templates, instance names).
    pub values: &'static [&'static str],
}

/// The kinds of instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts by buckets.
    Histogram,
}

/// What a value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things; adds nothing to a name.
    Count,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A part of a whole, from 0 to 1.
    Ratio,
}

impl Kind {
    /// The word of the exposition format.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

impl Unit {
    fn suffix(self) -> &'static str {
        match self {
            Unit::Count => "",
            Unit::Seconds => "_seconds",
            Unit::Bytes => "_bytes",
            Unit::Ratio => "_ratio",
        }
    }
}

impl Descriptor {
    /// The name on `/metrics`. A histogram's series add `_bucket`, `_sum` and `_count`.
    pub fn prometheus_name(&self) -> String {
        let base = self.name.replace('.', "_");
        let unit = if base.ends_with(self.unit.suffix()) { "" } else { self.unit.suffix() };
        let total = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("{base}{unit}{total}")
    }
}

/// Registers instruments with the constant labels of one service.
#[derive(Clone)]
pub struct Meter {
    recorder: Arc<PrometheusRecorder>,
    histograms: Histograms,
    instance: Arc<str>,
    labels: Arc<[metrics::Label]>,
}

impl Meter {
    pub(crate) fn new(
        recorder: Arc<PrometheusRecorder>,
        histograms: Histograms,
        service: &'static str,
        instance: &str,
        region: &str,
    ) -> Self {
        let labels = [
            metrics::Label::from_static_parts("service", service),
            metrics::Label::new("instance", instance.to_owned()),
            metrics::Label::new("region", region.to_owned()),
            metrics::Label::from_static_parts("version", env!("CARGO_PKG_VERSION")),
        ];
        Meter { recorder, histograms, instance: instance.into(), labels: labels.into() }
    }

    /// The name of the instance whose instruments these are.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    fn key(&self, descriptor: &Descriptor, more: &[metrics::Label]) -> Key {
        Key::from_parts(descriptor.prometheus_name(), self.labels.iter().chain(more).cloned().collect::<Vec<_>>())
    }

    pub(crate) fn counter(&self, descriptor: &Descriptor, labels: &[metrics::Label]) -> Counter {
        Counter::from(self.recorder.register_counter(&self.key(descriptor, labels), &METADATA))
    }

    pub(crate) fn gauge(&self, descriptor: &Descriptor, labels: &[metrics::Label]) -> Gauge {
        Gauge::from(self.recorder.register_gauge(&self.key(descriptor, labels), &METADATA))
    }

    pub(crate) fn histogram(&self, descriptor: &Descriptor, labels: &[metrics::Label]) -> Histogram {
        let labels: Vec<metrics::Label> = self.labels.iter().chain(labels).cloned().collect();
        let Descriptor { help, buckets, .. } = *descriptor;
        Histogram::from(self.histograms.series(descriptor.prometheus_name(), help, buckets, &labels))
    }
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meter").field("instance", &self.instance).finish_non_exhaustive()
    }
}

const METADATA: Metadata<'static> = Metadata::new("clarion", metrics::Level::INFO, None);

/// A struct of instruments and the table that describes them, from one declaration.
macro_rules! instruments {
    ($(#[$doc:meta])* $name:ident: $($(#[doc = $help:literal])+ $field:ident: $kind:ty = $metric:literal, $unit:ident $(, $buckets:expr)?;)*) => {
        pub(super) const TABLE: &[$crate::metric::Descriptor] = &[$($crate::metric::Descriptor {
            name: $metric,
            kind: <$kind as $crate::metric::Instrument>::KIND,
            unit: $crate::metric::Unit::$unit,
            labels: <$kind as $crate::metric::Instrument>::LABELS,
            buckets: { let _edges: &[f64] = &[]; $(let _edges: &[f64] = $buckets;)? _edges },
            help: concat!($($help),+).trim_ascii(),
        }),*];
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name { $($(#[doc = $help])+ pub $field: $kind),* }
        impl $name {
            /// Registers every instrument; once a service.
            pub fn new(meter: &$crate::metric::Meter) -> Self {
                let mut table = TABLE.iter();
                $(let $field = $crate::metric::Instrument::register(meter, table.next().expect("a row a field"));)*
                $name { $($field),* }
            }
        }
    };
}
use instruments;
