//! What fuzzing sends through this crate: what clients say, and what other services and the cache say of sessions.

use clarion_model::event::{Event, GuildEvent, LogEntry, Transient, UserEvent};
use clarion_model::guild::GuildState;
use clarion_model::id::{GuildId, UserId};
use clarion_proto::v1;
use prost::Message;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::{Shown, dispatch};
use crate::frame::Dispatch;
use crate::handover::{Checkpoint, Kept};

pub use crate::connection::fuzzing::frames;
pub use crate::rest::fuzzing::{bodies, queries};

const HERE: GuildId = GuildId(1);

/// What comes over streams and out of the cache: the first byte says what it is. What is taken is handed on as it was, and
/// what clients are told of it is JSON in the form they know.
pub fn records(data: &[u8]) {
    let [kind, data @ ..] = data else { return };
    match kind % 5 {
        0 => session(data),
        1 => checkpoint(data),
        2 => entry(data),
        3 => transient(data),
        _ => guild(data),
    }
}

fn session(data: &[u8]) {
    let Ok(wire) = v1::KeptSession::decode(data) else { return };
    let Ok(kept) = Kept::try_from(wire) else { return };
    assert!(kept.shard.1 > 0);
    let sent = v1::KeptSession::from(&kept);
    let again = v1::KeptSession::decode(&sent.encode_to_vec()[..]).expect("what is sent is read");
    assert_eq!(v1::KeptSession::from(&Kept::try_from(again).expect("a session")), sent);
}

fn checkpoint(data: &[u8]) {
    let Ok(wire) = v1::Checkpoint::decode(data) else { return };
    let Ok(at) = Checkpoint::try_from(wire) else { return };
    let sent = v1::Checkpoint::from(&at).encode_to_vec();
    let again = v1::Checkpoint::decode(&sent[..]).expect("what is sent is read");
    assert_eq!(Checkpoint::try_from(again), Ok(at));
}

fn read<W: Message + Default, M: TryFrom<W>>(data: &[u8]) -> Option<M> {
    M::try_from(W::decode(data).ok()?).ok()
}

fn entry(data: &[u8]) {
    let Some(LogEntry { event, .. }) = read::<v1::LogEntry, _>(data) else { return };
    match &event {
        Event::Guild(GuildEvent::MessageCreate(view) | GuildEvent::MessageUpdate(view)) => {
            for stripped in [false, true] {
                let shown = Shown { nonce: !stripped, stripped, answered_stripped: !stripped, ..Shown::default() };
                let told = told(&dispatch::message_create(view, shown));
                let body: MessageBody<'_> = serde_json::from_str(told.get()).expect("a message");
                assert!(body.embeds.get().trim_start().starts_with('['), "{}", body.embeds);
                assert!(!stripped || body.content.get() == r#""""#);
            }
        }
        Event::Guild(GuildEvent::ReactionAdd(change)) => drop(told(&dispatch::reaction_add(change, None))),
        Event::Guild(GuildEvent::ReactionRemove(change)) => drop(told(&dispatch::reaction_remove(change, None))),
        Event::Guild(GuildEvent::ChannelPut(channel)) => {
            drop(told(&dispatch::channel_update(HERE, channel)));
        }
        Event::Guild(GuildEvent::RolePut(role)) => {
            drop(told(&dispatch::guild_role_update(HERE, role)));
        }
        Event::Guild(GuildEvent::MemberPut(member)) => {
            drop(told(&dispatch::guild_member_update(HERE, member)));
        }
        Event::User(UserEvent::Put(user)) => drop(told(&dispatch::user_update(user))),
        Event::User(UserEvent::ReadStatePut(put)) => drop(told(&dispatch::read_state_update(put))),
        _ => {}
    }
}

#[derive(Deserialize)]
struct MessageBody<'a> {
    #[serde(borrow)]
    embeds: &'a RawValue,
    #[serde(borrow)]
    content: &'a RawValue,
}

fn transient(data: &[u8]) {
    if let Some(Transient::Typing { channel_id, user_id, at }) = read::<v1::Transient, _>(data) {
        told(&dispatch::typing_start(channel_id, user_id, at, None));
    }
}

fn guild(data: &[u8]) {
    let Some(state) = read::<v1::GuildState, GuildState>(data) else { return };
    let viewer = state.members.keys().next().copied().unwrap_or(UserId(1));
    let (channels, members) = (state.channels.values(), state.members.values().map(|member| &**member));
    told(&dispatch::guild_create(&state, viewer, false, channels, members, [], []));
    told(&dispatch::guild_update(&state));
}

/// What a client reads of a dispatch: its name, and an object.
fn told(dispatch: &Dispatch) -> Box<RawValue> {
    #[derive(Deserialize)]
    struct Told {
        t: String,
        d: Box<RawValue>,
    }
    let text = [b"{", &dispatch.body[..], b"}"].concat();
    let Told { t, d } = serde_json::from_slice(&text).expect("a dispatch is JSON");
    assert!(!t.is_empty() && d.get().starts_with('{'));
    assert!(Dispatch::of_body(dispatch.body.clone()).is_some());
    d
}

#[cfg(test)]
mod tests {
    use clarion_corpus::replay;

    #[test]
    fn what_is_kept_is_decoded() {
        replay("gateway_frames", super::frames);
        replay("rest_bodies", super::bodies);
        replay("rest_queries", super::queries);
        replay("gateway_records", super::records);
    }
}
