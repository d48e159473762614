//! Messages: history, sending, changing, deleting, and that one types.

pub(super) mod body;

use clarion_model::id::{ChannelId, MessageId};
use clarion_model::limits::HISTORY_PAGE;
use clarion_model::message::MessageView;
use clarion_observability::log::{self, Fields};
use clarion_proto::v1;
use clarion_proto::v1::channel_client::ChannelClient;
use clarion_proto::v1::list_messages_request::Anchor;
use clarion_runtime::Peer;
use futures_util::future::BoxFuture;

use super::answer::{Answer, Answered};
use super::call::Call;
use super::form::Form;
use super::refusal::Refusal;
use crate::api::{Message, Shown};
use crate::directory::Target;
use body::{Edit, New};

/// How many messages a page has when nobody says.
const PAGE: u32 = 50;

pub(super) async fn list(call: Call) -> Answered {
    let channel = channel(&call)?;
    let limit = call.query.number("limit", 1..=HISTORY_PAGE, PAGE)?;
    let anchor = match (call.query.place("around")?, call.query.place("before")?, call.query.place("after")?) {
        (Some(around), _, _) => Some(Anchor::Around(around)),
        (_, Some(before), _) => Some(Anchor::Before(before)),
        (_, _, after) => after.map(Anchor::After),
    };
    let actor_id = call.user_id().0;
    let answer = call.ask(Target::Channel(channel), move |mut client, key| {
        let request = v1::ListMessagesRequest { key: Some(key.into()), channel_id: channel.0, actor_id, limit, anchor };
        Box::pin(async move { client.list_messages(request).await })
    });
    let views = answer.await?.messages.into_iter().map(MessageView::try_from).collect::<Result<Vec<_>, _>>()?;
    let shown = shown(&call);
    Ok(Answer::object(&views.iter().map(|view| Message::new(view, shown)).collect::<Vec<_>>()))
}

pub(super) async fn get(call: Call) -> Answered {
    show(&call, read(&call).await?)
}

/// The message that a path names, if the caller may read it.
pub(super) async fn read(call: &Call) -> Result<v1::MessageView, Refusal> {
    let (channel, message) = place(call)?;
    let actor_id = call.user_id().0;
    let answer = call.ask(Target::Channel(channel), move |mut client, key| {
        let request =
            v1::GetMessageRequest { key: Some(key.into()), channel_id: channel.0, message_id: message.0, actor_id };
        Box::pin(async move { client.get_message(request).await })
    });
    answer.await
}

pub(super) async fn create(call: Call) -> Answered {
    let channel = channel(&call)?;
    let new = New::read(Form::read(&call.headers, &call.body)?, channel)?;
    let length = new.content.chars().count() as u64;
    // The nonce makes a repetition harmless. Without it, nobody can know whether there is a message already.
    let harmless = new.enforce_nonce && new.nonce.is_some();
    let author_id = call.user_id().0;
    let send = move |mut client: ChannelClient<Peer>, key| -> BoxFuture<'static, _> {
        let request = new.request(key, channel, author_id);
        Box::pin(async move { client.create_message(request).await })
    };
    let directory = &call.shared.state.directory;
    let view = match harmless {
        true => directory.call(Target::Channel(channel), send).await?,
        false => directory.call_once(Target::Channel(channel), send).await?,
    };
    let view = MessageView::try_from(view)?;
    log::MESSAGE_SENT.emit(Fields {
        workspace_id: view.message.guild_id,
        channel_id: Some(channel),
        message_id: Some(view.message.id),
        message_length: Some(length),
        latency_ms: Some(call.began.elapsed().as_secs_f64() * 1e3),
        ..Fields::default()
    });
    Ok(Answer::object(&Message::new(&view, Shown { nonce: true, ..shown(&call) })))
}

pub(super) async fn edit(call: Call) -> Answered {
    let (channel, message) = place(&call)?;
    let edit = Edit::read(Form::read(&call.headers, &call.body)?)?;
    let editor_id = call.user_id().0;
    let answer = call.ask(Target::Channel(channel), move |mut client, key| {
        let request = edit.request(key, channel, message, editor_id);
        Box::pin(async move { client.edit_message(request).await })
    });
    show(&call, answer.await?)
}

pub(super) async fn delete(call: Call) -> Answered {
    let (channel, message) = place(&call)?;
    let actor_id = call.user_id().0;
    // Not again when the outcome is unknown: the second time there would be no such message.
    let deleted = call.shared.state.directory.call_once(Target::Channel(channel), move |mut client, key| {
        let request =
            v1::DeleteMessageRequest { key: Some(key.into()), channel_id: channel.0, message_id: message.0, actor_id };
        Box::pin(async move { client.delete_message(request).await })
    });
    deleted.await?;
    Ok(Answer::DONE)
}

pub(super) async fn typing(call: Call) -> Answered {
    let channel = channel(&call)?;
    let user_id = call.user_id().0;
    call.ask(Target::Channel(channel), move |mut client, key| {
        let request = v1::StartTypingRequest { key: Some(key.into()), channel_id: channel.0, user_id };
        Box::pin(async move { client.start_typing(request).await })
    })
    .await?;
    Ok(Answer::DONE)
}

fn show(call: &Call, view: v1::MessageView) -> Answered {
    let view = MessageView::try_from(view)?;
    Ok(Answer::object(&Message::new(&view, shown(call))))
}

fn shown(call: &Call) -> Shown<'static> {
    Shown { viewer: Some(call.user_id()), ..Shown::default() }
}

fn channel(call: &Call) -> Result<ChannelId, Refusal> {
    Ok(ChannelId(call.path.id("channel")?))
}

fn place(call: &Call) -> Result<(ChannelId, MessageId), Refusal> {
    Ok((channel(call)?, MessageId(call.path.id("message")?)))
}
