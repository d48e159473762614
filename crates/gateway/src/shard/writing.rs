//! Writing an outbox to its socket without waiting, and counting what was written.

use std::io;
use std::time::SystemTime;

use clarion_model::time::Timestamp;
use clarion_observability::metric::GatewayMetrics;

use super::link::Link;
use crate::outbox::{Outbox, Receipt};

/// How a socket took what it was offered.
pub(crate) enum Written {
    /// Nothing waits any more.
    Everything,
    /// The rest has to wait until the socket can be written again.
    Blocked,
    /// The socket is gone.
    Broken,
}

/// Writes what waits for a socket, as far as it takes it now.
pub(crate) fn write(link: &Link, outbox: &mut Outbox, metrics: &GatewayMetrics) -> Written {
    while !outbox.is_empty() {
        let taken = match outbox.only() {
            Some(slices) => link.write(&slices),
            None => link.write(&outbox.slices()),
        };
        match taken {
            Ok(count) => {
                let mut written = Measured { metrics, now: None, messages: 0, frames: 0 };
                outbox.advance(count, |receipt| written.complete(receipt));
                if written.messages > 0 {
                    metrics.deliveries.increment(written.messages);
                }
                link.count_sent(written.frames);
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Written::Blocked,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Written::Broken,
        }
    }
    Written::Everything
}

/// Counts the frames of one write; the clock is read once.
struct Measured<'a> {
    metrics: &'a GatewayMetrics,
    now: Option<Timestamp>,
    messages: u64,
    frames: u64,
}

impl Measured<'_> {
    fn complete(&mut self, receipt: Option<Receipt>) {
        self.frames += 1;
        let Some(receipt) = receipt else { return };
        self.messages += 1;
        let now = *self.now.get_or_insert_with(|| SystemTime::now().into());
        self.metrics.delivery_latency.with(receipt.channel).record_duration(now.since(receipt.at));
    }
}
