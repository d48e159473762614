//! How far a key has got, as indexes keep it.

use clarion_model::id::{ChannelId, MessageId};
use clarion_model::key::{Epoch, Key, Position};

use super::{Progress, Refill};

/// [`Progress`], in an index.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ProgressRow {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(fixed64, tag = "2")]
    id: u64,
    #[prost(uint64, tag = "3")]
    epoch: u64,
    #[prost(uint64, tag = "4")]
    offset: u64,
    #[prost(bool, tag = "5")]
    ready: bool,
    #[prost(bool, tag = "6")]
    refill: bool,
    #[prost(fixed64, tag = "7")]
    channel: u64,
    #[prost(fixed64, tag = "8")]
    after: u64,
    #[prost(fixed64, tag = "9")]
    upto: u64,
}

impl From<&Progress> for ProgressRow {
    fn from(progress: &Progress) -> Self {
        let (kind, id) = progress.key.parts();
        let nothing = Refill { channel: ChannelId(0), after: MessageId(0), upto: MessageId(0) };
        let refill = progress.refill.unwrap_or(nothing);
        Self {
            kind: kind.into(),
            id,
            epoch: progress.position.epoch.0,
            offset: progress.position.offset,
            ready: progress.ready,
            refill: progress.refill.is_some(),
            channel: refill.channel.0,
            after: refill.after.0,
            upto: refill.upto.0,
        }
    }
}

impl ProgressRow {
    /// Nothing if it names no key.
    pub(crate) fn read(self) -> Option<Progress> {
        let refill =
            Refill { channel: ChannelId(self.channel), after: MessageId(self.after), upto: MessageId(self.upto) };
        Some(Progress {
            key: Key::from_parts(u8::try_from(self.kind).ok()?, self.id)?,
            position: Position { epoch: Epoch(self.epoch), offset: self.offset },
            ready: self.ready,
            refill: self.refill.then_some(refill),
        })
    }
}
