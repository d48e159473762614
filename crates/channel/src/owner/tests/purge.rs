//! Messages that go with a ban.

use clarion_model::guild::Ban;
use clarion_model::message::Emoji;

use super::*;
use crate::owner::{Actor, Purge, React};

/// A guild in which [`ANN`] is banned.
fn banned() -> Owner {
    let mut owner = owner();
    ban(&mut owner);
    owner
}

fn ban(owner: &mut Owner) {
    let change = GuildEvent::BanPut(Ban { user: user(ANN), reason: None });
    let proposal = accept(owner, Command::ChangeGuild { actor: Actor::User(BOSS), change }, Found::default());
    owner.apply(&proposal.batch.entries);
}

fn purge(actor: UserId, channel_id: ChannelId, ids: &[MessageId]) -> Command {
    Command::Purge(Purge { channel_id, actor: Actor::User(actor), author: ANN, ids: ids.to_vec() })
}

/// The messages that are to go.
fn gone(proposal: &Proposal) -> Vec<MessageId> {
    let ids = guild_events(proposal).into_iter().map(|event| match event {
        GuildEvent::MessageDelete { channel_id: TEXT, id } => *id,
        other => panic!("{other:?}"),
    });
    ids.collect()
}

#[test]
fn only_who_may_ban_purges_and_only_of_the_banned() {
    let mut owner = owner();
    let id = send(&mut owner, message(ANN, "hi")).message.id;
    assert_eq!(refusal(propose(&mut owner, purge(BOSS, TEXT, &[id]))), Refusal::UNKNOWN_BAN);
    ban(&mut owner);
    assert_eq!(refusal(propose(&mut owner, purge(MODERATOR, TEXT, &[id]))), Refusal::MISSING_PERMISSIONS);
    assert_eq!(refusal(propose(&mut owner, purge(STRANGER, TEXT, &[id]))), Refusal::MISSING_ACCESS);
    assert_eq!(refusal(propose(&mut owner, purge(BOSS, ChannelId(77), &[id]))), Refusal::UNKNOWN_CHANNEL);
    assert_eq!(refusal(propose(&mut owner, purge(BOSS, CATEGORY, &[id]))), Refusal::NOT_A_TEXT_CHANNEL);
    assert!(matches!(propose(&mut owner, purge(BOSS, TEXT, &[])), Ok(Outcome::Answer(Answer::Done))));
    assert_eq!(gone(&accept(&mut owner, purge(BOSS, TEXT, &[id]), Found::default())), [id]);
}

/// Commands that were read before a purge and are decided after it know of it, and those of others are as they were.
#[test]
fn what_a_purge_took_is_gone_for_who_read_it_before() {
    let mut owner = owner();
    let views: Vec<MessageView> = (0..150).map(|_| send(&mut owner, message(ANN, "spam"))).collect();
    let ids: Vec<MessageId> = views.iter().map(|view| view.message.id).collect();
    let other = send(&mut owner, message(BOSS, "hello"));
    ban(&mut owner);
    accept(&mut owner, delete(TEXT, ids[3], BOSS), Found { message: Some(views[3].clone()), ..Found::default() });
    let first = accept(&mut owner, purge(BOSS, TEXT, &ids[..100]), Found::default());
    assert_eq!(gone(&first).len(), 99, "one had gone before");
    let again = accept(&mut owner, purge(BOSS, TEXT, &ids[50..]), Found::default());
    assert_eq!(gone(&again), ids[100..], "each once");
    let react = |view: &MessageView| {
        let emoji = Emoji { id: None, name: "👍".into() };
        let id = view.message.id;
        Command::React(React { add: true, channel_id: TEXT, id, actor: BOSS, user: BOSS, emoji })
    };
    for view in &views {
        let found = Found { message: Some(view.clone()), ..Found::default() };
        assert_eq!(refusal(owner.propose(now(), react(view), found)), Refusal::UNKNOWN_MESSAGE);
    }
    let found = Found { message: Some(other.clone()), ..Found::default() };
    assert!(owner.propose(now(), react(&other), found).is_ok());
}

#[test]
fn what_the_author_says_later_stays() {
    let mut owner = banned();
    let old = MessageId(5);
    assert_eq!(gone(&accept(&mut owner, purge(BOSS, TEXT, &[old]), Found::default())), [old]);
    let lifted = GuildEvent::BanRemove(user(ANN));
    let joins = GuildEvent::MemberPut(member(ANN, &[]));
    for change in [lifted, joins] {
        let proposal = accept(&mut owner, Command::ChangeGuild { actor: Actor::Operator, change }, Found::default());
        owner.apply(&proposal.batch.entries);
    }
    let id = send(&mut owner, message(ANN, "sorry")).message.id;
    accept(&mut owner, delete(TEXT, id, ANN), Found::default());
}
