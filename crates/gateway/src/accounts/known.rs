//! The accounts that are remembered, with the tokens that are known to hold. Pure.

use std::collections::VecDeque;

use clarion_model::id::UserId;
use clarion_model::user::{TokenHash, User};

use super::Account;
use crate::bounded::Bounded;

/// Most accounts remembered.
const ACCOUNTS: usize = 100_000;
/// Most tokens remembered of one account.
const TOKENS: usize = 16;

/// What is remembered.
#[derive(Debug)]
pub(super) struct Known {
    accounts: Bounded<UserId, Entry>,
    changes: u64,
}

#[derive(Debug)]
struct Entry {
    user: User,
    tokens: VecDeque<TokenHash>,
}

impl Default for Known {
    fn default() -> Self {
        Self { accounts: Bounded::new(ACCOUNTS), changes: 0 }
    }
}

impl Known {
    /// The account that a token names, if the token is known to hold.
    pub(super) fn account(&mut self, user: UserId, hash: &TokenHash) -> Option<Account> {
        let entry = self.accounts.get_mut(&user)?;
        entry.tokens.contains(hash).then(|| Account { user: entry.user.clone(), token_hash: *hash })
    }

    /// Counts what may make an answer that is on its way untrue.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Remembers an answer, unless something has happened since it was asked for.
    pub(super) fn learn(&mut self, asked_at: u64, account: &Account) {
        if asked_at != self.changes {
            return;
        }
        let Some(entry) = self.accounts.get_mut(&account.user.id) else {
            let tokens = VecDeque::from([account.token_hash]);
            return self.accounts.insert(account.user.id, Entry { user: account.user.clone(), tokens });
        };
        entry.user.clone_from(&account.user);
        if !entry.tokens.contains(&account.token_hash) {
            if entry.tokens.len() >= TOKENS {
                entry.tokens.pop_front();
            }
            entry.tokens.push_back(account.token_hash);
        }
    }

    /// Forgets a token. It is looked for everywhere: revocations are rare.
    pub(super) fn revoke(&mut self, hash: &TokenHash) {
        self.changes += 1;
        self.accounts.values_mut().for_each(|entry| entry.tokens.retain(|token| token != hash));
    }

    pub(super) fn change(&mut self, user: &User) {
        self.changes += 1;
        if let Some(entry) = self.accounts.get_mut(&user.id) {
            entry.user.clone_from(user);
        }
    }

    pub(super) fn forget(&mut self, user: UserId) {
        self.changes += 1;
        self.accounts.remove(&user);
    }
}
