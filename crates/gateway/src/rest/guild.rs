//! Guilds with their channels, roles and members: what is read of a guild's state.

use std::ops::Bound;

use clarion_model::event::{Event, GuildEvent};
use clarion_model::guild::{Channel as GuildChannel, GuildState};
use clarion_model::id::{ChannelId, GuildId, UserId};
use clarion_model::key::Key;
use clarion_model::limits::{MEMBER_PAGE, NAME};
use clarion_model::permission::{can_view, class_of};
use clarion_proto::v1;

use super::answer::{Answer, Answered};
use super::call::Call;
use super::refusal::Refusal;
use crate::api::error::Fault;
use crate::api::{Channel, Guild, Member, Role};
use crate::directory::Target;

pub(super) async fn get(call: Call) -> Answered {
    let guild = named_guild(&call).await?;
    let object = Guild::from(&guild);
    let counts = call.query.flag("with_counts");
    // Who is there is known where sessions are, not here.
    Ok(Answer::object(&if counts { object.with_counts(guild.members.len(), 0) } else { object }))
}

pub(super) async fn channels(call: Call) -> Answered {
    let guild = named_guild(&call).await?;
    let channels: Vec<_> =
        visible(&guild, call.user_id()).map(|channel| Channel::new(guild.guild.id, channel)).collect();
    Ok(Answer::object(&channels))
}

pub(super) async fn roles(call: Call) -> Answered {
    let guild = named_guild(&call).await?;
    Ok(Answer::object(&guild.roles.values().map(Role::from).collect::<Vec<_>>()))
}

pub(super) async fn members(call: Call) -> Answered {
    let limit = call.query.number("limit", 1..=MEMBER_PAGE, 1)? as usize;
    let after = UserId(call.query.place("after")?.unwrap_or(0));
    let guild = named_guild(&call).await?;
    let page = guild.members.range((Bound::Excluded(after), Bound::Unbounded)).take(limit);
    Ok(Answer::object(&page.map(|(_, member)| Member::from(&**member)).collect::<Vec<_>>()))
}

/// The members one of whose names begins with a text, whatever its case, by id.
pub(super) async fn search_members(call: Call) -> Answered {
    let limit = call.query.number("limit", 1..=MEMBER_PAGE, 1)? as usize;
    let required = || Refusal::field("query", Fault::new("BASE_TYPE_REQUIRED", "This field is required"));
    let wanted = call.query.text("query").ok_or_else(required)?;
    if wanted.chars().count() > NAME {
        let fault = Fault::new("BASE_TYPE_BAD_LENGTH", format!("Must be between 1 and {NAME} in length."));
        return Err(Refusal::field("query", fault));
    }
    let wanted = wanted.to_lowercase();
    let guild = named_guild(&call).await?;
    let begins = |name: &str| name.to_lowercase().starts_with(&wanted);
    let found = guild.members.values().filter(|member| {
        begins(&member.user.username)
            || member.user.global_name.as_deref().is_some_and(begins)
            || member.nick.as_deref().is_some_and(begins)
    });
    Ok(Answer::object(&found.take(limit).map(|member| Member::from(&**member)).collect::<Vec<_>>()))
}

pub(super) async fn member(call: Call) -> Answered {
    let user = call.named_user()?;
    let guild = named_guild(&call).await?;
    let member = guild.members.get(&user).ok_or(Refusal::UNKNOWN_MEMBER)?;
    Ok(Answer::object(&Member::from(&**member)))
}

pub(super) async fn channel(call: Call) -> Answered {
    let (guild, channel) = named_channel(&call).await?;
    Ok(Answer::object(&Channel::new(guild.guild.id, &channel)))
}

/// The channel that a path names, if the caller may know of it.
pub(super) async fn named_channel(call: &Call) -> Result<(GuildState, GuildChannel), Refusal> {
    let id = ChannelId(call.path.id("channel")?);
    let guild = read(call, Target::Channel(id)).await?;
    let channel = guild.channels.get(&id).ok_or(Refusal::UNKNOWN_CHANNEL)?.clone();
    let class = class_of(&guild, call.user_id());
    if !class.is_some_and(|class| can_view(&guild, &class, id)) {
        return Err(Refusal::MISSING_ACCESS);
    }
    Ok((guild, channel))
}

/// The channels a member may know of.
fn visible(guild: &GuildState, user: UserId) -> impl Iterator<Item = &GuildChannel> {
    let class = class_of(guild, user);
    guild
        .channels
        .values()
        .filter(move |channel| class.as_ref().is_some_and(|class| can_view(guild, class, channel.id)))
}

/// The guild that a path names.
pub(super) async fn named_guild(call: &Call) -> Result<GuildState, Refusal> {
    read_guild(call, GuildId(call.path.id("guild")?)).await
}

/// A guild, for one of its members.
pub(super) async fn read_guild(call: &Call, id: GuildId) -> Result<GuildState, Refusal> {
    read(call, Target::Key(Key::Guild(id))).await
}

async fn read(call: &Call, target: Target) -> Result<GuildState, Refusal> {
    let actor_id = call.user_id().0;
    let answer = call.ask(target, move |mut client, key| {
        let request = v1::GetGuildRequest { key: Some(key.into()), actor_id };
        Box::pin(async move { client.get_guild(request).await })
    });
    Ok(GuildState::try_from(answer.await?)?)
}

/// Changes a guild by an event, in the caller's name. The event says how things are to be, so that it may come twice.
pub(super) async fn change(call: &Call, id: GuildId, event: GuildEvent) -> Result<(), Refusal> {
    let request = change_request(call, id, event);
    call.ask(Target::Key(Key::Guild(id)), move |mut client, _| {
        let request = request.clone();
        Box::pin(async move { client.change_guild(request).await })
    })
    .await?;
    Ok(())
}

/// Changes a guild by an event that finds nothing to change when it comes again.
pub(super) async fn change_once(call: &Call, id: GuildId, event: GuildEvent) -> Result<(), Refusal> {
    let request = change_request(call, id, event);
    let changed = call.shared.state.directory.call_once(Target::Key(Key::Guild(id)), move |mut client, _| {
        let request = request.clone();
        Box::pin(async move { client.change_guild(request).await })
    });
    changed.await?;
    Ok(())
}

fn change_request(call: &Call, id: GuildId, event: GuildEvent) -> v1::ChangeGuildRequest {
    let change = Some((&Event::Guild(event)).into());
    v1::ChangeGuildRequest { key: Some(Key::Guild(id).into()), actor_id: call.user_id().0, change }
}
