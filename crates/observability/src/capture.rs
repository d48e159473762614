//! For tests: everything a process tells, at hand.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::Config;
use crate::process::{Process, SetupError};
use crate::recent::SpanRecord;

/// The longest a test waits for a span.
const PATIENCE: Duration = Duration::from_secs(10);

/// A pause between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// A process whose spans and log lines are kept.
#[derive(Debug, Clone)]
pub struct Capture {
    process: Process,
    lines: Lines,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

/// What was waited for did not come; holds what did.
#[derive(Debug, thiserror::Error)]
#[error("not seen in time; seen: {seen}")]
pub struct NotSeen {
    seen: String,
}

impl Capture {
    /// A process of its own, tracing everything at level debug.
    pub fn new() -> Result<Capture, SetupError> {
        Capture::with(&Config { log_level: "debug".into(), recent_traces: 100_000, ..Config::default() })
    }

    /// A process of its own with a configuration.
    pub fn with(config: &Config) -> Result<Capture, SetupError> {
        let lines = Lines::default();
        Ok(Capture { process: Process::with_output(config, Box::new(lines.clone()))?, lines })
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Every finished span of every service, in the order they began.
    pub fn spans(&self) -> Vec<SpanRecord> {
        self.process.recent().spans()
    }

    /// Everything written so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.lines.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Every log line so far; a line that is not JSON is a string.
    pub fn lines(&self) -> Vec<serde_json::Value> {
        let text = self.text();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| line.into())).collect()
    }

    /// Every log line of an event so far.
    pub fn lines_of(&self, event: &str) -> Vec<serde_json::Value> {
        self.lines().into_iter().filter(|line| line["event"] == event).collect()
    }

    /// Waits until the spans are as wanted, and returns them.
    pub async fn wait_for(&self, wanted: impl Fn(&[SpanRecord]) -> bool) -> Result<Vec<SpanRecord>, NotSeen> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let spans = self.spans();
            if wanted(&spans) {
                return Ok(spans);
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(NotSeen {
                    seen: spans.iter().map(|s| format!("\n  {} ({})", s.name, s.service)).collect(),
                });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until the log lines are as wanted, and returns them.
    pub async fn wait_for_lines(
        &self,
        wanted: impl Fn(&[serde_json::Value]) -> bool,
    ) -> Result<Vec<serde_json::Value>, NotSeen> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let lines = self.lines();
            if wanted(&lines) {
                return Ok(lines);
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(NotSeen { seen: format!("\n{}", self.text()) });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lines")
    }
}
