//! What followers are sent, encoded once for all of them.

use bytes::Bytes;
use clarion_model::event::{Event, LogEntry, Transient, UserEvent};
use clarion_model::key::Key;
use clarion_model::user::TokenHash;
use clarion_model::voice::VoiceState;
use clarion_proto::convert::user_state;
use clarion_proto::v1::follow_response::Response;
use clarion_proto::v1::{self, snapshot};
use prost::Message;

use crate::owner::{State, Truth};

/// A logged event.
pub(crate) fn entry(entry: &LogEntry) -> Bytes {
    // Nobody outside needs the hash of a token before it is revoked.
    if let Event::User(UserEvent::TokenIssued { record, .. }) = &entry.event {
        let event = Event::User(UserEvent::TokenIssued { hash: TokenHash([0; 32]), record: record.clone() });
        let entry = LogEntry { event, traceparent: entry.traceparent.clone(), ..*entry };
        return frame(Response::Entry((&entry).into()));
    }
    frame(Response::Entry(entry.into()))
}

/// An event that is not logged.
pub(crate) fn transient(key: Key, event: &Transient) -> Bytes {
    frame(Response::Transient(v1::TransientEvent { key: Some(key.into()), event: Some(event.into()) }))
}

/// The state of a key and the place it is of.
pub(crate) fn snapshot(key: Key, truth: &Truth) -> Bytes {
    let state = match &truth.state {
        State::Absent => snapshot::State::Absent(true),
        State::Guild(guild) => snapshot::State::Guild((&**guild).into()),
        State::User(user) => snapshot::State::User(user_state(user, false)),
    };
    frame(Response::Snapshot(v1::Snapshot {
        key: Some(key.into()),
        position: Some(truth.applied.into()),
        state: Some(state),
    }))
}

/// All voice states of a guild.
pub(crate) fn voices<'a>(key: Key, states: impl Iterator<Item = &'a VoiceState>) -> Bytes {
    frame(Response::Voices(v1::VoiceStates { key: Some(key.into()), states: states.map(Into::into).collect() }))
}

/// All that was asked for has been sent.
pub(crate) fn caught(key: Key) -> Bytes {
    frame(Response::Caught(v1::Caught { key: Some(key.into()) }))
}

/// The key is not here, or not any more.
pub(crate) fn moved(key: Key) -> Bytes {
    frame(Response::Moved(v1::Moved { key: Some(key.into()) }))
}

fn frame(response: Response) -> Bytes {
    v1::FollowResponse { response: Some(response) }.encode_to_vec().into()
}
