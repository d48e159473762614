//! What goes out through the contract and its encoding comes back the same; what lacks a field is refused by its name.

mod strategies;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use clarion_model::event::{Event, GuildEvent, LogEntry, ReactionChange, ReadStatePut, Transient, Unread, UserEvent};
use clarion_model::guild::{
    Ban, Channel, ChannelKind, Guild, GuildState, Member, Overwrite, OverwriteTarget, Role, VoiceSettings,
};
use clarion_model::id::{ChannelId, GuildId, MessageId, RoleId, UserId};
use clarion_model::key::{Epoch, Key, Position};
use clarion_model::message::{Emoji, Message, MessageView, Nonce, Reaction, TraceId};
use clarion_model::permission::Permissions;
use clarion_model::presence::{Activity, Devices, Presence, Status};
use clarion_model::time::Timestamp;
use clarion_model::user::{ReadState, TokenHash, TokenRecord, User, UserState};
use clarion_proto::convert::{Invalid, user_state};
use clarion_proto::v1;
use proptest::collection::{btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;

use strategies::*;

/// Encodes, decodes and reads back.
fn travel<W, M>(out: W) -> Result<M, Invalid>
where
    W: prost::Message + Default,
    M: TryFrom<W>,
    Invalid: From<M::Error>,
{
    Ok(M::try_from(W::decode(out.encode_to_vec().as_slice()).expect("decodes"))?)
}

/// One test a pair: the model's value survives the way out, the encoding and the way back.
macro_rules! round_trips {
    ($($name:ident: $strategy:expr => $wire:ty, $model:ty;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(64))]
            $(
                #[test]
                fn $name(value in $strategy) {
                    prop_assert_eq!(travel::<$wire, $model>((&value).into()), Ok(value));
                }
            )*
        }
    };
}

round_trips! {
    keys: key() => v1::Key, Key;
    positions: position() => v1::Position, Position;
    users: user() => v1::User, User;
    guilds: guild() => v1::Guild, Guild;
    channels: channel() => v1::GuildChannel, Channel;
    overwrites: overwrite() => v1::Overwrite, Overwrite;
    roles: role() => v1::Role, Role;
    members: member() => v1::Member, Member;
    guild_states: guild_state() => v1::GuildState, GuildState;
    nonces: nonce() => v1::Nonce, Nonce;
    messages: message() => v1::Message, Message;
    emojis: emoji() => v1::Emoji, Emoji;
    reactions: reaction() => v1::Reaction, Reaction;
    views: view() => v1::MessageView, MessageView;
    reaction_changes: change() => v1::ReactionChange, ReactionChange;
    read_states: read_state() => v1::ReadState, ReadState;
    presences: presence() => v1::Presence, Presence;
    events: event() => v1::Event, Event;
    entries: entry() => v1::LogEntry, LogEntry;
    transients: transient() => v1::Transient, Transient;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn tokens((hash, record) in token()) {
        let back: Result<(TokenHash, TokenRecord), _> = travel(v1::TokenRecord::from((&hash, &record)));
        prop_assert_eq!(back, Ok((hash, record)));
    }

    #[test]
    fn accounts(state in account()) {
        prop_assert_eq!(travel(user_state(&state, true)), Ok(state));
    }

    #[test]
    fn followers_see_no_token(state in account()) {
        let sent = user_state(&state, false);
        prop_assert!(sent.tokens.is_empty());
        prop_assert_eq!(travel(sent), Ok(UserState { tokens: Default::default(), ..state }));
    }

    #[test]
    fn by_value_is_by_reference(key in key(), position in position()) {
        prop_assert_eq!(v1::Key::from(key), v1::Key::from(&key));
        prop_assert_eq!(v1::Position::from(position), v1::Position::from(&position));
    }
}

#[test]
fn what_is_missing_is_named() {
    fn refused<W, M: TryFrom<W, Error = Invalid> + Debug>(wire: W) -> &'static str {
        M::try_from(wire).expect_err("refused").0
    }
    assert_eq!(refused::<_, Key>(v1::Key::default()), "key.kind");
    assert_eq!(refused::<_, Key>(v1::Key { kind: Some(v1::key::Kind::Guild(0)) }), "key.guild");
    assert_eq!(refused::<_, User>(v1::User::default()), "user.id");
    assert_eq!(refused::<_, UserState>(v1::UserState::default()), "user_state.user");
    let short = v1::TokenRecord { hash: vec![0; 31].into(), ..Default::default() };
    assert_eq!(refused::<_, (TokenHash, TokenRecord)>(short), "token_record.hash");
    let odd = v1::GuildChannel { id: 1, kind: 3, ..Default::default() };
    assert_eq!(refused::<_, Channel>(odd), "channel.kind");
    let nowhere = v1::GuildChannel { id: 1, parent_id: Some(0), ..Default::default() };
    assert_eq!(refused::<_, Channel>(nowhere), "channel.parent_id");
    assert_eq!(refused::<_, Overwrite>(v1::Overwrite::default()), "overwrite.target");
    assert_eq!(refused::<_, Activity>(v1::Activity { kind: 256, ..Default::default() }), "activity.kind");
    assert_eq!(refused::<_, Presence>(v1::Presence { status: 9, ..Default::default() }), "presence.status");
    let on = v1::Devices { mobile: 7, ..Default::default() };
    let odd = v1::Presence { devices: Some(on), ..Default::default() };
    assert_eq!(refused::<_, Presence>(odd), "presence.devices.mobile");
    assert_eq!(refused::<_, MessageView>(v1::MessageView::default()), "message_view.message");
    assert_eq!(refused::<_, Event>(v1::Event::default()), "event.event");
    assert_eq!(refused::<_, ReadState>(v1::ReadState::default()), "read_state.channel_id");
    let author = Some(v1::User { id: 1, ..Default::default() });
    let odd = v1::Message { id: 1, channel_id: 1, author, trace_id: Some(vec![0; 15].into()), ..Default::default() };
    assert_eq!(refused::<_, Message>(odd), "message.trace_id");
    assert_eq!(refused::<_, LogEntry>(v1::LogEntry::default()), "log_entry.key");
    assert_eq!(refused::<_, Transient>(v1::Transient::default()), "transient.event");
}
