//! The servers on which legs are: what the routers name, what the gateway hears, and what follows when they differ. Pure.

use std::collections::BTreeSet;

use clarion_model::id::ChannelId;
use clarion_proto::v1;

use super::{At, Book, Do, Leg, LegKey, ROOMS, Server, heard};

impl Book {
    /// Where servers stand, where clients reach them, and where gateways do.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let listed = self.servers.values().filter(|server| server.listed);
        listed.map(|server| (&*server.region, &*server.url, &*server.address))
    }

    /// The router says which servers there are.
    pub(crate) fn servers(&mut self, servers: Vec<v1::VoiceServer>) -> Vec<Do> {
        let mut drained = Vec::new();
        self.servers.values_mut().for_each(|server| server.listed = false);
        for told in servers {
            let server = self.learn(&told);
            if told.draining && !server.draining {
                drained.push(told.instance.clone());
            }
            server.draining = told.draining;
        }
        let mut out: Vec<Do> = drained.iter().flat_map(|server| self.empty(server)).collect();
        out.extend(self.lose());
        out
    }

    /// The stream from a server works, or is broken.
    pub(crate) fn attended(&mut self, server: &str, works: bool) -> Vec<Do> {
        if let Some(server) = self.servers.get_mut(server) {
            server.heard = works;
        }
        let mut out = self.lose();
        if works {
            // What it said before is lost. Those who are not there any more are found out by being told what they may do.
            let on = |leg: &Leg| matches!(&leg.at, At::On { server: on, .. } if on == server);
            let keys: Vec<LegKey> = self.legs.iter().filter(|(_, leg)| on(leg)).map(|(key, _)| key.clone()).collect();
            out.extend(keys.iter().flat_map(|key| self.say(key, true)));
        }
        out
    }

    /// Who is heard in a room.
    pub(crate) fn heard(&mut self, server: &str, room: v1::RoomHeard) -> Vec<Do> {
        let channel = ChannelId(room.channel_id);
        let listens = |key: &&LegKey| {
            self.legs
                .get(*key)
                .is_some_and(|leg| leg.wanted.person && matches!(&leg.at, At::On { server: on, .. } if on == server))
        };
        let keys = self.rooms.get(&channel).into_iter().flatten().filter(listens);
        let out = keys.map(|key| heard(key, channel, &room.slots)).collect();
        if room.slots.is_empty() {
            self.slots.remove(&channel);
        } else {
            if self.slots.len() >= ROOMS {
                self.slots.clear();
            }
            self.slots.insert(channel, (server.to_owned(), room.slots));
        }
        out
    }

    /// All legs on a server have to go elsewhere.
    pub(super) fn empty(&mut self, server: &str) -> Vec<Do> {
        let on = |leg: &Leg| matches!(&leg.at, At::On { server: on, .. } if on == server);
        let keys: Vec<LegKey> = self.legs.iter().filter(|(_, leg)| on(leg)).map(|(key, _)| key.clone()).collect();
        keys.iter().flat_map(|key| self.moved(key)).collect()
    }

    /// Leaves servers that neither the router nor this gateway sees any more.
    pub(super) fn lose(&mut self) -> Vec<Do> {
        let gone = |server: &Server| !server.listed && !server.heard;
        let names = self.servers.iter().filter(|(_, server)| gone(server)).map(|(name, _)| name.clone());
        let names: Vec<String> = names.collect();
        let mut out = Vec::new();
        for name in names {
            out.extend(self.empty(&name));
            if self.servers.remove(&name).is_some_and(|server| server.attending) {
                out.push(Do::Unattend { server: name });
            }
        }
        out
    }

    pub(super) fn learn(&mut self, told: &v1::VoiceServer) -> &mut Server {
        let server = self.servers.entry(told.instance.clone()).or_insert_with(|| Server {
            address: String::new(),
            url: String::new(),
            region: String::new(),
            listed: true,
            draining: false,
            attending: false,
            heard: false,
        });
        server.listed = true;
        server.address.clone_from(&told.address);
        server.url.clone_from(&told.url);
        server.region.clone_from(&told.region);
        server
    }

    pub(super) fn attend(&mut self, told: &v1::VoiceServer) -> Option<Do> {
        let server = self.learn(told);
        let is_new = !std::mem::replace(&mut server.attending, true);
        is_new.then(|| Do::Attend { server: told.instance.clone(), address: told.address.clone() })
    }

    /// Stops to listen to servers on which nobody is.
    pub(super) fn unattend(&mut self) -> Vec<Do> {
        let on = |leg: &Leg| if let At::On { server, .. } = &leg.at { Some(server.clone()) } else { None };
        let used: BTreeSet<String> = self.legs.values().filter_map(on).collect();
        let mut out = Vec::new();
        for (name, server) in &mut self.servers {
            if server.attending && !used.contains(name) {
                (server.attending, server.heard) = (false, false);
                out.push(Do::Unattend { server: name.clone() });
            }
        }
        out
    }
}
