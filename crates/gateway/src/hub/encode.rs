//! What of a guild goes into a dispatch, for whom.

use std::collections::BTreeMap;

use clarion_model::guild::GuildState;
use clarion_model::id::UserId;
use clarion_model::message::MessageView;
use clarion_model::permission::{can_view, class_of};
use clarion_model::presence::Presence;

use crate::api::Shown;
use crate::api::dispatch;
use crate::frame::Dispatch;
use crate::intents::Intents;
use crate::shard::Variant;

/// Up to this many members, a session that asked for members gets them all at once. Above it, those who are there; the
/// others are answered when asked for.
const LARGE: usize = 250;

/// A guild as one of its members may see it.
pub(super) fn guild_create(
    guild: &GuildState,
    viewer: UserId,
    intents: Intents,
    presences: &BTreeMap<UserId, Presence>,
) -> Dispatch {
    let class = class_of(guild, viewer);
    let channels = guild.channels.values().filter(|c| class.as_ref().is_some_and(|class| can_view(guild, class, c.id)));
    let (members, small) = (intents.contains(Intents::GUILD_MEMBERS), guild.members.len() <= LARGE);
    let chosen = guild
        .members
        .values()
        .filter(|m| m.user.id == viewer || members && (small || presences.contains_key(&m.user.id)));
    let present = presences.iter().filter(|_| intents.contains(Intents::GUILD_PRESENCES));
    dispatch::guild_create(guild, viewer, channels, chosen.map(|m| &**m), present.map(|(user, p)| (*user, p)))
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
