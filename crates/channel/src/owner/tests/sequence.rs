//! Places and ids only rise, whatever the clock does and whoever was the owner before.

use clarion_model::id;
use clarion_model::key::Position;
use proptest::prelude::*;

use super::*;

fn tail(epoch: u64, offset: u64, last_id: u64) -> Tail {
    Tail { position: Position { epoch: Epoch(epoch), offset }, last_id, entries: offset }
}

fn owner_at(epoch: u64, tail: Tail) -> Owner {
    Owner::new(Key::Guild(GUILD), Epoch(epoch), tail, State::Guild(Box::new(guild())))
}

#[test]
fn a_new_epoch_begins_at_its_first_place() {
    let mut owner = owner_at(4, tail(3, 77, 0));
    let first = accept(&mut owner, Command::CreateMessage(message(ANN, "hi")), Found::default());
    assert_eq!(first.batch.entries[0].position, Position { epoch: Epoch(4), offset: 1 });
    assert_eq!(first.batch.epoch, Epoch(4));
    let mut owner = owner_at(4, tail(4, 77, 0));
    let first = accept(&mut owner, Command::CreateMessage(message(ANN, "hi")), Found::default());
    assert_eq!(first.batch.entries[0].position, Position { epoch: Epoch(4), offset: 78 });
}

#[test]
fn ids_go_on_after_those_of_earlier_owners() {
    let ahead = id::first_of(now()) + 12_345;
    let view = send(&mut owner_at(4, tail(3, 1, ahead)), message(ANN, "hi"));
    assert_eq!(view.message.id, MessageId(ahead + 1));
}

proptest! {
    #[test]
    fn ids_and_places_rise_under_any_clock(clock in proptest::collection::vec(0u64..5_000, 1..50)) {
        let mut owner = owner();
        let (mut last_id, mut last_place) = (MessageId(0), Position::START);
        for ms in clock {
            let now = Timestamp::from_millis(EPOCH_MS + ms);
            let outcome = owner.propose(now, Command::CreateMessage(message(ANN, "hi")), Found::default());
            let Ok(Outcome::Write(Proposal { batch, answer: Answer::Message(view) })) = outcome else { panic!() };
            prop_assert!(view.message.id > last_id && batch.entries[0].position > last_place);
            (last_id, last_place) = (view.message.id, batch.entries[0].position);
        }
    }
}
