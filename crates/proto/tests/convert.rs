//! What goes out through the contract and its encoding comes back the same; what lacks a field is refused by its name.

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

/// Encodes, decodes and reads back.
fn travel<W, M>(out: W) -> Result<M, Invalid>
where
    W: prost::Message + Default,
    M: TryFrom<W>,
    Invalid: From<M::Error>,
{
    Ok(M::try_from(W::decode(out.encode_to_vec().as_slice()).expect("decodes"))?)
}

fn id() -> impl Strategy<Value = u64> {
    1..=u64::MAX
}

fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..6).prop_map(|chars| chars.into_iter().collect())
}

fn at() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp::from_micros)
}

fn user() -> impl Strategy<Value = User> {
    (id(), text(), of(text()), any::<bool>()).prop_map(|(id, username, global_name, bot)| User {
        id: UserId(id),
        username,
        global_name,
        bot,
    })
}

fn token() -> impl Strategy<Value = (TokenHash, TokenRecord)> {
    (any::<[u8; 32]>(), text(), at())
        .prop_map(|(hash, label, issued_at)| (TokenHash(hash), TokenRecord { label, issued_at }))
}

fn read_state() -> impl Strategy<Value = ReadState> {
    (id(), of(id()), any::<u64>()).prop_map(|(channel, guild, last)| ReadState {
        channel_id: ChannelId(channel),
        guild_id: guild.map(GuildId),
        last_read_id: MessageId(last),
    })
}

fn unread() -> impl Strategy<Value = Unread> {
    (any::<u32>(), any::<u32>(), of(id())).prop_map(|(messages, mentions, last)| Unread {
        messages,
        mentions,
        last_message_id: last.map(MessageId),
    })
}

fn account() -> impl Strategy<Value = UserState> {
    (user(), vec(token(), 0..3), btree_set(id(), 0..3), vec(read_state(), 0..3)).prop_map(
        |(user, tokens, guilds, reads)| UserState {
            user,
            tokens: tokens.into_iter().collect(),
            guilds: guilds.into_iter().map(GuildId).collect::<BTreeSet<_>>(),
            read_states: reads.into_iter().map(|state| (state.channel_id, state)).collect(),
        },
    )
}

fn guild() -> impl Strategy<Value = Guild> {
    (id(), text(), id()).prop_map(|(id, name, owner)| Guild { id: GuildId(id), name, owner_id: UserId(owner) })
}

fn overwrite() -> impl Strategy<Value = Overwrite> {
    let target = prop_oneof![
        id().prop_map(|id| OverwriteTarget::Role(RoleId(id))),
        id().prop_map(|id| OverwriteTarget::Member(UserId(id)))
    ];
    (target, any::<u64>(), any::<u64>()).prop_map(|(target, allow, deny)| Overwrite {
        target,
        allow: Permissions(allow),
        deny: Permissions(deny),
    })
}

fn voice() -> impl Strategy<Value = VoiceSettings> {
    (0u32..100, 8_000u32..400_000, of(text())).prop_map(|(user_limit, bitrate, rtc_region)| VoiceSettings {
        user_limit,
        bitrate,
        rtc_region,
    })
}

fn channel() -> impl Strategy<Value = Channel> {
    let kind = prop_oneof![
        Just(ChannelKind::Text),
        Just(ChannelKind::Direct),
        Just(ChannelKind::Voice),
        Just(ChannelKind::Category)
    ];
    (id(), kind, text(), of(text()), any::<u32>(), of(id()), vec(overwrite(), 0..3), of(id()), voice()).prop_map(
        |(id, kind, name, topic, position, parent, overwrites, last, voice)| Channel {
            id: ChannelId(id),
            kind,
            name,
            topic,
            position,
            parent_id: parent.map(ChannelId),
            overwrites,
            last_message_id: last.map(MessageId),
            voice,
        },
    )
}

fn role() -> impl Strategy<Value = Role> {
    (id(), text(), any::<u32>(), any::<bool>(), any::<u32>(), any::<u64>(), any::<bool>()).prop_map(
        |(id, name, color, hoist, position, permissions, mentionable)| Role {
            id: RoleId(id),
            name,
            color,
            hoist,
            position,
            permissions: Permissions(permissions),
            mentionable,
        },
    )
}

fn member() -> impl Strategy<Value = Member> {
    (user(), of(text()), vec(id(), 0..3), at(), any::<bool>(), any::<bool>()).prop_map(
        |(user, nick, roles, joined_at, mute, deaf)| Member {
            user,
            nick,
            roles: roles.into_iter().map(RoleId).collect(),
            joined_at,
            mute,
            deaf,
        },
    )
}

fn ban() -> impl Strategy<Value = Ban> {
    (user(), of(text())).prop_map(|(user, reason)| Ban { user, reason })
}

fn guild_state() -> impl Strategy<Value = GuildState> {
    (guild(), vec(role(), 0..3), vec(channel(), 0..3), vec(member(), 0..3), vec(ban(), 0..3), any::<u64>()).prop_map(
        |(guild, roles, channels, members, bans, version)| GuildState {
            guild,
            roles: roles.into_iter().map(|r| (r.id, r)).collect(),
            channels: channels.into_iter().map(|c| (c.id, c)).collect(),
            members: members.into_iter().map(|m| (m.user.id, Arc::new(m))).collect(),
            bans: bans.into_iter().map(|b| (b.user.id, b)).collect(),
            version,
        },
    )
}

fn nonce() -> impl Strategy<Value = Nonce> {
    prop_oneof![text().prop_map(Nonce::Text), any::<i64>().prop_map(Nonce::Number)]
}

fn message() -> impl Strategy<Value = Message> {
    let who = (id(), id(), of(id()), user(), text(), at(), of(at()));
    let what = (
        any::<bool>(),
        any::<bool>(),
        vec(user(), 0..2),
        vec(id(), 0..2),
        of(id()),
        text(),
        any::<u64>(),
        (of(nonce()), of(any::<[u8; 16]>())),
    );
    (who, what).prop_map(
        |(
            (id, channel, guild, author, content, at, edited_at),
            (tts, mention_everyone, mentions, roles, reply_to, embeds_json, flags, (nonce, trace)),
        )| Message {
            id: MessageId(id),
            channel_id: ChannelId(channel),
            guild_id: guild.map(GuildId),
            author,
            content,
            at,
            edited_at,
            tts,
            mention_everyone,
            mentions,
            mention_roles: roles.into_iter().map(RoleId).collect(),
            reply_to: reply_to.map(MessageId),
            embeds_json,
            flags,
            nonce,
            trace_id: trace.map(TraceId),
        },
    )
}

fn emoji() -> impl Strategy<Value = Emoji> {
    (of(id()), text()).prop_map(|(id, name)| Emoji { id, name })
}

fn reaction() -> impl Strategy<Value = Reaction> {
    (emoji(), vec(id(), 0..3))
        .prop_map(|(emoji, users)| Reaction { emoji, users: users.into_iter().map(UserId).collect() })
}

fn view() -> impl Strategy<Value = MessageView> {
    let flat = (message(), vec(reaction(), 0..3)).prop_map(|(message, reactions)| MessageView {
        message,
        reactions,
        referenced: None,
    });
    flat.prop_recursive(2, 3, 1, |inner| {
        (message(), of(inner)).prop_map(|(message, referenced)| MessageView {
            message,
            reactions: Vec::new(),
            referenced: referenced.map(Box::new),
        })
    })
}

fn change() -> impl Strategy<Value = ReactionChange> {
    (id(), id(), id(), id(), emoji()).prop_map(|(channel, message, author, user, emoji)| ReactionChange {
        channel_id: ChannelId(channel),
        message_id: MessageId(message),
        message_author_id: UserId(author),
        user_id: UserId(user),
        emoji,
    })
}

fn presence() -> impl Strategy<Value = Presence> {
    let activity = (text(), any::<u8>(), of(text()), of(text()), any::<u64>())
        .prop_map(|(name, kind, state, url, created_at_ms)| Activity { name, kind, state, url, created_at_ms });
    let status = || {
        let all = [Status::Online, Status::Idle, Status::Dnd, Status::Invisible, Status::Offline];
        proptest::sample::select(all.to_vec())
    };
    let devices = (status(), status(), status());
    (status(), vec(activity, 0..3), devices).prop_map(|(status, activities, (desktop, mobile, web))| Presence {
        status,
        activities,
        devices: Devices { desktop, mobile, web },
    })
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        id().prop_map(|id| Key::Guild(GuildId(id))),
        id().prop_map(|id| Key::Direct(ChannelId(id))),
        id().prop_map(|id| Key::User(UserId(id))),
    ]
}

fn position() -> impl Strategy<Value = Position> {
    (any::<u64>(), any::<u64>()).prop_map(|(epoch, offset)| Position { epoch: Epoch(epoch), offset })
}

fn guild_event() -> impl Strategy<Value = GuildEvent> {
    prop_oneof![
        view().prop_map(GuildEvent::MessageCreate),
        view().prop_map(GuildEvent::MessageUpdate),
        (id(), id()).prop_map(|(c, m)| GuildEvent::MessageDelete { channel_id: ChannelId(c), id: MessageId(m) }),
        change().prop_map(GuildEvent::ReactionAdd),
        change().prop_map(GuildEvent::ReactionRemove),
        guild().prop_map(GuildEvent::GuildPut),
        channel().prop_map(GuildEvent::ChannelPut),
        id().prop_map(|id| GuildEvent::ChannelDelete(ChannelId(id))),
        role().prop_map(GuildEvent::RolePut),
        id().prop_map(|id| GuildEvent::RoleDelete(RoleId(id))),
        member().prop_map(GuildEvent::MemberPut),
        user().prop_map(GuildEvent::MemberRemove),
        ban().prop_map(GuildEvent::BanPut),
        user().prop_map(GuildEvent::BanRemove),
    ]
}

fn user_event() -> impl Strategy<Value = UserEvent> {
    prop_oneof![
        user().prop_map(UserEvent::Put),
        token().prop_map(|(hash, record)| UserEvent::TokenIssued { hash, record }),
        token().prop_map(|(hash, _)| UserEvent::TokenRevoked { hash }),
        id().prop_map(|id| UserEvent::GuildJoined(GuildId(id))),
        id().prop_map(|id| UserEvent::GuildLeft(GuildId(id))),
        (read_state(), unread()).prop_map(|(state, unread)| UserEvent::ReadStatePut(ReadStatePut { state, unread })),
        (id(), of(id())).prop_map(|(channel, guild)| UserEvent::ReadStateDrop {
            channel_id: ChannelId(channel),
            guild_id: guild.map(GuildId),
        }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![guild_event().prop_map(Event::Guild), user_event().prop_map(Event::User)]
}

fn entry() -> impl Strategy<Value = LogEntry> {
    (key(), position(), at(), text(), event()).prop_map(|(key, position, at, traceparent, event)| LogEntry {
        key,
        position,
        at,
        traceparent,
        event,
    })
}

fn transient() -> impl Strategy<Value = Transient> {
    (id(), id(), at()).prop_map(|(channel, user, at)| Transient::Typing {
        channel_id: ChannelId(channel),
        user_id: UserId(user),
        at,
    })
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
