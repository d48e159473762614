//! The rules of a cache. They wait for something to run out, as briefly as that can be told apart from being there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::cache::{Cache, CacheError, CacheKey, Row, Turn, Window};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs every rule. `kind` and what is under it must be nobody else's.
pub async fn cache_suite(cache: &dyn Cache, kind: &'static str) {
    a_hash_is_what_was_written(cache, kind).await;
    a_change_names_what_it_changes(cache, kind).await;
    what_is_not_renewed_runs_out(cache, kind).await;
    hashes_are_listed_by_kind(cache, kind).await;
    a_window_has_room_for_so_many_until_it_ends(cache, kind).await;
    windows_are_counted_in_turn(cache, kind).await;
    turns_come_one_after_another(cache, kind).await;
    who_comes_at_the_same_moment_is_counted_once(cache, kind).await;
}

fn fields(of: &[(&str, &str)]) -> BTreeMap<String, Bytes> {
    of.iter().map(|(field, value)| ((*field).to_owned(), Bytes::copy_from_slice(value.as_bytes()))).collect()
}

fn set(field: &str, value: &str) -> (String, Option<Bytes>) {
    (field.to_owned(), Some(Bytes::copy_from_slice(value.as_bytes())))
}

async fn a_hash_is_what_was_written(cache: &dyn Cache, kind: &'static str) {
    let key = CacheKey::new(kind, "written");
    cache.forget(&key).await.unwrap();
    assert_eq!(cache.read(&key).await, Ok(None));
    let first = cache.replace(&key, fields(&[("a", "1"), ("b", "2")]), LONG).await.unwrap();
    let read = cache.read(&key).await.unwrap().unwrap();
    assert_eq!((read.version, read.fields), (first, fields(&[("a", "1"), ("b", "2")])));
    let second = cache.replace(&key, fields(&[("c", "")]), LONG).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(cache.read(&key).await.unwrap().unwrap().fields, fields(&[("c", "")]));
    cache.replace(&key, BTreeMap::new(), LONG).await.unwrap();
    assert_eq!(cache.read(&key).await.unwrap().unwrap().fields, BTreeMap::new(), "empty is not absent");
    cache.forget(&key).await.unwrap();
    assert_eq!(cache.read(&key).await, Ok(None));
}

async fn a_change_names_what_it_changes(cache: &dyn Cache, kind: &'static str) {
    let key = CacheKey::new(kind, "changed");
    let first = cache.replace(&key, fields(&[("a", "1"), ("b", "2")]), LONG).await.unwrap();
    let changes = vec![set("a", "3"), ("b".to_owned(), None), ("x".to_owned(), None), set("c", "4")];
    let second = cache.change(&key, first, changes, LONG).await.unwrap();
    let read = cache.read(&key).await.unwrap().unwrap();
    assert_eq!((read.version, read.fields), (second, fields(&[("a", "3"), ("c", "4")])));
    assert_eq!(cache.change(&key, first, vec![set("a", "5")], LONG).await, Err(CacheError::Conflict));
    assert_eq!(cache.renew(&key, first, LONG).await, Err(CacheError::Conflict));
    assert_eq!(cache.renew(&key, second, LONG).await, Ok(()));
    cache.forget(&key).await.unwrap();
    assert_eq!(cache.change(&key, second, vec![set("a", "5")], LONG).await, Err(CacheError::Conflict));
    let anew = cache.replace(&key, BTreeMap::new(), LONG).await.unwrap();
    assert!(anew != first && anew != second, "no version comes twice");
}

async fn what_is_not_renewed_runs_out(cache: &dyn Cache, kind: &'static str) {
    let (kept, left) = (CacheKey::new(kind, "kept"), CacheKey::new(kind, "left"));
    let version = cache.replace(&kept, fields(&[("a", "1")]), SHORT).await.unwrap();
    let renewed = cache.renew(&kept, version, LONG).await;
    let gone = cache.replace(&left, fields(&[("a", "1")]), SHORT).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while cache.read(&left).await.unwrap().is_some() {
        assert!(Instant::now() < deadline, "it runs out");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(cache.renew(&left, gone, LONG).await, Err(CacheError::Conflict));
    // On a machine that is too busy it had run out before it was renewed, which it then said.
    let is_there = cache.read(&kept).await.unwrap().is_some();
    assert_eq!(is_there, renewed.is_ok());
}

async fn hashes_are_listed_by_kind(cache: &dyn Cache, kind: &'static str) {
    let key = CacheKey::new(kind, "listed");
    cache.replace(&key, BTreeMap::new(), LONG).await.unwrap();
    assert!(cache.list(kind).await.unwrap().contains(&"listed".to_owned()));
    cache.forget(&key).await.unwrap();
    assert!(!cache.list(kind).await.unwrap().contains(&"listed".to_owned()));
    assert_eq!(cache.list("conformance:nobody").await, Ok(Vec::new()));
}

/// A window that no other run of the suite has begun.
fn window(kind: &'static str, name: &str, limit: u32, length: Duration) -> Window {
    let mut chance = [0; 8];
    getrandom::fill(&mut chance).unwrap();
    Window { key: CacheKey::new(kind, format!("{name}:{:x}", u64::from_ne_bytes(chance))), limit, length }
}

async fn a_window_has_room_for_so_many_until_it_ends(cache: &dyn Cache, kind: &'static str) {
    let three = [window(kind, "three", 3, LONG)];
    for used in [1, 2, 3, 3, 3] {
        let counts = cache.count(&three).await.unwrap();
        assert_eq!(counts.len(), 1);
        assert!(counts[0].used == used && counts[0].ends_in <= LONG && counts[0].ends_in > LONG / 2, "{counts:?}");
    }
    assert!(!cache.count(&three).await.unwrap()[0].counted);
    let none = cache.count(&[window(kind, "none", 0, LONG)]).await.unwrap();
    assert_eq!((none[0].counted, none[0].used), (false, 0));
    let brief = [window(kind, "brief", 1, SHORT)];
    let begun = Instant::now();
    assert!(cache.count(&brief).await.unwrap()[0].counted);
    while !cache.count(&brief).await.unwrap()[0].counted {
        assert!(begun.elapsed() < PATIENCE, "it ends");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(
        begun.elapsed() >= SHORT - Duration::from_millis(1),
        "it ends when its time is over: {:?}",
        begun.elapsed()
    );
}

async fn windows_are_counted_in_turn(cache: &dyn Cache, kind: &'static str) {
    let (wide, narrow) = (window(kind, "wide", 10, LONG), window(kind, "narrow", 2, LONG));
    let both = [wide.clone(), narrow.clone()];
    for _ in 0..2 {
        assert!(cache.count(&both).await.unwrap().iter().all(|count| count.counted));
    }
    let refused = cache.count(&both).await.unwrap();
    assert_eq!(refused.iter().map(|count| (count.counted, count.used)).collect::<Vec<_>>(), [(true, 3), (false, 2)]);
    // What comes after one that is full is not looked at.
    let first = cache.count(&[narrow, wide.clone()]).await.unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!(cache.count(&[wide]).await.unwrap()[0].used, 4);
}

fn row(kind: &'static str, at_once: u32, longest: Duration) -> Row {
    Row { key: window(kind, "row", 0, LONG).key, every: LONG, at_once, longest }
}

/// Two come at once, two more wait, each for one turn more, and then there is no room.
async fn turns_come_one_after_another(cache: &dyn Cache, kind: &'static str) {
    let (day, row) = (window(kind, "day", 10, 10 * LONG), row(kind, 2, 2 * LONG));
    let near = |time: Duration, wanted: Duration| time <= wanted && time + LONG / 2 > wanted;
    for (used, waits) in [(1, 0), (2, 0), (3, 1), (4, 2)] {
        let Turn { wait, count, clear_in } = cache.turn(&day, &row).await.unwrap();
        let waits = LONG * waits;
        assert!(wait.is_some_and(|wait| near(wait, waits)), "{wait:?} of {waits:?}");
        assert_eq!((count.counted, count.used), (true, used));
        assert!(near(count.ends_in, 10 * LONG) && near(clear_in, LONG * used), "{count:?} {clear_in:?}");
    }
    let refused = cache.turn(&day, &row).await.unwrap();
    assert_eq!((refused.wait, refused.count.counted, refused.count.used), (None, false, 4));
    assert!(near(refused.clear_in, 4 * LONG), "who is refused takes no turn: {refused:?}");
    // A row of its own has room; a window that is full has none, whatever the row.
    let other = self::row(kind, 1, LONG);
    assert_eq!(cache.turn(&day, &other).await.unwrap().wait, Some(Duration::ZERO));
    let full = Window { limit: 5, ..day };
    let another = self::row(kind, 9, LONG);
    let refused = cache.turn(&full, &another).await.unwrap();
    assert_eq!((refused.wait, refused.count.used, refused.clear_in), (None, 5, Duration::ZERO));
}

async fn who_comes_at_the_same_moment_is_counted_once(cache: &dyn Cache, kind: &'static str) {
    let (day, row) = (window(kind, "moment", 20, LONG), row(kind, 100, LONG));
    let all = futures_util::future::join_all((0..50).map(|_| cache.turn(&day, &row))).await;
    let all: Vec<Turn> = all.into_iter().collect::<Result<_, _>>().unwrap();
    let mut counted: Vec<u32> = all.iter().filter(|turn| turn.wait.is_some()).map(|turn| turn.count.used).collect();
    counted.sort_unstable();
    assert_eq!(counted, (1..=20).collect::<Vec<_>>());
    assert!(all.iter().all(|turn| turn.wait.is_some() == turn.count.counted));
}
