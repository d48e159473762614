//! What only the inside shows: what is on the disk, and which schema it has.

use clarion_model::id::{ChannelId, GuildId, MessageId, UserId};
use clarion_model::key::{Key, Position, Slot};
use clarion_model::limits::NONCE_TTL;
use clarion_model::message::Nonce;
use clarion_model::time::Timestamp;
use clarion_observability::{Config as Observability, Process, Telemetry};
use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};

use super::committer::Work;
use super::db::Db;
use super::handle::Queue;
use super::pending::{Change, Pending, Rows};
use super::schema::{self, Table};
use super::{Config, Embedded};
use crate::{Batch, NonceRow, OpenError};

fn telemetry() -> Telemetry {
    Process::with_output(&Observability::default(), Box::new(std::io::sink())).unwrap().service("storage-test", "0")
}

fn config(dir: &tempfile::TempDir) -> Config {
    Config { path: dir.path().into(), ..Config::default() }
}

fn count(db: &Db, table: Table) -> usize {
    db.view().prefix(table, &[]).count()
}

#[tokio::test]
async fn forgotten_nonces_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir);
    {
        let store = Embedded::open(&config, &telemetry()).unwrap();
        let stores = store.stores();
        let key = Key::Guild(GuildId(1));
        let epoch = stores.slots.raise(&[key.slot()], "test").await.unwrap()[0];
        for n in 1..=1_000 {
            // Ten in the time that a nonce is remembered.
            let at = Timestamp::from_micros(n * NONCE_TTL.as_micros() as u64 / 10);
            let (channel_id, author_id) = (ChannelId(1), UserId(1));
            let nonce =
                NonceRow { channel_id, author_id, nonce: Nonce::Number(n as i64), message_id: MessageId(n), at };
            stores.logs.commit(Batch { key, epoch, entries: Vec::new(), nonce: Some(nonce) }).await.unwrap();
        }
    }
    let db = Db::open(&config).unwrap();
    assert!(count(&db, Table::Nonces) <= 11, "{} nonces", count(&db, Table::Nonces));
    assert_eq!(count(&db, Table::Nonces), count(&db, Table::NonceAges));
}

#[test]
fn a_newer_schema_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir);
    let version = |version: u32| {
        Rows::from([((Table::Meta, schema::VERSION_KEY.to_vec()), Some(version.to_be_bytes().to_vec()))])
    };
    Db::open(&config).unwrap().write(version(schema::VERSION + 1)).unwrap();
    let refused = Db::open(&config).map(|_| ());
    let known = schema::VERSION;
    assert!(matches!(refused, Err(OpenError::Schema { found, known: k, .. }) if found == known + 1 && k == known));
}

#[test]
fn an_older_schema_is_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir);
    let key = || (Table::Meta, schema::VERSION_KEY.to_vec());
    Db::open(&config).unwrap().write(Rows::from([(key(), Some(1u32.to_be_bytes().to_vec()))])).unwrap();
    let db = Db::open(&config).unwrap();
    let found = db.view().get(Table::Meta, schema::VERSION_KEY).unwrap();
    assert_eq!(found.as_deref(), Some(&schema::VERSION.to_be_bytes()[..]));
}

#[test]
fn the_last_change_of_a_row_counts() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&config(&dir)).unwrap();
    let put = |key: &str, value: &str| Change::Put(Table::Users, key.into(), value.into());
    let write = |changes: Vec<Change>| {
        let mut pending = Pending::new(db.view());
        for change in changes {
            pending.apply(change).unwrap();
        }
        db.write(pending.into_rows()).unwrap();
    };
    let found = || {
        let rows = db.view().prefix(Table::Users, &[]).map(|row| row.unwrap());
        rows.map(|(k, v)| format!("{}={}", String::from_utf8_lossy(&k), String::from_utf8_lossy(&v)))
            .collect::<Vec<_>>()
    };
    write(vec![put("a1", "x"), put("a2", "x"), put("b", "x"), put("a1", "y")]);
    assert_eq!(found(), ["a1=y", "a2=x", "b=x"]);
    let prefix = Change::DeletePrefix(Table::Users, "a".into());
    write(vec![put("a3", "z"), prefix, put("a4", "z"), Change::Delete(Table::Users, "b".into()), put("b", "z")]);
    assert_eq!(found(), ["a4=z", "b=z"]);
}

#[test]
fn positions_sort_as_bytes() {
    let key = Key::Guild(GuildId(1));
    let at = |epoch, offset| schema::log(key, Position { epoch: clarion_model::key::Epoch(epoch), offset });
    assert!(at(1, 255) < at(1, 256) && at(1, u64::MAX) < at(2, 0) && at(255, 0) < at(256, 0));
}

/// Those who waited have been given places and not come yet, and there are more places: who comes now comes last.
#[tokio::test]
async fn nobody_overtakes_in_a_full_queue() {
    let (send, mut work) = mpsc::channel(4);
    let queue = Queue::new(send);
    let puts = (0..7u16).map(|n| {
        let (answer, _) = oneshot::channel();
        queue.put(Work::Raise { slots: vec![Slot(n)], owner: String::new(), answer })
    });
    let mut puts: Vec<_> = puts.map(|put| put.boxed().fuse()).collect();
    let mut taken = Vec::new();
    let mut take = |work: &mut mpsc::Receiver<Work>| {
        while let Ok(Work::Raise { slots, .. }) = work.try_recv() {
            taken.push(slots[0].0);
        }
    };
    for put in &mut puts[..6] {
        let _ = put.now_or_never();
    }
    take(&mut work);
    let _ = (&mut puts[6]).now_or_never();
    for put in &mut puts {
        let _ = put.now_or_never();
        take(&mut work);
    }
    assert_eq!(taken, [0, 1, 2, 3, 4, 5, 6]);
}
