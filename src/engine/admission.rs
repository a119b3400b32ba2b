//! Who is let in, and when the others are to come back. Refused callers get slots one behind the
//! other, at the rate at which the engine has been answering, so that they do not all return at
//! once. Promises nothing beyond [`LONGEST_WAIT`].

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The least that a refused caller is told to wait.
pub const SHORTEST_WAIT: Duration = Duration::from_millis(50);

/// The most that a refused caller is told to wait; slots beyond it are not handed out.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What one more batch leaves of the weight of those before: about the last fifty count.
const KEEP: f64 = 0.98;

/// An article that has had no window under way for so long has a reader that stopped: it holds
/// nobody up.
const STOPPED: Duration = Duration::from_secs(2);

/// Tokens a second that have been answered: a moving average over batches, by their tokens. What is
/// measured is the time from one batch's end to the next while there are articles, whatever it goes
/// by with; so it tells what comes out, not what the model alone could do.
#[derive(Clone, Copy, Debug)]
struct Rate {
    tokens: f64,
    seconds: f64,
}

impl Rate {
    /// A low guess of little weight, until something has been answered.
    fn guess() -> Self {
        Self {
            tokens: 20.0,
            seconds: 0.01,
        }
    }

    fn record(&mut self, answered: usize, took: Duration) {
        self.tokens = self.tokens * KEEP + answered as f64;
        self.seconds = self.seconds * KEEP + took.as_secs_f64();
    }

    /// At least one token a second.
    fn per_second(self) -> f64 {
        (self.tokens / self.seconds.max(1e-9)).max(1.0)
    }
}

/// What estimates were worth: a moving average over articles. How many tokens come of a text hangs on
/// its language and on how much windows repeat as context.
#[derive(Clone, Copy, Debug)]
struct Estimates {
    estimated: f64,
    found: f64,
}

impl Default for Estimates {
    fn default() -> Self {
        Self {
            estimated: 1000.0,
            found: 1000.0,
        }
    }
}

impl Estimates {
    fn record(&mut self, estimate: usize, tokens: usize) {
        self.estimated = self.estimated * KEEP + estimate as f64;
        self.found = self.found * KEEP + tokens as f64;
    }

    fn factor(self) -> f64 {
        (self.found / self.estimated.max(1.0)).clamp(0.1, 10.0)
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

/// What each article under way still has to go through the queue, and how fast it goes.
#[derive(Debug)]
pub(super) struct Ledger {
    lanes: HashMap<u64, Entry>,
    next: u64,
    rate: Rate,
    estimates: Estimates,
    /// When the time of the next batch began.
    mark: Instant,
}

#[derive(Debug)]
struct Entry {
    /// Tokens, about.
    left: usize,
    /// Windows that wait or run.
    under_way: usize,
    /// When the last of them came out.
    since: Instant,
}

impl Entry {
    fn stopped(&self, now: Instant) -> bool {
        self.under_way == 0 && now.duration_since(self.since) > STOPPED
    }
}

impl Ledger {
    pub fn new(now: Instant) -> Self {
        Self {
            lanes: HashMap::new(),
            next: 0,
            rate: Rate::guess(),
            estimates: Estimates::default(),
            mark: now,
        }
    }

    /// What an article that was estimated so will come to, as far as those before it tell.
    pub fn cost(&self, estimate: usize) -> usize {
        (estimate as f64 * self.estimates.factor()) as usize
    }

    /// An article that was estimated so has come to so many tokens.
    pub fn learn(&mut self, estimate: usize, tokens: usize) {
        self.estimates.record(estimate, tokens);
    }

    /// Enters an article that costs about so many tokens; its number.
    pub fn open(&mut self, tokens: usize, now: Instant) -> u64 {
        if self.lanes.is_empty() {
            self.mark = now;
        }
        self.next += 1;
        let entry = Entry {
            left: tokens,
            under_way: 0,
            since: now,
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
    pub fn leave(&mut self, lane: u64, tokens: usize, now: Instant) {
        if let Some(entry) = self.lanes.get_mut(&lane) {
            entry.under_way = entry.under_way.saturating_sub(1);
            entry.left = entry.left.saturating_sub(tokens);
            entry.since = now;
        }
    }

    /// A batch has ended; one that failed has answered no tokens. Long gaps come from readers that
    /// stopped, and count little.
    pub fn answered(&mut self, tokens: usize, now: Instant) {
        let took = now.saturating_duration_since(self.mark);
        self.rate.record(tokens, took.min(STOPPED));
        self.mark = now;
    }

    /// Tokens a second that have been answered lately.
    pub fn rate(&self) -> f64 {
        self.rate.per_second()
    }

    /// Articles under way.
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Tokens of others that go before or between those of an article of `tokens`: since articles
    /// take turns, of a longer one no more than its own.
    pub fn before(&self, tokens: usize, now: Instant) -> usize {
        let going = self.lanes.values().filter(|entry| !entry.stopped(now));
        going.map(|entry| entry.left.min(tokens)).sum()
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
        let now = Instant::now();
        let mut ledger = Ledger::new(now);
        let (long, short) = (ledger.open(50_000, now), ledger.open(300, now));
        ledger.enter(long);
        ledger.enter(short);
        assert_eq!(ledger.before(1000, now), 1300);
        ledger.leave(short, 100, now);
        assert_eq!(ledger.before(1000, now), 1200);
        let later = now + STOPPED * 2;
        assert_eq!(ledger.before(1000, later), 1000, "a reader has stopped");
        ledger.enter(short);
        assert_eq!(ledger.before(100_000, later), 50_200);
        ledger.close(long);
        assert_eq!((ledger.before(1000, later), ledger.len()), (200, 1));
    }

    #[test]
    fn estimates_are_learnt() {
        let mut ledger = Ledger::new(Instant::now());
        assert_eq!(ledger.cost(500), 500);
        for _ in 0..300 {
            ledger.learn(1000, 2500);
        }
        assert!(ledger.cost(500).abs_diff(1250) < 10, "{}", ledger.cost(500));
    }

    #[test]
    fn the_rate_is_that_of_what_comes_out() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut ledger = Ledger::new(start);
        // Nothing to do for a while, which does not count.
        ledger.open(10_000, at(5_000));
        for n in 1..=200 {
            ledger.answered(500, at(5_000 + 100 * n));
        }
        assert!((ledger.rate() - 5_000.0).abs() < 100.0, "{}", ledger.rate());
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
