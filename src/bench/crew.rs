//! Threads that do the same work at once, as the engine's workers do: each single-threaded, over
//! shared weights. Measures each by its own clock.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::work::Work;
use super::{Error, Pace};
use crate::engine::alone;

/// What one worker did in its measured time.
#[derive(Clone, Copy, Debug)]
pub struct Share<T> {
    /// What it did.
    pub done: T,
    /// How long that took.
    pub time: Duration,
}

/// Runs `item` on every worker, over and over, for as long as `pace` says. The items are numbered
/// over all workers; each worker measures at least one, and finishes the one it is at.
///
/// # Errors
///
/// The first error of an item; the other workers then stop.
pub fn run<T, F>(workers: usize, pace: Pace, item: F) -> Result<Vec<Share<T>>, Error>
where
    T: Default + AddAssign + Send,
    F: Fn(usize) -> Result<T, Error> + Sync,
{
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let worker = || {
        let share = one(pace, &next, &failed, &item);
        if share.is_err() {
            failed.store(true, Ordering::Relaxed);
        }
        share
    };
    std::thread::scope(|scope| {
        let start = |_| scope.spawn(|| alone(worker));
        let threads: Vec<_> = (0..workers.max(1)).map(start).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or(Err(Error::Panicked))
        };
        threads.into_iter().map(join).collect()
    })
}

fn one<T, F>(
    pace: Pace,
    next: &AtomicUsize,
    failed: &AtomicBool,
    item: &F,
) -> Result<Share<T>, Error>
where
    T: Default + AddAssign,
    F: Fn(usize) -> Result<T, Error>,
{
    let take = || item(next.fetch_add(1, Ordering::Relaxed));
    let began = Instant::now();
    while began.elapsed() < pace.warmup && !failed.load(Ordering::Relaxed) {
        take()?;
    }
    let mut done = T::default();
    let began = Instant::now();
    loop {
        done += take()?;
        let time = began.elapsed();
        if time >= pace.time || failed.load(Ordering::Relaxed) {
            return Ok(Share { done, time });
        }
    }
}

/// Work a second of all workers together.
pub fn rate(shares: &[Share<Work>]) -> Work {
    let mut sum = Work::default();
    for share in shares {
        sum += share.done.over(share.time);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        warmup: Duration::from_millis(5),
        time: Duration::from_millis(20),
    };

    #[test]
    fn every_worker_does_its_share_by_its_own_clock() {
        let shares = run(3, PACE, |_| {
            std::thread::sleep(Duration::from_millis(1));
            Ok(Work {
                articles: 1.0,
                ..Work::default()
            })
        })
        .unwrap();
        assert_eq!(shares.len(), 3);
        assert!(shares.iter().all(|s| s.done.articles >= 1.0));
        assert!(shares.iter().all(|s| s.time >= PACE.time));
        // An item takes a millisecond or more, so that no worker can do more than 1,000 a second.
        let rate = rate(&shares).articles;
        assert!(0.0 < rate && rate <= 3_000.0, "{rate}");
    }

    #[test]
    fn an_error_ends_the_run() {
        let long = Pace {
            time: Duration::from_secs(600),
            ..PACE
        };
        let fail = |n| match n {
            7 => Err(Error::NoWindows),
            _ => Ok(Work::default()),
        };
        assert!(matches!(run(2, long, fail), Err(Error::NoWindows)));
    }
}
