//! Presences.

use clarion_model::id::{GuildId, UserId};
use clarion_model::presence::{Activity as Act, Presence as Doing, Status};
use serde::Serialize;

use super::Id;

/// What a member does, as others of the guild see it. Of the user it has the id alone: with any other field libraries
/// would expect all of them.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Presence<'a> {
    user: JustId,
    guild_id: Id,
    status: &'static str,
    activities: Vec<Activity<'a>>,
    client_status: ClientStatus,
}

#[derive(Debug, Clone, Serialize)]
struct JustId {
    id: Id,
}

#[derive(Debug, Clone, Serialize)]
struct Activity<'a> {
    id: String,
    name: &'a str,
    #[serde(rename = "type")]
    kind: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    created_at: u64,
}

#[derive(Debug, Clone, Serialize)]
struct ClientStatus {
    #[serde(skip_serializing_if = "Option::is_none")]
    web: Option<&'static str>,
}

impl<'a> Presence<'a> {
    pub(crate) fn new(guild_id: GuildId, user: UserId, doing: &'a Doing) -> Self {
        let status = word(doing.status);
        let web = (doing.status != Status::Offline).then_some(status);
        let activities = doing.activities.iter().enumerate().map(|(n, act)| Activity::new(n, act)).collect();
        Self {
            user: JustId { id: user.into() },
            guild_id: guild_id.into(),
            status,
            activities,
            client_status: ClientStatus { web },
        }
    }
}

impl<'a> Activity<'a> {
    fn new(n: usize, act: &'a Act) -> Self {
        Self {
            id: format!("{:x}{n:x}", act.created_at_ms),
            name: &act.name,
            kind: act.kind,
            state: act.state.as_deref(),
            url: act.url.as_deref(),
            created_at: act.created_at_ms,
        }
    }
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Online => "online",
        Status::Idle => "idle",
        Status::Dnd => "dnd",
        Status::Offline => "offline",
    }
}
