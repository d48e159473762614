//! What a search of messages answers.

use serde::Serialize;

use super::Message;

/// The messages that were found, each in a list of its own.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Found<'a> {
    messages: Vec<[Hit<'a>; 1]>,
    doing_deep_historical_index: bool,
    total_results: u64,
}

#[derive(Debug, Clone, Serialize)]
struct Hit<'a> {
    #[serde(flatten)]
    message: Message<'a>,
    hit: bool,
}

/// The index is being built.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct NotReady {
    message: &'static str,
    code: u32,
    documents_indexed: u64,
    /// In seconds.
    retry_after: u64,
}

impl<'a> Found<'a> {
    /// `partial`: a part of the history is being read again.
    pub(crate) fn new(messages: impl Iterator<Item = Message<'a>>, total: u64, partial: bool) -> Self {
        Self {
            messages: messages.map(|message| [Hit { message, hit: true }]).collect(),
            doing_deep_historical_index: partial,
            total_results: total,
        }
    }
}

impl NotReady {
    pub(crate) const fn in_seconds(retry_after: u64) -> Self {
        Self { message: "Index not yet available. Try again later", code: 110_000, documents_indexed: 0, retry_after }
    }
}
