//! Accounts.

use clarion_model::event::{ReadStatePut, Unread, UserEvent};
use clarion_model::limits::READ_STATES;
use clarion_model::user::{ReadState, TokenHash, TokenRecord};

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

fn read(channel: u64, last: u64, manual: bool) -> Command {
    let state = ReadState { channel_id: ChannelId(channel), guild_id: Some(GUILD), last_read_id: MessageId(last) };
    Command::PutReadState { put: ReadStatePut { state, unread: Unread::default() }, manual }
}

fn kept(outcome: Result<Outcome, Refusal>) -> u64 {
    match outcome {
        Ok(Outcome::Answer(Answer::ReadState(state))) => state.last_read_id.0,
        other => panic!("{other:?}"),
    }
}

fn write(owner: &mut Owner, command: Command) -> Vec<Event> {
    let written = accept(owner, command, Found::default());
    owner.apply(&written.batch.entries);
    written.batch.entries.into_iter().map(|entry| entry.event).collect()
}

#[test]
fn reading_goes_forward_and_back_only_by_hand() {
    let mut owner = account();
    write(&mut owner, read(1, 50, false));
    // Late, twice, or the same by hand: nothing is written.
    for (last, manual) in [(50, false), (49, false), (0, false), (50, true)] {
        assert_eq!(kept(propose(&mut owner, read(1, last, manual))), 50, "{last} {manual}");
    }
    write(&mut owner, read(1, 51, false));
    write(&mut owner, read(1, 3, true));
    assert_eq!(kept(propose(&mut owner, read(1, 2, false))), 3);
    write(&mut owner, read(2, 0, true));
    assert_eq!(kept(propose(&mut owner, read(2, 0, true))), 0);
}

#[test]
fn bots_have_not_read() {
    let mut owner = Owner::new(Key::User(ANN), Epoch(1), Tail::default(), State::Absent);
    assert_eq!(refusal(propose(&mut owner, read(1, 1, false))), Refusal::UNKNOWN_USER);
    write(&mut owner, Command::CreateUser(User { bot: true, ..user(ANN) }));
    assert_eq!(refusal(propose(&mut owner, read(1, 1, false))), Refusal::NOT_FOR_BOTS);
}

#[test]
fn what_was_read_the_longest_ago_makes_room() {
    let mut owner = account();
    for channel in 1..=READ_STATES as u64 {
        assert_eq!(write(&mut owner, read(channel, 1_000 + channel, false)).len(), 1);
    }
    // A channel that is known needs no room.
    assert_eq!(write(&mut owner, read(1, 9_000, false)).len(), 1);
    let written = write(&mut owner, read(9_999, 5_000, false));
    let gone = UserEvent::ReadStateDrop { channel_id: ChannelId(2), guild_id: Some(GUILD) };
    assert_eq!(written[1..], [Event::User(gone)]);
    let truth = owner.shared();
    let truth = truth.read();
    let states = &truth.state.user().unwrap().read_states;
    assert_eq!((states.len(), states.contains_key(&ChannelId(2))), (READ_STATES, false));
}

#[test]
fn who_leaves_a_guild_loses_what_they_had_read_there() {
    let mut owner = account();
    write(&mut owner, Command::ChangeUser(UserEvent::GuildJoined(GUILD)));
    write(&mut owner, read(1, 5, false));
    write(&mut owner, Command::ChangeUser(UserEvent::GuildLeft(GUILD)));
    assert!(owner.shared().read().state.user().unwrap().read_states.is_empty());
    let gone = UserEvent::ReadStateDrop { channel_id: ChannelId(1), guild_id: Some(GUILD) };
    assert!(matches!(propose(&mut owner, Command::ChangeUser(gone)), Ok(Outcome::Answer(Answer::Done))));
}
