//! Every permission bit that has a name.

use super::Permissions;

macro_rules! bits {
    ($(#[$doc:meta] $name:ident = $bit:literal),* $(,)?) => {
        impl Permissions {
            $(#[$doc] pub const $name: Permissions = Permissions(1 << $bit);)*

            /// Every bit that has a name.
            pub const ALL: Permissions = Permissions(0 $(| 1 << $bit)*);
        }

        /// The bits by their names in the API, lowest first.
        pub const NAMES: &[(&str, Permissions)] = &[$((stringify!($name), Permissions::$name)),*];
    };
}

bits! {
    /// Make invites.
    CREATE_INSTANT_INVITE = 0,
    /// Remove members.
    KICK_MEMBERS = 1,
    /// Remove members for good.
    BAN_MEMBERS = 2,
    /// Everything, whatever a channel's overwrites say.
    ADMINISTRATOR = 3,
    /// Create, change and delete channels.
    MANAGE_CHANNELS = 4,
    /// Change the guild itself.
    MANAGE_GUILD = 5,
    /// Put the first reaction of a kind on a message.
    ADD_REACTIONS = 6,
    /// Read the audit log.
    VIEW_AUDIT_LOG = 7,
    /// Be heard above others in a voice channel.
    PRIORITY_SPEAKER = 8,
    /// Send video or a screen.
    STREAM = 9,
    /// Know of a channel, read it, join it.
    VIEW_CHANNEL = 10,
    /// Write messages.
    SEND_MESSAGES = 11,
    /// Have a message read aloud.
    SEND_TTS_MESSAGES = 12,
    /// Delete messages of others.
    MANAGE_MESSAGES = 13,
    /// Have links shown with a preview.
    EMBED_LINKS = 14,
    /// Upload files.
    ATTACH_FILES = 15,
    /// Read what was said before.
    READ_MESSAGE_HISTORY = 16,
    /// Mention everyone, all who are here, or any role.
    MENTION_EVERYONE = 17,
    /// Use emoji of other guilds.
    USE_EXTERNAL_EMOJIS = 18,
    /// See the guild's statistics.
    VIEW_GUILD_INSIGHTS = 19,
    /// Join a voice channel.
    CONNECT = 20,
    /// Speak in a voice channel.
    SPEAK = 21,
    /// Silence others in a voice channel.
    MUTE_MEMBERS = 22,
    /// Keep others from hearing a voice channel.
    DEAFEN_MEMBERS = 23,
    /// Move others between voice channels.
    MOVE_MEMBERS = 24,
    /// Speak without holding a key.
    USE_VAD = 25,
    /// Change one's own nickname.
    CHANGE_NICKNAME = 26,
    /// Change nicknames of others.
    MANAGE_NICKNAMES = 27,
    /// Create and change roles, and a channel's overwrites.
    MANAGE_ROLES = 28,
    /// Create, change and delete webhooks.
    MANAGE_WEBHOOKS = 29,
    /// Change and delete anybody's emoji, stickers and sounds.
    MANAGE_GUILD_EXPRESSIONS = 30,
    /// Use commands of applications.
    USE_APPLICATION_COMMANDS = 31,
    /// Ask to speak on a stage.
    REQUEST_TO_SPEAK = 32,
    /// Change and delete anybody's scheduled events.
    MANAGE_EVENTS = 33,
    /// Delete and archive threads, see private ones.
    MANAGE_THREADS = 34,
    /// Start threads that all may join.
    CREATE_PUBLIC_THREADS = 35,
    /// Start threads for those invited.
    CREATE_PRIVATE_THREADS = 36,
    /// Use stickers of other guilds.
    USE_EXTERNAL_STICKERS = 37,
    /// Write in threads.
    SEND_MESSAGES_IN_THREADS = 38,
    /// Use activities in a voice channel.
    USE_EMBEDDED_ACTIVITIES = 39,
    /// Silence members everywhere for a while.
    MODERATE_MEMBERS = 40,
    /// See what role subscriptions earn.
    VIEW_CREATOR_MONETIZATION_ANALYTICS = 41,
    /// Play sounds in a voice channel.
    USE_SOUNDBOARD = 42,
    /// Add emoji, stickers and sounds, and change one's own.
    CREATE_GUILD_EXPRESSIONS = 43,
    /// Schedule events, and change one's own.
    CREATE_EVENTS = 44,
    /// Play sounds of other guilds.
    USE_EXTERNAL_SOUNDS = 45,
    /// Send recorded speech.
    SEND_VOICE_MESSAGES = 46,
    /// Say what a voice channel is used for just now.
    SET_VOICE_CHANNEL_STATUS = 48,
    /// Ask for votes.
    SEND_POLLS = 49,
    /// Let an application of one's own answer for all to see.
    USE_EXTERNAL_APPS = 50,
    /// Pin messages and take pins off.
    PIN_MESSAGES = 51,
    /// Write without waiting in a slowed channel.
    BYPASS_SLOWMODE = 52,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_all_bits_once_in_order() {
        assert!(NAMES.is_sorted_by_key(|(_, bit)| bit.0));
        let all = NAMES.iter().fold(Permissions::NONE, |all, (_, bit)| all.union(*bit));
        assert_eq!(all, Permissions::ALL);
        // Bits 0 to 52, of which 47 has no name.
        assert_eq!(Permissions::ALL.0, ((1 << 53) - 1) & !(1 << 47));
        assert_eq!(NAMES.len(), 52);
        assert_eq!(NAMES[10], ("VIEW_CHANNEL", Permissions(0x400)));
    }
}
