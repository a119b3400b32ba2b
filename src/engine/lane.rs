//! An article's way through the queue: its turn among the others, and its room.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Answer, Engine, EngineError, lock};
use crate::encode::Window;

/// One permit a token.
pub(super) struct Room {
    pub(super) permits: Arc<Semaphore>,
    size: usize,
}

impl Room {
    pub(super) fn new(size: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(size)),
            size,
        }
    }

    pub(super) fn taken(&self) -> usize {
        self.size.saturating_sub(self.permits.available_permits())
    }

    /// What is larger than the room takes all of it.
    pub(super) fn fit(&self, tokens: usize) -> u32 {
        u32::try_from(tokens.min(self.size)).unwrap_or(u32::MAX)
    }
}

/// An article's way through the queue.
pub struct Lane {
    engine: Arc<Engine>,
    number: u64,
    /// Tokens that were expected, and those of its windows so far.
    estimate: usize,
    sent: usize,
    /// Room for its first windows, until it is settled.
    entry: Option<OwnedSemaphorePermit>,
    /// Stands for its first windows until it is settled.
    opening: Option<Passage>,
}

/// A window that waits or runs, in the ledger.
struct Passage {
    engine: Arc<Engine>,
    lane: u64,
    tokens: usize,
}

impl Passage {
    fn new(engine: &Arc<Engine>, lane: u64, tokens: usize) -> Self {
        lock(&engine.shared.ledger).enter(lane);
        Self {
            engine: Arc::clone(engine),
            lane,
            tokens,
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        lock(&self.engine.shared.ledger).leave(self.lane, self.tokens, Instant::now());
    }
}

impl Lane {
    /// Takes its place among the others.
    pub(super) fn open(engine: &Arc<Engine>, estimate: usize) -> Self {
        let mut ledger = lock(&engine.shared.ledger);
        let cost = ledger.cost(estimate);
        Self {
            engine: Arc::clone(engine),
            number: ledger.open(cost, Instant::now()),
            estimate,
            sent: 0,
            entry: None,
            opening: None,
        }
    }

    /// Gives it room for its first windows.
    pub(super) fn enter(&mut self, room: OwnedSemaphorePermit) {
        self.entry = Some(room);
        self.opening = Some(Passage::new(&self.engine, self.number, 0));
    }

    /// Answers one window, in turn with other articles'. Dropping the future drops the work.
    ///
    /// # Errors
    ///
    /// See [`EngineError`].
    pub fn answer(
        &mut self,
        window: Window,
        deadline: Option<Instant>,
    ) -> impl Future<Output = Result<Answer, EngineError>> + Send + use<> {
        let (engine, number) = (Arc::clone(&self.engine), self.number);
        self.sent += window.tokens();
        // Both at once, not when polled: what the first windows leave is given back.
        let passage = Passage::new(&engine, number, window.tokens());
        let room = self.room(window.tokens());
        async move {
            let _passage = passage;
            engine.answer(number, room, window, deadline).await
        }
    }

    /// A window's part of the room for first windows. That was an estimate, so the last window on it
    /// may get less than its tokens.
    fn room(&mut self, tokens: usize) -> Option<OwnedSemaphorePermit> {
        let mut rest = self.entry.take()?;
        match rest.split(tokens) {
            Some(room) => {
                self.entry = Some(rest).filter(|rest| rest.num_permits() > 0);
                Some(room)
            }
            None => Some(rest),
        }
    }

    /// All its windows are in.
    pub fn whole(&mut self) {
        self.settle();
        lock(&self.engine.shared.ledger).learn(self.estimate, self.sent);
    }

    /// Its first windows are in; what they have left of their room is given back.
    pub fn settle(&mut self) {
        self.entry = None;
        self.opening = None;
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.settle();
        lock(&self.engine.shared.ledger).close(self.number);
    }
}
