//! A router and a channel server that say what a test wants them to say.

mod services;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clarion_model::event::{Event, GuildEvent};
use clarion_model::guild::{Channel, ChannelKind, Guild, GuildState, Member, Overwrite, OverwriteTarget, Role};
use clarion_model::id::{ChannelId, GuildId, MessageId, UserId};
use clarion_model::key::Key;
use clarion_model::message::{Message, MessageView, Reaction};
use clarion_model::permission::Permissions;
use clarion_model::time::Timestamp;
use clarion_model::token;
use clarion_model::user::User;
use clarion_proto::v1::channel_server::Channel as ChannelService;
use clarion_proto::v1::route_request::What;
use clarion_proto::v1::router_server::Router as RouterService;
use clarion_proto::v1::search_server::Search as SearchService;
use clarion_proto::v1::{self, Done};
use prost::Message as _;
use tonic::codegen::BoxStream;
use tonic::{Code, Request, Response, Status, Streaming, async_trait};

pub(super) const GUILD: GuildId = GuildId(1_562_404_440_927_895_000);
pub(super) const CHANNEL: ChannelId = ChannelId(1_562_404_440_927_895_001);
/// A channel that nobody may view.
pub(super) const HIDDEN: ChannelId = ChannelId(1_562_404_440_927_895_002);
/// A channel that is no more, and one of a guild that the account does not list.
pub(super) const GONE: ChannelId = ChannelId(1_562_404_440_927_895_004);
pub(super) const ELSEWHERE: ChannelId = ChannelId(1_562_404_440_927_895_005);
pub(super) const MESSAGE: MessageId = MessageId(1_562_404_440_927_895_003);
/// Who asks.
pub(super) const ME: UserId = UserId(42);

/// The router and the channel server. A clone is the same.
#[derive(Clone, Default)]
pub(super) struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// What to say next instead of an answer.
    trouble: VecDeque<Option<Status>>,
    calls: Vec<String>,
    /// Whoever asks is a person.
    person: bool,
    /// What another device puts before what this one puts.
    ahead: Option<u64>,
    /// The message has a trace.
    traced: bool,
    /// Everyone may ban, and the first channel has a message that is newer than all.
    moderated: bool,
}

impl Fake {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the next calls about channels fail.
    pub(super) fn fail(&self, with: impl IntoIterator<Item = Status>) {
        self.state().trouble.extend(with.into_iter().map(Some));
    }

    /// Has a call fail after some that do not.
    pub(super) fn fail_after(&self, good: usize, with: Status) {
        self.state().trouble.extend(std::iter::repeat_n(None, good).chain([Some(with)]));
    }

    /// Whoever asks is a person from now on.
    pub(super) fn be_a_person(&self) {
        self.state().person = true;
    }

    /// Everyone may ban from now on, and something was said just now.
    pub(super) fn be_moderated(&self) {
        self.state().moderated = true;
    }

    /// The message has a trace from now on.
    pub(super) fn trace(&self) {
        self.state().traced = true;
    }

    /// Another device reads as far as this at the next moment.
    pub(super) fn be_ahead(&self, last_read_id: u64) {
        self.state().ahead = Some(last_read_id);
    }

    fn account(&self) -> User {
        User { bot: !self.state().person, ..me() }
    }

    /// The calls since the last time this was asked, with what matters of them.
    pub(super) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state().calls)
    }

    fn called<T>(&self, call: String, answer: T) -> Result<Response<T>, Status> {
        let mut state = self.state();
        state.calls.push(call);
        state.trouble.pop_front().flatten().map_or(Ok(Response::new(answer)), Err)
    }
}

/// What a channel server says when it refuses.
pub(super) fn refusal(status: u32, code: u32, fields: &[(&str, &str, &str)]) -> Status {
    let fields = fields.iter().map(|(field, code, message)| v1::FieldError {
        field: (*field).into(),
        code: (*code).into(),
        message: (*message).into(),
    });
    let refusal = v1::Refusal { status, code, message: "No".into(), fields: fields.collect() };
    Status::with_details(Code::InvalidArgument, "No", refusal.encode_to_vec().into())
}

pub(super) fn me() -> User {
    User { id: ME, username: "me".into(), global_name: None, bot: true }
}

pub(super) fn my_token() -> String {
    token::mint(ME, Timestamp::from_millis(1), &[7; token::SECRET_BYTES])
}

fn guild() -> GuildState {
    let everyone = GUILD.everyone();
    let role = Role {
        id: everyone,
        name: "@everyone".into(),
        color: 0,
        hoist: false,
        position: 0,
        permissions: Permissions::VIEW_CHANNEL,
        mentionable: false,
    };
    let mut guild = GuildState::new(Guild { id: GUILD, name: "guild".into(), owner_id: UserId(1) }, role);
    for (id, deny) in [(CHANNEL, Permissions::NONE), (HIDDEN, Permissions::VIEW_CHANNEL)] {
        let hidden = Overwrite { target: OverwriteTarget::Role(everyone), allow: Permissions::NONE, deny };
        let channel =
            Channel { overwrites: vec![hidden], ..Channel::new(id, ChannelKind::Text, format!("channel-{id}")) };
        guild.channels.insert(id, channel);
    }
    for user in [me(), User { id: UserId(43), ..me() }, User { id: UserId(44), ..me() }] {
        let member = Member {
            nick: None,
            roles: Vec::new(),
            joined_at: Timestamp::from_millis(1),
            mute: false,
            deaf: false,
            user,
        };
        guild.members.insert(member.user.id, Arc::new(member));
    }
    guild
}

fn message(content: &str, nonce: Option<v1::Nonce>, embeds_json: &str) -> v1::MessageView {
    let message = Message {
        id: MESSAGE,
        channel_id: CHANNEL,
        guild_id: Some(GUILD),
        author: me(),
        content: content.into(),
        at: Timestamp::from_millis(1),
        edited_at: None,
        tts: false,
        mention_everyone: false,
        mentions: Vec::new(),
        mention_roles: Vec::new(),
        reply_to: None,
        embeds_json: embeds_json.into(),
        flags: 0,
        nonce: nonce.and_then(|nonce| nonce.try_into().ok()),
        trace_id: None,
    };
    let emoji = clarion_model::message::Emoji { id: None, name: "👍".into() };
    (&MessageView { message, reactions: vec![Reaction { emoji, users: vec![ME] }], referenced: None }).into()
}

fn emoji(emoji: Option<v1::Emoji>) -> String {
    emoji.map_or_else(String::new, |emoji| format!("{}/{:?}", emoji.name, emoji.id))
}
