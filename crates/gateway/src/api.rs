//! The API's objects as clients read them: one typed struct an object, one encoder for answers and dispatches alike.
//!
//! Client libraries stop working over a field that is missing, or null where it must not be. So every object is written
//! in full: arrays are never null, and what may be absent is absent rather than null.

mod application;
mod channel;
pub(crate) mod dispatch;
mod embed;
pub(crate) mod error;
mod guild;
mod member;
mod message;
mod presence;
mod read_state;
mod role;
mod search;
#[cfg(test)]
mod tests;
mod user;
mod voice;

use std::fmt;

use bytes::Bytes;
use clarion_model::time::Timestamp;
use serde::{Serialize, Serializer};

pub(crate) use application::{Application, GatewayBot, GatewayUrl, PartialApplication, SessionStartLimit};
pub(crate) use channel::Channel;
pub(crate) use embed::Embed;
pub(crate) use guild::{CreatedGuild, Guild, PartialGuild, UnavailableGuild};
pub(crate) use member::{Ban, Member, MemberOf};
pub(crate) use message::{Emoji, Message, Shown};
pub(crate) use presence::Presence;
pub(crate) use read_state::{ReadState, UnreadState};
pub(crate) use role::Role;
pub(crate) use search::{Found, NotReady};
pub(crate) use user::{Me, User};
pub(crate) use voice::{Slot, VoiceHeard, VoiceRefused, VoiceRegion, VoiceServer, VoiceState};

/// An id as clients read it: a decimal string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id(pub(crate) u64);

/// An instant as clients read it: six digits of a second, and an offset. Some libraries reject any other form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Timestamp);

/// What is absent in every object, or null.
pub(crate) type Null = Option<()>;

/// The one encoder.
pub(crate) fn encode(object: &impl Serialize) -> Bytes {
    let mut out = Vec::with_capacity(1_024);
    write(object, &mut out);
    out.into()
}

/// Writes an object behind what is there already.
fn write(object: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, object).expect("objects have text keys, and a Vec takes every byte");
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = i64::try_from(self.0.as_micros()).unwrap_or(i64::MAX);
        let at = jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX);
        write!(f, "{}", shown(at))
    }
}

/// The form that all libraries read.
fn shown(at: jiff::Timestamp) -> impl fmt::Display {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00")
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

macro_rules! from_model_ids {
    ($($id:ident),*) => {$(
        impl From<clarion_model::id::$id> for Id {
            fn from(id: clarion_model::id::$id) -> Self {
                Self(id.0)
            }
        }
    )*};
}
from_model_ids!(UserId, GuildId, ChannelId, MessageId, RoleId);
