//! Where people find the page of a trace. Whoever serves the pages may be bound after the gateway is.

use std::sync::{Arc, OnceLock};

/// What the id of a trace takes the place of.
pub(crate) const PLACE: &str = "{trace_id}";

/// The address of a trace's page: a template with `{trace_id}` in it, once it is known. A clone is the same one.
#[derive(Debug, Clone, Default)]
pub struct TracePages(Arc<OnceLock<String>>);

impl TracePages {
    /// Pages whose addresses are known.
    pub fn at(template: impl Into<String>) -> Self {
        let pages = Self::default();
        pages.set(template);
        pages
    }

    /// Says where the pages are. The first word counts.
    pub fn set(&self, template: impl Into<String>) {
        let _ = self.0.set(template.into());
    }

    /// The page of a trace.
    pub(crate) fn url(&self, trace_id: &str) -> Option<String> {
        self.0.get().map(|template| template.replace(PLACE, trace_id))
    }
}
