//! Queries: what finds what, in which order, and that nothing is told of what is not searched.

use clarion_model::id::{ChannelId, MessageId};

use super::{Ids, add, everything, find, ids, text};
use crate::index::{Document, Index, Query, Sort, host_mark, mark, query};

pub(super) async fn rules(index: &dyn Index, fresh: &mut Ids) {
    words_find_what_was_said(index, fresh).await;
    slop_lets_words_stand_between(index, fresh).await;
    marks_filter(index, fresh).await;
    pages_and_orders_are_as_asked(index, fresh).await;
    the_best_comes_first(index, fresh).await;
    what_is_not_searched_does_not_show(index, fresh).await;
    many_channels_are_searched(index, fresh).await;
}

/// What was said, by place in the list.
const SAID: &[&str] = &[
    /* 0 */ "The deploy failed again, see https://ci.example.com/job/42",
    /* 1 */ "Deployment of the new gateway is done",
    /* 2 */ "Crème brûlée für die Straße",
    /* 3 */ "東京都に住んでいます",
    /* 4 */ "黒い猫が好き",
    /* 5 */ "Привет, как дела? Ёлка!",
    /* 6 */ "한국어를 배워요",
    /* 7 */ "don't panic",
    /* 8 */ "release 🎉 2024.1",
    /* 9 */ "สวัสดีครับ",
    /* 10 */ "the new and shiny gateway of the deploy",
    /* 11 */ "猫",
];

/// What finds what.
const FINDS: &[(&str, &[usize])] = &[
    // Words, in any case and order; all of them.
    ("deploy ", &[0, 10]),
    ("DEPLOY ", &[0, 10]),
    ("gateway new ", &[1, 10]),
    ("deploy nothing ", &[]),
    // Beginnings: of the last word while it is typed, and where a star says so.
    ("deploy", &[0, 1, 10]),
    ("depl* again ", &[0]),
    ("gate", &[1, 10]),
    ("d", &[]),
    // Phrases, and what is written in one piece.
    ("\"new gateway\"", &[1]),
    ("\"gateway new\"", &[]),
    ("don't ", &[7]),
    ("example.com ", &[0]),
    ("ci.example.com/job/42", &[0]),
    // Typos of one letter in longer words: one too many, too few, another, two that changed places.
    ("deplooy ", &[0, 10]),
    ("deply ", &[0, 10]),
    ("gatewey ", &[1, 10]),
    ("gatweay ", &[1, 10]),
    ("panik ", &[7]),
    ("nex ", &[]),
    // Accents, case and compatibility forms.
    ("creme BRULEE ", &[2]),
    ("strasse ", &[2]),
    ("fur ", &[2]),
    ("ПРИВЕТ елка ", &[5]),
    // Scripts without spaces: any part of a run.
    ("東京", &[3]),
    ("京都に", &[3]),
    ("東都", &[]),
    ("猫", &[4, 11]),
    ("黒い猫", &[4]),
    ("한국", &[6]),
    ("국어", &[6]),
    ("สวัส", &[9]),
    ("🎉", &[8]),
    ("2024.1 ", &[8]),
    // Nothing to look for finds nothing.
    ("?!", &[]),
    ("\"\"", &[]),
];

async fn words_find_what_was_said(index: &dyn Index, fresh: &mut Ids) {
    let (guild, place) = (fresh.guild(), fresh.channel());
    let said = fresh.say(guild, place, SAID);
    add(index, &said).await;
    for (looked_for, expected) in FINDS {
        let mut found = find(index, text(&[place], looked_for)).await;
        found.sort();
        let expected: Vec<MessageId> = expected.iter().map(|n| said[*n].id).collect();
        assert_eq!(found, expected, "{looked_for:?}");
    }
}

async fn slop_lets_words_stand_between(index: &dyn Index, fresh: &mut Ids) {
    let (guild, place) = (fresh.guild(), fresh.channel());
    let said = fresh.say(guild, place, &["one two", "one and two", "one or more of two"]);
    add(index, &said).await;
    for (slop, expected) in [(0, 1), (1, 2), (3, 3)] {
        let query = Query { text: Some(query::read("one two", Some(slop))), ..everything(&[place]) };
        assert_eq!(find(index, query).await.len(), expected, "slop {slop}");
    }
}

async fn marks_filter(index: &dyn Index, fresh: &mut Ids) {
    let (guild, place) = (fresh.guild(), fresh.channel());
    let mut said = fresh.say(guild, place, &["a", "b", "c"]);
    said[1].marks = vec![mark::author(8), mark::has("link"), host_mark("example.com")];
    said[2].marks = vec![mark::author(9), mark::has("link"), mark::has("embed")];
    add(index, &said).await;
    let with = |with: &[&[String]], without: &[String]| Query {
        with: with.iter().map(|any| any.to_vec()).collect(),
        without: without.to_vec(),
        ..everything(&[place])
    };
    let cases: [(Query, &[usize]); 7] = [
        (with(&[&[mark::author(8)]], &[]), &[1]),
        (with(&[&[mark::author(8), mark::author(7)]], &[]), &[1, 0]),
        (with(&[&[mark::has("link")], &[mark::author(9)]], &[]), &[2]),
        (with(&[&[mark::has("link")]], &[mark::has("embed")]), &[1]),
        (with(&[], &[mark::has("link")]), &[0]),
        (with(&[&[host_mark("EXAMPLE.com")]], &[]), &[1]),
        (with(&[&[mark::PINNED.to_owned()]], &[]), &[]),
    ];
    for (query, expected) in cases {
        let expected: Vec<MessageId> = expected.iter().map(|n| said[*n].id).collect();
        assert_eq!(find(index, query.clone()).await, expected, "{query:?}");
    }
    // Together with words.
    let both = Query { with: vec![vec![mark::has("link")]], ..text(&[place], "c") };
    assert_eq!(find(index, both).await, [said[2].id]);
}

async fn pages_and_orders_are_as_asked(index: &dyn Index, fresh: &mut Ids) {
    let (guild, place) = (fresh.guild(), fresh.channel());
    let said = fresh.say(guild, place, &["same"; 60]);
    // Not in the order of their ids, and in several commits.
    let (even, odd): (Vec<_>, Vec<_>) = said.iter().cloned().partition(|message| message.id.0 % 2 == 0);
    add(index, &odd).await;
    add(index, &even).await;
    let oldest = ids(&said);
    let newest: Vec<MessageId> = oldest.iter().rev().copied().collect();
    for (sort, order) in [(Sort::Newest, &newest), (Sort::Oldest, &oldest)] {
        for (offset, limit) in [(0, 25), (25, 25), (50, 25), (7, 1), (60, 5), (9_975, 25)] {
            let query = Query { sort, offset, limit, ..text(&[place], "same ") };
            let expected: Vec<MessageId> = order.iter().skip(offset).take(limit).copied().collect();
            assert_eq!(find(index, query).await, expected, "{sort:?} {offset}+{limit}");
        }
    }
    let between = Query { after: Some(oldest[9]), before: Some(oldest[13]), ..everything(&[place]) };
    assert_eq!(find(index, between).await, [oldest[12], oldest[11], oldest[10]]);
    let first = Query { before: Some(oldest[1]), ..everything(&[place]) };
    assert_eq!(find(index, first).await, [oldest[0]]);
}

async fn the_best_comes_first(index: &dyn Index, fresh: &mut Ids) {
    let (guild, place) = (fresh.guild(), fresh.channel());
    let said = fresh.say(
        guild,
        place,
        &[
            "a long message in which the word quokka stands somewhere among many others that say nothing",
            "quokka",
            "quokkas are not the word",
        ],
    );
    add(index, &said).await;
    let found = find(index, Query { sort: Sort::Best, ..text(&[place], "quokka") }).await;
    assert_eq!(found, [said[1].id, said[0].id, said[2].id]);
}

/// Whether a word is rare is judged by what is searched: filling another channel changes neither order nor total.
async fn what_is_not_searched_does_not_show(index: &dyn Index, fresh: &mut Ids) {
    let (guild, place, hidden) = (fresh.guild(), fresh.channel(), fresh.channel());
    let said = fresh.say(
        guild,
        place,
        &["rare apple", "rare apple", "common banana", "common", "common", "cherry apple banana"],
    );
    add(index, &said).await;
    let queries = ["apple ", "banana", "common ", "secret ", "apple banana "];
    let mut before = Vec::new();
    for looked_for in queries {
        before.push(index.search(Query { sort: Sort::Best, ..text(&[place], looked_for) }).await);
    }
    let flood: Vec<Document> = fresh.say(guild, hidden, &["apple banana common secret secret"; 200]);
    add(index, &flood).await;
    for (looked_for, before) in queries.iter().zip(before) {
        let after = index.search(Query { sort: Sort::Best, ..text(&[place], looked_for) }).await;
        assert_eq!(after, before, "{looked_for}");
    }
    assert_eq!(find(index, text(&[], "apple")).await, [], "no channel, nothing found");
}

async fn many_channels_are_searched(index: &dyn Index, fresh: &mut Ids) {
    let guild = fresh.guild();
    let channels: Vec<ChannelId> = (0..120).map(|_| fresh.channel()).collect();
    let said: Vec<Document> = channels.iter().flat_map(|channel| fresh.say(guild, *channel, &["everywhere"])).collect();
    add(index, &said).await;
    let half = &channels[..60];
    let found = index.search(text(half, "everywhere")).await.unwrap();
    assert_eq!(found.total, 60);
    assert_eq!(found.hits.first().map(|hit| hit.channel), half.last().copied());
}
