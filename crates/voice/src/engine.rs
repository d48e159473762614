//! The media of one shard: a datagram, a command or a moment comes in, datagrams and events come out. It has no socket
//! and no clock of its own.

mod forward;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod periodic;

pub(crate) use periodic::Population;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::BytesMut;
use clarion_observability::metric::{LeaveReason, MediaDirection, MediaDrop, MediaTransport, VoiceMetrics};
use clarion_observability::span;
use tracing::Span;

use crate::ice::{Check, Credentials};
use crate::leg::{Leg, Permissions, Spec, Who};
use crate::quality::Quality;
use crate::remote::{Out, Remote};
use crate::rtcp::Clock;
use crate::secure::{Identity, Outcome};
use crate::slots::Slots;

/// When what is sent is counted, and what is timed is done.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// What a shard is told.
pub(crate) enum Command {
    /// A participant's offer was answered.
    Join(Box<Spec>),
    /// A new ICE session of a leg.
    Restart { leg: u64, credentials: Credentials },
    /// What a participant may do from now on.
    Permit { leg: u64, permissions: Permissions },
    /// A leg is over.
    End { leg: u64, reason: LeaveReason },
}

/// What a shard tells.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// A leg's media is connected.
    Connected { who: Who, transport: MediaTransport },
    /// A leg's media goes another way.
    Moved { who: Who, transport: MediaTransport },
    /// A leg's first packet of media, either way, after its offer.
    FirstPacket { leg: u64, after: Duration },
    /// A leg is no more.
    Gone { leg: u64, who: Who, reason: LeaveReason },
    /// Who is heard in a room, the whole of it.
    Heard { channel: u64, slots: Vec<Heard> },
    /// How it was in a leg's last window.
    Quality { leg: u64, who: Who, quality: Quality, reports: u64 },
}

/// Who is heard in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) slot: usize,
    pub(crate) user: u64,
    pub(crate) speaking: bool,
}

/// How patient a shard is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// From the answer to the keys.
    pub(crate) connect: Duration,
    /// Without anything authentic, a leg's slots are free.
    pub(crate) quiet: Duration,
    /// And then it is gone.
    pub(crate) vanish: Duration,
}

/// Those in one voice channel who are connected here.
#[derive(Default)]
struct Room {
    members: Vec<usize>,
    slots: Slots,
    told: Option<Instant>,
    last: Vec<Heard>,
}

/// What was counted since the last tick.
#[derive(Default)]
struct Counts {
    packets: [u64; 2],
    bytes: [u64; 2],
    dropped: [(u64, Option<MediaDrop>); 6],
    recovered: u64,
    switches: u64,
}

/// A shard's media.
pub(crate) struct Engine {
    identity: Arc<Identity>,
    metrics: VoiceMetrics,
    patience: Patience,
    clock: Clock,
    /// Slots of the slab that are free are `None`.
    legs: Vec<Option<Box<Leg>>>,
    free: Vec<usize>,
    by_id: HashMap<u64, usize>,
    by_ufrag: HashMap<String, usize>,
    by_address: HashMap<Remote, usize>,
    rooms: HashMap<u64, Room>,
    out: Out,
    events: VecDeque<Event>,
    scratch: Vec<u8>,
    counts: Counts,
    connected: usize,
}

impl Engine {
    pub(crate) fn new(now: Instant, identity: Arc<Identity>, metrics: VoiceMetrics, patience: Patience) -> Self {
        Self {
            identity,
            metrics,
            patience,
            clock: Clock::new(now, SystemTime::now()),
            legs: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::new(),
            by_ufrag: HashMap::new(),
            by_address: HashMap::new(),
            rooms: HashMap::new(),
            out: Out::default(),
            events: VecDeque::new(),
            scratch: Vec::with_capacity(2_048),
            counts: Counts::default(),
            connected: 0,
        }
    }

    /// A datagram from somewhere, or what a connection's frame held.
    pub(crate) fn datagram(&mut self, now: Instant, from: Remote, datagram: &[u8]) {
        let Some(first) = datagram.first() else { return };
        // RFC 7983: what it is shows in the first byte.
        match (first, self.by_address.get(&from).copied()) {
            (0..=3, _) => self.check(now, from, datagram),
            (20..=63, Some(leg)) => self.handshake(now, from, leg, datagram),
            (128..=191, Some(leg)) => match datagram.get(1) {
                Some(192..=223) => self.reports(now, from, leg, datagram),
                _ => self.media(now, from, leg, datagram),
            },
            (_, None) => self.drop(MediaDrop::UnknownPeer),
            _ => self.drop(MediaDrop::Malformed),
        }
    }

    /// Something a shard is told.
    pub(crate) fn command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Join(spec) => self.join(now, *spec),
            Command::Restart { leg, credentials } => self.restart(leg, credentials),
            Command::Permit { leg, permissions } => self.permit(now, leg, permissions),
            Command::End { leg, reason } => {
                if let Some(at) = self.by_id.get(&leg).copied() {
                    self.end(now, at, reason);
                }
            }
        }
    }

    /// Whether something is a leg's: an authentic check came from there.
    pub(crate) fn knows(&self, remote: Remote) -> bool {
        self.by_address.contains_key(&remote)
    }

    /// Whether a leg is sent to over there.
    pub(crate) fn uses(&self, remote: Remote) -> bool {
        let leg = self.by_address.get(&remote).and_then(|at| self.legs[*at].as_ref());
        leg.is_some_and(|leg| leg.address == Some(remote))
    }

    /// A connection is no more. Who was sent to over it waits for another way, as one of whom nothing is heard.
    pub(crate) fn closed(&mut self, remote: Remote) {
        self.by_address.remove(&remote);
        // All of them: one connection may have been several legs', one after another.
        self.legs.iter_mut().flatten().for_each(|leg| leg.lost(remote));
    }

    /// What is to be sent now.
    pub(crate) fn outgoing(&mut self) -> &mut Out {
        &mut self.out
    }

    /// What happened, the oldest first.
    pub(crate) fn events(&mut self) -> &mut VecDeque<Event> {
        &mut self.events
    }

    /// Datagrams could not be sent.
    pub(crate) fn unsent(&mut self, count: u64) {
        for _ in 0..count {
            self.drop(MediaDrop::SendQueue);
        }
    }

    fn join(&mut self, now: Instant, spec: Spec) {
        let at = self.free.pop().unwrap_or_else(|| {
            self.legs.push(None);
            self.legs.len() - 1
        });
        let mut leg = Leg::new(now, spec);
        if let Some(join) = &mut leg.join {
            join.stage = span::voice_ice(&join.whole);
        }
        self.by_id.insert(leg.id, at);
        self.by_ufrag.insert(leg.credentials.ufrag.clone(), at);
        self.rooms.entry(leg.who.channel).or_default().members.push(at);
        self.legs[at] = Some(Box::new(leg));
    }

    fn restart(&mut self, leg: u64, credentials: Credentials) {
        let Some(at) = self.by_id.get(&leg).copied() else { return };
        let Some(leg) = &mut self.legs[at] else { return };
        self.by_ufrag.insert(credentials.ufrag.clone(), at);
        let before = std::mem::replace(&mut leg.credentials, credentials);
        if let Some(older) = leg.former.replace(before) {
            self.by_ufrag.remove(&older.ufrag);
        }
        // The new session chooses its way itself.
        leg.priority = 0;
    }

    fn permit(&mut self, now: Instant, leg: u64, permissions: Permissions) {
        let Some(at) = self.by_id.get(&leg).copied() else { return };
        let Some(leg) = &mut self.legs[at] else { return };
        leg.permissions = permissions;
        if !permissions.listen {
            leg.streams.iter_mut().for_each(|out| out.rewriter.interrupt());
        }
        if !permissions.speak
            && let Some(room) = self.rooms.get_mut(&leg.who.channel)
        {
            room.slots.release(leg.id);
        }
        let channel = leg.who.channel;
        self.tell_heard(now, channel);
    }

    /// A check of connectivity. Unknown names cost a look-up and nothing else.
    fn check(&mut self, now: Instant, from: Remote, datagram: &[u8]) {
        let Some(mut check) = Check::read(datagram) else { return self.drop(MediaDrop::Malformed) };
        let Some(at) = self.by_ufrag.get(&check.ufrag).copied() else { return self.drop(MediaDrop::UnknownPeer) };
        let Some(leg) = &mut self.legs[at] else { return };
        let current = leg.credentials.ufrag == check.ufrag;
        let credentials = if current { &leg.credentials } else { leg.former.as_ref().unwrap_or(&leg.credentials) };
        let crypto = self.identity.crypto.crypto();
        // Before this nothing of the leg may change: anybody can write a name.
        if !check.is_authentic(&credentials.pwd, crypto) {
            return self.drop(MediaDrop::NotAuthentic);
        }
        let answer = check.answer(from.address(), &credentials.pwd, crypto);
        if current && let Some(former) = leg.former.take() {
            self.by_ufrag.remove(&former.ufrag);
        }
        if let Some(join) = leg.join.as_mut().filter(|_| leg.address.is_none() && leg.secure.keys.is_none()) {
            join.stage = span::voice_dtls(&join.whole);
        }
        let gone = leg.checked(now, from, check.nominates, check.priority);
        leg.quiet = false;
        if let Some(gone) = gone.filter(|gone| self.by_address.get(gone) == Some(&at)) {
            self.by_address.remove(&gone);
        }
        self.by_address.insert(from, at);
        if let Some(answer) = answer {
            self.out.push(from, BytesMut::from(answer.as_slice()));
        }
    }

    fn handshake(&mut self, now: Instant, from: Remote, at: usize, datagram: &[u8]) {
        let Some(leg) = &mut self.legs[at] else { return };
        let outcome = leg.secure.read(now, datagram);
        while let Some(datagram) = leg.secure.next() {
            self.out.push(from, datagram);
        }
        match outcome {
            Outcome::Pending => {}
            Outcome::Keyed => {
                leg.used(now, from);
                let transport = from.transport();
                if let Some(join) = &mut leg.join {
                    span::carried(&join.whole, transport);
                    join.stage = span::voice_first_rtp(&join.whole);
                }
                self.connected += 1;
                leg.told = Some(transport);
                self.events.push_back(Event::Connected { who: leg.who.clone(), transport });
            }
            Outcome::Closed => self.end(now, at, LeaveReason::Left),
        }
    }

    /// Ends a leg and forgets everything of it.
    fn end(&mut self, now: Instant, at: usize, reason: LeaveReason) {
        let Some(mut leg) = self.legs[at].take() else { return };
        self.free.push(at);
        leg.secure.close(now);
        while let (Some(to), Some(datagram)) = (leg.address, leg.secure.next()) {
            self.out.push(to, datagram);
        }
        if let Some(join) = leg.join.take().filter(|_| !leg.is_connected()) {
            span::fail(&join.whole, "not_connected");
        }
        self.by_id.remove(&leg.id);
        self.by_ufrag.remove(&leg.credentials.ufrag);
        if let Some(former) = &leg.former {
            self.by_ufrag.remove(&former.ufrag);
        }
        for address in &leg.addresses {
            if self.by_address.get(address) == Some(&at) {
                self.by_address.remove(address);
            }
        }
        if leg.is_connected() {
            self.connected -= 1;
        }
        if let Some(room) = self.rooms.get_mut(&leg.who.channel) {
            room.members.retain(|member| *member != at);
            room.slots.release(leg.id);
        }
        self.tell_heard(now, leg.who.channel);
        if self.rooms.get(&leg.who.channel).is_some_and(|room| room.members.is_empty()) {
            self.rooms.remove(&leg.who.channel);
        }
        self.events.push_back(Event::Gone { leg: leg.id, who: leg.who.clone(), reason });
    }

    fn drop(&mut self, reason: MediaDrop) {
        let counted = &mut self.counts.dropped[reason as usize];
        *counted = (counted.0 + 1, Some(reason));
    }

    fn count(&mut self, direction: MediaDirection, bytes: usize) {
        self.counts.packets[direction as usize] += 1;
        self.counts.bytes[direction as usize] += bytes as u64;
    }
}

/// A leg's first packet of media: its join is over.
fn first_packet(leg: &mut Leg, now: Instant) -> Option<Event> {
    let join = leg.join.take()?;
    // The spans end here.
    drop::<(Span, Span)>((join.stage, join.whole));
    Some(Event::FirstPacket { leg: leg.id, after: now.saturating_duration_since(join.began) })
}
