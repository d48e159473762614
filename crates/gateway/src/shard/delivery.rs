//! One event on its way to the sockets of this gateway: its encodings, who gets which, and how it went.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use clarion_model::id::{ChannelId, GuildId, MessageId};
use clarion_observability::log::{self, ErrorInfo, Fields};
use clarion_observability::{Span, span};

use crate::frame::Dispatch;
use crate::outbox::Receipt;

/// The encodings an event may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Everything.
    Full,
    /// Without what people wrote.
    Stripped,
    /// With the nonce its author gave.
    Author,
    /// Everything but what people wrote in the message that it answers.
    FullAlone,
    /// That, with the nonce its author gave.
    AuthorAlone,
    /// What people wrote in the message that it answers, but not in itself.
    Answered,
}

/// An event in each encoding that somebody needs.
#[derive(Debug, Default)]
pub(crate) struct Variants([Option<Dispatch>; 6]);

/// One event for the sessions of one shard.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) variants: Arc<Variants>,
    /// Seats by the encoding they get.
    pub(crate) groups: Vec<(Variant, Arc<[u32]>)>,
    /// Seats of the groups that get another encoding, in order.
    pub(crate) exceptions: Vec<(u32, Variant)>,
    pub(crate) receipt: Option<Receipt>,
    pub(crate) outcome: Option<Arc<Outcome>>,
}

/// What of an event is told to operators once the last shard is done with it.
#[derive(Debug)]
pub(crate) struct Outcome {
    span: Span,
    began: Instant,
    message: Option<(Option<GuildId>, ChannelId, MessageId)>,
    recipients: AtomicUsize,
    failed: AtomicUsize,
}

impl Variants {
    /// With one more encoding.
    pub(crate) fn with(mut self, variant: Variant, dispatch: Dispatch) -> Self {
        self.0[variant as usize] = Some(dispatch);
        self
    }

    /// The encodings that were made.
    pub(crate) fn made_mut(&mut self) -> impl Iterator<Item = &mut Dispatch> {
        self.0.iter_mut().flatten()
    }

    /// Whether the encoding was made.
    pub(crate) fn has(&self, variant: Variant) -> bool {
        self.0[variant as usize].is_some()
    }

    /// The encoding, or the full one when it was not made.
    pub(crate) fn get(&self, variant: Variant) -> Option<&Dispatch> {
        self.0[variant as usize].as_ref().or(self.0[Variant::Full as usize].as_ref())
    }
}

impl Delivery {
    /// The encoding for one seat of a group.
    pub(crate) fn variant_of(&self, seat: u32, group: Variant) -> Variant {
        if self.exceptions.is_empty() {
            return group;
        }
        self.exceptions.binary_search_by_key(&seat, |(seat, _)| *seat).map_or(group, |i| self.exceptions[i].1)
    }
}

impl Outcome {
    /// An event that begins to be delivered. `message` names it when it is a new message.
    pub(crate) fn new(span: Span, message: Option<(Option<GuildId>, ChannelId, MessageId)>) -> Self {
        Self { span, began: Instant::now(), message, recipients: AtomicUsize::new(0), failed: AtomicUsize::new(0) }
    }

    /// Counts what one shard did.
    pub(crate) fn add(&self, recipients: usize, failed: usize) {
        self.recipients.fetch_add(recipients, Ordering::Relaxed);
        self.failed.fetch_add(failed, Ordering::Relaxed);
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        let (recipients, failed) = (*self.recipients.get_mut(), *self.failed.get_mut());
        span::delivered(&self.span, recipients, failed, self.began.elapsed());
        if failed > 0 {
            span::fail(&self.span, "slow_consumer");
        }
        let Some((guild, channel, message)) = self.message else { return };
        let fields = Fields {
            workspace_id: guild,
            channel_id: Some(channel),
            message_id: Some(message),
            message_count: Some(recipients as u64),
            duration_ms: Some(self.began.elapsed().as_secs_f64() * 1e3),
            ..Fields::default()
        };
        self.span.in_scope(|| {
            if failed > 0 {
                let error = ErrorInfo { kind: "slow_consumer", detail: format!("{failed} recipients read too slowly") };
                log::MESSAGE_DELIVERY_FAILED.emit(Fields { error: Some(error), ..fields });
            } else {
                log::MESSAGE_DELIVERED.emit(fields);
            }
        });
    }
}
