//! On which voice server a room is: one room, one server, for as long as somebody is in it. Pure.
//!
//! Nothing of it is kept: gateways say where their sessions are, and a router that has just begun hears it from them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clarion_model::id::ChannelId;
use clarion_proto::{VoiceHello, VoiceReport, VoiceRooms, VoiceServer};
use clarion_runtime::Address;

/// How long a room is kept for those who were sent to it before they are there: as long as they are let in, and a bit.
const EXPECTED: Duration = Duration::from_secs(75);
/// What a room adds to how busy its server is taken to be, until the server says itself.
const ROOM: f64 = 0.01;

/// The voice servers there are and the rooms on them.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    servers: BTreeMap<String, Server>,
    placed: BTreeMap<ChannelId, Placed>,
    /// Where the sessions of each gateway are.
    held: BTreeMap<String, BTreeMap<ChannelId, String>>,
}

#[derive(Debug)]
struct Server {
    address: Address,
    region: String,
    url: String,
    utilization: f64,
    draining: bool,
    /// Rooms that came to lie here since it last said how busy it is.
    new: u32,
}

#[derive(Debug)]
struct Placed {
    server: String,
    /// When somebody was last sent there.
    at: Instant,
}

impl Rooms {
    /// A server has come, or come again.
    pub(crate) fn join(&mut self, instance: &str, address: Address, hello: VoiceHello) {
        let VoiceHello { region, url } = hello;
        let server = Server { address, region, url, utilization: 0.0, draining: false, new: 0 };
        self.servers.insert(instance.to_owned(), server);
    }

    /// Members have come, gone or begun to drain: `is` answers whether one that is there drains. No room comes to a server
    /// that does. Answers whether anything is different.
    pub(crate) fn keep(&mut self, is: impl Fn(&str) -> Option<bool>) -> bool {
        self.held.retain(|gateway, _| is(gateway).is_some());
        let before = self.servers.len();
        self.servers.retain(|server, _| is(server).is_some());
        let mut changed = self.servers.len() != before;
        for (name, server) in self.servers.iter_mut().filter(|(_, server)| !server.draining) {
            server.draining = is(name) == Some(true);
            changed |= server.draining;
        }
        if changed {
            let open = |server: &str| self.servers.get(server).is_some_and(|server| !server.draining);
            self.placed.retain(|_, placed| open(&placed.server));
        }
        changed
    }

    /// A server says how busy it is.
    pub(crate) fn report(&mut self, instance: &str, report: VoiceReport) {
        if let Some(server) = self.servers.get_mut(instance) {
            server.utilization = if report.utilization.is_finite() { report.utilization } else { 1.0 };
            server.new = 0;
        }
    }

    /// A gateway says where its sessions are.
    pub(crate) fn hold(&mut self, gateway: &str, told: VoiceRooms, now: Instant) {
        let rooms = told.rooms.into_iter().map(|room| (ChannelId(room.channel_id), room.server));
        self.held.insert(gateway.to_owned(), rooms.collect());
        let held = &self.held;
        self.placed.retain(|channel, placed| {
            now.saturating_duration_since(placed.at) < EXPECTED
                || held.values().any(|rooms| rooms.get(channel) == Some(&placed.server))
        });
    }

    /// Where a room is, or is to be from now on. `None`: nowhere.
    pub(crate) fn place(&mut self, channel: ChannelId, region: &str, now: Instant) -> Option<VoiceServer> {
        let open = |server: &str| self.servers.get(server).is_some_and(|server| !server.draining);
        let placed = self.placed.get(&channel).map(|placed| placed.server.clone());
        let held = || self.held.values().filter_map(|rooms| rooms.get(&channel)).find(|server| open(server)).cloned();
        if let Some(server) = placed.or_else(held) {
            self.placed.insert(channel, Placed { server: server.clone(), at: now });
            return self.named(&server);
        }
        let server = self.least_busy(Some(region)).or_else(|| self.least_busy(None))?;
        if let Some(server) = self.servers.get_mut(&server) {
            server.new += 1;
        }
        self.placed.insert(channel, Placed { server: server.clone(), at: now });
        self.named(&server)
    }

    /// All servers.
    pub(crate) fn servers(&self) -> impl Iterator<Item = VoiceServer> {
        self.servers.iter().map(|(name, server)| server.told(name))
    }

    fn least_busy(&self, region: Option<&str>) -> Option<String> {
        let open = self.servers.iter().filter(|(_, server)| !server.draining);
        let there = open.filter(|(_, server)| region.is_none_or(|region| server.region == region));
        there.min_by(|(_, a), (_, b)| a.pressure().total_cmp(&b.pressure())).map(|(name, _)| name.clone())
    }

    fn named(&self, name: &str) -> Option<VoiceServer> {
        self.servers.get(name).map(|server| server.told(name))
    }
}

impl Server {
    fn pressure(&self) -> f64 {
        self.utilization + ROOM * f64::from(self.new)
    }

    fn told(&self, instance: &str) -> VoiceServer {
        VoiceServer {
            instance: instance.to_owned(),
            address: self.address.to_string(),
            region: self.region.clone(),
            url: self.url.clone(),
            utilization: self.utilization,
            draining: self.draining,
        }
    }
}

#[cfg(test)]
mod tests {
    use clarion_proto::VoiceRoom;

    use super::*;

    fn rooms(servers: &[(&str, &str)]) -> Rooms {
        let mut rooms = Rooms::default();
        for (name, region) in servers {
            let hello = VoiceHello { region: (*region).into(), url: format!("http://{name}") };
            rooms.join(name, Address::in_process(*name), hello);
        }
        rooms
    }

    fn report(rooms: &mut Rooms, server: &str, utilization: f64) {
        rooms.report(server, VoiceReport { utilization });
    }

    fn hold(rooms: &mut Rooms, gateway: &str, held: &[(u64, &str)], now: Instant) {
        let room = |(channel_id, server): &(u64, &str)| VoiceRoom { channel_id: *channel_id, server: (*server).into() };
        rooms.hold(gateway, VoiceRooms { rooms: held.iter().map(room).collect() }, now);
    }

    fn place(rooms: &mut Rooms, channel: u64, region: &str, now: Instant) -> Option<String> {
        rooms.place(ChannelId(channel), region, now).map(|server| server.instance)
    }

    #[test]
    fn a_room_comes_to_the_least_busy_server_of_its_region_and_stays() {
        let now = Instant::now();
        let mut rooms = rooms(&[("a", "eu"), ("b", "eu"), ("c", "us")]);
        report(&mut rooms, "a", 0.5);
        report(&mut rooms, "b", 0.3);
        assert_eq!(place(&mut rooms, 1, "eu", now).as_deref(), Some("b"));
        report(&mut rooms, "b", 0.9);
        assert_eq!(place(&mut rooms, 1, "us", now).as_deref(), Some("b"), "all meet there");
        assert_eq!(place(&mut rooms, 2, "eu", now).as_deref(), Some("a"));
        assert_eq!(place(&mut rooms, 3, "us", now).as_deref(), Some("c"));
        assert_eq!(place(&mut rooms, 4, "mars", now).as_deref(), Some("c"), "better far than not at all");
    }

    #[test]
    fn many_rooms_at_once_are_spread() {
        let now = Instant::now();
        let mut rooms = rooms(&[("a", ""), ("b", "")]);
        let on_a = (1..=10).filter(|n| place(&mut rooms, *n, "", now).as_deref() == Some("a")).count();
        assert_eq!(on_a, 5);
    }

    #[test]
    fn a_room_leaves_a_server_that_drains_or_dies() {
        let now = Instant::now();
        let mut rooms = rooms(&[("a", ""), ("b", "")]);
        assert_eq!(place(&mut rooms, 1, "", now).as_deref(), Some("a"));
        let drains = |name: &str| Some(name == "a");
        assert!(rooms.keep(drains) && !rooms.keep(drains));
        assert_eq!(place(&mut rooms, 1, "", now).as_deref(), Some("b"));
        assert!(rooms.keep(|_| None));
        assert_eq!(place(&mut rooms, 1, "", now), None);
    }

    #[test]
    fn an_empty_room_is_free_again_and_a_new_router_learns_where_rooms_are() {
        let now = Instant::now();
        let mut rooms = rooms(&[("a", ""), ("b", "")]);
        assert_eq!(place(&mut rooms, 1, "", now).as_deref(), Some("a"));
        report(&mut rooms, "a", 0.9);
        hold(&mut rooms, "g", &[], now + EXPECTED / 2);
        assert_eq!(place(&mut rooms, 1, "", now + EXPECTED / 2).as_deref(), Some("a"), "somebody is on the way");
        hold(&mut rooms, "h", &[(1, "a")], now + 2 * EXPECTED);
        assert_eq!(place(&mut rooms, 1, "", now + 2 * EXPECTED).as_deref(), Some("a"), "somebody is there");
        rooms.keep(|name| (name != "h").then_some(false));
        hold(&mut rooms, "g", &[(7, "a")], now + 4 * EXPECTED);
        assert_eq!(place(&mut rooms, 1, "", now + 4 * EXPECTED).as_deref(), Some("b"));
        assert_eq!(place(&mut rooms, 7, "", now).as_deref(), Some("a"), "it was there before");
    }
}
