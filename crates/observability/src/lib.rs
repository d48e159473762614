//! The one vocabulary of what Clarion tells its operators: spans, metrics, log events and their attributes.
//!
//! A process holds several services and no globals. [`Process`] owns what they share (one metrics recorder, one ring of
//! recent traces, one log output, one level); [`Process::service`] makes the [`Telemetry`] of one of them, whose dispatcher
//! the threads of that service adopt. Spans are functions of [`span`], instruments the fields of the structs in [`metric`],
//! log lines the constants of [`log`]. Nothing outside this crate spells a name.

#![allow(clippy::disallowed_macros, reason = "this is the crate the others are sent to")]

mod circuit;
mod config;
mod docs;
mod export;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod json;
mod level;
mod lines;
mod process;
mod propagation;
mod redact;
mod sampling;

pub mod capture;
pub mod layer;
pub mod log;
pub mod metric;
pub mod recent;
pub mod span;

pub use circuit::{Admitted, Circuit, CircuitLimits};
pub use config::{ClientIpPolicy, Config};
pub use docs::telemetry_markdown;
pub use level::LevelError;
pub use lines::{LineFollower, TooManyFollowers};
pub use log::{ErrorInfo, Fields, LogEvent};
pub use metric::Meter;
pub use process::{Process, SetupError, Telemetry};
pub use propagation::{Origin, Remote, TraceContext};
pub use recent::RecentTraces;
pub use redact::{ClientIp, Content, Email, Token};
pub use tracing::{Dispatch, Instrument, Span};
