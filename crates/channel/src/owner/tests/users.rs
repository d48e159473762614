//! Accounts.

use clarion_model::event::UserEvent;
use clarion_model::user::{TokenHash, TokenRecord};

use super::*;

fn account() -> Owner {
    let mut owner = Owner::new(Key::User(ANN), Epoch(1), Tail::default(), State::Absent);
    let made = accept(&mut owner, Command::CreateUser(user(ANN)), Found::default());
    owner.apply(&made.batch.entries);
    owner
}

#[test]
fn an_account_is_made_once() {
    let mut owner = account();
    let again = propose(&mut owner, Command::CreateUser(User { username: "other".into(), ..user(ANN) }));
    assert!(matches!(again, Ok(Outcome::Answer(Answer::User(there))) if there == user(ANN)));
    let mut absent = Owner::new(Key::User(ANN), Epoch(1), Tail::default(), State::Absent);
    let short = Command::CreateUser(User { username: "x".into(), ..user(ANN) });
    assert_eq!(refusal(propose(&mut absent, short)).fields[0].field, "username");
    assert_eq!(refusal(propose(&mut absent, Command::CreateUser(user(BOSS)))), Refusal::UNKNOWN_USER);
    let joins = Command::ChangeUser(UserEvent::GuildJoined(GUILD));
    assert_eq!(refusal(propose(&mut absent, joins)), Refusal::UNKNOWN_USER);
}

#[test]
fn what_changes_nothing_is_not_written() {
    let mut owner = account();
    let hash = TokenHash([7; 32]);
    let issued = UserEvent::TokenIssued { hash, record: TokenRecord { label: "laptop".into(), issued_at: now() } };
    for change in [
        issued,
        UserEvent::GuildJoined(GUILD),
        UserEvent::GuildLeft(GUILD),
        UserEvent::TokenRevoked { hash },
        UserEvent::Put(User { global_name: Some("Ann".into()), ..user(ANN) }),
    ] {
        let written = accept(&mut owner, Command::ChangeUser(change.clone()), Found::default());
        owner.apply(&written.batch.entries);
        assert!(matches!(propose(&mut owner, Command::ChangeUser(change)), Ok(Outcome::Answer(Answer::Done))));
    }
}
