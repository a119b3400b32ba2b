//! Who is let in, and when the others are to come back. Refused callers get slots one behind the
//! other, at the rate at which the engine has been answering, so that they do not all return at
//! once. Promises nothing beyond [`LONGEST_WAIT`].

use std::time::{Duration, Instant};

/// The least that a refused caller is told to wait.
pub const SHORTEST_WAIT: Duration = Duration::from_millis(50);

/// The most that a refused caller is told to wait; slots beyond it are not handed out.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What one more batch leaves of the weight of those before: about the last twenty count.
const KEEP: f64 = 0.95;

/// Tokens a second that a worker answers: a moving average over batches, by their tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    tokens: f64,
    seconds: f64,
}

impl Rate {
    /// A low guess of little weight, until something has been answered.
    pub fn guess() -> Self {
        Self {
            tokens: 10.0,
            seconds: 0.01,
        }
    }

    /// Takes in a batch; one that failed has answered nothing.
    pub fn record(&mut self, answered: usize, took: Duration) {
        self.tokens = self.tokens * KEEP + answered as f64;
        self.seconds = self.seconds * KEEP + took.as_secs_f64();
    }

    /// Of one worker; at least one token a second.
    pub fn per_second(self) -> f64 {
        (self.tokens / self.seconds.max(1e-9)).max(1.0)
    }
}

/// When the last slot that was handed out begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slots {
    next: Instant,
}

impl Slots {
    pub fn new(now: Instant) -> Self {
        Self { next: now }
    }

    /// Hands out the next slot: after all that is queued and all slots promised before.
    pub fn hand_out(&mut self, now: Instant, queued: usize, cost: usize, rate: f64) -> Duration {
        let seconds = |tokens: usize| {
            let seconds = (tokens as f64 / rate).min(LONGEST_WAIT.as_secs_f64());
            Duration::from_secs_f64(seconds)
        };
        let slot = (now + seconds(queued)).max(self.next) + seconds(cost);
        self.next = slot.min(now + LONGEST_WAIT);
        self.next.duration_since(now).max(SHORTEST_WAIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_follows_what_was_answered() {
        let mut rate = Rate::guess();
        rate.record(1000, Duration::from_millis(100));
        assert!((rate.per_second() - 10_000.0).abs() < 1_000.0, "{rate:?}");
        for _ in 0..100 {
            rate.record(1000, Duration::from_millis(500));
        }
        assert!((rate.per_second() - 2_000.0).abs() < 100.0, "{rate:?}");
        for _ in 0..1000 {
            rate.record(0, Duration::from_millis(500));
        }
        assert_eq!(rate.per_second(), 1.0, "nothing answered");
    }

    #[test]
    fn slots_stand_one_behind_the_other() {
        let now = Instant::now();
        let mut slots = Slots::new(now);
        let mut take = |at: u64, queued, cost| {
            let at = now + Duration::from_millis(at);
            slots.hand_out(at, queued, cost, 1000.0).as_millis()
        };
        assert_eq!(take(0, 2000, 500), 2500, "after what is queued");
        assert_eq!(take(0, 2000, 500), 3000, "and after the slot before");
        assert_eq!(take(1000, 1000, 500), 2500, "which comes nearer");
        assert_eq!(take(10_000, 0, 10), 50, "the least");
        assert_eq!(take(10_000, 1 << 40, 10), 60_000, "the most");
        assert_eq!(take(10_000, 0, 10), 60_000);
        assert_eq!(take(60_000, 0, 500), 10_500, "the clock is bounded too");
    }
}
