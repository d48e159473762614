//! The reference of the vocabulary, made from its tables.

use std::fmt::Write;

use crate::metric::{self, CONSTANT_LABELS, Descriptor, LabelSet};
use crate::{log, span};

/// The page `docs/telemetry.md`; a test of the workspace compares the two.
pub fn telemetry_markdown() -> String {
    let mut page = String::from(
        "# Telemetry\n\n\
         Everything Clarion tells its operators, by name. This page is generated from the tables in `crates/observability`; edit those.\n\n\
         ## Metrics\n\n\
         Served on `/metrics`. A dotted name becomes its Prometheus name mechanically: dots become underscores, the unit is appended \
         (`_seconds`, `_bytes`), counters end in `_total`; a histogram has the series `_bucket`, `_sum` and `_count`.\n\n",
    );
    // Writing to a string cannot fail, here and below.
    let labels: Vec<_> = CONSTANT_LABELS.iter().map(|label| format!("`{label}`")).collect();
    let _ = writeln!(page, "Every metric carries the labels {}.\n", labels.join(", "));
    page.push_str("| name | on `/metrics` | kind | labels | what it says |\n|---|---|---|---|---|\n");
    for metric in metric::all() {
        let _ = writeln!(page, "{}", metric_row(metric));
    }
    page.push_str(
        "\nThe process itself is measured by `process_*` (CPU, memory, threads, open files), labelled `service=\"process\"`, `region` and \
         `version`.\n\n### Values of labels\n\n| label | of | values |\n|---|---|---|\n",
    );
    for metric in metric::all() {
        for label in metric.labels.iter().filter(|label| !label.values.is_empty()) {
            let _ = writeln!(page, "| `{}` | `{}` | {} |", label.name, metric.name, label.values.join(", "));
        }
    }
    page.push_str("\n### Edges of buckets\n\n| histogram | edges |\n|---|---|\n");
    for metric in metric::all().filter(|metric| !metric.buckets.is_empty()) {
        let edges: Vec<_> = metric.buckets.iter().map(ToString::to_string).collect();
        let _ = writeln!(page, "| `{}` | {} |", metric.name, edges.join(", "));
    }
    page.push_str(SPANS);
    for span in span::ALL {
        let attributes: Vec<_> = span.attributes.iter().map(|a| format!("`{a}`")).collect();
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} |",
            span.name,
            span.service,
            span.kind,
            attributes.join(", "),
            span.help
        );
    }
    page.push_str("\n### Attributes\n\n| attribute | what it says |\n|---|---|\n");
    for (name, help) in span::ATTRIBUTES {
        let _ = writeln!(page, "| `{name}` | {help} |");
    }
    page.push_str(LOGS);
    for event in log::ALL {
        let level = if event.fatal { "CRITICAL" } else { event.level.as_str() };
        let _ = writeln!(page, "| `{}` | {level} | {} | {} |", event.name, event.component, event.message);
    }
    page.push_str("\n### Fields\n\nFields that do not apply are absent.\n\n| field | what it says |\n|---|---|\n");
    for (name, help) in log::FIELDS {
        let _ = writeln!(page, "| `{name}` | {help} |");
    }
    page
}

const SPANS: &str = "\n## Spans\n\n\
    One message sent is one trace:\n\n\
    ```text\n\
    gateway.receive\n\
    ├─ gateway.authenticate\n\
    ├─ channel.route\n\
    └─ channel.process\n   \
       ├─ db.write\n   \
       └─ channel.fanout\n      \
          └─ gateway.deliver      one on every gateway with recipients\n\
    ```\n\n\
    A span that failed has the status error and the attribute `error.type`. The resource says `service.name`, `service.instance.id`, \
    `service.version` and `deployment.environment.name`.\n\n\
    | span | service | kind | attributes | what it stands for |\n|---|---|---|---|---|\n";

const LOGS: &str = "\n## Log events\n\n\
    One JSON object a line. Every line has `timestamp`, `level`, `service`, `instance_id`, `environment`, `pid`, `event`, `message` and \
    `component`, and inside a request `trace_id` and `span_id`, whether its trace is exported or not. A warning or an error of a library \
    is the event `library`. No line holds what people write, a whole credential or, unless configured, a whole address.\n\n\
    | event | level | component | message |\n|---|---|---|---|\n";

fn metric_row(metric: &Descriptor) -> String {
    let labels: Vec<_> = metric.labels.iter().map(|LabelSet { name, .. }| format!("`{name}`")).collect();
    format!(
        "| `{}` | `{}` | {} | {} | {} |",
        metric.name,
        metric.prometheus_name(),
        metric.kind.as_str(),
        labels.join(", "),
        metric.help
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_every_name() {
        let page = telemetry_markdown();
        let names = metric::all()
            .map(|m| m.name)
            .chain(span::ALL.iter().map(|s| s.name))
            .chain(log::ALL.iter().map(|e| e.name));
        for name in names {
            assert!(page.contains(&format!("| `{name}` |")), "{name}");
        }
        for attribute in span::ALL.iter().flat_map(|s| s.attributes) {
            assert!(span::ATTRIBUTES.iter().any(|(name, _)| name == attribute), "{attribute}");
        }
    }

    #[test]
    fn the_tree_of_a_message_is_drawn() {
        assert!(telemetry_markdown().contains("gateway.receive\n├─ gateway.authenticate\n├─ channel.route\n└─ channel.process\n   ├─ db.write\n   └─ channel.fanout\n      └─ gateway.deliver"));
    }
}
