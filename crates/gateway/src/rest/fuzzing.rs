//! What fuzzing has clients send over HTTP: bodies of each kind, queries and headers.

use std::net::IpAddr;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use clarion_model::guild::{Channel, ChannelKind, Member, Overwrite, OverwriteTarget, Role};
use clarion_model::id::{ChannelId, MessageId, RoleId, UserId};
use clarion_model::key::Key;
use clarion_model::limits;
use clarion_model::permission::Permissions;
use clarion_model::time::Timestamp;
use clarion_model::user::User;
use clarion_proto::v1;
use prost::Message;
use serde_json::Value;

use super::call::{Path, Query};
use super::form::Form;
use super::message::body::{Edit, New};
use super::refusal::Refusal;
use super::{channel, member, origin, reaction, role, search};
use crate::accounts::bare;
use crate::api::{self, Embed};
use crate::session_id::Place;
use crate::upgrade;

const CHANNEL: ChannelId = ChannelId(5);
/// The largest answer to a bad request, whatever the request.
const ANSWER: usize = 16 << 10;

/// A body; the first byte says of what: the first letter of message, edit, channel, voice, role, member, overwrite; in
/// upper case it comes in parts with the boundary `x`. What is accepted is within its limits and can be handed on; what is
/// refused is told in the API's shape, at a field where one is wrong, and shortly.
pub fn bodies(data: &[u8]) {
    let [kind, body @ ..] = data else { return };
    let mut headers = HeaderMap::new();
    if kind.is_ascii_uppercase() {
        let parts = HeaderValue::from_static("multipart/form-data; boundary=x");
        headers.insert(header::CONTENT_TYPE, parts);
    }
    let form = match Form::read(&headers, body) {
        Ok(form) => form,
        Err(refusal) => return told(refusal),
    };
    let read = match kind.to_ascii_lowercase() {
        b'm' => new(form),
        b'e' => edit(form),
        b'c' => channel(form, ChannelKind::Text),
        b'v' => channel(form, ChannelKind::Voice),
        b'r' => role(form),
        b'o' => overwritten(form),
        _ => member(form),
    };
    if let Err(refusal) = read {
        told(refusal);
    }
}

fn told(refusal: Refusal) {
    assert!(refusal.status.is_client_error(), "{refusal:?}");
    let body = refusal.body();
    let at_a_field = body.code == 50_035;
    assert_eq!(at_a_field, !body.errors.is_empty(), "{body:?}");
    let answer = api::encode(&body).len();
    assert!(answer <= ANSWER, "an answer of {answer} bytes");
}

/// It arrives at the owner as it was sent.
fn again<M: Message + Default + PartialEq + std::fmt::Debug>(sent: &M) {
    assert_eq!(M::decode(&sent.encode_to_vec()[..]).as_ref(), Ok(sent));
}

fn new(form: Form) -> Result<(), Refusal> {
    let request = New::read(form, CHANNEL)?.request(Key::Direct(CHANNEL), CHANNEL, 1);
    assert!(!request.content.trim().is_empty() || !request.embeds_json.is_empty());
    assert!(request.content.chars().count() <= limits::CONTENT && request.reply_to != Some(0));
    if let Some(v1::Nonce { kind: Some(v1::nonce::Kind::Text(text)) }) = &request.nonce {
        assert!(text.chars().count() <= limits::NONCE);
    }
    embeds(&request.embeds_json);
    mentions(request.allowed_mentions.as_ref());
    again(&request);
    Ok(())
}

fn edit(form: Form) -> Result<(), Refusal> {
    let request = Edit::read(form)?.request(Key::Direct(CHANNEL), CHANNEL, MessageId(7), 1);
    assert!(request.content.as_ref().is_none_or(|content| content.chars().count() <= limits::CONTENT));
    embeds(request.embeds_json.as_deref().unwrap_or_default());
    mentions(request.allowed_mentions.as_ref());
    again(&request);
    Ok(())
}

/// What is stored is read as it was stored.
fn embeds(stored: &str) {
    if stored.is_empty() {
        return;
    }
    assert!(stored.len() <= limits::EMBED_BYTES);
    let value: Value = serde_json::from_str(stored).expect("embeds are JSON");
    for at in value.as_array().into_iter().flatten().filter_map(|embed| embed["timestamp"].as_str()) {
        // Of the year 1 or later, or a library loses the event.
        assert!(at.len() == 32 && at > "0001", "{at}");
    }
    let read = Embed::read_all(value).expect("embeds that were accepted");
    assert_eq!(Embed::stored(&read), stored);
}

fn mentions(allowed: Option<&v1::AllowedMentions>) {
    let Some(allowed) = allowed else { return };
    for some in [&allowed.users, &allowed.roles] {
        assert!(some.len() <= limits::MENTIONS && some.iter().all(|id| *id > 0));
    }
}

fn channel(mut form: Form, kind: ChannelKind) -> Result<(), Refusal> {
    let mut new = Channel::new(CHANNEL, kind, "");
    channel::apply(&mut form, &mut new);
    form.finish(())?;
    assert!(new.name.chars().count() <= limits::NAME && new.position <= u32::from(u16::MAX));
    assert!(new.topic.as_ref().is_none_or(|topic| (1..=1_024).contains(&topic.chars().count())));
    assert!(new.voice.user_limit <= 99 && (8_000..=384_000).contains(&new.voice.bitrate));
    assert_eq!(Channel::try_from(v1::GuildChannel::from(&new)).as_ref(), Ok(&new));
    Ok(())
}

fn role(mut form: Form) -> Result<(), Refusal> {
    let mut new = Role {
        id: RoleId(9),
        name: String::new(),
        color: 0,
        hoist: false,
        position: 1,
        permissions: Permissions::NONE,
        mentionable: false,
    };
    role::apply(&mut form, &mut new);
    form.finish(())?;
    assert!(new.name.chars().count() <= limits::NAME && new.color <= 0xff_ffff);
    assert_eq!(Role::try_from(v1::Role::from(&new)).as_ref(), Ok(&new));
    Ok(())
}

fn member(mut form: Form) -> Result<(), Refusal> {
    let user = User { id: UserId(1), username: "name".into(), global_name: None, bot: false };
    let joined_at = Timestamp::from_millis(1);
    let mut new = Member { user, nick: None, roles: Vec::new(), joined_at, mute: false, deaf: false };
    let _ = form.id("channel_id");
    member::apply(&mut form, &mut new);
    form.finish(())?;
    assert!(new.nick.as_ref().is_none_or(|nick| (1..=32).contains(&nick.chars().count())));
    assert!(new.roles.is_sorted() && new.roles.windows(2).all(|pair| pair[0] != pair[1]));
    assert_eq!(Member::try_from(v1::Member::from(&new)).as_ref(), Ok(&new));
    Ok(())
}

fn overwritten(mut form: Form) -> Result<(), Refusal> {
    let new = channel::overwrite(&mut form, None);
    form.finish(())?;
    let new = new.expect("what is missing is told");
    assert!(!matches!(new.target, OverwriteTarget::Role(RoleId(0)) | OverwriteTarget::Member(UserId(0))));
    assert_eq!(Overwrite::try_from(v1::Overwrite::from(&new)).as_ref(), Ok(&new));
    Ok(())
}

/// A query in the first line, and headers in those after it.
pub fn queries(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    if let Some(line) = lines.next().and_then(|line| std::str::from_utf8(line).ok()) {
        query(line);
        path(line);
    }
    let mut request = Request::new(Body::empty());
    for line in lines.take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            request.headers_mut().append(name, value);
        }
    }
    headers(&request);
}

fn query(line: &str) {
    let query = Query::read(line);
    let read = || -> Result<(), Refusal> {
        assert!((1..=100).contains(&query.number("limit", 1..=100, 50)?));
        assert!(query.id("before")? != Some(0));
        query.place("after")?;
        query.maybe("pinned")?;
        query.flag("with_counts");
        assert!(query.ids("channel_id", 500)?.len() <= 500);
        Ok(())
    };
    if let Err(refusal) = read() {
        told(refusal);
    }
    match search::read(&query) {
        Ok(request) => {
            assert!(request.text.as_ref().is_none_or(|text| (1..=1_024).contains(&text.chars().count())));
            assert!(request.offset <= 9_975 && (1..=25).contains(&request.limit));
            let filters = request.with.iter().chain(&request.without);
            assert!(filters.clone().count() <= 64 && filters.map(|filter| filter.values.len()).sum::<usize>() <= 1_000);
            again(&request);
        }
        Err(refusal) => told(refusal),
    }
    if let Some(violation) = upgrade::refusal(Some(line)) {
        assert!(violation.code.is_sendable());
    }
}

fn path(text: &str) {
    let path = Path(vec![("channel".into(), text.into()), ("emoji".into(), text.into())]);
    match path.id("channel") {
        Ok(id) => assert_eq!(path.major(), id),
        Err(refusal) => told(refusal),
    }
    match reaction::emoji(path.text("emoji")) {
        Ok(emoji) => assert!(emoji.name.len() <= text.len() && emoji.id != Some(0)),
        Err(refusal) => told(refusal),
    }
    if let Some(place) = Place::of(text) {
        assert_eq!(Place::of(&place.to_id([0; 6])), Some(place));
    }
}

fn headers(request: &Request<Body>) {
    let headers = request.headers();
    let id = origin::request_id(headers);
    assert!((1..=64).contains(&id.len()) && HeaderValue::from_str(&id).is_ok());
    let peer = IpAddr::from([192, 0, 2, 1]);
    assert_eq!(origin::address(headers, Some(peer), false), Some(peer));
    assert!(origin::address(headers, Some(peer), true).is_some());
    if let Some(host) = origin::host(headers) {
        assert!(!host.is_empty() && !host.contains(['/', '?', '#', '@', '"', ' ']));
    }
    let shown = headers.get(header::AUTHORIZATION).and_then(|token| token.to_str().ok()).unwrap_or_default();
    assert!(bare(shown).len() <= shown.len() && bare(shown) == bare(shown).trim());
    if upgrade::is_wanted(headers) {
        let status = upgrade::answer(request).status().as_u16();
        assert!([101, 400, 426].contains(&status));
    }
}
