//! The engine: a bounded queue of windows, and workers that answer them in batches. One
//! single-threaded worker a core over shared weights: throughput then grows with cores rather
//! than with the cost of splitting one product over two of them.
//!
//! Queues nothing without a bound. One half of the queue's tokens is for articles as they are
//! admitted, and who finds no room there is refused at once; the other half is for the later windows
//! of what was admitted, which wait for it. Articles take turns, one window each. Drops, without
//! running it, what nobody waits for any more and what is past its deadline. Knows nothing of gRPC.

mod admission;
mod lane;
mod queue;
mod worker;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

pub use self::admission::{LONGEST_WAIT, SHORTEST_WAIT};
use self::admission::{Ledger, Slots};
pub use self::lane::Lane;
use self::lane::Room;
use self::queue::{Job, Queue};
#[cfg(feature = "bench")]
pub(crate) use self::worker::alone;
use self::worker::work_alone;
use crate::encode::Window;
use crate::model::{Model, RunError, SentenceLogits};

/// How the engine is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Worker threads.
    pub workers: usize,
    /// Tokens of one batch; a window larger than this goes alone.
    pub max_batch_tokens: usize,
    /// Tokens that may wait or run.
    pub max_queue_tokens: usize,
    /// How long an article may have to wait for those before it, at the rate measured, and still be
    /// let in.
    pub max_wait: Duration,
}

impl Default for Config {
    fn default() -> Self {
        // Available parallelism counts the cores that the process may use, cgroup limits included.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            workers: cores,
            // More gains nothing on a processor, and a batch is what a newcomer waits for.
            max_batch_tokens: 512,
            max_queue_tokens: 65_536,
            max_wait: Duration::from_secs(2),
        }
    }
}

/// Why a window was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The queue has no room for one more article.
    #[error("the queue is full")]
    Full {
        /// When there will be.
        retry_after: Duration,
    },
    /// The engine is stopping.
    #[error("the engine is stopping")]
    Stopping,
    /// The deadline passed before the model saw the window.
    #[error("the deadline passed")]
    Expired,
    /// The model failed or gave no numbers.
    #[error("{0}")]
    Failed(String),
}

/// A window's answer, and where its time went.
#[derive(Debug)]
pub struct Answer {
    /// The window's sentences, in order.
    pub sentences: Vec<SentenceLogits>,
    /// From entering the queue to its batch.
    pub queued: Duration,
    /// Its batch in the model.
    pub encoded: Duration,
    /// When that was over.
    pub ended: Instant,
}

/// What the engine has done and holds.
#[derive(Debug, Default)]
pub struct Counters {
    /// Windows answered.
    pub answered: AtomicU64,
    /// Windows dropped because nobody waited any more.
    pub cancelled: AtomicU64,
    /// Windows dropped past their deadline.
    pub expired: AtomicU64,
    /// Windows that the model failed on.
    pub failed: AtomicU64,
    /// Tokens encoded.
    pub tokens: AtomicU64,
    /// Batches run.
    pub batches: AtomicU64,
}

/// What answers batches of windows: the model, or what a test puts in its place.
pub trait Run: Send + Sync {
    /// Answers a batch of windows: for each its sentences, in order.
    ///
    /// # Errors
    ///
    /// As [`Model::answer`].
    fn run(&self, windows: &[&Window]) -> Result<Vec<Vec<SentenceLogits>>, RunError>;
}

impl Run for Model {
    fn run(&self, windows: &[&Window]) -> Result<Vec<Vec<SentenceLogits>>, RunError> {
        self.answer(windows)
    }
}

struct Shared {
    model: Arc<Model>,
    runs: Arc<dyn Run>,
    config: Config,
    queue: Queue,
    /// Room for articles that are admitted; never waited for.
    entry: Room,
    /// Room for the windows that come after; first come, first served.
    later: Room,
    counters: Counters,
    running: AtomicU64,
    ledger: Mutex<Ledger>,
    slots: Mutex<Slots>,
    /// Batches failed in a row; health looks at it.
    failing: AtomicU64,
    stopping: AtomicBool,
}

/// Runs a model on worker threads. Stops them when dropped.
pub struct Engine {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

impl Engine {
    /// Starts the workers.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use copydesk::engine::Config;
    /// use copydesk::model::files::Files;
    /// use copydesk::{Classifier, Engine, Limits, Model, Placement};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let Some(files) = Files::embedded() else { return Ok(()) };
    /// let model = Arc::new(Model::load(&files, Placement::Cpu)?);
    /// let config = Config { workers: 1, ..Config::default() };
    /// let engine = Arc::new(Engine::start(model, config)?);
    /// let small = Limits { text_bytes: 10_000, ..Limits::default() };
    /// let classifier = Classifier::new(engine, small);
    /// assert_eq!(classifier.engine().config().workers, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn start(model: Arc<Model>, config: Config) -> std::io::Result<Self> {
        let runs = Arc::clone(&model);
        Self::start_with(model, runs, config)
    }

    /// The same, with something in the model's place to run its windows: tests put there what fails,
    /// panics or takes its time.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn start_with(
        model: Arc<Model>,
        runs: Arc<dyn Run>,
        config: Config,
    ) -> std::io::Result<Self> {
        let config = Config {
            workers: config.workers.max(1),
            max_queue_tokens: config
                .max_queue_tokens
                .clamp(2, Semaphore::MAX_PERMITS.min(1 << 31)),
            ..config
        };
        let shared = Arc::new(Shared {
            model,
            runs,
            config,
            queue: Queue::default(),
            entry: Room::new(config.max_queue_tokens.div_ceil(2)),
            later: Room::new(config.max_queue_tokens / 2),
            counters: Counters::default(),
            running: AtomicU64::new(0),
            ledger: Mutex::new(Ledger::new(Instant::now())),
            slots: Mutex::new(Slots::new(Instant::now())),
            failing: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        });
        let start = |n: usize| {
            let shared = Arc::clone(&shared);
            let name = format!("copydesk-worker-{n}");
            std::thread::Builder::new()
                .name(name)
                .spawn(move || work_alone(&shared))
        };
        let workers = (0..config.workers)
            .map(start)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { shared, workers })
    }

    /// The model that it runs.
    pub fn model(&self) -> &Arc<Model> {
        &self.shared.model
    }

    /// How it is set up.
    pub fn config(&self) -> Config {
        self.shared.config
    }

    /// What it has done.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Tokens that wait or run now, and those promised to articles just admitted.
    pub fn queued_tokens(&self) -> usize {
        self.shared.entry.taken() + self.shared.later.taken()
    }

    /// Batches that run now.
    pub fn running_batches(&self) -> u64 {
        self.shared.running.load(Ordering::Relaxed)
    }

    /// Articles under way.
    pub fn articles(&self) -> u64 {
        lock(&self.shared.ledger).len() as u64
    }

    /// Tokens a second that have been answered lately.
    pub fn tokens_per_second(&self) -> f64 {
        lock(&self.shared.ledger).rate()
    }

    /// For how long the first window of the queue has waited.
    pub fn oldest(&self) -> Option<Duration> {
        Some(self.shared.queue.oldest()?.elapsed())
    }

    /// Batches that failed in a row, up to now.
    pub fn failures_in_a_row(&self) -> u64 {
        self.shared.failing.load(Ordering::Relaxed)
    }

    /// Windows of one article that are under way at a time: enough to keep every worker busy, few
    /// enough that a slow reader holds little.
    pub fn ahead(&self) -> usize {
        2 * self.shared.config.workers + 2
    }

    /// The one rule of admission. An article that is estimated at so many tokens (what estimates are
    /// worth is learnt from the articles before) is let in if
    ///
    /// - those before it take no longer than [`Config::max_wait`], nor than a quarter of the time
    ///   until its deadline: articles that come after take turns with it, and an overloaded machine
    ///   slows down, so that what is let in is still answered in time when all goes half as fast;
    /// - its first windows, as many as are under way at a time, find room in the queue at once.
    ///
    /// Otherwise it gets the next free slot.
    ///
    /// # Errors
    ///
    /// [`EngineError::Full`], with the time until that slot; [`EngineError::Expired`].
    pub fn admit(
        self: &Arc<Self>,
        estimate: usize,
        deadline: Option<Instant>,
    ) -> Result<Lane, EngineError> {
        let tokens = lock(&self.shared.ledger).cost(estimate);
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Err(EngineError::Expired);
        }
        let most = self.shared.config.max_wait;
        let most = left.map_or(most, |left| most.min(left / 4));
        let (before, rate) = self.before(tokens);
        tracing::debug!(
            tokens,
            before,
            rate,
            seconds = most.as_secs_f64(),
            "asked to admit"
        );
        if before as f64 > most.as_secs_f64() * rate {
            return Err(self.full(estimate));
        }
        let entry = &self.shared.entry;
        let window = self.shared.model.encoder().shape().window_tokens;
        let first = entry.fit(tokens.min(self.ahead() * window).max(1));
        match Arc::clone(&entry.permits).try_acquire_many_owned(first) {
            Ok(permit) => {
                let mut lane = self.lane(estimate);
                lane.enter(permit);
                Ok(lane)
            }
            Err(_) if entry.permits.is_closed() => Err(EngineError::Stopping),
            Err(_) => Err(self.full(estimate)),
        }
    }

    /// Tokens that go before those of an article of `tokens`, and how many are answered a second.
    fn before(&self, tokens: usize) -> (usize, f64) {
        let ledger = lock(&self.shared.ledger);
        (ledger.before(tokens, Instant::now()), ledger.rate())
    }

    /// Refuses an article that is estimated at so many tokens, and promises it the next slot: when half of what
    /// would go before it now has gone.
    pub fn full(&self, estimate: usize) -> EngineError {
        let tokens = lock(&self.shared.ledger).cost(estimate);
        let (before, rate) = self.before(tokens);
        let mut slots = lock(&self.shared.slots);
        let retry_after = slots.hand_out(Instant::now(), before / 2, tokens, rate);
        EngineError::Full { retry_after }
    }

    /// A lane for an article that is estimated at so many tokens and does not ask to be admitted: it
    /// waits for room with all its windows.
    pub fn lane(self: &Arc<Self>, estimate: usize) -> Lane {
        Lane::open(self, estimate)
    }

    async fn answer(
        &self,
        lane: u64,
        room: Option<OwnedSemaphorePermit>,
        window: Window,
        deadline: Option<Instant>,
    ) -> Result<Answer, EngineError> {
        let room = match room {
            Some(room) => room,
            None => self.wait_for_room(&window, deadline).await?,
        };
        let (reply, answer) = oneshot::channel();
        let job = Job {
            window,
            deadline,
            entered: Instant::now(),
            reply,
            _room: room,
        };
        if !self.shared.queue.push(lane, job) {
            return Err(EngineError::Stopping);
        }
        answer.await.map_err(|_| EngineError::Stopping)?
    }

    async fn wait_for_room(
        &self,
        window: &Window,
        deadline: Option<Instant>,
    ) -> Result<OwnedSemaphorePermit, EngineError> {
        let later = &self.shared.later;
        let room = Arc::clone(&later.permits).acquire_many_owned(later.fit(window.tokens()));
        let room = match deadline {
            None => room.await,
            Some(deadline) => match tokio::time::timeout_at(deadline.into(), room).await {
                Ok(room) => room,
                Err(_) => {
                    self.shared.counters.expired.fetch_add(1, Ordering::Relaxed);
                    return Err(EngineError::Expired);
                }
            },
        };
        room.map_err(|_| EngineError::Stopping)
    }

    /// Takes no more work, and answers what waits with [`EngineError::Stopping`].
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.shared.entry.permits.close();
        self.shared.later.permits.close();
        self.shared.queue.close();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
        for worker in self.workers.drain(..) {
            // A worker that panicked has nothing left to say.
            let _ = worker.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while holding one of these; if it did, the numbers would still be numbers.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
