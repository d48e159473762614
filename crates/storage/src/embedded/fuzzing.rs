//! What fuzzing finds on the disk of the embedded store.

use clarion_model::event::LogEntry;
use clarion_model::guild::{Ban, Channel, Guild, Member, Role};
use clarion_model::id::{GuildId, UserId};
use clarion_model::key::{Key, Position};
use clarion_model::message::Message;
use clarion_model::user::{ReadState, TokenHash, TokenRecord, User};
use clarion_proto::convert::Invalid;
use clarion_proto::v1;

use super::db::{record, value};
use super::schema::{self, NonceRow, ReactionRow, SlotRow, Table, TailRow};
use crate::error::ReadError;
use crate::row;

/// A key or a row; the first byte says of which table.
pub(crate) fn rows(data: &[u8]) {
    let [kind, data @ ..] = data else { return };
    match kind % 16 {
        0 => keys(data),
        1 => stored::<v1::Message, Message>(Table::Messages, data),
        2 => stored::<v1::Guild, Guild>(Table::Guilds, data),
        3 => stored::<v1::Role, Role>(Table::Guilds, data),
        4 => stored::<v1::GuildChannel, Channel>(Table::Guilds, data),
        5 => stored::<v1::Member, Member>(Table::Guilds, data),
        6 => stored::<v1::Ban, Ban>(Table::Guilds, data),
        7 => stored::<v1::User, User>(Table::Users, data),
        8 => drop(checked(Table::Users, value::<v1::TokenRecord, (TokenHash, TokenRecord)>(Table::Users, data))),
        9 => stored::<v1::ReadState, ReadState>(Table::Users, data),
        10 => stored::<v1::Key, Key>(Table::Routes, data),
        11 => kept(Table::Tails, data, |row: TailRow| {
            assert_eq!((row.tail().position, row.tail().entries), (row.position(), row.entries));
            assert_eq!((row.trimmed().epoch.0, row.trimmed().offset), (row.trimmed_epoch, row.trimmed_offset));
        }),
        12 => kept(Table::Slots, data, |_: SlotRow| {}),
        13 => kept(Table::Reactions, data, |_: ReactionRow| {}),
        14 => kept(Table::Nonces, data, |_: NonceRow| {}),
        _ => {
            let read = value::<v1::LogEntry, LogEntry>(Table::Logs, data);
            if let Some(entry) = checked(Table::Logs, read) {
                assert!(row::rows(&entry).len() <= 3);
                row::version(entry.position);
            }
            kept(Table::Guilds, data, |_: u64| {});
        }
    }
}

/// What cannot be read says in which table.
fn checked<T>(table: Table, read: Result<T, ReadError>) -> Option<T> {
    match read {
        Ok(read) => Some(read),
        Err(ReadError::Damaged(why)) => {
            assert!(why.starts_with(table.name()), "{why}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn stored<W, M>(table: Table, data: &[u8])
where
    W: prost::Message + Default + for<'a> From<&'a M>,
    M: TryFrom<W, Error = Invalid> + PartialEq + std::fmt::Debug,
{
    let Some(read) = checked(table, value::<W, M>(table, data)) else { return };
    assert_eq!(value::<W, M>(table, &W::from(&read).encode_to_vec()), Ok(read));
}

fn kept<R: prost::Message + Default + PartialEq + std::fmt::Debug>(table: Table, data: &[u8], holds: impl FnOnce(R)) {
    let Some(read) = checked(table, record::<R>(table, data)) else { return };
    assert_eq!(record::<R>(table, &read.encode_to_vec()).as_ref(), Ok(&read));
    holds(read);
}

/// A key that is read is the one that is written for the same thing.
fn keys(data: &[u8]) {
    if let Some(key) = schema::log_key(data) {
        let (kind, id) = key.parts();
        assert_eq!((kind, id), (data[0], schema::number(data, 1).expect("a number")));
        if let Some(part) = schema::guild_part(data) {
            assert!(data.starts_with(&schema::guild(key, part)), "{part:?}");
        }
        let log = schema::log(key, Position::START);
        assert_eq!(schema::log_key(&log), Some(key));
    }
    if let Some(part) = schema::user_part(data) {
        let user = UserId(schema::number(data, 0).expect("a number"));
        assert!(data.starts_with(&schema::user(user, part)), "{part:?}");
        let read_states = schema::read_states(user, Some(GuildId(7)));
        assert!(read_states.starts_with(&schema::account(user)));
    }
}
