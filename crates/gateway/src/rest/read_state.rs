//! How far people have read, the same on all their devices. An extension of the API; bots have none of it.
//!
//! The account's owner keeps how far, the guild's owner counts what is unread behind it.

use clarion_model::event::{Event, ReadStatePut, Unread, UserEvent};
use clarion_model::id::{ChannelId, GuildId, MessageId, UserId};
use clarion_model::key::Key;
use clarion_model::user::{ReadState, UserState};
use clarion_proto::v1;
use futures_util::{StreamExt, TryStreamExt, future, stream};

use super::answer::{Answer, Answered};
use super::call::Call;
use super::form::Form;
use super::refusal::Refusal;
use super::user::read_user;
use crate::api::UnreadState;
use crate::api::error::Fault;
use crate::directory::Target;

/// Guilds that are asked at a time.
const AT_A_TIME: usize = 8;
/// Most states of vanished channels that one request clears away; the next one goes on.
const FORGOTTEN: usize = 8;

const LAST_READ: &str = "last_read_id";

/// What a guild says is unread.
struct Counted {
    guild_id: Option<GuildId>,
    channels: Vec<(ChannelId, Unread)>,
    gone: Vec<ChannelId>,
}

pub(super) async fn list(call: Call) -> Answered {
    for_people(&call)?;
    let account = read_user(&call, call.user_id()).await?;
    let guilds: Vec<GuildId> = account.guilds.iter().copied().collect();
    let counts = stream::iter(guilds).map(|guild| in_guild(&call, guild, &account));
    let counted: Vec<Counted> = counts.buffered(AT_A_TIME).try_filter_map(future::ok).try_collect().await?;
    let gone: Vec<ChannelId> = counted.iter().flat_map(|counted| counted.gone.iter().copied()).collect();
    forget(&call, &account, &gone).await;
    let channels = counted.iter().flat_map(|counted| &counted.channels);
    let states: Vec<_> = channels
        .map(|(channel, unread)| {
            let last = account.read_states.get(channel).map(|state| state.last_read_id);
            UnreadState::new(*channel, last, unread)
        })
        .collect();
    Ok(Answer::object(&states))
}

pub(super) async fn put(call: Call) -> Answered {
    for_people(&call)?;
    let channel = ChannelId(call.path.id("channel")?);
    let mut form = Form::read(&call.headers, &call.body)?;
    let asked = form.place(LAST_READ).map(MessageId);
    let manual = form.flag("manual").unwrap_or(false);
    let required = || Refusal::field(LAST_READ, Fault::new("BASE_TYPE_REQUIRED", "This field is required"));
    let asked = form.finish(asked)?.ok_or_else(required)?;
    let account = read_user(&call, call.user_id()).await?;
    let there = account.read_states.get(&channel).map(|state| state.last_read_id);
    let wanted = if manual { asked } else { there.map_or(asked, |there| there.max(asked)) };
    let (guild_id, unread) = in_channel(&call, channel, wanted).await?;
    // Nobody has read what is not there yet: otherwise it would never be unread.
    let last_read_id = wanted.min(unread.last_message_id.unwrap_or(MessageId(0)));
    if there == Some(last_read_id) {
        return Ok(Answer::object(&UnreadState::new(channel, there, &unread)));
    }
    let state = ReadState { channel_id: channel, guild_id, last_read_id };
    let kept = keep(&call, ReadStatePut { state, unread }, manual).await?;
    if kept.last_read_id == last_read_id {
        return Ok(Answer::object(&UnreadState::new(channel, Some(last_read_id), &unread)));
    }
    // Another device was further in the meantime.
    let (_, unread) = in_channel(&call, channel, kept.last_read_id).await?;
    Ok(Answer::object(&UnreadState::new(channel, Some(kept.last_read_id), &unread)))
}

fn for_people(call: &Call) -> Result<(), Refusal> {
    if call.user.bot { Err(Refusal::NOT_FOR_BOTS) } else { Ok(()) }
}

async fn keep(call: &Call, put: ReadStatePut, manual: bool) -> Result<ReadState, Refusal> {
    let user = call.user_id();
    let kept = call.ask(Target::Key(Key::User(user)), move |mut client, _| {
        let request = v1::PutReadStateRequest { user_id: user.0, put: Some((&put).into()), manual };
        Box::pin(async move { client.put_read_state(request).await })
    });
    Ok(ReadState::try_from(kept.await?)?)
}

/// What is unread in one channel behind a message, with the channel's guild.
async fn in_channel(call: &Call, channel: ChannelId, after: MessageId) -> Result<(Option<GuildId>, Unread), Refusal> {
    let read = v1::ReadState { channel_id: channel.0, last_read_id: after.0, guild_id: None };
    let counted = count(call, Target::Channel(channel), vec![read], Some(channel)).await?;
    let (_, unread) = counted.channels.into_iter().next().ok_or(Refusal::MISSING_ACCESS)?;
    Ok((counted.guild_id, unread))
}

/// What is unread in the channels of a guild; nothing if the guild does not list the account, which may be so for a
/// moment.
async fn in_guild(call: &Call, guild: GuildId, account: &UserState) -> Result<Option<Counted>, Refusal> {
    let read = account.read_states.values().filter(|state| state.guild_id == Some(guild)).map(Into::into);
    match count(call, Target::Key(Key::Guild(guild)), read.collect(), None).await {
        Ok(counted) => Ok(Some(counted)),
        Err(refusal) if refusal.status.is_client_error() => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

async fn count(
    call: &Call,
    target: Target,
    read: Vec<v1::ReadState>,
    only: Option<ChannelId>,
) -> Result<Counted, Refusal> {
    let UserId(actor_id) = call.user_id();
    let counted = call.ask(target, move |mut client, key| {
        let channel_id = only.map(|channel| channel.0);
        let request = v1::CountUnreadRequest { key: Some(key.into()), actor_id, read: read.clone(), channel_id };
        Box::pin(async move { client.count_unread(request).await })
    });
    let counted = counted.await?;
    let channels = counted.channels.into_iter().filter_map(|channel| {
        let unread = Unread::try_from(channel.unread?);
        Some(unread.map(|unread| (ChannelId(channel.channel_id), unread)))
    });
    Ok(Counted {
        guild_id: counted.guild_id.map(GuildId),
        channels: channels.collect::<Result<_, _>>()?,
        gone: counted.gone.into_iter().map(ChannelId).collect(),
    })
}

/// Clears away the states of channels that are gone, and of guilds that the account does not list.
async fn forget(call: &Call, account: &UserState, gone: &[ChannelId]) {
    let user_id = call.user_id().0;
    let left = |state: &ReadState| state.guild_id.is_some_and(|guild| !account.guilds.contains(&guild));
    let useless = account.read_states.values().filter(|state| gone.contains(&state.channel_id) || left(state));
    for state in useless.take(FORGOTTEN) {
        let drop = UserEvent::ReadStateDrop { channel_id: state.channel_id, guild_id: state.guild_id };
        let change = Some(v1::Event::from(&Event::User(drop)));
        let forgotten = call.ask(Target::Key(Key::User(call.user_id())), move |mut client, _| {
            let request = v1::ChangeUserRequest { user_id, change: change.clone() };
            Box::pin(async move { client.change_user(request).await })
        });
        if forgotten.await.is_err() {
            // It is in nobody's way; whoever lists next tries again.
            return;
        }
    }
}
