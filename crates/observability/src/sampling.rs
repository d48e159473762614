//! Which traces are exported: decided once, where a trace begins, from the trace id alone.
//!
//! A trace is kept when the low 56 bits of its id are not under the rejection threshold, so that every process and every
//! collector that follows the same rule decides the same. A span that is not kept is still recorded while there is a
//! ring of recent traces to hold it, and always has ids.

use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};

/// Follows the parent's decision, else the trace id's.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) ratio: f64,
    pub(crate) record_all: bool,
}

const RANDOM_BITS: u32 = 56;

/// The decision for a trace that begins.
pub(crate) fn keeps(ratio: f64, trace: TraceId) -> bool {
    let space = 1u64 << RANDOM_BITS;
    let random = u128::from_be_bytes(trace.to_bytes()) as u64 & (space - 1);
    let threshold = ((1.0 - ratio.clamp(0.0, 1.0)) * space as f64) as u64;
    random >= threshold
}

impl ShouldSample for Head {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        _: &str,
        _: &SpanKind,
        _: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let parent = parent.map(|cx| cx.span().span_context().clone()).filter(|span| span.is_valid());
        // What is done for many traces at once is kept if one of them is.
        let linked = || links.iter().any(|link| link.span_context.is_sampled());
        let kept = parent.as_ref().map_or_else(|| keeps(self.ratio, trace) || linked(), |span| span.is_sampled());
        let decision = match (kept, self.record_all) {
            (true, _) => SamplingDecision::RecordAndSample,
            (false, true) => SamplingDecision::RecordOnly,
            (false, false) => SamplingDecision::Drop,
        };
        let trace_state = parent.map_or(TraceState::NONE, |span| span.trace_state().clone());
        SamplingResult { decision, attributes: Vec::new(), trace_state }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_the_share_of_ids_that_are_kept() {
        for ratio in [0.0, 0.01, 0.5, 1.0] {
            let ids = (0..20_000u64).map(|n| TraceId::from(u128::from(n.wrapping_mul(0x9E37_79B9_7F4A_7C15))));
            let kept = ids.filter(|id| keeps(ratio, *id)).count() as f64 / 20_000.0;
            assert!((kept - ratio).abs() < 0.005, "{ratio}: {kept}");
        }
    }

    #[test]
    fn a_larger_ratio_keeps_what_a_smaller_one_keeps() {
        for n in 0..10_000u64 {
            let id = TraceId::from(u128::from(n.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
            assert!(!keeps(0.1, id) || keeps(0.3, id));
        }
    }
}
