//! The limits of the API, in one place. Lengths are in Unicode characters unless a name says bytes.

/// Longest content of a message.
pub const CONTENT: usize = 2_000;
/// Longest nonce.
pub const NONCE: usize = 25;
/// Largest frame a client may send, in bytes.
pub const CLIENT_FRAME_BYTES: usize = 4_096;
/// Largest body of a request, in bytes.
pub const BODY_BYTES: usize = 1 << 20;
/// Most messages one read of history answers.
pub const HISTORY_PAGE: u32 = 100;
/// Most members one page answers.
pub const MEMBER_PAGE: u32 = 1_000;
/// Most different emoji on one message.
pub const REACTIONS_PER_MESSAGE: usize = 20;
/// Most mentions taken from one message.
pub const MENTIONS: usize = 100;
/// Most embeds of one message.
pub const EMBEDS: usize = 10;
/// Largest embeds of one message together, in bytes of JSON.
pub const EMBED_BYTES: usize = 16 << 10;
/// Longest name of a guild, channel or role.
pub const NAME: usize = 100;
/// Up to this many members, everybody in a guild who wants to hear of presences hears of all; in larger ones, of those
/// asked for.
pub const PRESENCE_MEMBERS: usize = 1_000;
/// Most members of large guilds whose presence one session hears of. Who asks for more gives up the first.
pub const PRESENCE_SUBSCRIPTIONS: usize = 1_000;
/// Most members that are listed when a large guild comes to a session, those who are there.
pub const PRESENCE_LISTED: usize = 250;
/// Most channels of a guild.
pub const CHANNELS_PER_GUILD: usize = 500;
/// Most permission overwrites of a channel.
pub const OVERWRITES_PER_CHANNEL: usize = 1_000;
/// Most roles of a guild.
pub const ROLES_PER_GUILD: usize = 250;
/// Most bans of a guild.
pub const BANS_PER_GUILD: usize = 10_000;
/// Longest reason for what somebody did.
pub const REASON: usize = 512;
/// Most unread messages that are counted in a channel.
pub const UNREAD: usize = 100;
/// Most channels of which an account remembers how far it has read. Beyond it, the one read the longest ago is forgotten.
pub const READ_STATES: usize = 2_000;
/// How long a nonce is remembered.
pub const NONCE_TTL: std::time::Duration = std::time::Duration::from_secs(600);
/// Most entries a log keeps when they are older than [`LOG_AGE`].
pub const LOG_ENTRIES: usize = 10_000;
/// How long a log entry is kept at least.
pub const LOG_AGE: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
