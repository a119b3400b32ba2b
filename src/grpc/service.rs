//! `ClassifierService`: requests to the classifier, its events to messages.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures_util::stream::{Stream, StreamExt};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use super::apart::{self, End};
use super::corpus::Corpus;
use super::deadline::{self, within};
use super::gauges::{Gauges, Kind, Open};
use super::pb::classifier_service_server::ClassifierService;
use super::pb::{self, classify_article_response};
use super::watched::{Failures, Work};
use super::{convert, status};
use crate::answer::Event;
use crate::article::Article;
use crate::classifier::{Classification, Classifier, ClassifyError, Options};
use crate::engine::{EngineError, Lane};

/// Text of more bytes than this is cut on a thread that may block.
const CUT_HERE: usize = 64 << 10;

/// The service over a classifier.
#[derive(Clone)]
pub struct Service {
    classifier: Classifier,
    request_bytes: usize,
    calls: usize,
    gauges: Gauges,
    draining: Arc<watch::Sender<bool>>,
    /// What health says.
    serving: Arc<AtomicBool>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Service {
    /// A service that has at most so many calls under way; `request_bytes` is the transport's limit,
    /// told by `GetModel`.
    pub fn new(classifier: Classifier, request_bytes: usize, calls: usize) -> Self {
        Self {
            classifier,
            request_bytes,
            calls,
            gauges: Gauges::default(),
            draining: Arc::new(watch::Sender::new(false)),
            serving: Arc::default(),
        }
    }

    /// Whether health says that it serves.
    pub(super) fn serving(&self) -> bool {
        self.serving.load(Ordering::Relaxed)
    }

    pub(super) fn set_serving(&self, serving: bool) {
        self.serving.store(serving, Ordering::Relaxed);
    }

    /// Takes no new articles; what has been accepted is answered.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    fn draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// The next message of a corpus, unless the deadline passes or the server drains before.
    pub(super) async fn read<T>(
        &self,
        requests: &mut Streaming<T>,
        deadline: Option<Instant>,
    ) -> Result<Option<T>, Status> {
        let mut draining = self.draining.subscribe();
        tokio::select! {
            biased;
            _ = draining.wait_for(|draining| *draining) => Err(status::draining()),
            read = within(deadline, requests.message()) => {
                read.ok_or_else(status::deadline_exceeded)?
            }
        }
    }

    /// What it has open.
    pub fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    /// Its classifier.
    pub fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// The one rule of admission: not while draining, not beyond the number of calls, and only if
    /// the article finds room in the queue. Who is refused learns when to come back.
    pub(super) fn admit(&self, bytes: usize, deadline: Option<Instant>) -> Result<Lane, Status> {
        if self.draining() {
            return Err(status::draining());
        }
        let admitted = if self.gauges.articles() + self.gauges.corpora() > self.calls {
            Err(self.classifier.full(bytes))
        } else {
            self.classifier.admit(bytes, deadline)
        };
        admitted.map_err(|error| status::classify(&error.into()))
    }

    /// Cuts an article and starts its answer.
    pub(super) async fn start(
        &self,
        article: Article,
        min_confidence: f32,
        deadline: Option<Instant>,
        admitted: Option<Lane>,
    ) -> Result<Classification, ClassifyError> {
        let options = Options {
            min_confidence,
            deadline,
        };
        let bytes = article.body.bytes();
        let classifier = self.classifier.clone();
        let cut = move || match admitted {
            Some(admitted) => classifier.classify_admitted(article, options, admitted),
            None => classifier.classify(article, options),
        };
        if bytes <= CUT_HERE {
            return Ok(cut()?);
        }
        let cut = tokio::task::spawn_blocking(cut);
        match cut.await {
            Ok(started) => Ok(started?),
            Err(error) => {
                tracing::error!(%error, "cutting an article failed");
                Err(EngineError::Failed("cutting the article failed".to_owned()).into())
            }
        }
    }
}

#[tonic::async_trait]
impl ClassifierService for Service {
    type ClassifyArticleStream = Answers<pb::ClassifyArticleResponse>;
    type ClassifyArticlesStream = Answers<pb::ClassifyArticlesResponse>;

    async fn classify_article(
        &self,
        request: Request<pb::ClassifyArticleRequest>,
    ) -> Result<Response<Self::ClassifyArticleStream>, Status> {
        let (deadline, open) = (deadline::of(&request), self.gauges.open(Kind::Article));
        let work = extension::<Work, _>(&request);
        let message = request.into_inner();
        let bytes = message.article.as_ref().map_or(0, convert::text_bytes);
        let (article, min_confidence) = convert::request(message.article, message.options)
            .map_err(|error| status::invalid(&error))?;
        let admitted = self.admit(bytes, deadline)?;
        let start = self.start(article, min_confidence, deadline, Some(admitted));
        let answer = within(deadline, start)
            .await
            .ok_or_else(status::deadline_exceeded)?
            .map_err(|error| status::classify(&error))?;
        work.cut(&answer, 0);
        let answers = events(answer, deadline, (open, work));
        Ok(Response::new(answers.boxed()))
    }

    async fn classify_articles(
        &self,
        request: Request<Streaming<pb::ClassifyArticlesRequest>>,
    ) -> Result<Response<Self::ClassifyArticlesStream>, Status> {
        let told = (
            extension::<Failures, _>(&request),
            extension::<Work, _>(&request),
        );
        let (deadline, open) = (deadline::of(&request), self.gauges.open(Kind::Corpus));
        let mut requests = request.into_inner();
        let first = match self.read(&mut requests, deadline).await? {
            None => None,
            Some(first) => {
                let bytes = first.article.as_ref().map_or(0, convert::text_bytes);
                let admitted = self.admit(bytes, deadline)?;
                Some((first, admitted))
            }
        };
        let answers = Corpus::answers(self.clone(), deadline, (open, told), first, requests);
        Ok(Response::new(answers.boxed()))
    }

    async fn get_model(
        &self,
        _request: Request<pb::GetModelRequest>,
    ) -> Result<Response<pb::GetModelResponse>, Status> {
        let (classifier, engine) = (&self.classifier, self.classifier.engine());
        let model = convert::model(engine.model(), classifier.limits(), self.request_bytes);
        Ok(Response::new(model))
    }
}

/// What the gate put among a request's extensions.
fn extension<E: Clone + Default + Send + Sync + 'static, T>(request: &Request<T>) -> E {
    request.extensions().get().cloned().unwrap_or_default()
}

/// The messages of an answer.
fn events(
    mut answer: Classification,
    deadline: Option<Instant>,
    (open, work): (Open, Work),
) -> impl Stream<Item = Result<pb::ClassifyArticleResponse, Status>> + Send {
    apart::messages(move |out| async move {
        let _open = open;
        while let Some(event) = next(&mut answer, deadline).await {
            let event = event.map_err(|error| End::Failed(status::classify(&error)))?;
            work.windows(&mut answer, 0);
            let sent = within(deadline, out.send(article_response(event))).await;
            sent.ok_or_else(|| End::Failed(status::deadline_exceeded()))?
                .map_err(|_| End::Gone)?;
        }
        Ok(())
    })
}

/// The next event before the deadline.
pub(super) async fn next(
    answer: &mut Classification,
    deadline: Option<Instant>,
) -> Option<Result<Event, ClassifyError>> {
    match within(deadline, answer.next()).await {
        Some(event) => event,
        None => Some(Err(ClassifyError::Engine(EngineError::Expired))),
    }
}

fn article_response(event: Event) -> pb::ClassifyArticleResponse {
    use classify_article_response::Event as Message;
    let event = match event {
        Event::Sentence(s) => Message::Sentence(convert::sentence(*s)),
        Event::Summary(s) => Message::Summary(convert::summary(*s)),
    };
    pb::ClassifyArticleResponse { event: Some(event) }
}
