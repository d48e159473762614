//! Roles.

use clarion_model::guild::Role as GuildRole;
use serde::Serialize;

use super::{Id, Null};

/// A role of a guild.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Role<'a> {
    id: Id,
    name: &'a str,
    color: u32,
    colors: Colors,
    hoist: bool,
    icon: Null,
    unicode_emoji: Null,
    position: u32,
    /// A set of bits, in decimal like an id.
    permissions: Id,
    managed: bool,
    mentionable: bool,
    flags: u32,
}

#[derive(Debug, Clone, Serialize)]
struct Colors {
    primary_color: u32,
    secondary_color: Null,
    tertiary_color: Null,
}

impl<'a> From<&'a GuildRole> for Role<'a> {
    fn from(role: &'a GuildRole) -> Self {
        Self {
            id: role.id.into(),
            name: &role.name,
            color: role.color,
            colors: Colors { primary_color: role.color, secondary_color: None, tertiary_color: None },
            hoist: role.hoist,
            icon: None,
            unicode_emoji: None,
            position: role.position,
            permissions: Id(role.permissions.0),
            managed: false,
            mentionable: role.mentionable,
            flags: 0,
        }
    }
}
