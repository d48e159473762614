//! What fuzzing has gateways and operators ask: requests as they come over the wire, one after another, to the owners of
//! a guild and of an account.

use std::collections::BTreeSet;
use std::sync::Arc;

use clarion_corpus::Steps;
use clarion_model::event::{Event, GuildEvent, LogEntry, Transient};
use clarion_model::guild::{Channel, ChannelKind, Guild, GuildState, Member, Role};
use clarion_model::id::{ChannelId, EPOCH_MS, GuildId, MessageId, RoleId, UserId};
use clarion_model::key::{Epoch, Key, Position};
use clarion_model::message::MessageView;
use clarion_model::permission::Permissions;
use clarion_model::time::Timestamp;
use clarion_model::user::{User, UserState};
use clarion_proto::v1;
use clarion_storage::Tail;
use prost::Message;
use tonic::{Code, Status};

use super::{request, status};
use crate::owner::{Actor, Command, Found, Outcome, Owner, State};
use crate::refusal::Refusal;

const GUILD: GuildId = GuildId(100);
/// Who may do everything, who may do little, and the account that is asked.
const BOSS: UserId = UserId(1);
const ANN: UserId = UserId(2);
const CATEGORY: ChannelId = ChannelId(10);
const TEXT: ChannelId = ChannelId(11);
const VOICE: ChannelId = ChannelId(12);
/// Most steps of an input.
const STEPS: usize = 64;

/// Requests, a step each. Whatever is asked, what an owner writes can be read from the log and makes of a follower's state
/// the owner's own, and what it refuses is told in the API's words.
pub fn commands(data: &[u8]) {
    let mut world = World::new();
    for (kind, body) in Steps::of(data).take(STEPS) {
        world.step(kind, body);
    }
}

struct World {
    guild: Owner,
    account: Owner,
    /// What one who follows the guild's log makes of it.
    follower: GuildState,
    messages: Vec<MessageView>,
    now: Timestamp,
    last: Position,
}

impl World {
    fn new() -> Self {
        let (guild, account) = (guild(), UserState::new(user(ANN)));
        Self {
            guild: Owner::new(Key::Guild(GUILD), Epoch(3), Tail::default(), State::Guild(Box::new(guild.clone()))),
            account: Owner::new(Key::User(ANN), Epoch(3), Tail::default(), State::User(Box::new(account))),
            follower: guild,
            messages: Vec::new(),
            now: Timestamp::from_millis(EPOCH_MS + 1_000_000),
            last: Position::START,
        }
    }

    fn step(&mut self, kind: u8, body: &[u8]) {
        let kind = kind % 12;
        if kind == 11 {
            let seconds = u64::from(body.first().copied().unwrap_or_default());
            self.now = Timestamp::from_micros(self.now.as_micros() + seconds * 1_000_000);
            self.guild.expire_voices(self.now, &BTreeSet::new()).iter().for_each(told);
            return;
        }
        match self.read(kind, body) {
            None => {}
            Some(Err(status)) => {
                assert!(matches!(status.code(), Code::InvalidArgument), "{status}");
                assert!(!status.message().is_empty());
            }
            Some(Ok(command)) if kind < 9 => self.ask_guild(command, body.len()),
            Some(Ok(command)) => self.ask_account(command),
        }
    }

    /// What a request asks for. `None`: it is no message of the contract.
    fn read(&self, kind: u8, body: &[u8]) -> Option<Result<Command, Status>> {
        Some(match kind {
            0 => {
                let mut asked = v1::CreateMessageRequest::decode(body).ok()?;
                asked.reply_to = asked.reply_to.map(|id| self.known(id));
                request::create_message(asked)
            }
            1 => {
                let asked = v1::EditMessageRequest::decode(body).ok()?;
                Ok(request::edit_message(v1::EditMessageRequest { message_id: self.known(asked.message_id), ..asked }))
            }
            2 => {
                let asked = v1::DeleteMessageRequest::decode(body).ok()?;
                Ok(Command::DeleteMessage {
                    channel_id: ChannelId(asked.channel_id),
                    id: MessageId(self.known(asked.message_id)),
                    actor: UserId(asked.actor_id),
                })
            }
            3 | 4 => {
                let asked = v1::ReactionRequest::decode(body).ok()?;
                let asked = v1::ReactionRequest { message_id: self.known(asked.message_id), ..asked };
                match request::react(asked, kind == 3) {
                    // That what one reacts with is none is told to the client.
                    Err(status) if !status.details().is_empty() => return None,
                    read => read,
                }
            }
            5 => {
                let asked = v1::ChangeGuildRequest::decode(body).ok()?;
                let actor = Actor::from_wire(asked.actor_id);
                request::guild_change(asked.change).map(|change| Command::ChangeGuild { actor, change })
            }
            6 => Ok(request::set_voice(v1::SetVoiceStateRequest::decode(body).ok()?)),
            7 => {
                let asked = v1::MoveVoiceRequest::decode(body).ok()?;
                Ok(Command::MoveVoice {
                    actor: Actor::from_wire(asked.actor_id),
                    user: UserId(asked.user_id),
                    channel_id: asked.channel_id.map(ChannelId),
                })
            }
            8 => {
                let asked = v1::StartTypingRequest::decode(body).ok()?;
                Ok(Command::Type { channel_id: ChannelId(asked.channel_id), user: UserId(asked.user_id) })
            }
            9 => request::user_change(v1::ChangeUserRequest::decode(body).ok()?.change).map(Command::ChangeUser),
            _ => {
                let asked = v1::PutReadStateRequest::decode(body).ok()?;
                request::read_state_put(asked.put).map(|put| Command::PutReadState { put, manual: asked.manual })
            }
        })
    }

    /// Small numbers stand for the messages that were made.
    fn known(&self, id: u64) -> u64 {
        let made = usize::try_from(id).ok().and_then(|at| self.messages.get(at));
        made.map_or(id, |view| view.message.id.0)
    }

    fn found(&self, command: &Command, size: usize) -> Found {
        let message = |id: MessageId| self.messages.iter().find(|view| view.message.id == id).cloned();
        let (of, answered) = match command {
            Command::CreateMessage(new) => (None, new.reply_to),
            Command::EditMessage(edit) => (Some(edit.id), None),
            Command::DeleteMessage { id, .. } => (Some(*id), None),
            Command::React(react) => (Some(react.id), None),
            _ => (None, None),
        };
        Found {
            message: of.and_then(message),
            referenced: answered.and_then(message),
            foreign_channel: size.is_multiple_of(7),
            ..Found::default()
        }
    }

    fn ask_guild(&mut self, command: Command, size: usize) {
        let found = self.found(&command, size);
        let entries = match self.guild.propose(self.now, command, found) {
            Ok(Outcome::Write(proposal)) => proposal.batch.entries,
            Ok(Outcome::Join(position)) => return assert!(position <= self.last),
            Ok(Outcome::Answer(_)) => return,
            Ok(Outcome::Tell(transient)) => return told(&transient),
            Err(refusal) => return refused(&refusal),
        };
        for entry in entries.iter().map(written) {
            assert!(entry.position > self.last, "{} after {}", entry.position, self.last);
            self.last = entry.position;
            let Event::Guild(event) = &entry.event else { panic!("a guild's event: {entry:?}") };
            self.follower.apply(event);
            match event {
                GuildEvent::MessageCreate(view) => self.messages.push(view.clone()),
                GuildEvent::MessageUpdate(view) => self.replace(view),
                GuildEvent::MessageDelete { id, .. } => self.messages.retain(|view| view.message.id != *id),
                _ => {}
            }
        }
        self.guild.apply(&entries);
        match &self.guild.shared().read().state {
            State::Guild(state) => assert_eq!(**state, self.follower),
            other => panic!("a guild: {other:?}"),
        }
        self.guild.review_voices().iter().for_each(told);
    }

    fn replace(&mut self, new: &MessageView) {
        let there = self.messages.iter_mut().find(|view| view.message.id == new.message.id);
        *there.expect("what is changed was made") = new.clone();
    }

    fn ask_account(&mut self, command: Command) {
        match self.account.propose(self.now, command, Found::default()) {
            Ok(Outcome::Write(proposal)) => {
                proposal.batch.entries.iter().for_each(|entry| drop(written(entry)));
                self.account.apply(&proposal.batch.entries);
            }
            Ok(Outcome::Answer(_)) => {}
            Ok(other) => panic!("not of an account: {other:?}"),
            Err(refusal) => refused(&refusal),
        }
    }
}

/// An entry as it is read from the log.
fn written(entry: &LogEntry) -> LogEntry {
    let bytes = v1::LogEntry::from(entry).encode_to_vec();
    let wire = v1::LogEntry::decode(&bytes[..]).expect("what is written can be decoded");
    let read = LogEntry::try_from(wire).expect("what is written can be read");
    assert_eq!(&read, entry);
    read
}

fn told(transient: &Transient) {
    let bytes = v1::Transient::from(transient).encode_to_vec();
    let wire = v1::Transient::decode(&bytes[..]).expect("what is told can be decoded");
    assert_eq!(Transient::try_from(wire).as_ref(), Ok(transient));
}

fn refused(refusal: &Refusal) {
    let status = status::refused(refusal);
    let details = v1::Refusal::decode(status.details()).expect("what the client is told");
    assert!((400..500).contains(&details.status) && !details.message.is_empty());
    assert!(details.code != 50_035 || !details.fields.is_empty(), "a form that is wrong names a field: {details:?}");
    assert!(details.fields.iter().all(|wrong| !wrong.field.is_empty() && !wrong.code.is_empty()));
}

fn user(id: UserId) -> User {
    User { id, username: format!("user{id}"), global_name: None, bot: false }
}

fn guild() -> GuildState {
    let everyone = Permissions::VIEW_CHANNEL
        .union(Permissions::SEND_MESSAGES)
        .union(Permissions::READ_MESSAGE_HISTORY)
        .union(Permissions::ADD_REACTIONS)
        .union(Permissions::EMBED_LINKS)
        .union(Permissions::CONNECT);
    let role = Role {
        id: RoleId(GUILD.0),
        name: "everyone".into(),
        color: 0,
        hoist: false,
        position: 0,
        permissions: everyone,
        mentionable: false,
    };
    let mut guild = GuildState::new(Guild { id: GUILD, name: "guild".into(), owner_id: BOSS }, role);
    for (id, kind) in [(CATEGORY, ChannelKind::Category), (TEXT, ChannelKind::Text), (VOICE, ChannelKind::Voice)] {
        let channel = Channel::new(id, kind, format!("channel{id}"));
        guild.channels.insert(id, channel);
    }
    for id in [BOSS, ANN] {
        let joined_at = Timestamp::from_millis(EPOCH_MS);
        let member = Member { user: user(id), nick: None, roles: Vec::new(), joined_at, mute: false, deaf: false };
        guild.members.insert(id, Arc::new(member));
    }
    guild
}
