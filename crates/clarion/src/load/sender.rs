//! One account that sends, each message when it is due, until it is known what became of it.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep, sleep_until};

use super::run::Run;
use super::schedule::{Chance, Sends, backoff};
use super::stamp::Stamp;

/// Longest wait for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const AGAIN_AFTER: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Of all that is left to chance, what the senders have; sockets have the numbers below.
const PURPOSE: u64 = 1 << 32;

/// What came of a request.
enum Outcome {
    Acknowledged(u64),
    /// The server will not have it; with this answer nothing was made.
    Refused(u16),
    /// The server asks to wait.
    Limited(Duration),
    /// It may have been made.
    Unknown(String),
}

#[derive(Deserialize)]
struct Made<'a> {
    id: &'a str,
}

#[derive(Deserialize)]
struct Limit {
    retry_after: f64,
}

/// Sends all of an account's messages, late ones too, or those that are due until it is told that it is enough.
pub(super) async fn send_all(run: Arc<Run>, sender: usize, sends: Sends, start: Instant) {
    let mut chance = Chance::new(run.options.seed, PURPOSE + sender as u64);
    let authorization = format!("Bot {}", run.workspace.tokens[sender]);
    for number in 0.. {
        let Some(due) = sends.due(sender, number) else { return };
        let due = start + due;
        tokio::select! {
            biased;
            () = run.enough.cancelled() => return,
            () = sleep_until(due) => {}
        }
        // A sender that is behind still owes what was due: only what nobody waits for any more is left out, and counted.
        if is_late(&run, Duration::ZERO) {
            run.state().tally.error("send: given up");
            continue;
        }
        let channel = chance.below(run.workspace.channels.len());
        let due_us = u64::try_from(due.duration_since(run.began).as_micros()).unwrap_or(u64::MAX);
        let stamp = Stamp { run: run.id, sender: sender as u32, number, due_us };
        settle(&run, &authorization, channel, stamp, &mut chance).await;
    }
}

/// Sends a message again and again until it is known what became of it.
async fn settle(run: &Run, authorization: &str, channel: usize, stamp: Stamp, chance: &mut Chance) {
    let mut in_doubt = false;
    for tries in 0.. {
        let outcome = {
            // Closed never, so that the leave always comes.
            let _leave = run.requests.acquire().await;
            let target = run.target(stamp.sender as usize + tries as usize);
            request(run, authorization, &run.messages(target, channel), stamp).await
        };
        in_doubt |= matches!(outcome, Outcome::Unknown(_));
        let Some(wait) = note(run, outcome, channel, stamp, in_doubt) else { return };
        let wait = wait.unwrap_or_else(|| backoff(tries, AGAIN_AFTER.0, AGAIN_AFTER.1, chance));
        if is_late(run, wait) {
            let mut state = run.state();
            state.tally.error("send: given up");
            if in_doubt {
                state.checker.unsettled(channel, stamp.sender, stamp.number);
            }
            return;
        }
        sleep(wait).await;
    }
}

/// Whether nobody waits any more for what comes after a wait.
fn is_late(run: &Run, wait: Duration) -> bool {
    run.state().until.is_some_and(|until| Instant::now() + wait > until)
}

/// Counts what came of a request. `Some`: it is to be tried again, after this time if the server named one.
fn note(run: &Run, outcome: Outcome, channel: usize, stamp: Stamp, in_doubt: bool) -> Option<Option<Duration>> {
    let mut state = run.state();
    let state = &mut *state;
    state.tally.requests += 1;
    match outcome {
        Outcome::Acknowledged(id) => {
            state.tally.acknowledged += 1;
            let took = run.began.elapsed().saturating_sub(Duration::from_micros(stamp.due_us));
            state.moment.ack.record(took);
            state.checker.acknowledged(channel, id, stamp.sender, stamp.number);
            None
        }
        Outcome::Refused(status) => {
            state.tally.error(format!("send: {status}"));
            if in_doubt {
                state.checker.unsettled(channel, stamp.sender, stamp.number);
            }
            None
        }
        Outcome::Limited(wait) => {
            state.tally.error("send: 429");
            Some(Some(wait))
        }
        Outcome::Unknown(kind) => {
            state.tally.error(format!("send: {kind}"));
            Some(None)
        }
    }
}

async fn request(run: &Run, authorization: &str, url: &str, stamp: Stamp) -> Outcome {
    // Content and nonce have no character that JSON would escape.
    let body = format!(
        r#"{{"content":"{}","nonce":"{}","enforce_nonce":true}}"#,
        stamp.content(run.options.content_bytes),
        stamp.nonce()
    );
    let asked = run
        .http
        .post(url)
        .header("authorization", authorization)
        .header("content-type", "application/json")
        .timeout(ANSWER_WITHIN)
        .body(body);
    let answer = match asked.send().await {
        Ok(answer) => answer,
        Err(error) if error.is_timeout() => return Outcome::Unknown("timeout".to_owned()),
        Err(error) if error.is_connect() => return Outcome::Unknown("connect".to_owned()),
        Err(_) => return Outcome::Unknown("broken".to_owned()),
    };
    let status = answer.status();
    let Ok(text) = answer.text().await else { return Outcome::Unknown("broken".to_owned()) };
    match status.as_u16() {
        200 => match serde_json::from_str::<Made<'_>>(&text).ok().and_then(|made| made.id.parse().ok()) {
            Some(id) => Outcome::Acknowledged(id),
            None => Outcome::Unknown("not a message".to_owned()),
        },
        429 => {
            let wait = serde_json::from_str::<Limit>(&text).map_or(1.0, |limit| limit.retry_after);
            Outcome::Limited(Duration::try_from_secs_f64(wait).unwrap_or(Duration::from_secs(1)))
        }
        status @ 400..=499 => Outcome::Refused(status),
        status => Outcome::Unknown(status.to_string()),
    }
}
