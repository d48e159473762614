//! Who speaks: what a publisher's packets say of loudness, gathered over windows and smoothed.

use std::time::{Duration, Instant};

/// Louder than this is speech, in decibels below the loudest.
const ACTIVE: u8 = 35;
/// What is looked at together.
const WINDOW: Duration = Duration::from_millis(400);
/// The part of a window that must be speech.
const PART: f32 = 0.4;
/// Over how many windows it is smoothed.
const SMOOTH: f32 = 2.0;
/// What one packet stands for.
const PACKET: f32 = 0.020;
/// What a packet counts that says nothing of its loudness: speech, as senders of silence send almost nothing.
const UNSAID: u8 = 30;
/// A frame of silence is not longer than this.
const SILENCE: usize = 3;

/// One publisher's loudness.
#[derive(Debug)]
pub(crate) struct Speaker {
    began: Instant,
    /// Seconds of speech in the window, and its loudest.
    spoken: f32,
    loudest: u8,
    /// From 0, silence, to 1.
    smoothed: f32,
}

impl Speaker {
    pub(crate) fn new(now: Instant) -> Self {
        Self { began: now, spoken: 0.0, loudest: 127, smoothed: 0.0 }
    }

    /// A packet.
    pub(crate) fn heard(&mut self, now: Instant, level: Option<u8>, payload: usize) {
        self.look(now);
        let level = level.unwrap_or(if payload > SILENCE { UNSAID } else { 127 });
        if level <= ACTIVE {
            self.spoken += PACKET;
            self.loudest = self.loudest.min(level);
        }
    }

    /// Ends the window if it is over. With nothing heard, silence comes of it.
    pub(crate) fn look(&mut self, now: Instant) {
        let windows = now.saturating_duration_since(self.began).as_millis() / WINDOW.as_millis();
        for _ in 0..windows.min(8) {
            let part = self.spoken / WINDOW.as_secs_f32();
            let level = if part >= PART {
                // Speech in only a part of the window counts for less.
                linear(f32::from(self.loudest) - 20.0 * part.min(1.0).log10())
            } else {
                0.0
            };
            self.smoothed += (level - self.smoothed) * 2.0 / (SMOOTH + 1.0);
            (self.spoken, self.loudest) = (0.0, 127);
        }
        if windows > 0 {
            self.began = now;
        }
    }

    /// How loud, from 0 to 1.
    pub(crate) fn loudness(&self) -> f32 {
        self.smoothed
    }

    /// Whether it is speech.
    pub(crate) fn speaks(&self) -> bool {
        self.smoothed >= linear(f32::from(ACTIVE))
    }
}

fn linear(below: f32) -> f32 {
    10f32.powf(-below / 20.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets of one loudness, one each 20 ms; answers the time after them.
    fn talk(speaker: &mut Speaker, mut now: Instant, level: Option<u8>, payload: usize, packets: u32) -> Instant {
        for _ in 0..packets {
            speaker.heard(now, level, payload);
            now += Duration::from_millis(20);
        }
        speaker.look(now);
        now
    }

    #[test]
    fn speech_is_seen_in_half_a_second_and_its_end_in_two() {
        let now = Instant::now();
        let mut speaker = Speaker::new(now);
        let now = talk(&mut speaker, now, Some(20), 80, 25);
        assert!(speaker.speaks(), "{speaker:?}");
        speaker.look(now + Duration::from_secs(2));
        assert!(!speaker.speaks(), "{speaker:?}");
    }

    #[test]
    fn what_is_quiet_or_short_is_no_speech() {
        let now = Instant::now();
        let mut speaker = Speaker::new(now);
        talk(&mut speaker, now, Some(36), 80, 100);
        assert!(!speaker.speaks());
        // A cough of 100 ms.
        let mut speaker = Speaker::new(now);
        let now = talk(&mut speaker, now, Some(5), 80, 5);
        talk(&mut speaker, now, Some(127), 80, 45);
        assert!(!speaker.speaks());
    }

    #[test]
    fn without_a_level_the_size_of_a_frame_tells() {
        let now = Instant::now();
        let mut speaker = Speaker::new(now);
        talk(&mut speaker, now, None, 80, 50);
        assert!(speaker.speaks());
        let mut speaker = Speaker::new(now);
        talk(&mut speaker, now, None, 1, 50);
        assert!(!speaker.speaks());
    }

    #[test]
    fn louder_is_more() {
        let now = Instant::now();
        let (mut loud, mut soft) = (Speaker::new(now), Speaker::new(now));
        talk(&mut loud, now, Some(10), 80, 60);
        talk(&mut soft, now, Some(30), 80, 60);
        assert!(loud.loudness() > soft.loudness());
    }
}
