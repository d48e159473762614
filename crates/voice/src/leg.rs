//! One participant's media: how it is reached, what it is permitted, what it sends and what it is sent.

use std::time::{Duration, Instant};

use clarion_observability::metric::MediaTransport;
use tracing::Span;

use crate::ice::Credentials;
use crate::quality::{Listening, Way};
use crate::reception::{Count, Reception};
use crate::remote::Remote;
use crate::rewrite::Rewriter;
use crate::sdp::{Media, Stream};
use crate::secure::Secure;
use crate::slots::SLOTS;
use crate::speaker::Speaker;

/// Addresses a client may be reached at, at a time. Later ones push out the first.
pub(crate) const ADDRESSES: usize = 8;
/// Sources a client may send reports as. Each costs a state in the ciphers, so there is an end.
pub(crate) const REPORTERS: usize = 32;
/// Sources a client may speak as, if it announced none.
pub(crate) const SOURCES: usize = 8;
/// Without a word on the way in use, another authentic one is taken.
const STALE: Duration = Duration::from_secs(2);

/// A stream in which nothing was sent for so long may be another slot's.
const SILENT: Duration = Duration::from_millis(400);

/// What a participant may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Permissions {
    pub(crate) speak: bool,
    pub(crate) listen: bool,
    pub(crate) priority: bool,
}

/// Whom a leg belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) channel: u64,
    pub(crate) user: u64,
    pub(crate) session: String,
}

/// What the client says.
pub(crate) struct Voice {
    pub(crate) opus: u8,
    pub(crate) red: Option<u8>,
    pub(crate) level: Option<u8>,
    /// Those that it announced, or that were found authentic.
    pub(crate) sources: Vec<u32>,
    announced: bool,
    pub(crate) reception: Option<Reception>,
    pub(crate) speaker: Speaker,
    /// What it has been told to be as.
    pub(crate) reporter: u32,
    /// At the last window.
    pub(crate) counted: Count,
}

impl Voice {
    pub(crate) fn new(now: Instant, media: &Media, reporter: u32) -> Option<Self> {
        Some(Self {
            opus: media.opus?,
            red: media.red,
            level: media.level,
            announced: !media.sources.is_empty(),
            sources: media.sources.clone(),
            reception: None,
            speaker: Speaker::new(now),
            reporter,
            counted: Count::default(),
        })
    }

    /// Whether a source may be tried. Before this is asked nothing is kept of it anywhere.
    pub(crate) fn admits(&mut self, ssrc: u32) -> bool {
        if self.sources.contains(&ssrc) {
            return true;
        }
        let room = !self.announced && self.sources.len() < SOURCES;
        if room {
            self.sources.push(ssrc);
        }
        room
    }
}

/// A slot's stream to the client.
pub(crate) struct Outgoing {
    pub(crate) stream: Stream,
    pub(crate) rewriter: Rewriter,
    pub(crate) packets: u32,
    pub(crate) bytes: u32,
    /// At the last sender report.
    pub(crate) reported: u32,
    /// Which of the room's slots is heard in it, where there are fewer streams than slots.
    slot: Option<usize>,
    sent: Option<Instant>,
}

impl Outgoing {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, rewriter: Rewriter::default(), packets: 0, bytes: 0, reported: 0, slot: None, sent: None }
    }
}

/// How far a join has come. Each stage is a span that ends when it is over.
pub(crate) struct Join {
    pub(crate) began: Instant,
    pub(crate) whole: Span,
    pub(crate) stage: Span,
}

/// A participant's media.
pub(crate) struct Leg {
    pub(crate) id: u64,
    pub(crate) who: Who,
    pub(crate) permissions: Permissions,
    pub(crate) credentials: Credentials,
    /// Those from before an ICE restart, until the new ones are used.
    pub(crate) former: Option<Credentials>,
    /// Where it is sent to.
    pub(crate) address: Option<Remote>,
    /// Where authentic checks came from.
    pub(crate) addresses: Vec<Remote>,
    pub(crate) priority: u32,
    /// What was last said to carry its media.
    pub(crate) told: Option<MediaTransport>,
    pub(crate) secure: Secure,
    pub(crate) voice: Option<Voice>,
    pub(crate) streams: Vec<Outgoing>,
    pub(crate) listening: Listening,
    /// How it came up in the last window.
    pub(crate) up: Way,
    pub(crate) reporters: Vec<u32>,
    pub(crate) began: Instant,
    /// When something authentic came last.
    pub(crate) heard: Instant,
    pub(crate) report_at: Instant,
    pub(crate) window_at: Instant,
    pub(crate) join: Option<Join>,
    /// Its slots have been given up because nothing is heard of it.
    pub(crate) quiet: bool,
}

/// What a leg is made of.
pub(crate) struct Spec {
    pub(crate) id: u64,
    pub(crate) who: Who,
    pub(crate) permissions: Permissions,
    pub(crate) credentials: Credentials,
    pub(crate) secure: Secure,
    pub(crate) voice: Option<Voice>,
    pub(crate) streams: Vec<Stream>,
    pub(crate) join: Join,
}

impl Leg {
    pub(crate) fn new(now: Instant, spec: Spec) -> Self {
        Self {
            id: spec.id,
            who: spec.who,
            permissions: spec.permissions,
            credentials: spec.credentials,
            former: None,
            address: None,
            addresses: Vec::new(),
            priority: 0,
            told: None,
            secure: spec.secure,
            voice: spec.voice,
            streams: spec.streams.into_iter().map(Outgoing::new).collect(),
            listening: Listening::default(),
            up: Way::default(),
            reporters: Vec::new(),
            began: now,
            heard: now,
            report_at: now,
            window_at: now,
            join: Some(spec.join),
            quiet: false,
        }
    }

    /// Whether media goes both ways already.
    pub(crate) fn is_connected(&self) -> bool {
        self.secure.keys.is_some()
    }

    /// Whether it is to be sent what others say.
    pub(crate) fn listens(&self) -> bool {
        self.permissions.listen && self.is_connected() && !self.streams.is_empty()
    }

    /// The stream in which a slot of the room is heard. Who has as many streams as there are slots hears each in its own.
    /// With fewer, a slot keeps the stream that it has, or takes one in which nothing is said.
    pub(crate) fn stream(&mut self, now: Instant, slot: usize) -> Option<&mut Outgoing> {
        if self.streams.len() >= SLOTS {
            return self.streams.get_mut(slot);
        }
        let silent = |out: &Outgoing| out.sent.is_none_or(|at| now.saturating_duration_since(at) >= SILENT);
        let kept = self.streams.iter().position(|out| out.slot == Some(slot));
        let at = kept.or_else(|| self.streams.iter().position(silent))?;
        let out = self.streams.get_mut(at)?;
        (out.slot, out.sent) = (Some(slot), Some(now));
        Some(out)
    }

    /// An authentic check came from here. Answers which address is known no more.
    pub(crate) fn checked(&mut self, now: Instant, from: Remote, nominates: bool, priority: u32) -> Option<Remote> {
        let stale = now.saturating_duration_since(self.heard) >= STALE;
        self.heard = now;
        let chosen = nominates && (priority >= self.priority || stale);
        if self.address.is_none() || chosen {
            self.address = Some(from);
            self.priority = priority;
        }
        if self.addresses.contains(&from) {
            return None;
        }
        let oldest = (self.addresses.len() == ADDRESSES).then(|| {
            let at = self.addresses.iter().position(|at| Some(*at) != self.address).unwrap_or_default();
            self.addresses.remove(at)
        });
        self.addresses.push(from);
        oldest
    }

    /// Something authentic of its media came from here: the client uses this way, so it is answered on it.
    pub(crate) fn used(&mut self, now: Instant, from: Remote) {
        self.heard = now;
        self.address = Some(from);
    }

    /// A connection is no more.
    pub(crate) fn lost(&mut self, remote: Remote) {
        self.addresses.retain(|address| *address != remote);
        if self.address == Some(remote) {
            (self.address, self.priority) = (None, 0);
        }
    }

    /// What carries its media, if anything does just now.
    pub(crate) fn transport(&self) -> Option<MediaTransport> {
        self.address.map(Remote::transport)
    }

    /// Whether reports of a source may be tried.
    pub(crate) fn admits_reporter(&mut self, ssrc: u32) -> bool {
        if self.reporters.contains(&ssrc) {
            return true;
        }
        let room = self.reporters.len() < REPORTERS;
        if room {
            self.reporters.push(ssrc);
        }
        room
    }
}
