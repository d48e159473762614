//! What a banned user said lately goes with the ban: channel after channel, a part of the history at a time.

use std::time::{Duration, SystemTime};

use clarion_model::guild::ChannelKind;
use clarion_model::id::{self, ChannelId, GuildId, UserId};
use clarion_model::key::Key;
use clarion_model::time::Timestamp;
use clarion_proto::v1;

use super::super::call::Call;
use super::super::guild::read_guild;
use super::super::refusal::Refusal;
use crate::directory::Target;

/// Deletes what the user said in the guild's channels within the time before now.
pub(super) async fn since(call: &Call, guild: GuildId, user: UserId, lately: Duration) -> Result<(), Refusal> {
    let after = id::first_of(Timestamp::from(SystemTime::now()).before(lately)).saturating_sub(1);
    // As it is now that the user says nothing any more.
    let state = read_guild(call, guild).await?;
    let spoken = state.channels.values().filter(|channel| {
        channel.kind != ChannelKind::Category && channel.last_message_id.is_some_and(|last| last.0 > after)
    });
    for channel in spoken {
        match in_channel(call, guild, channel.id, user, after).await {
            // It went meanwhile, and took all with it.
            Err(refusal) if refusal.is(&Refusal::UNKNOWN_CHANNEL) => {}
            purged => purged?,
        }
    }
    Ok(())
}

async fn in_channel(call: &Call, guild: GuildId, channel: ChannelId, user: UserId, after: u64) -> Result<(), Refusal> {
    let (key, mut before) = (Key::Guild(guild), None);
    loop {
        let request = v1::PurgeMessagesRequest {
            key: Some(key.into()),
            channel_id: channel.0,
            actor_id: call.user_id().0,
            author_id: user.0,
            after,
            before,
        };
        let part = call
            .ask(Target::Key(key), move |mut client, _| Box::pin(async move { client.purge_messages(request).await }));
        before = part.await?.before;
        if before.is_none() {
            return Ok(());
        }
    }
}
