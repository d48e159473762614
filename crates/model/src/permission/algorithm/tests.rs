//! The published examples, and each step of the hierarchy against the one before it.

use std::sync::Arc;

use super::*;
use crate::guild::{ChannelKind, Guild, Overwrite, Role};
use crate::id::GuildId;
use crate::time::Timestamp;
use crate::user::User;

const EVERYONE: RoleId = RoleId(1);
const A: RoleId = RoleId(2);
const B: RoleId = RoleId(3);
const OWNER: UserId = UserId(10);
const MEMBER: UserId = UserId(11);
const STRANGER: UserId = UserId(12);
const CHANNEL: ChannelId = ChannelId(20);

const VIEW: Permissions = Permissions::VIEW_CHANNEL;
const SEND: Permissions = Permissions::SEND_MESSAGES;
const NONE: Permissions = Permissions::NONE;

fn role(id: RoleId, permissions: Permissions) -> Role {
    Role { id, name: "role".into(), color: 0, hoist: false, position: 0, permissions, mentionable: false }
}

fn member(id: UserId, roles: &[RoleId]) -> Arc<Member> {
    let user = User { id, username: "member".into(), global_name: None, bot: false };
    Arc::new(Member {
        user,
        nick: None,
        roles: roles.to_vec(),
        joined_at: Timestamp::default(),
        mute: false,
        deaf: false,
    })
}

/// A guild whose member has the roles A and B, with one channel.
fn guild(everyone: Permissions, a: Permissions, b: Permissions, overwrites: &[Overwrite]) -> GuildState {
    let guild = Guild { id: GuildId(EVERYONE.0), name: "guild".into(), owner_id: OWNER };
    let mut state = GuildState::new(guild, role(EVERYONE, everyone));
    state.roles.extend([(A, role(A, a)), (B, role(B, b))]);
    state.members.extend([(OWNER, member(OWNER, &[])), (MEMBER, member(MEMBER, &[A, B]))]);
    let channel = Channel { overwrites: overwrites.to_vec(), ..Channel::new(CHANNEL, ChannelKind::Text, "coolstuff") };
    state.channels.insert(CHANNEL, channel);
    state
}

fn for_role(id: RoleId, allow: Permissions, deny: Permissions) -> Overwrite {
    Overwrite { target: OverwriteTarget::Role(id), allow, deny }
}

fn for_member(id: UserId, allow: Permissions, deny: Permissions) -> Overwrite {
    Overwrite { target: OverwriteTarget::Member(id), allow, deny }
}

#[test]
fn roles_add_up() {
    let state = guild(VIEW, SEND, Permissions::ADD_REACTIONS, &[]);
    let all_three = VIEW.union(SEND).union(Permissions::ADD_REACTIONS);
    assert_eq!(in_guild(&state, MEMBER), Some(all_three));
    assert_eq!(in_channel(&state, MEMBER, CHANNEL), Some(all_three));
}

#[test]
fn strangers_and_missing_channels_have_no_answer() {
    let state = guild(Permissions::ALL, NONE, NONE, &[]);
    assert_eq!(in_guild(&state, STRANGER), None);
    assert_eq!(in_channel(&state, STRANGER, CHANNEL), None);
    assert_eq!(in_channel(&state, MEMBER, ChannelId(99)), None);
}

#[test]
fn owners_and_administrators_may_everything_everywhere() {
    let closed = [for_role(EVERYONE, NONE, Permissions::ALL), for_member(MEMBER, NONE, Permissions::ALL)];
    let state = guild(NONE, NONE, Permissions::ADMINISTRATOR, &closed);
    for user in [OWNER, MEMBER] {
        assert_eq!(in_guild(&state, user), Some(Permissions::ALL));
        assert_eq!(in_channel(&state, user, CHANNEL), Some(Permissions::ALL));
    }
}

#[test]
fn an_overwrite_cannot_make_an_administrator() {
    let state = guild(VIEW, NONE, NONE, &[for_role(EVERYONE, Permissions::ADMINISTRATOR, SEND)]);
    let held = in_channel(&state, MEMBER, CHANNEL);
    assert_eq!(held, Some(VIEW.union(Permissions::ADMINISTRATOR)));
}

#[test]
fn a_role_that_permits_wins_over_one_that_forbids() {
    for (first, second) in [(A, B), (B, A)] {
        let overwrites = [for_role(first, NONE, VIEW), for_role(second, VIEW, NONE)];
        assert_eq!(in_channel(&guild(NONE, NONE, NONE, &overwrites), MEMBER, CHANNEL), Some(VIEW));
    }
}

#[test]
fn each_step_of_the_hierarchy_overrules_the_one_before() {
    let mut overwrites = Vec::new();
    let mut holds = |overwrite| {
        overwrites.push(overwrite);
        in_channel(&guild(VIEW.union(SEND), NONE, NONE, &overwrites), MEMBER, CHANNEL)
            .is_some_and(|held| held.contains(SEND))
    };
    assert!(!holds(for_role(EVERYONE, NONE, SEND)));
    assert!(holds(for_role(A, SEND, NONE)));
    assert!(holds(for_role(B, NONE, SEND)));
    assert!(!holds(for_member(MEMBER, NONE, SEND)));
    assert!(!holds(for_member(STRANGER, SEND, NONE)));
    assert!(holds(for_member(MEMBER, SEND, NONE)));
}

#[test]
fn who_may_not_view_may_do_nothing() {
    let state = guild(VIEW.union(SEND), NONE, NONE, &[for_role(A, SEND, VIEW)]);
    assert_eq!(in_channel(&state, MEMBER, CHANNEL), Some(NONE));
}

#[test]
fn who_may_not_write_may_not_write_loudly() {
    let loud = WRITING.union(Permissions::ADD_REACTIONS);
    let state = guild(VIEW.union(SEND).union(loud), NONE, NONE, &[for_role(EVERYONE, NONE, SEND)]);
    assert_eq!(in_channel(&state, MEMBER, CHANNEL), Some(VIEW.union(Permissions::ADD_REACTIONS)));
}

#[test]
fn a_deleted_role_gives_nothing() {
    let mut state = guild(NONE, VIEW, NONE, &[for_role(B, VIEW, NONE)]);
    state.roles.remove(&A);
    assert_eq!(in_guild(&state, MEMBER), Some(NONE));
    state.roles.remove(&B);
    assert_eq!(in_channel(&state, MEMBER, CHANNEL), Some(NONE));
}
