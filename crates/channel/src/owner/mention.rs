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

/// Reads `<@id>`, `<@!id>`, `<@&id>`, `@everyone` and `@here` out of a text, but for what is code in it.
fn named(content: &str) -> Named {
    let prose = prose(content);
    let everyone = prose.iter().any(|text| text.contains("@everyone") || text.contains("@here"));
    let mut named = Named { everyone, ..Named::default() };
    for part in prose.iter().flat_map(|text| text.split("<@").skip(1)) {
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

/// The parts of a text between its spans and blocks of code.
fn prose(content: &str) -> Vec<&str> {
    let (mut parts, mut begin, mut at) = (Vec::new(), 0, 0);
    while let Some(found) = content[at..].find(['`', '\\']).map(|found| at + found) {
        if content[found..].starts_with('\\') {
            let escapes = content[found + 1..].starts_with(['`', '\\']);
            at = found + 1 + usize::from(escapes);
            continue;
        }
        at = found + ticks(&content[found..]);
        if let Some(end) = code_end(content, found, at) {
            parts.push(&content[begin..found]);
            (begin, at) = (end, end);
        }
    }
    parts.push(&content[begin..]);
    parts
}

/// How many backticks a text begins with.
fn ticks(text: &str) -> usize {
    text.len() - text.trim_start_matches('`').len()
}

/// Where the code ends that the backticks from `open` to `inside` begin. Without an end they begin none.
fn code_end(content: &str, open: usize, inside: usize) -> Option<usize> {
    const BLOCK: &str = "```";
    let count = inside - open;
    if count >= BLOCK.len() {
        return content[inside..].find(BLOCK).map(|close| inside + close + BLOCK.len());
    }
    let mut at = inside;
    while let Some(close) = content[at..].find('`').map(|close| at + close) {
        at = close + ticks(&content[close..]);
        if at - close == count {
            return Some(at);
        }
    }
    None
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
    fn what_is_in_code_names_nobody() {
        for code in [
            "`<@1>`",
            "``<@1> ` @here``",
            "```<@1>```",
            "```rust\n<@&1> ` `` @everyone\n```",
            "````<@1>```",
            "a `b` `<@1>`",
            "<@`1>` 1>",
            "@every`x`one",
            "ö`<@1>`ö",
        ] {
            assert_eq!(named(code), Named::default(), "{code}");
        }
        for text in [
            "` <@1>",
            "``` <@1>",
            "`a` <@1> `b`",
            "``a` <@1>",
            "`a`` <@1>",
            "```a``` <@1> ```b```",
            "\\`<@1>`",
            "\\`<@1>\\`",
            "\\\\<@1>",
            "``````<@1>",
        ] {
            assert_eq!(named(text), Named { users: vec![UserId(1)], ..Named::default() }, "{text}");
        }
        // A backslash before another keeps it from the backtick; in code it is nothing special.
        assert_eq!(named("\\\\`<@1>`"), Named::default());
        assert_eq!(named("`a\\` <@1> `b`").users, [UserId(1)]);
    }

    #[test]
    fn names_are_bounded() {
        let many: String = (1..=500).map(|i| format!("<@{i}>")).collect();
        assert_eq!(named(&many).users.len(), limits::MENTIONS);
    }
}
