//! What a session wants to hear of: the API's bit set (page "Gateway intents").

/// A set of intents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Intents(pub(crate) u64);

impl Intents {
    pub(crate) const GUILDS: Self = Self(1);
    pub(crate) const GUILD_MEMBERS: Self = Self(1 << 1);
    pub(crate) const GUILD_MODERATION: Self = Self(1 << 2);
    pub(crate) const GUILD_VOICE_STATES: Self = Self(1 << 7);
    pub(crate) const GUILD_PRESENCES: Self = Self(1 << 8);
    pub(crate) const GUILD_MESSAGES: Self = Self(1 << 9);
    pub(crate) const GUILD_MESSAGE_REACTIONS: Self = Self(1 << 10);
    pub(crate) const GUILD_MESSAGE_TYPING: Self = Self(1 << 11);
    pub(crate) const MESSAGE_CONTENT: Self = Self(1 << 15);

    /// Bits 0 to 16, 20, 21, 24 and 25: every intent there is, served here or not.
    const KNOWN: u64 = 0x1_ffff | 0b11 << 20 | 0b11 << 24;

    /// The set, unless it has bits that mean nothing.
    pub(crate) fn new(bits: u64) -> Option<Self> {
        (bits & !Self::KNOWN == 0).then_some(Self(bits))
    }

    /// Whether all of `other` is here.
    pub(crate) fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_intent_of_the_api_is_accepted_and_no_other() {
        assert!(Intents::new(53_608_447).is_some());
        for unknown in [17, 18, 19, 22, 23, 26, 40, 63] {
            assert!(Intents::new(1 << unknown).is_none(), "bit {unknown}");
        }
    }
}
