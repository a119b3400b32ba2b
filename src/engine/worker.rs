//! A worker: batches from the queue, through the model, to whoever asked.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::queue::Job;
use super::{Answer, EngineError, Shared, lock};
use crate::encode::Window;
use crate::model::{RunError, SentenceLogits};

/// A worker's life.
pub(super) fn work_alone(shared: &Shared) {
    alone(|| work(shared));
}

/// Runs `work` inside a rayon pool of this thread alone: candle and gemm then split nothing. Once a
/// thread.
pub(crate) fn alone<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    match rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .use_current_thread()
        .build()
    {
        Ok(pool) => pool.install(work),
        Err(error) => {
            tracing::warn!(%error, "no pool of its own for a worker; products may spread");
            work()
        }
    }
}

fn work(shared: &Shared) {
    while let Some(batch) = shared
        .queue
        .next_batch(shared.config.max_batch_tokens, &shared.counters)
    {
        let started = Instant::now();
        let windows: Vec<&Window> = batch.iter().map(|job| &job.window).collect();
        let _running = Running::new(&shared.running);
        match run(shared, &windows) {
            Ok(answers) => reply_all(shared, batch, answers, started),
            // One window must not take its neighbours with it.
            Err(_) if batch.len() > 1 => {
                for job in batch {
                    let job = job.wanted(Instant::now(), &shared.counters);
                    job.into_iter().for_each(|job| run_one(shared, job));
                }
            }
            Err(error) => fail(shared, batch, &error),
        }
    }
}

/// Counts a batch for as long as it runs.
struct Running<'a>(&'a AtomicU64);

impl<'a> Running<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn run_one(shared: &Shared, job: Job) {
    let started = Instant::now();
    match run(shared, &[&job.window]) {
        Ok(answers) => reply_all(shared, vec![job], answers, started),
        Err(error) => fail(shared, vec![job], &error),
    }
}

fn run(shared: &Shared, windows: &[&Window]) -> Result<Vec<Vec<SentenceLogits>>, String> {
    let counters = &shared.counters;
    counters.batches.fetch_add(1, Ordering::Relaxed);
    let tokens: usize = windows.iter().map(|w| w.tokens()).sum();
    counters.tokens.fetch_add(tokens as u64, Ordering::Relaxed);
    // The model holds no state that a panic could leave half changed.
    let outcome = catch_unwind(AssertUnwindSafe(|| shared.runs.run(windows)));
    let answers = match outcome {
        Ok(Ok(answers)) if answers.len() == windows.len() => Ok(answers),
        Ok(Ok(_)) => Err("the model left windows out".to_owned()),
        Ok(Err(error @ (RunError::NotFinite | RunError::OtherModel))) => Err(error.to_string()),
        Ok(Err(RunError::Candle(error))) => {
            tracing::error!(%error, "a batch failed");
            Err("the model failed".to_owned())
        }
        Err(_) => Err("the model panicked".to_owned()),
    };
    let answered = if answers.is_ok() { tokens } else { 0 };
    lock(&shared.ledger).answered(answered, Instant::now());
    if answers.is_ok() {
        shared.failing.store(0, Ordering::Relaxed);
    }
    answers
}

fn reply_all(
    shared: &Shared,
    batch: Vec<Job>,
    answers: Vec<Vec<SentenceLogits>>,
    started: Instant,
) {
    let ended = Instant::now();
    let encoded = ended.duration_since(started);
    for (job, sentences) in batch.into_iter().zip(answers) {
        shared.counters.answered.fetch_add(1, Ordering::Relaxed);
        let queued = started.duration_since(job.entered);
        // Whoever asked may have gone; that is their business.
        let _ = job.reply.send(Ok(Answer {
            sentences,
            queued,
            encoded,
            ended,
        }));
    }
}

fn fail(shared: &Shared, batch: Vec<Job>, error: &str) {
    shared.failing.fetch_add(1, Ordering::Relaxed);
    for job in batch {
        shared.counters.failed.fetch_add(1, Ordering::Relaxed);
        let _ = job.reply.send(Err(EngineError::Failed(error.to_owned())));
    }
}
