//! Voice states at work: told to followers, and ended when nobody vouches for them.

use std::time::Duration;

use bytes::Bytes;
use clarion_model::event::Transient;
use clarion_model::id::ChannelId;
use clarion_observability::{Span, TraceContext, span};
use tokio::time::Instant;

use super::Actor;
use crate::follow::voices;

/// How often it is looked whose gateways are still there.
const LOOK: Duration = Duration::from_secs(1);

impl Actor {
    /// All voice states, for somebody who begins to follow.
    pub(super) fn voices_frame(&self) -> Option<Bytes> {
        self.owner.has_voices().then(|| voices(self.start.key, self.owner.voices()))
    }

    /// Ends the states of gateways that are gone.
    pub(super) fn expire_voices(&mut self) {
        self.voices_due = Instant::now() + LOOK;
        let following = self.followers.gateways();
        let changes = self.owner.expire_voices(self.start.keys.now(), &following);
        changes.iter().for_each(|change| self.tell(change));
    }

    /// A change of structure may have ended or changed some.
    pub(super) fn review_voices(&mut self, span: &Span) {
        if self.owner.has_voices() {
            let changes = self.owner.review_voices();
            changes.into_iter().for_each(|change| self.tell_in(span, change));
        }
    }

    /// Tells something as a part of a request's trace.
    pub(super) fn tell_in(&mut self, span: &Span, mut event: Transient) {
        if let Transient::Voice { state, traceparent } = &mut event {
            let channel = state.channel_id.unwrap_or(ChannelId(self.start.key.parts().1));
            let fanout = span.in_scope(|| span::channel_fanout(channel, self.followers.len()));
            *traceparent = TraceContext::of(&fanout).traceparent();
        }
        self.tell(&event);
    }
}
