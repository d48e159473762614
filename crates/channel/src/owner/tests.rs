//! What the owner decides, without a store and without a clock.

mod messages;
mod purge;
mod reactions;
mod sequence;
mod structure;
mod users;
mod voice;

use std::sync::Arc;

use clarion_model::event::{Event, GuildEvent};
use clarion_model::guild::{Channel, ChannelKind, Guild, GuildState, Member, Overwrite, OverwriteTarget, Role};
use clarion_model::id::{ChannelId, EPOCH_MS, GuildId, MessageId, RoleId, UserId};
use clarion_model::key::{Epoch, Key};
use clarion_model::message::{MessageView, Nonce};
use clarion_model::permission::Permissions;
use clarion_model::time::Timestamp;
use clarion_model::user::User;
use clarion_storage::Tail;

use super::{Answer, Command, Found, NewMessage, Outcome, Owner, Proposal, State};
use crate::refusal::Refusal;

pub(crate) const GUILD: GuildId = GuildId(100);
pub(crate) const BOSS: UserId = UserId(1);
pub(crate) const ANN: UserId = UserId(2);
pub(crate) const MODERATOR: UserId = UserId(3);
pub(crate) const STRANGER: UserId = UserId(9);
pub(crate) const TEXT: ChannelId = ChannelId(10);
pub(crate) const CATEGORY: ChannelId = ChannelId(12);
pub(crate) const HIDDEN: ChannelId = ChannelId(13);
/// Held by [`MODERATOR`].
pub(crate) const MODERATORS: RoleId = RoleId(50);
/// Held by nobody; anyone may mention it.
pub(crate) const FANS: RoleId = RoleId(51);

pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(EPOCH_MS + 1_000_000)
}

pub(crate) fn user(id: UserId) -> User {
    User { id, username: format!("user{id}"), global_name: None, bot: false }
}

pub(crate) fn role(id: RoleId, position: u32, permissions: Permissions) -> Role {
    Role { id, name: format!("role{id}"), color: 0, hoist: false, position, permissions, mentionable: id == FANS }
}

pub(crate) fn channel(id: ChannelId, kind: ChannelKind) -> Channel {
    Channel::new(id, kind, format!("channel{id}"))
}

pub(crate) fn member(id: UserId, roles: &[RoleId]) -> Member {
    Member { user: user(id), nick: None, roles: roles.to_vec(), joined_at: now(), mute: false, deaf: false }
}

/// A guild of an owner, a member and a moderator, with a text channel, one that only its owner sees, and a category.
pub(crate) fn guild() -> GuildState {
    let everyone = [
        Permissions::VIEW_CHANNEL,
        Permissions::SEND_MESSAGES,
        Permissions::READ_MESSAGE_HISTORY,
        Permissions::ADD_REACTIONS,
        Permissions::EMBED_LINKS,
        Permissions::CHANGE_NICKNAME,
    ];
    let moderators = [
        Permissions::MANAGE_MESSAGES,
        Permissions::MENTION_EVERYONE,
        Permissions::KICK_MEMBERS,
        Permissions::MANAGE_ROLES,
        Permissions::MANAGE_CHANNELS,
        Permissions::MANAGE_NICKNAMES,
    ];
    let all = |bits: &[Permissions]| bits.iter().fold(Permissions::NONE, |all, bit| all.union(*bit));
    let mut guild = GuildState::new(
        Guild { id: GUILD, name: "guild".into(), owner_id: BOSS },
        role(GUILD.everyone(), 0, all(&everyone)),
    );
    guild.roles.insert(MODERATORS, role(MODERATORS, 5, all(&moderators)));
    guild.roles.insert(FANS, role(FANS, 1, Permissions::NONE));
    let mut hidden = channel(HIDDEN, ChannelKind::Text);
    hidden.overwrites.push(Overwrite {
        target: OverwriteTarget::Role(GUILD.everyone()),
        allow: Permissions::NONE,
        deny: Permissions::VIEW_CHANNEL,
    });
    for channel in [channel(TEXT, ChannelKind::Text), channel(CATEGORY, ChannelKind::Category), hidden] {
        guild.channels.insert(channel.id, channel);
    }
    for member in [member(BOSS, &[]), member(ANN, &[]), member(MODERATOR, &[MODERATORS])] {
        guild.members.insert(member.user.id, Arc::new(member));
    }
    guild
}

pub(super) fn owner() -> Owner {
    owner_of(guild())
}

pub(super) fn owner_of(guild: GuildState) -> Owner {
    Owner::new(Key::Guild(GUILD), Epoch(3), Tail::default(), State::Guild(Box::new(guild)))
}

pub(crate) fn message(author: UserId, content: &str) -> NewMessage {
    NewMessage {
        channel_id: TEXT,
        author,
        content: content.into(),
        nonce: None,
        enforce_nonce: false,
        tts: false,
        reply_to: None,
        reply_must_exist: true,
        embeds_json: String::new(),
        flags: 0,
        allowed_mentions: None,
        trace_id: None,
    }
}

pub(crate) fn with_nonce(author: UserId, nonce: &str) -> NewMessage {
    NewMessage { nonce: Some(Nonce::Text(nonce.into())), enforce_nonce: true, ..message(author, "hello") }
}

pub(super) fn propose(owner: &mut Owner, command: Command) -> Result<Outcome, Refusal> {
    owner.propose(now(), command, Found::default())
}

/// What is to be written for a command that is to be accepted.
pub(super) fn accept(owner: &mut Owner, command: Command, found: Found) -> Proposal {
    match owner.propose(now(), command, found) {
        Ok(Outcome::Write(proposal)) => proposal,
        other => panic!("not accepted: {other:?}"),
    }
}

/// The message that is made by sending; it is durable.
pub(super) fn send(owner: &mut Owner, new: NewMessage) -> MessageView {
    let proposal = accept(owner, Command::CreateMessage(new), Found::default());
    owner.apply(&proposal.batch.entries);
    match proposal.answer {
        Answer::Message(view) => *view,
        other => panic!("not a message: {other:?}"),
    }
}

pub(super) fn refusal(result: Result<Outcome, Refusal>) -> Refusal {
    result.expect_err("is to be refused")
}

pub(super) fn guild_events(proposal: &Proposal) -> Vec<&GuildEvent> {
    let events = proposal.batch.entries.iter().map(|entry| match &entry.event {
        Event::Guild(event) => event,
        other => panic!("not a guild's: {other:?}"),
    });
    events.collect()
}

pub(super) fn delete(channel_id: ChannelId, id: MessageId, actor: UserId) -> Command {
    Command::DeleteMessage { channel_id, id, actor }
}
