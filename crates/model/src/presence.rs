//! Whether somebody is there, and what they say they do.

/// A user's status, as a client sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Status {
    /// There.
    Online,
    /// There, away from the keys.
    Idle,
    /// There, not to be disturbed.
    Dnd,
    /// Not there, or not to be seen.
    #[default]
    Offline,
}

/// Something a user says they do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// What, up to 128 characters.
    pub name: String,
    /// The API's number for the kind (0 playing, 1 streaming, 2 listening, 3 watching, 4 custom, 5 competing).
    pub kind: u8,
    /// The text of a custom status.
    pub state: Option<String>,
    /// A link, for streaming.
    pub url: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub created_at_ms: u64,
}

/// Status and activities together. The default is offline and doing nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Presence {
    /// The status.
    pub status: Status,
    /// The activities, newest first.
    pub activities: Vec<Activity>,
}
