//! The classifier: an article in, a stream of sentences out, then a summary. The one entry point
//! for gRPC and the command line. Refuses bad articles before any work is queued.

mod assemble;
mod cut;
mod language;
mod text;
mod voices;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::stream::{BoxStream, Peekable};
use futures_util::{FutureExt, StreamExt};

use self::assemble::Assembler;
pub use self::cut::Cut;
use self::text::Text;
use crate::answer::{Event, Timings};
use crate::article::{Article, Invalid, Limits, Reason};
use crate::encode::{TokenizerError, Window};
use crate::engine::{Answer, Config, Engine, EngineError, Lane};
use crate::model::Model;

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

/// Where the time of one window went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Sentences that it answered.
    pub sentences: usize,
    /// From entering the queue to its batch.
    pub queued: Duration,
    /// Its batch in the model.
    pub encoded: Duration,
    /// When that was over.
    pub ended: Instant,
}

/// Answers articles. Cheap to clone.
#[derive(Clone)]
pub struct Classifier {
    engine: Arc<Engine>,
    limits: Limits,
}

impl Classifier {
    /// A classifier with an engine of its own: a worker a core, and the default limits.
    ///
    /// ```
    /// use copydesk::model::files::Files;
    /// use copydesk::{Classifier, Model, Placement};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let Some(files) = Files::embedded() else { return Ok(()) };
    /// let classifier = Classifier::start(Model::load(&files, Placement::Cpu)?)?;
    /// assert_eq!(classifier.limits().text_bytes, 1 << 20);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn start(model: Model) -> std::io::Result<Self> {
        let engine = Engine::start(Arc::new(model), Config::default())?;
        Ok(Self::new(Arc::new(engine), Limits::default()))
    }

    /// A classifier over an engine, which others may share.
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

    /// Asks to let in an article whose text has so many bytes, before any work on it; see
    /// [`Engine::admit`].
    ///
    /// # Errors
    ///
    /// [`EngineError::Full`] with when to come back, or [`EngineError::Expired`].
    pub fn admit(&self, text_bytes: usize, deadline: Option<Instant>) -> Result<Lane, EngineError> {
        self.engine.admit(cost(text_bytes), deadline)
    }

    /// Refuses such an article, with when to come back.
    pub fn full(&self, text_bytes: usize) -> EngineError {
        self.engine.full(cost(text_bytes))
    }

    /// As [`Self::classify`], for an article that was admitted. The first windows are
    /// under way when this returns, so it must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Invalid`], when the article breaks a rule.
    pub fn classify_admitted(
        &self,
        article: Article,
        options: Options,
        lane: Lane,
    ) -> Result<Classification, Invalid> {
        let mut classification = self.classify_in(lane, article, options)?;
        // Whether an answer is there yet does not matter: the poll has sent the first windows off.
        let _ = Pin::new(&mut classification.answers).peek().now_or_never();
        Ok(classification)
    }

    /// Checks and cuts an article; its answer then streams as it is polled. Takes time in
    /// proportion to the text and runs no model. The answer must be polled within a tokio runtime.
    ///
    /// ```
    /// use copydesk::model::files::Files;
    /// use copydesk::{Article, Body, Classifier, Event, Model, Options, Parties, Party, Placement};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// # let Some(files) = Files::embedded() else { return Ok(()) };
    /// # let classifier = Classifier::start(Model::load(&files, Placement::Cpu)?)?;
    /// let ellis = Party {
    ///     id: "ellis".into(),
    ///     name: "Port Ellis".into(),
    ///     aliases: vec!["the port".into()],
    ///     ..Party::default()
    /// };
    /// let article = Article {
    ///     body: Body::Text("The union sued Port Ellis. It was right to, a judge said.".into()),
    ///     parties: Parties::Named(vec![ellis]),
    ///     ..Article::default()
    /// };
    /// let mut answer = classifier.classify(article, Options::default())?;
    /// let mut mentions = Vec::new();
    /// while let Some(event) = answer.next().await {
    ///     if let Event::Sentence(sentence) = event? {
    ///         mentions.extend(sentence.parties.into_iter().flat_map(|p| p.mentions));
    ///     }
    /// }
    /// assert_eq!(mentions[0].text, "Port Ellis");
    /// assert_eq!(mentions[0].span.char_start..mentions[0].span.char_end, 15..25);
    ///
    /// // A bad article is refused before any work, and the error names the field.
    /// let empty = classifier.classify(Article::default(), Options::default());
    /// assert_eq!(empty.err().map(|e| e.field), Some("text".into()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Invalid`], when the article breaks a rule.
    pub fn classify(&self, article: Article, options: Options) -> Result<Classification, Invalid> {
        let bytes = article.body.bytes();
        self.classify_in(self.engine.lane(cost(bytes)), article, options)
    }

    fn classify_in(
        &self,
        lane: Lane,
        article: Article,
        options: Options,
    ) -> Result<Classification, Invalid> {
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
        let answers = self.answers(&text, lane, options.deadline).peekable();
        let cut = started.elapsed();
        let timings = Timings {
            tokenize: cut,
            ..Timings::default()
        };
        Ok(Classification {
            answers,
            assembler: Some(assembler),
            ready: Vec::new(),
            passed: None,
            started,
            cut,
            sentences: text.sentences().len(),
            timings,
        })
    }

    /// The windows' answers, in order, a few under way at a time.
    fn answers(&self, text: &Arc<Text>, mut lane: Lane, deadline: Option<Instant>) -> Answers {
        let ahead = self.engine.ahead();
        let count = text.sentences().len();
        let source = {
            let text = Arc::clone(text);
            move |index: usize| text.source(index)
        };
        let encoder = self.engine.model().encoder();
        let windows = match encoder.windows(text.headline(), count, source) {
            Ok(windows) => windows,
            Err(error) => return futures_util::stream::iter([Err(error.into())]).boxed(),
        };
        let mut timed = Timed { windows };
        let mut sent = 0;
        let windows = std::iter::from_fn(move || {
            let next = timed.next();
            sent += 1;
            let (window, took) = next.or_else(|| {
                lane.whole();
                None
            })?;
            let answer = window.map(|window| lane.answer(window, deadline));
            if sent == ahead {
                lane.settle();
            }
            // A task of its own: it goes on while nobody polls the stream, so that a slow reader
            // never sits on room in the queue that others wait for.
            let work = Task(tokio::spawn(async move { Ok(answer?.await?) }));
            Some(async move { Ok((work.await?, took)) })
        });
        futures_util::stream::iter(windows).buffered(ahead).boxed()
    }
}

/// Tokens of a text, about. A token is some four bytes of English, and sentences that stand in two
/// windows, as context, come on top: so three, and an estimate is seldom less than what comes.
fn cost(text_bytes: usize) -> usize {
    text_bytes / 3 + 16
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
    answers: Peekable<Answers>,
    /// Taken when the summary goes out or something fails.
    assembler: Option<Assembler>,
    /// Sentences that are answered but not asked for yet, last first.
    ready: Vec<Event>,
    /// The window that they come from, until somebody asks.
    passed: Option<Passed>,
    started: Instant,
    cut: Duration,
    sentences: usize,
    timings: Timings,
}

impl Classification {
    /// When the article came, and what checking and cutting it took.
    pub fn cut(&self) -> (Instant, Duration) {
        (self.started, self.cut)
    }

    /// How many sentences it was cut into.
    pub fn sentences(&self) -> usize {
        self.sentences
    }

    /// The window that the sentence came from that was given last, if it was the window's first.
    pub fn passed(&mut self) -> Option<Passed> {
        self.passed.take()
    }

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
                    self.passed = Some(Passed {
                        sentences: answer.sentences.len(),
                        queued: answer.queued,
                        encoded: answer.encoded,
                        ended: answer.ended,
                    });
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
