//! The voice servers among the members: gateways are told of them, and each router knows where rooms are.

use std::time::Instant;

use clarion_model::id::ChannelId;
use clarion_proto::{JoinResponse, MemberKind, VoiceHello, VoiceReport, VoiceRooms, VoiceServer, VoiceServers};

use super::{State, Table};

impl Table {
    /// A member is a voice server.
    pub(crate) fn speaks(&self, instance: &str, hello: VoiceHello) {
        let mut state = self.lock();
        let Some(address) = state.members.get(instance).map(|member| member.address.clone()) else { return };
        state.voice.join(instance, address, hello);
        state.tell_of_voice();
    }

    /// A gateway is told which voice servers there are, from now on.
    pub(crate) fn greet(&self, gateway: &str) {
        let mut state = self.lock();
        let told = state.voice_servers();
        if let Some(member) = state.members.get_mut(gateway) {
            member.order(told);
        }
    }

    /// A voice server says how busy it is.
    pub(crate) fn reported(&self, instance: &str, report: VoiceReport) {
        self.lock().voice.report(instance, report);
    }

    /// A gateway says on which voice servers its sessions are.
    pub(crate) fn rooms(&self, gateway: &str, rooms: VoiceRooms) {
        self.lock().voice.hold(gateway, rooms, Instant::now());
    }

    /// On which voice server a room is from now on, if there is any.
    pub(crate) fn place_voice(&self, channel: ChannelId, region: &str) -> Option<VoiceServer> {
        self.lock().voice.place(channel, region, Instant::now())
    }
}

impl State {
    /// Members have come, gone, or begun to drain.
    pub(super) fn settle_voice(&mut self) {
        let members = &self.members;
        if self.voice.keep(|instance| members.get(instance).map(|member| member.leaving)) {
            self.tell_of_voice();
        }
    }

    fn voice_servers(&self) -> JoinResponse {
        let servers = self.voice.servers().collect();
        let term = self.lead.map_or(0, |lead| lead.term.0);
        JoinResponse { voice: Some(VoiceServers { servers }), term, ..JoinResponse::default() }
    }

    fn tell_of_voice(&mut self) {
        let told = self.voice_servers();
        let gateways = self.members.values_mut().filter(|member| member.kind == MemberKind::Gateway);
        gateways.for_each(|gateway| gateway.order(told.clone()));
    }
}

#[cfg(test)]
mod tests {
    use clarion_runtime::Address;

    use super::*;

    #[test]
    fn gateways_are_told_which_voice_servers_there_are() {
        let table = Table::new();
        let (_, mut gateway) = table.join("g", MemberKind::Gateway, Address::in_process("g"));
        table.greet("g");
        let mut told = || {
            let servers = gateway.try_recv().expect("told").voice.expect("of voice servers").servers;
            servers.into_iter().map(|server| (server.instance, server.draining)).collect::<Vec<_>>()
        };
        assert!(told().is_empty());
        let (serial, _orders) = table.join("v", MemberKind::Voice, Address::in_process("v"));
        table.speaks("v", VoiceHello::default());
        assert_eq!(told(), [("v".to_owned(), false)]);
        assert_eq!(table.place_voice(ChannelId(1), "").expect("placed").instance, "v");
        table.leaving("v");
        assert_eq!(told(), [("v".to_owned(), true)]);
        assert_eq!(table.place_voice(ChannelId(1), ""), None);
        table.gone("v", serial);
        assert!(told().is_empty());
        let _ = table.join("c", MemberKind::Channel, Address::in_process("c"));
        assert!(gateway.try_recv().is_err(), "nothing of what does not concern them");
    }
}
