//! Why a request is refused, in the words of the API: its HTTP status, its error code, and the fields that are wrong.

use std::borrow::Cow;

/// A request that is not carried out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The API's error code.
    pub(crate) code: u32,
    /// One sentence.
    pub(crate) message: &'static str,
    /// What is wrong with the request's body.
    pub(crate) fields: Vec<FieldError>,
}

/// What is wrong with a field of the request's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldError {
    /// Its dotted path.
    pub(crate) field: &'static str,
    /// The API's name for what is wrong.
    pub(crate) code: &'static str,
    /// One sentence.
    pub(crate) message: Cow<'static, str>,
}

impl Refusal {
    pub(crate) const UNAUTHENTICATED: Refusal = Refusal::new(401, 0, "401: Unauthorized");
    pub(crate) const UNKNOWN_CHANNEL: Refusal = Refusal::new(404, 10_003, "Unknown Channel");
    pub(crate) const UNKNOWN_GUILD: Refusal = Refusal::new(404, 10_004, "Unknown Guild");
    pub(crate) const UNKNOWN_MEMBER: Refusal = Refusal::new(404, 10_007, "Unknown Member");
    pub(crate) const UNKNOWN_MESSAGE: Refusal = Refusal::new(404, 10_008, "Unknown Message");
    pub(crate) const UNKNOWN_ROLE: Refusal = Refusal::new(404, 10_011, "Unknown Role");
    pub(crate) const UNKNOWN_USER: Refusal = Refusal::new(404, 10_013, "Unknown User");
    pub(crate) const UNKNOWN_EMOJI: Refusal = Refusal::new(400, 10_014, "Unknown Emoji");
    pub(crate) const UNKNOWN_BAN: Refusal = Refusal::new(404, 10_026, "Unknown Ban");
    pub(crate) const NOT_FOR_BOTS: Refusal = Refusal::new(403, 20_001, "Bots cannot use this endpoint");
    pub(crate) const TOO_MANY_ROLES: Refusal = Refusal::new(400, 30_005, "Maximum number of guild roles reached (250)");
    pub(crate) const TOO_MANY_REACTIONS: Refusal =
        Refusal::new(400, 30_010, "Maximum number of reactions reached (20)");
    pub(crate) const TOO_MANY_CHANNELS: Refusal =
        Refusal::new(400, 30_013, "Maximum number of guild channels reached (500)");
    pub(crate) const TOO_MANY_BANS: Refusal = Refusal::new(400, 30_035, "Maximum number of bans reached (10000)");
    pub(crate) const TOO_MANY_OVERWRITES: Refusal =
        Refusal::new(400, 30_060, "Maximum number of channel permission overwrites reached (1000)");
    pub(crate) const BANNED: Refusal = Refusal::new(403, 40_007, "The user is banned from this guild");
    pub(crate) const NOT_IN_VOICE: Refusal = Refusal::new(400, 40_032, "Target user is not connected to voice.");
    pub(crate) const VOICE_FULL: Refusal = Refusal::new(403, 40_047, "The voice channel is full");
    pub(crate) const NOT_A_VOICE_CHANNEL: Refusal =
        Refusal::new(400, 50_024, "Cannot execute action on this channel type");
    pub(crate) const MISSING_ACCESS: Refusal = Refusal::new(403, 50_001, "Missing Access");
    pub(crate) const NOT_THE_AUTHOR: Refusal =
        Refusal::new(403, 50_005, "Cannot edit a message authored by another user");
    pub(crate) const EMPTY_MESSAGE: Refusal = Refusal::new(400, 50_006, "Cannot send an empty message");
    pub(crate) const NOT_A_TEXT_CHANNEL: Refusal =
        Refusal::new(400, 50_008, "Cannot send messages in a non-text channel");
    pub(crate) const MISSING_PERMISSIONS: Refusal = Refusal::new(403, 50_013, "Missing Permissions");
    /// Says nothing without a field: see [`Refusal::field`].
    const INVALID_FORM: Refusal = Refusal::new(400, 50_035, "Invalid Form Body");

    const fn new(status: u16, code: u32, message: &'static str) -> Self {
        Self { status, code, message, fields: Vec::new() }
    }

    /// One field of the body is wrong.
    pub(crate) fn field(field: &'static str, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { fields: vec![FieldError { field, code, message: message.into() }], ..Self::INVALID_FORM }
    }

    /// A text is longer than it may be.
    pub(crate) fn too_long(field: &'static str, most: usize) -> Self {
        Self::field(field, "BASE_TYPE_MAX_LENGTH", format!("Must be {most} or fewer in length."))
    }

    /// A text is not within its bounds.
    pub(crate) fn bad_length(field: &'static str, least: usize, most: usize) -> Self {
        Self::field(field, "BASE_TYPE_BAD_LENGTH", format!("Must be between {least} and {most} in length."))
    }

    /// Whether it is about who may do what, and therefore to be logged as a decision.
    pub(crate) fn denies(&self) -> bool {
        self.status == 403
    }
}
