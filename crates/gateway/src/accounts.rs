//! Who a client is: the account that a token names, from what is known or by asking the account's owner.
//!
//! A look-up is remembered only while this gateway follows the account's log, so that the news of a revocation ends it.
//! And since nothing is told of what happened before the following began, the token is asked about once more after that.

mod known;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clarion_model::id::UserId;
use clarion_model::key::Key;
use clarion_model::token;
use clarion_model::user::{TokenHash, User};
use clarion_observability::log::{self, Fields};
use clarion_observability::metric::{AuthResult, GatewayMetrics};
use clarion_observability::{Instrument, Span, Token, span};
use clarion_proto::v1;
use futures_util::future::BoxFuture;

use crate::directory::{CallError, Directory, Target};
use known::Known;

/// What precedes a token, or does not.
const SCHEMES: [&str; 2] = ["Bot ", "Bearer "];

/// The accounts. A clone is the same.
#[derive(Clone)]
pub(crate) struct Accounts(Arc<Inner>);

struct Inner {
    ask: Box<dyn Ask>,
    watch: Box<dyn Watch>,
    metrics: GatewayMetrics,
    known: Mutex<Known>,
}

/// A client that has shown who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) user: User,
    pub(crate) token_hash: TokenHash,
}

/// A client has not shown who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthError {
    /// The token does not hold.
    #[error("the token does not hold")]
    Invalid,
    /// Nobody can tell just now.
    #[error("the token cannot be checked just now")]
    Unavailable,
}

/// Follows accounts, on behalf of what is remembered of them.
pub(crate) trait Watch: Send + Sync {
    /// Has an account's log followed. True: from now on its events are seen, and [`Accounts::forget`] is called when
    /// they are not any more.
    fn watch_user(&self, id: UserId) -> BoxFuture<'_, bool>;
}

/// Asks the owner of an account about a token.
pub(crate) trait Ask: Send + Sync {
    fn ask(&self, user: UserId, hash: TokenHash) -> BoxFuture<'_, Result<User, AuthError>>;
}

impl Accounts {
    /// Accounts of which nothing is known yet.
    pub(crate) fn new(directory: Directory, watch: Box<dyn Watch>, metrics: GatewayMetrics) -> Self {
        Self::with(Box::new(directory), watch, metrics)
    }

    fn with(ask: Box<dyn Ask>, watch: Box<dyn Watch>, metrics: GatewayMetrics) -> Self {
        Self(Arc::new(Inner { ask, watch, metrics, known: Mutex::default() }))
    }

    /// Finds out who shows a token, perhaps with a scheme in front of it.
    pub(crate) async fn authenticate(&self, presented: &str) -> Result<Account, AuthError> {
        let span = span::gateway_authenticate("token");
        self.find_out(presented, &span).instrument(span.clone()).await
    }

    async fn find_out(&self, presented: &str, span: &Span) -> Result<Account, AuthError> {
        let token = bare(presented);
        let token_hash = token::hash(token);
        let Some(user) = token::user_of(token) else { return self.settle(token, false, Err(AuthError::Invalid), span) };
        let known = self.known().account(user, &token_hash);
        match known {
            Some(account) => self.settle(token, true, Ok(account), span),
            None => self.settle(token, false, self.look_up(user, token_hash).await, span),
        }
    }

    /// Says how it ended to whoever wants to know.
    fn settle(
        &self,
        token: &str,
        at_hand: bool,
        result: Result<Account, AuthError>,
        span: &Span,
    ) -> Result<Account, AuthError> {
        match &result {
            Ok(account) => {
                span::authenticated(span, true);
                self.0.metrics.authentications.with(AuthResult::Success).increment(1);
                if !at_hand {
                    log::AUTH_SUCCEEDED.emit(Fields { user_id: Some(account.user.id), ..Fields::default() });
                }
            }
            Err(AuthError::Invalid) => {
                span::authenticated(span, false);
                self.0.metrics.authentications.with(AuthResult::Failure).increment(1);
                log::AUTH_FAILED.emit(Fields {
                    user_id: token::user_of(token),
                    success: Some(false),
                    ..Fields::detail(Token::new(token).to_string())
                });
            }
            Err(AuthError::Unavailable) => span::fail(span, "unavailable"),
        }
        result
    }

    async fn look_up(&self, user: UserId, token_hash: TokenHash) -> Result<Account, AuthError> {
        let account = self.ask(user, token_hash).await?;
        if !self.0.watch.watch_user(user).await {
            return Ok(account);
        }
        let before = self.known().changes();
        let account = self.ask(user, token_hash).await?;
        self.known().learn(before, &account);
        Ok(account)
    }

    async fn ask(&self, user: UserId, token_hash: TokenHash) -> Result<Account, AuthError> {
        let user = self.0.ask.ask(user, token_hash).await?;
        Ok(Account { user, token_hash })
    }

    /// Whether a presented token is known to hold.
    pub(crate) fn knows(&self, presented: &str) -> bool {
        let token = bare(presented);
        token::user_of(token).is_some_and(|user| self.known().account(user, &token::hash(token)).is_some())
    }

    /// A token holds no longer.
    pub(crate) fn revoked(&self, hash: &TokenHash) {
        self.known().revoke(hash);
    }

    /// An account has changed.
    pub(crate) fn changed(&self, user: &User) {
        self.known().change(user);
    }

    /// An account's log is not followed any more.
    pub(crate) fn forget(&self, user: UserId) {
        self.known().forget(user);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ask for Directory {
    fn ask(&self, user: UserId, hash: TokenHash) -> BoxFuture<'_, Result<User, AuthError>> {
        Box::pin(async move {
            let answer = self.call(Target::Key(Key::User(user)), move |mut client, _| {
                let token_hash = bytes::Bytes::copy_from_slice(&hash.0);
                let request = v1::AuthenticateRequest { user_id: user.0, token_hash };
                Box::pin(async move { client.authenticate(request).await })
            });
            match answer.await {
                Ok(user) => User::try_from(user).map_err(|_| AuthError::Unavailable),
                // Whatever the owner finds wrong: this is nobody's token.
                Err(CallError::Refused(_) | CallError::UnknownChannel) => Err(AuthError::Invalid),
                Err(CallError::Unavailable(_) | CallError::Broken(_)) => Err(AuthError::Unavailable),
            }
        })
    }
}

pub(crate) fn bare(presented: &str) -> &str {
    let presented = presented.trim();
    let stripped = SCHEMES.iter().find_map(|scheme| {
        let (head, rest) = presented.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    stripped.unwrap_or(presented).trim_start()
}
