//! Accounts: people and bots, their tokens, the guilds they are in.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::UserEvent;
use crate::id::{ChannelId, GuildId, MessageId, UserId};
use crate::time::Timestamp;

/// An account as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Who.
    pub id: UserId,
    /// The unique name, 2–32 characters.
    pub username: String,
    /// The name to show, if another one.
    pub global_name: Option<String>,
    /// Whether a program speaks for it.
    pub bot: bool,
}

/// SHA-256 of a token. The token itself is never stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash(pub [u8; 32]);

/// What is kept of an issued token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// What its holder calls it.
    pub label: String,
    /// When it was issued.
    pub issued_at: Timestamp,
}

/// How far a person has read in a channel, on whichever device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadState {
    /// Where.
    pub channel_id: ChannelId,
    /// The guild of the channel, if it has one. Who leaves it loses what they had read there.
    pub guild_id: Option<GuildId>,
    /// Up to and including this message; zero: nothing is read. The message need not be there.
    pub last_read_id: MessageId,
}

/// Everything under a user's key. The owner's truth and every follower's replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserState {
    /// The account.
    pub user: User,
    /// Valid tokens by hash. Not sent to followers.
    pub tokens: BTreeMap<TokenHash, TokenRecord>,
    /// The guilds the account lists.
    pub guilds: BTreeSet<GuildId>,
    /// How far the person has read; a channel that is not here was never read. Bots have none.
    pub read_states: BTreeMap<ChannelId, ReadState>,
}

impl std::fmt::Debug for TokenHash {
    /// A few hexadecimal digits: enough to tell two apart in a log, of no use to anybody else.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenHash({:02x}{:02x}{:02x}..)", self.0[0], self.0[1], self.0[2])
    }
}

impl UserState {
    /// A new account without tokens and guilds.
    pub fn new(user: User) -> Self {
        Self { user, tokens: BTreeMap::new(), guilds: BTreeSet::new(), read_states: BTreeMap::new() }
    }

    /// Applies an event of the user's log.
    pub fn apply(&mut self, event: &UserEvent) {
        match event {
            UserEvent::Put(user) => self.user = user.clone(),
            UserEvent::TokenIssued { hash, record } => {
                self.tokens.insert(*hash, record.clone());
            }
            UserEvent::TokenRevoked { hash } => {
                self.tokens.remove(hash);
            }
            UserEvent::GuildJoined(id) => {
                self.guilds.insert(*id);
            }
            UserEvent::GuildLeft(id) => {
                self.guilds.remove(id);
                self.read_states.retain(|_, state| state.guild_id != Some(*id));
            }
            UserEvent::ReadStatePut(put) => {
                self.read_states.insert(put.state.channel_id, put.state);
            }
            UserEvent::ReadStateDrop { channel_id, .. } => {
                self.read_states.remove(channel_id);
            }
        }
    }
}
