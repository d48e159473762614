//! The registers that decide who may write: read at quorum, raised by compare-and-set.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use clarion_model::key::{Epoch, Slot};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::client::{Client, Fault};
use super::schema;
use crate::SlotRecord;
use crate::error::{CommitError, ReadError};

/// Parts of the table that are changed at a time.
const WIDTH: usize = 16;
/// Before slots are tried again after an attempt whose outcome is unknown.
const PAUSE: Duration = Duration::from_millis(100);

type Record = (i32, Option<i64>, Option<String>);

/// A slot's epoch and who raised it last.
pub(super) async fn get(client: &Client, slot: Slot) -> Result<SlotRecord, ReadError> {
    let row: Option<Record> = client.row(client.bind(&client.statements.slot, &schema::slot(slot))).await?;
    let (_, epoch, owner) = row.unwrap_or_default();
    Ok(SlotRecord { epoch: Epoch(epoch.unwrap_or(0) as u64), owner: owner.unwrap_or_default() })
}

/// The epochs of some slots.
pub(super) async fn epochs(client: &Client, slots: &BTreeSet<Slot>) -> Result<BTreeMap<Slot, Epoch>, ReadError> {
    let parts: BTreeSet<i32> = slots.iter().map(|slot| schema::slot(*slot).0).collect();
    let reads = parts.into_iter().map(|part| client.rows::<Record>(client.bind(&client.statements.slots, &(part,))));
    let read: Vec<Vec<Record>> = stream::iter(reads).buffer_unordered(WIDTH).try_collect().await?;
    let read: BTreeMap<i32, Option<i64>> = read.into_iter().flatten().map(|(slot, epoch, _)| (slot, epoch)).collect();
    let epoch = |slot: &Slot| Epoch(read.get(&schema::slot(*slot).1).copied().flatten().unwrap_or(0) as u64);
    Ok(slots.iter().map(|slot| (*slot, epoch(slot))).collect())
}

/// Raises the epoch of each slot by one. An attempt whose outcome is unknown counts as lost: the next one raises further,
/// and an epoch that nobody uses does no harm.
pub(super) async fn raise(
    client: &Client,
    slots: BTreeSet<Slot>,
    owner: &str,
) -> Result<BTreeMap<Slot, Epoch>, CommitError> {
    let deadline = Instant::now() + client.config.write_deadline();
    let mut parts: BTreeMap<i32, Vec<Slot>> = BTreeMap::new();
    for slot in slots {
        parts.entry(schema::slot(slot).0).or_default().push(slot);
    }
    let raises = parts.into_iter().map(|(part, slots)| raise_part(client, part, slots, owner, deadline));
    let raised: Vec<Vec<_>> = stream::iter(raises).buffer_unordered(WIDTH).try_collect().await?;
    Ok(raised.into_iter().flatten().collect())
}

async fn raise_part(
    client: &Client,
    part: i32,
    slots: Vec<Slot>,
    owner: &str,
    deadline: Instant,
) -> Result<Vec<(Slot, Epoch)>, CommitError> {
    loop {
        let missed = match try_raise(client, part, &slots, owner).await {
            Ok(Some(raised)) => return Ok(raised),
            Ok(None) => "others take them all the time".to_owned(),
            Err(fault) => {
                tokio::time::sleep(PAUSE).await;
                fault.to_string()
            }
        };
        if Instant::now() > deadline {
            return Err(CommitError::Unknown(format!("slots of part {part}: {missed}")));
        }
    }
}

/// One attempt. `None`: somebody else was first.
async fn try_raise(
    client: &Client,
    part: i32,
    slots: &[Slot],
    owner: &str,
) -> Result<Option<Vec<(Slot, Epoch)>>, Fault> {
    // What others have begun may not show here; then a condition below does not hold.
    let read = client.send(&client.bind(&client.statements.slots, &(part,))?).await?;
    let read = read.all::<Record>().map_err(|error| Fault::other(error.to_string()))?;
    let before: BTreeMap<i32, Option<i64>> = read.into_iter().map(|(slot, epoch, _)| (slot, epoch)).collect();
    let mut raised = Vec::with_capacity(slots.len());
    let mut rows = Vec::with_capacity(slots.len());
    for slot in slots {
        let (part, number) = schema::slot(*slot);
        let before = before.get(&number).copied().flatten();
        let next = Epoch(before.unwrap_or(0) as u64).raised();
        rows.push((schema::number(next.0), owner, part, number, before));
        raised.push((*slot, next));
    }
    let set = client.compare_and_set(&client.statements.slot_raise, rows).await?;
    Ok(set.then_some(raised))
}
