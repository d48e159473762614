//! Accounts: made once, changed by one event at a time; how far their people have read. What changes nothing is not
//! written.

use clarion_model::event::{Event, ReadStatePut, UserEvent};
use clarion_model::key::Key;
use clarion_model::limits;
use clarion_model::time::Timestamp;
use clarion_model::user::{ReadState, User, UserState};

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
        if let UserEvent::ReadStatePut(put) = change {
            return self.put_read_state(now, put, true);
        }
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

    /// A person has read so far. Devices say so late and more than once: what is older than what is known changes nothing,
    /// unless the person asks for it.
    pub(super) fn put_read_state(
        &mut self,
        now: Timestamp,
        put: ReadStatePut,
        manual: bool,
    ) -> Result<Outcome, Refusal> {
        let mut events = vec![Event::User(UserEvent::ReadStatePut(put))];
        {
            let truth = self.truth.read();
            let account = truth.state.user()?;
            if account.user.bot {
                return Err(Refusal::NOT_FOR_BOTS);
            }
            match account.read_states.get(&put.state.channel_id) {
                Some(there) if there.last_read_id == put.state.last_read_id => return Ok(unchanged(there)),
                Some(there) if there.last_read_id > put.state.last_read_id && !manual => return Ok(unchanged(there)),
                Some(_) => {}
                None => events.extend(to_forget(account).map(Event::User)),
            }
        }
        Ok(self.write(now, events, None, Answer::ReadState(put.state)))
    }
}

fn changes(state: &UserState, change: &UserEvent) -> bool {
    match change {
        UserEvent::Put(user) => state.user != *user,
        UserEvent::TokenIssued { hash, .. } => !state.tokens.contains_key(hash),
        UserEvent::TokenRevoked { hash } => state.tokens.contains_key(hash),
        UserEvent::GuildJoined(id) => !state.guilds.contains(id),
        UserEvent::GuildLeft(id) => state.guilds.contains(id),
        UserEvent::ReadStatePut(put) => state.read_states.get(&put.state.channel_id) != Some(&put.state),
        UserEvent::ReadStateDrop { channel_id, .. } => state.read_states.contains_key(channel_id),
    }
}

fn unchanged(there: &ReadState) -> Outcome {
    Outcome::Answer(Answer::ReadState(*there))
}

/// What makes room for one more read state, if there is none: the one read the longest ago goes.
fn to_forget(account: &UserState) -> Option<UserEvent> {
    if account.read_states.len() < limits::READ_STATES {
        return None;
    }
    let oldest = account.read_states.values().min_by_key(|state| state.last_read_id)?;
    Some(UserEvent::ReadStateDrop { channel_id: oldest.channel_id, guild_id: oldest.guild_id })
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
