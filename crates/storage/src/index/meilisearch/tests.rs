//! Questions and changes in the server's words.

use clarion_model::id::{ChannelId, GuildId, MessageId};
use clarion_model::key::{Epoch, Key, Position};
use proptest::prelude::*;

use super::ask::Ask;
use super::document::{Row, halves, marked, spelled};
use super::write::{Step, plan};
use crate::index::{Change, Document, Progress, Query, Sort, query};

fn ask(text: &str, sort: Sort) -> Ask {
    Ask::new(&Query {
        channels: vec![ChannelId(1), ChannelId(2)],
        text: Some(query::read(text, None)),
        with: Vec::new(),
        without: Vec::new(),
        after: None,
        before: None,
        sort,
        offset: 0,
        limit: 25,
    })
}

#[test]
fn texts_become_words_and_filters() {
    let channels = "channel IN [\"1\", \"2\"]";
    for (text, words, filter, exact) in [
        ("deploy ", "deploy ", "", true),
        ("deploy now ", "deploy ", " AND words = \"now\"", true),
        ("now dep", "dep", " AND words = \"now\"", true),
        ("\"new gateway\" fast", "\"new gateway\" fast", "", true),
        ("猫 ", "", " AND words = \"u0029483\"", true),
        ("東京都 now ", "\"u00264810020140 u00201400037117\" ", " AND words = \"now\"", true),
        ("one* two* ", "one", "", false),
        ("build12345", "build12345", "", false),
    ] {
        let asked = ask(text, Sort::Newest);
        assert_eq!((&*asked.words, asked.filter.strip_prefix(channels)), (words, Some(filter)), "{text}");
        assert_eq!(asked.is_exact(), exact, "{text}");
    }
    // What fits best is judged by the words too that are filters already.
    assert_eq!(ask("now deploy ", Sort::Best).words, "deploy \"now\" ");
}

#[test]
fn what_the_server_cannot_tell_is_told_here() {
    let beginnings = ask("one* two* ", Sort::Newest);
    assert!(beginnings.matches("onerous twofold") && !beginnings.matches("onerous too"));
    let slop = |slop| Ask::new(&Query { text: Some(query::read("a b c", Some(slop))), ..query_of_everything() });
    assert!(slop(2).matches("x a y b z c") && !slop(1).matches("x a y b z c") && !slop(9).matches("c b a"));
    assert_eq!(slop(1).filter, "channel = \"1\" AND words = \"a\" AND words = \"b\" AND words = \"c\"");
    let many: String = (0..20).map(|n| format!("lettera{} ", char::from(b'a' + n))).collect();
    let many = ask(&many, Sort::Newest);
    assert!(many.words.split_whitespace().count() < 10 && !many.is_exact());
}

fn query_of_everything() -> Query {
    Query {
        channels: vec![ChannelId(1)],
        text: None,
        with: Vec::new(),
        without: Vec::new(),
        after: None,
        before: None,
        sort: Sort::Newest,
        offset: 0,
        limit: 25,
    }
}

#[test]
fn ids_are_compared_by_halves() {
    let id = (7 << 32) | 9;
    let asked = Ask::new(&Query { after: Some(MessageId(id)), ..query_of_everything() });
    assert_eq!(asked.filter, "channel = \"1\" AND (hi > 7 OR (hi = 7 AND lo > 9))");
    assert_eq!(halves(u64::MAX), (u32::MAX, u32::MAX));
}

fn message(id: u64) -> Document {
    let (channel, guild) = (ChannelId(1), Some(GuildId(3)));
    Document { id: MessageId(id), channel, guild, content: "hello".into(), marks: Vec::new() }
}

#[test]
fn progress_is_written_last() {
    let position = Position { epoch: Epoch(1), offset: 1 };
    let progress = Progress { key: Key::Guild(GuildId(3)), position, ready: true, refill: None };
    let steps = plan(vec![
        Change::Progress(progress.clone()),
        Change::Add(message(5)),
        Change::Delete(MessageId(5)),
        Change::Clear(ChannelId(1), 0..=u64::MAX),
        Change::Put(message(6)),
        Change::Delete(MessageId(7)),
        Change::Keep(GuildId(3), vec![]),
    ]);
    assert_eq!(steps.len(), 6);
    assert_eq!(steps[0], Step::Delete(vec!["5".into()]));
    assert_eq!(steps[1], Step::DeleteWhere("channel = \"1\"".into()));
    assert_eq!(steps[4], Step::DeleteWhere("guild = \"3\"".into()));
    let Step::Put(rows) = &steps[5] else { panic!("{steps:?}") };
    assert_eq!(rows.iter().map(Row::read_progress).collect::<Vec<_>>(), [Ok(progress)]);
    assert!(plan(Vec::new()).is_empty());
}

#[test]
fn large_batches_are_several_requests() {
    let long = Document { content: "word ".repeat(100_000), ..message(1) };
    let all = (1..=40).map(|id| Change::Add(Document { id: MessageId(id), ..long.clone() }));
    let steps = plan(all.collect());
    assert!(steps.len() > 1, "{}", steps.len());
}

proptest! {
    #[test]
    fn nothing_that_is_said_means_anything_in_a_filter(text in "\\PC{0,60}") {
        prop_assert!(marked(&text).chars().all(|c| c.is_ascii_alphanumeric() || ":.-_%".contains(c)));
        for token in crate::index::text::tokens(&text) {
            let spelled = spelled(&token.text);
            prop_assert!(!spelled.is_empty() && spelled.len() <= 250);
            prop_assert!(!spelled.contains(['"', '\\', ' ']), "{spelled}");
        }
    }
}
