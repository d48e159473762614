//! What a voice server counts: who is there, how well they are heard, what became of packets.

use super::label::label;
use super::{By, Counter, Gauge, Histogram, instruments};

label! {
    /// Which way media goes: from a client, or to one.
    MediaDirection = "direction" { Up = "up", Down = "down" }
}

label! {
    /// How an attempt to join ended.
    JoinResult = "result" {
        Joined = "joined", BadOffer = "bad_offer", BadToken = "bad_token", Full = "full", Draining = "draining",
        NotConnected = "not_connected",
    }
}

label! {
    /// Why a participant is gone.
    LeaveReason = "reason" {
        Left = "left", Vanished = "vanished", Expired = "expired", Drained = "drained", Dismissed = "dismissed",
    }
}

label! {
    /// Why a datagram went no further.
    MediaDrop = "reason" {
        UnknownPeer = "unknown_peer", Malformed = "malformed", NotAuthentic = "not_authentic", Muted = "muted",
        NoSlot = "no_slot", SendQueue = "send_queue",
    }
}

label! {
    /// What carries a participant's media.
    MediaTransport = "transport" { Udp = "udp", Tcp = "tcp" }
}

label! {
    /// Why a connection that media could come over is closed.
    TcpClosed = "reason" {
        Peer = "peer", Full = "full", Address = "address", Unproven = "unproven", Malformed = "malformed",
        Ended = "ended", Idle = "idle",
    }
}

/// Edges of the score: 4.41 is the best there is.
const MOS: &[f64] = &[1.0, 2.0, 2.5, 3.0, 3.25, 3.5, 3.75, 4.0, 4.25, 4.5];
/// Edges of loss.
const LOSS: &[f64] = &[0.0, 0.001, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5];
/// Edges of delay, in seconds.
const DELAY: &[f64] = &[0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5];
/// Edges of jitter, in seconds.
const JITTER: &[f64] = &[0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.3];
/// Edges of a join, in seconds.
const JOIN: &[f64] = &[0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0];
/// Edges of what the server itself takes, in seconds.
const FORWARD: &[f64] = &[0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.02];

instruments! {
    /// The instruments of a voice server.
    VoiceMetrics:
    /// Participants whose media is connected.
    users_active: Gauge = "voice.users.active", Count;
    /// Participants whose media is connected, by what carries it.
    legs: By<MediaTransport, Gauge> = "voice.legs", Count;
    /// Rooms with somebody in them.
    rooms: Gauge = "voice.rooms", Count;
    /// How well a participant hears the others, a window of ten seconds each: the E-model's score, at best 4.41.
    mos: Histogram = "voice.mos", Count, MOS;
    /// Share of packets that a participant missed, a window of ten seconds each, as it reports.
    packet_loss: Histogram = "voice.packet.loss", Ratio, LOSS;
    /// From those who speak over the server to a participant, without buffers and codecs, a window of ten seconds each.
    latency: Histogram = "voice.latency", Seconds, DELAY;
    /// Unevenness of arrival, a window of ten seconds each.
    jitter: By<MediaDirection, Histogram> = "voice.jitter", Seconds, JITTER;
    /// Round trip between the server and a participant, a window of ten seconds each.
    round_trip: Histogram = "voice.round_trip", Seconds, DELAY;
    /// Reports of reception that came from participants. With people talking and none of these, nobody sees quality.
    quality_reports: Counter = "voice.quality.reports", Count;
    /// Attempts to join.
    joins: By<JoinResult, Counter> = "voice.joins", Count;
    /// Time from a participant's offer to its first packet of media, either way.
    join_latency: Histogram = "voice.join.latency", Seconds, JOIN;
    /// Participants gone.
    leaves: By<LeaveReason, Counter> = "voice.leaves", Count;
    /// Packets of media.
    packets: By<MediaDirection, Counter> = "voice.packets", Count;
    /// Bytes of media, as they are on the wire above UDP or TCP.
    bytes: By<MediaDirection, Counter> = "voice.traffic", Bytes;
    /// Datagrams that went no further.
    dropped: By<MediaDrop, Counter> = "voice.packets.dropped", Count;
    /// TCP connections for media.
    tcp_connections: Gauge = "voice.tcp.connections", Count;
    /// TCP connections for media that are no more, or were not let in.
    tcp_closed: By<TcpClosed, Counter> = "voice.tcp.closed", Count;
    /// Lost packets that were found in the redundancy of the next.
    recovered: Counter = "voice.packets.recovered", Count;
    /// Slots taken by somebody who had none.
    slot_switches: Counter = "voice.slot.switches", Count;
    /// Time from taking datagrams off the socket to having sent what comes of them, a turn of the loop each.
    forward_latency: Histogram = "voice.forward.latency", Seconds, FORWARD;
    /// Gateways that were cut off because they read too slowly.
    watchers_cut_off: Counter = "voice.watchers.cut_off", Count;
    /// How much of the server is in use, from 0 to 1: the busiest of its threads, or its sessions.
    sfu_utilization: Gauge = "sfu.utilization", Ratio;
    /// One for each server that takes participants; none while it drains.
    sfu_servers: Gauge = "sfu.servers", Count;
}
