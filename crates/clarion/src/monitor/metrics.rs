//! Metrics as a server says them, and what changed between two looks. Pure.

use std::collections::BTreeMap;

/// The series of one scrape, by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Scrape(BTreeMap<String, Vec<Series>>);

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

impl Scrape {
    /// Reads the text that Prometheus reads. Lines that are none are passed over.
    pub(super) fn read(text: &str) -> Self {
        let mut all: BTreeMap<String, Vec<Series>> = BTreeMap::new();
        for (name, series) in text.lines().filter(|line| !line.starts_with('#')).filter_map(series) {
            all.entry(name.to_owned()).or_default().push(series);
        }
        Self(all)
    }

    /// All series of a name.
    pub(super) fn all(&self, name: &str) -> &[Series] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The sum over all series of a name that have a label with such a value.
    pub(super) fn sum_where(&self, name: &str, label: &str, has: impl Fn(&str) -> bool) -> f64 {
        let wanted = |series: &&Series| series.labels.get(label).is_some_and(|value| has(value));
        self.all(name).iter().filter(wanted).map(|series| series.value).sum()
    }

    /// The sum over all series of a name.
    pub(super) fn sum(&self, name: &str) -> f64 {
        self.all(name).iter().map(|series| series.value).sum()
    }
}

/// How much a counter rose. One that is lower than before has begun again.
pub(super) fn risen(before: f64, now: f64) -> f64 {
    if now >= before { now - before } else { now }
}

/// The quantile of what a histogram counted between two scrapes, over all its series; `None` when it counted nothing.
/// Within a bucket values are taken to be evenly spread, as Prometheus does; beyond the last edge, the last edge.
pub(super) fn quantile(before: &Scrape, now: &Scrape, histogram: &str, quantile: f64) -> Option<f64> {
    let name = format!("{histogram}_bucket");
    let by_edge = |scrape: &Scrape| {
        let mut edges: BTreeMap<u64, f64> = BTreeMap::new();
        for series in scrape.all(&name) {
            let edge: f64 = series.labels.get("le").and_then(|le| le.parse().ok()).unwrap_or(f64::INFINITY);
            // Edges are not negative, so that their bits are in their order.
            *edges.entry(edge.to_bits()).or_default() += series.value;
        }
        edges
    };
    let (before, now) = (by_edge(before), by_edge(now));
    let rise = |edge: &u64, count: &f64| risen(before.get(edge).copied().unwrap_or(0.0), *count);
    let buckets: Vec<(f64, f64)> = now.iter().map(|(edge, count)| (f64::from_bits(*edge), rise(edge, count))).collect();
    let total = buckets.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
    let wanted = quantile * total;
    let (mut low, mut below) = (0.0, 0.0);
    for (edge, count) in buckets {
        if count >= wanted {
            let part = if count > below { (wanted - below) / (count - below) } else { 1.0 };
            return Some(if edge.is_finite() { low + (edge - low) * part } else { low });
        }
        (low, below) = (edge, count);
    }
    None
}

/// `name{label="value",…} 1.5`.
fn series(line: &str) -> Option<(&str, Series)> {
    let (left, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let (name, mut rest) = left.split_once('{').unwrap_or((left, ""));
    let mut labels = BTreeMap::new();
    while let Some((label, quoted)) = rest.split_once("=\"") {
        // Nothing of ours has quotes in a label's value.
        let (text, after) = quoted.split_once('"')?;
        labels.insert(label.to_owned(), text.to_owned());
        rest = after.trim_start_matches([',', '}']);
    }
    Some((name, Series { labels, value }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP sends_total Sends.
# TYPE sends_total counter
sends_total{service="gateway",instance="a"} 10
sends_total{service="gateway",instance="b"} 5.5
up 1

took_seconds_bucket{x="1",le="0.1"} 50
took_seconds_bucket{x="1",le="0.2"} 100
took_seconds_bucket{x="1",le="+Inf"} 100
took_seconds_count{x="1"} 100
no number
"#;

    #[test]
    fn series_are_read_and_summed() {
        let scrape = Scrape::read(TEXT);
        assert_eq!((scrape.sum("sends_total"), scrape.sum("up"), scrape.sum("none")), (15.5, 1.0, 0.0));
        assert_eq!(scrape.sum_where("sends_total", "instance", |i| i == "b"), 5.5);
        assert_eq!(scrape.all("sends_total")[0].labels["service"], "gateway");
    }

    #[test]
    fn quantiles_are_of_what_was_counted_in_between() {
        let (before, now) = (Scrape::default(), Scrape::read(TEXT));
        assert_eq!(quantile(&before, &now, "took_seconds", 0.5), Some(0.1));
        assert_eq!(quantile(&before, &now, "took_seconds", 0.75), Some(0.15000000000000002));
        assert_eq!(quantile(&now, &now, "took_seconds", 0.5), None);
        let slow = Scrape::read(&TEXT.replace("+Inf\"} 100", "+Inf\"} 200"));
        assert_eq!(quantile(&now, &slow, "took_seconds", 0.5), Some(0.2), "no more is known than the last edge");
    }

    #[test]
    fn a_counter_that_fell_has_begun_again() {
        assert_eq!((risen(5.0, 8.0), risen(8.0, 3.0)), (3.0, 3.0));
    }
}
