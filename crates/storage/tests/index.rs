//! The embedded index keeps the rules of every index, and its own: it notices when it is gone or damaged.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use clarion_model::id::{ChannelId, GuildId, MessageId};
use clarion_storage::index::{Change, Config, Document, Folder, IndexError, Indexes, conformance};

fn config(path: &Path) -> Config {
    Config { path: path.join("search"), min_free: 0, ..Config::default() }
}

fn message(id: u64) -> Change {
    let (channel, guild) = (ChannelId(2), Some(GuildId(1)));
    Change::Add(Document { id: MessageId(id), channel, guild, content: "hello".into(), marks: Vec::new() })
}

#[tokio::test]
async fn keeps_the_rules() {
    let dir = tempfile::tempdir().unwrap();
    conformance::suite(|| Folder::new(config(dir.path()))).await;
}

#[tokio::test]
async fn without_room_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let index = Folder::new(Config { min_free: u64::MAX, ..config(dir.path()) }).create().await.unwrap();
    assert!(matches!(index.write(vec![message(3)]).await, Err(IndexError::Full(_))));
    assert_eq!(index.count(ChannelId(2), MessageId(9)).await, Ok(0));
}

#[tokio::test]
async fn a_deleted_folder_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(config(dir.path()));
    let index = folder.create().await.unwrap();
    folder.promote().await.unwrap();
    index.write(vec![message(3)]).await.unwrap();
    fs::remove_dir_all(dir.path().join("search")).unwrap();
    assert!(matches!(index.check().await, Err(IndexError::Lost(_))));
    assert!(matches!(index.write(vec![message(4)]).await, Err(IndexError::Lost(_))));
    assert!(folder.current().await.unwrap().is_none());
    let anew = folder.create().await.unwrap();
    anew.write(vec![message(4)]).await.unwrap();
    assert_eq!(anew.count(ChannelId(2), MessageId(9)).await, Ok(1));
}

#[tokio::test]
async fn a_damaged_file_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(config(dir.path()));
    let index = folder.create().await.unwrap();
    folder.promote().await.unwrap();
    index.write((3..300).map(message).collect()).await.unwrap();
    drop(index);
    let name = fs::read_to_string(dir.path().join("search/current")).unwrap();
    let place = dir.path().join("search").join(name.trim());
    let mut files: Vec<_> = fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|kind| kind == "idx" || kind == "term"));
    assert!(!files.is_empty());
    let mut bytes = fs::read(&files[0]).unwrap();
    bytes[0] ^= 0xff;
    fs::write(&files[0], bytes).unwrap();
    assert!(matches!(folder.current().await, Err(IndexError::Lost(_))));
    fs::write(place.join("meta.json"), "{").unwrap();
    assert!(matches!(folder.current().await, Err(IndexError::Lost(_))));
}
