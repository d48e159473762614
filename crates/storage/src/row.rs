//! The rows that an event changes: a pure function of the log entry, the same for every store.
//!
//! Applying the rows of an entry twice leaves what applying them once leaves, so a batch whose fate is unknown may be
//! written again.

use clarion_model::event::{Event, GuildEvent, LogEntry, ReactionChange, UserEvent};
use clarion_model::guild::{Ban, Channel, Guild, Member, Role};
use clarion_model::id::{ChannelId, GuildId, MessageId, RoleId, UserId};
use clarion_model::key::Position;
use clarion_model::message::Message;
use clarion_model::user::{ReadState, TokenHash, TokenRecord, User};

/// A row that comes, changes or goes. Rows of guilds and of channels between people lie under the entry's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Row<'a> {
    /// A message, without what hangs on it.
    PutMessage(&'a Message),
    /// A message goes, and its reactions with it.
    DeleteMessage {
        /// Where.
        channel: ChannelId,
        /// Which.
        id: MessageId,
    },
    /// The newest message of a channel.
    LastMessage {
        /// Where.
        channel: ChannelId,
        /// Which.
        id: MessageId,
    },
    /// A reaction. Its place among the others is the entry's position.
    PutReaction(&'a ReactionChange),
    /// A reaction goes.
    DeleteReaction(&'a ReactionChange),
    /// The guild's own fields.
    PutGuild(&'a Guild),
    /// What decides visibility has changed: the guild's version follows the entry's position.
    Version,
    /// A channel.
    PutChannel(&'a Channel),
    /// A channel goes, with its newest message's id. Its messages stay, out of reach.
    DeleteChannel(ChannelId),
    /// A channel lies in the entry's key.
    PutRoute(ChannelId),
    /// A channel lies nowhere.
    DeleteRoute(ChannelId),
    /// A role.
    PutRole(&'a Role),
    /// A role goes, and who reads a member leaves it out of theirs: no member's row is changed.
    DeleteRole(RoleId),
    /// A member.
    PutMember(&'a Member),
    /// A member goes.
    DeleteMember(UserId),
    /// Somebody is not to be a member.
    PutBan(&'a Ban),
    /// Somebody may be one again.
    DeleteBan(UserId),
    /// An account's own fields.
    PutUser(&'a User),
    /// A token of the account.
    PutToken(&'a TokenHash, &'a TokenRecord),
    /// A token goes.
    DeleteToken(&'a TokenHash),
    /// A guild that the account lists.
    PutListing(GuildId),
    /// A guild that the account lists no longer.
    DeleteListing(GuildId),
    /// How far the person has read in a channel.
    PutReadState(&'a ReadState),
    /// That is forgotten.
    DeleteReadState {
        /// The guild of the channel, if it has one.
        guild: Option<GuildId>,
        /// Where.
        channel: ChannelId,
    },
    /// It is forgotten for all channels of a guild.
    DeleteReadStates(GuildId),
}

/// The rows of an entry, in the order in which they are to be applied.
pub(crate) fn rows(entry: &LogEntry) -> Vec<Row<'_>> {
    match &entry.event {
        Event::Guild(event) => of_guild(event),
        Event::User(event) => of_user(event),
    }
}

/// The message id that the entry gives out, if it does.
pub(crate) fn new_message(entry: &LogEntry) -> Option<MessageId> {
    match &entry.event {
        Event::Guild(GuildEvent::MessageCreate(view)) => Some(view.message.id),
        _ => None,
    }
}

/// The bits of a guild's version below the epoch. A reader adds one to the version with each change it applies, so the
/// epoch has to weigh more than all changes of an epoch together.
const VERSION_OFFSET_BITS: u32 = 40;

/// The version of a guild whose visibility changed last at a position: later is higher, over all epochs.
pub(crate) fn version(at: Position) -> u64 {
    at.epoch.0 << VERSION_OFFSET_BITS | at.offset
}

fn of_guild(event: &GuildEvent) -> Vec<Row<'_>> {
    match event {
        GuildEvent::MessageCreate(view) => {
            let message = &view.message;
            vec![Row::PutMessage(message), Row::LastMessage { channel: message.channel_id, id: message.id }]
        }
        GuildEvent::MessageUpdate(view) => vec![Row::PutMessage(&view.message)],
        GuildEvent::MessageDelete { channel_id, id } => vec![Row::DeleteMessage { channel: *channel_id, id: *id }],
        GuildEvent::ReactionAdd(change) => vec![Row::PutReaction(change)],
        GuildEvent::ReactionRemove(change) => vec![Row::DeleteReaction(change)],
        GuildEvent::GuildPut(guild) => vec![Row::PutGuild(guild), Row::Version],
        GuildEvent::ChannelPut(channel) => vec![Row::PutChannel(channel), Row::PutRoute(channel.id), Row::Version],
        GuildEvent::ChannelDelete(id) => vec![Row::DeleteChannel(*id), Row::DeleteRoute(*id), Row::Version],
        GuildEvent::RolePut(role) => vec![Row::PutRole(role), Row::Version],
        GuildEvent::RoleDelete(id) => vec![Row::DeleteRole(*id), Row::Version],
        GuildEvent::MemberPut(member) => vec![Row::PutMember(member), Row::Version],
        GuildEvent::MemberRemove(user) => vec![Row::DeleteMember(user.id), Row::Version],
        GuildEvent::BanPut(ban) => vec![Row::PutBan(ban)],
        GuildEvent::BanRemove(user) => vec![Row::DeleteBan(user.id)],
    }
}

fn of_user(event: &UserEvent) -> Vec<Row<'_>> {
    vec![match event {
        UserEvent::Put(user) => Row::PutUser(user),
        UserEvent::TokenIssued { hash, record } => Row::PutToken(hash, record),
        UserEvent::TokenRevoked { hash } => Row::DeleteToken(hash),
        UserEvent::GuildJoined(id) => Row::PutListing(*id),
        UserEvent::GuildLeft(id) => return vec![Row::DeleteListing(*id), Row::DeleteReadStates(*id)],
        UserEvent::ReadStatePut(put) => Row::PutReadState(&put.state),
        UserEvent::ReadStateDrop { channel_id, guild_id } => {
            Row::DeleteReadState { guild: *guild_id, channel: *channel_id }
        }
    }]
}
