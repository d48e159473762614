//! The owner's mind: what a command means for one key. No I/O and no clock.
//!
//! [`Owner::propose`] decides a command at once: it is refused, or it needs nothing written, or it becomes a
//! [`Proposal`] whose entries have their places in the log and whose messages have their ids. Proposals are written in the
//! order they are made, several on their way at a time; [`Owner::apply`] follows when one is durable. What a later command
//! has to know of proposals still on their way is kept in [`recent::Recent`]; structure is changed only when none is.

pub(crate) mod access;
mod account;
mod emoji;
mod mention;
mod message;
mod purge;
pub(crate) mod reaction;
pub(crate) mod recent;
mod sequence;
mod structure;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod voice;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use clarion_model::event::{Event, GuildEvent, LogEntry, ReadStatePut, Transient, UserEvent};
use clarion_model::guild::GuildState;
use clarion_model::id::{ChannelId, MessageId, UserId};
use clarion_model::key::{Epoch, Key, Position};
use clarion_model::message::{Emoji, MessageView, Nonce, TraceId};
use clarion_model::time::Timestamp;
use clarion_model::user::{ReadState, User, UserState};
use clarion_storage::{Batch, NonceRow, Tail};

pub(crate) use access::Actor;
pub(crate) use mention::AllowedMentions;
pub(crate) use purge::Purge;
use recent::Recent;
use sequence::Sequence;
pub(crate) use voice::SetVoice;
use voice::Voices;

use crate::refusal::Refusal;

/// What a client asks of a key.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    /// Say something.
    CreateMessage(NewMessage),
    /// Change what was said.
    EditMessage(EditMessage),
    /// Take back what was said.
    DeleteMessage { channel_id: ChannelId, id: MessageId, actor: UserId },
    /// Take back what somebody said who is banned.
    Purge(Purge),
    /// Add a reaction, or take one back.
    React(React),
    /// Show that one writes.
    Type { channel_id: ChannelId, user: UserId },
    /// Make the guild.
    CreateGuild(Box<GuildState>),
    /// Change its structure by one event.
    ChangeGuild { actor: Actor, change: GuildEvent },
    /// Make the account.
    CreateUser(User),
    /// Change it by one event.
    ChangeUser(UserEvent),
    /// Say how far one has read.
    PutReadState { put: ReadStatePut, manual: bool },
    /// Be in a voice channel, or in none.
    SetVoice(SetVoice),
    /// Put somebody else into one, or out of it.
    MoveVoice { actor: Actor, user: UserId, channel_id: Option<ChannelId> },
}

/// A message somebody wants to send.
#[derive(Debug, Clone)]
pub(crate) struct NewMessage {
    pub(crate) channel_id: ChannelId,
    pub(crate) author: UserId,
    pub(crate) content: String,
    pub(crate) nonce: Option<Nonce>,
    pub(crate) enforce_nonce: bool,
    pub(crate) tts: bool,
    pub(crate) reply_to: Option<MessageId>,
    pub(crate) reply_must_exist: bool,
    pub(crate) embeds_json: String,
    pub(crate) flags: u64,
    /// `None`: all that the content names.
    pub(crate) allowed_mentions: Option<AllowedMentions>,
    /// The trace of the request.
    pub(crate) trace_id: Option<TraceId>,
}

/// A change of a message; `None` keeps what is there.
#[derive(Debug, Clone)]
pub(crate) struct EditMessage {
    pub(crate) channel_id: ChannelId,
    pub(crate) id: MessageId,
    pub(crate) editor: UserId,
    pub(crate) content: Option<String>,
    pub(crate) embeds_json: Option<String>,
    pub(crate) flags: Option<u64>,
    pub(crate) allowed_mentions: Option<AllowedMentions>,
}

/// A reaction that comes or goes.
#[derive(Debug, Clone)]
pub(crate) struct React {
    pub(crate) add: bool,
    pub(crate) channel_id: ChannelId,
    pub(crate) id: MessageId,
    pub(crate) actor: UserId,
    pub(crate) user: UserId,
    pub(crate) emoji: Emoji,
}

/// What the store says of a command's subject, read before the command is decided.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// The message that the command is about.
    pub(crate) message: Option<MessageView>,
    /// The message that this one, or the new one, answers.
    pub(crate) referenced: Option<MessageView>,
    /// The message that was made with the command's nonce.
    pub(crate) same_nonce: Option<(MessageId, Option<MessageView>)>,
    /// A channel that is to be created lies under another key already.
    pub(crate) foreign_channel: bool,
}

/// What to do about a command.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Write this; answer when it is durable.
    Write(Proposal),
    /// The same is on its way: answer with it, when the entry at the position is durable.
    Join(Position),
    /// Nothing is written; answer now.
    Answer(Answer),
    /// Nothing is written; tell the followers.
    Tell(Transient),
}

/// A batch to write, and the answer for when it is durable.
#[derive(Debug)]
pub(crate) struct Proposal {
    pub(crate) batch: Batch,
    pub(crate) answer: Answer,
}

/// What a command came to.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Done,
    Message(Box<MessageView>),
    /// The message was there already, made with the same nonce.
    Duplicate(Box<MessageView>),
    Guild(Box<GuildState>),
    User(User),
    ReadState(ReadState),
}

/// What exists under a key.
#[derive(Debug, Clone)]
pub(crate) enum State {
    Absent,
    Guild(Box<GuildState>),
    User(Box<UserState>),
}

/// The durable state of a key and the place in its log that it is of.
#[derive(Debug, Clone)]
pub(crate) struct Truth {
    pub(crate) state: State,
    pub(crate) applied: Position,
}

/// The truth, shared with whoever reads it. The owner alone writes, shortly.
#[derive(Debug, Clone)]
pub(crate) struct Shared(Arc<RwLock<Truth>>);

/// One key's owner.
#[derive(Debug)]
pub(crate) struct Owner {
    key: Key,
    truth: Shared,
    sequence: Sequence,
    recent: Recent,
    voices: Voices,
}

impl Command {
    /// Whether it may be decided only when nothing else is on its way.
    pub(crate) fn is_structural(&self) -> bool {
        use Command::*;
        matches!(self, CreateGuild(_) | ChangeGuild { .. } | CreateUser(_) | ChangeUser(_) | PutReadState { .. })
    }

    /// The channel it is about.
    pub(crate) fn channel(&self) -> Option<ChannelId> {
        match self {
            Command::CreateMessage(new) => Some(new.channel_id),
            Command::EditMessage(edit) => Some(edit.channel_id),
            Command::React(react) => Some(react.channel_id),
            Command::Purge(purge) => Some(purge.channel_id),
            Command::DeleteMessage { channel_id, .. } | Command::Type { channel_id, .. } => Some(*channel_id),
            Command::SetVoice(set) => set.channel_id,
            Command::MoveVoice { channel_id, .. } => *channel_id,
            _ => None,
        }
    }

    /// Channels that come into being, which must not lie elsewhere.
    pub(crate) fn new_channels(&self, state: &State) -> Vec<ChannelId> {
        match (self, state) {
            (Command::CreateGuild(guild), _) => guild.channels.keys().copied().collect(),
            (Command::ChangeGuild { change: GuildEvent::ChannelPut(channel), .. }, State::Guild(guild))
                if !guild.channels.contains_key(&channel.id) =>
            {
                vec![channel.id]
            }
            _ => Vec::new(),
        }
    }
}

impl Shared {
    pub(crate) fn new(truth: Truth) -> Self {
        Self(Arc::new(RwLock::new(truth)))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Truth> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Truth> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The guild, or the refusal of who asks for something in it.
    pub(crate) fn guild(&self) -> Result<&GuildState, Refusal> {
        match self {
            State::Guild(guild) => Ok(guild),
            _ => Err(Refusal::UNKNOWN_GUILD),
        }
    }

    pub(crate) fn user(&self) -> Result<&UserState, Refusal> {
        match self {
            State::User(user) => Ok(user),
            _ => Err(Refusal::UNKNOWN_USER),
        }
    }

    /// How many belong to it.
    pub(crate) fn member_count(&self) -> usize {
        match self {
            State::Absent => 0,
            State::Guild(guild) => guild.members.len(),
            State::User(_) => 1,
        }
    }

    fn apply(&mut self, event: &Event) {
        match (&mut *self, event) {
            (State::Guild(guild), Event::Guild(event)) => guild.apply(event),
            (State::User(user), Event::User(event)) => user.apply(event),
            (State::Absent, Event::Guild(GuildEvent::GuildPut(guild))) => {
                *self = State::Guild(Box::new(structure::bare(guild.clone())));
            }
            (State::Absent, Event::User(UserEvent::Put(user))) => {
                *self = State::User(Box::new(UserState::new(user.clone())));
            }
            _ => {}
        }
    }
}

impl Owner {
    /// The owner of a key whose slot was taken at `epoch`, from what the store has.
    pub(crate) fn new(key: Key, epoch: Epoch, tail: Tail, state: State) -> Self {
        Self {
            key,
            truth: Shared::new(Truth { state, applied: tail.position }),
            sequence: Sequence::new(epoch, tail),
            recent: Recent::default(),
            voices: Voices::default(),
        }
    }

    /// Begins anew from what the store has, after a write that failed. Readers keep what they share.
    pub(crate) fn reset(&mut self, tail: Tail, state: State) {
        self.sequence = Sequence::new(self.sequence.epoch(), tail);
        self.recent = Recent::default();
        *self.truth.write() = Truth { state, applied: tail.position };
    }

    pub(crate) fn shared(&self) -> Shared {
        self.truth.clone()
    }

    /// The last durable place in the log.
    pub(crate) fn applied(&self) -> Position {
        self.truth.read().applied
    }

    /// Decides a command.
    pub(crate) fn propose(&mut self, now: Timestamp, command: Command, found: Found) -> Result<Outcome, Refusal> {
        match command {
            Command::CreateMessage(new) => self.create_message(now, new, found),
            Command::EditMessage(edit) => self.edit_message(now, edit, found),
            Command::DeleteMessage { channel_id, id, actor } => self.delete_message(now, channel_id, id, actor, found),
            Command::Purge(purge) => self.purge(now, purge),
            Command::React(react) => self.react(now, react, found),
            Command::Type { channel_id, user } => self.start_typing(now, channel_id, user),
            Command::CreateGuild(guild) => self.create_guild(now, *guild, found),
            Command::ChangeGuild { actor, change } => self.change_guild(now, actor, change, found),
            Command::CreateUser(user) => self.create_user(now, user),
            Command::ChangeUser(change) => self.change_user(now, change),
            Command::PutReadState { put, manual } => self.put_read_state(now, put, manual),
            Command::SetVoice(set) => self.set_voice(set),
            Command::MoveVoice { actor, user, channel_id } => self.move_voice(actor, user, channel_id),
        }
    }

    /// Entries are durable: they become part of the truth.
    pub(crate) fn apply(&mut self, entries: &[LogEntry]) {
        let mut truth = self.truth.write();
        for entry in entries {
            truth.state.apply(&entry.event);
            truth.applied = entry.position;
        }
    }

    fn write(&mut self, now: Timestamp, events: Vec<Event>, nonce: Option<NonceRow>, answer: Answer) -> Outcome {
        let entries = events
            .into_iter()
            .map(|event| LogEntry {
                key: self.key,
                position: self.sequence.next_position(),
                at: now,
                traceparent: String::new(),
                event,
            })
            .collect();
        let batch = Batch { key: self.key, epoch: self.sequence.epoch(), entries, nonce };
        Outcome::Write(Proposal { batch, answer })
    }

    fn write_one(&mut self, now: Timestamp, event: GuildEvent, answer: Answer) -> Outcome {
        self.write(now, vec![Event::Guild(event)], None, answer)
    }
}
