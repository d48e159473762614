//! Values of the model, any that there can be.

use super::*;

pub(crate) fn id() -> impl Strategy<Value = u64> {
    1..=u64::MAX
}

pub(crate) fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..6).prop_map(|chars| chars.into_iter().collect())
}

pub(crate) fn at() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp::from_micros)
}

pub(crate) fn user() -> impl Strategy<Value = User> {
    (id(), text(), of(text()), any::<bool>()).prop_map(|(id, username, global_name, bot)| User {
        id: UserId(id),
        username,
        global_name,
        bot,
    })
}

pub(crate) fn token() -> impl Strategy<Value = (TokenHash, TokenRecord)> {
    (any::<[u8; 32]>(), text(), at())
        .prop_map(|(hash, label, issued_at)| (TokenHash(hash), TokenRecord { label, issued_at }))
}

pub(crate) fn read_state() -> impl Strategy<Value = ReadState> {
    (id(), of(id()), any::<u64>()).prop_map(|(channel, guild, last)| ReadState {
        channel_id: ChannelId(channel),
        guild_id: guild.map(GuildId),
        last_read_id: MessageId(last),
    })
}

pub(crate) fn unread() -> impl Strategy<Value = Unread> {
    (any::<u32>(), any::<u32>(), of(id())).prop_map(|(messages, mentions, last)| Unread {
        messages,
        mentions,
        last_message_id: last.map(MessageId),
    })
}

pub(crate) fn account() -> impl Strategy<Value = UserState> {
    (user(), vec(token(), 0..3), btree_set(id(), 0..3), vec(read_state(), 0..3)).prop_map(
        |(user, tokens, guilds, reads)| UserState {
            user,
            tokens: tokens.into_iter().collect(),
            guilds: guilds.into_iter().map(GuildId).collect::<BTreeSet<_>>(),
            read_states: reads.into_iter().map(|state| (state.channel_id, state)).collect(),
        },
    )
}

pub(crate) fn guild() -> impl Strategy<Value = Guild> {
    (id(), text(), id()).prop_map(|(id, name, owner)| Guild { id: GuildId(id), name, owner_id: UserId(owner) })
}

pub(crate) fn overwrite() -> impl Strategy<Value = Overwrite> {
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

pub(crate) fn voice() -> impl Strategy<Value = VoiceSettings> {
    (0u32..100, 8_000u32..400_000, of(text())).prop_map(|(user_limit, bitrate, rtc_region)| VoiceSettings {
        user_limit,
        bitrate,
        rtc_region,
    })
}

pub(crate) fn channel() -> impl Strategy<Value = Channel> {
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

pub(crate) fn role() -> impl Strategy<Value = Role> {
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

pub(crate) fn member() -> impl Strategy<Value = Member> {
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

pub(crate) fn ban() -> impl Strategy<Value = Ban> {
    (user(), of(text())).prop_map(|(user, reason)| Ban { user, reason })
}

pub(crate) fn guild_state() -> impl Strategy<Value = GuildState> {
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

pub(crate) fn nonce() -> impl Strategy<Value = Nonce> {
    prop_oneof![text().prop_map(Nonce::Text), any::<i64>().prop_map(Nonce::Number)]
}

pub(crate) fn message() -> impl Strategy<Value = Message> {
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

pub(crate) fn emoji() -> impl Strategy<Value = Emoji> {
    (of(id()), text()).prop_map(|(id, name)| Emoji { id, name })
}

pub(crate) fn reaction() -> impl Strategy<Value = Reaction> {
    (emoji(), vec(id(), 0..3))
        .prop_map(|(emoji, users)| Reaction { emoji, users: users.into_iter().map(UserId).collect() })
}

pub(crate) fn view() -> impl Strategy<Value = MessageView> {
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

pub(crate) fn change() -> impl Strategy<Value = ReactionChange> {
    (id(), id(), id(), id(), emoji()).prop_map(|(channel, message, author, user, emoji)| ReactionChange {
        channel_id: ChannelId(channel),
        message_id: MessageId(message),
        message_author_id: UserId(author),
        user_id: UserId(user),
        emoji,
    })
}

pub(crate) fn presence() -> impl Strategy<Value = Presence> {
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

pub(crate) fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        id().prop_map(|id| Key::Guild(GuildId(id))),
        id().prop_map(|id| Key::Direct(ChannelId(id))),
        id().prop_map(|id| Key::User(UserId(id))),
    ]
}

pub(crate) fn position() -> impl Strategy<Value = Position> {
    (any::<u64>(), any::<u64>()).prop_map(|(epoch, offset)| Position { epoch: Epoch(epoch), offset })
}

pub(crate) fn guild_event() -> impl Strategy<Value = GuildEvent> {
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

pub(crate) fn user_event() -> impl Strategy<Value = UserEvent> {
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

pub(crate) fn event() -> impl Strategy<Value = Event> {
    prop_oneof![guild_event().prop_map(Event::Guild), user_event().prop_map(Event::User)]
}

pub(crate) fn entry() -> impl Strategy<Value = LogEntry> {
    (key(), position(), at(), text(), event()).prop_map(|(key, position, at, traceparent, event)| LogEntry {
        key,
        position,
        at,
        traceparent,
        event,
    })
}

pub(crate) fn transient() -> impl Strategy<Value = Transient> {
    (id(), id(), at()).prop_map(|(channel, user, at)| Transient::Typing {
        channel_id: ChannelId(channel),
        user_id: UserId(user),
        at,
    })
}
