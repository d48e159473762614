//! Sessions that come from other gateways and go to them: their media stays where it is. Pure.

use clarion_proto::v1;

use super::{At, Book, Do, Leg, LegKey, Wanted, participant};

/// A session was found in its room.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) server: v1::VoiceServer,
    pub(crate) participant: v1::Participant,
    /// What it may do there.
    pub(crate) permissions: v1::VoicePermissions,
}

impl Book {
    /// A session came from another gateway, which had it in a room: it stays where it is.
    pub(crate) fn keep(&mut self, key: &LegKey, wanted: Wanted) -> Vec<Do> {
        if self.legs.contains_key(key) {
            return self.want(key, Some(wanted));
        }
        self.turns += 1;
        self.rooms.entry(wanted.channel).or_default().insert(key.clone());
        let leg = Leg { wanted: wanted.clone(), turn: self.turns, at: At::Finding, attempts: 0 };
        self.legs.insert(key.clone(), leg);
        vec![Do::Find { key: key.clone(), turn: self.turns, wanted }]
    }

    /// It was asked where a session is. One that is nowhere any more is placed anew.
    pub(crate) fn found(&mut self, key: &LegKey, turn: u64, result: Option<Found>) -> Vec<Do> {
        let Some(leg) = self.legs.get_mut(key).filter(|leg| leg.turn == turn) else {
            let unwanted = result.filter(|found| !self.wants(key, &found.participant));
            let dismiss = |found: Found| Do::Dismiss { address: found.server.address, participant: found.participant };
            return unwanted.map(dismiss).into_iter().collect();
        };
        let Some(Found { server, permissions, .. }) = result else { return self.place(key).into_iter().collect() };
        leg.at = At::On { server: server.instance.clone(), said: permissions, saying: false };
        let mut out: Vec<Do> = self.attend(&server).into_iter().collect();
        out.extend(self.say_permissions(key));
        out
    }

    /// A session goes on at another gateway. Answers where its media is, for as long as that gateway has not taken over.
    pub(crate) fn let_go(&mut self, key: &LegKey) -> (Option<(String, v1::Participant)>, Vec<Do>) {
        let Some(leg) = self.forget(key) else { return (None, Vec::new()) };
        let At::On { server, .. } = &leg.at else { return (None, self.unattend()) };
        let address = self.servers.get(server).map(|server| server.address.clone());
        (address.map(|address| (address, participant(key, &leg.wanted))), self.unattend())
    }

    /// The servers that the routers name, and that stay.
    pub(crate) fn listed(&self) -> Vec<v1::VoiceServer> {
        let listed = self.servers.iter().filter(|(_, server)| server.listed && !server.draining);
        let told = listed.map(|(instance, server)| v1::VoiceServer {
            instance: instance.clone(),
            address: server.address.clone(),
            url: server.url.clone(),
            region: server.region.clone(),
            ..v1::VoiceServer::default()
        });
        told.collect()
    }
}
