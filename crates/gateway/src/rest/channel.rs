//! Channels made, changed and deleted, and the exceptions to permissions in them.
//!
//! A change is made to the channel as it is read just before, and sent as a whole: of two changes at the same moment the
//! later one wins.

use clarion_model::event::GuildEvent;
use clarion_model::guild::{Channel, ChannelKind, GuildState, Overwrite, OverwriteTarget};
use clarion_model::id::{ChannelId, RoleId, UserId};
use clarion_model::limits;
use clarion_model::permission::Permissions;

use super::answer::{Answer, Answered};
use super::call::Call;
use super::form::Form;
use super::guild::{change, change_once, named_channel, named_guild};
use super::origin::new_snowflake;
use super::refusal::Refusal;
use crate::api;
use crate::api::error::Fault;

/// Longest topic.
const TOPIC: usize = 1_024;
/// The last position. One library loses a whole guild over one that has more than 16 bits.
const LAST: u16 = u16::MAX;
/// The most that a limit of people in a voice channel can be.
const USER_LIMIT: u64 = 99;
/// Bits a second that somebody may send in a voice channel.
const BITRATES: (u64, u64) = (8_000, 384_000);
/// The API's numbers of whom an exception is for.
const ROLE: u64 = 0;
const MEMBER: u64 = 1;

pub(super) async fn create(call: Call) -> Answered {
    let mut form = Form::read(&call.headers, &call.body)?;
    let guild = named_guild(&call).await?;
    let mut channel = Channel {
        position: u32::try_from(guild.channels.len()).unwrap_or(u32::MAX),
        ..Channel::new(ChannelId(new_snowflake()), kind(&mut form).unwrap_or(ChannelKind::Text), "")
    };
    if !form.names("name") {
        form.fault("name", Fault::new("BASE_TYPE_REQUIRED", "This field is required"));
    }
    apply(&mut form, &mut channel);
    form.finish(())?;
    change(&call, guild.guild.id, GuildEvent::ChannelPut(channel.clone())).await?;
    Ok(Answer::object(&api::Channel::new(guild.guild.id, &channel)).created())
}

pub(super) async fn edit(call: Call) -> Answered {
    let mut form = Form::read(&call.headers, &call.body)?;
    let (guild, mut channel) = named_channel(&call).await?;
    if let Some(kind) = kind(&mut form) {
        channel.kind = kind;
    }
    apply(&mut form, &mut channel);
    form.finish(())?;
    put(&call, &guild, &channel).await
}

pub(super) async fn delete(call: Call) -> Answered {
    let (guild, channel) = named_channel(&call).await?;
    change_once(&call, guild.guild.id, GuildEvent::ChannelDelete(channel.id)).await?;
    Ok(Answer::object(&api::Channel::new(guild.guild.id, &channel)))
}

pub(super) async fn put_overwrite(call: Call) -> Answered {
    let mut form = Form::read(&call.headers, &call.body)?;
    let id = call.path.id("overwrite")?;
    let overwrite = overwrite(&mut form, Some(id));
    form.finish(())?;
    let Some(overwrite) = overwrite else { return Err(Refusal::NOT_FOUND) };
    let (guild, mut channel) = named_channel(&call).await?;
    channel.overwrites.retain(|there| there.target != overwrite.target);
    channel.overwrites.push(overwrite);
    put(&call, &guild, &channel).await.map(|_| Answer::DONE)
}

pub(super) async fn delete_overwrite(call: Call) -> Answered {
    let id = call.path.id("overwrite")?;
    let (guild, mut channel) = named_channel(&call).await?;
    let before = channel.overwrites.len();
    channel.overwrites.retain(|there| match there.target {
        OverwriteTarget::Role(role) => role.0 != id,
        OverwriteTarget::Member(user) => user.0 != id,
    });
    if channel.overwrites.len() == before {
        return Err(Refusal::UNKNOWN_OVERWRITE);
    }
    put(&call, &guild, &channel).await.map(|_| Answer::DONE)
}

async fn put(call: &Call, guild: &GuildState, channel: &Channel) -> Answered {
    change(call, guild.guild.id, GuildEvent::ChannelPut(channel.clone())).await?;
    Ok(Answer::object(&api::Channel::new(guild.guild.id, channel)))
}

/// Writes what a body says over a channel.
pub(super) fn apply(form: &mut Form, channel: &mut Channel) {
    if let Some(name) = form.text("name", limits::NAME) {
        channel.name = name;
    }
    if form.names("topic") {
        channel.topic = form.text("topic", TOPIC).filter(|topic| !topic.is_empty());
    }
    if let Some(position) = form.number("position") {
        channel.position = u32::from(u16::try_from(position).unwrap_or(LAST));
    }
    if form.names("parent_id") {
        channel.parent_id = form.id("parent_id").map(ChannelId);
    }
    apply_voice(form, channel);
    if let Some(overwrites) = form.each("permission_overwrites", |inner| overwrite(inner, None)) {
        channel.overwrites = overwrites.into_iter().flatten().collect();
    }
}

/// What is said of voice; of other channels it is not looked at.
fn apply_voice(form: &mut Form, channel: &mut Channel) {
    if channel.kind != ChannelKind::Voice {
        return;
    }
    if let Some(limit) = within(form, "user_limit", 0, USER_LIMIT) {
        channel.voice.user_limit = limit;
    }
    if let Some(bitrate) = within(form, "bitrate", BITRATES.0, BITRATES.1) {
        channel.voice.bitrate = bitrate;
    }
    if form.names("rtc_region") {
        channel.voice.rtc_region = form.text("rtc_region", limits::NAME).filter(|region| !region.is_empty());
    }
}

fn within(form: &mut Form, field: &str, least: u64, most: u64) -> Option<u32> {
    let number = form.number(field)?;
    if number < least {
        form.fault(field, Fault::new("NUMBER_TYPE_MIN", format!("Must be {least} or more.")));
    } else if number > most {
        form.fault(field, Fault::new("NUMBER_TYPE_MAX", format!("Must be {most} or less.")));
    }
    u32::try_from(number).ok().filter(|_| (least..=most).contains(&number))
}

fn kind(form: &mut Form) -> Option<ChannelKind> {
    match form.number("type")? {
        0 => Some(ChannelKind::Text),
        2 => Some(ChannelKind::Voice),
        4 => Some(ChannelKind::Category),
        _ => {
            form.fault("type", Fault::new("BASE_TYPE_CHOICES", "Value must be one of {0, 2, 4}."));
            None
        }
    }
}

/// An exception; its id stands in the body unless it is known.
pub(super) fn overwrite(form: &mut Form, id: Option<u64>) -> Option<Overwrite> {
    let allow = Permissions(form.number("allow").unwrap_or_default());
    let deny = Permissions(form.number("deny").unwrap_or_default());
    let named = id.is_some() || form.names("id");
    let id = id.or_else(|| form.id("id"));
    if !named {
        form.fault("id", Fault::new("BASE_TYPE_REQUIRED", "This field is required"));
    }
    let target = match (form.number("type").unwrap_or(ROLE), id?) {
        (ROLE, id) => OverwriteTarget::Role(RoleId(id)),
        (MEMBER, id) => OverwriteTarget::Member(UserId(id)),
        _ => {
            form.fault("type", Fault::new("BASE_TYPE_CHOICES", "Value must be one of {0, 1}."));
            return None;
        }
    };
    Some(Overwrite { target, allow, deny })
}
