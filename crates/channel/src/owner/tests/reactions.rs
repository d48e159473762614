//! Reactions: who may give and take which.

use clarion_model::message::Emoji;

use super::*;
use crate::owner::React;

fn emoji(name: &str) -> Emoji {
    Emoji { id: None, name: name.into() }
}

fn react(add: bool, id: MessageId, actor: UserId, user: UserId, name: &str) -> Command {
    Command::React(React { add, channel_id: TEXT, id, actor, user, emoji: emoji(name) })
}

fn add(id: MessageId, user: UserId, name: &str) -> Command {
    react(true, id, user, user, name)
}

#[test]
fn giving_twice_is_giving_once() {
    let mut owner = owner();
    let id = send(&mut owner, message(ANN, "hi")).message.id;
    accept(&mut owner, add(id, ANN, "👍"), Found::default());
    assert!(matches!(propose(&mut owner, add(id, ANN, "👍")), Ok(Outcome::Answer(Answer::Done))));
    accept(&mut owner, add(id, BOSS, "👍"), Found::default());
    accept(&mut owner, react(false, id, ANN, ANN, "👍"), Found::default());
    assert!(matches!(propose(&mut owner, react(false, id, ANN, ANN, "👍")), Ok(Outcome::Answer(Answer::Done))));
    assert_eq!(refusal(propose(&mut owner, add(MessageId(5), ANN, "👍"))), Refusal::UNKNOWN_MESSAGE);
}

#[test]
fn others_reactions_belong_to_moderators() {
    let mut owner = owner();
    let id = send(&mut owner, message(ANN, "hi")).message.id;
    accept(&mut owner, add(id, BOSS, "👍"), Found::default());
    let take = |actor| react(false, id, actor, BOSS, "👍");
    assert_eq!(refusal(propose(&mut owner, take(ANN))), Refusal::MISSING_PERMISSIONS);
    accept(&mut owner, take(MODERATOR), Found::default());
    assert_eq!(refusal(propose(&mut owner, react(true, id, MODERATOR, BOSS, "👍"))), Refusal::MISSING_PERMISSIONS);
}

#[test]
fn a_new_kind_needs_permission_and_room() {
    let mut state = guild();
    let everyone = state.roles.get_mut(&GUILD.everyone()).unwrap();
    everyone.permissions = everyone.permissions.difference(Permissions::ADD_REACTIONS);
    let mut owner = owner_of(state);
    let id = send(&mut owner, message(ANN, "hi")).message.id;
    assert_eq!(refusal(propose(&mut owner, add(id, ANN, "👍"))), Refusal::MISSING_PERMISSIONS);
    accept(&mut owner, add(id, BOSS, "👍"), Found::default());
    accept(&mut owner, add(id, ANN, "👍"), Found::default());
    for n in 1..20 {
        let kind = char::from_u32(0x1f600 + n).unwrap().to_string();
        accept(&mut owner, add(id, BOSS, &kind), Found::default());
    }
    assert_eq!(refusal(propose(&mut owner, add(id, BOSS, "🎉"))), Refusal::TOO_MANY_REACTIONS);
}

#[test]
fn only_emoji_are_reactions() {
    let mut owner = owner();
    let id = send(&mut owner, message(ANN, "hi")).message.id;
    for bad in ["", "hello", "ö", "日本", "👍 👍", ":)", "👍👍"] {
        assert_eq!(refusal(propose(&mut owner, add(id, ANN, bad))), Refusal::UNKNOWN_EMOJI, "{bad:?}");
    }
    for good in ["👍", "👨‍👩‍👧‍👦", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "#️⃣", "❤️"] {
        accept(&mut owner, add(id, ANN, good), Found::default());
    }
}

#[test]
fn with_and_without_a_variation_selector_is_one_kind() {
    let mut owner = owner();
    let id = send(&mut owner, message(ANN, "hi")).message.id;
    let written = |proposal: &Proposal| match guild_events(proposal)[..] {
        [GuildEvent::ReactionAdd(change) | GuildEvent::ReactionRemove(change)] => change.emoji.name.clone(),
        ref other => panic!("{other:?}"),
    };
    let (plain, dressed) = ("\u{2764}", "\u{2764}\u{fe0f}");
    assert_eq!(written(&accept(&mut owner, add(id, ANN, dressed), Found::default())), dressed);
    assert!(matches!(propose(&mut owner, add(id, ANN, plain)), Ok(Outcome::Answer(Answer::Done))));
    // All of a kind are written in its first form: it is one for the store and for who follows, too.
    assert_eq!(written(&accept(&mut owner, add(id, BOSS, plain), Found::default())), dressed);
    assert_eq!(written(&accept(&mut owner, react(false, id, ANN, ANN, plain), Found::default())), dressed);
    assert_eq!(written(&accept(&mut owner, react(false, id, BOSS, BOSS, plain), Found::default())), dressed);
    // With nobody left of it, a kind begins anew.
    assert_eq!(written(&accept(&mut owner, add(id, ANN, plain), Found::default())), plain);
}
