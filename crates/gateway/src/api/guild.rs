//! Guilds: by themselves, as they are when a session begins, in a list, and when only their id is known.

use clarion_model::guild::{Channel as GuildChannel, GuildState, Member as Membership};
use clarion_model::id::{GuildId, UserId};
use clarion_model::permission::Permissions;
use clarion_model::presence::Presence as Doing;
use clarion_model::time::Timestamp;
use clarion_model::voice::VoiceState as Voice;
use serde::Serialize;

use super::{Channel, Id, Member, Null, Presence, Role, Time, VoiceState};

/// Nothing of what a list could hold.
type Empty = [(); 0];

/// A guild with its roles.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Guild<'a> {
    id: Id,
    name: &'a str,
    icon: Null,
    description: Null,
    home_header: Null,
    splash: Null,
    discovery_splash: Null,
    features: Empty,
    banner: Null,
    owner_id: Id,
    application_id: Null,
    region: &'static str,
    afk_channel_id: Null,
    afk_timeout: u32,
    system_channel_id: Null,
    system_channel_flags: u32,
    widget_enabled: bool,
    widget_channel_id: Null,
    verification_level: u8,
    default_message_notifications: u8,
    mfa_level: u8,
    explicit_content_filter: u8,
    max_presences: Null,
    max_members: u32,
    max_stage_video_channel_users: u32,
    max_video_channel_users: u32,
    vanity_url_code: Null,
    premium_tier: u8,
    premium_subscription_count: u32,
    preferred_locale: &'static str,
    rules_channel_id: Null,
    safety_alerts_channel_id: Null,
    public_updates_channel_id: Null,
    premium_progress_bar_enabled: bool,
    nsfw: bool,
    nsfw_level: u8,
    emojis: Empty,
    stickers: Empty,
    hub_type: Null,
    latest_onboarding_question_id: Null,
    incidents_data: Null,
    roles: Vec<Role<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approximate_member_count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approximate_presence_count: Option<usize>,
}

/// A guild with what a session begins with.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CreatedGuild<'a> {
    #[serde(flatten)]
    guild: Guild<'a>,
    joined_at: Time,
    large: bool,
    unavailable: bool,
    member_count: usize,
    voice_states: Vec<VoiceState<'a>>,
    members: Vec<Member<'a>>,
    channels: Vec<Channel<'a>>,
    threads: Empty,
    presences: Vec<Presence<'a>>,
    stage_instances: Empty,
    guild_scheduled_events: Empty,
    soundboard_sounds: Empty,
}

/// A guild in the list of those that somebody is in.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PartialGuild<'a> {
    id: Id,
    name: &'a str,
    icon: Null,
    banner: Null,
    owner: bool,
    permissions: Id,
    features: Empty,
    #[serde(skip_serializing_if = "Option::is_none")]
    approximate_member_count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approximate_presence_count: Option<usize>,
}

/// A guild of which only the id is known: still to come, out of reach, or left.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct UnavailableGuild {
    id: Id,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unavailable: bool,
}

impl<'a> From<&'a GuildState> for Guild<'a> {
    fn from(state: &'a GuildState) -> Self {
        Self {
            id: state.guild.id.into(),
            name: &state.guild.name,
            icon: None,
            description: None,
            home_header: None,
            splash: None,
            discovery_splash: None,
            features: [],
            banner: None,
            owner_id: state.guild.owner_id.into(),
            application_id: None,
            region: "local",
            afk_channel_id: None,
            afk_timeout: 300,
            system_channel_id: None,
            system_channel_flags: 0,
            widget_enabled: false,
            widget_channel_id: None,
            verification_level: 0,
            default_message_notifications: 0,
            mfa_level: 0,
            explicit_content_filter: 0,
            max_presences: None,
            max_members: 500_000,
            max_stage_video_channel_users: 50,
            max_video_channel_users: 25,
            vanity_url_code: None,
            premium_tier: 0,
            premium_subscription_count: 0,
            preferred_locale: "en-US",
            rules_channel_id: None,
            safety_alerts_channel_id: None,
            public_updates_channel_id: None,
            premium_progress_bar_enabled: false,
            nsfw: false,
            nsfw_level: 0,
            emojis: [],
            stickers: [],
            hub_type: None,
            latest_onboarding_question_id: None,
            incidents_data: None,
            roles: state.roles.values().map(Role::from).collect(),
            approximate_member_count: None,
            approximate_presence_count: None,
        }
    }
}

impl Guild<'_> {
    /// With how many belong to it, and how many of them are there.
    pub(crate) fn with_counts(mut self, members: usize, present: usize) -> Self {
        self.approximate_member_count = Some(members);
        self.approximate_presence_count = Some(present);
        self
    }
}

impl<'a> CreatedGuild<'a> {
    /// As `viewer` is to see it. Which channels, members, presences and voice states are shown is the caller's choice; the
    /// viewer has to be among the members.
    pub(crate) fn new(
        state: &'a GuildState,
        viewer: UserId,
        is_large: bool,
        channels: impl IntoIterator<Item = &'a GuildChannel>,
        members: impl IntoIterator<Item = &'a Membership>,
        presences: impl IntoIterator<Item = (UserId, &'a Doing)>,
        voices: impl IntoIterator<Item = &'a Voice>,
    ) -> Self {
        let id = state.guild.id;
        Self {
            guild: state.into(),
            joined_at: Time(state.members.get(&viewer).map_or(Timestamp::default(), |member| member.joined_at)),
            large: is_large,
            unavailable: false,
            member_count: state.members.len(),
            voice_states: voices.into_iter().map(VoiceState::bare).collect(),
            members: members.into_iter().map(Member::from).collect(),
            channels: channels.into_iter().map(|channel| Channel::new(id, channel)).collect(),
            threads: [],
            presences: presences.into_iter().map(|(user, doing)| Presence::new(id, user, doing)).collect(),
            stage_instances: [],
            guild_scheduled_events: [],
            soundboard_sounds: [],
        }
    }
}

impl<'a> PartialGuild<'a> {
    /// As a member with these permissions sees it.
    pub(crate) fn new(state: &'a GuildState, viewer: UserId, permissions: Permissions, counts: bool) -> Self {
        Self {
            id: state.guild.id.into(),
            name: &state.guild.name,
            icon: None,
            banner: None,
            owner: state.guild.owner_id == viewer,
            permissions: Id(permissions.0),
            features: [],
            approximate_member_count: counts.then_some(state.members.len()),
            approximate_presence_count: counts.then_some(0),
        }
    }
}

impl UnavailableGuild {
    /// A guild that is there but cannot be shown now.
    pub(crate) fn unavailable(id: GuildId) -> Self {
        Self { id: id.into(), unavailable: true }
    }

    /// A guild that one is not in any more.
    pub(crate) fn left(id: GuildId) -> Self {
        Self { id: id.into(), unavailable: false }
    }
}
