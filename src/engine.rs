//! The engine: a bounded queue of windows, and workers that answer them in batches. One
//! single-threaded worker a core over shared weights: throughput then grows with cores rather
//! than with the cost of splitting one product over two of them.
//!
//! Queues nothing without a bound: a window enters when its tokens fit into the queue's budget,
//! callers taking turns. Drops, without running it, what nobody waits for any more and what is
//! past its deadline. Knows nothing of articles or gRPC.

mod queue;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};

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
    /// Tokens that may wait.
    pub max_queue_tokens: usize,
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
        }
    }
}

/// Why a window was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The queue has no room, and the caller would not wait.
    #[error("the queue is full")]
    Full,
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

struct Shared {
    model: Arc<Model>,
    config: Config,
    queue: Queue,
    /// One permit a token that may wait. Fair: first come, first served, one window a time from
    /// each article, so that a long article does not hold up short ones.
    room: Arc<Semaphore>,
    counters: Counters,
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
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn start(model: Arc<Model>, config: Config) -> std::io::Result<Self> {
        let config = Config {
            workers: config.workers.max(1),
            max_queue_tokens: config
                .max_queue_tokens
                .clamp(1, Semaphore::MAX_PERMITS.min(1 << 31)),
            ..config
        };
        let shared = Arc::new(Shared {
            model,
            config,
            queue: Queue::default(),
            room: Arc::new(Semaphore::new(config.max_queue_tokens)),
            counters: Counters::default(),
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

    /// Tokens that wait now.
    pub fn queued_tokens(&self) -> usize {
        self.shared
            .config
            .max_queue_tokens
            .saturating_sub(self.shared.room.available_permits())
    }

    /// For how long the first window of the queue has waited.
    pub fn oldest(&self) -> Option<Duration> {
        Some(self.shared.queue.oldest()?.elapsed())
    }

    /// Batches that failed in a row, up to now.
    pub fn failures_in_a_row(&self) -> u64 {
        self.shared.failing.load(Ordering::Relaxed)
    }

    /// Whether `tokens` more would fit into the queue at once.
    pub fn has_room(&self, tokens: usize) -> bool {
        self.shared.room.available_permits() >= tokens.min(self.shared.config.max_queue_tokens)
    }

    /// Answers one window, waiting for room first. Dropping the future drops the work.
    ///
    /// # Errors
    ///
    /// See [`EngineError`].
    pub async fn answer(
        &self,
        window: Window,
        deadline: Option<Instant>,
    ) -> Result<Answer, EngineError> {
        // A window larger than the queue takes all of it.
        let tokens = window.tokens().min(self.shared.config.max_queue_tokens) as u32;
        let room = Arc::clone(&self.shared.room).acquire_many_owned(tokens);
        let permit = room.await.map_err(|_| EngineError::Stopping)?;
        let (reply, answer) = oneshot::channel();
        let job = Job {
            window,
            deadline,
            entered: Instant::now(),
            reply,
            _room: permit,
        };
        if !self.shared.queue.push(job) {
            return Err(EngineError::Stopping);
        }
        answer.await.map_err(|_| EngineError::Stopping)?
    }

    /// Takes no more work, and answers what waits with [`EngineError::Stopping`].
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.shared.room.close();
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
        match run(shared, &windows) {
            Ok(answers) => reply_all(shared, batch, answers, started),
            // One window must not take its neighbours with it.
            Err(_) if batch.len() > 1 => {
                for job in batch {
                    run_one(shared, job);
                }
            }
            Err(error) => fail(shared, batch, &error),
        }
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
    match catch_unwind(AssertUnwindSafe(|| shared.model.answer(windows))) {
        Ok(Ok(answers)) => {
            shared.failing.store(0, Ordering::Relaxed);
            Ok(answers)
        }
        Ok(Err(error @ (RunError::NotFinite | RunError::OtherModel))) => Err(error.to_string()),
        Ok(Err(RunError::Candle(error))) => {
            tracing::error!(%error, "a batch failed");
            Err("the model failed".to_owned())
        }
        Err(_) => Err("the model panicked".to_owned()),
    }
}

fn reply_all(
    shared: &Shared,
    batch: Vec<Job>,
    answers: Vec<Vec<SentenceLogits>>,
    started: Instant,
) {
    let encoded = started.elapsed();
    for (job, sentences) in batch.into_iter().zip(answers) {
        shared.counters.answered.fetch_add(1, Ordering::Relaxed);
        let queued = started.duration_since(job.entered);
        // Whoever asked may have gone; that is their business.
        let _ = job.reply.send(Ok(Answer {
            sentences,
            queued,
            encoded,
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
