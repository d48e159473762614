//! A store that fails now and then: nothing acknowledged is lost, nothing is told that is not kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use clarion_model::key::{Epoch, Key, Position};
use clarion_storage::{Batch, CommitError, LogPage, Logs, ReadError, Stores, Tail};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tonic::{Code, async_trait};

use super::bench::*;
use crate::Config;
use crate::owner::tests::{ANN, BOSS, guild};

/// Logs whose commits wait for a permit and fail as planned.
struct Faulty {
    inner: Arc<dyn Logs>,
    permits: Semaphore,
    plan: Mutex<VecDeque<Option<CommitError>>>,
    begun: Mutex<Vec<Position>>,
}

impl Faulty {
    fn over(stores: &mut Stores) -> Arc<Self> {
        let faulty = Arc::new(Self {
            inner: stores.logs.clone(),
            permits: Semaphore::new(1_000),
            plan: Mutex::default(),
            begun: Mutex::default(),
        });
        stores.logs = faulty.clone();
        faulty
    }

    /// What comes waits from now on, and then ends as planned.
    fn hold(&self, plan: impl IntoIterator<Item = Option<CommitError>>) {
        self.permits.forget_permits(1_000);
        self.begun.lock().unwrap().clear();
        self.plan.lock().unwrap().extend(plan);
    }

    fn go_on(&self) {
        self.permits.add_permits(1_000);
    }

    async fn until_begun(&self, count: usize) {
        let begun = async {
            while self.begun.lock().unwrap().len() < count {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, begun).await.expect("commits are to begin");
    }
}

#[async_trait]
impl Logs for Faulty {
    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        self.begun.lock().unwrap().extend(batch.entries.iter().map(|entry| entry.position));
        let fault = self.plan.lock().unwrap().pop_front().flatten();
        self.permits.acquire().await.unwrap().forget();
        match fault {
            Some(error) => Err(error),
            None => self.inner.commit(batch).await,
        }
    }

    async fn open(&self, key: Key, epoch: Epoch) -> Result<Tail, CommitError> {
        self.inner.open(key, epoch).await
    }

    async fn read(&self, key: Key, after: Position, limit: usize) -> Result<LogPage, ReadError> {
        self.inner.read(key, after, limit).await
    }

    async fn trim(&self, key: Key, upto: Position) -> Result<(), CommitError> {
        self.inner.trim(key, upto).await
    }
}

async fn faulty_bench() -> (Bench, Client, Arc<Faulty>) {
    let mut bench = Bench::new();
    let mut stores = bench.store.stores();
    let faulty = Faulty::over(&mut stores);
    let mut client = bench.start("channel-1", Config::default(), stores).await;
    let made = clarion_proto::v1::CreateGuildRequest { state: Some((&guild()).into()) };
    client.create_guild(made).await.unwrap();
    (bench, client, faulty)
}

/// Sends one after another without waiting for the answers, and waits until all are being written.
async fn send_held(client: &Client, faulty: &Faulty, texts: &[&str]) -> JoinSet<(usize, Code)> {
    let mut sending = JoinSet::new();
    for (n, text) in texts.iter().enumerate() {
        let (mut client, request) = (client.clone(), create(ANN, text));
        sending.spawn(async move {
            (n, client.create_message(request).await.map_or_else(|status| status.code(), |_| Code::Ok))
        });
        faulty.until_begun(n + 1).await;
    }
    sending
}

/// What became of them, in their order.
async fn codes(sending: JoinSet<(usize, Code)>) -> Vec<Code> {
    let mut sent = sending.join_all().await;
    sent.sort_unstable_by_key(|(n, _)| *n);
    sent.into_iter().map(|(_, code)| code).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_on_their_way_together_and_end_in_order() {
    let (bench, mut client, faulty) = faulty_bench().await;
    let mut gateway = Gateway::following(&mut client, None).await;
    gateway.snapshot().await;
    faulty.hold([]);
    let sending = send_held(&client, &faulty, &["a", "b", "c", "d"]).await;
    assert!(faulty.begun.lock().unwrap().is_sorted_by(|a, b| a.next() == *b));
    faulty.go_on();
    assert_eq!(codes(sending).await, [Code::Ok; 4]);
    let seen = gateway.entries(4).await;
    assert_eq!(seen.iter().filter_map(created).map(|(_, text)| text).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    let log = bench.log().await;
    assert_eq!(essence(&seen), essence(&log[log.len() - 4..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_refuses_and_the_key_goes_on() {
    let (bench, mut client, faulty) = faulty_bench().await;
    let mut gateway = Gateway::following(&mut client, None).await;
    let start = gateway.snapshot().await.0;
    faulty.hold([None, Some(CommitError::Full), None, None]);
    let sending = send_held(&client, &faulty, &["kept", "full", "behind", "behind too"]).await;
    faulty.go_on();
    assert_eq!(codes(sending).await, [Code::Ok, Code::Unavailable, Code::Unavailable, Code::Unavailable]);
    let last = send(&mut client, BOSS, "afterwards").await;
    let log: Vec<_> = bench.log().await.into_iter().filter(|entry| entry.position > start).collect();
    assert!(log.iter().filter_map(created).map(|(id, _)| id).is_sorted_by(|a, b| a < b));
    assert_eq!(created(log.last().unwrap()), Some((last, "afterwards")));
    assert_eq!(essence(&gateway.entries(log.len()).await), essence(&log));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_owner_acknowledges_nothing_and_gives_up() {
    let (bench, mut client, _) = faulty_bench().await;
    let mut gateway = Gateway::following(&mut client, None).await;
    gateway.snapshot().await;
    bench.store.stores().slots.raise(&[KEY.slot()], "somebody else").await.unwrap();
    let before = bench.log().await.len();
    let status = client.create_message(create(ANN, "too late")).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(bench.log().await.len(), before);
    assert!(matches!(gateway.next().await, Some(clarion_proto::v1::follow_response::Response::Moved(_))));
    let slot = u32::from(KEY.slot().0);
    bench.router.until(|held| !held["channel-1"].contains(&slot)).await;
    assert_eq!(client.create_message(create(ANN, "again")).await.unwrap_err().code(), Code::FailedPrecondition);
    bench.capture.wait_for_lines(|lines| lines.iter().any(|line| line["event"] == "slot.fenced")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_store_ends_the_process() {
    let (bench, mut client, faulty) = faulty_bench().await;
    faulty.plan.lock().unwrap().push_back(Some(CommitError::Failed("broken".into())));
    let status = client.create_message(create(ANN, "lost")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    tokio::time::timeout(PATIENCE, bench.process.fatal().cancelled()).await.unwrap();
}
