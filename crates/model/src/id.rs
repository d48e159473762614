//! Snowflake ids: 64 bits of milliseconds since 2015-01-01, a worker and a sequence, printed as decimal strings.
//!
//! The epoch and the layout are those of Discord's API (reference page "Snowflakes"), because client libraries derive
//! creation times and shard numbers from them.

use std::fmt;
use std::str::FromStr;

use crate::time::Timestamp;

/// Milliseconds from the Unix epoch to the first instant a snowflake can name (2015-01-01T00:00:00Z).
pub const EPOCH_MS: u64 = 1_420_070_400_000;

/// The bits below the milliseconds.
pub const SEQUENCE_BITS: u32 = 22;

/// A text is not an id: not a decimal number of 64 bits, or zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a snowflake")]
pub struct ParseIdError;

macro_rules! id {
    ($(#[$doc:meta] $name:ident),* $(,)?) => {$(
        #[$doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{}({})", stringify!($name), self.0) }
        }
        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(s: &str) -> Result<Self, ParseIdError> { parse(s).map(Self) }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String { id.0.to_string() }
        }
        impl TryFrom<String> for $name {
            type Error = ParseIdError;
            fn try_from(s: String) -> Result<Self, ParseIdError> { s.parse() }
        }
        impl $name {
            /// The instant the id was made, to the millisecond.
            pub fn created_at(self) -> Timestamp { created_at(self.0) }
        }
    )*};
}

id! {
    /// A person's or a bot's account.
    UserId,
    /// A guild: a workspace with channels, roles and members.
    GuildId,
    /// A channel, of a guild or between people.
    ChannelId,
    /// A message; ids rise in a key.
    MessageId,
    /// A role; the role of everyone has the id of its guild.
    RoleId,
}

impl GuildId {
    /// The role that every member has.
    pub fn everyone(self) -> RoleId {
        RoleId(self.0)
    }
}

/// The smallest snowflake of a millisecond.
pub fn first_of(at: Timestamp) -> u64 {
    at.as_millis().saturating_sub(EPOCH_MS) << SEQUENCE_BITS
}

/// The next id of a sequence: the clock's, or one more than the last when the clock has not moved (or went back).
pub fn next(now: Timestamp, last: u64) -> u64 {
    first_of(now).max(last + 1)
}

fn created_at(id: u64) -> Timestamp {
    Timestamp::from_millis((id >> SEQUENCE_BITS) + EPOCH_MS)
}

fn parse(s: &str) -> Result<u64, ParseIdError> {
    if s.is_empty() || s.len() > 20 || !s.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ParseIdError);
    }
    match s.parse() {
        Ok(0) | Err(_) => Err(ParseIdError),
        Ok(id) => Ok(id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_even_when_the_clock_does_not() {
        let now = Timestamp::from_millis(EPOCH_MS + 1_000);
        let first = next(now, 0);
        assert_eq!(created_at(first), now);
        assert_eq!(next(now, first), first + 1);
        assert_eq!(next(Timestamp::from_millis(EPOCH_MS), first), first + 1);
    }

    #[test]
    fn only_plain_decimals_are_ids() {
        assert_eq!("175928847299117063".parse(), Ok(UserId(175_928_847_299_117_063)));
        for bad in ["", "0", "+1", "-1", " 1", "1a", "18446744073709551616", "999999999999999999999"] {
            assert_eq!(bad.parse::<UserId>(), Err(ParseIdError), "{bad:?}");
        }
    }
}
