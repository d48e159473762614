//! A circuit breaker: who is asked and does not answer is left alone for a while, then asked by one.
//!
//! Closed, everything is let through. So many failures with no success between them open it; open, everything is refused.
//! After a pause one request may try: if it goes well the circuit closes, if not the next pause is twice as long.

use std::time::{Duration, Instant};

/// When a circuit opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Failures, with no success between them, that open the circuit.
    pub failures: u32,
    /// The first pause.
    pub pause: Duration,
    /// The longest pause.
    pub longest: Duration,
}

/// One circuit.
#[derive(Debug, Clone)]
pub struct Breaker {
    limits: Limits,
    state: State,
    /// Rises when the circuit opens, and with each that may try.
    round: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant, pause: Duration },
}

/// Says when a request was let through, so that what was on its way when a circuit opened counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Pass(u64);

/// What became of a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Requests are refused from now on.
    Opened,
    /// Requests are let through from now on.
    Closed,
}

impl Default for Limits {
    fn default() -> Self {
        Self { failures: 20, pause: Duration::from_millis(500), longest: Duration::from_secs(5) }
    }
}

impl Breaker {
    /// A closed circuit.
    pub fn new(limits: Limits) -> Self {
        Self { limits, state: State::Closed { failures: 0 }, round: 0 }
    }

    /// Lets a request through, or refuses it. The one that may try an open circuit need not come back: the next one may
    /// after the same pause.
    pub fn admit(&mut self, now: Instant) -> Option<Pass> {
        match &mut self.state {
            State::Closed { .. } => {}
            State::Open { until, .. } if now < *until => return None,
            State::Open { until, pause } => {
                *until = now + *pause;
                self.round += 1;
            }
        }
        Some(Pass(self.round))
    }

    /// A request was answered, whatever the answer was.
    pub fn succeeded(&mut self) -> Option<Change> {
        let before = std::mem::replace(&mut self.state, State::Closed { failures: 0 });
        matches!(before, State::Open { .. }).then_some(Change::Closed)
    }

    /// A request was not answered.
    pub fn failed(&mut self, pass: Pass, now: Instant) -> Option<Change> {
        match &mut self.state {
            _ if pass.0 != self.round => None,
            State::Closed { failures } => {
                *failures += 1;
                let opens = *failures >= self.limits.failures;
                opens.then(|| self.open(now, self.limits.pause))
            }
            State::Open { pause, .. } => {
                let pause = (*pause * 2).min(self.limits.longest);
                self.open(now, pause);
                None
            }
        }
    }

    fn open(&mut self, now: Instant, pause: Duration) -> Change {
        self.state = State::Open { until: now + pause, pause };
        self.round += 1;
        Change::Opened
    }

    /// Whether requests are refused, but for the one that tries.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { failures: 3, pause: Duration::from_secs(1), longest: Duration::from_secs(3) };

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(LIMITS);
        let changes: Vec<_> = (0..3).map(|_| fail(&mut breaker, now)).collect();
        assert_eq!(changes, [None, None, Some(Change::Opened)]);
        breaker
    }

    fn fail(breaker: &mut Breaker, now: Instant) -> Option<Change> {
        let pass = breaker.admit(now).unwrap();
        breaker.failed(pass, now)
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_success_closes_it() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert!(breaker.is_open());
        assert_eq!(breaker.admit(now + Duration::from_millis(999)), None);
        let later = now + LIMITS.pause;
        assert!(breaker.admit(later).is_some());
        assert_eq!(breaker.admit(later), None, "one tries at a time");
        assert_eq!(breaker.succeeded(), Some(Change::Closed));
        assert!(breaker.admit(later).is_some() && breaker.admit(later).is_some());
    }

    #[test]
    fn a_success_between_failures_keeps_it_closed() {
        let now = Instant::now();
        let mut breaker = Breaker::new(LIMITS);
        for _ in 0..10 {
            assert_eq!((fail(&mut breaker, now), fail(&mut breaker, now)), (None, None));
            assert_eq!(breaker.succeeded(), None);
        }
        assert!(!breaker.is_open());
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        for seconds in [1, 2, 3, 3] {
            assert_eq!(breaker.admit(now + Duration::from_millis(seconds * 1_000 - 1)), None);
            now += Duration::from_secs(seconds);
            assert_eq!(fail(&mut breaker, now), None);
            assert!(breaker.is_open());
        }
    }

    #[test]
    fn what_was_on_its_way_when_it_opened_lengthens_no_pause() {
        let now = Instant::now();
        let mut breaker = Breaker::new(LIMITS);
        let passes: Vec<_> = (0..50).map(|_| breaker.admit(now).unwrap()).collect();
        for pass in passes {
            let _ = breaker.failed(pass, now);
        }
        assert!(breaker.admit(now + LIMITS.pause).is_some());
    }

    #[test]
    fn the_one_that_tries_may_be_lost() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let lost = breaker.admit(now + LIMITS.pause).unwrap();
        let next = breaker.admit(now + 2 * LIMITS.pause);
        assert!(next.is_some());
        assert_eq!(breaker.failed(lost, now + 2 * LIMITS.pause), None, "it is too late to say anything");
        assert_eq!(breaker.succeeded(), Some(Change::Closed));
    }
}
