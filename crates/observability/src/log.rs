//! Log events are constants: what happened, how bad it is, in the same words every time.
//!
//! What varies goes into [`Fields`], which has a place for ids, numbers and redacted values and none for what people
//! write. Nothing is sampled or left out.

use std::fmt::Write;

use clarion_model::id::{ChannelId, GuildId, MessageId, UserId};

use crate::redact::ClientIp;
use crate::span::TARGET;

mod event;

pub use event::*;

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEvent {
    /// Its dotted name, `message.sent`.
    pub name: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What a person reads.
    pub message: &'static str,
    /// The part of the product it happens in.
    pub component: &'static str,
    /// Whether the process ends because of it; written as CRITICAL.
    pub fatal: bool,
}

/// How bad an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Needs attention.
    Error,
    /// Worse than it should be, but working.
    Warn,
    /// A key event of the business.
    Info,
    /// State and detail.
    Debug,
}

/// What applies to one occurrence. Absent fields are absent from the line; `request_id`, `user_id`, `session_id` and
/// `channel_id` are taken from the enclosing spans unless given.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    /// Who it is about.
    pub user_id: Option<UserId>,
    /// The guild.
    pub workspace_id: Option<GuildId>,
    /// The channel.
    pub channel_id: Option<ChannelId>,
    /// The message.
    pub message_id: Option<MessageId>,
    /// The client's device.
    pub device_id: Option<String>,
    /// The request.
    pub request_id: Option<String>,
    /// The session.
    pub session_id: Option<String>,
    /// How many messages.
    pub message_count: Option<u64>,
    /// How long a message, in characters.
    pub message_length: Option<u64>,
    /// The client's address; how much of it is written is the configuration's choice.
    pub client_ip: Option<ClientIp>,
    /// The method and route template of an API request, or the name of a call.
    pub endpoint: Option<&'static str>,
    /// How often it was tried before.
    pub retry_count: Option<u64>,
    /// Whether it worked.
    pub success: Option<bool>,
    /// How long this step took.
    pub duration_ms: Option<f64>,
    /// How long ago the request entered.
    pub latency_ms: Option<f64>,
    /// What went wrong.
    pub error: Option<ErrorInfo>,
    /// A short operational text such as an address or a reason; never what people write.
    pub detail: Option<String>,
    /// Whether the process ends because of it.
    pub fatal: bool,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorInfo {
    /// The bounded type, the same as in metrics.
    pub kind: &'static str,
    /// What the error and its causes say.
    pub detail: String,
}

/// Every field beside those of each line, and what it says.
pub const FIELDS: &[(&str, &str)] = &[
    ("user_id", "The user."),
    ("workspace_id", "The guild."),
    ("channel_id", "The channel."),
    ("message_id", "The message."),
    ("device_id", "The client's device."),
    ("request_id", "The request, the same in every service."),
    ("session_id", "The gateway session."),
    ("message_count", "How many messages."),
    ("message_length", "How long a message is, in characters."),
    ("client_ip", "The client's address, as much of it as the configuration allows."),
    ("endpoint", "The method and route template of an API request, or the name of a call."),
    ("retry_count", "How often it was tried before."),
    ("success", "Whether it worked."),
    ("duration_ms", "How long this step took."),
    ("latency_ms", "How long ago the request entered."),
    ("error", "An object: the bounded `type`, and `stack`, what the error and its causes say."),
    ("detail", "A short operational text: an address, a reason."),
    ("fatal", "Present and true if the process ends because of it."),
];

impl Level {
    /// The word on a line.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Error => "ERROR",
            Level::Warn => "WARN",
            Level::Info => "INFO",
            Level::Debug => "DEBUG",
        }
    }
}

impl ErrorInfo {
    /// An error and its causes, joined by colons.
    pub fn new(kind: &'static str, error: &dyn std::error::Error) -> ErrorInfo {
        let mut detail = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            // Writing to a string cannot fail.
            let _ = write!(detail, ": {error}");
            cause = error.source();
        }
        ErrorInfo { kind, detail }
    }
}

impl Fields {
    /// Nothing but an error.
    pub fn error(kind: &'static str, error: &dyn std::error::Error) -> Fields {
        Fields { error: Some(ErrorInfo::new(kind, error)), ..Fields::default() }
    }

    /// Nothing but a short operational text.
    pub fn detail(detail: impl Into<String>) -> Fields {
        Fields { detail: Some(detail.into()), ..Fields::default() }
    }
}

macro_rules! line {
    ($level:ident, $event:ident, $f:ident) => {
        tracing::event!(
            target: TARGET, tracing::Level::$level,
            event = $event.name, message = $event.message, component = $event.component, fatal = $event.fatal || $f.fatal,
            user_id = $f.user_id.map(|id| id.0), workspace_id = $f.workspace_id.map(|id| id.0),
            channel_id = $f.channel_id.map(|id| id.0), message_id = $f.message_id.map(|id| id.0),
            device_id = $f.device_id.as_deref(), request_id = $f.request_id.as_deref(), session_id = $f.session_id.as_deref(),
            message_count = $f.message_count, message_length = $f.message_length,
            client_ip = $f.client_ip.map(ClientIp::to_bits), endpoint = $f.endpoint, retry_count = $f.retry_count,
            success = $f.success, duration_ms = $f.duration_ms, latency_ms = $f.latency_ms,
            error.type = $f.error.as_ref().map(|e| e.kind), error.stack = $f.error.as_ref().map(|e| e.detail.as_str()),
            detail = $f.detail.as_deref(),
        )
    };
}

impl LogEvent {
    /// Writes a line.
    pub fn emit(&self, fields: Fields) {
        match self.level {
            Level::Error => line!(ERROR, self, fields),
            Level::Warn => line!(WARN, self, fields),
            Level::Info => line!(INFO, self, fields),
            Level::Debug => line!(DEBUG, self, fields),
        }
    }
}
