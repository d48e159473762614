//! The rules that every index keeps, as one suite that is run over each of them, the real servers included.
//!
//! A rule that is broken panics, as a failed test does. Every rule works with ids of its own.

#![allow(clippy::unwrap_used)]

mod changes;
mod queries;

use std::sync::Arc;

use clarion_model::id::{ChannelId, GuildId, MessageId};

use super::{Change, Document, Found, Index, Indexes, Query, Sort, mark, query};

/// Runs every rule over the place of indexes that `open` opens. It is called again to see what has lasted.
pub async fn suite<I: Indexes>(open: impl Fn() -> I) {
    let mut ids = Ids(1 << 60);
    let indexes = open();
    assert!(indexes.current().await.unwrap().is_none(), "there is none before there is one");
    let index = indexes.create().await.unwrap();
    assert!(open().current().await.unwrap().is_none(), "what is being built does not serve");
    changes::rules(&*index, &mut ids).await;
    queries::rules(&*index, &mut ids).await;
    changes::last(indexes, index, &open, &mut ids).await;
}

/// Ids that nobody has used, rising.
struct Ids(u64);

impl Ids {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }

    fn guild(&mut self) -> GuildId {
        GuildId(self.next())
    }

    fn channel(&mut self) -> ChannelId {
        ChannelId(self.next())
    }

    /// Messages of a channel that say these things, the oldest first.
    fn say(&mut self, guild: GuildId, channel: ChannelId, contents: &[&str]) -> Vec<Document> {
        let said = contents.iter().map(|content| Document {
            id: MessageId(self.next()),
            channel,
            guild: Some(guild),
            content: (*content).to_owned(),
            marks: vec![mark::author(7), mark::author_type("user")],
        });
        said.collect()
    }
}

/// What a text finds in channels, without anything else.
fn text(channels: &[ChannelId], text: &str) -> Query {
    Query {
        channels: channels.to_vec(),
        text: Some(query::read(text, None)),
        with: Vec::new(),
        without: Vec::new(),
        after: None,
        before: None,
        sort: Sort::Newest,
        offset: 0,
        limit: 25,
    }
}

/// Everything in channels.
fn everything(channels: &[ChannelId]) -> Query {
    Query { text: None, ..text(channels, "") }
}

async fn add(index: &dyn Index, documents: &[Document]) {
    index.write(documents.iter().cloned().map(Change::Add).collect()).await.unwrap();
}

/// The ids that a query finds, after a look whether the total fits.
async fn find(index: &dyn Index, query: Query) -> Vec<MessageId> {
    let Found { total, hits } = index.search(query.clone()).await.unwrap();
    let reachable = total.saturating_sub(query.offset as u64).min(query.limit as u64);
    assert_eq!(hits.len() as u64, reachable, "{query:?}: {total} in all");
    assert!(hits.iter().all(|hit| query.channels.contains(&hit.channel)), "{query:?}");
    hits.into_iter().map(|hit| hit.id).collect()
}

fn ids(documents: &[Document]) -> Vec<MessageId> {
    documents.iter().map(|document| document.id).collect()
}

type Opened = Arc<dyn Index>;
