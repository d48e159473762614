//! Over random guilds: a class may view a channel exactly when the published algorithm says so for each of its members.

use std::sync::Arc;

use clarion_model::guild::{Channel, ChannelKind, Guild, GuildState, Member, Overwrite, OverwriteTarget, Role};
use clarion_model::id::{ChannelId, GuildId, RoleId, UserId};
use clarion_model::permission::{Class, Classes, Permissions, can_view, class_of, in_channel};
use clarion_model::time::Timestamp;
use clarion_model::user::User;
use proptest::collection::vec;
use proptest::prelude::*;

/// Roles 1 to 5 exist, 1 is everyone's; 6 was deleted.
const ROLES: u64 = 5;
const USERS: u64 = 6;

/// Mostly the bits that decide, and one that must not.
fn bits() -> impl Strategy<Value = Permissions> {
    let bit = |bit| prop_oneof![3 => Just(Permissions::NONE), 1 => Just(bit)];
    (bit(Permissions::VIEW_CHANNEL), bit(Permissions::SEND_MESSAGES)).prop_map(|(a, b)| a.union(b))
}

fn role_bits() -> impl Strategy<Value = Permissions> {
    prop_oneof![8 => bits(), 1 => Just(Permissions::ADMINISTRATOR)]
}

fn overwrite() -> impl Strategy<Value = Overwrite> {
    let target = prop_oneof![
        2 => (1..=ROLES + 1).prop_map(|id| OverwriteTarget::Role(RoleId(id))),
        1 => (1..=USERS).prop_map(|id| OverwriteTarget::Member(UserId(id))),
    ];
    (target, bits(), bits()).prop_map(|(target, allow, deny)| Overwrite { target, allow, deny })
}

fn role(id: u64, permissions: Permissions) -> Role {
    let id = RoleId(id);
    Role { id, name: String::new(), color: 0, hoist: false, position: 0, permissions, mentionable: false }
}

fn member(id: u64, roles: Vec<u64>) -> Arc<Member> {
    let user = User { id: UserId(id), username: String::new(), global_name: None, bot: false };
    let roles = roles.into_iter().map(RoleId).collect();
    Arc::new(Member { user, nick: None, roles, joined_at: Timestamp::default(), mute: false, deaf: false })
}

fn channel(id: u64, overwrites: Vec<Overwrite>) -> Channel {
    Channel { overwrites, ..Channel::new(ChannelId(id), ChannelKind::Text, "") }
}

prop_compose! {
    fn guild()(
        roles in vec(role_bits(), ROLES as usize),
        members in vec(vec(1..=ROLES + 1, 0..4), USERS as usize),
        overwrites in vec(vec(overwrite(), 0..5), 1..4),
        owner in 1..=2 * USERS,
    ) -> GuildState {
        let guild = Guild { id: GuildId(1), name: String::new(), owner_id: UserId(owner) };
        let mut roles = roles.into_iter().zip(1..).map(|(bits, id)| role(id, bits));
        let everyone = roles.next().expect("there are several roles");
        let mut state = GuildState::new(guild, everyone);
        state.roles.extend(roles.map(|role| (role.id, role)));
        state.members.extend(members.into_iter().zip(1..).map(|(roles, id)| (UserId(id), member(id, roles))));
        state.channels.extend(overwrites.into_iter().zip(1..).map(|(o, id)| (ChannelId(id), channel(id, o))));
        state
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_class_sees_what_its_members_see(guild in guild()) {
        let classes = Classes::new(&guild);
        for user in (1..=USERS).map(UserId) {
            let class = classes.of(user).expect("all are members");
            let alone = class_of(&guild, user).expect("all are members");
            prop_assert_eq!(&alone, &class);
            for channel in guild.channels.keys() {
                let held = in_channel(&guild, user, *channel).expect("all are members");
                prop_assert_eq!(can_view(&guild, &class, *channel), held.contains(Permissions::VIEW_CHANNEL));
            }
            prop_assert!(!can_view(&guild, &class, ChannelId(99)));
        }
        prop_assert_eq!(classes.of(UserId(USERS + 1)), None);
    }
}

#[test]
fn members_whom_nothing_tells_apart_share_a_class() {
    let guild = Guild { id: GuildId(1), name: String::new(), owner_id: UserId(1) };
    let mut state = GuildState::new(guild, role(1, Permissions::VIEW_CHANNEL));
    state.roles.extend([2, 3].map(|id| (RoleId(id), role(id, Permissions::VIEW_CHANNEL))));
    state.members.extend((1..=100).map(|id| (UserId(id), member(id, vec![2 + id % 2]))));
    let quiet = |target| Overwrite { target, allow: Permissions::NONE, deny: Permissions::SEND_MESSAGES };
    let hidden = |target| Overwrite { target, allow: Permissions::NONE, deny: Permissions::VIEW_CHANNEL };
    let count = |state: &GuildState| {
        let classes = Classes::new(state);
        let mut found: Vec<Class> = state.members.keys().filter_map(|id| classes.of(*id)).collect();
        found.sort();
        found.dedup();
        found.len()
    };

    // The owner, and the rest: an overwrite that hides nothing separates nobody.
    state.channels.insert(ChannelId(1), channel(1, vec![quiet(OverwriteTarget::Role(RoleId(2)))]));
    assert_eq!(count(&state), 2);
    state.channels.insert(ChannelId(2), channel(2, vec![hidden(OverwriteTarget::Role(RoleId(2)))]));
    assert_eq!(count(&state), 3);
    state.channels.insert(ChannelId(3), channel(3, vec![hidden(OverwriteTarget::Member(UserId(50)))]));
    assert_eq!(count(&state), 4);
}
