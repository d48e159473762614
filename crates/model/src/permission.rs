//! Permissions: a set of bits, the published algorithm over roles and overwrites, and the classes of members who see alike.
//!
//! Bits and algorithm are those of the Discord v10 bot API (page "Permissions"); client libraries compute with them
//! too, so both sides have to agree on every bit.

mod algorithm;
mod bits;
mod visibility;

use std::fmt;
use std::str::FromStr;

pub use algorithm::{in_channel, in_guild};
pub use bits::NAMES;
pub use visibility::{Class, Classes, can_view, class_of};

/// A set of permission bits. Bits that have no name yet are kept as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Permissions(pub u64);

/// A text is not a set of permissions: not a decimal number of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a set of permissions")]
pub struct ParsePermissionsError;

impl Permissions {
    /// What everyone in a new guild may do: see, speak, listen, react; nothing that concerns others.
    pub const DEFAULT: Self = Self::VIEW_CHANNEL
        .union(Self::CREATE_INSTANT_INVITE)
        .union(Self::CHANGE_NICKNAME)
        .union(Self::SEND_MESSAGES)
        .union(Self::EMBED_LINKS)
        .union(Self::ATTACH_FILES)
        .union(Self::READ_MESSAGE_HISTORY)
        .union(Self::ADD_REACTIONS)
        .union(Self::USE_EXTERNAL_EMOJIS)
        .union(Self::CONNECT)
        .union(Self::SPEAK)
        .union(Self::STREAM)
        .union(Self::USE_VAD);

    /// No bit.
    pub const NONE: Self = Self(0);

    /// Whether every bit of `other` is here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether some bit of `other` is here.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The bits of either.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bits that are not in `other`.
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Permissions {
    type Err = ParsePermissionsError;

    fn from_str(s: &str) -> Result<Self, ParsePermissionsError> {
        // u64's own parser takes a plus sign.
        if !s.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ParsePermissionsError);
        }
        s.parse().map(Self).map_err(|_| ParsePermissionsError)
    }
}

impl From<Permissions> for String {
    fn from(permissions: Permissions) -> String {
        permissions.to_string()
    }
}

impl TryFrom<String> for Permissions {
    type Error = ParsePermissionsError;

    fn try_from(s: String) -> Result<Self, ParsePermissionsError> {
        s.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_behave() {
        let both = Permissions::ADD_REACTIONS.union(Permissions::SEND_MESSAGES);
        assert_eq!(both, Permissions(2_112));
        assert!(both.contains(Permissions::ADD_REACTIONS) && both.contains(Permissions::SEND_MESSAGES));
        assert!(!both.contains(Permissions::KICK_MEMBERS));
        assert!(!both.contains(Permissions::ADD_REACTIONS.union(Permissions::KICK_MEMBERS)));
        assert!(both.intersects(Permissions::ADD_REACTIONS.union(Permissions::KICK_MEMBERS)));
        assert_eq!(both.difference(Permissions::ADD_REACTIONS), Permissions::SEND_MESSAGES);
    }

    #[test]
    fn the_text_is_decimal() {
        assert_eq!("66321471".parse(), Ok(Permissions(66_321_471)));
        assert_eq!("0".parse(), Ok(Permissions::NONE));
        assert_eq!(Permissions(u64::MAX).to_string().parse(), Ok(Permissions(u64::MAX)));
        for bad in ["", "+1", "-1", " 1", "0x8", "18446744073709551616"] {
            assert_eq!(bad.parse::<Permissions>(), Err(ParsePermissionsError), "{bad:?}");
        }
    }
}
