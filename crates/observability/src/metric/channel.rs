//! What a channel server counts: what it owns, its queues, its fan-out.

use super::label::label;
use super::{By, ChannelServer, Counter, Gauge, Histogram, LATENCY, Own, instruments};

label! {
    /// How many can read a channel.
    ChannelSize = "channel_size_bucket" { Small = "small", Medium = "medium", Large = "large" }
}

label! {
    /// How a message came to be sent twice.
    DuplicateReason = "reason" { Retry = "retry", RaceCondition = "race_condition" }
}

impl ChannelSize {
    /// Small up to 100 members, medium up to 1,000.
    pub fn of(members: usize) -> ChannelSize {
        match members {
            0..=100 => ChannelSize::Small,
            101..=1_000 => ChannelSize::Medium,
            _ => ChannelSize::Large,
        }
    }
}

instruments! {
    /// The instruments of a channel server.
    ChannelMetrics:
    /// Keys (guilds, accounts) that this server has in its memory.
    hosted: Gauge = "channel.hosted", Count;
    /// How many keys this server should have in its memory at most.
    capacity: Gauge = "channel.capacity", Count;
    /// Keys whose log is being opened, or waits for it. Right after a take-over that is as many as are followed.
    opening: Gauge = "channel.opening", Count;
    /// Commands that wait for their key.
    queue_depth: Own<ChannelServer, Gauge> = "message.queue.depth", Count;
    /// Fan-outs, one a logged event.
    fanouts: By<ChannelSize, Counter> = "message.fanout", Count;
    /// Followers an event went to.
    fanout_size: Histogram = "message.fanout.size", Count, &[1.0, 10.0, 100.0, 1000.0, 10000.0];
    /// Time from durable to handed to every follower.
    fanout_latency: Histogram = "message.fanout.latency", Seconds, LATENCY;
    /// Followers that were cut off because they could not keep up.
    fanout_failures: Counter = "channel.fanout.failures", Count;
    /// Messages recognised as sent before.
    duplicates: By<DuplicateReason, Counter> = "message.duplicates.detected", Count;
    /// Open streams of followers.
    follow_streams: Gauge = "channel.follow.streams", Count;
    /// Slots this server owns.
    slots_owned: Gauge = "channel.slots.owned", Count;
    /// Slots taken over.
    takeovers: Counter = "channel.takeovers", Count;
}
