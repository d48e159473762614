//! What fuzzing sends through this crate: messages of the contract, on their way into the domain's words.

use std::fmt::Debug;

use clarion_model::event::{Event, LogEntry, ReactionChange, ReadStatePut, Transient};
use clarion_model::guild::{Ban, Channel, Guild, GuildState, Member, Overwrite, Role};
use clarion_model::key::{Key, Position};
use clarion_model::message::{Emoji, Message, MessageView, Nonce, Reaction};
use clarion_model::presence::{Activity, Presence};
use clarion_model::user::{ReadState, TokenHash, TokenRecord, User, UserState};
use clarion_model::voice::VoiceState;
use prost::Message as _;

use crate::convert::{Invalid, user_state};
use crate::v1;

/// One message; the first byte says of which type. What is refused names a field; what is not goes out again as what it
/// is, and comes back as that.
pub fn types(data: &[u8]) {
    let [kind, data @ ..] = data else { return };
    match kind % 24 {
        0 => through::<v1::Key, Key>(data),
        1 => through::<v1::Position, Position>(data),
        2 => through::<v1::User, User>(data),
        3 => through::<v1::Guild, Guild>(data),
        4 => through::<v1::GuildChannel, Channel>(data),
        5 => through::<v1::Overwrite, Overwrite>(data),
        6 => through::<v1::Role, Role>(data),
        7 => through::<v1::Member, Member>(data),
        8 => through::<v1::Ban, Ban>(data),
        9 => through::<v1::GuildState, GuildState>(data),
        10 => through::<v1::Nonce, Nonce>(data),
        11 => through::<v1::Message, Message>(data),
        12 => through::<v1::Emoji, Emoji>(data),
        13 => through::<v1::Reaction, Reaction>(data),
        14 => through::<v1::MessageView, MessageView>(data),
        15 => through::<v1::ReactionChange, ReactionChange>(data),
        16 => through::<v1::ReadState, ReadState>(data),
        17 => through::<v1::ReadStatePut, ReadStatePut>(data),
        18 => through::<v1::Activity, Activity>(data),
        19 => through::<v1::Presence, Presence>(data),
        20 => through::<v1::VoiceState, VoiceState>(data),
        21 => through::<v1::Transient, Transient>(data),
        22 => through::<v1::LogEntry, LogEntry>(data),
        _ => {
            through::<v1::Event, Event>(data);
            accounts(data);
        }
    }
}

fn through<W, M>(data: &[u8])
where
    W: prost::Message + Default + for<'a> From<&'a M>,
    M: TryFrom<W> + PartialEq + Debug,
    Invalid: From<M::Error>,
{
    let Some(model) = read::<W, M>(data) else { return };
    assert_eq!(read::<W, M>(&W::from(&model).encode_to_vec()), Some(model));
}

fn read<W, M>(data: &[u8]) -> Option<M>
where
    W: prost::Message + Default,
    M: TryFrom<W>,
    Invalid: From<M::Error>,
{
    let wire = W::decode(data).ok()?;
    M::try_from(wire).map_err(|error| assert!(!Invalid::from(error).0.is_empty())).ok()
}

/// Accounts and tokens go out in a way of their own.
fn accounts(data: &[u8]) {
    if let Some(state) = read::<v1::UserState, UserState>(data) {
        let sent = user_state(&state, true).encode_to_vec();
        assert_eq!(read::<v1::UserState, UserState>(&sent), Some(state));
    }
    if let Some((hash, record)) = read::<v1::TokenRecord, (TokenHash, TokenRecord)>(data) {
        let sent = v1::TokenRecord::from((&hash, &record)).encode_to_vec();
        assert_eq!(read::<v1::TokenRecord, (TokenHash, TokenRecord)>(&sent), Some((hash, record)));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_kept_is_decoded() {
        clarion_corpus::replay("grpc_types", super::types);
    }
}
