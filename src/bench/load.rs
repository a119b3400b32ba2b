//! Callers: a closed loop, in which each sends its next article when the last is answered, and an
//! open loop, in which articles are sent at planned times whatever becomes of them. Knows nothing of
//! who answers.
//!
//! A closed loop is kind to a server: while one stalls, nobody sends, and the stall is counted
//! once. In the open loop latency counts from the *planned* time, so that an article that had to
//! wait for its turn, here or there, has waited.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use serde::Serialize;

use super::stats::{Latencies, Percentiles};
use super::work::Work;
use super::{Error, Pace};

/// An article's answer.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    /// What was done for it.
    pub work: Work,
    /// When its first sentence was there.
    pub first: Instant,
}

/// An answer, or a word for what went wrong (a gRPC code).
pub type Outcome = Result<Reply, String>;

/// After an error a caller waits this long, so that one who is refused does not become a flood.
const REST: Duration = Duration::from_millis(50);

/// A closed loop measures no shorter time than this.
const SHORTEST: Duration = Duration::from_millis(1);

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// `closed` or `open`.
    pub mode: &'static str,
    /// Callers of a closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callers: Option<usize>,
    /// Articles planned a second, of an open loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Most callers at a time, of an open loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_callers: Option<usize>,
    /// Measured time, warm-up left out.
    pub seconds: f64,
    /// Articles answered.
    pub articles: u64,
    /// Their sentences.
    pub sentences: u64,
    /// Articles answered a second.
    pub articles_per_second: f64,
    /// Sentences answered a second.
    pub sentences_per_second: f64,
    /// Tokens encoded a second, where they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    /// From sending an article (closed) or its planned time (open) to its first sentence.
    pub first_sentence_ms: Percentiles,
    /// The same to its summary.
    pub article_ms: Percentiles,
    /// Articles that failed, by gRPC code.
    pub errors: BTreeMap<String, u64>,
    /// Articles whose time came while all callers were busy; of an open loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsent: Option<u64>,
    /// Work a second.
    #[serde(skip)]
    pub speed: Work,
}

/// What is counted as it comes.
struct Tally {
    work: Work,
    first: Latencies,
    article: Latencies,
    errors: BTreeMap<String, u64>,
}

impl Tally {
    fn new() -> Result<Self, Error> {
        Ok(Self {
            work: Work::default(),
            first: Latencies::new()?,
            article: Latencies::new()?,
            errors: BTreeMap::new(),
        })
    }

    /// An article that was due at `due` and ended at `end`.
    fn add(&mut self, due: Instant, outcome: &Outcome, end: Instant) {
        match outcome {
            Ok(reply) => {
                self.work += reply.work;
                self.first.add(reply.first.saturating_duration_since(due));
                self.article.add(end.saturating_duration_since(due));
            }
            Err(code) => *self.errors.entry(code.clone()).or_default() += 1,
        }
    }

    fn run(self, mode: &'static str, seconds: f64, speed: Work) -> Run {
        let known = speed.tokens > 0.0;
        Run {
            mode,
            callers: None,
            rate: None,
            max_callers: None,
            seconds,
            articles: self.work.articles as u64,
            sentences: self.work.sentences as u64,
            articles_per_second: speed.articles,
            sentences_per_second: speed.sentences,
            tokens_per_second: known.then_some(speed.tokens),
            first_sentence_ms: self.first.percentiles(),
            article_ms: self.article.percentiles(),
            errors: self.errors,
            unsent: None,
            speed,
        }
    }
}

/// A closed loop, all callers measured over the same time: an article that was under way at its beginning or
/// end counts by the part that fell into it. (Were each caller measured to the end of its own last article, the
/// last of them would have the machine to themselves, and the sum would read high.)
///
/// # Errors
///
/// When there is no memory for the histograms; what articles fail with is counted.
pub async fn closed<A, F>(ask: A, callers: usize, pace: Pace) -> Result<Run, Error>
where
    A: Fn(usize) -> F,
    F: Future<Output = Outcome>,
{
    let callers = callers.max(1);
    let tally = RefCell::new(Tally::new()?);
    let next = Cell::new(0);
    let measured = Instant::now() + pace.warmup;
    let time = pace.time.max(SHORTEST);
    let last = measured + time;
    let caller = || async {
        let mut done = Work::default();
        loop {
            let sent = Instant::now();
            if sent >= last {
                return done;
            }
            let outcome = ask(next.replace(next.get() + 1)).await;
            let end = Instant::now();
            if end > measured {
                tally.borrow_mut().add(sent, &outcome, end);
            }
            match outcome {
                Ok(reply) => done += reply.work.times(share(sent..end, measured..last)),
                Err(_) => tokio::time::sleep(REST).await,
            }
        }
    };
    let mut done = Work::default();
    for work in join_all((0..callers).map(|_| caller())).await {
        done += work;
    }
    let speed = done.over(time);
    let run = tally.into_inner().run("closed", time.as_secs_f64(), speed);
    Ok(Run {
        callers: Some(callers),
        ..run
    })
}

/// What part of a stretch of time lies within another.
fn share(of: Range<Instant>, within: Range<Instant>) -> f64 {
    let first = of.start.max(within.start);
    let inside = of.end.min(within.end).saturating_duration_since(first);
    let whole = of.end.saturating_duration_since(of.start);
    if whole.is_zero() {
        return f64::from(u8::from(within.contains(&of.start)));
    }
    inside.as_secs_f64() / whole.as_secs_f64()
}

/// An open loop of `rate` articles a second. An article whose time comes while `most` are under way
/// is not sent, and counted.
///
/// # Errors
///
/// When there is no memory for the histograms; what articles fail with is counted.
#[cfg_attr(
    not(any(feature = "grpc", test)),
    expect(dead_code, reason = "only servers are asked at planned times")
)]
pub async fn open<A, F>(ask: A, rate: f64, most: usize, pace: Pace) -> Result<Run, Error>
where
    A: Fn(usize) -> F,
    F: Future<Output = Outcome>,
{
    let mut tally = Tally::new()?;
    let mut unsent = 0;
    let begun = Instant::now();
    let measured = begun + pace.warmup;
    let mut last = measured + pace.time;
    let mut flying = FuturesUnordered::new();
    let mut land = |due: Instant, outcome: Outcome, end: Instant| {
        if due >= measured {
            tally.add(due, &outcome, end);
            last = last.max(end);
        }
    };
    let planned = (pace.whole().as_secs_f64() * rate).ceil() as usize;
    for n in 0..planned.max(1) {
        let due = begun + Duration::from_secs_f64(n as f64 / rate);
        // Answers land while the time for the next article has not come.
        while Instant::now() < due {
            if flying.is_empty() {
                tokio::time::sleep_until(due.into()).await;
            } else if let Ok(Some((due, outcome, end))) =
                tokio::time::timeout_at(due.into(), flying.next()).await
            {
                land(due, outcome, end);
            }
        }
        // Behind the plan there is no waiting, but what is under way must still get on.
        tokio::task::yield_now().await;
        while let Some(Some((due, outcome, end))) = flying.next().now_or_never() {
            land(due, outcome, end);
        }
        if flying.len() < most.max(1) {
            let answer = ask(n);
            flying.push(async move { (due, answer.await, Instant::now()) });
        } else if due >= measured {
            unsent += 1;
        }
    }
    while let Some((due, outcome, end)) = flying.next().await {
        land(due, outcome, end);
    }
    let time = last - measured;
    let speed = tally.work.over(time);
    Ok(Run {
        rate: Some(rate),
        max_callers: Some(most.max(1)),
        unsent: Some(unsent),
        ..tally.run("open", time.as_secs_f64(), speed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(future)
    }

    fn one() -> Work {
        Work {
            articles: 1.0,
            sentences: 3.0,
            ..Work::default()
        }
    }

    fn reply() -> Outcome {
        Ok(Reply {
            work: one(),
            first: Instant::now(),
        })
    }

    fn pace(warmup: u64, time: u64) -> Pace {
        Pace {
            warmup: Duration::from_millis(warmup),
            time: Duration::from_millis(time),
        }
    }

    const STALL: Duration = Duration::from_millis(400);

    /// A server of one lane that answers at once, but for the n-th article, on which it stalls.
    async fn stalling(n: usize, at: usize, lane: &tokio::sync::Mutex<()>) -> Outcome {
        let _lane = lane.lock().await;
        if n == at {
            tokio::time::sleep(STALL).await;
        }
        reply()
    }

    #[test]
    fn an_open_loop_does_not_hide_a_stall() {
        let lane = tokio::sync::Mutex::new(());
        let ask = |n| stalling(n, 10, &lane);
        // Article n is due at 10·n ms; the stall begins at 100 ms or later and takes 400 ms.
        let run = block_on(open(ask, 100.0, 1000, pace(0, 500))).unwrap();
        assert_eq!((run.articles, run.unsent), (50, Some(0)));
        // Articles 10 to 49 wait for at least 400, 390, … 10 ms, and nothing can make that less: nine
        // of ten of all 50 wait for at most 350 ms or more, half for at most 150 ms or more.
        let found = &run.article_ms;
        assert!(found.max >= 399.0, "{found:?}");
        assert!(found.p90 >= 340.0, "{found:?}");
        assert!(found.p50 >= 130.0, "{found:?}");
        assert_eq!(run.first_sentence_ms.count, 50);
    }

    #[test]
    fn a_closed_loop_sees_the_same_stall_once() {
        let lane = tokio::sync::Mutex::new(());
        let lane = &lane;
        // Each article takes 2 ms, or the loop would spin.
        let ask = |n| async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            stalling(n, 10, lane).await
        };
        let run = block_on(closed(ask, 1, pace(0, 900))).unwrap();
        assert!(run.article_ms.max >= 399.0);
        assert!(run.article_ms.p50 < run.article_ms.max / 2.0);
        assert_eq!(run.sentences, 3 * run.articles);
        assert_eq!(run.callers, Some(1));
    }

    #[test]
    fn callers_of_a_closed_loop_are_measured_over_the_same_time() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let measured = || at(100)..at(200);
        for (of, expected) in [
            (at(0)..at(50), 0.0),
            (at(90)..at(110), 0.5),
            (at(120)..at(150), 1.0),
            (at(190)..at(230), 0.25),
            (at(50)..at(250), 0.5),
            (at(150)..at(150), 1.0),
            (at(250)..at(250), 0.0),
        ] {
            let found = share(of.clone(), measured());
            assert!((found - expected).abs() < 1e-9, "{of:?}: {found}");
        }
        // One lane, an article each 20 ms at best: with four callers, three of whom wait, no more of them
        // fit into 400 ms than 20.
        let lane = tokio::sync::Mutex::new(());
        let lane = &lane;
        let ask = |_| async move {
            let _lane = lane.lock().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            reply()
        };
        let run = block_on(closed(ask, 4, pace(100, 400))).unwrap();
        assert_eq!(run.seconds, 0.4);
        assert!(run.articles_per_second <= 50.0 * 1.01, "{run:?}");
    }

    #[test]
    fn what_the_callers_cannot_send_is_counted() {
        let ask = |_| async {
            tokio::time::sleep(STALL).await;
            reply()
        };
        let run = block_on(open(ask, 100.0, 2, pace(0, 200))).unwrap();
        let unsent = run.unsent.unwrap();
        assert_eq!(run.articles + unsent, 20);
        assert_eq!(run.articles, 2, "both callers wait past the end");
        assert!(
            run.seconds >= 0.39,
            "until the last answer: {}",
            run.seconds
        );
    }

    #[test]
    fn the_warm_up_is_left_out() {
        let asked = Cell::new(0);
        let ask = |_| {
            asked.set(asked.get() + 1);
            async { reply() }
        };
        let run = block_on(open(ask, 100.0, 1000, pace(100, 200))).unwrap();
        assert_eq!((asked.get(), run.articles), (30, 20));
    }

    #[test]
    fn errors_are_counted_by_code_and_are_no_answers() {
        let ask = |n: usize| async move {
            match n % 2 {
                0 => Err("UNAVAILABLE".to_owned()),
                _ => reply(),
            }
        };
        let run = block_on(open(ask, 200.0, 10, pace(0, 100))).unwrap();
        assert_eq!((run.articles, run.errors["UNAVAILABLE"]), (10, 10));
        assert_eq!(run.article_ms.count, 10);
        let run = block_on(closed(ask, 2, pace(0, 120))).unwrap();
        assert!(run.errors["UNAVAILABLE"] >= 1);
    }
}
