//! The registers that decide who may write: read at quorum, raised by compare-and-set.

use std::time::{Duration, Instant};

use clarion_model::key::{Epoch, Slot};

use super::client::{Client, Fault, all_rows};
use super::schema;
use crate::SlotRecord;
use crate::error::{CommitError, ReadError};

/// Before a slot is tried again after an attempt whose outcome is unknown.
const PAUSE: Duration = Duration::from_millis(100);

type Record = (Option<i64>, Option<String>);

/// A slot's epoch and who raised it last.
pub(super) async fn get(client: &Client, slot: Slot) -> Result<SlotRecord, ReadError> {
    let row: Option<Record> = client.row(client.bind(&client.statements.slot, &(i32::from(slot.0),))).await?;
    Ok(record(row))
}

/// Raises a slot's epoch by one. An attempt whose outcome is unknown counts as lost: the next one raises further, and an
/// epoch that nobody uses does no harm.
pub(super) async fn raise(client: &Client, slot: Slot, owner: &str) -> Result<Epoch, CommitError> {
    let deadline = Instant::now() + client.config.write_deadline();
    loop {
        match try_raise(client, slot, owner).await {
            Ok(Some(epoch)) => return Ok(epoch),
            // Somebody else was first.
            Ok(None) if Instant::now() < deadline => {}
            Ok(None) => return Err(CommitError::Unknown(format!("slot {slot}: others take it all the time"))),
            Err(_) if Instant::now() + PAUSE < deadline => tokio::time::sleep(PAUSE).await,
            Err(fault) => return Err(CommitError::Unknown(fault.to_string())),
        }
    }
}

async fn try_raise(client: &Client, slot: Slot, owner: &str) -> Result<Option<Epoch>, Fault> {
    let number = i32::from(slot.0);
    let damaged = |error: ReadError| Fault::other(error.to_string());
    // Ends what others have begun, so that the condition below is compared with what will stay.
    let settled = client.send(&client.bind(&client.statements.slot_settled, &(number,))?).await?;
    let before = all_rows::<Record>(settled).map_err(damaged)?.into_iter().next();
    let next = record(before.clone()).epoch.raised();
    let epoch = schema::number(next.0);
    let result = match before {
        Some((Some(before), _)) => {
            client.send(&client.bind(&client.statements.slot_raise, &(epoch, owner, number, before))?).await?
        }
        _ => client.send(&client.bind(&client.statements.slot_first, &(number, epoch, owner))?).await?,
    };
    // The first column says whether it was applied; what follows depends on that.
    let rows = result.into_rows_result().map_err(|error| Fault::other(error.to_string()))?;
    let row = rows.first_row::<scylla::value::Row>().map_err(|error| Fault::other(error.to_string()))?;
    let applied = row.columns.first().and_then(|column| column.as_ref()?.as_boolean());
    Ok(applied.ok_or_else(|| Fault::other("compare-and-set answered nothing".into()))?.then_some(next))
}

fn record(row: Option<Record>) -> SlotRecord {
    let (epoch, owner) = row.unwrap_or_default();
    SlotRecord { epoch: Epoch(epoch.unwrap_or(0) as u64), owner: owner.unwrap_or_default() }
}
