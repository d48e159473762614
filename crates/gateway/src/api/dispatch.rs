//! The dispatches: what happened, as sockets are told. Each is encoded once and shared by all who get the same.

use bytes::Bytes;
use clarion_model::event::{ReactionChange, ReadStatePut};
use clarion_model::guild::{Channel as GuildChannel, GuildState, Member as Membership, Role as GuildRole};
use clarion_model::id::{ChannelId, GuildId, MessageId, RoleId, UserId};
use clarion_model::message::MessageView;
use clarion_model::presence::Presence as Doing;
use clarion_model::time::Timestamp;
use clarion_model::user::User as Account;
use clarion_model::voice::VoiceState as Voice;
use serde::Serialize;

use super::{
    Channel, CreatedGuild, Emoji, Guild, Id, Me, Member, MemberOf, Message, PartialApplication, Presence, ReadState,
    Role, Shown, UnavailableGuild, UnreadState, User, VoiceHeard, VoiceRefused, VoiceServer, VoiceState, write,
};
use crate::frame::Dispatch;

/// What READY tells.
pub(crate) struct Ready<'a> {
    pub(crate) user: &'a Account,
    pub(crate) session_id: &'a str,
    /// Without a final slash.
    pub(crate) resume_gateway_url: &'a str,
    /// The guilds that GUILD_CREATE will follow for.
    pub(crate) guilds: &'a [GuildId],
    pub(crate) shard: (u32, u32),
    /// How far the person has read; bots are told nothing of it.
    pub(crate) read_states: Option<Vec<ReadState>>,
    /// The instance that serves the session.
    pub(crate) instance: &'a str,
}

/// One part of a guild's members, as asked for.
pub(crate) struct MembersChunk<'a> {
    pub(crate) guild_id: GuildId,
    pub(crate) members: Vec<&'a Membership>,
    pub(crate) index: usize,
    pub(crate) count: usize,
    /// Those asked for by id that are not members.
    pub(crate) not_found: Vec<UserId>,
    /// When presences were asked for.
    pub(crate) presences: Option<Vec<(UserId, &'a Doing)>>,
    pub(crate) nonce: Option<&'a str>,
}

/// The bytes that all recipients share: `"t":"NAME","d":{…}`. A session puts its sequence number in front.
pub(crate) fn body(name: &str, d: &impl Serialize) -> Bytes {
    let mut out = Vec::with_capacity(1_024);
    out.extend_from_slice(br#""t":""#);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(br#"","d":"#);
    write(d, &mut out);
    // Replay buffers keep it for long: without the room that is left.
    out.into_boxed_slice().into()
}

fn dispatch(name: &str, d: &impl Serialize) -> Dispatch {
    Dispatch::new(name, body(name, d))
}

pub(crate) fn ready(ready: &Ready<'_>) -> Dispatch {
    #[derive(Serialize)]
    struct Body<'a> {
        v: u8,
        user_settings: Object,
        user: Me<'a>,
        session_type: &'static str,
        session_id: &'a str,
        resume_gateway_url: &'a str,
        relationships: [(); 0],
        private_channels: [(); 0],
        presences: [(); 0],
        guilds: Vec<UnavailableGuild>,
        geo_ordered_rtc_regions: [(); 0],
        application: PartialApplication,
        shard: (u32, u32),
        #[serde(skip_serializing_if = "Option::is_none")]
        read_states: Option<&'a [ReadState]>,
        _trace: [&'a str; 1],
    }
    #[derive(Serialize)]
    struct Object {}
    let d = Body {
        v: 10,
        user_settings: Object {},
        user: ready.user.into(),
        session_type: "normal",
        session_id: ready.session_id,
        resume_gateway_url: ready.resume_gateway_url,
        relationships: [],
        private_channels: [],
        presences: [],
        guilds: ready.guilds.iter().map(|id| UnavailableGuild::unavailable(*id)).collect(),
        geo_ordered_rtc_regions: [],
        application: ready.user.into(),
        shard: ready.shard,
        read_states: ready.read_states.as_deref(),
        _trace: [ready.instance],
    };
    dispatch("READY", &d)
}

/// The person has read so far, on one of their devices. An extension: not for bots.
pub(crate) fn read_state_update(put: &ReadStatePut) -> Dispatch {
    let state = &put.state;
    dispatch("READ_STATE_UPDATE", &UnreadState::new(state.channel_id, Some(state.last_read_id), &put.unread))
}

pub(crate) fn user_update(user: &Account) -> Dispatch {
    dispatch("USER_UPDATE", &Me::from(user))
}

/// Everything of a guild that `viewer` is to see. The caller chooses channels, members (the viewer among them), presences
/// and voice states.
pub(crate) fn guild_create<'a>(
    state: &'a GuildState,
    viewer: UserId,
    is_large: bool,
    channels: impl IntoIterator<Item = &'a GuildChannel>,
    members: impl IntoIterator<Item = &'a Membership>,
    presences: impl IntoIterator<Item = (UserId, &'a Doing)>,
    voices: impl IntoIterator<Item = &'a Voice>,
) -> Dispatch {
    dispatch("GUILD_CREATE", &CreatedGuild::new(state, viewer, is_large, channels, members, presences, voices))
}

pub(crate) fn guild_update(state: &GuildState) -> Dispatch {
    dispatch("GUILD_UPDATE", &Guild::from(state))
}

/// The viewer is not in the guild any more, or it is gone.
pub(crate) fn guild_delete(id: GuildId) -> Dispatch {
    dispatch("GUILD_DELETE", &UnavailableGuild::left(id))
}

pub(crate) fn channel_create(guild_id: GuildId, channel: &GuildChannel) -> Dispatch {
    dispatch("CHANNEL_CREATE", &Channel::new(guild_id, channel))
}

pub(crate) fn channel_update(guild_id: GuildId, channel: &GuildChannel) -> Dispatch {
    dispatch("CHANNEL_UPDATE", &Channel::new(guild_id, channel))
}

pub(crate) fn channel_delete(guild_id: GuildId, channel: &GuildChannel) -> Dispatch {
    dispatch("CHANNEL_DELETE", &Channel::new(guild_id, channel))
}

#[derive(Serialize)]
struct RoleOf<'a> {
    guild_id: Id,
    role: Role<'a>,
}

pub(crate) fn guild_role_create(guild_id: GuildId, role: &GuildRole) -> Dispatch {
    dispatch("GUILD_ROLE_CREATE", &RoleOf { guild_id: guild_id.into(), role: role.into() })
}

pub(crate) fn guild_role_update(guild_id: GuildId, role: &GuildRole) -> Dispatch {
    dispatch("GUILD_ROLE_UPDATE", &RoleOf { guild_id: guild_id.into(), role: role.into() })
}

pub(crate) fn guild_role_delete(guild_id: GuildId, role: RoleId) -> Dispatch {
    #[derive(Serialize)]
    struct Body {
        guild_id: Id,
        role_id: Id,
    }
    dispatch("GUILD_ROLE_DELETE", &Body { guild_id: guild_id.into(), role_id: role.into() })
}

pub(crate) fn guild_member_add(guild_id: GuildId, member: &Membership) -> Dispatch {
    dispatch("GUILD_MEMBER_ADD", &MemberOf::new(guild_id, member))
}

pub(crate) fn guild_member_update(guild_id: GuildId, member: &Membership) -> Dispatch {
    dispatch("GUILD_MEMBER_UPDATE", &MemberOf::new(guild_id, member))
}

pub(crate) fn guild_member_remove(guild_id: GuildId, user: &Account) -> Dispatch {
    #[derive(Serialize)]
    struct Body<'a> {
        guild_id: Id,
        user: User<'a>,
    }
    dispatch("GUILD_MEMBER_REMOVE", &Body { guild_id: guild_id.into(), user: user.into() })
}

/// GUILD_BAN_ADD or GUILD_BAN_REMOVE.
pub(crate) fn guild_ban(name: &'static str, guild_id: GuildId, user: &Account) -> Dispatch {
    #[derive(Serialize)]
    struct Body<'a> {
        guild_id: Id,
        user: User<'a>,
    }
    dispatch(name, &Body { guild_id: guild_id.into(), user: user.into() })
}

pub(crate) fn guild_members_chunk(chunk: &MembersChunk<'_>) -> Dispatch {
    #[derive(Serialize)]
    struct Body<'a> {
        guild_id: Id,
        members: Vec<Member<'a>>,
        chunk_index: usize,
        chunk_count: usize,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        not_found: Vec<Id>,
        #[serde(skip_serializing_if = "Option::is_none")]
        presences: Option<Vec<Presence<'a>>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        nonce: Option<&'a str>,
    }
    let d = Body {
        guild_id: chunk.guild_id.into(),
        members: chunk.members.iter().map(|member| Member::from(*member)).collect(),
        chunk_index: chunk.index,
        chunk_count: chunk.count,
        not_found: chunk.not_found.iter().map(|id| Id::from(*id)).collect(),
        presences: chunk
            .presences
            .as_ref()
            .map(|all| all.iter().map(|(user, doing)| Presence::new(chunk.guild_id, *user, doing)).collect()),
        nonce: chunk.nonce,
    };
    dispatch("GUILD_MEMBERS_CHUNK", &d)
}

/// A new message, in the encoding that `shown` asks for; the guild whose memberships go along is in it.
pub(crate) fn message_create(view: &MessageView, shown: Shown<'_>) -> Dispatch {
    dispatch("MESSAGE_CREATE", &Message::new(view, shown))
}

/// A changed message, the whole of it.
pub(crate) fn message_update(view: &MessageView, shown: Shown<'_>) -> Dispatch {
    dispatch("MESSAGE_UPDATE", &Message::new(view, shown))
}

pub(crate) fn message_delete(guild_id: Option<GuildId>, channel_id: ChannelId, id: MessageId) -> Dispatch {
    #[derive(Serialize)]
    struct Body {
        id: Id,
        channel_id: Id,
        #[serde(skip_serializing_if = "Option::is_none")]
        guild_id: Option<Id>,
    }
    let d = Body { id: id.into(), channel_id: channel_id.into(), guild_id: guild_id.map(Id::from) };
    dispatch("MESSAGE_DELETE", &d)
}

#[derive(Serialize)]
struct ReactionBody<'a> {
    user_id: Id,
    #[serde(rename = "type")]
    kind: u8,
    message_id: Id,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_author_id: Option<Id>,
    emoji: Emoji<'a>,
    channel_id: Id,
    burst: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    burst_colors: Option<[(); 0]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guild_id: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<Member<'a>>,
}

impl<'a> ReactionBody<'a> {
    fn new(change: &'a ReactionChange, guild_id: Option<GuildId>) -> Self {
        Self {
            user_id: change.user_id.into(),
            kind: 0,
            message_id: change.message_id.into(),
            message_author_id: None,
            emoji: (&change.emoji).into(),
            channel_id: change.channel_id.into(),
            burst: false,
            burst_colors: None,
            guild_id: guild_id.map(Id::from),
            member: None,
        }
    }
}

/// Somebody reacted. In a guild their membership goes along.
pub(crate) fn reaction_add(change: &ReactionChange, guild: Option<&GuildState>) -> Dispatch {
    let member = guild.and_then(|guild| guild.members.get(&change.user_id));
    let d = ReactionBody {
        message_author_id: Some(change.message_author_id.into()),
        burst_colors: Some([]),
        member: member.map(|member| Member::from(&**member)),
        ..ReactionBody::new(change, guild.map(|state| state.guild.id))
    };
    dispatch("MESSAGE_REACTION_ADD", &d)
}

pub(crate) fn reaction_remove(change: &ReactionChange, guild_id: Option<GuildId>) -> Dispatch {
    dispatch("MESSAGE_REACTION_REMOVE", &ReactionBody::new(change, guild_id))
}

/// Somebody types. In a guild their membership goes along.
pub(crate) fn typing_start(
    channel_id: ChannelId,
    user_id: UserId,
    at: Timestamp,
    guild: Option<&GuildState>,
) -> Dispatch {
    #[derive(Serialize)]
    struct Body<'a> {
        channel_id: Id,
        user_id: Id,
        timestamp: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        guild_id: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none")]
        member: Option<Member<'a>>,
    }
    let member = guild.and_then(|guild| guild.members.get(&user_id));
    let d = Body {
        channel_id: channel_id.into(),
        user_id: user_id.into(),
        timestamp: at.as_secs(),
        guild_id: guild.map(|state| state.guild.id.into()),
        member: member.map(|member| Member::from(&**member)),
    };
    dispatch("TYPING_START", &d)
}

pub(crate) fn presence_update(guild_id: GuildId, user_id: UserId, doing: &Doing) -> Dispatch {
    dispatch("PRESENCE_UPDATE", &Presence::new(guild_id, user_id, doing))
}

/// Somebody is in a voice channel, differently, or not any more.
pub(crate) fn voice_state_update(guild: &GuildState, state: &Voice) -> Dispatch {
    dispatch("VOICE_STATE_UPDATE", &VoiceState::new(guild, state))
}

/// Where a session's media go from now on.
pub(crate) fn voice_server_update(server: &VoiceServer<'_>) -> Dispatch {
    dispatch("VOICE_SERVER_UPDATE", server)
}

/// Who is heard in a room. An extension: for those who are in it, and not for bots.
pub(crate) fn voice_heard(heard: &VoiceHeard) -> Dispatch {
    dispatch("VOICE_HEARD", heard)
}

/// A session is not let into a room. An extension: not for bots.
pub(crate) fn voice_refused(refused: &VoiceRefused<'_>) -> Dispatch {
    dispatch("VOICE_REFUSED", refused)
}
