//! How well speech is heard, from 1 to 4.5, out of loss and delay: the E-model of ITU-T G.107, simplified, for Opus.
//!
//! The best it knows is 4.41: its base is the noise and the equipment of a telephone.

/// What a call without any impairment has.
const BASE: f64 = 93.2;
/// Delay beyond this, in milliseconds, is felt in a conversation.
const FELT: f64 = 177.3;
/// How robust Opus is against loss (percent of loss that halves what is left), with in-band FEC and without.
const WITH_FEC: f64 = 20.0;
const WITHOUT_FEC: f64 = 10.0;
/// What a frame takes to be filled, and the encoder to look ahead, in milliseconds.
const FRAME: f64 = 20.0;
const LOOK_AHEAD: f64 = 6.5;
/// The least a listener's jitter buffer holds, in milliseconds.
const LEAST_BUFFER: f64 = 20.0;

/// The mean opinion score of `loss` (0 to 1) and a delay from mouth to ear in milliseconds.
pub(crate) fn mos(loss: f64, delay_ms: f64, fec: bool) -> f64 {
    let percent = loss.clamp(0.0, 1.0) * 100.0;
    let delay = delay_ms.max(0.0);
    let of_delay = 0.024 * delay + if delay > FELT { 0.11 * (delay - FELT) } else { 0.0 };
    let robust = if fec { WITH_FEC } else { WITHOUT_FEC };
    let of_loss = 95.0 * percent / (percent + robust);
    score(BASE - of_delay - of_loss)
}

/// The delay from mouth to ear of a way over the server, in milliseconds: both round trips, what the server took, and
/// what the listener's buffer holds for the jitter.
pub(crate) fn mouth_to_ear(speaker_rtt: f64, forward: f64, listener_rtt: f64, jitter: f64) -> f64 {
    speaker_rtt / 2.0 + forward + listener_rtt / 2.0 + (2.0 * jitter).max(LEAST_BUFFER) + FRAME + LOOK_AHEAD
}

fn score(r: f64) -> f64 {
    if r <= 0.0 {
        return 1.0;
    }
    if r >= 100.0 {
        return 4.5;
    }
    // The cubic dips below 1 for small r.
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 0.006, "{found} is not {expected}");
    }

    #[test]
    fn loss_with_fec() {
        for (loss, expected) in
            [(0.0, 4.38), (0.5, 4.33), (1.0, 4.27), (2.0, 4.14), (5.0, 3.73), (10.0, 3.12), (20.0, 2.29)]
        {
            near(mos(loss / 100.0, 50.0, true), expected);
        }
    }

    #[test]
    fn loss_without_fec() {
        near(mos(0.01, 50.0, false), 4.14);
        near(mos(0.05, 50.0, false), 3.12);
    }

    #[test]
    fn delay() {
        for (delay, expected) in [(150.0, 4.33), (250.0, 3.99), (400.0, 3.05)] {
            near(mos(0.0, delay, true), expected);
        }
    }

    #[test]
    fn it_stays_on_its_scale() {
        for loss in [0.0, 0.3, 0.9, 1.0, 7.0] {
            for delay in [-5.0, 0.0, 1_000.0, 1e9] {
                let mos = mos(loss, delay, false);
                assert!((1.0..=4.5).contains(&mos), "{mos}");
            }
        }
    }

    #[test]
    fn a_way_is_the_sum_of_its_parts() {
        near(mouth_to_ear(80.0, 1.0, 80.0, 0.0), 80.0 + 1.0 + 20.0 + 26.5);
        near(mouth_to_ear(0.0, 0.0, 0.0, 30.0), 60.0 + 26.5);
    }
}
