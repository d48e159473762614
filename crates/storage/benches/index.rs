//! How fast the embedded index takes messages and answers, beside tantivy by itself in the same run.
//!
//! `cargo bench -p clarion-storage --bench index -- [messages]`. Words follow Zipf's law, in several scripts. Processor time
//! is the whole process's, merges included.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on ends")]

use std::time::{Duration, Instant};

use clarion_model::id::{ChannelId, GuildId, MessageId};
use clarion_model::key::{Epoch, Key, Position};
use clarion_storage::index::{Change, Config, Document, Folder, Index, Indexes, Progress, Query, Sort, mark, query};
use tantivy::indexer::IndexWriterOptions;
use tantivy::schema::{FAST, INDEXED, STRING, Schema, TEXT};
use tantivy::{IndexWriter, TantivyDocument};

const BATCH: usize = 4_096;
const CHANNELS: u64 = 100;
const WORDS: u64 = 60_000;
const MEMORY: usize = 32 << 20;

/// A small generator of numbers, the same every run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// The rank of a word: the first about as often as the second and third together, and so on.
    fn rank(&mut self) -> u64 {
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        ((WORDS as f64).powf(unit) as u64).min(WORDS) - 1
    }
}

/// A word by its rank, the frequent ones short.
fn word(rank: u64, script: u64) -> String {
    let syllables: &[&str] = match script {
        0..=79 => {
            &["ba", "ke", "li", "mo", "nu", "ra", "so", "ti", "ver", "zan", "dé", "ous", "tion", "per", "ing", "ex"]
        }
        80..=89 => {
            &["на", "ко", "ми", "ро", "ле", "ту", "ся", "гра", "во", "де", "ен", "ство", "при", "за", "об", "ть"]
        }
        _ => &["東", "京", "山", "川", "新", "語", "時", "人", "大", "学", "生", "電", "車", "食", "日", "本"],
    };
    let (mut rest, mut word) = (rank + 2, String::new());
    while rest > 0 {
        word.push_str(syllables[(rest % 16) as usize]);
        rest /= 16;
    }
    word
}

fn message(n: u64, chance: &mut Chance) -> Document {
    let (script, length) = (chance.below(100), 3 + chance.below(20));
    let words: Vec<String> = (0..length).map(|_| word(chance.rank(), script)).collect();
    let mut content = words.join(if script >= 90 { "" } else { " " });
    let mut marks = vec![mark::author(1 + chance.rank() % 5_000), mark::author_type("user")];
    if chance.below(20) == 0 {
        content.push_str(" https://example.com/page");
        marks.push(mark::has("link"));
        marks.push("link:example.com".into());
    }
    let channel = ChannelId(1 + chance.below(CHANNELS));
    Document { id: MessageId(1_000 + n), channel, guild: Some(GuildId(1)), content, marks }
}

/// Processor time of the process so far.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// What making the messages costs: taken off the others.
fn generate(count: u64) -> Duration {
    let (begun, mut chance) = (cpu(), Chance(7));
    for n in 0..count {
        std::hint::black_box(message(n, &mut chance));
    }
    cpu() - begun
}

struct Took {
    cpu: Duration,
    wall: Duration,
    bytes: u64,
}

fn raw(count: u64) -> Took {
    let dir = tempfile::tempdir().unwrap();
    let mut schema = Schema::builder();
    let (id, channel) = (schema.add_u64_field("id", INDEXED | FAST), schema.add_u64_field("channel", INDEXED | FAST));
    let guild = schema.add_u64_field("guild", INDEXED);
    let (text, marks) = (schema.add_text_field("text", TEXT), schema.add_text_field("mark", STRING));
    let index = tantivy::Index::create_in_dir(dir.path(), schema.build()).unwrap();
    let options = IndexWriterOptions::builder().memory_budget_per_thread(MEMORY).num_merge_threads(1).build();
    let mut writer: IndexWriter = index.writer_with_options(options).unwrap();
    let (begun, wall, mut chance) = (cpu(), Instant::now(), Chance(7));
    for n in 0..count {
        let message = message(n, &mut chance);
        let mut document = TantivyDocument::new();
        document.add_u64(id, message.id.0);
        document.add_u64(channel, message.channel.0);
        document.add_u64(guild, 1);
        document.add_text(text, &message.content);
        message.marks.iter().for_each(|mark| document.add_text(marks, mark));
        writer.add_document(document).unwrap();
        if (n + 1) % BATCH as u64 == 0 {
            writer.commit().unwrap();
        }
    }
    writer.commit().unwrap();
    writer.wait_merging_threads().unwrap();
    Took { cpu: cpu() - begun, wall: wall.elapsed(), bytes: bytes(dir.path()) }
}

async fn ours(count: u64, folder: &Folder, path: &std::path::Path) -> Took {
    let index = folder.create().await.unwrap();
    let (begun, wall, mut chance) = (cpu(), Instant::now(), Chance(7));
    let mut changes = Vec::new();
    for n in 0..count {
        changes.push(Change::Add(message(n, &mut chance)));
        if changes.len() == BATCH || n + 1 == count {
            let position = Position { epoch: Epoch(1), offset: n + 1 };
            let key = Key::Guild(GuildId(1));
            changes.push(Change::Progress(Progress { key, position, ready: true, refill: None }));
            index.write(std::mem::take(&mut changes)).await.unwrap();
        }
    }
    folder.promote().await.unwrap();
    settle().await;
    Took { cpu: cpu() - begun, wall: wall.elapsed(), bytes: bytes(path) }
}

/// Waits until no merge goes on.
async fn settle() {
    let mut quiet = 0;
    while quiet < 3 {
        let before = cpu();
        tokio::time::sleep(Duration::from_millis(300)).await;
        quiet = if cpu() - before <= Duration::from_millis(10) { quiet + 1 } else { 0 };
    }
}

fn bytes(path: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(path).unwrap().flatten();
    entries.map(|e| if e.path().is_dir() { bytes(&e.path()) } else { e.metadata().map_or(0, |m| m.len()) }).sum()
}

async fn ask(index: &dyn Index, name: &str, make: impl Fn(u64) -> Query) {
    let mut took = Vec::new();
    let mut totals = 0;
    for n in 0..100 {
        let query = make(n);
        let begun = Instant::now();
        totals += index.search(query).await.unwrap().total;
        took.push(begun.elapsed());
    }
    took.sort();
    println!("  {name:<34} p50 {:>9.2?}  p99 {:>9.2?}  {:>8} found on the average", took[49], took[98], totals / 100);
}

#[tokio::main]
async fn main() {
    let count: u64 = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(100_000);
    let dir = tempfile::tempdir().unwrap();
    let folder =
        Folder::new(Config { path: dir.path().join("search"), memory_bytes: MEMORY, min_free: 0, ..Config::default() });
    let making = generate(count);
    // There and back, so that a machine that gets slower or faster meanwhile concerns both.
    let (first, second) = (raw(count), ours(count, &folder, dir.path()).await);
    let (third, fourth) = (ours(count, &folder, dir.path()).await, raw(count));
    let both = |a: Took, b: Took| Took { cpu: a.cpu + b.cpu, wall: a.wall + b.wall, bytes: b.bytes };
    let (raw, ours) = (both(first, fourth), both(second, third));
    let per_s = |took: &Took| 2.0 * count as f64 / took.cpu.saturating_sub(2 * making).as_secs_f64();
    println!("{count} messages twice, batches of {BATCH}, one writer");
    for (name, took) in [("tantivy by itself", &raw), ("the index", &ours)] {
        println!(
            "  {name:<18} {:>8.0} messages per s of processor time, {:>7.1?} in all, {:.0} bytes a message",
            per_s(took),
            took.wall,
            took.bytes as f64 / count as f64
        );
    }
    println!("  ratio {:.2}", per_s(&ours) / per_s(&raw));

    let index = folder.current().await.unwrap().unwrap();
    let all: Vec<ChannelId> = (1..=CHANNELS).map(ChannelId).collect();
    let of = |channels: &[ChannelId], text: String, sort| Query {
        channels: channels.to_vec(),
        text: Some(query::read(&text, None)),
        with: Vec::new(),
        without: Vec::new(),
        after: None,
        before: None,
        sort,
        offset: 0,
        limit: 25,
    };
    let (one, newest) = (&all[..1], Sort::Newest);
    println!("queries, 100 of each, in {CHANNELS} channels unless said");
    let index = &*index;
    ask(index, "a frequent word", |n| of(&all, format!("{} ", word(n % 10, 0)), newest)).await;
    ask(index, "a rare word", |n| of(&all, format!("{} ", word(20_000 + n, 0)), newest)).await;
    ask(index, "a rare word, one channel", |n| of(one, format!("{} ", word(20_000 + n, 0)), newest)).await;
    ask(index, "two words", |n| of(&all, format!("{} {} ", word(5 + n, 0), word(300 + n, 0)), newest)).await;
    ask(index, "a beginning of three letters", |n| of(&all, word(20_000 + n, 0).chars().take(3).collect(), newest))
        .await;
    ask(index, "a phrase", |n| of(&all, format!("\"{} {}\"", word(n % 5, 0), word(3, 0)), newest)).await;
    ask(index, "part of a run of Han", |n| of(&all, word(200 + n, 95), newest)).await;
    ask(index, "two words, the best first", |n| {
        of(&all, format!("{} {} ", word(5 + n, 0), word(300 + n, 0)), Sort::Best)
    })
    .await;
    ask(index, "links of an author", |n| Query {
        text: None,
        with: vec![vec![mark::has("link")], vec![mark::author(1 + n)]],
        ..of(&all, String::new(), newest)
    })
    .await;
    ask(index, "everything, offset 9,975", |_| Query { text: None, offset: 9_975, ..of(&all, String::new(), newest) })
        .await;
}
