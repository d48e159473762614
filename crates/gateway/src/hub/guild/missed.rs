//! What a session missed in a guild while it was at no gateway. Pure.

use std::sync::Arc;

use clarion_model::event::{Event, GuildEvent, LogEntry};
use clarion_model::guild::GuildState;

use super::{GuildEntry, Outgoing};
use crate::frame::Dispatch;
use crate::hub::seats::Seat;
use crate::shard::Variant;
use crate::visibility::Listener;

impl GuildEntry {
    /// What the events of a stretch of the log make a session see. The guild's structure is that of the end of the stretch:
    /// `None` if it changed on the way, because what was to be seen before cannot be told then.
    pub(in crate::hub) fn missed(
        state: &Arc<GuildState>,
        seat: Seat,
        listener: Listener,
        stretch: &[LogEntry],
    ) -> Option<Vec<Dispatch>> {
        let mut alone = Self::new();
        alone.state = Some(state.clone());
        alone.adopt(seat, listener);
        let mut told = Vec::new();
        for entry in stretch {
            let Event::Guild(event) = &entry.event else { return None };
            if !is_said(event) {
                return None;
            }
            let out = alone.apply(event, entry.at);
            told.extend(out.iter().filter_map(|out| out.for_one(seat)).cloned());
        }
        Some(told)
    }
}

impl Outgoing {
    /// What one session gets.
    fn for_one(&self, seat: Seat) -> Option<&Dispatch> {
        let cohort = self.cohorts.iter().find(|cohort| cohort.shard == seat.shard)?;
        let group = if cohort.full.contains(&seat.seat) {
            Variant::Full
        } else if cohort.stripped.contains(&seat.seat) {
            Variant::Stripped
        } else {
            return None;
        };
        let own = self.exceptions.iter().find(|(other, _)| *other == seat).map(|(_, variant)| *variant);
        self.variants.get(own.unwrap_or(group))
    }
}

/// Whether an event leaves alone who may see what.
fn is_said(event: &GuildEvent) -> bool {
    matches!(
        event,
        GuildEvent::MessageCreate(_)
            | GuildEvent::MessageUpdate(_)
            | GuildEvent::MessageDelete { .. }
            | GuildEvent::ReactionAdd(_)
            | GuildEvent::ReactionRemove(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::testing::{GUILD, guild, member};
    use crate::intents::Intents;
    use clarion_model::id::{ChannelId, MessageId, UserId};
    use clarion_model::key::{Key, Position};
    use clarion_model::time::Timestamp;

    fn entry(event: GuildEvent) -> LogEntry {
        let at = Timestamp::from_millis(1);
        LogEntry {
            key: Key::Guild(GUILD),
            position: Position::default(),
            at,
            traceparent: String::new(),
            event: Event::Guild(event),
        }
    }

    #[test]
    fn what_was_said_is_told_and_a_changed_structure_is_not_guessed_at() {
        let state = Arc::new(guild(3, 1));
        let (seat, channel) = (Seat { shard: 1, seat: 9 }, ChannelId(10_001));
        let listener = Listener { user: UserId(2), intents: Intents::GUILD_MESSAGES, large_threshold: 50 };
        let said = entry(GuildEvent::MessageDelete { channel_id: channel, id: MessageId(5) });
        let told = GuildEntry::missed(&state, seat, listener, &[said.clone(), said.clone()]).expect("told");
        assert_eq!(told.len(), 2);
        let deaf = Listener { intents: Intents::GUILDS, ..listener };
        assert!(GuildEntry::missed(&state, seat, deaf, std::slice::from_ref(&said)).expect("nothing").is_empty());
        let hidden = entry(GuildEvent::MessageDelete { channel_id: ChannelId(1), id: MessageId(5) });
        assert!(GuildEntry::missed(&state, seat, listener, &[hidden]).expect("nothing").is_empty());
        assert!(GuildEntry::missed(&state, seat, listener, &[said, entry(GuildEvent::MemberPut(member(7)))]).is_none());
    }
}
