//! The pages of recent traces: one file each, no script, nothing loaded, readable in light and dark and without colours.

use std::collections::{HashMap, HashSet};
use std::fmt::{Display, Formatter, Result, Write};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanId, TraceId};

use super::{SpanRecord, TraceSummary, time};

/// Where the pages are served; their links point there.
const PATH: &str = "/debug/traces";

/// Services with a colour of their own; others share the rest of the palette.
const KNOWN: &[&str] = &["gateway", "router", "channel", "presence", "search", "voice"];

/// Colours in the style sheet, `s0` and up.
const PALETTE: usize = 8;

const STYLE: &str = include_str!("style.css");

/// The list of traces.
pub(super) fn list(traces: &[TraceSummary], most: usize) -> String {
    let longest = traces.iter().map(|t| t.duration).max().unwrap_or_default();
    let mut rows = String::new();
    for trace in traces {
        // Writing to a string cannot fail, here and below.
        let _ = write!(rows, "{}", Row { trace, longest });
    }
    let body = if traces.is_empty() {
        "<p class=\"empty\">No traces yet. Send a request, then reload.</p>".to_owned()
    } else {
        format!(
            "<table><thead><tr><th scope=\"col\">Trace</th><th scope=\"col\">Services</th><th scope=\"col\" class=\"n\">Spans</th>\
             <th scope=\"col\">Duration</th><th scope=\"col\" class=\"n\">Began (UTC)</th></tr></thead><tbody>{rows}</tbody></table>"
        )
    };
    let failed = traces.iter().filter(|t| t.error).count();
    let failed = if failed == 0 { String::new() } else { format!(", <strong class=\"bad\">{failed} failed</strong>") };
    page(
        "Recent traces",
        &format!(
            "<header><h1>Recent traces</h1><p class=\"meta\">{} of at most {most}{failed} · newest first</p>\
             <nav><a href=\"{PATH}\">Reload</a><a href=\"{PATH}?format=json\">JSON</a></nav></header><main>{body}</main>",
            traces.len()
        ),
    )
}

/// One trace as a waterfall; nothing if it has no spans.
pub(super) fn trace(spans: &[SpanRecord], overflowed: u64, linked: &[TraceId]) -> Option<String> {
    let first = spans.first()?;
    let begin = spans.iter().map(|s| s.start).min()?;
    let end = spans.iter().map(SpanRecord::end).max()?;
    let whole = end.duration_since(begin).unwrap_or_default();
    let tree = Tree::new(spans);
    let root = tree.roots.first().map_or(first, |i| &spans[*i]);

    let mut services: Vec<&str> = Vec::new();
    for span in spans {
        if !services.contains(&span.service) {
            services.push(span.service);
        }
    }
    let legend: String = services.iter().map(|service| chip(service)).collect();
    let axis: String = (0..=4).map(|quarter| format!("<span>{}</span>", Lasted(whole * quarter / 4))).collect();
    let mut rows = String::new();
    tree.write(&mut rows, &tree.roots, &Scale { begin, whole });

    let failed = spans.iter().filter(|s| s.error.is_some()).count();
    let failed =
        if failed == 0 { String::new() } else { format!(" · <strong class=\"bad\">{failed} failed</strong>") };
    let missing = if overflowed == 0 {
        String::new()
    } else {
        format!(" · <strong class=\"bad\">{overflowed} more not kept</strong>")
    };
    let kept = if root.sampled { "exported" } else { "not exported" };
    let id = first.trace_id;
    let linked: String = linked.iter().map(|id| format!(" <a href=\"{PATH}/{id}\"><code>{id}</code></a>")).collect();
    let linked = if linked.is_empty() { linked } else { format!("<p class=\"meta\">Linked from{linked}</p>") };
    Some(page(
        &format!("{} · {id}", Text(&root.name)),
        &format!(
            "<header><p class=\"up\"><a href=\"{PATH}\">← Recent traces</a></p><h1>{}</h1>\
             <p class=\"meta\"><code>{id}</code></p>\
             <p class=\"meta\">{} · {} spans{failed}{missing} · {kept} · <time datetime=\"{at}\">{at}</time></p>\
             {linked}<p class=\"legend\">{legend}</p><nav><a href=\"{PATH}/{id}?format=json\">JSON</a></nav></header>\
             <main><div class=\"axis\" aria-hidden=\"true\"><span></span><div>{axis}</div><span></span></div>{rows}</main>",
            Title(root),
            Lasted(whole),
            spans.len(),
            at = time(begin),
        ),
    ))
}

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{title} · Clarion</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
    )
}

fn chip(service: &str) -> String {
    format!("<span class=\"chip s{}\">{}</span>", colour(service), Text(service))
}

fn colour(service: &str) -> usize {
    let known = KNOWN.iter().position(|name| service.ends_with(name));
    let rest = PALETTE - KNOWN.len();
    known.unwrap_or_else(|| KNOWN.len() + service.bytes().map(usize::from).sum::<usize>() % rest)
}

/// The time a waterfall spans.
struct Scale {
    begin: SystemTime,
    whole: Duration,
}

impl Scale {
    /// Where a span's bar begins and how wide it is, in percent.
    fn place(&self, span: &SpanRecord) -> (f64, f64) {
        let whole = self.whole.as_secs_f64().max(f64::EPSILON);
        let left = span.start.duration_since(self.begin).unwrap_or_default().as_secs_f64() / whole * 100.0;
        (left.min(100.0), (span.duration.as_secs_f64() / whole * 100.0).min(100.0 - left.min(100.0)))
    }
}

/// Spans by the span around them.
struct Tree<'a> {
    spans: &'a [SpanRecord],
    roots: Vec<usize>,
    inside: HashMap<SpanId, Vec<usize>>,
}

impl<'a> Tree<'a> {
    fn new(spans: &'a [SpanRecord]) -> Self {
        let known: HashSet<_> = spans.iter().map(|s| s.span_id).collect();
        let mut tree = Tree { spans, roots: Vec::new(), inside: HashMap::new() };
        for (index, span) in spans.iter().enumerate() {
            match span.parent_id.filter(|id| known.contains(id)) {
                Some(parent) => tree.inside.entry(parent).or_default().push(index),
                None => tree.roots.push(index),
            }
        }
        tree
    }

    /// Writes some spans and what is inside them. As deep as the trace, which is bounded.
    fn write(&self, to: &mut String, indices: &[usize], scale: &Scale) {
        to.push_str("<ol>");
        for span in indices.iter().map(|index| &self.spans[*index]) {
            to.push_str("<li>");
            let _ = write!(to, "{}", Bar { span, scale });
            if let Some(inside) = self.inside.get(&span.span_id) {
                self.write(to, inside, scale);
            }
            to.push_str("</li>");
        }
        to.push_str("</ol>");
    }
}

/// A line of the list.
struct Row<'a> {
    trace: &'a TraceSummary,
    longest: Duration,
}

impl Display for Row<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let t = self.trace;
        let share = t.duration.as_secs_f64() / self.longest.as_secs_f64().max(f64::EPSILON) * 100.0;
        let bad = if t.error { "<strong class=\"bad\">failed</strong>" } else { "" };
        let what = t.event_type.as_deref().map(|e| format!(" <em>{}</em>", Text(e))).unwrap_or_default();
        let services: String = t.services.iter().map(|service| chip(service)).collect();
        let (id, at) = (t.trace_id, time(t.start));
        let clock = at.get(11..23).unwrap_or(&at);
        write!(
            f,
            "<tr><td><a href=\"{PATH}/{id}\"><b>{}</b>{what}</a> {bad}<br><code>{id}</code></td><td>{services}</td><td class=\"n\">{}</td>\
             <td class=\"d\"><span class=\"share\" style=\"--w:{share:.1}%\"></span>{}</td><td class=\"n\"><time datetime=\"{at}\" title=\"{at}\">{clock}</time></td></tr>",
            Text(&t.root),
            t.spans,
            Lasted(t.duration),
        )
    }
}

/// A line of the waterfall.
struct Bar<'a> {
    span: &'a SpanRecord,
    scale: &'a Scale,
}

impl Display for Bar<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Bar { span, scale } = self;
        let (left, width) = scale.place(span);
        let offset = span.start.duration_since(scale.begin).unwrap_or_default();
        let (service, colour) = (Text(span.service), colour(span.service));
        let failed =
            span.error.as_ref().map(|e| format!("<strong class=\"bad\">{}</strong>", Text(e))).unwrap_or_default();
        let class = if span.error.is_some() { " failed" } else { "" };
        write!(
            f,
            "<details><summary><span class=\"name\"><i class=\"dot s{colour}\"></i>{}<small>{service}</small>{failed}</span>\
             <span class=\"track\" aria-hidden=\"true\"><span class=\"bar s{colour}{class}\" style=\"--l:{left:.3}%;--w:{width:.3}%\"></span></span>\
             <span class=\"took\"><span class=\"sr\">took </span>{}</span></summary><dl>",
            Title(span),
            Lasted(span.duration),
        )?;
        pair(f, "begins after", Lasted(offset))?;
        pair(f, "service", format!("{service} {}", Text(&span.instance)))?;
        pair(f, "kind", span.kind)?;
        pair(f, "span", span.span_id)?;
        for attribute in &span.attributes {
            pair(f, Text(attribute.key.as_str()), Text(&attribute.value.to_string()))?;
        }
        for id in &span.links {
            pair(f, "linked to", format_args!("<a href=\"{PATH}/{id}\"><code>{id}</code></a>"))?;
        }
        f.write_str("</dl></details>")
    }
}

fn pair(f: &mut Formatter<'_>, name: impl Display, value: impl Display) -> Result {
    write!(f, "<div><dt>{name}</dt><dd>{value}</dd></div>")
}

/// A span's name, with what it was about.
struct Title<'a>(&'a SpanRecord);

impl Display for Title<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "<b>{}</b>", Text(&self.0.name))?;
        match self.0.attribute("event_type").or_else(|| self.0.attribute("query_type")) {
            Some(what) => write!(f, " <em>{}</em>", Text(&what)),
            None => Ok(()),
        }
    }
}

/// A text in a page.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.0.chars().try_for_each(|c| match c {
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '&' => f.write_str("&amp;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => f.write_char(c),
        })
    }
}

/// A duration with three digits that matter.
struct Lasted(Duration);

impl Display for Lasted {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let micros = self.0.as_nanos() as f64 / 1e3;
        let (value, unit) = match micros {
            m if m < 1e3 => (m, "µs"),
            m if m < 1e6 => (m / 1e3, "ms"),
            m => (m / 1e6, "s"),
        };
        let digits = if value < 10.0 && value > 0.0 {
            2
        } else if value < 100.0 && value > 0.0 {
            1
        } else {
            0
        };
        write!(f, "{value:.digits$} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits() {
        let text = |nanos| Lasted(Duration::from_nanos(nanos)).to_string();
        let shown = [0, 850, 12_340, 999_000, 1_234_000, 45_600_000, 1_500_000_000].map(text);
        assert_eq!(shown, ["0 µs", "0.85 µs", "12.3 µs", "999 µs", "1.23 ms", "45.6 ms", "1.50 s"]);
    }

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(Text("<a href='x'>&\"").to_string(), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
    }

    #[test]
    fn services_have_different_colours() {
        let colours: HashSet<_> = KNOWN.iter().map(|s| colour(s)).collect();
        assert_eq!(colours.len(), KNOWN.len());
        assert!(colour("something else") < PALETTE);
    }
}
