#![allow(missing_docs, clippy::unwrap_used)]
use clarion_model::event::{Event, GuildEvent, LogEntry};
use clarion_model::id::*;
use clarion_model::key::*;
use clarion_model::message::*;
use clarion_model::time::Timestamp;
use clarion_model::user::User;
use clarion_observability::{Config as O, Process};
use clarion_storage::embedded::{Config, Embedded};
use clarion_storage::*;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

fn batch(n: u64, epoch: Epoch, offset: u64, id: u64) -> Batch {
    let message = Message {
        id: MessageId(id),
        channel_id: ChannelId(n),
        guild_id: None,
        author: User { id: UserId(7), username: "w".into(), global_name: None, bot: false },
        content: "x".repeat(300),
        at: Timestamp::default(),
        edited_at: None,
        tts: false,
        mention_everyone: false,
        mentions: vec![],
        mention_roles: vec![],
        reply_to: None,
        embeds_json: String::new(),
        flags: 0,
        nonce: None,
    };
    let key = Key::Guild(GuildId(n));
    let e = LogEntry {
        key,
        position: Position { epoch, offset },
        at: Timestamp::default(),
        traceparent: String::new(),
        event: Event::Guild(GuildEvent::MessageCreate(MessageView { message, reactions: vec![], referenced: None })),
    };
    let used = NonceRow {
        channel_id: ChannelId(n),
        author_id: UserId(7),
        nonce: Nonce::Number(id as i64),
        message_id: MessageId(id),
        at: Timestamp::from_millis(id),
    };
    Batch { key, epoch, entries: vec![e], nonce: Some(used) }
}
fn pct(mut v: Vec<Duration>, what: &str) {
    v.sort();
    if v.is_empty() {
        return;
    }
    let p = |q: f64| v[((v.len() - 1) as f64 * q) as usize];
    println!(
        "  {what}: n={} p50={:?} p99={:?} p99.9={:?} max={:?}",
        v.len(),
        p(0.5),
        p(0.99),
        p(0.999),
        v[v.len() - 1]
    );
}
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let dir = std::path::PathBuf::from(std::env::args().nth(1).unwrap());
    let secs: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let t = Process::with_output(&O::default(), Box::new(std::io::sink())).unwrap().service("m", "0");
    let s = Embedded::open(&Config { path: dir, ..Config::default() }, &t).unwrap();
    let stores = s.stores();
    let mut next = 1u64;
    for writers in [1u64, 8, 64, 256] {
        let end = Instant::now() + Duration::from_secs(secs);
        let mut set = JoinSet::new();
        let base = next;
        for n in base..base + writers {
            let stores = stores.clone();
            let slot = Key::Guild(GuildId(n)).slot();
            stores.slots.raise(&[slot], "m").await.unwrap();
            set.spawn(async move {
                let mut lat = vec![];
                let mut o = 0;
                while Instant::now() < end {
                    let epoch = stores.slots.get(slot).await.unwrap().epoch;
                    o += 1;
                    let at = Instant::now();
                    if stores.logs.commit(batch(n, epoch, o, o)).await.is_ok() {
                        lat.push(at.elapsed());
                    }
                }
                lat
            });
        }
        let reader = {
            let stores = stores.clone();
            tokio::task::spawn(async move {
                let (mut pages, mut gets) = (vec![], vec![]);
                let mut i = 0u64;
                while Instant::now() < end {
                    i += 1;
                    let ch = ChannelId(1 + i % (base + writers));
                    let at = Instant::now();
                    stores.messages.page(ch, Anchor::Latest, 50).await.unwrap();
                    pages.push(at.elapsed());
                    let at = Instant::now();
                    stores.messages.get(ch, MessageId(1 + i % 100)).await.unwrap();
                    gets.push(at.elapsed());
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                (pages, gets)
            })
        };
        let mut all = vec![];
        while let Some(l) = set.join_next().await {
            all.extend(l.unwrap());
        }
        let (p, g) = reader.await.unwrap();
        println!("{writers} writers: {}/s", all.len() as u64 / secs);
        pct(all, "commit");
        pct(p, "page(50)");
        pct(g, "get");
        next += writers;
    }
    let m = t.process().render_metrics();
    for l in m.lines().filter(|l| l.starts_with("db_commit") && (l.contains("_count") || l.contains("_sum"))) {
        println!("{l}");
    }
    drop(stores);
    let at = Instant::now();
    drop(s);
    println!("close {:?}", at.elapsed());
}
