//! The engine: a bounded queue of windows, and workers that answer them in batches. One
//! single-threaded worker a core over shared weights: throughput then grows with cores rather
//! than with the cost of splitting one product over two of them.
//!
//! Queues nothing without a bound. One half of the queue's tokens is for articles as they are
//! admitted, and who finds no room there is refused at once; the other half is for the later windows
//! of what was admitted, which wait for it. Articles take turns, one window each. Drops, without
//! running it, what nobody waits for any more and what is past its deadline. Knows nothing of gRPC.

mod admission;
mod queue;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

pub use self::admission::{LONGEST_WAIT, SHORTEST_WAIT};
use self::admission::{Ledger, Slots};
use self::queue::{Job, Queue};
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

/// One permit a token.
struct Room {
    permits: Arc<Semaphore>,
    size: usize,
}

impl Room {
    fn new(size: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(size)),
            size,
        }
    }

    fn taken(&self) -> usize {
        self.size.saturating_sub(self.permits.available_permits())
    }

    /// What is larger than the room takes all of it.
    fn fit(&self, tokens: usize) -> u32 {
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
                lane.entry = Some(permit);
                lane.opening = Some(Passage::new(self, lane.number, 0));
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
        let mut ledger = lock(&self.shared.ledger);
        let cost = ledger.cost(estimate);
        Lane {
            engine: Arc::clone(self),
            number: ledger.open(cost, Instant::now()),
            estimate,
            sent: 0,
            entry: None,
            opening: None,
        }
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

impl Lane {
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while holding one of these; if it did, the numbers would still be numbers.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A worker's life.
fn work_alone(shared: &Shared) {
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
