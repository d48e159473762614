//! Many accounts, and a guild with many members, in one request: what load generators and moves from elsewhere need.

use std::collections::BTreeMap;

use clarion_model::guild::{Channel, ChannelKind, Guild, GuildState, Member, Role};
use clarion_model::id::{ChannelId, GuildId, UserId};
use clarion_model::limits::{CHANNELS_PER_GUILD, NAME};
use clarion_model::permission::Permissions;
use clarion_model::user::User;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::{Admin, AdminError, now};

/// Most accounts that one request makes, and most tokens that one revokes.
const ACCOUNTS_AT_ONCE: usize = 1_000;
/// Most members that a guild is made with.
const MEMBERS_AT_ONCE: usize = 20_000;

/// How many changes are under way at a time. Those that wait together for the disk share a sync.
const AT_ONCE: usize = 128;

impl Admin {
    /// Makes accounts called `name-0`, `name-1` … with a token each.
    pub async fn create_accounts(
        &self,
        count: usize,
        name: &str,
        label: &str,
    ) -> Result<Vec<(UserId, String)>, AdminError> {
        check("count", count, ACCOUNTS_AT_ONCE)?;
        check("name", name.chars().count(), NAME - 8)?;
        let made = stream::iter(0..count).map(|n| async move {
            let id = UserId(self.new_id()?);
            self.create_user(User { id, username: format!("{name}-{n}"), global_name: None, bot: true }).await?;
            Ok((id, self.issue_token(id, label).await?))
        });
        made.buffered(AT_ONCE).try_collect().await
    }

    /// Makes a guild with text channels in which everybody may write. The first member owns it.
    pub async fn found_guild(
        &self,
        name: String,
        channels: Vec<String>,
        members: Vec<UserId>,
    ) -> Result<GuildState, AdminError> {
        check("members", members.len(), MEMBERS_AT_ONCE)?;
        check("channels", channels.len(), CHANNELS_PER_GUILD)?;
        check("name", name.chars().count(), NAME)?;
        let id = GuildId(self.new_id()?);
        let everyone = Role {
            id: id.everyone(),
            name: "@everyone".to_owned(),
            color: 0,
            hoist: false,
            position: 0,
            permissions: Permissions::DEFAULT,
            mentionable: false,
        };
        let mut state = GuildState::new(Guild { id, name, owner_id: members[0] }, everyone);
        // Ids that rise keep the order of the names.
        let mut ids: Vec<u64> = channels.iter().map(|_| self.new_id()).collect::<Result<_, _>>()?;
        ids.sort_unstable();
        state.channels = ids.into_iter().zip(channels).enumerate().map(text_channel).collect();
        let joined_at = now();
        let known = stream::iter(members).map(|id| async move {
            let member = Member { user: self.user(id).await?, nick: None, roles: Vec::new(), joined_at };
            Ok::<_, AdminError>((id, member.into()))
        });
        state.members = known.buffer_unordered(AT_ONCE).try_collect::<BTreeMap<_, _>>().await?;
        self.create_guild(state.clone()).await?;
        Ok(state)
    }

    /// Makes tokens invalid; sessions that use them are closed.
    pub async fn revoke_tokens(&self, tokens: &[String]) -> Result<(), AdminError> {
        check("tokens", tokens.len(), ACCOUNTS_AT_ONCE)?;
        at_once(tokens, |token| self.revoke_token(token)).await
    }
}

/// Does something with each of many, some at a time; ends at the first failure.
pub(super) async fn at_once<T, F>(all: impl IntoIterator<Item = T>, each: impl Fn(T) -> F) -> Result<(), AdminError>
where
    F: Future<Output = Result<(), AdminError>>,
{
    stream::iter(all).map(Ok).try_for_each_concurrent(AT_ONCE, each).await
}

fn check(field: &'static str, count: usize, most: usize) -> Result<(), AdminError> {
    if (1..=most).contains(&count) {
        return Ok(());
    }
    Err(AdminError::Invalid { field, reason: format!("must be 1 to {most}, not {count}") })
}

fn text_channel((position, (id, name)): (usize, (u64, String))) -> (ChannelId, Channel) {
    let id = ChannelId(id);
    let channel = Channel {
        id,
        kind: ChannelKind::Text,
        name,
        topic: None,
        position: u32::try_from(position).unwrap_or(u32::MAX),
        parent_id: None,
        overwrites: Vec::new(),
        last_message_id: None,
    };
    (id, channel)
}
