//! What has been acknowledged is there when the store is opened again, and the store goes on where it was.

use std::future::Future;

use clarion_model::event::{Event, GuildEvent, UserEvent};
use clarion_model::id::GuildId;
use clarion_model::key::{Epoch, Key, Position};
use clarion_model::message::{Anchor, Nonce};

use super::{Ids, Owner, channel, create, guild, message, now, user};
use crate::{CommitError, NonceRow, Stores};

pub(super) async fn rules<S, F>(open: impl Fn() -> F, ids: &mut Ids)
where
    S: AsRef<Stores>,
    F: Future<Output = S>,
{
    let key = ids.guild();
    let id = GuildId(key.parts().1);
    let (place, author, account) = (ids.channel(), ids.user(), ids.user());
    let created = ids.messages(30);
    let nonce = Nonce::Text("lasts".into());

    let opened = open().await;
    let stores = opened.as_ref();
    let mut owner = Owner::of(stores, key).await;
    owner.write(vec![GuildEvent::GuildPut(guild(key, author)), GuildEvent::ChannelPut(channel(place))]).await;
    for message_id in &created {
        let used =
            NonceRow { channel_id: place, author_id: author, nonce: nonce.clone(), message_id: *message_id, at: now() };
        owner.write_once(message(place, *message_id, "lasts"), used).await.unwrap();
    }
    let trimmed = Position { epoch: owner.epoch, offset: 10 };
    stores.logs.trim(key, trimmed).await.unwrap();
    let mut person = Owner::of(stores, Key::User(account)).await;
    person.try_write(vec![Event::User(UserEvent::Put(user(account)))]).await.unwrap();
    let epoch = stores.slots.get(key.slot()).await.unwrap().epoch;
    let tail = stores.logs.open(key, epoch).await.unwrap();
    let state = stores.guilds.get(id).await.unwrap().unwrap();
    let account_state = stores.users.get(account).await.unwrap();
    let history = stores.messages.page(place, Anchor::Latest, 100).await.unwrap();
    let log = stores.logs.read(key, trimmed, 100).await.unwrap();
    let slot = stores.slots.get(key.slot()).await.unwrap();
    assert_eq!((history.len(), log.entries.len()), (30, 22));
    let late = owner.batch(vec![Event::Guild(create(message(place, ids.message(), "late")))]);
    drop((owner, person));
    drop(opened);

    for _ in 0..2 {
        let opened = open().await;
        let stores = opened.as_ref();
        assert_eq!(stores.slots.get(key.slot()).await.as_ref(), Ok(&slot));
        assert_eq!(stores.logs.open(key, epoch).await, Ok(tail));
        assert_eq!(stores.guilds.get(id).await.unwrap().as_ref(), Some(&state));
        assert_eq!(stores.users.get(account).await.as_ref(), Ok(&account_state));
        assert_eq!(stores.messages.page(place, Anchor::Latest, 100).await.as_ref(), Ok(&history));
        assert_eq!(stores.messages.by_nonce(place, author, &nonce).await, Ok(created.last().copied()));
        assert_eq!(stores.routes.key_of(place).await, Ok(Some(key)));
        assert_eq!(stores.logs.read(key, trimmed, 100).await.as_ref(), Ok(&log));
        assert!(!stores.logs.read(key, Position::START, 100).await.unwrap().complete);
    }

    let opened = open().await;
    let stores = opened.as_ref();
    let mut owner = Owner::of(stores, key).await;
    assert_eq!(owner.epoch, Epoch(epoch.0 + 1), "epochs go on");
    assert_eq!(stores.logs.commit(late).await, Err(CommitError::Fenced(owner.epoch)));
    assert_eq!(stores.logs.open(key, owner.epoch).await, Ok(tail));
    let more = owner.write(vec![create(message(place, ids.message(), "more"))]).await;
    assert_eq!(stores.logs.read(key, tail.position, 100).await.unwrap().entries, more);
}
