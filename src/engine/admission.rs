//! Who is let in, and when the others are to come back. Refused callers get slots one behind the
//! other, at the rate at which the engine has been answering, so that they do not all return at
//! once. Promises nothing beyond [`LONGEST_WAIT`].

use std::collections::HashMap;
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

/// What each article under way still has to go through the queue.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    lanes: HashMap<u64, Entry>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    /// Tokens, about.
    left: usize,
    /// Windows that wait or run. Without any its reader has stopped, and holds nobody up.
    under_way: usize,
}

impl Ledger {
    /// Enters an article of about so many tokens; its number.
    pub fn open(&mut self, tokens: usize) -> u64 {
        self.next += 1;
        let entry = Entry {
            left: tokens,
            under_way: 0,
        };
        self.lanes.insert(self.next, entry);
        self.next
    }

    pub fn close(&mut self, lane: u64) {
        self.lanes.remove(&lane);
    }

    /// One of its windows goes in.
    pub fn enter(&mut self, lane: u64) {
        if let Some(entry) = self.lanes.get_mut(&lane) {
            entry.under_way += 1;
        }
    }

    /// It comes out.
    pub fn leave(&mut self, lane: u64, tokens: usize) {
        if let Some(entry) = self.lanes.get_mut(&lane) {
            entry.under_way = entry.under_way.saturating_sub(1);
            entry.left = entry.left.saturating_sub(tokens);
        }
    }

    /// Articles under way.
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Tokens of others that go before or between those of an article of `tokens`: since articles
    /// take turns, of a longer one no more than its own.
    pub fn before(&self, tokens: usize) -> usize {
        let active = self.lanes.values().filter(|entry| entry.under_way > 0);
        active.map(|entry| entry.left.min(tokens)).sum()
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
    fn others_count_as_far_as_they_go_before() {
        let mut ledger = Ledger::default();
        let (long, short) = (ledger.open(50_000), ledger.open(300));
        assert_eq!(ledger.before(1000), 0, "nothing has gone in");
        ledger.enter(long);
        ledger.enter(short);
        assert_eq!(ledger.before(1000), 1300);
        ledger.leave(short, 100);
        assert_eq!(ledger.before(1000), 1000, "its reader has stopped");
        ledger.enter(short);
        assert_eq!(ledger.before(100_000), 50_200);
        ledger.close(long);
        assert_eq!((ledger.before(1000), ledger.len()), (200, 1));
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
