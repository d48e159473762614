//! Durations of API requests by method, route template and status: registered when first seen, never more than a bound.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::{Descriptor, Histogram, Instrument, Kind, LabelSet, Meter};

/// More series than any API of ours has; beyond it everything is counted as [`OTHER`].
const MOST: usize = 2_000;

/// The route of whatever came after the table was full.
const OTHER: &str = "other";

type Series = (&'static str, &'static str, u16);

/// `http.server.request.duration`. Routes are templates known at compile time, so ids cannot become labels.
#[derive(Clone)]
pub struct RequestDurations {
    inner: Arc<Inner>,
}

struct Inner {
    meter: Meter,
    descriptor: Descriptor,
    series: RwLock<HashMap<Series, Histogram>>,
}

impl RequestDurations {
    /// Counts one answered request.
    pub fn record(&self, method: &http::Method, route: &'static str, status: u16, duration: Duration) {
        self.with(method, route, status).record_duration(duration);
    }

    /// The instrument of one method, route and status.
    pub fn with(&self, method: &http::Method, route: &'static str, status: u16) -> Histogram {
        let status = if (100..600).contains(&status) { status } else { 0 };
        let series = (known(method), route, status);
        let read = self.inner.series.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(histogram) = read.get(&series) {
            return histogram.clone();
        }
        let full = read.len() >= MOST;
        drop(read);
        // One series a status class and method at most: the overflow is as bounded as the rest.
        let series = if full { ("_OTHER", OTHER, status / 100 * 100) } else { series };
        let mut write = self.inner.series.write().unwrap_or_else(PoisonError::into_inner);
        write.entry(series).or_insert_with(|| self.inner.histogram(series)).clone()
    }
}

impl Inner {
    fn histogram(&self, (method, route, status): Series) -> Histogram {
        let labels = [
            metrics::Label::from_static_parts("http_request_method", method),
            metrics::Label::from_static_parts("http_route", route),
            metrics::Label::new("http_response_status_code", status.to_string()),
        ];
        self.meter.histogram(&self.descriptor, &labels)
    }
}

/// The method as the semantic conventions spell it: unknown ones are `_OTHER`.
fn known(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "_OTHER",
    }
}

impl Instrument for RequestDurations {
    const KIND: Kind = Kind::Histogram;
    const LABELS: &'static [LabelSet] = &[
        LabelSet {
            name: "http_request_method",
            values: &["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "_OTHER"],
        },
        LabelSet { name: "http_route", values: &[] },
        LabelSet { name: "http_response_status_code", values: &[] },
    ];
    fn register(meter: &Meter, descriptor: &Descriptor) -> Self {
        let inner = Inner { meter: meter.clone(), descriptor: *descriptor, series: RwLock::default() };
        RequestDurations { inner: Arc::new(inner) }
    }
}

impl std::fmt::Debug for RequestDurations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RequestDurations")
    }
}
