//! What the server answers. Candidates stand in every section: some clients read those of the last one only.

use std::fmt::Write;
use std::net::SocketAddr;

use super::offer::{Media, Offer};
use crate::slots::SLOTS;

/// The header extension of audio levels (RFC 6464).
pub(super) const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

/// The server's side of a session.
#[derive(Debug, Clone)]
pub(crate) struct Local<'a> {
    pub(crate) ufrag: &'a str,
    pub(crate) pwd: &'a str,
    /// SHA-256 of the server's certificate, as it is written.
    pub(crate) fingerprint: &'a str,
    /// Where media goes.
    pub(crate) candidates: &'a Candidates,
    /// The number of the session.
    pub(crate) id: u64,
    /// Whether a client that offers redundant audio is asked to use it.
    pub(crate) red: bool,
}

/// Where media goes, the best first: one address a family, or several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Candidates {
    pub(crate) udp: Vec<SocketAddr>,
    /// Where connections are taken; none if they are not.
    pub(crate) tcp: Vec<SocketAddr>,
}

/// What an offer is used for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    /// The section in which the client speaks.
    pub(crate) publishes: Option<usize>,
    /// The streams it is given, one a slot, in the order of its sections.
    pub(crate) streams: Vec<Stream>,
}

/// A stream to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stream {
    /// The section.
    pub(crate) section: usize,
    pub(crate) ssrc: u32,
    pub(crate) payload_type: u8,
}

impl Plan {
    /// The first section that sends is the client's voice; those that receive are its slots, as many as there are. `ssrc`
    /// makes the names of the streams.
    pub(crate) fn of(offer: &Offer, mut ssrc: impl FnMut() -> u32) -> Self {
        let mut plan = Self::default();
        for (section, media) in offer.media.iter().enumerate().filter(|(_, media)| media.is_audio()) {
            if media.direction.sends() && plan.publishes.is_none() {
                plan.publishes = Some(section);
            }
            if let Some(payload_type) = media.opus
                && media.direction.receives()
                && plan.streams.len() < SLOTS
            {
                plan.streams.push(Stream { section, ssrc: ssrc(), payload_type });
            }
        }
        plan
    }
}

/// The answer to an offer.
pub(crate) fn answer(offer: &Offer, plan: &Plan, local: &Local<'_>) -> String {
    let mids: Vec<&str> = offer.media.iter().filter(|m| m.is_audio()).map(|m| m.mid.as_str()).collect();
    let mut sdp = format!(
        "v=0\r\no=- {} 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\na=msid-semantic: WMS *\r\na=ice-lite\r\n",
        local.id,
        mids.join(" ")
    );
    // At the top, too: some clients want them of a section that is rejected as well.
    secured(&mut sdp, local);
    for (n, media) in offer.media.iter().enumerate() {
        section(&mut sdp, n, media, plan, local);
    }
    sdp
}

/// How the server is asked and known.
fn secured(sdp: &mut String, local: &Local<'_>) {
    line(sdp, format_args!("a=ice-ufrag:{}", local.ufrag));
    line(sdp, format_args!("a=ice-pwd:{}", local.pwd));
    line(sdp, format_args!("a=fingerprint:sha-256 {}", local.fingerprint));
    line(sdp, format_args!("a=setup:passive"));
}

fn section(sdp: &mut String, n: usize, media: &Media, plan: &Plan, local: &Local<'_>) {
    let Some(opus) = media.opus.filter(|_| media.is_audio()) else {
        line(sdp, format_args!("m={} 0 {} {}", media.kind, media.protocol, media.formats));
        line(sdp, format_args!("c=IN IP4 0.0.0.0"));
        line(sdp, format_args!("a=mid:{}", media.mid));
        for said in &media.formats_said {
            line(sdp, format_args!("a={said}"));
        }
        line(sdp, format_args!("a=inactive"));
        return;
    };
    let publishes = plan.publishes == Some(n);
    let stream = plan.streams.iter().find(|stream| stream.section == n);
    // The first of the two is what the client sends.
    let red = media.red.filter(|_| local.red && publishes);
    let formats = red.map_or_else(|| opus.to_string(), |red| format!("{red} {opus}"));
    let port = local.candidates.udp.first().map_or(9, SocketAddr::port);
    line(sdp, format_args!("m=audio {port} UDP/TLS/RTP/SAVPF {formats}"));
    match local.candidates.udp.first() {
        Some(SocketAddr::V6(at)) => line(sdp, format_args!("c=IN IP6 {}", at.ip())),
        Some(at) => line(sdp, format_args!("c=IN IP4 {}", at.ip())),
        None => line(sdp, format_args!("c=IN IP4 0.0.0.0")),
    }
    line(sdp, format_args!("a=mid:{}", media.mid));
    secured(sdp, local);
    line(sdp, format_args!("a=rtcp-mux"));
    line(sdp, format_args!("a=rtcp-rsize"));
    if let Some(red) = red {
        line(sdp, format_args!("a=rtpmap:{red} red/48000/2"));
        line(sdp, format_args!("a=fmtp:{red} {opus}/{opus}"));
    }
    line(sdp, format_args!("a=rtpmap:{opus} opus/48000/2"));
    // `usedtx` is what the client is asked for, whatever it offered.
    let dtx = if publishes { ";usedtx=1" } else { "" };
    line(sdp, format_args!("a=fmtp:{opus} minptime=10;useinbandfec=1{dtx}"));
    if let Some(level) = media.level.filter(|_| publishes) {
        line(sdp, format_args!("a=extmap:{level} {AUDIO_LEVEL}"));
    }
    let direction = match (publishes, stream) {
        (true, Some(_)) => "sendrecv",
        (true, None) => "recvonly",
        (false, Some(_)) => "sendonly",
        (false, None) => "inactive",
    };
    line(sdp, format_args!("a={direction}"));
    if let Some(stream) = stream {
        let slot = plan.streams.iter().position(|other| other == stream).unwrap_or_default();
        line(sdp, format_args!("a=msid:clarion slot-{slot}"));
        line(sdp, format_args!("a=ssrc:{} cname:clarion", stream.ssrc));
        line(sdp, format_args!("a=ssrc:{} msid:clarion slot-{slot}", stream.ssrc));
    }
    candidates(sdp, local.candidates);
}

/// The server's candidates, all of component 1: the earlier, the better, and any way over UDP better than all over TCP.
pub(super) fn candidates(sdp: &mut String, candidates: &Candidates) {
    let Candidates { udp, tcp } = candidates;
    for (n, at) in udp.iter().enumerate() {
        // A host candidate (RFC 8445, 5.1.2).
        let priority = priority(126, 65_535, n);
        line(sdp, format_args!("a=candidate:{} 1 udp {priority} {} {} typ host", n + 1, at.ip(), at.port()));
    }
    for (n, at) in tcp.iter().enumerate() {
        // One that waits for connections (RFC 6544, 4.2). Below those over UDP of every kind but relayed ones.
        let (foundation, priority) = (udp.len() + n + 1, priority(90, (4 << 13) + 8_191, n));
        let (ip, port) = (at.ip(), at.port());
        line(sdp, format_args!("a=candidate:{foundation} 1 tcp {priority} {ip} {port} typ host tcptype passive"));
    }
    line(sdp, format_args!("a=end-of-candidates"));
}

/// That of the nth candidate of a type, for component 1 (RFC 8445, 5.1.2.1).
fn priority(preference: u32, local: u32, n: usize) -> u32 {
    (preference << 24) + (local.saturating_sub(n as u32) << 8) + 255
}

pub(super) fn line(sdp: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = write!(sdp, "{text}\r\n");
}
