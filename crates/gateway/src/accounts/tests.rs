//! Accounts looked up, remembered and forgotten.

use std::sync::atomic::{AtomicUsize, Ordering};

use clarion_model::time::Timestamp;
use clarion_observability::capture::Capture;

use super::*;

/// An owner of accounts that says what it is told to say.
#[derive(Default)]
struct Owner {
    asked: AtomicUsize,
    revoked: Mutex<Vec<TokenHash>>,
    unavailable: Mutex<bool>,
}

struct Asking(Arc<Owner>);

impl Ask for Asking {
    fn ask(&self, user: UserId, hash: TokenHash) -> BoxFuture<'_, Result<User, AuthError>> {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        let answer = if *self.0.unavailable.lock().expect("a lock") {
            Err(AuthError::Unavailable)
        } else if self.0.revoked.lock().expect("a lock").contains(&hash) {
            Err(AuthError::Invalid)
        } else {
            Ok(user_of(user))
        };
        Box::pin(async move { answer })
    }
}

/// What happens while an account begins to be followed, and whether it is.
struct Watching(Box<dyn Fn() -> bool + Send + Sync>);

impl Watch for Watching {
    fn watch_user(&self, _: UserId) -> BoxFuture<'_, bool> {
        let followed = (self.0)();
        Box::pin(async move { followed })
    }
}

fn user_of(id: UserId) -> User {
    User { id, username: format!("user{id}"), global_name: None, bot: true }
}

fn token_of(user: u64) -> String {
    token::mint(UserId(user), Timestamp::from_millis(1), &[7; token::SECRET_BYTES])
}

fn accounts(owner: &Arc<Owner>, watch: impl Fn() -> bool + Send + Sync + 'static) -> Accounts {
    let telemetry = Capture::new().expect("telemetry").process().service("gateway", "gateway-0");
    let metrics = GatewayMetrics::new(telemetry.meter());
    Accounts::with(Box::new(Asking(owner.clone())), Box::new(Watching(Box::new(watch))), metrics)
}

#[tokio::test]
async fn a_token_is_asked_about_until_its_account_is_followed() {
    let owner = Arc::new(Owner::default());
    let (accounts, token) = (accounts(&owner, || true), token_of(42));
    for presented in [token.clone(), format!("Bot {token}"), format!("bearer {token}"), format!(" Bot  {token} ")] {
        let account = accounts.authenticate(&presented).await.expect("an account");
        assert_eq!((account.user, account.token_hash), (user_of(UserId(42)), token::hash(&token)));
    }
    // Once before the following began and once after it.
    assert_eq!(owner.asked.load(Ordering::Relaxed), 2);
    assert!(accounts.knows(&format!("Bot {token}")) && !accounts.knows(&token_of(43)));

    let renamed = User { username: "other".into(), ..user_of(UserId(42)) };
    accounts.changed(&renamed);
    assert_eq!(accounts.authenticate(&token).await.expect("an account").user, renamed);
    accounts.forget(UserId(42));
    assert!(!accounts.knows(&token));
}

#[tokio::test]
async fn nothing_is_remembered_of_an_account_that_is_not_followed() {
    let owner = Arc::new(Owner::default());
    let (accounts, token) = (accounts(&owner, || false), token_of(42));
    for _ in 0..3 {
        assert!(accounts.authenticate(&token).await.is_ok());
    }
    assert_eq!(owner.asked.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_token_revoked_while_its_account_begins_to_be_followed_does_not_hold() {
    let owner = Arc::new(Owner::default());
    let (token, told) = (token_of(42), owner.clone());
    let hash = token::hash(&token);
    let accounts = accounts(&owner, move || {
        told.revoked.lock().expect("a lock").push(hash);
        true
    });
    assert_eq!(accounts.authenticate(&token).await, Err(AuthError::Invalid));
    assert!(!accounts.knows(&token));
}

#[tokio::test]
async fn a_revocation_ends_a_token_and_no_other() {
    let owner = Arc::new(Owner::default());
    let accounts = accounts(&owner, || true);
    let (one, other) = (token_of(42), token::mint(UserId(42), Timestamp::from_millis(1), &[8; 32]));
    for token in [&one, &other] {
        assert!(accounts.authenticate(token).await.is_ok());
    }
    accounts.revoked(&token::hash(&one));
    assert!(!accounts.knows(&one) && accounts.knows(&other));
}

#[tokio::test]
async fn an_answer_older_than_a_revocation_is_not_remembered() {
    let mut known = Known::default();
    let account = Account { user: user_of(UserId(42)), token_hash: token::hash("t") };
    let before = known.changes();
    known.revoke(&account.token_hash);
    known.learn(before, &account);
    assert_eq!(known.account(UserId(42), &account.token_hash), None);
}

#[tokio::test]
async fn what_is_no_token_is_refused_without_asking() {
    let owner = Arc::new(Owner::default());
    let accounts = accounts(&owner, || true);
    for bad in ["", "Bot", "Bot ", "nonsense", "é", &"x".repeat(10_000)] {
        assert_eq!(accounts.authenticate(bad).await, Err(AuthError::Invalid), "{bad}");
    }
    assert_eq!(owner.asked.load(Ordering::Relaxed), 0);
    *owner.unavailable.lock().expect("a lock") = true;
    assert_eq!(accounts.authenticate(&token_of(1)).await, Err(AuthError::Unavailable));
}
