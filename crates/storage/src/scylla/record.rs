//! What a row of a log holds: entries in the encoding of the contract, and the nonces that came with them.

use clarion_model::event::LogEntry;
use clarion_model::id::{ChannelId, MessageId, UserId};
use clarion_model::time::Timestamp;
use clarion_proto::v1;
use prost::Message as _;

use crate::NonceRow;
use crate::error::ReadError;

/// The body of a row of a log.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LogRow {
    /// The entries, encoded.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(super) entries: Vec<Vec<u8>>,
    /// The timestamp of what each entry changes, in microseconds.
    #[prost(int64, repeated, tag = "3")]
    pub(super) stamps: Vec<i64>,
    /// The nonces to remember.
    #[prost(message, repeated, tag = "2")]
    pub(super) nonces: Vec<StoredNonce>,
}

/// A nonce that was used, and by which entry.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StoredNonce {
    /// The place of the entry in the row.
    #[prost(uint32, tag = "1")]
    pub(super) index: u32,
    #[prost(fixed64, tag = "2")]
    channel: u64,
    #[prost(fixed64, tag = "3")]
    author: u64,
    #[prost(message, optional, tag = "4")]
    nonce: Option<v1::Nonce>,
    #[prost(fixed64, tag = "5")]
    message: u64,
    #[prost(uint64, tag = "6")]
    at_us: u64,
}

impl StoredNonce {
    pub(super) fn new(index: usize, used: &NonceRow) -> Self {
        Self {
            index: index as u32,
            channel: used.channel_id.0,
            author: used.author_id.0,
            nonce: Some((&used.nonce).into()),
            message: used.message_id.0,
            at_us: used.at.as_micros(),
        }
    }

    pub(super) fn row(self) -> Result<NonceRow, ReadError> {
        let damaged = || ReadError::Damaged("logs: nonce".into());
        Ok(NonceRow {
            channel_id: ChannelId(self.channel),
            author_id: UserId(self.author),
            nonce: self.nonce.ok_or_else(damaged)?.try_into().map_err(|_| damaged())?,
            message_id: MessageId(self.message),
            at: Timestamp::from_micros(self.at_us),
        })
    }
}

/// An entry as it is in a log: with what is needed to bring the tables up to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) entry: LogEntry,
    /// The timestamp of the rows that the entry changes: higher than that of every entry before it.
    pub(super) stamp: i64,
    pub(super) nonce: Option<NonceRow>,
}

/// Encodes an entry.
pub(super) fn encode(entry: &LogEntry) -> Vec<u8> {
    v1::LogEntry::from(entry).encode_to_vec()
}

/// Decodes the body of a row.
pub(super) fn decode(body: &[u8]) -> Result<Vec<Stored>, ReadError> {
    let damaged = |error: &dyn std::fmt::Display| ReadError::Damaged(format!("logs: {error}"));
    let row = LogRow::decode(body).map_err(|error| damaged(&error))?;
    if row.stamps.len() != row.entries.len() {
        return Err(damaged(&"stamps"));
    }
    let stored = row.entries.iter().zip(row.stamps).map(|(bytes, stamp)| {
        let entry = v1::LogEntry::decode(bytes.as_slice()).map_err(|error| damaged(&error))?;
        let entry = LogEntry::try_from(entry).map_err(|error| damaged(&error))?;
        Ok(Stored { entry, stamp, nonce: None })
    });
    let mut stored = stored.collect::<Result<Vec<_>, ReadError>>()?;
    for nonce in row.nonces {
        let of = stored.get_mut(nonce.index as usize).ok_or_else(|| damaged(&"nonce"))?;
        of.nonce = Some(nonce.row()?);
    }
    Ok(stored)
}

/// Decodes what the contract has a message for.
pub(super) fn value<W, M>(table: &str, bytes: &[u8]) -> Result<M, ReadError>
where
    W: prost::Message + Default,
    M: TryFrom<W, Error = clarion_proto::convert::Invalid>,
{
    let damaged = |error: &dyn std::fmt::Display| ReadError::Damaged(format!("{table}: {error}"));
    let wire = W::decode(bytes).map_err(|error| damaged(&error))?;
    M::try_from(wire).map_err(|error| damaged(&error))
}
