//! What the store knows of a command's subject.

use clarion_model::id::{ChannelId, MessageId, UserId};
use clarion_model::key::Key;
use clarion_model::message::{MessageView, Nonce};
use clarion_storage::{ReadError, Stores};

use crate::owner::{Command, Found};

/// Whether anything has to be read before a command is decided.
pub(super) fn is_needed(command: &Command) -> bool {
    match command {
        Command::CreateMessage(new) => new.reply_to.is_some() || (new.enforce_nonce && new.nonce.is_some()),
        Command::EditMessage(_) | Command::DeleteMessage { .. } | Command::React(_) => true,
        Command::CreateGuild(_) | Command::ChangeGuild { .. } => true,
        Command::Type { .. } | Command::CreateUser(_) | Command::ChangeUser(_) | Command::PutReadState { .. } => false,
        // What goes was read before it came here.
        Command::Purge(_) => false,
        Command::SetVoice(_) | Command::MoveVoice { .. } => false,
    }
}

/// Reads it.
pub(super) async fn find(
    stores: &Stores,
    key: Key,
    command: &Command,
    new_channels: &[ChannelId],
) -> Result<Found, ReadError> {
    let mut found = Found::default();
    match command {
        Command::CreateMessage(new) => {
            if let Some(id) = new.reply_to {
                found.referenced = stores.messages.get(new.channel_id, id).await?;
            }
            if let Some(nonce) = new.nonce.as_ref().filter(|_| new.enforce_nonce) {
                found.same_nonce = same_nonce(stores, new.channel_id, new.author, nonce).await?;
            }
        }
        Command::EditMessage(edit) => {
            found.message = stores.messages.get(edit.channel_id, edit.id).await?;
            found.referenced = referenced(stores, found.message.as_ref()).await?;
        }
        Command::DeleteMessage { channel_id, id, .. } => {
            found.message = stores.messages.get(*channel_id, *id).await?;
        }
        Command::React(react) => found.message = stores.messages.get(react.channel_id, react.id).await?,
        _ => {
            for channel in new_channels {
                let there = stores.routes.key_of(*channel).await?;
                found.foreign_channel |= there.is_some_and(|there| there != key);
            }
        }
    }
    Ok(found)
}

async fn same_nonce(
    stores: &Stores,
    channel: ChannelId,
    author: UserId,
    nonce: &Nonce,
) -> Result<Option<(MessageId, Option<MessageView>)>, ReadError> {
    let Some(id) = stores.messages.by_nonce(channel, author, nonce).await? else { return Ok(None) };
    let mut view = stores.messages.get(channel, id).await?;
    let referenced = referenced(stores, view.as_ref()).await?;
    if let Some(view) = &mut view {
        view.referenced = referenced.map(Box::new);
    }
    Ok(Some((id, view)))
}

/// The message that a message answers.
async fn referenced(stores: &Stores, view: Option<&MessageView>) -> Result<Option<MessageView>, ReadError> {
    match view.and_then(|view| Some((view.message.channel_id, view.message.reply_to?))) {
        Some((channel, id)) => stores.messages.get(channel, id).await,
        None => Ok(None),
    }
}
