//! Many accounts, and a guild with many members, in one request: what load generators and moves from elsewhere need.

use std::collections::BTreeMap;

use clarion_model::event::UserEvent;
use clarion_model::guild::{Channel, ChannelKind, Guild, GuildState, Member, Role};
use clarion_model::id::{ChannelId, GuildId, UserId};
use clarion_model::limits::{CHANNELS_PER_GUILD, NAME};
use clarion_model::permission::Permissions;
use clarion_model::user::User;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::{AGAIN_AFTER, Admin, AdminError, jitter, new_token, now};

/// Most accounts that one request makes, and most tokens that one revokes.
const ACCOUNTS_AT_ONCE: usize = 1_000;
/// Most members that a guild is made with.
const MEMBERS_AT_ONCE: usize = 20_000;

/// How many changes are under way at a time. Those that wait together for the disk share a sync.
const AT_ONCE: usize = 64;
/// How often a change is tried that could not be made in time: where many wait for a slow disk, some wait for long.
const TRIES: usize = 6;

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
        let made = stream::iter(0..count).map(|n| {
            let (admin, label, username) = (self.clone(), label.to_owned(), format!("{name}-{n}"));
            async move {
                let id = UserId(admin.new_id()?);
                let user = User { id, username, global_name: None, bot: true };
                let token = new_token(id)?;
                patiently(|| admin.create_user(user.clone())).await?;
                patiently(|| admin.register_token(&token, &label)).await?;
                Ok((id, token))
            }
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
        let known = stream::iter(members).map(|id| {
            let admin = self.clone();
            async move {
                let user = patiently(|| admin.user(id)).await?;
                Ok::<_, AdminError>((
                    id,
                    Member { user, nick: None, roles: Vec::new(), joined_at, mute: false, deaf: false }.into(),
                ))
            }
        });
        state.members = known.buffer_unordered(AT_ONCE).try_collect::<BTreeMap<_, _>>().await?;
        self.create_guild(state.clone()).await?;
        Ok(state)
    }

    /// Makes tokens invalid; sessions that use them are closed.
    pub async fn revoke_tokens(&self, tokens: Vec<String>) -> Result<(), AdminError> {
        check("tokens", tokens.len(), ACCOUNTS_AT_ONCE)?;
        let revoked = stream::iter(tokens).map(|token| {
            let admin = self.clone();
            async move { patiently(|| admin.revoke_token(&token)).await }
        });
        revoked.buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Lists a guild with each of its members.
    pub(super) async fn list_guild(&self, guild: GuildId, members: Vec<UserId>) -> Result<(), AdminError> {
        let listed = stream::iter(members).map(|user| {
            let admin = self.clone();
            async move { patiently(|| admin.change_user(user, UserEvent::GuildJoined(guild))).await }
        });
        listed.buffer_unordered(AT_ONCE).try_collect().await
    }
}

/// Does something that may be done twice, again if it could not be done in time.
async fn patiently<A, F>(act: impl Fn() -> F) -> Result<A, AdminError>
where
    F: Future<Output = Result<A, AdminError>>,
{
    for _ in 1..TRIES {
        match act().await {
            Err(AdminError::Unavailable(_)) => tokio::time::sleep(AGAIN_AFTER + jitter()?).await,
            done => return done,
        }
    }
    act().await
}

fn check(field: &'static str, count: usize, most: usize) -> Result<(), AdminError> {
    if (1..=most).contains(&count) {
        return Ok(());
    }
    Err(AdminError::Invalid { field, reason: format!("must be 1 to {most}, not {count}") })
}

fn text_channel((position, (id, name)): (usize, (u64, String))) -> (ChannelId, Channel) {
    let id = ChannelId(id);
    let channel =
        Channel { position: u32::try_from(position).unwrap_or(u32::MAX), ..Channel::new(id, ChannelKind::Text, name) };
    (id, channel)
}
