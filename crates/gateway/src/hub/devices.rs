//! What a user's sessions at this gateway come to, kept so that a session more costs no look at all the others. Pure.

use std::collections::BTreeSet;

use clarion_model::presence::{Device, Devices, Presence, Status};

use super::seats::Seat;

/// Sessions that say what they do and are looked at, of one user. Of more, the first.
const BUSY: usize = 16;
const DEVICES: [Device; 3] = [Device::Desktop, Device::Mobile, Device::Web];
const STATUSES: [Status; 4] = [Status::Dnd, Status::Online, Status::Idle, Status::Invisible];

/// How many sessions say what on which kind of device.
#[derive(Debug, Default)]
pub(super) struct Showing {
    counts: [[u32; 4]; 3],
    /// The sessions with activities.
    busy: BTreeSet<Seat>,
}

impl Showing {
    /// A session shows itself.
    pub(super) fn add(&mut self, seat: Seat, device: Device, presence: &Presence) {
        if let Some(count) = self.count(device, presence.status) {
            *count += 1;
        }
        if !presence.activities.is_empty() {
            self.busy.insert(seat);
        }
    }

    /// A session shows itself no more, or not like this.
    pub(super) fn remove(&mut self, seat: Seat, device: Device, presence: &Presence) {
        if let Some(count) = self.count(device, presence.status) {
            *count -= 1;
        }
        self.busy.remove(&seat);
    }

    /// All sessions taken together. `of` is what the session on a seat shows.
    pub(super) fn word<'a>(&self, of: impl Fn(Seat) -> Option<&'a Presence>) -> Presence {
        let mut devices = Devices::default();
        let mut status = Status::Offline;
        for (device, counts) in DEVICES.into_iter().zip(&self.counts) {
            let strongest = STATUSES.into_iter().zip(counts).find(|(_, count)| **count > 0);
            let strongest = strongest.map_or(Status::Offline, |(status, _)| status);
            *devices.of(device) = strongest;
            status = status.stronger(strongest);
        }
        let busy = Presence::merge(self.busy.iter().take(BUSY).filter_map(|seat| of(*seat)));
        Presence { status, activities: busy.activities, devices }
    }

    fn count(&mut self, device: Device, status: Status) -> Option<&mut u32> {
        let device = DEVICES.iter().position(|d| *d == device)?;
        let status = STATUSES.iter().position(|s| *s == status)?;
        Some(&mut self.counts[device][status])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clarion_model::presence::Activity;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_is_what_all_words_come_to(
            steps in proptest::collection::vec((0u32..6, 0usize..3, 0usize..5, 0u8..4), 0..40),
        ) {
            let mut showing = Showing::default();
            let mut sessions: BTreeMap<Seat, (Device, Presence)> = BTreeMap::new();
            for (seat, device, status, activity) in steps {
                let seat = Seat { shard: 0, seat };
                if let Some((device, presence)) = sessions.remove(&seat) {
                    showing.remove(seat, device, &presence);
                }
                if let Some(status) = STATUSES.get(status) {
                    let device = DEVICES[device];
                    let activity = Activity {
                        name: format!("{activity}"), kind: 0, state: None, url: None, created_at_ms: 1,
                    };
                    let activities = if activity.name == "0" { Vec::new() } else { vec![activity] };
                    let presence = Presence { status: *status, activities, devices: Devices::one(device, *status) };
                    showing.add(seat, device, &presence);
                    sessions.insert(seat, (device, presence));
                }
                let word = showing.word(|seat| sessions.get(&seat).map(|(_, presence)| presence));
                prop_assert_eq!(word, Presence::merge(sessions.values().map(|(_, presence)| presence)));
            }
        }
    }
}
