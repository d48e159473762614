//! Which logs have grown: not kept by this store, because its logs grow in other processes too. Who has to follow all of
//! them, which is the search service, is told so.

use async_trait::async_trait;
use tokio::sync::watch;

use crate::error::ReadError;
use crate::{Grown, Keys};

/// Answers that there is no such list.
pub(super) struct NotKept {
    mark: watch::Sender<u64>,
}

impl NotKept {
    pub(super) fn new() -> Self {
        Self { mark: watch::channel(1).0 }
    }
}

#[async_trait]
impl Keys for NotKept {
    async fn grown(&self, _since: u64) -> Result<Grown, ReadError> {
        Err(ReadError::Failed("the search service is not available on this store".into()))
    }

    fn growth(&self) -> watch::Receiver<u64> {
        self.mark.subscribe()
    }
}
