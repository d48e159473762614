//! What fuzzing sends through this crate: tokens, ids and keys.

use crate::id::{MessageId, UserId};
use crate::key::{Key, SLOTS};
use crate::time::Timestamp;
use crate::token::{self, SECRET_BYTES};

/// What a client shows as its token. What names an account names one that there can be, and what is made for an account
/// leads to it.
pub fn tokens(data: &[u8]) {
    if let Some(number) = data.first_chunk() {
        numbers(u64::from_be_bytes(*number));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(id) = text.parse::<UserId>() {
        assert_ne!(id.0, 0);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(text.trim_start_matches('0'), id.to_string());
    }
    if let Some(user) = token::user_of(text) {
        assert_ne!(user.0, 0);
        assert_eq!(text.split('.').count(), 3);
        let other = mint(user);
        assert_eq!(token::hash(&other) == token::hash(text), other == text);
    }
}

fn numbers(number: u64) {
    let id = UserId(number);
    assert_eq!(token::user_of(&mint(id)), Some(id).filter(|id| id.0 != 0));
    assert!(id.created_at() <= MessageId(u64::MAX).created_at());
    for kind in 0..=4 {
        if let Some(key) = Key::from_parts(kind, number) {
            assert_eq!(key.parts(), (kind, number));
            assert!(key.slot().0 < SLOTS);
        }
    }
}

fn mint(user: UserId) -> String {
    token::mint(user, Timestamp::from_millis(1_000), &[7; SECRET_BYTES])
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_kept_is_decoded() {
        clarion_corpus::replay("tokens", super::tokens);
    }
}
