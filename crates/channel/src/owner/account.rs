//! Accounts: made once, changed by one event at a time. What changes nothing is not written.

use clarion_model::event::{Event, UserEvent};
use clarion_model::key::Key;
use clarion_model::time::Timestamp;
use clarion_model::user::{User, UserState};

use super::{Answer, Outcome, Owner, State};
use crate::refusal::Refusal;

const USERNAME: std::ops::RangeInclusive<usize> = 2..=32;

impl Owner {
    pub(super) fn create_user(&mut self, now: Timestamp, user: User) -> Result<Outcome, Refusal> {
        if let State::User(there) = &self.truth.read().state {
            return Ok(Outcome::Answer(Answer::User(there.user.clone())));
        }
        check(self.key, &user)?;
        Ok(self.write(now, vec![Event::User(UserEvent::Put(user.clone()))], None, Answer::User(user)))
    }

    pub(super) fn change_user(&mut self, now: Timestamp, change: UserEvent) -> Result<Outcome, Refusal> {
        let changes = {
            let truth = self.truth.read();
            let state = truth.state.user()?;
            if let UserEvent::Put(user) = &change {
                check(self.key, user)?;
            }
            changes(state, &change)
        };
        Ok(if changes {
            self.write(now, vec![Event::User(change)], None, Answer::Done)
        } else {
            Outcome::Answer(Answer::Done)
        })
    }
}

fn changes(state: &UserState, change: &UserEvent) -> bool {
    match change {
        UserEvent::Put(user) => state.user != *user,
        UserEvent::TokenIssued { hash, .. } => !state.tokens.contains_key(hash),
        UserEvent::TokenRevoked { hash } => state.tokens.contains_key(hash),
        UserEvent::GuildJoined(id) => !state.guilds.contains(id),
        UserEvent::GuildLeft(id) => state.guilds.contains(id),
    }
}

fn check(key: Key, user: &User) -> Result<(), Refusal> {
    if key != Key::User(user.id) {
        return Err(Refusal::UNKNOWN_USER);
    }
    if !USERNAME.contains(&user.username.trim().chars().count()) {
        return Err(Refusal::bad_length("username", *USERNAME.start(), *USERNAME.end()));
    }
    if user.global_name.as_ref().is_some_and(|name| name.chars().count() > *USERNAME.end()) {
        return Err(Refusal::too_long("global_name", *USERNAME.end()));
    }
    Ok(())
}
