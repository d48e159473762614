//! What a shard does by the clock: handshakes again, reports, windows of quality, who is heard, who is gone.

use std::time::{Duration, Instant};

use clarion_observability::metric::{LeaveReason, MediaDirection, MediaDrop, MediaTransport};

use super::{Engine, Event, Heard, TICK};
use crate::leg::Leg;
use crate::quality::{self, WINDOW, Way};
use crate::rtcp::{self, Sent};

/// How often a client is reported to.
const REPORTS: Duration = Duration::from_secs(1);
/// How often a room is told at most.
const TOLD: Duration = Duration::from_millis(200);
/// How long a join waits for media once it is connected.
const SILENT: Duration = Duration::from_secs(10);
/// What the server takes of a packet's time, for the score; what it really takes has a metric of its own.
const FORWARD: f64 = 0.001;

impl Engine {
    /// To be called every [`TICK`].
    pub(crate) fn tick(&mut self, now: Instant) {
        for at in 0..self.legs.len() {
            let Some(leg) = &mut self.legs[at] else { continue };
            let silent = now.saturating_duration_since(leg.heard);
            if !leg.is_connected() {
                leg.secure.tick(now);
                while let Some(datagram) = leg.secure.next() {
                    self.out.extend(leg.address.map(|to| (to, datagram)));
                }
                if now.saturating_duration_since(leg.began) >= self.patience.connect {
                    self.end(now, at, LeaveReason::Expired);
                }
                continue;
            }
            if silent >= self.patience.vanish {
                self.end(now, at, LeaveReason::Vanished);
                continue;
            }
            if silent >= self.patience.quiet && !leg.quiet {
                leg.quiet = true;
                let (id, channel) = (leg.id, leg.who.channel);
                if self.rooms.get_mut(&channel).is_some_and(|room| room.slots.release(id)) {
                    self.tell_heard(now, channel);
                }
            }
            self.timed(now, at);
        }
        self.look_at_rooms(now);
        self.flush_counts();
    }

    fn timed(&mut self, now: Instant, at: usize) {
        let Some(leg) = &mut self.legs[at] else { return };
        if let Some(voice) = &mut leg.voice {
            voice.speaker.look(now);
        }
        let waited = leg.join.as_ref().is_some_and(|join| now.saturating_duration_since(join.began) >= SILENT);
        if waited {
            leg.join = None;
        }
        if now >= leg.report_at {
            leg.report_at = now + REPORTS;
            // Not more often, however often a client changes it.
            if let Some(transport) = leg.transport().filter(|transport| leg.told != Some(*transport)) {
                leg.told = Some(transport);
                self.events.push_back(Event::Moved { who: leg.who.clone(), transport });
            }
            self.report(now, at);
        }
        let Some(leg) = &mut self.legs[at] else { return };
        if now.saturating_duration_since(leg.window_at) >= WINDOW {
            leg.window_at = now;
            self.close_window(at);
        }
    }

    /// The client is told how it arrives and what it was sent.
    fn report(&mut self, now: Instant, at: usize) {
        let clock = self.clock.at(now);
        let Some(leg) = &mut self.legs[at] else { return };
        let (Some(to), Some(keys)) = (leg.address, &mut leg.secure.keys) else { return };
        if let Some(voice) = &mut leg.voice
            && let Some(reception) = &mut voice.reception
        {
            self.scratch.clear();
            rtcp::receiver_report(&mut self.scratch, voice.reporter, reception.block(now));
            self.out.extend(keys.outbound.encrypt_rtcp(&self.scratch).ok().map(|packet| (to, packet)));
        }
        for outgoing in &mut leg.streams {
            let Some(timestamp) = outgoing.rewriter.timestamp_at(now) else { continue };
            if outgoing.packets == outgoing.reported {
                continue;
            }
            outgoing.reported = outgoing.packets;
            self.scratch.clear();
            let (ssrc, packets, bytes) = (outgoing.stream.ssrc, outgoing.packets, outgoing.bytes);
            rtcp::sender_report(&mut self.scratch, clock, Sent { ssrc, timestamp, packets, bytes });
            self.out.extend(keys.outbound.encrypt_rtcp(&self.scratch).ok().map(|packet| (to, packet)));
        }
    }

    fn close_window(&mut self, at: usize) {
        let Some(leg) = &mut self.legs[at] else { return };
        let reports = leg.listening.reports();
        let down = leg.listening.close();
        leg.up = way_up(leg, down.round_trip);
        let (id, channel, up, who) = (leg.id, leg.who.channel, leg.up, leg.who.clone());
        let Some(room) = self.rooms.get(&channel) else { return };
        let others = room.slots.held().filter(|(_, publisher)| *publisher != id);
        let speakers = others.filter_map(|(_, publisher)| {
            let at = self.by_id.get(&publisher)?;
            self.legs.get(*at)?.as_ref().map(|leg| leg.up)
        });
        let quality = quality::score(up, down, quality::mean(speakers), FORWARD);
        self.events.push_back(Event::Quality { leg: id, who, quality, reports });
    }

    fn look_at_rooms(&mut self, now: Instant) {
        let channels: Vec<u64> = self.rooms.keys().copied().collect();
        for channel in channels {
            self.tell_heard(now, channel);
        }
    }

    /// Tells who is heard in a room, if it is not what was told and the last time is long enough ago. What is not told now
    /// is told by a later tick.
    pub(super) fn tell_heard(&mut self, now: Instant, channel: u64) {
        let Some(room) = self.rooms.get_mut(&channel) else { return };
        if room.told.is_some_and(|told| now.saturating_duration_since(told) < TOLD) && !room.members.is_empty() {
            return;
        }
        let (by_id, legs) = (&self.by_id, &self.legs);
        let heard = |(slot, publisher)| {
            let leg = legs.get(*by_id.get(&publisher)?)?.as_ref()?;
            let speaking = leg.permissions.speak && leg.voice.as_ref().is_some_and(|voice| voice.speaker.speaks());
            Some(Heard { slot, user: leg.who.user, speaking })
        };
        let slots: Vec<Heard> = room.slots.held().filter_map(heard).collect();
        if slots != room.last {
            (room.told, room.last) = (Some(now), slots.clone());
            self.events.push_back(Event::Heard { channel, slots });
        }
    }

    fn flush_counts(&mut self) {
        let counts = std::mem::take(&mut self.counts);
        let metrics = &self.metrics;
        for direction in [MediaDirection::Up, MediaDirection::Down] {
            metrics.packets.with(direction).increment(counts.packets[direction as usize]);
            metrics.bytes.with(direction).increment(counts.bytes[direction as usize]);
        }
        for (count, reason) in counts.dropped {
            if let Some(reason) = reason {
                let reason: MediaDrop = reason;
                metrics.dropped.with(reason).increment(count);
            }
        }
        metrics.recovered.increment(counts.recovered);
        metrics.slot_switches.increment(counts.switches);
    }

    /// Who is here now.
    pub(crate) fn population(&self) -> Population {
        let carried = |leg: &&Leg| leg.is_connected() && leg.transport() == Some(MediaTransport::Tcp);
        let over_tcp = self.legs.iter().flatten().map(Box::as_ref).filter(carried).count();
        Population { connected: self.connected, over_tcp, rooms: self.rooms.len() }
    }
}

/// How many there are.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Population {
    /// Legs that are connected.
    pub(crate) connected: usize,
    /// Those of them whose media goes over TCP.
    pub(crate) over_tcp: usize,
    /// Rooms with somebody in them.
    pub(crate) rooms: usize,
}

/// How a leg came up since the last window.
fn way_up(leg: &mut Leg, round_trip: Option<f64>) -> Way {
    let Some(voice) = &mut leg.voice else { return Way { round_trip, ..Way::default() } };
    let Some(reception) = &voice.reception else { return Way { round_trip, ..Way::default() } };
    let now = reception.count();
    let before = std::mem::replace(&mut voice.counted, now);
    quality::incoming(before, now, reception.jitter(), round_trip)
}

// Speech is looked at more often than a window of it is long.
const _: () = assert!(TICK.as_millis() < 400);
