//! One index of a server.

use std::ops::RangeInclusive;

use clarion_model::id::{ChannelId, MessageId};
use meilisearch_sdk::client::Client;
use meilisearch_sdk::documents::DocumentsQuery;
use meilisearch_sdk::search::{MatchingStrategies, SearchQuery, SearchResults, Selectors};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::Mutex;

use super::Meilisearch;
use super::ask::{Ask, channel_range};
use super::document::{HitRow, MARKER, Row};
use crate::index::{Change, Found, Hit, Index, IndexError, Progress, Query, Size};

/// Documents that are read at a time.
const PAGE: usize = 1_000;
/// Most candidates that are read because the server cannot tell whether they match.
const CANDIDATES: usize = 10_000;

/// An index of a server.
pub(super) struct Remote {
    pub(super) server: Meilisearch,
    pub(super) index: meilisearch_sdk::indexes::Index,
    /// Held while something is written: the task that was sent last, if nobody knows how it ended.
    pub(super) unfinished: Mutex<Option<u32>>,
}

/// A document of which nothing matters but that it is there.
#[derive(Deserialize)]
struct There {
    #[serde(rename = "id")]
    _id: IgnoredAny,
}

impl Remote {
    pub(super) fn new(server: Meilisearch, uid: String) -> Self {
        let client: &Client = &server.client;
        Self { index: client.index(uid), server, unfinished: Mutex::new(None) }
    }

    async fn total(&self, filter: &str) -> Result<u64, IndexError> {
        let mut query = DocumentsQuery::new(&self.index);
        query.with_filter(filter).with_limit(1).with_fields(["id"]);
        let found = self.server.call(self.index.get_documents_with::<There>(&query)).await?;
        Ok(found.total.into())
    }

    /// The `page`th page of what is asked for, from 1.
    async fn page(
        &self,
        ask: &Ask,
        page: usize,
        size: usize,
        fields: &[&str],
    ) -> Result<(u64, Vec<HitRow>), IndexError> {
        let mut query = SearchQuery::new(&self.index);
        query.with_filter(&ask.filter).with_matching_strategy(MatchingStrategies::ALL);
        query.with_page(page).with_hits_per_page(size).with_attributes_to_retrieve(Selectors::Some(fields));
        if !ask.words.is_empty() {
            query.with_query(&ask.words);
        }
        if !ask.sort.is_empty() {
            query.with_sort(ask.sort);
        }
        let found: SearchResults<HitRow> = self.server.call(self.index.execute_query(&query)).await?;
        let total = found.total_hits.ok_or_else(|| IndexError::Unavailable("an answer without a total".into()))?;
        Ok((total as u64, found.hits.into_iter().map(|hit| hit.result).collect()))
    }

    /// What the server finds, as it is.
    async fn find(&self, ask: &Ask, offset: usize, limit: usize) -> Result<Found, IndexError> {
        let (first, skip) = (offset / limit + 1, offset % limit);
        let (total, mut rows) = self.page(ask, first, limit, &["id", "channel"]).await?;
        if skip > 0 {
            rows.extend(self.page(ask, first + 1, limit, &["id", "channel"]).await?.1);
        }
        Ok(Found { total, hits: hits(rows.into_iter().skip(skip).take(limit))? })
    }

    /// What the server finds, as far as it really matches.
    async fn sift(&self, ask: &Ask, offset: usize, limit: usize) -> Result<Found, IndexError> {
        let mut matching = Vec::new();
        for page in 1..=CANDIDATES / PAGE {
            let (_, rows) = self.page(ask, page, PAGE, &["id", "channel", "text"]).await?;
            let is_last = rows.len() < PAGE;
            matching.extend(rows.into_iter().filter(|row| ask.matches(&row.text)));
            if is_last {
                break;
            }
        }
        let total = matching.len() as u64;
        Ok(Found { total, hits: hits(matching.into_iter().skip(offset).take(limit))? })
    }
}

fn hits(rows: impl Iterator<Item = HitRow>) -> Result<Vec<Hit>, IndexError> {
    rows.map(|row| row.read().map(|(channel, id)| Hit { channel, id })).collect()
}

#[async_trait::async_trait]
impl Index for Remote {
    async fn progress(&self) -> Result<Vec<Progress>, IndexError> {
        self.check().await?;
        let mut all = Vec::new();
        loop {
            let mut query = DocumentsQuery::new(&self.index);
            query.with_filter("kind = \"key\"").with_offset(all.len()).with_limit(PAGE);
            let page = self.server.call(self.index.get_documents_with::<Row>(&query)).await?.results;
            let count = page.len();
            for row in page {
                all.push(row.read_progress()?);
            }
            if count < PAGE {
                return Ok(all);
            }
        }
    }

    async fn write(&self, changes: Vec<Change>) -> Result<(), IndexError> {
        self.commit(changes).await
    }

    async fn search(&self, query: Query) -> Result<Found, IndexError> {
        if query.channels.is_empty() || query.text.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Found::default());
        }
        let (ask, limit) = (Ask::new(&query), query.limit.max(1));
        match ask.is_exact() {
            true => self.find(&ask, query.offset, limit).await,
            false => self.sift(&ask, query.offset, limit).await,
        }
    }

    async fn count(&self, channel: ChannelId, upto: MessageId) -> Result<u64, IndexError> {
        self.total(&channel_range(channel, None, Some(upto.0))).await
    }

    async fn ids(
        &self,
        channel: ChannelId,
        range: RangeInclusive<u64>,
        limit: usize,
    ) -> Result<Vec<MessageId>, IndexError> {
        let ask = Ask::rising(channel_range(channel, Some(*range.start()), Some(*range.end())));
        let (_, rows) = self.page(&ask, 1, limit.max(1), &["id", "channel"]).await?;
        Ok(hits(rows.into_iter().take(limit))?.into_iter().map(|hit| hit.id).collect())
    }

    async fn check(&self) -> Result<(), IndexError> {
        match self.server.maybe(self.index.get_document::<There>(MARKER)).await? {
            Some(_) => Ok(()),
            None => Err(IndexError::Lost("its index is gone".into())),
        }
    }

    async fn size(&self) -> Result<Size, IndexError> {
        let messages = self.total("kind = \"message\"").await?;
        let stats = self.server.call(self.index.get_stats()).await?;
        Ok(Size { messages, bytes: stats.raw_document_db_size as u64 })
    }
}
