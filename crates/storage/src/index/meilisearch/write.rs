//! Writing: changes become requests, one after the other, and how far keys have got is in the last of them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use clarion_model::id::ChannelId;
use meilisearch_sdk::documents::DocumentDeletionQuery;

use super::ask::{any, channel_range};
use super::document::Row;
use super::remote::Remote;
use crate::index::{Change, Index, IndexError};

/// Most bytes of one request, about; the server takes 100 MB.
const REQUEST: usize = 8 << 20;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Put(Vec<Row>),
    Delete(Vec<String>),
    DeleteWhere(String),
}

/// What changes come to. Pure.
pub(super) fn plan(changes: Vec<Change>) -> Vec<Step> {
    let mut steps = Vec::new();
    // Of each message what came last; nothing: it goes.
    let mut messages: BTreeMap<u64, Option<Row>> = BTreeMap::new();
    let mut progress: BTreeMap<String, Row> = BTreeMap::new();
    for change in changes {
        match change {
            Change::Add(message) | Change::Put(message) => {
                messages.insert(message.id.0, Some(Row::message(&message)));
            }
            Change::Delete(id) => {
                messages.insert(id.0, None);
            }
            Change::Clear(channel, ids) => {
                flush(&mut messages, Vec::new(), &mut steps);
                steps.push(Step::DeleteWhere(cleared(channel, ids)));
            }
            Change::Keep(guild, channels) => {
                flush(&mut messages, Vec::new(), &mut steps);
                let kept: Vec<String> = channels.iter().map(ToString::to_string).collect();
                let elsewhere =
                    if kept.is_empty() { String::new() } else { format!(" AND NOT {}", any("channel", &kept)) };
                steps.push(Step::DeleteWhere(format!("guild = \"{guild}\"{elsewhere}")));
            }
            Change::Progress(further) => {
                let row = Row::progress(&further);
                progress.insert(row.id.clone(), row);
            }
        }
    }
    flush(&mut messages, progress.into_values().collect(), &mut steps);
    steps
}

fn cleared(channel: ChannelId, ids: RangeInclusive<u64>) -> String {
    channel_range(channel, Some(*ids.start()), Some(*ids.end()))
}

fn flush(messages: &mut BTreeMap<u64, Option<Row>>, last: Vec<Row>, steps: &mut Vec<Step>) {
    let (mut gone, mut request, mut size) = (Vec::new(), Vec::new(), 0);
    let mut puts = Vec::new();
    for (id, row) in std::mem::take(messages) {
        match row {
            Some(row) => puts.push(row),
            None => gone.push(id.to_string()),
        }
    }
    if !gone.is_empty() {
        steps.push(Step::Delete(gone));
    }
    for row in puts.into_iter().chain(last) {
        size += row.size();
        request.push(row);
        if size >= REQUEST {
            steps.push(Step::Put(std::mem::take(&mut request)));
            size = 0;
        }
    }
    if !request.is_empty() {
        steps.push(Step::Put(request));
    }
}

impl Remote {
    pub(super) async fn commit(&self, changes: Vec<Change>) -> Result<(), IndexError> {
        let mut unfinished = self.unfinished.lock().await;
        // What was sent before and is not done yet comes first, and nothing is heaped on it.
        if let Some(task) = *unfinished {
            match self.server.finish(task).await {
                Err(error @ IndexError::Unavailable(_)) => return Err(error),
                // It did what it did; the one who asked for it was told that it failed, and asks again.
                _ => *unfinished = None,
            }
        }
        for step in plan(changes) {
            let index = &self.index;
            let task = match &step {
                Step::Put(rows) => self.server.call(index.add_or_replace(rows, Some("id"))).await?,
                Step::Delete(ids) => self.server.call(index.delete_documents(ids)).await?,
                Step::DeleteWhere(filter) => {
                    let mut query = DocumentDeletionQuery::new(index);
                    query.with_filter(filter);
                    self.server.call(index.delete_documents_with(&query)).await?
                }
            };
            *unfinished = Some(task.task_uid);
            let done = self.server.finish(task.task_uid).await;
            if !matches!(done, Err(IndexError::Unavailable(_))) {
                *unfinished = None;
            }
            done?;
        }
        // A server makes an index that is not there when something is written to it.
        self.check().await
    }
}
