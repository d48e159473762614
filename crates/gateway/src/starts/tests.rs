//! How often an account may start sessions, told step by step.

use clarion_storage::cache::{Config, MemoryCache};
use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;

const BOT: UserId = UserId(1);

fn starts(change: impl FnOnce(&mut Identify)) -> Starts {
    let mut rules = Identify::default();
    change(&mut rules);
    Starts::new(rules, Arc::new(MemoryCache::new(&Config::default())))
}

/// Without a shared cache nothing is waited for.
fn take(starts: &Starts, now: Instant, user: UserId, shard: u32) -> Result<Duration, AdmissionRefusal> {
    starts.take(now, user, shard).now_or_never().expect("at once")
}

fn left(starts: &Starts, now: Instant) -> Left {
    starts.left(now, BOT).now_or_never().expect("at once")
}

#[test]
fn the_devices_of_a_person_do_not_wait_for_each_other() {
    let (starts, now) = (starts(|_| {}), Instant::now());
    for _ in 0..5 {
        assert_eq!(take(&starts, now, BOT, 0), Ok(Duration::ZERO));
    }
    assert_eq!(take(&starts, now, BOT, 0), Ok(EVERY), "one more waits for its turn");
    assert_eq!(take(&starts, now, BOT, 0), Err(AdmissionRefusal::Concurrency));
    assert_eq!(left(&starts, now).remaining, 1_000 - 6, "who was refused has used up nothing");
    assert_eq!(take(&starts, now, UserId(2), 0), Ok(Duration::ZERO));
    assert_eq!(take(&starts, now, BOT, 1), Ok(Duration::ZERO), "a bucket of its own");
    assert_eq!(take(&starts, now, BOT, 16), Err(AdmissionRefusal::Concurrency), "shard 16 is in the bucket of shard 0");
}

#[test]
fn a_bot_that_paces_itself_never_waits() {
    let starts = starts(|rules| rules.burst = 1);
    let mut now = Instant::now();
    for _ in 0..4 {
        for shard in 0..16 {
            assert_eq!(take(&starts, now, BOT, shard), Ok(Duration::ZERO));
        }
        now += EVERY;
    }
}

#[test]
fn a_day_has_so_many_and_then_none() {
    let starts = starts(|rules| (rules.session_start_limit, rules.burst) = (3, 100));
    let now = Instant::now();
    assert_eq!(left(&starts, now), Left { remaining: 3, reset_after: DAY });
    for remaining in [2, 1, 0] {
        assert!(take(&starts, now, BOT, 0).is_ok());
        assert_eq!(left(&starts, now + EVERY), Left { remaining, reset_after: DAY - EVERY });
    }
    let last = now + DAY - Duration::from_millis(1);
    assert_eq!(take(&starts, last, BOT, 0), Err(AdmissionRefusal::SessionLimit));
    assert!(take(&starts, now + DAY, BOT, 0).is_ok());
    assert_eq!(left(&starts, now + DAY).remaining, 2);
}

#[test]
fn nothing_is_held_where_it_is_not_wanted() {
    let starts = starts(|rules| (rules.enforced, rules.session_start_limit) = (false, 1));
    for _ in 0..100 {
        assert_eq!(take(&starts, Instant::now(), BOT, 0), Ok(Duration::ZERO));
    }
}

proptest! {
    #[test]
    fn in_the_long_run_a_bucket_has_one_every_five_seconds(
        steps in prop::collection::vec(0u64..4_000, 1..300), burst in 1u32..6,
    ) {
        let starts = starts(|rules| rules.burst = burst);
        let begun = Instant::now();
        let (mut now, mut through, mut last) = (begun, 0u32, begun);
        for step in steps {
            now += Duration::from_millis(step);
            if let Ok(wait) = take(&starts, now, BOT, 0) {
                prop_assert!(wait <= EVERY);
                through += 1;
                last = last.max(now + wait);
            }
            let most = burst + (last - begun).as_secs() as u32 / 5;
            prop_assert!(through <= most, "{} of {}", through, most);
        }
    }
}
