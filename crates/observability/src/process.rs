//! Set-up: what the services of one process share, and what each has of its own.

use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use metrics_process::Collector;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Dispatch;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::layer::{Layer, SubscriberExt};

use crate::config::Config;
use crate::export::{self, Pipeline};
use crate::json::{self, JsonLayer, Output};
use crate::level::{LevelError, Levels, own_span};
use crate::lines::{LineFollower, RecentLines, TooManyFollowers};
use crate::log::{self, Fields};
use crate::metric::{self, Histograms, Kind, Meter, TelemetryMetrics};
use crate::recent::RecentTraces;
use crate::sampling::Head;

/// The version on every metric and span.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a flush may take altogether.
const FLUSH: Duration = Duration::from_secs(3);

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Not a level.
    #[error(transparent)]
    Level(#[from] LevelError),
    /// Not a share.
    #[error("sample_ratio is not between 0 and 1: {0}")]
    SampleRatio(f64),
    /// Not where spans can be sent.
    #[error("otlp_endpoint is not an http:// address: {0:?}")]
    Endpoint(String),
}

/// What the services of a process share.
#[derive(Clone)]
pub struct Process(Arc<Inner>);

struct Inner {
    config: Config,
    recorder: Arc<PrometheusRecorder>,
    metrics: PrometheusHandle,
    histograms: Histograms,
    machine: Collector,
    recent: RecentTraces,
    output: Arc<Output>,
    lines: RecentLines,
    levels: Levels,
    providers: Mutex<Vec<SdkTracerProvider>>,
}

/// What one service has: a dispatcher for its threads, a meter for its instruments.
#[derive(Clone)]
pub struct Telemetry {
    process: Process,
    service: &'static str,
    instance: Arc<str>,
    dispatch: Dispatch,
    meter: Meter,
    metrics: TelemetryMetrics,
}

impl Process {
    /// Sets up telemetry with log lines on standard output.
    pub fn new(config: &Config) -> Result<Process, SetupError> {
        Process::with_output(config, Box::new(std::io::stdout()))
    }

    /// Sets up telemetry with log lines on `output`.
    pub fn with_output(config: &Config, output: Box<dyn Write + Send>) -> Result<Process, SetupError> {
        check(config)?;
        let levels = Levels::new(&config.log_level)?;
        let recorder = Arc::new(recorder());
        let metrics = recorder.handle();
        let machine = Collector::default();
        let labelled = OfProcess { recorder: &recorder, region: &config.region };
        metrics::with_local_recorder(&labelled, || machine.describe());
        Ok(Process(Arc::new(Inner {
            recent: RecentTraces::new(config.recent_traces),
            config: config.clone(),
            recorder,
            metrics,
            machine,
            output: Arc::new(Output::new(output)),
            lines: RecentLines::default(),
            histograms: Histograms::default(),
            levels,
            providers: Mutex::default(),
        })))
    }

    /// The telemetry of one more service. Call it on a tokio runtime that lives as long as the process if spans are
    /// exported: the exporter's connection stays on it.
    pub fn service(&self, name: &'static str, instance: &str) -> Telemetry {
        let inner = &*self.0;
        let meter = Meter::new(inner.recorder.clone(), inner.histograms.clone(), name, instance, &inner.config.region);
        let metrics = TelemetryMetrics::new(&meter);
        let mut failed = None;
        let collector = inner.config.otlp_endpoint.as_deref().and_then(|endpoint| {
            if tokio::runtime::Handle::try_current().is_err() {
                failed = Some("not on a runtime".to_owned());
                return None;
            }
            export::collector(endpoint).map_err(|error| failed = Some(error.to_string())).ok()
        });
        let pipeline = Pipeline {
            service: name,
            instance: instance.into(),
            recent: inner.recent.clone(),
            collector,
            metrics: metrics.clone(),
        };
        let provider = SdkTracerProvider::builder()
            .with_sampler(Head { ratio: inner.config.sample_ratio, record_all: inner.recent.is_kept() })
            .with_resource(resource(name, instance, &inner.config.environment))
            .with_span_processor(pipeline)
            .build();
        let spans = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("clarion"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(FilterFn::new(own_span as fn(&tracing::Metadata<'_>) -> bool));
        let lines = JsonLayer {
            head: json::head(name, instance, &inner.config.environment),
            client_ip: inner.config.client_ip,
            fatal_only: inner.levels.fatal_only(),
            output: inner.output.clone(),
            recent: inner.lines.clone(),
            metrics: metrics.clone(),
        };
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(inner.levels.filter())).with(spans);
        inner.providers.lock().unwrap_or_else(PoisonError::into_inner).push(provider);
        let dispatch = Dispatch::new(subscriber);
        let instance = instance.into();
        let telemetry = Telemetry { process: self.clone(), service: name, instance, dispatch, meter, metrics };
        if let Some(detail) = failed {
            tracing::dispatcher::with_default(&telemetry.dispatch, || {
                log::TELEMETRY_FAILED.emit(Fields::detail(detail))
            });
        }
        telemetry
    }

    /// Every metric of the process, as Prometheus reads it.
    pub fn render_metrics(&self) -> String {
        let inner = &*self.0;
        let labelled = OfProcess { recorder: &inner.recorder, region: &inner.config.region };
        metrics::with_local_recorder(&labelled, || inner.machine.collect());
        let mut text = inner.metrics.render();
        inner.histograms.render(&mut text);
        text
    }

    /// The level as it was set.
    pub fn log_level(&self) -> String {
        self.0.levels.text()
    }

    /// Changes the level of every service; nothing changes if it is not one.
    pub fn set_log_level(&self, level: &str) -> Result<(), LevelError> {
        self.0.levels.set(level)
    }

    /// The traces of the last moments.
    pub fn recent(&self) -> &RecentTraces {
        &self.0.recent
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Sends what waits to be exported. Blocks, but not for long: a collector that does not answer is given up.
    pub fn flush(&self) {
        let providers = self.0.providers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (done, flushed) = mpsc::sync_channel(providers.len());
        let mut waiting = 0;
        for provider in providers {
            let done = done.clone();
            // The receiver may have given up; then nobody wants to know.
            let flush = move || drop((provider.force_flush(), done.send(())));
            waiting += usize::from(std::thread::Builder::new().name("telemetry-flush".into()).spawn(flush).is_ok());
        }
        let deadline = Instant::now() + FLUSH;
        for _ in 0..waiting {
            if flushed.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_err() {
                break;
            }
        }
    }
}

impl Telemetry {
    /// The dispatcher of the service's spans and log lines.
    pub fn dispatch(&self) -> &Dispatch {
        &self.dispatch
    }

    /// Registers the service's instruments.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// The name of the service.
    pub fn service(&self) -> &'static str {
        self.service
    }

    /// The name of the instance.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The process the service runs in.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The last lines of the process that are at least as bad as `least`, up to `last` of them; and those to come, for who
    /// is to `follow`.
    pub fn lines(&self, least: log::Level, last: usize, follow: bool) -> Result<LineFollower, TooManyFollowers> {
        self.process.0.lines.read(least, last, follow, self.metrics.log_lines_dropped.clone())
    }

    /// Makes the calling thread one of this service until it ends; for a runtime's `on_thread_start`.
    pub fn adopt_thread(&self) {
        std::mem::forget(tracing::dispatcher::set_default(&self.dispatch));
    }

    /// Runs something as this service.
    pub fn in_scope<T>(&self, f: impl FnOnce() -> T) -> T {
        tracing::dispatcher::with_default(&self.dispatch, f)
    }
}

fn check(config: &Config) -> Result<(), SetupError> {
    if !(0.0..=1.0).contains(&config.sample_ratio) {
        return Err(SetupError::SampleRatio(config.sample_ratio));
    }
    let Some(endpoint) = &config.otlp_endpoint else { return Ok(()) };
    let usable =
        endpoint.parse::<http::Uri>().is_ok_and(|uri| uri.scheme_str() == Some("http") && uri.authority().is_some());
    if usable { Ok(()) } else { Err(SetupError::Endpoint(endpoint.clone())) }
}

fn recorder() -> PrometheusRecorder {
    let recorder = PrometheusBuilder::new().build_recorder();
    for descriptor in metric::all() {
        let (name, help) = (KeyName::from(descriptor.prometheus_name()), SharedString::from(descriptor.help));
        match descriptor.kind {
            Kind::Counter => recorder.describe_counter(name, None, help),
            Kind::Gauge => recorder.describe_gauge(name, None, help),
            // Not the recorder's: it would keep every value until somebody looks.
            Kind::Histogram => {}
        }
    }
    recorder
}

fn resource(service: &'static str, instance: &str, environment: &str) -> Resource {
    Resource::builder()
        .with_service_name(service)
        .with_attributes([
            KeyValue::new("service.instance.id", instance.to_owned()),
            KeyValue::new("service.version", VERSION),
            KeyValue::new("deployment.environment.name", environment.to_owned()),
        ])
        .build()
}

/// Gives the metrics of the process itself the labels of a service.
struct OfProcess<'a> {
    recorder: &'a PrometheusRecorder,
    region: &'a str,
}

impl OfProcess<'_> {
    fn labelled(&self, key: &Key) -> Key {
        key.with_extra_labels(vec![
            metrics::Label::from_static_parts("service", "process"),
            metrics::Label::new("region", self.region.to_owned()),
            metrics::Label::from_static_parts("version", VERSION),
        ])
    }
}

impl Recorder for OfProcess<'_> {
    fn describe_counter(&self, name: KeyName, _: Option<metrics::Unit>, help: SharedString) {
        self.recorder.describe_counter(name, None, help);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<metrics::Unit>, help: SharedString) {
        self.recorder.describe_gauge(name, None, help);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<metrics::Unit>, help: SharedString) {
        self.recorder.describe_histogram(name, None, help);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.recorder.register_counter(&self.labelled(key), metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.recorder.register_gauge(&self.labelled(key), metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.recorder.register_histogram(&self.labelled(key), metadata)
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("config", &self.0.config).finish_non_exhaustive()
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("service", &self.service)
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}
