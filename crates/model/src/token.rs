//! Tokens: what a client shows to say who it is. Random, opaque to clients, stored as a hash only.
//!
//! `base64url(user id) . base64url(issued, 8 bytes of seconds) . base64url(32 random bytes)`: the first part leads to the
//! account's owner, the last one is the secret. Client libraries read the user id from the first part.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use sha2::{Digest, Sha256};

use crate::id::UserId;
use crate::time::Timestamp;
use crate::user::TokenHash;

/// Bytes of chance in a token.
pub const SECRET_BYTES: usize = 32;

/// Longest text that can be a token; longer ones are not looked at.
const LONGEST: usize = 128;

/// Makes a token from chance that the caller brings.
pub fn mint(user: UserId, issued_at: Timestamp, secret: &[u8; SECRET_BYTES]) -> String {
    let issued = issued_at.as_secs().to_be_bytes();
    format!("{}.{}.{}", BASE64.encode(user.to_string()), BASE64.encode(issued), BASE64.encode(secret))
}

/// The account that a token names, if it has the form of a token. Says nothing about whether it holds.
pub fn user_of(token: &str) -> Option<UserId> {
    if token.len() > LONGEST {
        return None;
    }
    let mut parts = token.split('.');
    let (user, _, secret) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || secret.is_empty() {
        return None;
    }
    String::from_utf8(BASE64.decode(user).ok()?).ok()?.parse().ok()
}

/// The hash that is stored and compared.
pub fn hash(token: &str) -> TokenHash {
    TokenHash(Sha256::digest(token.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_user() {
        let token = mint(UserId(42), Timestamp::from_millis(1_000), &[7; SECRET_BYTES]);
        assert_eq!(user_of(&token), Some(UserId(42)));
        for bad in ["", "..", "a.b.c", "NDI.x", "NDI.x.", "NDI.x.y.z", &"a".repeat(1_000)] {
            assert_eq!(user_of(bad), None, "{bad}");
        }
        assert_ne!(hash(&token), hash("other"));
    }
}
