//! The way of a packet: from a publisher to all who listen. Nothing here waits, locks or makes a span.

use std::time::Instant;

use clarion_observability::metric::{MediaDirection, MediaDrop};
use rtc::rtp;

use super::{Engine, first_packet};
use crate::reception::Reception;
use crate::remote::Remote;
use crate::rtcp::{self, Item};
use crate::rtp::{HEADER, Header};
use crate::slots::{Candidate, Place};
use crate::{red, rtp as wire};

/// A frame on its way to the listeners.
struct Frame<'a> {
    from: usize,
    publisher: u64,
    slot: usize,
    sequence: u16,
    timestamp: u32,
    payload: &'a [u8],
    /// The first since it was given the slot: what was said before was kept back.
    begins: bool,
}

impl Engine {
    /// A packet of media from a leg's address.
    pub(super) fn media(&mut self, now: Instant, from: Remote, at: usize, packet: &[u8]) {
        let Some(leg) = &mut self.legs[at] else { return };
        let Some(header) = Header::read(packet) else { return self.drop(MediaDrop::Malformed) };
        let (Some(keys), Some(voice)) = (&mut leg.secure.keys, &mut leg.voice) else {
            return self.drop(MediaDrop::NotAuthentic);
        };
        let is_red = Some(header.payload_type) == voice.red;
        if !(is_red || header.payload_type == voice.opus) || !voice.admits(header.ssrc) {
            return self.drop(MediaDrop::Malformed);
        }
        let Ok(plain) = keys.inbound.decrypt_rtp_with_header(packet, &cipher_header(&header)) else {
            return self.drop(MediaDrop::NotAuthentic);
        };
        leg.quiet = false;
        let id = leg.id;
        let reception = match &mut voice.reception {
            Some(reception) if reception.ssrc() == header.ssrc => reception,
            other => other.insert(Reception::new(now, header.ssrc, header.sequence, header.timestamp)),
        };
        let gap = reception.packet(now, header.sequence, header.timestamp);
        let Some(payload) = header.payload(&plain) else { return self.drop(MediaDrop::Malformed) };
        let frames = if is_red { red::read(payload) } else { None };
        let (own, before) = match &frames {
            Some(frames) if frames.payload_type == voice.opus => (frames.primary, frames.before.as_slice()),
            Some(_) => return self.drop(MediaDrop::Malformed),
            None if is_red => return self.drop(MediaDrop::Malformed),
            None => (payload, &[][..]),
        };
        let level = voice.level.and_then(|id| header.audio_level(&plain, id));
        voice.speaker.heard(now, level, own.len());
        let candidate = Candidate {
            publisher: id,
            loudness: voice.speaker.loudness(),
            speaks: voice.speaker.speaks(),
            priority: leg.permissions.priority,
        };
        let (channel, speak) = (leg.who.channel, leg.permissions.speak);
        leg.used(now, from);
        self.events.extend(first_packet(leg, now));
        self.count(MediaDirection::Up, packet.len());
        // A frame of nothing keeps the way open and is heard by nobody.
        if own.is_empty() {
            return;
        }
        if !speak {
            return self.drop(MediaDrop::Muted);
        }
        let Some(room) = self.rooms.get_mut(&channel) else { return };
        let (slot, mut begins) = match room.slots.place(now, candidate) {
            Place::Kept(slot) => (slot, false),
            Place::Taken(slot) => {
                self.counts.switches += 1;
                self.tell_heard(now, channel);
                (slot, true)
            }
            Place::Nowhere => return self.drop(MediaDrop::NoSlot),
        };
        let mut frame = |back: u16, ago: u32, payload| Frame {
            from: at,
            publisher: id,
            slot,
            sequence: header.sequence.wrapping_sub(back),
            timestamp: header.timestamp.wrapping_sub(ago),
            payload,
            begins: std::mem::take(&mut begins),
        };
        // Lost just before, and found in this one's redundancy: the last of those is that of the packet before.
        if gap > 0 {
            let lost = before.len().min(usize::from(gap));
            for (n, (ago, payload)) in before[before.len() - lost..].iter().enumerate() {
                self.counts.recovered += 1;
                self.fan_out(now, channel, &frame((lost - n) as u16, *ago, payload));
            }
        }
        self.fan_out(now, channel, &frame(0, 0, own));
    }

    fn fan_out(&mut self, now: Instant, channel: u64, frame: &Frame<'_>) {
        let Some(room) = self.rooms.get(&channel) else { return };
        for member in &room.members {
            if *member == frame.from {
                continue;
            }
            let Some(leg) = &mut self.legs[*member] else { continue };
            if !leg.listens() {
                continue;
            }
            let (Some(to), Some(outgoing)) = (leg.address, leg.stream(now, frame.slot)) else { continue };
            let (sequence, timestamp) = (frame.sequence, frame.timestamp);
            if frame.begins {
                outgoing.rewriter.interrupt();
            }
            let Some(new) = outgoing.rewriter.rewrite(now, frame.publisher, sequence, timestamp) else { continue };
            let stream = outgoing.stream;
            self.scratch.clear();
            wire::write(&mut self.scratch, stream.payload_type, new.begins, new.sequence, new.timestamp, stream.ssrc);
            self.scratch.extend_from_slice(frame.payload);
            let header = rtp::Header { ssrc: stream.ssrc, sequence_number: new.sequence, ..rtp::Header::default() };
            outgoing.packets = outgoing.packets.wrapping_add(1);
            outgoing.bytes = outgoing.bytes.wrapping_add(frame.payload.len() as u32);
            let Some(keys) = &mut leg.secure.keys else { continue };
            // It fails when a key has been used up, after years.
            let Ok(packet) = keys.outbound.encrypt_rtp_with_header(&self.scratch, &header) else { continue };
            self.counts.packets[MediaDirection::Down as usize] += 1;
            self.counts.bytes[MediaDirection::Down as usize] += packet.len() as u64;
            if leg.join.is_some() {
                self.events.extend(first_packet(leg, now));
            }
            self.out.push(to, packet);
        }
    }

    /// Reports from a leg's address.
    pub(super) fn reports(&mut self, now: Instant, from: Remote, at: usize, packet: &[u8]) {
        let Some(leg) = &mut self.legs[at] else { return };
        let admitted = wire::u32_at(packet, 4).is_some_and(|ssrc| leg.admits_reporter(ssrc));
        let Some(keys) = leg.secure.keys.as_mut().filter(|_| admitted) else {
            return self.drop(MediaDrop::NotAuthentic);
        };
        let Ok(plain) = keys.inbound.decrypt_rtcp(packet) else { return self.drop(MediaDrop::NotAuthentic) };
        leg.used(now, from);
        leg.quiet = false;
        let clock = self.clock;
        rtcp::read(&plain, |item| match item {
            Item::Sender { ssrc, clock } => {
                let reception = leg.voice.as_mut().and_then(|voice| voice.reception.as_mut());
                if let Some(reception) = reception.filter(|reception| reception.ssrc() == ssrc) {
                    reception.sender_report(now, clock);
                }
            }
            Item::Block(block) => {
                if let Some(slot) = leg.streams.iter().position(|out| out.stream.ssrc == block.ssrc) {
                    leg.listening.report(slot, &block, clock.round_trip(now, &block));
                }
            }
        });
    }
}

/// All that the ciphers want to know of a header: its source, its sequence, and how long it is. Its words beyond the
/// fixed ones, whatever they are, are passed off as sources, so that nobody need parse them twice.
pub(super) fn cipher_header(header: &Header) -> rtp::Header {
    rtp::Header {
        ssrc: header.ssrc,
        sequence_number: header.sequence,
        csrc: vec![0; (header.length - HEADER) / 4],
        ..rtp::Header::default()
    }
}
