//! The bodies of what clients send, read leniently: libraries differ in what they add and how they write ids.

use std::collections::BTreeMap;

use clarion_model::id::{ChannelId, GuildId, UserId};
use clarion_model::presence::{ACTIVITIES, Activity, Device, Presence, Status};
use clarion_model::time::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Violation;
use crate::frame::CloseCode;
use crate::intents::Intents;

/// From more members on, a guild comes without those who are not there: what a client may choose, the first by default.
const LARGE_THRESHOLDS: std::ops::RangeInclusive<u64> = 50..=250;
const ACTIVITY_TEXT: usize = 128;
const NONCE_BYTES: usize = 32;
/// Most members asked for by id at once. Of more, the first are answered; the others are not even said to be missing.
const USER_IDS: usize = 100;

/// A client starts a session.
#[derive(Clone, PartialEq)]
pub(crate) struct Identify {
    /// As it was shown, perhaps with a scheme in front.
    pub(crate) token: String,
    pub(crate) intents: Intents,
    /// Which of how many.
    pub(crate) shard: (u32, u32),
    pub(crate) presence: Presence,
    pub(crate) device: Device,
    pub(crate) large_threshold: u8,
}

/// A client goes on with a session.
#[derive(Clone, PartialEq)]
pub(crate) struct Resume {
    pub(crate) token: String,
    pub(crate) session_id: String,
    pub(crate) sequence: u64,
}

/// A client wants to know members of a guild.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MembersRequest {
    pub(crate) guild_id: GuildId,
    /// How the name begins; empty for everybody.
    pub(crate) query: String,
    /// Most answers; zero for all.
    pub(crate) limit: usize,
    pub(crate) user_ids: Option<Vec<UserId>>,
    pub(crate) presences: bool,
    /// To be repeated in the answer.
    pub(crate) nonce: Option<String>,
}

/// A client wants to be in a voice channel, or in none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VoiceRequest {
    pub(crate) guild_id: GuildId,
    pub(crate) channel_id: Option<ChannelId>,
    pub(crate) self_mute: bool,
    pub(crate) self_deaf: bool,
}

/// The fields of an object, each read by itself: what one of them has in it does not spoil the others.
#[derive(Default)]
struct Fields<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    fn of(object: &'a str) -> Option<Self> {
        serde_json::from_str(object).ok().map(Self)
    }

    fn raw(&self, field: &str) -> Option<&'a str> {
        self.0.get(field).map(|value| value.get())
    }

    /// The field, if it is there and can be read as this.
    fn get<T: Deserialize<'a>>(&self, field: &str) -> Option<T> {
        serde_json::from_str(self.raw(field)?).ok()
    }
}

impl std::fmt::Debug for Identify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identify").field("intents", &self.intents).field("shard", &self.shard).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Resume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resume").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

pub(super) fn identify(d: &str, wall: Timestamp) -> Result<Identify, Violation> {
    let d = Fields::of(d).ok_or(NOT_A_PAYLOAD)?;
    let token = d.get("token").ok_or(Violation { code: CloseCode::AUTHENTICATION_FAILED, reason: "no token" })?;
    let intents = d.get("intents").and_then(Intents::new);
    let intents = intents.ok_or(Violation { code: CloseCode::INVALID_INTENTS, reason: "invalid intents" })?;
    let shard = match d.raw("shard") {
        None | Some("null") => Some((0, 1)),
        Some(_) => d.get("shard").filter(|(which, of)| which < of),
    };
    let shard = shard.ok_or(Violation { code: CloseCode::INVALID_SHARD, reason: "invalid shard" })?;
    let presence = presence(d.raw("presence").unwrap_or_default(), wall);
    let (least, most) = LARGE_THRESHOLDS.into_inner();
    let large_threshold = d.get::<u64>("large_threshold").unwrap_or(least).clamp(least, most) as u8;
    let device = device(d.raw("properties").unwrap_or_default());
    Ok(Identify { token, intents, shard, presence, device, large_threshold })
}

/// What kind of device a client says it is on. Libraries for bots name themselves, which counts as a browser.
fn device(properties: &str) -> Device {
    let properties = Fields::of(properties).unwrap_or_default();
    let named = |name: &str, old: &str| properties.get::<String>(name).or_else(|| properties.get(old));
    let (browser, device) = (named("browser", "$browser"), named("device", "$device"));
    let says = |what: &str| [&browser, &device].into_iter().flatten().any(|s| s.to_ascii_lowercase().contains(what));
    if ["android", "ios", "iphone", "ipad", "mobile"].into_iter().any(says) {
        Device::Mobile
    } else if ["desktop", "discord client"].into_iter().any(says) {
        Device::Desktop
    } else {
        Device::Web
    }
}

/// `None` for what has the form of a request but names no place in a session.
pub(super) fn resume(d: &str) -> Result<Option<Resume>, Violation> {
    let d = Fields::of(d).ok_or(NOT_A_PAYLOAD)?;
    let token = d.get("token").ok_or(NOT_A_PAYLOAD)?;
    let place = d.get("session_id").zip(d.get("seq"));
    Ok(place.map(|(session_id, sequence)| Resume { token, session_id, sequence }))
}

/// Never fails: libraries disagree about nearly every field of it.
pub(super) fn presence(d: &str, wall: Timestamp) -> Presence {
    let d = Fields::of(d).unwrap_or_default();
    let status = match d.get::<String>("status").as_deref() {
        Some("idle") => Status::Idle,
        Some("dnd") => Status::Dnd,
        // A client that is connected is not offline; it does not want to be seen.
        Some("offline" | "invisible") => Status::Invisible,
        _ => Status::Online,
    };
    let listed = d.get::<Vec<&RawValue>>("activities").unwrap_or_default();
    // The field of before there could be several.
    let game = d.raw("game");
    let all = listed.into_iter().map(RawValue::get).chain(game);
    let activities = all.filter_map(|a| activity(a, wall)).take(ACTIVITIES).collect();
    Presence { status, activities, ..Presence::default() }
}

pub(super) fn members(d: &str) -> Option<MembersRequest> {
    let d = object(d)?;
    let guild_id = match d.get("guild_id")? {
        Value::Array(ids) => id(ids.first()?)?,
        one => id(one)?,
    };
    let user_ids = match d.get("user_ids") {
        None | Some(Value::Null) => None,
        Some(Value::Array(ids)) => Some(ids.iter().filter_map(id).take(USER_IDS).map(UserId).collect()),
        Some(one) => Some(id(one).map(UserId).into_iter().collect()),
    };
    let nonce = d.get("nonce").and_then(Value::as_str).filter(|n| n.len() <= NONCE_BYTES);
    Some(MembersRequest {
        guild_id: GuildId(guild_id),
        query: d.get("query").and_then(Value::as_str).unwrap_or_default().to_owned(),
        limit: d.get("limit").and_then(Value::as_u64).unwrap_or_default() as usize,
        user_ids,
        presences: d.get("presences").and_then(Value::as_bool).unwrap_or_default(),
        nonce: nonce.map(str::to_owned),
    })
}

/// `None` for what names no guild, or a channel that is none.
pub(super) fn voice(d: &str) -> Option<VoiceRequest> {
    let d = object(d)?;
    let channel_id = match d.get("channel_id") {
        None | Some(Value::Null) => None,
        // Some write zero for none.
        Some(Value::Number(zero)) if zero.as_u64() == Some(0) => None,
        Some(channel) => Some(ChannelId(id(channel)?)),
    };
    let flag = |name| d.get(name).and_then(Value::as_bool).unwrap_or_default();
    Some(VoiceRequest {
        guild_id: GuildId(id(d.get("guild_id")?)?),
        channel_id,
        self_mute: flag("self_mute"),
        self_deaf: flag("self_deaf"),
    })
}

const NOT_A_PAYLOAD: Violation = Violation { code: CloseCode::DECODE_ERROR, reason: "not a payload" };

fn object(d: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(d).ok()
}

fn id(value: &Value) -> Option<u64> {
    match value {
        Value::String(s) => s.parse::<UserId>().ok().map(|id| id.0),
        Value::Number(n) => n.as_u64().filter(|n| *n > 0),
        _ => None,
    }
}

fn activity(activity: &str, wall: Timestamp) -> Option<Activity> {
    let fields = Fields::of(activity)?;
    let text = |field| fields.get::<String>(field).map(|s| s.chars().take(ACTIVITY_TEXT).collect());
    Some(Activity {
        name: text("name")?,
        kind: fields.get("type").unwrap_or_default(),
        state: text("state"),
        url: text("url"),
        created_at_ms: fields.get("created_at").unwrap_or(wall.as_millis()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: Timestamp = Timestamp::from_millis(5);

    fn refused(d: &str) -> u16 {
        identify(d, WALL).expect_err("refused").code.0
    }

    #[test]
    fn identify_is_checked_where_it_matters() {
        let full = identify(
            r#"{"token":"Bot t","intents":513,"properties":{"os":"x"},"shard":[1,2],"compress":true,"large_threshold":50,
                "presence":{"since":{"secs_since_epoch":1},"status":"dnd","afk":0,"activities":[{"name":"n","type":2,"platform":null}]}}"#,
            WALL,
        );
        let full = full.expect("accepted");
        assert_eq!((full.shard, full.intents.0, full.presence.status), ((1, 2), 513, Status::Dnd));
        assert_eq!(full.presence.activities[0].created_at_ms, 5);
        assert_eq!(refused(r#"{"intents":1}"#), 4004);
        assert_eq!(refused(r#"{"token":7,"intents":1}"#), 4004);
        assert_eq!(refused("[]"), 4002);
        assert_eq!(refused(r#"{"token":"t"}"#), 4013);
        assert_eq!(refused(r#"{"token":"t","intents":-1}"#), 4013);
        assert_eq!(refused(r#"{"token":"t","intents":1099511627776}"#), 4013);
        for shard in ["[1,1]", "[0,0]", "[-1,1]", "[0]", "7", "[0,1,2]"] {
            assert_eq!(refused(&format!(r#"{{"token":"t","intents":1,"shard":{shard}}}"#)), 4010, "{shard}");
        }
    }

    #[test]
    fn a_client_says_what_it_is_on_and_what_is_large_for_it() {
        let with = |fields: &str| {
            let d = format!(r#"{{"token":"t","intents":1,{fields}}}"#);
            let identify = identify(&d, WALL).expect("accepted");
            (identify.device, identify.large_threshold)
        };
        let library = r#""properties":{"os":"linux","browser":"discord.js","device":"discord.js"}"#;
        assert_eq!(with(library), (Device::Web, 50));
        assert_eq!(with(r#""properties":{"$browser":"Discord iOS"},"large_threshold":250"#), (Device::Mobile, 250));
        assert_eq!(with(r#""properties":{"browser":"Discord Client"},"large_threshold":1"#), (Device::Desktop, 50));
        assert_eq!(with(r#""properties":7,"large_threshold":100000"#), (Device::Web, 250));
        assert_eq!(with(r#""properties":{"browser":[]},"large_threshold":"x""#), (Device::Web, 50));
        assert_eq!(presence(r#"{"status":"invisible"}"#, WALL).status, Status::Invisible);
    }

    #[test]
    fn the_old_field_of_a_presence_is_read() {
        let p = presence(r#"{"status":"online","game":{"name":"chess","type":0,"timestamps":{}},"since":0.0}"#, WALL);
        assert_eq!((p.status, p.activities.len()), (Status::Online, 1));
        assert_eq!(presence("17", WALL).status, Status::Online);
    }

    #[test]
    fn what_cannot_be_read_of_a_presence_is_left_out() {
        let broken = r#"{"status":"idle","since":1e999,"x":"\udfff","activities":[{"name":"\ud800"},7,{"name":"n","state":"\ud800"}]}"#;
        let p = presence(broken, WALL);
        assert_eq!((p.status, p.activities.len()), (Status::Idle, 1));
        assert_eq!((p.activities[0].name.as_str(), &p.activities[0].state), ("n", &None));
        let identify =
            identify(&format!(r#"{{"token":"t","intents":1,"presence":{broken}}}"#), WALL).expect("accepted");
        assert_eq!(identify.presence, p);
        for odd in ["null", "7", r#"{"\ud800":1}"#, r#""\ud800""#] {
            let d = format!(r#"{{"token":"t","intents":1,"presence":{odd}}}"#);
            let identify = super::identify(&d, WALL).expect("accepted");
            assert_eq!(identify.presence.status, Status::Online, "{odd}");
        }
    }

    #[test]
    fn the_first_hundred_ids_are_looked_up() {
        let ids: Vec<u64> = (1..=150).collect();
        let m = members(&serde_json::json!({"guild_id": 1, "user_ids": ids}).to_string()).expect("a request");
        assert_eq!(m.user_ids, Some((1..=100).map(UserId).collect()));
    }

    #[test]
    fn a_voice_request_is_read_as_libraries_write_it() {
        let read = voice(r#"{"guild_id":1,"channel_id":"2","self_mute":true,"self_deaf":false,"self_video":false}"#);
        let channel_id = Some(ChannelId(2));
        assert_eq!(read, Some(VoiceRequest { guild_id: GuildId(1), channel_id, self_mute: true, self_deaf: false }));
        for none in
            [r#"{"guild_id":"1","channel_id":null}"#, r#"{"guild_id":"1","channel_id":0}"#, r#"{"guild_id":"1"}"#]
        {
            assert_eq!(voice(none).expect("read").channel_id, None, "{none}");
        }
        for odd in [r#"{"guild_id":null,"channel_id":null}"#, r#"{"guild_id":"1","channel_id":"x"}"#, "{}", "7", "null"]
        {
            assert_eq!(voice(odd), None, "{odd}");
        }
    }

    #[test]
    fn ids_may_be_numbers_strings_or_lists() {
        for guild in [r#""42""#, "42", r#"["42"]"#, "[42]"] {
            let m = members(&format!(r#"{{"guild_id":{guild},"query":"","limit":0}}"#)).expect("a request");
            assert_eq!((m.guild_id, m.user_ids), (GuildId(42), None));
        }
        let m = members(r#"{"guild_id":1,"user_ids":["7",8],"nonce":"n","presences":true}"#).expect("a request");
        assert_eq!(m.user_ids, Some(vec![UserId(7), UserId(8)]));
        assert_eq!((m.nonce.as_deref(), m.presences), (Some("n"), true));
        assert_eq!(members("{}"), None);
    }
}
