//! Histograms as counters of buckets: a value costs a few additions and no memory, however many come between two looks.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How many values are under each edge, and their sum.
#[derive(Debug)]
pub(super) struct Buckets {
    edges: &'static [f64],
    /// One an edge, and one for what is above the last.
    counts: Box<[AtomicU64]>,
    /// The bits of a float.
    sum: AtomicU64,
}

/// Every histogram of a process: by name, what it says of itself and its series by their labels.
#[derive(Debug, Clone, Default)]
pub(crate) struct Histograms(Arc<Mutex<BTreeMap<String, Family>>>);

#[derive(Debug)]
struct Family {
    help: &'static str,
    series: BTreeMap<String, Arc<Buckets>>,
}

impl Buckets {
    fn new(edges: &'static [f64]) -> Self {
        let counts = (0..=edges.len()).map(|_| AtomicU64::new(0)).collect();
        Self { edges, counts, sum: AtomicU64::new(0f64.to_bits()) }
    }

    /// Counts a value so many times.
    pub(super) fn record(&self, value: f64, times: u64) {
        let bucket = self.edges.partition_point(|edge| *edge < value);
        self.counts[bucket].fetch_add(times, Ordering::Relaxed);
        let add = |sum: u64| Some((f64::from_bits(sum) + value * times as f64).to_bits());
        // Always adds, as the closure always answers.
        let _ = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    fn render(&self, name: &str, labels: &str, out: &mut String) -> std::fmt::Result {
        let mut count = 0;
        let edges = self.edges.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (edge, bucket) in edges.zip(&self.counts) {
            count += bucket.load(Ordering::Relaxed);
            writeln!(out, "{name}_bucket{{{labels},le=\"{edge}\"}} {count}")?;
        }
        writeln!(out, "{name}_sum{{{labels}}} {}", f64::from_bits(self.sum.load(Ordering::Relaxed)))?;
        writeln!(out, "{name}_count{{{labels}}} {count}")
    }
}

impl Histograms {
    /// The series with a name and labels; the same one to whoever asks again.
    pub(super) fn series(
        &self,
        name: String,
        help: &'static str,
        edges: &'static [f64],
        labels: &[metrics::Label],
    ) -> Arc<Buckets> {
        let labels: Vec<String> =
            labels.iter().map(|label| format!("{}=\"{}\"", label.key(), escaped(label.value()))).collect();
        let mut families = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let family = families.entry(name).or_insert_with(|| Family { help, series: BTreeMap::new() });
        family.series.entry(labels.join(",")).or_insert_with(|| Arc::new(Buckets::new(edges))).clone()
    }

    /// All of them, as Prometheus reads it.
    pub(crate) fn render(&self, out: &mut String) {
        let families = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, family) in &*families {
            // A string takes whatever is written.
            let _ = write!(out, "# HELP {name} {}\n# TYPE {name} histogram\n", family.help);
            for (labels, buckets) in &family.series {
                let _ = buckets.render(name, labels, out);
            }
            out.push('\n');
        }
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_under_every_edge_above_them() {
        let histograms = Histograms::default();
        let label = [metrics::Label::new("kind", "a \"b\"")];
        let series = || histograms.series("h".into(), "Values.", &[1.0, 2.5], &label);
        series().record(1.0, 1);
        series().record(2.0, 3);
        series().record(9.0, 1);
        let mut text = String::new();
        histograms.render(&mut text);
        let expected = r#"# HELP h Values.
# TYPE h histogram
h_bucket{kind="a \"b\"",le="1"} 1
h_bucket{kind="a \"b\"",le="2.5"} 4
h_bucket{kind="a \"b\"",le="+Inf"} 5
h_sum{kind="a \"b\""} 16
h_count{kind="a \"b\""} 5

"#;
        assert_eq!(text, expected);
    }
}
