//! Reactions.

use clarion_model::id::{ChannelId, MessageId, UserId};
use clarion_model::limits::HISTORY_PAGE;
use clarion_model::user::User as Account;
use clarion_proto::v1;

use super::answer::{Answer, Answered};
use super::call::Call;
use super::refusal::Refusal;
use crate::api::User;
use crate::directory::Target;

/// How many users a page has when nobody says.
const PAGE: u32 = 25;
/// The other kind of reaction, which nobody can give here.
const BURST: u32 = 1;

pub(super) async fn add(call: Call) -> Answered {
    let request = request(&call, call.user_id())?;
    call.ask(Target::Channel(ChannelId(request.channel_id)), move |mut client, key| {
        let request = v1::ReactionRequest { key: Some(key.into()), ..request.clone() };
        Box::pin(async move { client.add_reaction(request).await })
    })
    .await?;
    Ok(Answer::DONE)
}

pub(super) async fn remove_own(call: Call) -> Answered {
    remove_of(&call, call.user_id()).await
}

pub(super) async fn remove(call: Call) -> Answered {
    remove_of(&call, call.named_user()?).await
}

async fn remove_of(call: &Call, user: UserId) -> Answered {
    let request = request(call, user)?;
    call.ask(Target::Channel(ChannelId(request.channel_id)), move |mut client, key| {
        let request = v1::ReactionRequest { key: Some(key.into()), ..request.clone() };
        Box::pin(async move { client.remove_reaction(request).await })
    })
    .await?;
    Ok(Answer::DONE)
}

pub(super) async fn list(call: Call) -> Answered {
    let (channel, message) = place(&call)?;
    let limit = call.query.number("limit", 1..=HISTORY_PAGE, PAGE)?;
    let after = call.query.place("after")?.filter(|id| *id != 0);
    let burst = call.query.number("type", 0..=BURST, 0)? == BURST;
    let (actor_id, emoji) = (call.user_id().0, emoji(call.path.text("emoji"))?);
    if burst {
        return Ok(Answer::object(&[(); 0]));
    }
    let answer = call.ask(Target::Channel(channel), move |mut client, key| {
        let request = v1::ListReactionsRequest {
            key: Some(key.into()),
            channel_id: channel.0,
            message_id: message.0,
            actor_id,
            emoji: Some(emoji.clone()),
            after,
            limit,
        };
        Box::pin(async move { client.list_reactions(request).await })
    });
    let users = answer.await?.users.into_iter().map(Account::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(Answer::object(&users.iter().map(User::from).collect::<Vec<_>>()))
}

fn request(call: &Call, user: UserId) -> Result<v1::ReactionRequest, Refusal> {
    let (channel, message) = place(call)?;
    Ok(v1::ReactionRequest {
        key: None,
        channel_id: channel.0,
        message_id: message.0,
        actor_id: call.user_id().0,
        user_id: user.0,
        emoji: Some(emoji(call.path.text("emoji"))?),
    })
}

fn place(call: &Call) -> Result<(ChannelId, MessageId), Refusal> {
    Ok((ChannelId(call.path.id("channel")?), MessageId(call.path.id("message")?)))
}

/// An emoji as a path names it: a character of Unicode, or `name:id`.
pub(super) fn emoji(text: &str) -> Result<v1::Emoji, Refusal> {
    if text.is_empty() {
        return Err(Refusal::UNKNOWN_EMOJI);
    }
    match text.rsplit_once(':') {
        None => Ok(v1::Emoji { id: None, name: text.to_owned() }),
        Some((name, id)) => {
            let id: UserId = id.parse().map_err(|_| Refusal::UNKNOWN_EMOJI)?;
            Ok(v1::Emoji { id: Some(id.0), name: name.to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emoji_are_characters_or_named_ids() {
        let known = |text| emoji(text).ok().map(|e| (e.name, e.id));
        assert_eq!(known("👍"), Some(("👍".into(), None)));
        assert_eq!(known("party:123"), Some(("party".into(), Some(123))));
        for bad in ["", "party:", "party:x", ":"] {
            assert_eq!(known(bad), None, "{bad:?}");
        }
    }
}
