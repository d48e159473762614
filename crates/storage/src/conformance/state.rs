//! Guilds, accounts and routes: the rows say what the events, applied one by one, say.

use clarion_model::event::{Event, GuildEvent, ReadStatePut, Unread, UserEvent};
use clarion_model::guild::{Ban, ChannelKind, GuildState, Member, Overwrite, OverwriteTarget, Role};
use clarion_model::id::{ChannelId, GuildId, MessageId, RoleId};
use clarion_model::key::Key;
use clarion_model::permission::Permissions;
use clarion_model::user::{ReadState, TokenHash, TokenRecord, UserState};

use super::{Ids, Owner, channel, create, guild, message, now, user};
use crate::Stores;

pub(super) async fn rules(stores: &Stores, ids: &mut Ids) {
    what_nobody_made_is_not_there(stores, ids).await;
    a_guild_is_the_sum_of_its_events(stores, ids).await;
    a_version_only_rises(stores, ids).await;
    an_account_is_the_sum_of_its_events(stores, ids).await;
    a_channel_lies_in_its_key(stores, ids).await;
}

async fn what_nobody_made_is_not_there(stores: &Stores, ids: &mut Ids) {
    let Key::Guild(guild) = ids.guild() else { unreachable!("made as a guild's") };
    assert_eq!(stores.guilds.get(guild).await, Ok(None));
    assert_eq!(stores.users.get(ids.user()).await, Ok(None));
    assert_eq!(stores.routes.key_of(ids.channel()).await, Ok(None));
    assert_eq!(stores.messages.get(ids.channel(), ids.message()).await, Ok(None));
}

fn role(id: RoleId, name: &str) -> Role {
    Role {
        id,
        name: name.into(),
        color: 0xff_00_ff,
        hoist: true,
        position: 3,
        permissions: Permissions(u64::MAX),
        mentionable: false,
    }
}

/// The state, but for the version, which a store may count in its own way.
async fn stored(stores: &Stores, id: GuildId) -> GuildState {
    GuildState { version: 0, ..stores.guilds.get(id).await.unwrap().unwrap() }
}

async fn a_guild_is_the_sum_of_its_events(stores: &Stores, ids: &mut Ids) {
    let key = ids.guild();
    let id = GuildId(key.parts().1);
    let mut owner = Owner::of(stores, key).await;
    let (founder, guest, helper) = (ids.user(), ids.user(), RoleId(ids.next()));
    let (place, closed) = (ids.channel(), ids.channel());
    let everyone = role(id.everyone(), "@everyone");
    let mut state = GuildState::new(guild(key, founder), everyone.clone());
    let begin = vec![GuildEvent::GuildPut(guild(key, founder)), GuildEvent::RolePut(everyone)];
    owner.write(begin).await;
    assert_eq!(stored(stores, id).await, state);

    let member = |who, roles| Member {
        user: user(who),
        nick: Some("nick".into()),
        roles,
        joined_at: now(),
        mute: false,
        deaf: false,
    };
    let mut locked = channel(closed);
    locked.kind = ChannelKind::Voice;
    locked.parent_id = Some(place);
    let target = OverwriteTarget::Role(helper);
    locked.overwrites.push(Overwrite { target, allow: Permissions(1), deny: Permissions(2) });
    let target = OverwriteTarget::Member(guest);
    locked.overwrites.push(Overwrite { target, allow: Permissions(4), deny: Permissions(8) });
    let mut renamed = channel(place);
    renamed.topic = Some("a topic".into());
    let mut sold = guild(key, guest);
    sold.name = "another name".into();
    let (first, second) = (ids.message(), ids.message());
    let steps = [
        GuildEvent::ChannelPut(channel(place)),
        GuildEvent::ChannelPut(locked),
        GuildEvent::RolePut(role(helper, "helper")),
        GuildEvent::MemberPut(member(founder, vec![helper])),
        GuildEvent::MemberPut(member(guest, Vec::new())),
        create(message(place, first, "one")),
        create(message(place, second, "two")),
        GuildEvent::MessageDelete { channel_id: place, id: second },
        GuildEvent::MemberPut(member(guest, vec![helper])),
        GuildEvent::RolePut(role(helper, "renamed")),
        GuildEvent::GuildPut(sold),
        GuildEvent::RoleDelete(helper),
        // Of the members who had it, one is put again and one is not.
        GuildEvent::MemberPut(member(guest, Vec::new())),
        GuildEvent::MemberRemove(user(guest)),
        GuildEvent::BanPut(Ban { user: user(guest), reason: Some("why".into()) }),
        GuildEvent::ChannelDelete(closed),
    ];
    for event in steps {
        state.apply(&event);
        state.version = 0;
        owner.write(vec![event.clone()]).await;
        assert_eq!(stored(stores, id).await, state, "after {event:?}");
    }
    assert_eq!(state.channels[&place].last_message_id, Some(second));
    assert_eq!(state.members[&founder].roles, []);
    // A channel that is put again keeps its newest message, even if whoever put it did not know.
    owner.write(vec![GuildEvent::ChannelPut(renamed.clone())]).await;
    renamed.last_message_id = Some(second);
    assert_eq!(stored(stores, id).await.channels[&place], renamed);
}

async fn a_version_only_rises(stores: &Stores, ids: &mut Ids) {
    let key = ids.guild();
    let id = GuildId(key.parts().1);
    let founder = ids.user();
    let place = ids.channel();
    let mut last = 0;
    for _ in 0..3 {
        let mut owner = Owner::of(stores, key).await;
        owner.write(vec![GuildEvent::GuildPut(guild(key, founder))]).await;
        for _ in 0..3 {
            owner.write(vec![GuildEvent::ChannelPut(channel(place))]).await;
            let version = stores.guilds.get(id).await.unwrap().unwrap().version;
            assert!(version > last, "{version} after {last}");
            last = version;
        }
        owner.write(vec![create(message(place, ids.message(), "no change"))]).await;
        assert_eq!(stores.guilds.get(id).await.unwrap().unwrap().version, last);
    }
}

async fn an_account_is_the_sum_of_its_events(stores: &Stores, ids: &mut Ids) {
    let (id, next) = (ids.user(), ids.user());
    let mut owner = Owner::of(stores, Key::User(id)).await;
    let mut neighbour = Owner::of(stores, Key::User(next)).await;
    neighbour.try_write(vec![Event::User(UserEvent::Put(user(next)))]).await.unwrap();
    // The neighbour may lie in the same slot.
    owner.epoch = stores.slots.get(owner.key.slot()).await.unwrap().epoch;
    let mut state = UserState::new(user(id));
    let token = |n: u8| (TokenHash([n; 32]), TokenRecord { label: format!("token {n}"), issued_at: now() });
    let issued = |n| {
        let (hash, record) = token(n);
        UserEvent::TokenIssued { hash, record }
    };
    let mut renamed = user(id);
    renamed.username = "renamed".into();
    let (first, second) = (GuildId(ids.next()), GuildId(ids.next()));
    let (here, gone, there) = (ids.channel(), ids.channel(), ids.channel());
    let elsewhere = ReadState { channel_id: ids.channel(), guild_id: None, last_read_id: MessageId(1) };
    let read = |guild, channel_id, last| {
        let state = ReadState { channel_id, guild_id: Some(guild), last_read_id: MessageId(last) };
        UserEvent::ReadStatePut(ReadStatePut { state, unread: Unread { messages: 1, ..Unread::default() } })
    };
    let steps = [
        UserEvent::Put(user(id)),
        issued(1),
        issued(255),
        UserEvent::GuildJoined(first),
        UserEvent::GuildJoined(second),
        UserEvent::TokenRevoked { hash: TokenHash([1; 32]) },
        UserEvent::Put(renamed),
        read(first, here, 5),
        read(first, gone, 6),
        read(second, there, 7),
        UserEvent::ReadStatePut(ReadStatePut { state: elsewhere, unread: Unread::default() }),
        read(second, there, 9),
        read(second, there, 0),
        UserEvent::ReadStateDrop { channel_id: gone, guild_id: Some(first) },
        UserEvent::GuildLeft(first),
        UserEvent::ReadStateDrop { channel_id: elsewhere.channel_id, guild_id: None },
    ];
    for event in steps {
        state.apply(&event);
        owner.try_write(vec![Event::User(event.clone())]).await.unwrap();
        assert_eq!(stores.users.get(id).await, Ok(Some(state.clone())), "after {event:?}");
    }
    assert_eq!(state.read_states.keys().collect::<Vec<_>>(), [&there]);
    assert_eq!(stores.users.get(next).await, Ok(Some(UserState::new(user(next)))));
}

async fn a_channel_lies_in_its_key(stores: &Stores, ids: &mut Ids) {
    let mut owner = Owner::of(stores, ids.guild()).await;
    let (first, second) = (ids.channel(), ids.channel());
    owner.write(vec![GuildEvent::ChannelPut(channel(first)), GuildEvent::ChannelPut(channel(second))]).await;
    owner.write(vec![GuildEvent::ChannelDelete(first)]).await;
    assert_eq!(stores.routes.key_of(first).await, Ok(None));
    assert_eq!(stores.routes.key_of(second).await, Ok(Some(owner.key)));

    let direct: ChannelId = ids.channel();
    let mut owner = Owner::of(stores, Key::Direct(direct)).await;
    let mut between = channel(direct);
    between.kind = ChannelKind::Direct;
    owner.write(vec![GuildEvent::ChannelPut(between), create(message(direct, ids.message(), "hello"))]).await;
    assert_eq!(stores.routes.key_of(direct).await, Ok(Some(Key::Direct(direct))));
}
