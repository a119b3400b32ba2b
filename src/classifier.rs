//! The classifier: an article in, a stream of sentences out, then a summary. The one entry point
//! for gRPC and the command line. Refuses bad articles before any work is queued.

mod assemble;
mod cut;
mod language;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use self::assemble::{Assembler, Text};
pub use self::cut::Cut;
use crate::answer::{Event, Timings};
use crate::article::{Article, Invalid, Limits, Reason};
use crate::encode::{TokenizerError, Window};
use crate::engine::{Answer, Engine, EngineError};

/// How one article is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// Below it a type or sentiment is left unspecified; 0 to 1.
    pub min_confidence: f32,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
}

/// Why an article was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClassifyError {
    /// The article breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The engine did not answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<TokenizerError> for ClassifyError {
    fn from(error: TokenizerError) -> Self {
        Self::Engine(EngineError::Failed(error.to_string()))
    }
}

/// Answers articles. Cheap to clone.
#[derive(Clone)]
pub struct Classifier {
    engine: Arc<Engine>,
    limits: Limits,
}

impl Classifier {
    /// A classifier over an engine.
    pub fn new(engine: Arc<Engine>, limits: Limits) -> Self {
        Self { engine, limits }
    }

    /// The engine below.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// What an article may hold.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Checks and cuts an article; its answer then streams as it is polled. Takes time in
    /// proportion to the text and runs no model. The answer must be polled within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Invalid`], when the article breaks a rule.
    pub fn classify(&self, article: Article, options: Options) -> Result<Classification, Invalid> {
        if !(0.0..=1.0).contains(&options.min_confidence) {
            let problem = format!("is {}; from 0 to 1 is allowed", options.min_confidence);
            return Err(Invalid::new(
                "min_confidence",
                Reason::InvalidMinConfidence,
                problem,
            ));
        }
        let started = Instant::now();
        let exact = article.check(&self.limits)?;
        let text = Arc::new(Text::new(article, exact, &self.limits)?);
        let model = self.engine.model();
        let assembler = Assembler::new(Arc::clone(&text), model, options.min_confidence);
        let answers = self.answers(&text, options.deadline);
        let timings = Timings {
            tokenize: started.elapsed(),
            ..Timings::default()
        };
        Ok(Classification {
            answers,
            assembler: Some(assembler),
            ready: Vec::new(),
            started,
            timings,
        })
    }

    /// The windows' answers, in order. A few windows are under way at a time: enough to keep every
    /// worker busy, few enough that a slow reader holds little.
    fn answers(&self, text: &Arc<Text>, deadline: Option<Instant>) -> Answers {
        let engine = Arc::clone(&self.engine);
        let ahead = 2 * engine.config().workers + 2;
        let count = text.sentences().len();
        let source = {
            let text = Arc::clone(text);
            move |index: usize| text.source(index)
        };
        let windows = engine
            .model()
            .encoder()
            .windows(text.headline(), count, source);
        let windows = match windows {
            Ok(windows) => windows,
            Err(error) => return futures_util::stream::iter([Err(error.into())]).boxed(),
        };
        let timed = Timed { windows };
        futures_util::stream::iter(timed)
            .map(move |(window, took)| {
                let engine = Arc::clone(&engine);
                // A task of its own: it goes on while nobody polls the stream, so that a slow
                // reader never sits on room in the queue that others wait for.
                let work = Task(tokio::spawn(async move {
                    engine
                        .answer(window?, deadline)
                        .await
                        .map_err(ClassifyError::from)
                }));
                async move { Ok((work.await?, took)) }
            })
            .buffered(ahead)
            .boxed()
    }
}

type Answers = BoxStream<'static, Result<(Answer, Duration), ClassifyError>>;

/// A spawned window; dropping it drops the work.
struct Task(tokio::task::JoinHandle<Result<Answer, ClassifyError>>);

impl Future for Task {
    type Output = Result<Answer, ClassifyError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let joined = std::task::ready!(Pin::new(&mut self.0).poll(context));
        Poll::Ready(joined.unwrap_or(Err(ClassifyError::Engine(EngineError::Stopping))))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Measures what cutting and tokenising takes.
struct Timed<W> {
    windows: W,
}

impl<W: Iterator<Item = Result<Window, TokenizerError>>> Iterator for Timed<W> {
    type Item = (Result<Window, TokenizerError>, Duration);

    fn next(&mut self) -> Option<Self::Item> {
        let started = Instant::now();
        self.windows
            .next()
            .map(|window| (window, started.elapsed()))
    }
}

/// An answer under way; made by [`Classifier::classify`]. Dropping it drops the work.
pub struct Classification {
    answers: Answers,
    /// Taken when the summary goes out or something fails.
    assembler: Option<Assembler>,
    /// Sentences that are answered but not asked for yet, last first.
    ready: Vec<Event>,
    started: Instant,
    timings: Timings,
}

impl Classification {
    /// The next sentence, or the summary, or `None` after it. After an error there is no more.
    ///
    /// # Errors
    ///
    /// [`ClassifyError::Engine`].
    pub async fn next(&mut self) -> Option<Result<Event, ClassifyError>> {
        loop {
            if let Some(event) = self.ready.pop() {
                return Some(Ok(event));
            }
            let mut assembler = self.assembler.take()?;
            match self.answers.next().await {
                Some(Ok((answer, tokenized))) => {
                    self.timings.queue += answer.queued;
                    self.timings.encode += answer.encoded;
                    self.timings.tokenize += tokenized;
                    self.ready = assembler.window(answer.sentences);
                    self.ready.reverse();
                    self.assembler = Some(assembler);
                }
                Some(Err(error)) => return Some(Err(error)),
                None => {
                    self.timings.total = self.started.elapsed();
                    return Some(Ok(Event::Summary(Box::new(
                        assembler.summary(self.timings),
                    ))));
                }
            }
        }
    }
}
