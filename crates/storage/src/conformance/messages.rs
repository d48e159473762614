//! Messages: pages in every direction, edits, deletions, reactions, nonces.

use clarion_model::event::{Event, GuildEvent, ReactionChange};
use clarion_model::id::{ChannelId, MessageId, UserId};
use clarion_model::limits::NONCE_TTL;
use clarion_model::message::{Anchor, Emoji, Nonce, Reaction};
use clarion_model::time::Timestamp;

use super::{Ids, Owner, create, message, now, view};
use crate::{NonceRow, Stores};

pub(super) async fn rules(stores: &Stores, ids: &mut Ids) {
    pages_are_what_the_anchor_says(stores, ids).await;
    a_message_is_stored_without_what_it_answers(stores, ids).await;
    edits_and_deletions_show(stores, ids).await;
    reactions_keep_their_order(stores, ids).await;
    a_deleted_message_takes_its_reactions_along(stores, ids).await;
    messages_are_counted(stores, ids).await;
    a_nonce_finds_its_message(stores, ids).await;
    an_old_nonce_is_forgotten(stores, ids).await;
}

async fn messages_are_counted(stores: &Stores, ids: &mut Ids) {
    let mut owner = Owner::of(stores, ids.guild()).await;
    let [below, place, above] = [ids.channel(), ids.channel(), ids.channel()];
    let mut all = Vec::new();
    for channel in [below, place, above, place, place] {
        let id = ids.message();
        owner.write(vec![create(message(channel, id, "counted"))]).await;
        if channel == place {
            all.push(id);
        }
    }
    let count = async |upto| stores.messages.count(place, upto).await;
    assert_eq!(count(MessageId(u64::MAX)).await, Ok(3));
    assert_eq!((count(all[1]).await, count(MessageId(all[1].0 - 1)).await), (Ok(2), Ok(1)));
    owner.write(vec![GuildEvent::MessageDelete { channel_id: place, id: all[0] }]).await;
    assert_eq!((count(all[1]).await, count(MessageId(0)).await), (Ok(1), Ok(0)));
}

/// What a page should be, straight from its definition. `all` is oldest first.
fn expected(all: &[MessageId], anchor: Anchor, limit: usize) -> Vec<MessageId> {
    let newest = |found: Vec<MessageId>, limit| found.into_iter().rev().take(limit).collect::<Vec<_>>();
    let after = |id, limit| {
        let mut found: Vec<_> = all.iter().copied().filter(|found| *found > id).take(limit).collect();
        found.reverse();
        found
    };
    match anchor {
        Anchor::Latest => newest(all.to_vec(), limit),
        Anchor::Before(id) => newest(all.iter().copied().filter(|found| *found < id).collect(), limit),
        Anchor::After(id) => after(id, limit),
        Anchor::Around(id) => {
            let upto = all.iter().copied().filter(|found| *found <= id).collect();
            [after(id, limit / 2), newest(upto, limit - limit / 2)].concat()
        }
    }
}

async fn pages_are_what_the_anchor_says(stores: &Stores, ids: &mut Ids) {
    let mut owner = Owner::of(stores, ids.guild()).await;
    // Channels whose ids are neighbours, so that a range which is off by one shows.
    let [below, place, above, silent] = [ids.channel(), ids.channel(), ids.channel(), ids.channel()];
    let (mut all, mut gaps) = (Vec::new(), Vec::new());
    for n in 0..10 {
        for channel in [below, place, above] {
            let id = ids.message();
            owner.write(vec![create(message(channel, id, &format!("{n}")))]).await;
            if channel == place {
                all.push(id);
            } else {
                gaps.push(id);
            }
        }
    }
    let edges = [MessageId(0), MessageId(1), MessageId(u64::MAX)];
    let places: Vec<MessageId> = all.iter().chain(&gaps).chain(&edges).copied().collect();
    let anchors = places.into_iter().flat_map(|id| [Anchor::Before(id), Anchor::After(id), Anchor::Around(id)]);
    for anchor in anchors.chain([Anchor::Latest]) {
        for limit in [0, 1, 2, 3, 10, 11] {
            let page = stores.messages.page(place, anchor, limit).await.unwrap();
            let found: Vec<MessageId> = page.iter().map(|view| view.message.id).collect();
            assert_eq!(found, expected(&all, anchor, limit), "{anchor:?}, limit {limit}");
            assert!(page.iter().all(|view| view.message.channel_id == place));
        }
        assert_eq!(stores.messages.page(silent, anchor, 10).await, Ok(Vec::new()));
    }
}

async fn a_message_is_stored_without_what_it_answers(stores: &Stores, ids: &mut Ids) {
    let mut owner = Owner::of(stores, ids.guild()).await;
    let (place, first, second) = (ids.channel(), ids.message(), ids.message());
    let asked = view(message(place, first, "asked"));
    let mut answer = view(message(place, second, "answered"));
    answer.message.reply_to = Some(first);
    answer.message.nonce = Some(Nonce::Number(-5));
    answer.message.edited_at = Some(now());
    let plain = answer.clone();
    answer.referenced = Some(Box::new(asked.clone()));
    owner.write(vec![GuildEvent::MessageCreate(asked.clone()), GuildEvent::MessageCreate(answer)]).await;
    assert_eq!(stores.messages.get(place, second).await, Ok(Some(plain.clone())));
    assert_eq!(stores.messages.page(place, Anchor::Latest, 10).await, Ok(vec![plain, asked]));
}

async fn edits_and_deletions_show(stores: &Stores, ids: &mut Ids) {
    let mut owner = Owner::of(stores, ids.guild()).await;
    let (place, other) = (ids.channel(), ids.channel());
    let [first, second, third] = [ids.message(), ids.message(), ids.message()];
    for id in [first, second, third] {
        owner.write(vec![create(message(place, id, "as sent"))]).await;
    }
    let edited = view(message(place, second, "as edited"));
    owner.write(vec![GuildEvent::MessageUpdate(edited.clone())]).await;
    assert_eq!(stores.messages.get(place, second).await, Ok(Some(edited.clone())));
    assert_eq!(stores.messages.get(other, second).await, Ok(None), "a message is in one channel");
    let delete = |id| GuildEvent::MessageDelete { channel_id: place, id };
    owner.write(vec![delete(first), delete(third), delete(third)]).await;
    assert_eq!(stores.messages.page(place, Anchor::Latest, 10).await, Ok(vec![edited]));
    // Made and unmade in one batch: the last word counts.
    let brief = ids.message();
    owner.write(vec![create(message(place, brief, "brief")), delete(brief)]).await;
    assert_eq!(stores.messages.get(place, brief).await, Ok(None));
}

fn unicode(name: &str) -> Emoji {
    Emoji { id: None, name: name.into() }
}

fn change(channel_id: ChannelId, message_id: MessageId, user_id: UserId, emoji: &Emoji) -> ReactionChange {
    let message_author_id = UserId(7);
    ReactionChange { channel_id, message_id, message_author_id, user_id, emoji: emoji.clone() }
}

async fn reactions_of(stores: &Stores, channel: ChannelId, id: MessageId) -> Vec<Reaction> {
    let found = stores.messages.get(channel, id).await.unwrap().unwrap().reactions;
    let page = stores.messages.page(channel, Anchor::Around(id), 2).await.unwrap();
    let paged = page.into_iter().find(|view| view.message.id == id).unwrap().reactions;
    assert_eq!(found, paged);
    found
}

async fn reactions_keep_their_order(stores: &Stores, ids: &mut Ids) {
    let mut owner = Owner::of(stores, ids.guild()).await;
    let place = ids.channel();
    let [before, id, after] = [ids.message(), ids.message(), ids.message()];
    for message_id in [before, id, after] {
        owner.write(vec![create(message(place, message_id, "react"))]).await;
    }
    // Later ids and later characters first, so that the order of keys is not the order wanted.
    let (early, late) = (ids.user(), ids.user());
    let (tada, plus, own) = (unicode("🎉"), unicode("+"), Emoji { id: Some(ids.next()), name: "🎉".into() });
    let add = |user, emoji| GuildEvent::ReactionAdd(change(place, id, user, emoji));
    let remove = |user, emoji| GuildEvent::ReactionRemove(change(place, id, user, emoji));
    let first = owner.batch(vec![Event::Guild(add(late, &tada)), Event::Guild(add(early, &own))]);
    stores.logs.commit(first.clone()).await.unwrap();
    owner.write(vec![add(late, &plus), add(early, &tada)]).await;
    owner.write(vec![add(early, &plus)]).await;
    owner.write(vec![GuildEvent::ReactionAdd(change(place, after, late, &plus))]).await;
    owner.write(vec![GuildEvent::ReactionAdd(change(place, before, early, &tada))]).await;
    let given = |emoji: &Emoji, users: &[UserId]| Reaction { emoji: emoji.clone(), users: users.to_vec() };
    let all = vec![given(&tada, &[late, early]), given(&own, &[early]), given(&plus, &[late, early])];
    assert_eq!(reactions_of(stores, place, id).await, all);
    assert_eq!(reactions_of(stores, place, after).await, [given(&plus, &[late])]);
    stores.logs.commit(first).await.unwrap();
    assert_eq!(reactions_of(stores, place, id).await, all, "written again, they stay in their places");
    owner.write(vec![GuildEvent::MessageUpdate(view(message(place, id, "edited")))]).await;
    assert_eq!(reactions_of(stores, place, id).await, all, "an edit leaves them");
    owner.write(vec![remove(early, &own), remove(late, &plus)]).await;
    assert_eq!(reactions_of(stores, place, id).await, [given(&tada, &[late, early]), given(&plus, &[early])]);
    // Who comes back comes last.
    owner.write(vec![add(late, &plus), add(early, &own)]).await;
    let back = vec![given(&tada, &[late, early]), given(&plus, &[early, late]), given(&own, &[early])];
    assert_eq!(reactions_of(stores, place, id).await, back);
}

async fn a_deleted_message_takes_its_reactions_along(stores: &Stores, ids: &mut Ids) {
    let mut owner = Owner::of(stores, ids.guild()).await;
    let (place, id, neighbour, user) = (ids.channel(), ids.message(), ids.message(), ids.user());
    let add = |id, name| GuildEvent::ReactionAdd(change(place, id, user, &unicode(name)));
    owner.write(vec![create(message(place, id, "gone")), create(message(place, neighbour, "stays"))]).await;
    owner.write(vec![add(id, "a"), add(neighbour, "a")]).await;
    owner.write(vec![add(id, "b"), GuildEvent::MessageDelete { channel_id: place, id }]).await;
    // Only a broken owner would use an id again; here it shows what was left behind.
    owner.write(vec![create(message(place, id, "back"))]).await;
    assert_eq!(reactions_of(stores, place, id).await, []);
    assert_eq!(reactions_of(stores, place, neighbour).await.len(), 1);
}

async fn a_nonce_finds_its_message(stores: &Stores, ids: &mut Ids) {
    let mut owner = Owner::of(stores, ids.guild()).await;
    let (place, other, author, somebody) = (ids.channel(), ids.channel(), ids.user(), ids.user());
    let nonces = [Nonce::Text("1".into()), Nonce::Text("01".into()), Nonce::Number(-1), Nonce::Text(String::new())];
    let mut made = Vec::new();
    for nonce in nonces.clone() {
        let id = ids.message();
        made.push(id);
        let used = NonceRow { channel_id: place, author_id: author, nonce, message_id: id, at: now() };
        owner.write_once(message(place, id, "once"), used).await.unwrap();
    }
    for (nonce, id) in nonces.iter().zip(made) {
        assert_eq!(stores.messages.by_nonce(place, author, nonce).await, Ok(Some(id)));
        assert_eq!(stores.messages.by_nonce(other, author, nonce).await, Ok(None));
        assert_eq!(stores.messages.by_nonce(place, somebody, nonce).await, Ok(None));
    }
    assert_eq!(stores.messages.by_nonce(place, author, &Nonce::Text("2".into())).await, Ok(None));
    // A number is what it is as text.
    for (text, number) in [("1", 1), ("-1", -1)] {
        let as_text = stores.messages.by_nonce(place, author, &Nonce::Text(text.into())).await.unwrap();
        assert!(as_text.is_some());
        assert_eq!(stores.messages.by_nonce(place, author, &Nonce::Number(number)).await, Ok(as_text));
    }
}

async fn an_old_nonce_is_forgotten(stores: &Stores, ids: &mut Ids) {
    let mut owner = Owner::of(stores, ids.guild()).await;
    let (place, author) = (ids.channel(), ids.user());
    let used = |n: i64, at: Timestamp, id| NonceRow {
        channel_id: place,
        author_id: author,
        nonce: Nonce::Number(n),
        message_id: id,
        at,
    };
    for n in 0..10 {
        let id = ids.message();
        owner.write_once(message(place, id, "old"), used(n, now().before(NONCE_TTL), id)).await.unwrap();
        assert_eq!(stores.messages.by_nonce(place, author, &Nonce::Number(n)).await, Ok(None));
    }
    // Used again it names the new message, whatever is done about the old ones meanwhile.
    let again: Vec<MessageId> = ids.messages(10);
    for (n, id) in (0..).zip(&again) {
        owner.write_once(message(place, *id, "new"), used(n, now(), *id)).await.unwrap();
    }
    for (n, id) in (0..).zip(again) {
        assert_eq!(stores.messages.by_nonce(place, author, &Nonce::Number(n)).await, Ok(Some(id)));
    }
}
