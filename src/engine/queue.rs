//! The queue between callers and workers: articles take turns, one window each, and batches are
//! handed out. Its bound is the permit that every job carries.

use std::collections::{HashMap, VecDeque};
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

impl Job {
    /// The job, if somebody still waits for it and its deadline has not passed.
    pub fn wanted(self, now: Instant, counters: &Counters) -> Option<Self> {
        if self.reply.is_closed() {
            counters.cancelled.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        if self.deadline.is_some_and(|d| d <= now) {
            counters.expired.fetch_add(1, Ordering::Relaxed);
            let _ = self.reply.send(Err(EngineError::Expired));
            return None;
        }
        Some(self)
    }
}

#[derive(Default)]
struct State {
    /// The windows that wait, by the lane of their article; no lane is empty.
    lanes: HashMap<u64, VecDeque<Job>>,
    /// Whose turn it is: each lane with windows, once.
    turns: VecDeque<u64>,
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
    /// Adds a job to its article's lane; false when the queue is closed.
    pub fn push(&self, lane: u64, job: Job) -> bool {
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        state.tokens += job.window.tokens();
        let jobs = state.lanes.entry(lane).or_default();
        jobs.push_back(job);
        if jobs.len() == 1 {
            state.turns.push_back(lane);
        }
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
        let state = self.lock();
        let firsts = state.lanes.values().filter_map(VecDeque::front);
        firsts.map(|job| job.entered).min()
    }

    /// Ends the queue; what waits is answered by dropping it.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.lanes.clear();
        state.turns.clear();
        state.tokens = 0;
        self.arrived.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding the lock; if it did, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Fills a batch greedily, one window of each article in turn: no timer, what is there goes.
    /// While other workers idle, a batch takes its share of the queue only, so that they find some
    /// too.
    fn take(&mut self, most: usize, counters: &Counters) -> Vec<Job> {
        let budget = most.min(self.tokens.div_ceil(self.idle + 1));
        let now = Instant::now();
        let mut batch = Vec::new();
        let mut used = 0;
        while let Some((lane, tokens)) = self.front() {
            if used > 0 && used + tokens > budget {
                break;
            }
            let Some(job) = self.pop(lane).and_then(|job| job.wanted(now, counters)) else {
                continue;
            };
            used += tokens;
            batch.push(job);
        }
        batch
    }

    /// Whose turn it is, and the tokens of the window that goes next.
    fn front(&self) -> Option<(u64, usize)> {
        let lane = *self.turns.front()?;
        let job = self.lanes.get(&lane)?.front()?;
        Some((lane, job.window.tokens()))
    }

    /// The next window of the lane whose turn it is; the lane goes to the end.
    fn pop(&mut self, lane: u64) -> Option<Job> {
        self.turns.pop_front();
        let jobs = self.lanes.get_mut(&lane)?;
        let job = jobs.pop_front();
        if jobs.is_empty() {
            self.lanes.remove(&lane);
        } else {
            self.turns.push_back(lane);
        }
        self.tokens -= job.as_ref().map_or(0, |job| job.window.tokens());
        job
    }
}

#[cfg(test)]
mod tests;
