//! The seats of all shards: which are taken, by whom. The hub alone gives them out. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use clarion_model::id::GuildId;
use clarion_model::presence::{Device, Presence};

use crate::shard::Identity;

/// A session's place: its shard, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Seat {
    pub(crate) shard: u16,
    pub(crate) seat: u32,
}

impl Seat {
    /// Shard and seat in one number.
    pub(crate) fn number(self) -> u64 {
        u64::from(self.shard) << 32 | u64::from(self.seat)
    }
}

/// What the hub knows of a session.
#[derive(Debug)]
pub(super) struct Occupant {
    pub(super) identity: Arc<Identity>,
    pub(super) presence: Presence,
    pub(super) device: Device,
    /// The guilds it is in or is about to be in.
    pub(super) guilds: BTreeSet<GuildId>,
    /// The first checkpoint that may have it.
    pub(super) since: u64,
}

/// All seats.
#[derive(Debug)]
pub(super) struct Seats {
    shards: Vec<Row>,
}

#[derive(Debug, Default)]
struct Row {
    seats: Vec<Option<Occupant>>,
    free: Vec<u32>,
    taken: usize,
}

impl Seats {
    /// No session on any of so many shards.
    pub(super) fn new(shards: usize) -> Self {
        Self { shards: (0..shards).map(|_| Row::default()).collect() }
    }

    /// The seat that the next session gets: on the emptiest shard.
    pub(super) fn next(&mut self) -> Option<Seat> {
        let (shard, row) = self.shards.iter_mut().enumerate().min_by_key(|(_, row)| row.taken)?;
        let seat = row.free.pop().unwrap_or_else(|| {
            row.seats.push(None);
            row.seats.len() as u32 - 1
        });
        row.taken += 1;
        Some(Seat { shard: shard as u16, seat })
    }

    /// Seats a session.
    pub(super) fn take(&mut self, seat: Seat, occupant: Occupant) {
        if let Some(place) = self.place(seat) {
            *place = Some(occupant);
        }
    }

    /// The session on a seat.
    pub(super) fn get(&self, seat: Seat) -> Option<&Occupant> {
        self.shards.get(usize::from(seat.shard))?.seats.get(seat.seat as usize)?.as_ref()
    }

    /// The session on a seat.
    pub(super) fn get_mut(&mut self, seat: Seat) -> Option<&mut Occupant> {
        self.place(seat)?.as_mut()
    }

    /// The session is over; the shard may still hold the seat.
    pub(super) fn vacate(&mut self, seat: Seat) -> Option<Occupant> {
        self.place(seat)?.take()
    }

    /// The shard does not hold the seat any more, and all that was sent to it has been taken.
    pub(super) fn release(&mut self, seat: Seat) {
        if let Some(row) = self.shards.get_mut(usize::from(seat.shard)) {
            row.free.push(seat.seat);
            row.taken -= 1;
        }
    }

    /// Every session.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Occupant> {
        self.shards.iter().flat_map(|row| row.seats.iter().flatten())
    }

    /// Every session with its seat.
    pub(super) fn with_seats(&self) -> impl Iterator<Item = (Seat, &Occupant)> {
        let rows = self.shards.iter().zip(0..);
        rows.flat_map(|(row, shard)| {
            let seats = row.seats.iter().zip(0..);
            seats.filter_map(move |(occupant, seat)| Some((Seat { shard, seat }, occupant.as_ref()?)))
        })
    }

    fn place(&mut self, seat: Seat) -> Option<&mut Option<Occupant>> {
        self.shards.get_mut(usize::from(seat.shard))?.seats.get_mut(seat.seat as usize)
    }
}
