//! After a take-over all followers come at once. Whoever asks for something does not wait behind them.

use std::sync::{Arc, Mutex};

use clarion_model::id::GuildId;
use clarion_model::key::{Epoch, Key, Position};
use clarion_proto::v1;
use clarion_storage::{Batch, CommitError, LogPage, Logs, ReadError, Tail};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tonic::async_trait;

use super::bench::*;
use crate::Config;
use crate::keys::LOADING;
use crate::owner::tests::guild;

/// Logs that are opened when there is a permit; that of the guild at once.
struct Slow {
    inner: Arc<dyn Logs>,
    permits: Semaphore,
    opening: Mutex<Vec<Key>>,
}

#[async_trait]
impl Logs for Slow {
    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        self.inner.commit(batch).await
    }

    async fn open(&self, key: Key, epoch: Epoch) -> Result<Tail, CommitError> {
        self.opening.lock().unwrap().push(key);
        if key != KEY {
            self.permits.acquire().await.unwrap().forget();
        }
        self.inner.open(key, epoch).await
    }

    async fn read(&self, key: Key, after: Position, limit: usize) -> Result<LogPage, ReadError> {
        self.inner.read(key, after, limit).await
    }

    async fn trim(&self, key: Key, upto: Position) -> Result<(), CommitError> {
        self.inner.trim(key, upto).await
    }
}

impl Slow {
    fn opening(&self) -> Vec<Key> {
        self.opening.lock().unwrap().clone()
    }

    async fn until_opening(&self, so: impl Fn(&[Key]) -> bool) {
        let opening = async {
            while !so(&self.opening()) {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, opening).await.expect("they are to be opened");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_does_not_wait_behind_all_who_follow() {
    let mut bench = Bench::new();
    let mut stores = bench.store.stores();
    let slow = Arc::new(Slow { inner: stores.logs.clone(), permits: Semaphore::new(0), opening: Mutex::default() });
    stores.logs = slow.clone();
    let mut client = bench.start("channel-1", Config::default(), stores).await;
    let followed: Vec<Key> = (1..=2 * LOADING as u64).map(|n| Key::Guild(GuildId(n))).collect();
    let mut gateway = Gateway::join(&mut client).await;
    for key in &followed {
        gateway.follow(*key, None).await;
    }
    slow.until_opening(|opening| opening.len() == LOADING).await;

    // A key that nobody follows, and one that waits for its turn.
    let made = client.create_guild(v1::CreateGuildRequest { state: Some((&guild()).into()) });
    tokio::time::timeout(PATIENCE, made).await.expect("it is opened at once").unwrap();
    let late = *followed.iter().find(|key| !slow.opening().contains(key)).unwrap();
    let (mut asking, request) = (client.clone(), v1::GetGuildRequest { key: Some(late.into()), actor_id: 0 });
    let mut asked = JoinSet::new();
    asked.spawn(async move { asking.get_guild(request).await });
    slow.until_opening(|opening| opening.contains(&late)).await;
    assert_eq!(slow.opening().len(), LOADING + 2, "the others still wait");

    slow.permits.add_permits(followed.len());
    asked.join_next().await.unwrap().unwrap().unwrap_err();
    for _ in &followed {
        gateway.snapshot().await;
    }
    assert_eq!(slow.opening().len(), followed.len() + 1);
}
