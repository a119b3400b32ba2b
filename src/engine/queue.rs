//! The queue between callers and workers: first in, first out, handed out in batches. Its bound is
//! the permit that every job carries.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{Answer, Counters, EngineError};
use crate::encode::Window;

/// A window that waits.
pub(super) struct Job {
    pub window: Window,
    pub deadline: Option<Instant>,
    pub entered: Instant,
    pub reply: oneshot::Sender<Result<Answer, EngineError>>,
    /// Its room in the queue; given back when the job ends.
    pub _room: OwnedSemaphorePermit,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    tokens: usize,
    idle: usize,
    closed: bool,
}

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
}

impl Queue {
    /// Adds a job; false when the queue is closed.
    pub fn push(&self, job: Job) -> bool {
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        state.tokens += job.window.tokens();
        state.jobs.push_back(job);
        self.arrived.notify_one();
        true
    }

    /// The next batch, as soon as there is one; `None` when the queue is closed. Jobs that nobody
    /// waits for, or that are past their deadline, are dropped here.
    pub fn next_batch(&self, most: usize, counters: &Counters) -> Option<Vec<Job>> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            let batch = state.take(most, counters);
            if !batch.is_empty() {
                return Some(batch);
            }
            state.idle += 1;
            state = self
                .arrived
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// When the first of those that wait entered.
    pub fn oldest(&self) -> Option<Instant> {
        self.lock().jobs.front().map(|job| job.entered)
    }

    /// Ends the queue; what waits is answered by dropping it.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.jobs.clear();
        state.tokens = 0;
        self.arrived.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding the lock; if it did, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Fills a batch greedily from the front: no timer, what is there goes. While other workers
    /// idle, a batch takes its share of the queue only, so that they find some too.
    fn take(&mut self, most: usize, counters: &Counters) -> Vec<Job> {
        let budget = most.min(self.tokens.div_ceil(self.idle + 1));
        let now = Instant::now();
        let mut batch = Vec::new();
        let mut used = 0;
        while let Some(job) = self.jobs.pop_front() {
            let tokens = job.window.tokens();
            if job.reply.is_closed() {
                self.tokens -= tokens;
                counters.cancelled.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            if job.deadline.is_some_and(|d| d <= now) {
                self.tokens -= tokens;
                counters.expired.fetch_add(1, Ordering::Relaxed);
                let _ = job.reply.send(Err(EngineError::Expired));
                continue;
            }
            if used > 0 && used + tokens > budget {
                self.jobs.push_front(job);
                break;
            }
            self.tokens -= tokens;
            used += tokens;
            batch.push(job);
        }
        batch
    }
}
