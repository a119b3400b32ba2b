//! `ClassifierService`: requests to the classifier, its events to messages.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::{self, Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::pb::classifier_service_server::ClassifierService;
use super::pb::{self, classify_article_response, classify_articles_response};
use super::watched::Failures;
use super::{convert, status};
use crate::answer::Event;
use crate::article::{Article, Body, Invalid, Reason};
use crate::classifier::{Classification, Classifier, ClassifyError, Options};
use crate::engine::EngineError;

/// Text of more bytes than this is cut on a thread that may block.
const CUT_HERE: usize = 64 << 10;

/// The service over a classifier.
#[derive(Clone)]
pub struct Service {
    classifier: Classifier,
    request_bytes: usize,
    draining: Arc<AtomicBool>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Service {
    /// A service; `request_bytes` is the transport's limit, told by `GetModel`.
    pub fn new(classifier: Classifier, request_bytes: usize) -> Self {
        Self {
            classifier,
            request_bytes,
            draining: Arc::default(),
        }
    }

    /// Takes no new articles; what has been accepted is answered.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// The one rule of admission: not while draining, and only if a window would find room.
    fn admit(&self) -> Result<(), Status> {
        if self.draining() {
            return Err(status::draining());
        }
        let engine = self.classifier.engine();
        if !engine.has_room(engine.model().encoder().shape().window_tokens) {
            return Err(status::queue_full());
        }
        Ok(())
    }

    /// Cuts an article and starts its answer.
    async fn start(
        &self,
        article: Article,
        min_confidence: f32,
        deadline: Option<Instant>,
    ) -> Result<Classification, ClassifyError> {
        let options = Options {
            min_confidence,
            deadline,
        };
        let bytes = match &article.body {
            Body::Text(text) => text.len(),
            Body::Sentences(all) => all.iter().map(String::len).sum(),
        };
        if bytes <= CUT_HERE {
            return Ok(self.classifier.classify(article, options)?);
        }
        let classifier = self.classifier.clone();
        let cut = tokio::task::spawn_blocking(move || classifier.classify(article, options));
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
        let deadline = deadline(request.metadata());
        let message = request.into_inner();
        let (article, min_confidence) = convert::request(message.article, message.options)
            .map_err(|error| status::invalid(&error))?;
        self.admit()?;
        let answer = within(deadline, self.start(article, min_confidence, deadline))
            .await
            .ok_or_else(status::deadline_exceeded)?
            .map_err(|error| status::classify(&error))?;
        let events = stream::unfold(Some(answer), move |answer| async move {
            let mut answer = answer?;
            match next(&mut answer, deadline).await? {
                Ok(event) => Some((Ok(article_response(event)), Some(answer))),
                Err(error) => Some((Err(status::classify(&error)), None)),
            }
        });
        Ok(Response::new(events.boxed()))
    }

    async fn classify_articles(
        &self,
        request: Request<Streaming<pb::ClassifyArticlesRequest>>,
    ) -> Result<Response<Self::ClassifyArticlesStream>, Status> {
        let deadline = deadline(request.metadata());
        let failures = request.extensions().get().cloned().unwrap_or_default();
        let mut requests = request.into_inner();
        let first = within(deadline, requests.message())
            .await
            .ok_or_else(status::deadline_exceeded)??;
        self.admit()?;
        // One message waits for the reader; a slow one thus slows the reading of articles.
        let (out, responses) = mpsc::channel(1);
        let corpus = Corpus {
            service: self.clone(),
            deadline,
            out,
            seen: HashSet::new(),
            index: 0,
            failures,
        };
        tokio::spawn(corpus.run(first, requests));
        Ok(Response::new(ReceiverStream::new(responses).boxed()))
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

/// A `ClassifyArticles` call under way. Ends quietly when the client has left.
struct Corpus {
    service: Service,
    deadline: Option<Instant>,
    out: mpsc::Sender<Result<pb::ClassifyArticlesResponse, Status>>,
    seen: HashSet<String>,
    index: i64,
    failures: Failures,
}

/// The client has left.
struct Gone;

impl Corpus {
    async fn run(
        mut self,
        first: Option<pb::ClassifyArticlesRequest>,
        mut requests: Streaming<pb::ClassifyArticlesRequest>,
    ) {
        let mut next = Ok(first);
        loop {
            let request = match next {
                Ok(Some(request)) => request,
                Ok(None) => return,
                Err(status) => {
                    // The stream broke, or a message was no message; nothing more can be read.
                    let _ = self.out.send(Err(status)).await;
                    return;
                }
            };
            if self.article(request).await.is_err() {
                return;
            }
            if self.service.draining() {
                let _ = self.out.send(Err(status::draining())).await;
                return;
            }
            next = tokio::select! {
                read = within(self.deadline, requests.message()) => match read {
                    Some(read) => read,
                    None => Err(status::deadline_exceeded()),
                },
                () = self.out.closed() => return,
            };
        }
    }

    /// Answers one article: its messages, or its error.
    async fn article(&mut self, request: pb::ClassifyArticlesRequest) -> Result<(), Gone> {
        let id = request
            .article
            .as_ref()
            .map(|a| a.id.clone())
            .unwrap_or_default();
        match self.start(request).await {
            Err(error) => self.send(&id, self.failure(&error)).await?,
            Ok(mut answer) => loop {
                let event = tokio::select! {
                    event = next(&mut answer, self.deadline) => event,
                    () = self.out.closed() => return Err(Gone),
                };
                match event {
                    None => break,
                    Some(Ok(event)) => self.send(&id, articles_event(event)).await?,
                    Some(Err(ClassifyError::Engine(EngineError::Expired))) => {
                        // The deadline is the call's, not the article's.
                        let _ = self.out.send(Err(status::deadline_exceeded())).await;
                        return Err(Gone);
                    }
                    Some(Err(error)) => {
                        self.send(&id, self.failure(&error)).await?;
                        break;
                    }
                }
            },
        }
        self.index += 1;
        Ok(())
    }

    async fn start(
        &mut self,
        request: pb::ClassifyArticlesRequest,
    ) -> Result<Classification, ClassifyError> {
        let id = request
            .article
            .as_ref()
            .map(|a| a.id.as_str())
            .unwrap_or_default();
        if id.is_empty() {
            let problem = "is empty; every article of a corpus needs an id";
            return Err(Invalid::new("id", Reason::EmptyArticleId, problem).into());
        }
        if !self.seen.insert(id.to_owned()) {
            let problem = format!("{id:?} stood before in this stream; ids are unique");
            return Err(Invalid::new("id", Reason::DuplicateArticleId, problem).into());
        }
        let (article, min_confidence) = convert::request(request.article, request.options)?;
        self.service
            .start(article, min_confidence, self.deadline)
            .await
    }

    /// The status with which `ClassifyArticle` would have failed, as a message.
    fn failure(&self, error: &ClassifyError) -> classify_articles_response::Event {
        let status = status::classify(error);
        self.failures.count(&status);
        failure(&status)
    }

    async fn send(&self, id: &str, event: classify_articles_response::Event) -> Result<(), Gone> {
        let message = pb::ClassifyArticlesResponse {
            article_id: id.to_owned(),
            article_index: self.index,
            event: Some(event),
        };
        self.out.send(Ok(message)).await.map_err(|_| Gone)
    }
}

/// The next event before the deadline.
async fn next(
    answer: &mut Classification,
    deadline: Option<Instant>,
) -> Option<Result<Event, ClassifyError>> {
    match within(deadline, answer.next()).await {
        Some(event) => event,
        None => Some(Err(ClassifyError::Engine(EngineError::Expired))),
    }
}

/// Waits no longer than the deadline; `None` when it has passed.
async fn within<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    match deadline {
        None => Some(future.await),
        Some(deadline) => tokio::time::timeout_at(deadline.into(), future).await.ok(),
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

fn articles_event(event: Event) -> classify_articles_response::Event {
    use classify_articles_response::Event as Message;
    match event {
        Event::Sentence(s) => Message::Sentence(convert::sentence(*s)),
        Event::Summary(s) => Message::Summary(convert::summary(*s)),
    }
}

/// A status as a message.
fn failure(status: &Status) -> classify_articles_response::Event {
    let wire = <tonic_types::pb::Status as prost::Message>::decode(status.details());
    // Details hold the whole `google.rpc.Status`; one without details is made from its parts.
    let wire = wire.unwrap_or_else(|_| tonic_types::pb::Status {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details: Vec::new(),
    });
    classify_articles_response::Event::Error(wire)
}

/// How long before the client's deadline its answer is given up, at most. tonic keeps a clock of its
/// own up to the headers and answers CANCELLED, so ours must ring first.
const EARLY: Duration = Duration::from_millis(50);

/// When to give up, from the client's `grpc-timeout` header: at most eight digits and a unit.
fn deadline(metadata: &MetadataMap) -> Option<Instant> {
    let value = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let n: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    let timeout = match unit {
        "H" => Duration::from_secs(n * 3600),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_micros(n),
        "n" => Duration::from_nanos(n),
        _ => return None,
    };
    Instant::now().checked_add(timeout - EARLY.min(timeout / 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read() {
        let check = |value: &str, expect: Option<u64>| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", value.parse().unwrap());
            let found = deadline(&metadata).map(|d| d.duration_since(Instant::now()));
            let found = found.map(|d| (d + Duration::from_millis(400)).as_secs());
            assert_eq!(found, expect, "{value}");
        };
        check("2S", Some(2));
        check("2000m", Some(2));
        check("1H", Some(3600));
        check("S", None);
        check("", None);
        check("-1S", None);
        check("123456789S", None);
        check("5x", None);
    }
}
