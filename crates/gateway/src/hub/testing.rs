//! Guilds for the tests of this crate.

use std::sync::Arc;

use clarion_model::event::GuildEvent;
use clarion_model::guild::{Channel, ChannelKind, Guild, GuildState, Member, Role};
use clarion_model::id::{ChannelId, GuildId, UserId};
use clarion_model::permission::Permissions;
use clarion_model::time::Timestamp;
use clarion_model::user::User;

/// The guild of the tests.
pub(crate) const GUILD: GuildId = GuildId(1_000 << 22);

/// A user by number.
pub(crate) fn user(n: u64) -> User {
    User { id: UserId(n), username: format!("user{n}"), global_name: None, bot: false }
}

/// A membership without roles.
pub(crate) fn member(n: u64) -> Member {
    Member {
        user: user(n),
        nick: None,
        roles: Vec::new(),
        joined_at: Timestamp::from_millis(1),
        mute: false,
        deaf: false,
    }
}

/// A text channel without overwrites.
pub(crate) fn channel(n: u64) -> Channel {
    Channel { position: n as u32, ..Channel::new(ChannelId(10_000 + n), ChannelKind::Text, format!("channel{n}")) }
}

/// A guild in which everyone sees everything; its owner is nobody's session.
pub(crate) fn guild(members: u64, channels: u64) -> GuildState {
    let everyone = Role {
        id: GUILD.everyone(),
        name: "@everyone".into(),
        color: 0,
        hoist: false,
        position: 0,
        permissions: Permissions::VIEW_CHANNEL,
        mentionable: false,
    };
    let mut state = GuildState::new(Guild { id: GUILD, name: "guild".into(), owner_id: UserId(900_000) }, everyone);
    (1..=members).for_each(|n| state.apply(&GuildEvent::MemberPut(member(n))));
    (1..=channels).for_each(|n| state.apply(&GuildEvent::ChannelPut(channel(n))));
    state
}

/// A member who is there.
pub(crate) fn member_of(state: &GuildState, user: UserId) -> Arc<Member> {
    state.members.get(&user).cloned().expect("a member")
}
