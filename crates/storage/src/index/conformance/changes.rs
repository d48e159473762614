//! Changes: in order, all of them, seen at once, and still there after a restart.

use clarion_model::id::MessageId;
use clarion_model::key::{Epoch, Key, Position};

use super::{Ids, Opened, add, everything, find, ids, text};
use crate::index::{Change, Document, Index, Indexes, Progress, Refill};

pub(super) async fn rules(index: &dyn Index, fresh: &mut Ids) {
    what_is_written_is_found(index, fresh).await;
    changes_are_made_in_order(index, fresh).await;
    channels_and_ranges_go(index, fresh).await;
    messages_are_counted_and_listed(index, fresh).await;
    progress_is_what_was_written_last(index, fresh).await;
}

async fn what_is_written_is_found(index: &dyn Index, fresh: &mut Ids) {
    let (guild, place) = (fresh.guild(), fresh.channel());
    assert_eq!(find(index, everything(&[place])).await, []);
    let said = fresh.say(guild, place, &["first", "second"]);
    add(index, &said).await;
    assert_eq!(find(index, text(&[place], "first ")).await, [said[0].id]);
    assert_eq!(find(index, everything(&[place])).await, [said[1].id, said[0].id]);
}

async fn changes_are_made_in_order(index: &dyn Index, fresh: &mut Ids) {
    let (guild, place) = (fresh.guild(), fresh.channel());
    let said = fresh.say(guild, place, &["once upon", "a time", "there was"]);
    let edited = Document { content: "never".into(), ..said[0].clone() };
    // Within one batch.
    let changes = vec![
        Change::Add(said[0].clone()),
        Change::Put(edited.clone()),
        Change::Add(said[1].clone()),
        Change::Delete(said[1].id),
        Change::Add(said[2].clone()),
    ];
    index.write(changes).await.unwrap();
    assert_eq!(find(index, everything(&[place])).await, [said[2].id, said[0].id]);
    assert_eq!(find(index, text(&[place], "upon ")).await, []);
    assert_eq!(find(index, text(&[place], "never ")).await, [said[0].id]);
    // And over batches; what is gone may go again, what is there may be put again.
    index.write(vec![Change::Put(said[0].clone()), Change::Delete(said[1].id)]).await.unwrap();
    assert_eq!(find(index, text(&[place], "upon ")).await, [said[0].id]);
    assert_eq!(find(index, text(&[place], "never ")).await, []);
    index.write(vec![Change::Delete(said[0].id), Change::Delete(said[2].id)]).await.unwrap();
    index.write(Vec::new()).await.unwrap();
    assert_eq!(find(index, everything(&[place])).await, []);
}

async fn channels_and_ranges_go(index: &dyn Index, fresh: &mut Ids) {
    let (guild, other) = (fresh.guild(), fresh.guild());
    let [one, two, three] = [fresh.channel(), fresh.channel(), fresh.channel()];
    let first = fresh.say(guild, one, &["a", "b", "c", "d"]);
    let second = fresh.say(guild, two, &["a"]);
    let foreign = fresh.say(other, three, &["a"]);
    add(index, &[first.clone(), second.clone(), foreign.clone()].concat()).await;
    // What comes after it in the batch stays.
    let again = Document { content: "again".into(), ..first[2].clone() };
    let range = first[1].id.0..=first[2].id.0;
    index.write(vec![Change::Clear(one, range), Change::Add(again)]).await.unwrap();
    assert_eq!(find(index, everything(&[one])).await, [first[3].id, first[2].id, first[0].id]);
    assert_eq!(find(index, text(&[one], "again ")).await, [first[2].id]);
    index.write(vec![Change::Keep(guild, vec![two])]).await.unwrap();
    assert_eq!(find(index, everything(&[one])).await, []);
    assert_eq!(find(index, everything(&[two, three])).await, [foreign[0].id, second[0].id]);
    index.write(vec![Change::Clear(two, 0..=u64::MAX)]).await.unwrap();
    assert_eq!(find(index, everything(&[two, three])).await, ids(&foreign));
    index.write(vec![Change::Keep(other, Vec::new())]).await.unwrap();
    assert_eq!(find(index, everything(&[one, two, three])).await, []);
}

async fn messages_are_counted_and_listed(index: &dyn Index, fresh: &mut Ids) {
    let (guild, place, beside) = (fresh.guild(), fresh.channel(), fresh.channel());
    let said = fresh.say(guild, place, &["1", "2", "3", "4"]);
    add(index, &[said.clone(), fresh.say(guild, beside, &["5"])].concat()).await;
    assert_eq!(index.count(place, MessageId(u64::MAX)).await, Ok(4));
    assert_eq!(index.count(place, said[1].id).await, Ok(2));
    let all = ids(&said);
    assert_eq!(index.ids(place, 0..=u64::MAX, 10).await, Ok(all.clone()));
    assert_eq!(index.ids(place, 0..=u64::MAX, 2).await.as_deref(), Ok(&all[..2]));
    assert_eq!(index.ids(place, all[1].0..=all[2].0, 10).await.as_deref(), Ok(&all[1..3]));
    let size = index.size().await.unwrap().messages;
    index.write(vec![Change::Delete(said[3].id), Change::Progress(progress(fresh, 1))]).await.unwrap();
    assert_eq!(index.size().await.unwrap().messages, size - 1);
    assert_eq!(index.check().await, Ok(()));
}

fn progress(fresh: &mut Ids, offset: u64) -> Progress {
    let position = Position { epoch: Epoch(3), offset };
    Progress { key: Key::Guild(fresh.guild()), position, ready: false, refill: None }
}

async fn progress_is_what_was_written_last(index: &dyn Index, fresh: &mut Ids) {
    let (one, two) = (progress(fresh, 1), progress(fresh, 2));
    let refill = Some(Refill { channel: fresh.channel(), after: MessageId(4), upto: MessageId(5) });
    let said = {
        let (guild, place) = (fresh.guild(), fresh.channel());
        fresh.say(guild, place, &["with it"])
    };
    let changes = vec![
        Change::Add(said[0].clone()),
        Change::Progress(one.clone()),
        Change::Progress(Progress { refill, ..two.clone() }),
    ];
    index.write(changes).await.unwrap();
    let further = Progress { position: Position { epoch: Epoch(4), offset: 1 }, ready: true, ..one.clone() };
    index.write(vec![Change::Progress(one.clone()), Change::Progress(further.clone())]).await.unwrap();
    let known = index.progress().await.unwrap();
    let of = |key| known.iter().filter(|p| p.key == key).cloned().collect::<Vec<_>>();
    assert_eq!(of(one.key), [further]);
    assert_eq!(of(two.key), [Progress { refill, ..two }]);
}

/// What was written lasts, once the index serves; and another one can take its place.
pub(super) async fn last<I: Indexes>(indexes: I, index: Opened, open: &impl Fn() -> I, fresh: &mut Ids) {
    let (guild, place) = (fresh.guild(), fresh.channel());
    let said = fresh.say(guild, place, &["it lasts"]);
    let known = progress(fresh, 9);
    index.write(vec![Change::Add(said[0].clone()), Change::Progress(known.clone())]).await.unwrap();
    indexes.promote().await.unwrap();
    drop((index, indexes));

    let again = open();
    let index = again.current().await.unwrap().expect("it serves");
    assert_eq!(find(&*index, text(&[place], "lasts")).await, ids(&said));
    assert!(index.progress().await.unwrap().contains(&known));

    let other = again.create().await.unwrap();
    assert_eq!(other.progress().await, Ok(Vec::new()));
    assert_eq!(find(&*other, everything(&[place])).await, []);
    let more = fresh.say(guild, place, &["another"]);
    add(&*other, &more).await;
    assert_eq!(find(&*index, everything(&[place])).await, ids(&said), "two indexes know nothing of each other");
    again.promote().await.unwrap();
    drop((index, other, again));
    let index = open().current().await.unwrap().expect("the other one serves");
    assert_eq!(find(&*index, everything(&[place])).await, ids(&more));
}
