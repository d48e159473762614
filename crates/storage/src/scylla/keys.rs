//! Which logs have grown. What this process writes it knows at once; what others write it is told by them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use async_trait::async_trait;
use clarion_model::key::{Epoch, Key, Slot};
use clarion_observability::metric::Operation;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::watch;

use super::handle::Handle;
use super::tail::{self, Found};
use super::{schema, slots};
use crate::error::ReadError;
use crate::{Grown, Keys, Tail};

/// Logs whose ends are read at a time.
const WIDTH: usize = 32;

#[async_trait]
impl Keys for Handle {
    async fn grown(&self, since: u64) -> Result<Grown, ReadError> {
        let look = async {
            // The mark before the look: what grows in the meantime is named again.
            let now = self.news.growth.mark();
            let (keys, mark) = match self.news.growth.since(since) {
                Some(known) => known,
                None => (self.every_key().await?, now),
            };
            Ok(Grown { keys: self.tails(keys).await?, mark })
        };
        self.client.query(Operation::ReadLog, "tails", "logs", look).await
    }

    fn growth(&self) -> watch::Receiver<u64> {
        self.news.growth.watch()
    }
}

impl Handle {
    /// The guilds and channels between people that have a log.
    async fn every_key(&self) -> Result<BTreeSet<Key>, ReadError> {
        let mut keys = BTreeSet::new();
        let each = |(kind, id): (i8, i64)| {
            keys.extend(Some(schema::key_of(kind, id)?).filter(|key| !matches!(key, Key::User(_))));
            Ok(ControlFlow::Continue(()))
        };
        self.client.pages(self.client.bind(&self.client.statements.log_keys, &()), each).await?;
        Ok(keys)
    }

    /// Where logs end. Of those that another process may write, only what is certain to be part of them is told.
    async fn tails(&self, keys: BTreeSet<Key>) -> Result<Vec<(Key, Tail)>, ReadError> {
        let (mut tails, mut unknown) = (Vec::with_capacity(keys.len()), Vec::new());
        for key in keys {
            match self.own_tail(key) {
                Some(tail) => tails.push((key, tail)),
                None => unknown.push(key),
            }
        }
        let ends = unknown.into_iter().map(async |key| Ok::<_, ReadError>((key, tail::end(&self.client, key).await?)));
        let ends: Vec<(Key, Found)> = stream::iter(ends).buffer_unordered(WIDTH).try_collect().await?;
        let foreign: BTreeSet<Slot> =
            ends.iter().map(|(key, _)| key.slot()).filter(|slot| !self.holds(*slot)).collect();
        // After the ends, so that an epoch which is still the seal's says that the end will stay.
        let epochs: BTreeMap<Slot, Epoch> = slots::epochs(&self.client, &foreign).await?;
        tails.extend(ends.into_iter().map(|(key, found)| match epochs.get(&key.slot()) {
            Some(epoch) => (key, found.tail_at(found.certain(*epoch))),
            None => (key, found.tail()),
        }));
        Ok(tails)
    }
}
