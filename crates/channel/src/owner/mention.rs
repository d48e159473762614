//! Whom a message mentions: what its content names, less what its author may not or does not want to mention.

use clarion_model::guild::GuildState;
use clarion_model::id::{RoleId, UserId};
use clarion_model::limits;
use clarion_model::permission::Permissions;
use clarion_model::user::User;

/// What the author wants to be mentioned, of what the content names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AllowedMentions {
    pub(crate) everyone: bool,
    pub(crate) all_users: bool,
    pub(crate) all_roles: bool,
    pub(crate) users: Vec<UserId>,
    pub(crate) roles: Vec<RoleId>,
    pub(crate) replied_user: bool,
}

/// Whom a message mentions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mentions {
    pub(super) everyone: bool,
    pub(super) users: Vec<User>,
    pub(super) roles: Vec<RoleId>,
}

/// What a text names, in order, each once.
#[derive(Debug, Default, PartialEq, Eq)]
struct Named {
    everyone: bool,
    users: Vec<UserId>,
    roles: Vec<RoleId>,
}

impl AllowedMentions {
    fn everything() -> Self {
        Self { everyone: true, all_users: true, all_roles: true, replied_user: true, ..Self::default() }
    }
}

/// Finds the mentions of a message. `replied` is the author of the message that this one answers.
pub(super) fn mentions(
    content: &str,
    allowed: Option<&AllowedMentions>,
    guild: &GuildState,
    held: Permissions,
    replied: Option<&User>,
) -> Mentions {
    let everything = AllowedMentions::everything();
    let allowed = allowed.unwrap_or(&everything);
    let named = named(content);
    let may_all = held.contains(Permissions::MENTION_EVERYONE);
    let mut users: Vec<User> = named
        .users
        .iter()
        .filter(|id| allowed.all_users || allowed.users.contains(id))
        .filter_map(|id| guild.members.get(id))
        .map(|member| member.user.clone())
        .collect();
    if let Some(replied) = replied
        && allowed.replied_user
        && !users.iter().any(|user| user.id == replied.id)
    {
        users.push(replied.clone());
    }
    let roles = named
        .roles
        .into_iter()
        .filter(|id| allowed.all_roles || allowed.roles.contains(id))
        .filter(|id| *id != guild.guild.id.everyone())
        .filter(|id| guild.roles.get(id).is_some_and(|role| may_all || role.mentionable))
        .collect();
    Mentions { everyone: named.everyone && allowed.everyone && may_all, users, roles }
}

/// Reads `<@id>`, `<@!id>`, `<@&id>`, `@everyone` and `@here` out of a text.
fn named(content: &str) -> Named {
    let mut named = Named { everyone: content.contains("@everyone") || content.contains("@here"), ..Named::default() };
    for part in content.split("<@").skip(1) {
        let Some((inside, _)) = part.split_once('>') else { continue };
        if named.users.len() + named.roles.len() >= limits::MENTIONS {
            break;
        }
        if let Some(Ok(id)) = inside.strip_prefix('&').map(str::parse) {
            if !named.roles.contains(&id) {
                named.roles.push(id);
            }
        } else if let Ok(id) = inside.strip_prefix('!').unwrap_or(inside).parse()
            && !named.users.contains(&id)
        {
            named.users.push(id);
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_names_whom_it_names() {
        let got = named("hi <@1> <@!2><@1> <@&3> <@x> <@> <@&> <@!> @here <@4");
        assert_eq!(got, Named { everyone: true, users: vec![UserId(1), UserId(2)], roles: vec![RoleId(3)] });
        assert_eq!(named("nobody <#1> <:e:2> everyone"), Named::default());
    }

    #[test]
    fn names_are_bounded() {
        let many: String = (1..=500).map(|i| format!("<@{i}>")).collect();
        assert_eq!(named(&many).users.len(), limits::MENTIONS);
    }
}
