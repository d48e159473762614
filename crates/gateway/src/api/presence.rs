//! Presences.

use clarion_model::id::{GuildId, UserId};
use clarion_model::presence::{Activity as Act, Presence as Doing, Status};
use http::Uri;
use serde::Serialize;

use super::Id;

/// The last millisecond of the years that every library can name.
const LAST_MS: u64 = 253_402_300_799_999;

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
    desktop: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mobile: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    web: Option<&'static str>,
}

impl<'a> Presence<'a> {
    pub(crate) fn new(guild_id: GuildId, user: UserId, doing: &'a Doing) -> Self {
        let on = |status: Status| (status.shown() != Status::Offline).then(|| word(status));
        let activities = doing.activities.iter().enumerate().map(|(n, act)| Activity::new(n, act)).collect();
        Self {
            user: JustId { id: user.into() },
            guild_id: guild_id.into(),
            status: word(doing.status),
            activities,
            client_status: ClientStatus {
                desktop: on(doing.devices.desktop),
                mobile: on(doing.devices.mobile),
                web: on(doing.devices.web),
            },
        }
    }
}

impl<'a> Activity<'a> {
    fn new(n: usize, act: &'a Act) -> Self {
        let created_at = act.created_at_ms.min(LAST_MS);
        Self {
            id: format!("{created_at:x}{n:x}"),
            name: &act.name,
            kind: act.kind,
            state: act.state.as_deref(),
            url: act.url.as_deref().filter(|url| is_plain_link(url)),
            created_at,
        }
    }
}

/// Whether a text is the address of a page on a host with a name. One library takes addresses apart, and loses the
/// whole event over one that is none.
fn is_plain_link(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return false };
    let host = authority.host();
    let port = authority.as_str().strip_prefix(host).map(|rest| rest.strip_prefix(':').unwrap_or(rest));
    let is_port = |port: &str| port.is_empty() || port.parse::<u16>().is_ok();
    let is_label = |label: &str| {
        let is_encoded = label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--"));
        !label.is_empty() && !is_encoded && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let is_name = host.rsplit('.').next().is_some_and(|top| top.starts_with(|c: char| c.is_ascii_alphabetic()));
    is_name && host.split('.').all(is_label) && port.is_some_and(is_port)
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Online => "online",
        Status::Idle => "idle",
        Status::Dnd => "dnd",
        // Nobody else is to know the difference.
        Status::Invisible | Status::Offline => "offline",
    }
}
