//! What processes tell each other of logs that have grown: a table of the last minutes, beside the writing itself. Who
//! follows all logs looks there; what is lost on the way is found by looking at everything now and then.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use clarion_model::key::Key;
use clarion_model::time::Timestamp;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::client::{Client, Fault};
use super::schema;
use crate::error::ReadError;
use crate::growth::Growth;

/// How often is told, and listened.
const PERIOD: Duration = Duration::from_millis(500);
/// How long ago something may be that is heard of now: the clocks' difference, and the writing.
const WINDOW_MS: i64 = 30_000;
/// How often whoever follows looks at everything.
const LOOK: Duration = Duration::from_secs(300);
/// The partitions of a minute, so that no node has all of them.
const PARTS: u16 = 8;
const MINUTE_MS: i64 = 60_000;
/// Rows on their way at a time.
const WIDTH: usize = 32;

/// What is to be told, and what was.
pub(super) struct News {
    client: Arc<Client>,
    pub(super) growth: Growth,
    /// Logs of this process that others have not been told of yet. Each key once, of those that this process writes.
    untold: Mutex<BTreeSet<Key>>,
}

/// What has been heard, or told: within the window, each once.
#[derive(Default)]
struct Heard(BTreeSet<(i64, Key)>);

impl News {
    pub(super) fn new(client: Arc<Client>) -> Self {
        Self { client, growth: Growth::new(), untold: Mutex::default() }
    }

    /// Logs that this process writes have grown, and what they have grown by is acknowledged.
    pub(super) fn tell(&self, keys: impl Iterator<Item = Key>) {
        let keys: BTreeSet<Key> = keys.filter(|key| !matches!(key, Key::User(_))).collect();
        self.untold().extend(keys.iter().copied());
        self.growth.tell(keys);
    }

    fn untold(&self) -> std::sync::MutexGuard<'_, BTreeSet<Key>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells and listens for as long as the store is open.
    pub(super) async fn run(self: Arc<Self>) {
        let mut heard = Heard::default();
        let (mut looked, mut listened) = (Instant::now(), Instant::now());
        loop {
            tokio::time::sleep(PERIOD).await;
            // Who is not told now is told the next time.
            let told = self.write().await;
            heard.0.extend(told.into_iter().flatten());
            if !self.growth.is_watched() {
                listened = Instant::now();
                continue;
            }
            let from = now() - WINDOW_MS;
            match self.read(from).await {
                Ok(rows) => {
                    self.growth.tell(heard.fresh(rows, from));
                    let missed = listened.elapsed().as_millis() as i64 > WINDOW_MS / 2;
                    listened = Instant::now();
                    if missed || looked.elapsed() > LOOK {
                        looked = Instant::now();
                        self.growth.forget();
                    }
                }
                // Counted where requests are; what is missed meanwhile is looked for when there is an answer again.
                Err(_) => continue,
            }
        }
    }

    /// Tells others what is to be told. Answers with what was.
    pub(super) async fn write(&self) -> Result<Vec<(i64, Key)>, Fault> {
        let keys = std::mem::take(&mut *self.untold());
        let at = now();
        let rows: Vec<_> = keys.iter().map(|key| self.write_row(at, *key)).collect();
        let written: Result<Vec<_>, Fault> = stream::iter(rows).buffer_unordered(WIDTH).try_collect().await;
        if written.is_err() {
            self.untold().extend(keys);
        }
        written
    }

    async fn write_row(&self, at: i64, key: Key) -> Result<(i64, Key), Fault> {
        let (part, (kind, id)) = ((key.slot().0 % PARTS) as i8, schema::key(key));
        let row = (part, (at / MINUTE_MS) as i32, at, kind, id);
        self.client.send(&self.client.bind(&self.client.statements.put_growth, &row)?).await?;
        Ok((at, key))
    }

    /// What was told since an instant, by a clock that may be ahead of this one.
    async fn read(&self, from: i64) -> Result<BTreeSet<(i64, Key)>, ReadError> {
        let minutes = from / MINUTE_MS..=(from + 2 * WINDOW_MS) / MINUTE_MS;
        let reads = minutes.flat_map(|minute| (0..PARTS).map(move |part| (part as i8, minute as i32, from)));
        let reads = reads.map(async |place| {
            let mut rows = BTreeSet::new();
            let each = |(at, kind, id): (i64, i8, i64)| {
                rows.insert((at, schema::key_of(kind, id)?));
                Ok(std::ops::ControlFlow::Continue(()))
            };
            self.client.pages(self.client.bind(&self.client.statements.growth, &place), each).await?;
            Ok::<_, ReadError>(rows)
        });
        let read: Vec<_> = stream::iter(reads).buffer_unordered(WIDTH).try_collect().await?;
        Ok(read.into_iter().flatten().collect())
    }
}

impl Heard {
    /// The keys of those rows that were not heard before. What is older than the window is forgotten.
    fn fresh(&mut self, rows: BTreeSet<(i64, Key)>, from: i64) -> BTreeSet<Key> {
        let fresh = rows.difference(&self.0).map(|(_, key)| *key).collect();
        self.0.extend(rows);
        self.0.retain(|(at, _)| *at >= from);
        fresh
    }
}

fn now() -> i64 {
    schema::number(Timestamp::from(SystemTime::now()).as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clarion_model::id::GuildId;

    #[test]
    fn what_was_heard_is_not_news() {
        let key = |id| Key::Guild(GuildId(id));
        let rows = |rows: &[(i64, u64)]| rows.iter().map(|(at, id)| (*at, key(*id))).collect::<BTreeSet<_>>();
        let mut heard = Heard::default();
        heard.0.extend(rows(&[(100, 1)]));
        assert_eq!(heard.fresh(rows(&[(100, 1), (100, 2)]), 0), BTreeSet::from([key(2)]), "its own it knows");
        assert_eq!(heard.fresh(rows(&[(100, 1), (100, 2), (101, 1)]), 50), BTreeSet::from([key(1)]));
        assert!(heard.fresh(rows(&[(101, 1)]), 101).is_empty());
        assert_eq!(heard.0, rows(&[(101, 1)]), "no more than the window");
    }
}
