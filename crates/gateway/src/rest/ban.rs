//! Memberships that end: by leaving, by being removed, by a ban. The guild says so first, then the account's list.

mod purge;

use std::time::Duration;

use clarion_model::event::{Event, GuildEvent, UserEvent};
use clarion_model::guild::{Ban, GuildState};
use clarion_model::id::{GuildId, UserId};
use clarion_model::key::Key;
use clarion_model::limits::REASON;
use clarion_model::permission::{Permissions, in_guild};
use clarion_proto::v1;
use percent_encoding::percent_decode_str;

use super::answer::{Answer, Answered};
use super::call::Call;
use super::form::Form;
use super::guild::{change, change_once, named_guild, read_guild};
use super::refusal::Refusal;
use super::user::read_user;
use crate::api;
use crate::api::error::Fault;
use crate::directory::Target;

/// Most bans of one page.
const PAGE: u32 = 1_000;
/// Messages of so many days before a ban may be asked to go.
const DAYS: u64 = 7;
/// In seconds.
const DAY: u64 = 24 * 3_600;
/// The header that says why something is done.
const WHY: &str = "x-audit-log-reason";

pub(super) async fn kick(call: Call) -> Answered {
    let user = call.named_user()?;
    let guild = named_guild(&call).await?;
    let member = guild.members.get(&user).ok_or(Refusal::UNKNOWN_MEMBER)?;
    change_once(&call, guild.guild.id, GuildEvent::MemberRemove(member.user.clone())).await?;
    unlist(&call, guild.guild.id, user).await?;
    Ok(Answer::DONE)
}

pub(super) async fn leave(call: Call) -> Answered {
    let guild = read_guild(&call, GuildId(call.path.id("guild")?)).await?;
    change_once(&call, guild.guild.id, GuildEvent::MemberRemove(call.user.clone())).await?;
    unlist(&call, guild.guild.id, call.user_id()).await?;
    Ok(Answer::DONE)
}

pub(super) async fn list(call: Call) -> Answered {
    let limit = call.query.number("limit", 1..=PAGE, PAGE)? as usize;
    let (before, after) = (call.query.place("before")?, call.query.place("after")?);
    let guild = moderated(&call).await?;
    let within = |ban: &&Ban| {
        let id = ban.user.id.0;
        before.is_none_or(|before| id < before) && after.is_none_or(|after| id > after)
    };
    let mut bans: Vec<&Ban> = guild.bans.values().filter(within).collect();
    if before.is_some() && after.is_none() {
        // The ones next to the given one, in their order.
        bans.drain(..bans.len().saturating_sub(limit));
    }
    bans.truncate(limit);
    Ok(Answer::object(&bans.into_iter().map(api::Ban::from).collect::<Vec<_>>()))
}

pub(super) async fn get(call: Call) -> Answered {
    let user = call.named_user()?;
    let guild = moderated(&call).await?;
    let ban = guild.bans.get(&user).ok_or(Refusal::UNKNOWN_BAN)?;
    Ok(Answer::object(&api::Ban::from(ban)))
}

/// The answer comes when the messages that go with the ban are gone. Whoever gets none may ask again: what is left goes.
pub(super) async fn put(call: Call) -> Answered {
    let user = call.named_user()?;
    let lately = lately(&call)?;
    let guild = moderated(&call).await?;
    let user = match guild.members.get(&user) {
        Some(member) => member.user.clone(),
        None => read_user(&call, user).await?.user,
    };
    let (id, reason) = (user.id, reason(&call)?);
    change(&call, guild.guild.id, GuildEvent::BanPut(Ban { user, reason })).await?;
    unlist(&call, guild.guild.id, id).await?;
    if !lately.is_zero() {
        purge::since(&call, guild.guild.id, id, lately).await?;
    }
    Ok(Answer::DONE)
}

pub(super) async fn delete(call: Call) -> Answered {
    let user = call.named_user()?;
    let guild = moderated(&call).await?;
    let ban = guild.bans.get(&user).ok_or(Refusal::UNKNOWN_BAN)?;
    change_once(&call, guild.guild.id, GuildEvent::BanRemove(ban.user.clone())).await?;
    Ok(Answer::DONE)
}

/// The guild that a path names, for those who may ban.
async fn moderated(call: &Call) -> Result<GuildState, Refusal> {
    let guild = named_guild(call).await?;
    match in_guild(&guild, call.user_id()) {
        Some(held) if held.contains(Permissions::BAN_MEMBERS) => Ok(guild),
        _ => Err(Refusal::MISSING_PERMISSIONS),
    }
}

/// Messages of how long before a ban are to go with it.
fn lately(call: &Call) -> Result<Duration, Refusal> {
    let mut form = Form::read(&call.headers, &call.body)?;
    let mut read = |field, most, unit| {
        let asked = form.number(field);
        if asked.is_some_and(|asked| asked > most) {
            form.fault(field, Fault::new("NUMBER_TYPE_MAX", format!("Must be {most} or less.")));
        }
        asked.map(|asked| Duration::from_secs(asked.min(most) * unit))
    };
    let (seconds, days) = (read("delete_message_seconds", DAYS * DAY, 1), read("delete_message_days", DAYS, DAY));
    form.finish(seconds.or(days).unwrap_or_default())
}

fn reason(call: &Call) -> Result<Option<String>, Refusal> {
    let Some(said) = call.headers.get(WHY).and_then(|value| value.to_str().ok()) else { return Ok(None) };
    let reason = percent_decode_str(said).decode_utf8_lossy().trim().to_owned();
    if reason.chars().count() > REASON {
        let fault = Fault::new("BASE_TYPE_MAX_LENGTH", format!("Must be {REASON} or fewer in length."));
        return Err(Refusal::field("reason", fault));
    }
    Ok(Some(reason).filter(|reason| !reason.is_empty()))
}

/// The account lists the guild no longer.
async fn unlist(call: &Call, guild: GuildId, user: UserId) -> Result<(), Refusal> {
    let left = v1::Event::from(&Event::User(UserEvent::GuildLeft(guild)));
    call.ask(Target::Key(Key::User(user)), move |mut client, _| {
        let request = v1::ChangeUserRequest { user_id: user.0, change: Some(left.clone()) };
        Box::pin(async move { client.change_user(request).await })
    })
    .await?;
    Ok(())
}
