//! The end of a tenure: everybody who waits is told.

use clarion_model::key::Epoch;
use clarion_model::ownership::{Body, Tenure};
use futures_util::StreamExt;

use super::{End, Holder, Waits, Work, ready};
use crate::error::CommitError;

impl End {
    fn error(&self) -> CommitError {
        match self {
            End::Closed => CommitError::Unknown("the store is closed".into()),
            End::Fenced(epoch) => CommitError::Fenced(*epoch),
            End::GivenUp(reason) => CommitError::Unknown(reason.clone()),
        }
    }
}

impl Holder {
    /// Brings what is acknowledged to the tables, if the store answers, and refuses the rest.
    pub(super) async fn finish(mut self, mut end: End) {
        self.inbox.close();
        while self.applying.is_some() || (!self.acknowledged.is_empty() && matches!(end, End::Fenced(_))) {
            if self.applying.is_none() {
                self.start_applying();
            }
            let (rows, result) = ready(&mut self.applying).await;
            if let Err(failed) = self.applied(rows, result) {
                // Whoever takes the slot next finds in the log what the tables lack.
                end = if matches!(end, End::Fenced(_)) { end } else { failed };
                break;
            }
        }
        while self.trims.next().await.is_some() {}
        self.lines.end();
        let error = end.error();
        let tenure = std::mem::replace(&mut self.tenure, Tenure::begin(Epoch(0)));
        for row in std::mem::take(&mut self.acknowledged).into_iter().chain(tenure.give_up()) {
            if let Body::Entry(proposed) = row.body
                && let Some(answer) = proposed.answer
            {
                let _ = answer.send(Err(error.clone()));
            }
        }
        for waiter in std::mem::take(&mut self.waiters) {
            let _ = match waiter.answer {
                Waits::Written(answer) => answer.send(Err(error.clone())).is_ok(),
                Waits::Opened(answer) => answer.send(Err(error.clone())).is_ok(),
            };
        }
        for (_, opening) in self.opening.drain() {
            opening.works.into_iter().for_each(|work| work.refuse(error.clone()));
        }
        while let Ok(work) = self.inbox.try_recv() {
            work.refuse(error.clone());
        }
    }
}

impl Work {
    fn refuse(self, error: CommitError) {
        let _ = match self {
            Work::Commit { answer, .. } | Work::Trim { answer, .. } => answer.send(Err(error)).is_ok(),
            Work::Open { answer, .. } => answer.send(Err(error)).is_ok(),
        };
    }
}
