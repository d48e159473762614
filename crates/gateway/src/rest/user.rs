//! Accounts, and the guilds they are in.

use clarion_model::guild::GuildState;
use clarion_model::id::{GuildId, UserId};
use clarion_model::key::Key;
use clarion_model::permission::{Permissions, in_guild};
use clarion_model::user::UserState;
use clarion_proto::v1;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::answer::{Answer, Answered};
use super::call::Call;
use super::guild::read_guild;
use super::refusal::Refusal;
use crate::api::{Application, Me, PartialGuild, User};
use crate::directory::Target;

/// Most guilds of one page, and how many are read at a time.
const PAGE: u32 = 200;
const AT_A_TIME: usize = 8;

pub(super) async fn me(call: Call) -> Answered {
    Ok(Answer::object(&Me::from(&call.user)))
}

pub(super) async fn get(call: Call) -> Answered {
    let state = read_user(&call, call.named_user()?).await?;
    Ok(Answer::object(&User::from(&state.user)))
}

/// The bot's application is the bot itself.
pub(super) async fn application(call: Call) -> Answered {
    let state = read_user(&call, call.user_id()).await?;
    Ok(Answer::object(&Application::new(&state.user, state.guilds.len())))
}

pub(super) async fn guilds(call: Call) -> Answered {
    let limit = call.query.number("limit", 1..=PAGE, PAGE)? as usize;
    let (before, after) = (call.query.place("before")?, call.query.place("after")?);
    let counts = call.query.flag("with_counts");
    let state = read_user(&call, call.user_id()).await?;
    let within = |id: &GuildId| before.is_none_or(|before| id.0 < before) && after.is_none_or(|after| id.0 > after);
    let mut ids: Vec<GuildId> = state.guilds.into_iter().filter(within).collect();
    if before.is_some() && after.is_none() {
        // The ones next to the given one, in their order.
        ids.drain(..ids.len().saturating_sub(limit));
    }
    ids.truncate(limit);
    let found: Vec<Option<GuildState>> =
        stream::iter(ids).map(|id| read_if_member(&call, id)).buffered(AT_A_TIME).try_collect().await?;
    let guilds: Vec<_> = found
        .iter()
        .flatten()
        .map(|guild| {
            let held = in_guild(guild, call.user_id()).unwrap_or(Permissions::NONE);
            PartialGuild::new(guild, call.user_id(), held, counts)
        })
        .collect();
    Ok(Answer::object(&guilds))
}

/// A guild that the account lists; nothing if the guild does not list the account, which may be so for a moment.
async fn read_if_member(call: &Call, id: GuildId) -> Result<Option<GuildState>, Refusal> {
    match read_guild(call, id).await {
        Ok(guild) => Ok(Some(guild)),
        Err(refusal) if refusal.status.is_client_error() => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

pub(super) async fn read_user(call: &Call, id: UserId) -> Result<UserState, Refusal> {
    let answer = call.ask(Target::Key(Key::User(id)), move |mut client, _| {
        Box::pin(async move { client.get_user(v1::GetUserRequest { user_id: id.0 }).await })
    });
    Ok(UserState::try_from(answer.await?)?)
}
