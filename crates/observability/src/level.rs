//! Which log lines are written: one setting for all services of a process, changed while they run.
//!
//! Spans are always seen, whatever the level: the ids on them belong on every line. The filter is reloaded, never the
//! layer behind it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt, FilterFn};
use tracing_subscriber::layer::Filter;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::span::TARGET;

/// What was given is neither a level nor filter directives.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a log level: {0:?}")]
pub struct LevelError(String);

type Handle = reload::Handle<EnvFilter, Registry>;

/// The setting and every filter that follows it.
#[derive(Debug, Clone)]
pub(crate) struct Levels(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    fatal_only: Arc<AtomicBool>,
}

#[derive(Debug)]
struct State {
    text: String,
    filters: Vec<Handle>,
}

/// What a setting means.
struct Parsed {
    directives: String,
    fatal_only: bool,
}

impl Levels {
    pub(crate) fn new(text: &str) -> Result<Levels, LevelError> {
        let fatal_only = Parsed::from(text)?.fatal_only;
        let state = Mutex::new(State { text: text.to_owned(), filters: Vec::new() });
        Ok(Levels(Arc::new(Inner { state, fatal_only: Arc::new(AtomicBool::new(fatal_only)) })))
    }

    pub(crate) fn text(&self) -> String {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).text.clone()
    }

    pub(crate) fn set(&self, text: &str) -> Result<(), LevelError> {
        let parsed = Parsed::from(text)?;
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.text = text.to_owned();
        self.0.fatal_only.store(parsed.fatal_only, Ordering::Relaxed);
        // A handle whose dispatcher is gone has nothing left to filter.
        state.filters.retain(|handle| parsed.filter().is_ok_and(|filter| handle.reload(filter).is_ok()));
        Ok(())
    }

    pub(crate) fn fatal_only(&self) -> Arc<AtomicBool> {
        self.0.fatal_only.clone()
    }

    /// A filter for the log layer of one more service.
    pub(crate) fn filter(&self) -> impl Filter<Registry> + use<> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let filter = Parsed::from(&state.text).and_then(|parsed| parsed.filter()).unwrap_or_default();
        let (filter, handle) = reload::Layer::new(filter);
        state.filters.push(handle);
        let spans: FilterFn<fn(&Metadata<'_>) -> bool> = FilterFn::new(own_span as fn(&Metadata<'_>) -> bool);
        filter.or(spans.with_max_level_hint(LevelFilter::INFO))
    }
}

/// Whether something is a span of the vocabulary.
pub(crate) fn own_span(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == TARGET
}

impl Parsed {
    fn from(text: &str) -> Result<Parsed, LevelError> {
        let lower = text.trim().to_ascii_lowercase();
        let (directives, fatal_only) = match lower.as_str() {
            level @ ("trace" | "debug" | "info" | "warn" | "error") => {
                (format!("{},{TARGET}={level}", quiet(level)), false)
            }
            "warning" => (format!("warn,{TARGET}=warn"), false),
            "critical" | "fatal" => (format!("off,{TARGET}=error"), true),
            _ if lower.contains(['=', ',']) => (text.trim().to_owned(), false),
            _ => return Err(LevelError(text.to_owned())),
        };
        let parsed = Parsed { directives, fatal_only };
        parsed.filter().map_err(|_| LevelError(text.to_owned()))?;
        Ok(parsed)
    }

    fn filter(&self) -> Result<EnvFilter, LevelError> {
        let builder = EnvFilter::builder().with_regex(false);
        builder.parse(&self.directives).map_err(|_| LevelError(self.directives.clone()))
    }
}

/// Libraries never say more than their warnings.
fn quiet(level: &str) -> &str {
    if level == "error" { "error" } else { "warn" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives_are_understood() {
        for good in ["trace", "DEBUG", " info ", "warn", "warning", "error", "critical", "Fatal", "info,clarion=debug"]
        {
            assert!(Levels::new(good).is_ok(), "{good}");
        }
        for bad in ["", "loud", "info debug", "clarion=loud", "=,="] {
            assert!(Levels::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bad_setting_changes_nothing() {
        let levels = Levels::new("info").unwrap();
        assert!(levels.set("loud").is_err());
        assert_eq!(levels.text(), "info");
        levels.set("fatal").unwrap();
        assert!(levels.fatal_only().load(Ordering::Relaxed));
    }
}
