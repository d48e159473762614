//! What shards tell, said to those who watch, to the log and to the metrics.

use std::fmt::Write;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use clarion_model::id::{ChannelId, UserId};
use clarion_observability::log::{self, Fields};
use clarion_observability::metric::{JoinResult, Label, LeaveReason, MediaDirection, MediaTransport};
use clarion_proto::v1::voice_notice::Notice;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::{Front, TOLD_LOAD, notice, room_heard};
use crate::engine::{Event, Population};
use crate::leg::Who;
use crate::quality::{Quality, Way};

/// How often the load is looked at and what was not used is given up.
const LOOK: Duration = Duration::from_millis(500);

impl Front {
    /// Until the shards have ended.
    pub(crate) async fn listen(&self, mut events: mpsc::Receiver<Event>) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.happened(event),
                    None => return,
                },
                _ = look.tick() => {
                    for who in self.look(Instant::now()) {
                        self.dismiss(&who, LeaveReason::Vanished).await;
                    }
                }
            }
        }
    }

    fn happened(&self, event: Event) {
        match event {
            Event::Connected { who, transport } => {
                self.metrics.joins.with(JoinResult::Joined).increment(1);
                let detail = Some(transport.as_str().to_owned());
                log::VOICE_JOINED.emit(Fields { detail, ..fields(&who) });
            }
            Event::Moved { who, transport } => {
                let detail = Some(transport.as_str().to_owned());
                log::VOICE_TRANSPORT_CHANGED.emit(Fields { detail, ..fields(&who) });
            }
            Event::FirstPacket { leg: _, after } => self.metrics.join_latency.record_duration(after),
            Event::Heard { channel, slots } => {
                let mut state = self.lock();
                let told = room_heard(channel, &slots);
                state.desk.heard(channel, slots);
                state.tell(&self.metrics, &told);
            }
            Event::Gone { leg, who, reason } => {
                if reason == LeaveReason::Expired {
                    self.metrics.joins.with(JoinResult::NotConnected).increment(1);
                }
                let mut state = self.lock();
                // One that was replaced or dismissed has been said to be, or is still there.
                if state.desk.gone(leg) {
                    state.left(&self.metrics, &who, reason);
                }
                log::VOICE_LEFT.emit(Fields { detail: Some(reason.as_str().to_owned()), ..fields(&who) });
            }
            Event::Quality { leg: _, who, quality, reports } => self.measured(&who, &quality, reports),
        }
    }

    fn measured(&self, who: &Who, quality: &Quality, reports: u64) {
        let metrics = &self.metrics;
        metrics.quality_reports.increment(reports);
        let Quality { up, down, latency, mos } = quality;
        if let Some(loss) = down.loss {
            metrics.packet_loss.record(loss);
        }
        for (direction, way) in [(MediaDirection::Up, up), (MediaDirection::Down, down)] {
            if let Some(jitter) = way.jitter {
                metrics.jitter.with(direction).record(jitter);
            }
        }
        if let Some(round_trip) = down.round_trip {
            metrics.round_trip.record(round_trip);
        }
        if let Some(latency) = latency {
            metrics.latency.record(*latency);
        }
        if let Some(mos) = mos {
            metrics.mos.record(*mos);
        }
        if up.loss.is_some() || reports > 0 {
            log::VOICE_QUALITY.emit(Fields { detail: Some(line(quality)), ..fields(who) });
        }
    }

    /// Answers who has no gateway any more.
    fn look(&self, now: Instant) -> Vec<Who> {
        let (mut busy, mut all) = (0f64, Population::default());
        for shard in self.shards.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let Population { connected, over_tcp, rooms } = shard.population();
            busy = busy.max(shard.busy());
            all.connected += connected;
            all.over_tcp += over_tcp;
            all.rooms += rooms;
        }
        let mut state = self.lock();
        let sessions = state.desk.len() as f64 / self.config.sessions.max(1) as f64;
        state.desk.load = busy.max(sessions).min(1.0);
        self.metrics.users_active.set(all.connected as f64);
        self.metrics.legs.with(MediaTransport::Tcp).set(all.over_tcp as f64);
        self.metrics.legs.with(MediaTransport::Udp).set(all.connected.saturating_sub(all.over_tcp) as f64);
        self.metrics.rooms.set(all.rooms as f64);
        self.metrics.sfu_utilization.set(state.desk.load);
        if (state.desk.load - state.told_load).abs() >= TOLD_LOAD {
            state.told_load = state.desk.load;
            let load = notice(Notice::Load(state.load()));
            state.tell(&self.metrics, &load);
        }
        for who in state.desk.expire(now) {
            state.left(&self.metrics, &who, LeaveReason::Expired);
        }
        let attending = state.watchers.iter().filter(|watcher| !watcher.queue.is_closed());
        let attending = attending.map(|watcher| watcher.gateway.clone()).collect();
        state.desk.alone(now, &attending)
    }
}

/// Whom a line is about.
fn fields(who: &Who) -> Fields {
    Fields {
        user_id: Some(UserId(who.user)),
        channel_id: Some(ChannelId(who.channel)),
        session_id: Some(who.session.clone()),
        ..Fields::default()
    }
}

/// The numbers of a window; what is not known is a dash.
fn line(quality: &Quality) -> String {
    let mut line = String::new();
    let mut say = |name: &str, value: Option<f64>, unit: &str, digits: usize| {
        let space = if name == "mos" { "" } else { " " };
        // Writing to a string cannot fail.
        let _ = match value {
            Some(value) => write!(line, "{space}{name}={value:.digits$}{unit}"),
            None => write!(line, "{space}{name}=-"),
        };
    };
    let thousand = |value: Option<f64>| value.map(|value| value * 1_000.0);
    say("mos", quality.mos, "", 2);
    say("latency", thousand(quality.latency), "ms", 1);
    for (name, Way { loss, jitter, round_trip }) in [("down", quality.down), ("up", quality.up)] {
        say(&format!("{name}.loss"), loss.map(|loss| loss * 100.0), "%", 2);
        say(&format!("{name}.jitter"), thousand(jitter), "ms", 1);
        if name == "down" {
            say("round_trip", thousand(round_trip), "ms", 1);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_a_dash() {
        let mut quality = Quality::default();
        assert_eq!(line(&quality), "mos=- latency=- down.loss=- down.jitter=- round_trip=- up.loss=- up.jitter=-");
        quality.mos = Some(4.376);
        quality.down = Way { loss: Some(0.0512), jitter: Some(0.0021), round_trip: Some(0.0834) };
        assert_eq!(
            line(&quality),
            "mos=4.38 latency=- down.loss=5.12% down.jitter=2.1ms round_trip=83.4ms up.loss=- up.jitter=-"
        );
    }
}
