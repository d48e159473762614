//! What telemetry counts about itself.

use super::{Counter, instruments};

instruments! {
    /// The instruments of telemetry, registered for every service.
    TelemetryMetrics:
    /// Spans that ended.
    spans_ended: Counter = "telemetry.spans.ended", Count;
    /// Spans not kept among the recent traces because their trace was full.
    spans_overflowed: Counter = "telemetry.spans.overflowed", Count;
    /// Log lines written.
    log_lines: Counter = "telemetry.log.lines", Count;
    /// Log lines that could not be written.
    log_lines_lost: Counter = "telemetry.log.lines.lost", Count;
    /// Log lines that somebody who followed the log was too slow for.
    log_lines_dropped: Counter = "telemetry.log.lines.dropped", Count;
}
