//! What the server has, and what its tasks do to it.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value, json};

use super::filter::Filter;

/// A moment, as the API writes it.
pub(super) const MOMENT: &str = "2026-01-02T03:04:05.678Z";

#[derive(Default)]
pub(super) struct State {
    pub(super) indexes: BTreeMap<String, Index>,
    pub(super) tasks: Vec<Task>,
    queue: VecDeque<usize>,
    pub(super) held: bool,
    pub(super) full: bool,
    pub(super) complaints: Vec<String>,
    pub(super) requests: Vec<String>,
}

#[derive(Default)]
pub(super) struct Index {
    pub(super) documents: BTreeMap<String, Map<String, Value>>,
    pub(super) settings: Map<String, Value>,
}

pub(super) struct Task {
    pub(super) index: String,
    pub(super) work: Work,
    pub(super) status: Status,
    /// How often somebody looked after it.
    looks: u32,
}

pub(super) enum Work {
    Create,
    Drop,
    Settings(Map<String, Value>),
    Put(Vec<Value>),
    Delete(Vec<String>),
    DeleteWhere(String),
}

pub(super) enum Status {
    Waiting,
    Done,
    Failed(&'static str),
}

impl Work {
    fn kind(&self) -> &'static str {
        match self {
            Work::Create => "indexCreation",
            Work::Drop => "indexDeletion",
            Work::Settings(_) => "settingsUpdate",
            Work::Put(_) => "documentAdditionOrUpdate",
            Work::Delete(_) | Work::DeleteWhere(_) => "documentDeletion",
        }
    }
}

impl State {
    /// A task is taken.
    pub(super) fn enqueue(&mut self, index: &str, work: Work) -> Value {
        let uid = self.tasks.len();
        let kind = work.kind();
        self.tasks.push(Task { index: index.to_owned(), work, status: Status::Waiting, looks: 0 });
        self.queue.push_back(uid);
        json!({ "taskUid": uid, "indexUid": index, "status": "enqueued", "type": kind, "enqueuedAt": MOMENT })
    }

    /// How a task stands. The first look finds it waiting.
    pub(super) fn look(&mut self, uid: usize) -> Option<Value> {
        let task = self.tasks.get_mut(uid)?;
        task.looks += 1;
        if task.looks > 1 && !self.held {
            while self.queue.front().is_some_and(|next| *next <= uid) {
                self.work();
            }
        }
        let task = &self.tasks[uid];
        let mut shown = json!({
            "uid": uid, "indexUid": task.index, "type": task.work.kind(), "canceledBy": null, "error": null,
            "enqueuedAt": MOMENT, "startedAt": null, "finishedAt": null, "duration": null, "details": null,
        });
        let ended = |shown: &mut Value, status: &str| {
            shown["status"] = status.into();
            shown["startedAt"] = MOMENT.into();
            shown["finishedAt"] = MOMENT.into();
            shown["duration"] = "PT0.01S".into();
        };
        match &task.status {
            Status::Waiting => shown["status"] = "enqueued".into(),
            Status::Done => ended(&mut shown, "succeeded"),
            Status::Failed(code) => {
                ended(&mut shown, "failed");
                shown["error"] = super::api::error(code);
            }
        }
        Some(shown)
    }

    fn work(&mut self) {
        let Some(uid) = self.queue.pop_front() else { return };
        let Some(task) = self.tasks.get_mut(uid) else { return };
        let index = task.index.clone();
        let work = std::mem::replace(&mut task.work, Work::Create);
        let kind = work.kind();
        let done = self.apply(&index, &work);
        let task = &mut self.tasks[uid];
        task.work = work;
        task.status = match done {
            Ok(()) => Status::Done,
            Err(code) => {
                self.complaints.push(format!("{kind} of {index}: {code}"));
                Status::Failed(code)
            }
        };
    }

    fn apply(&mut self, uid: &str, work: &Work) -> Result<(), &'static str> {
        match work {
            Work::Create => {
                if self.indexes.contains_key(uid) {
                    return Err("index_already_exists");
                }
                self.indexes.insert(uid.to_owned(), Index::default());
            }
            Work::Drop => drop(self.indexes.remove(uid).ok_or("index_not_found")?),
            Work::Settings(settings) => {
                let index = self.indexes.entry(uid.to_owned()).or_default();
                index.settings.extend(settings.clone());
            }
            Work::Put(documents) => {
                // As the real one does: an index that is not there is made.
                let index = self.indexes.entry(uid.to_owned()).or_default();
                for document in documents {
                    let document = document.as_object().ok_or("malformed_payload")?;
                    let id = document.get("id").and_then(Value::as_str).ok_or("missing_document_id")?;
                    index.documents.insert(id.to_owned(), document.clone());
                }
            }
            Work::Delete(ids) => {
                let index = self.indexes.get_mut(uid).ok_or("index_not_found")?;
                ids.iter().for_each(|id| drop(index.documents.remove(id)));
            }
            Work::DeleteWhere(filter) => {
                let index = self.indexes.get_mut(uid).ok_or("index_not_found")?;
                let filter = Filter::read(filter, &index.settings).map_err(|_| "invalid_document_filter")?;
                index.documents.retain(|_, document| !filter.holds(document));
            }
        }
        Ok(())
    }
}
