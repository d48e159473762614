//! Logs, histories, restarts, and what is put right.

use clarion_model::event::GuildEvent;
use clarion_model::id::MessageId;
use clarion_storage::index::{Change, Document};

use super::bench::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_the_log_has_lost_is_read_from_the_store() {
    let mut bench = Bench::new().await;
    for _ in 0..13 {
        bench.say(TEXT, &["of old"; 100]).await;
    }
    bench.say(OTHER, &["of old"; 7]).await;
    bench.trim().await;
    bench.say(TEXT, &["of late"]).await;
    bench.start(|_| {}).await;
    bench.until(Some("old "), 1_307).await;
    bench.until(Some("late "), 1).await;
    bench.say(TEXT, &["of late"]).await;
    bench.until(Some("late "), 2).await;
    bench.until(None, 1_309).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_while_it_was_away_is_made_up_for() {
    for trimmed in [false, true] {
        let mut bench = Bench::new().await;
        bench.start(|_| {}).await;
        let said = bench.say(TEXT, &["one", "two", "three"]).await;
        bench.say(OTHER, &["elsewhere"]).await;
        bench.until(None, 4).await;
        bench.stop();
        bench
            .write([
                GuildEvent::MessageUpdate(view(TEXT, said[0].0, "changed")),
                GuildEvent::MessageDelete { channel_id: TEXT, id: said[1] },
                GuildEvent::ChannelDelete(OTHER),
            ])
            .await;
        bench.say(TEXT, &["four"]).await;
        if trimmed {
            bench.trim().await;
            bench.say(TEXT, &["five"]).await;
        }
        bench.start(|_| {}).await;
        bench.until(None, if trimmed { 4 } else { 3 }).await;
        bench.until(Some("changed "), 1).await;
        for gone in ["one ", "two ", "elsewhere "] {
            assert_eq!(bench.find(Some(gone)).await.total, 0, "{gone}, trimmed: {trimmed}");
        }
        assert_eq!(bench.metric("search_rebuilds_total"), 1.0, "the first index, and no other");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_index_is_built_anew() {
    let mut bench = Bench::new().await;
    bench.start(|_| {}).await;
    bench.say(TEXT, &["lasting"; 30]).await;
    bench.until(None, 30).await;
    bench.stop();
    let folder = bench.index_folder();
    let name = std::fs::read_to_string(folder.join("current")).unwrap();
    std::fs::write(folder.join(name.trim()).join("meta.json"), "nonsense").unwrap();
    bench.start(|_| {}).await;
    bench.until(None, 30).await;
    assert!(!bench.capture.lines_of("index.failed").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn index_and_store_are_compared_and_put_right() {
    let mut bench = Bench::new().await;
    let said = bench.say(TEXT, &["kept"; 20]).await;
    bench.start(|config| config.audit_s = 1).await;
    bench.until(None, 20).await;
    let (index, _) = bench.serving.get().unwrap();
    let other = |id, content: &str| Document {
        id: MessageId(id),
        channel: TEXT,
        guild: Some(GUILD),
        content: content.into(),
        marks: Vec::new(),
    };
    // One is missing, one was never said, one is there twice.
    let twice = Change::Add(other(said[9].0, "kept"));
    let wrong = vec![Change::Delete(said[3]), Change::Add(other(1, "ghost")), Change::Add(other(2, "ghost")), twice];
    index.write(wrong).await.unwrap();
    bench.until_metric("search_repaired_total", |repaired| repaired > 0.0).await;
    bench.until(Some("ghost "), 0).await;
    bench.until(Some("kept "), 20).await;
    assert!(!bench.capture.lines_of("index.repaired").is_empty());
}
