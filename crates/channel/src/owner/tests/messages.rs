//! Messages: who may say, change and take back what.

use clarion_model::limits;

use super::*;
use crate::owner::{AllowedMentions, EditMessage};

fn create(new: NewMessage) -> Command {
    Command::CreateMessage(new)
}

fn edit(id: MessageId, editor: UserId, content: &str) -> Command {
    Command::EditMessage(EditMessage {
        channel_id: TEXT,
        id,
        editor,
        content: Some(content.into()),
        embeds_json: None,
        flags: None,
        allowed_mentions: None,
    })
}

#[test]
fn only_who_sees_and_may_write_can_send() {
    let mut owner = owner();
    let to = |channel_id, author| create(NewMessage { channel_id, ..message(author, "hi") });
    assert_eq!(refusal(propose(&mut owner, to(ChannelId(77), ANN))), Refusal::UNKNOWN_CHANNEL);
    assert_eq!(refusal(propose(&mut owner, to(TEXT, STRANGER))), Refusal::MISSING_ACCESS);
    assert_eq!(refusal(propose(&mut owner, to(HIDDEN, ANN))), Refusal::MISSING_ACCESS);
    assert_eq!(refusal(propose(&mut owner, to(CATEGORY, ANN))), Refusal::NOT_A_TEXT_CHANNEL);
    assert!(propose(&mut owner, to(HIDDEN, BOSS)).is_ok());

    let mut quiet = guild();
    let everyone = quiet.roles.get_mut(&GUILD.everyone()).unwrap();
    everyone.permissions = everyone.permissions.difference(Permissions::SEND_MESSAGES);
    assert_eq!(refusal(propose(&mut owner_of(quiet), to(TEXT, ANN))), Refusal::MISSING_PERMISSIONS);
}

#[test]
fn an_absent_guild_has_no_channels() {
    let mut owner = Owner::new(Key::Guild(GUILD), Epoch(1), Tail::default(), State::Absent);
    assert_eq!(refusal(propose(&mut owner, create(message(ANN, "hi")))), Refusal::UNKNOWN_CHANNEL);
}

#[test]
fn a_body_has_its_limits() {
    let mut owner = owner();
    let with = |content: &str| create(message(ANN, content));
    assert_eq!(refusal(propose(&mut owner, with(" \n"))), Refusal::EMPTY_MESSAGE);
    assert!(propose(&mut owner, with(&"ö".repeat(2_000))).is_ok());
    let long = refusal(propose(&mut owner, with(&"ö".repeat(2_001))));
    assert_eq!((long.code, long.fields[0].field, long.fields[0].code), (50_035, "content", "BASE_TYPE_MAX_LENGTH"));
    let nonce = refusal(propose(&mut owner, create(with_nonce(ANN, &"n".repeat(26)))));
    assert_eq!((nonce.code, nonce.fields[0].field), (50_035, "nonce"));

    let embeds = NewMessage { embeds_json: "[{}]".into(), ..message(ANN, "") };
    assert!(propose(&mut owner, create(embeds.clone())).is_ok());
    let mut plain = guild();
    plain.roles.get_mut(&GUILD.everyone()).unwrap().permissions =
        Permissions::VIEW_CHANNEL.union(Permissions::SEND_MESSAGES);
    assert_eq!(refusal(propose(&mut owner_of(plain), create(embeds))), Refusal::MISSING_PERMISSIONS);
    assert_eq!(
        refusal(propose(&mut owner, create(NewMessage { tts: true, ..message(ANN, "hi") }))),
        Refusal::MISSING_PERMISSIONS
    );
}

#[test]
fn a_message_says_who_when_and_where() {
    let mut owner = owner();
    let view = send(&mut owner, NewMessage { flags: u64::MAX, ..message(ANN, "hi") });
    let message = &view.message;
    assert_eq!((message.guild_id, message.author.id, message.at), (Some(GUILD), ANN, now()));
    assert_eq!(message.flags, 1 << 2 | 1 << 12);
    let truth = owner.shared();
    let truth = truth.read();
    assert_eq!(truth.state.guild().unwrap().channels[&TEXT].last_message_id, Some(message.id));
}

#[test]
fn replies_show_what_they_answer() {
    let mut owner = owner();
    let first = send(&mut owner, message(ANN, "question"));
    let reply = NewMessage { reply_to: Some(first.message.id), ..message(MODERATOR, "answer") };
    let answer = send(&mut owner, reply.clone());
    assert_eq!(answer.referenced.as_ref().unwrap().message, first.message);
    assert_eq!(answer.message.mentions, [user(ANN)]);
    let silent = NewMessage { allowed_mentions: Some(AllowedMentions::default()), ..reply };
    assert!(send(&mut owner, silent).message.mentions.is_empty());

    let lost = NewMessage { reply_to: Some(MessageId(5)), ..message(ANN, "answer") };
    let refused = refusal(propose(&mut owner, create(lost.clone())));
    assert_eq!((refused.fields[0].field, refused.fields[0].code), ("message_reference", "REPLIES_UNKNOWN_MESSAGE"));
    let view = send(&mut owner, NewMessage { reply_must_exist: false, ..lost });
    assert_eq!((view.message.reply_to, view.referenced), (None, None));
}

#[test]
fn mentions_are_what_the_author_may_and_wants() {
    let mut owner = owner();
    let text = format!("<@{ANN}> <@{STRANGER}> <@&{FANS}> <@&{MODERATORS}> @everyone");
    let modest = send(&mut owner, message(ANN, &text)).message;
    assert_eq!((modest.mentions, modest.mention_roles, modest.mention_everyone), (vec![user(ANN)], vec![FANS], false));
    let loud = send(&mut owner, message(MODERATOR, &text)).message;
    assert_eq!((loud.mention_roles, loud.mention_everyone), (vec![FANS, MODERATORS], true));
    let none = NewMessage { allowed_mentions: Some(AllowedMentions::default()), ..message(MODERATOR, &text) };
    let none = send(&mut owner, none).message;
    assert_eq!((none.mentions, none.mention_roles, none.mention_everyone), (vec![], vec![], false));
    let some = AllowedMentions { users: vec![ANN], roles: vec![MODERATORS], ..AllowedMentions::default() };
    let some = send(&mut owner, NewMessage { allowed_mentions: Some(some), ..message(MODERATOR, &text) }).message;
    assert_eq!((some.mentions, some.mention_roles, some.mention_everyone), (vec![user(ANN)], vec![MODERATORS], false));
}

#[test]
fn only_its_author_edits_a_message() {
    let mut owner = owner();
    let id = send(&mut owner, message(ANN, "before")).message.id;
    assert_eq!(refusal(propose(&mut owner, edit(id, BOSS, "mine now"))), Refusal::NOT_THE_AUTHOR);
    assert_eq!(refusal(propose(&mut owner, edit(MessageId(5), ANN, "x"))), Refusal::UNKNOWN_MESSAGE);
    assert_eq!(refusal(propose(&mut owner, edit(id, ANN, ""))), Refusal::EMPTY_MESSAGE);
    let edited = accept(&mut owner, edit(id, ANN, "after"), Found::default());
    match guild_events(&edited)[..] {
        [GuildEvent::MessageUpdate(view)] => {
            assert_eq!((view.message.content.as_str(), view.message.edited_at), ("after", Some(now())));
            assert_eq!((view.message.id, view.message.at), (id, now()));
        }
        ref other => panic!("{other:?}"),
    }
    // The next edit builds on the one that is still on its way, whatever the store says.
    let stale = Found { message: Some(send(&mut owner, message(ANN, "other"))), ..Found::default() };
    let flags = Command::EditMessage(EditMessage {
        channel_id: TEXT,
        id,
        editor: ANN,
        content: None,
        embeds_json: None,
        flags: Some(4),
        allowed_mentions: None,
    });
    match accept(&mut owner, flags, stale).answer {
        Answer::Message(view) => assert_eq!((view.message.content.as_str(), view.message.flags), ("after", 4)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_edit_keeps_what_it_answers_and_its_reactions() {
    let mut owner = owner();
    let first = send(&mut owner, message(ANN, "question"));
    let reply = send(&mut owner, NewMessage { reply_to: Some(first.message.id), ..message(ANN, "answer") });
    match accept(&mut owner, edit(reply.message.id, ANN, "a better one"), Found::default()).answer {
        Answer::Message(view) => assert_eq!(view.referenced.unwrap().message, first.message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn authors_and_moderators_delete() {
    let mut owner = owner();
    let id = send(&mut owner, message(ANN, "one")).message.id;
    let other = send(&mut owner, message(BOSS, "two")).message.id;
    assert_eq!(refusal(propose(&mut owner, delete(TEXT, other, ANN))), Refusal::MISSING_PERMISSIONS);
    assert_eq!(refusal(propose(&mut owner, delete(TEXT, id, STRANGER))), Refusal::MISSING_ACCESS);
    accept(&mut owner, delete(TEXT, id, ANN), Found::default());
    accept(&mut owner, delete(TEXT, other, MODERATOR), Found::default());
    assert_eq!(refusal(propose(&mut owner, delete(TEXT, id, ANN))), Refusal::UNKNOWN_MESSAGE);
    assert_eq!(refusal(propose(&mut owner, edit(id, ANN, "x"))), Refusal::UNKNOWN_MESSAGE);
}

#[test]
fn a_nonce_makes_one_message() {
    let mut owner = owner();
    let first = accept(&mut owner, create(with_nonce(ANN, "n")), Found::default());
    let at = first.batch.entries[0].position;
    assert_eq!(first.batch.nonce.as_ref().unwrap().nonce, Nonce::Text("n".into()));
    // Still on its way: the retry waits for it.
    assert!(matches!(propose(&mut owner, create(with_nonce(ANN, "n"))), Ok(Outcome::Join(position)) if position == at));
    owner.apply(&first.batch.entries);
    let Answer::Message(made) = first.answer else { panic!() };
    assert!(matches!(
        propose(&mut owner, create(with_nonce(ANN, "n"))),
        Ok(Outcome::Answer(Answer::Duplicate(same))) if same == made
    ));
    // Another author's and another channel's are others, and who does not ask is not told.
    accept(&mut owner, create(with_nonce(BOSS, "n")), Found::default());
    accept(&mut owner, create(NewMessage { channel_id: HIDDEN, ..with_nonce(BOSS, "n") }), Found::default());
    accept(&mut owner, create(NewMessage { enforce_nonce: false, ..with_nonce(ANN, "n") }), Found::default());
}

#[test]
fn a_nonce_is_found_in_the_store() {
    let made = send(&mut owner(), with_nonce(ANN, "n"));
    let mut owner = owner();
    let found = |view| Found { same_nonce: Some((made.message.id, view)), ..Found::default() };
    let again = owner.propose(now(), create(with_nonce(ANN, "n")), found(Some(made.clone())));
    assert!(matches!(again, Ok(Outcome::Answer(Answer::Duplicate(view))) if *view == made));
    let gone = owner.propose(now(), create(with_nonce(ANN, "n")), found(None));
    assert_eq!(refusal(gone), Refusal::UNKNOWN_MESSAGE);
}

#[test]
fn a_nonce_is_remembered_whoever_sent_it_did_not_ask() {
    let mut owner = owner();
    let sent = NewMessage { enforce_nonce: false, ..with_nonce(ANN, "77") };
    let first = accept(&mut owner, create(sent.clone()), Found::default());
    let at = first.batch.entries[0].position;
    assert_eq!(first.batch.nonce.as_ref().unwrap().nonce, Nonce::Text("77".into()));
    assert!(
        matches!(propose(&mut owner, create(with_nonce(ANN, "77"))), Ok(Outcome::Join(position)) if position == at)
    );
    owner.apply(&first.batch.entries);
    let Answer::Message(made) = first.answer else { panic!() };
    // As a number it is the same, and what is not a number's own text is not.
    let number = NewMessage { nonce: Some(Nonce::Number(77)), ..with_nonce(ANN, "") };
    assert!(matches!(
        propose(&mut owner, create(number)),
        Ok(Outcome::Answer(Answer::Duplicate(same))) if same == made
    ));
    accept(&mut owner, create(with_nonce(ANN, "077")), Found::default());
    // Used again by who does not ask, it names the newer message.
    let newer = send(&mut owner, sent);
    assert_ne!(newer.message.id, made.message.id);
    assert!(matches!(
        propose(&mut owner, create(with_nonce(ANN, "77"))),
        Ok(Outcome::Answer(Answer::Duplicate(same))) if *same == newer
    ));
}

#[test]
fn a_message_that_was_deleted_is_not_made_again() {
    let mut owner = owner();
    let made = send(&mut owner, with_nonce(ANN, "n"));
    let deleted = accept(&mut owner, delete(TEXT, made.message.id, ANN), Found::default());
    owner.apply(&deleted.batch.entries);
    let gone = Found { same_nonce: Some((made.message.id, None)), ..Found::default() };
    let again = owner.propose(now(), create(with_nonce(ANN, "n")), gone);
    assert!(matches!(again, Ok(Outcome::Answer(Answer::Duplicate(view))) if *view == made));
}

#[test]
fn an_old_nonce_is_free_again() {
    let mut owner = owner();
    let made = send(&mut owner, with_nonce(ANN, "n"));
    let later = |ttl: std::time::Duration| Timestamp::from_micros(now().as_micros() + ttl.as_micros() as u64);
    let just_before = later(limits::NONCE_TTL - std::time::Duration::from_millis(1));
    let again = owner.propose(just_before, create(with_nonce(ANN, "n")), Found::default());
    assert!(matches!(again, Ok(Outcome::Answer(Answer::Duplicate(view))) if *view == made));
    let again = owner.propose(later(limits::NONCE_TTL), create(with_nonce(ANN, "n")), Found::default());
    assert!(matches!(again, Ok(Outcome::Write(_))));
}

#[test]
fn code_mentions_nobody() {
    let mut owner = owner();
    let text = format!("`<@{ANN}>` ```\n<@&{FANS}> @everyone\n``` <@&{MODERATORS}>");
    let sent = send(&mut owner, message(MODERATOR, &text)).message;
    assert_eq!((sent.mentions, sent.mention_roles, sent.mention_everyone), (vec![], vec![MODERATORS], false));
}
