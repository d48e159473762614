//! Memberships.

use clarion_model::guild::Member as Membership;
use serde::Serialize;

use super::{Id, Null, Time, User};

/// Somebody's membership of a guild. Beside a message the user stands elsewhere and is left out.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Member<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<User<'a>>,
    nick: Option<&'a str>,
    avatar: Null,
    banner: Null,
    roles: Vec<Id>,
    joined_at: Time,
    premium_since: Null,
    deaf: bool,
    mute: bool,
    flags: u32,
    pending: bool,
    communication_disabled_until: Null,
}

/// Somebody who is not to be a member.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Ban<'a> {
    reason: Option<&'a str>,
    user: User<'a>,
}

impl<'a> From<&'a clarion_model::guild::Ban> for Ban<'a> {
    fn from(ban: &'a clarion_model::guild::Ban) -> Self {
        Self { reason: ban.reason.as_deref(), user: (&ban.user).into() }
    }
}

/// A membership that says of which guild.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct MemberOf<'a> {
    guild_id: Id,
    #[serde(flatten)]
    member: Member<'a>,
}

impl<'a> Member<'a> {
    /// Without its user.
    pub(crate) fn bare(membership: &'a Membership) -> Self {
        Self {
            user: None,
            nick: membership.nick.as_deref(),
            avatar: None,
            banner: None,
            roles: membership.roles.iter().map(|id| Id::from(*id)).collect(),
            joined_at: Time(membership.joined_at),
            premium_since: None,
            deaf: membership.deaf,
            mute: membership.mute,
            flags: 0,
            pending: false,
            communication_disabled_until: None,
        }
    }
}

impl<'a> From<&'a Membership> for Member<'a> {
    fn from(membership: &'a Membership) -> Self {
        Self { user: Some((&membership.user).into()), ..Self::bare(membership) }
    }
}

impl<'a> MemberOf<'a> {
    pub(crate) fn new(guild_id: impl Into<Id>, membership: &'a Membership) -> Self {
        Self { guild_id: guild_id.into(), member: membership.into() }
    }
}
