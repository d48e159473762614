//! The index on a Meilisearch server.
//!
//! Every generation is an index of its own with a document in it that says it is one of ours; another index has a document
//! that names the generation that serves. Without those documents an index is lost, also when the server made an empty
//! one of the same name because something was written to it. How far a key has got is a document of the generation, and
//! is written with or after what it speaks of: a message is its id, so that what is written twice is there once.

mod ask;
mod document;
mod remote;
#[cfg(test)]
mod tests;
mod write;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use meilisearch_sdk::client::Client;
use meilisearch_sdk::errors::{Error, ErrorCode, ErrorType};
use meilisearch_sdk::indexes::IndexesQuery;
use meilisearch_sdk::task_info::TaskInfo;
use meilisearch_sdk::tasks::Task;
use serde::{Deserialize, Serialize};

use super::{Config, Index, IndexError, Indexes};
use document::Row;
use remote::Remote;

/// The version of everything in `document.rs` and `text.rs`. Another one's index is built anew.
const VERSION: u32 = 1;
/// The name of the document that names the generation that serves.
const CURRENT: &str = "current";
/// How long a task may take until it is looked after again later.
const TASK: Duration = Duration::from_secs(30);
const LOOK_LEAST: Duration = Duration::from_millis(5);
const LOOK_MOST: Duration = Duration::from_millis(200);
/// Indexes of a server that are listed at a time.
const PAGE: usize = 100;

/// A Meilisearch server.
#[derive(Clone)]
pub struct Meilisearch {
    client: Client,
    name: String,
    timeout: Duration,
}

/// Which generation serves.
#[derive(Serialize, Deserialize)]
struct Pointer {
    id: String,
    serves: String,
}

impl Meilisearch {
    /// The server at a URL. Nothing is sent yet.
    pub fn new(url: &str, config: &Config) -> Result<Self, IndexError> {
        let host = url.trim_end_matches('/');
        if !host.starts_with("http://") {
            return Err(IndexError::Invalid("search.index.urls: only http:// is spoken".into()));
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if config.name.is_empty() || config.name.len() > 64 || !config.name.chars().all(is_name) {
            return Err(IndexError::Invalid("search.index.name: letters, digits, - and _, at most 64".into()));
        }
        if config.key.reveal().is_some_and(|key| !key.chars().all(|c| c.is_ascii_graphic())) {
            return Err(IndexError::Invalid("search.index.key: not a key".into()));
        }
        let client = Client::new(host, config.key.reveal()).map_err(failed)?;
        Ok(Self { client, name: config.name.clone(), timeout: Duration::from_millis(config.timeout_ms.max(1)) })
    }

    /// One request, which takes its time or fails.
    async fn call<T>(&self, asked: impl Future<Output = Result<T, Error>>) -> Result<T, IndexError> {
        let answer = tokio::time::timeout(self.timeout, asked).await;
        answer.map_err(|_| IndexError::Unavailable("no answer in time".into()))?.map_err(failed)
    }

    /// The same, where what is asked for may not be there.
    async fn maybe<T>(&self, asked: impl Future<Output = Result<T, Error>>) -> Result<Option<T>, IndexError> {
        let there = async {
            match asked.await {
                Ok(found) => Ok(Some(found)),
                Err(Error::Meilisearch(error))
                    if matches!(error.error_code, ErrorCode::IndexNotFound | ErrorCode::DocumentNotFound) =>
                {
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        };
        self.call(there).await
    }

    /// Has something done, and waits until it is.
    async fn perform(&self, asked: impl Future<Output = Result<TaskInfo, Error>>) -> Result<(), IndexError> {
        let task = self.call(asked).await?;
        self.finish(task.task_uid).await
    }

    /// Waits for a task.
    async fn finish(&self, task: u32) -> Result<(), IndexError> {
        let (begun, mut pause) = (Instant::now(), LOOK_LEAST);
        loop {
            match self.call(self.client.get_task(&Number(task))).await? {
                Task::Succeeded { .. } => return Ok(()),
                Task::Failed { content } => return Err(failed(Error::Meilisearch(content.error))),
                Task::Enqueued { .. } | Task::Processing { .. } if begun.elapsed() > TASK => {
                    return Err(IndexError::Unavailable("a task takes too long".into()));
                }
                Task::Enqueued { .. } | Task::Processing { .. } => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(LOOK_MOST);
        }
    }

    /// The generations that there are, the oldest first, those of other versions too.
    async fn generations(&self) -> Result<Vec<(u64, String)>, IndexError> {
        let (mut found, mut offset) = (Vec::new(), 0);
        loop {
            let mut query = IndexesQuery::new(&self.client);
            query.with_limit(PAGE).with_offset(offset);
            let page = self.call(self.client.list_all_indexes_with(&query)).await?.results;
            let count = page.len();
            found.extend(page.into_iter().filter_map(|index| Some((self.number(&index.uid)?, index.uid))));
            offset += count;
            if count < PAGE {
                found.sort();
                return Ok(found);
            }
        }
    }

    /// The number in the name of a generation.
    fn number(&self, uid: &str) -> Option<u64> {
        let (version, number) = uid.strip_prefix(&self.name)?.strip_prefix("-v")?.split_once('-')?;
        version.parse::<u32>().ok()?;
        number.parse().ok()
    }

    /// The generation that serves, if it is of this version.
    async fn serving(&self) -> Result<Option<String>, IndexError> {
        let index = self.client.index(&self.name);
        let pointer = self.maybe(index.get_document::<Pointer>(CURRENT)).await?;
        let ours = format!("{}-v{VERSION}-", self.name);
        Ok(pointer.map(|pointer| pointer.serves).filter(|uid| uid.starts_with(&ours)))
    }

    /// Removes every generation but one.
    async fn sweep(&self, keep: Option<&str>) -> Result<(), IndexError> {
        for (_, uid) in self.generations().await? {
            if keep != Some(uid.as_str()) {
                self.perform(self.client.delete_index(&uid)).await?;
            }
        }
        Ok(())
    }

    fn open(&self, uid: String) -> Remote {
        Remote::new(self.clone(), uid)
    }
}

#[async_trait::async_trait]
impl Indexes for Meilisearch {
    async fn current(&self) -> Result<Option<Arc<dyn Index>>, IndexError> {
        let Some(uid) = self.serving().await? else { return Ok(None) };
        let index = self.open(uid);
        index.check().await?;
        Ok(Some(Arc::new(index)))
    }

    async fn create(&self) -> Result<Arc<dyn Index>, IndexError> {
        let serving = self.serving().await?;
        // Never a number that was there before: who lost it may still write there.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_millis() as u64);
        let next = self.generations().await?.last().map_or(now, |(number, _)| now.max(number + 1));
        self.sweep(serving.as_deref()).await?;
        let uid = format!("{}-v{VERSION}-{next}", self.name);
        self.perform(self.client.create_index(&uid, Some("id"))).await?;
        let index = self.client.index(&uid);
        self.perform(index.set_settings(&document::settings())).await?;
        self.perform(index.add_or_replace(&[Row::marker()], Some("id"))).await?;
        Ok(Arc::new(self.open(uid)))
    }

    async fn promote(&self) -> Result<(), IndexError> {
        let newest = self.generations().await?.pop().ok_or_else(|| IndexError::Lost("its index is gone".into()))?.1;
        let pointer = Pointer { id: CURRENT.into(), serves: newest.clone() };
        let index = self.client.index(&self.name);
        self.perform(index.add_or_replace(&[pointer], Some("id"))).await?;
        self.sweep(Some(&newest)).await
    }
}

/// The number of a task, as the client wants it.
struct Number(u32);

impl AsRef<u32> for Number {
    fn as_ref(&self) -> &u32 {
        &self.0
    }
}

/// Names, and never what a server says: that may hold what was said or looked for.
fn failed(error: Error) -> IndexError {
    match error {
        Error::Meilisearch(error) => {
            let code = error.error_code.to_string();
            match (error.error_code, error.error_type) {
                (ErrorCode::NoSpaceLeftOnDevice | ErrorCode::DatabaseSizeLimitReached, _) => IndexError::Full(code),
                (ErrorCode::IndexNotFound, _) => IndexError::Lost(code),
                (_, ErrorType::InvalidRequest) => IndexError::Invalid(code),
                _ => IndexError::Unavailable(code),
            }
        }
        Error::MeilisearchCommunication(error) => IndexError::Unavailable(format!("status {}", error.status_code)),
        Error::HttpError(error) if error.is_connect() => IndexError::Unavailable("no connection".into()),
        Error::HttpError(_) => IndexError::Unavailable("the connection failed".into()),
        Error::ParseError(_) => IndexError::Unavailable("an answer that is not understood".into()),
        _ => IndexError::Unavailable("the client failed".into()),
    }
}
