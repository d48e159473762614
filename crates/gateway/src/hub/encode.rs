//! What of a guild goes into a dispatch, for whom.

use clarion_model::guild::GuildState;
use clarion_model::id::UserId;
use clarion_model::message::MessageView;
use clarion_model::permission::{can_view, class_of};
use clarion_model::presence::Presence;
use clarion_model::voice::VoiceState;

use crate::api::Shown;
use crate::api::dispatch;
use crate::frame::Dispatch;
use crate::intents::Intents;
use crate::shard::Variant;
use crate::visibility::Listener;

/// A guild as one of its members may see it. `there` are those who are not offline, all of them or a part. A session
/// that asked for members gets them all at once, of a large guild those who are there; others are answered when asked for.
pub(super) fn guild_create<'a>(
    guild: &'a GuildState,
    viewer: Listener,
    there: &[(UserId, &'a Presence)],
    voices: impl Iterator<Item = &'a VoiceState>,
) -> Dispatch {
    let Listener { user: viewer, intents, large_threshold } = viewer;
    let class = class_of(guild, viewer);
    let channels = guild.channels.values().filter(|c| class.as_ref().is_some_and(|class| can_view(guild, class, c.id)));
    let is_large = guild.members.len() > usize::from(large_threshold);
    let all = intents.contains(Intents::GUILD_MEMBERS) && !is_large;
    let some = there.iter().map(|(user, _)| *user).filter(|_| intents.contains(Intents::GUILD_MEMBERS));
    let some = some.filter(|user| *user != viewer).chain([viewer]).filter_map(|user| guild.members.get(&user));
    let chosen: Vec<_> = if all { guild.members.values().collect() } else { some.collect() };
    let present = there.iter().copied().filter(|_| intents.contains(Intents::GUILD_PRESENCES));
    let heard = |state: &&VoiceState| {
        let sees = |channel| class.as_ref().is_some_and(|class| can_view(guild, class, channel));
        intents.contains(Intents::GUILD_VOICE_STATES) && state.channel_id.is_some_and(sees)
    };
    let voices: Vec<_> = voices.filter(heard).collect();
    dispatch::guild_create(guild, viewer, is_large, channels, chosen.into_iter().map(|m| &**m), present, voices)
}

/// A message, new or changed, in one of its encodings.
pub(super) fn message(created: bool, view: &MessageView, guild: &GuildState, variant: Variant) -> Dispatch {
    let shown = Shown {
        viewer: None,
        guild: Some(guild),
        nonce: matches!(variant, Variant::Author | Variant::AuthorAlone),
        stripped: matches!(variant, Variant::Stripped | Variant::Answered),
        answered_stripped: matches!(variant, Variant::Stripped | Variant::FullAlone | Variant::AuthorAlone),
    };
    if created { dispatch::message_create(view, shown) } else { dispatch::message_update(view, shown) }
}
