//! One `ClassifyArticles` call: articles in, one after the other, their answers out. Reads the next
//! article when the one before is answered and its answer taken, so a slow reader holds one.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use futures_util::stream::Stream;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::deadline::within;
use super::gauges::Open;
use super::pb::{self, classify_articles_response};
use super::service::{Service, next};
use super::watched::Failures;
use super::work::{End, Work};
use super::{convert, status};
use crate::answer::Event;
use crate::article::{Invalid, Reason};
use crate::classifier::{Classification, ClassifyError};
use crate::engine::{EngineError, Lane};

/// Ids of a stream that are remembered, the latest ones: 8 bytes each and their place in a table,
/// at most 2 MiB a stream, whatever its length.
pub(super) const REMEMBERED: usize = 65_536;

type Message = pb::ClassifyArticlesResponse;

/// A call under way.
pub(super) struct Corpus {
    service: Service,
    deadline: Option<Instant>,
    out: mpsc::Sender<Message>,
    seen: Seen,
    index: i64,
    failures: Failures,
}

impl Corpus {
    /// Answers the articles in a task of its own, which ends when the stream of answers is dropped.
    pub fn answers(
        service: Service,
        deadline: Option<Instant>,
        (open, failures): (Open, Failures),
        first: Option<(pb::ClassifyArticlesRequest, Lane)>,
        requests: Streaming<pb::ClassifyArticlesRequest>,
    ) -> impl Stream<Item = Result<Message, Status>> + Send + use<> {
        // One message waits for the reader; a slow one thus slows the reading of articles.
        let (out, messages) = mpsc::channel(1);
        let corpus = Self {
            service,
            deadline,
            out,
            seen: Seen::default(),
            index: 0,
            failures,
        };
        let work = Work::new(async move {
            let _open = open;
            match first {
                Some(first) => corpus.run(first, requests).await,
                None => Ok(()),
            }
        });
        work.answers(messages)
    }

    async fn run(
        mut self,
        first: (pb::ClassifyArticlesRequest, Lane),
        mut requests: Streaming<pb::ClassifyArticlesRequest>,
    ) -> Result<(), End> {
        let (mut request, admitted) = first;
        let mut admitted = Some(admitted);
        loop {
            self.article(request, admitted.take()).await?;
            // If the stream broke, or a message was no message, nothing more can be read.
            let read = self.service.read(&mut requests, self.deadline).await;
            request = match read.map_err(End::Failed)? {
                Some(request) => request,
                None => return Ok(()),
            };
        }
    }

    /// Answers one article: its messages, or its error.
    async fn article(
        &mut self,
        request: pb::ClassifyArticlesRequest,
        admitted: Option<Lane>,
    ) -> Result<(), End> {
        let id = request.article.as_ref().map(|a| a.id.clone());
        let id = id.unwrap_or_default();
        match self.start(&id, request, admitted).await {
            Err(error) => self.send(&id, self.failure(error)?).await?,
            Ok(mut answer) => {
                while let Some(event) = next(&mut answer, self.deadline).await {
                    let message = match event {
                        Ok(event) => self::event(event),
                        Err(error) => self.failure(error)?,
                    };
                    self.send(&id, message).await?;
                }
            }
        }
        self.index += 1;
        Ok(())
    }

    /// The status with which `ClassifyArticle` would have failed, as a message. A deadline is the
    /// call's, not the article's, and ends it.
    fn failure(&self, error: ClassifyError) -> Result<classify_articles_response::Event, End> {
        if error == ClassifyError::Engine(EngineError::Expired) {
            return Err(late());
        }
        let status = status::classify(&error);
        self.failures.count(&status);
        let wire = <tonic_types::pb::Status as prost::Message>::decode(status.details());
        // Details hold the whole `google.rpc.Status`; one without details is made from its parts.
        let wire = wire.unwrap_or_else(|_| tonic_types::pb::Status {
            code: status.code() as i32,
            message: status.message().to_owned(),
            details: Vec::new(),
        });
        Ok(classify_articles_response::Event::Error(wire))
    }

    async fn start(
        &mut self,
        id: &str,
        request: pb::ClassifyArticlesRequest,
        admitted: Option<Lane>,
    ) -> Result<Classification, ClassifyError> {
        if id.is_empty() {
            let problem = "is empty; every article of a corpus needs an id";
            return Err(Invalid::new("id", Reason::EmptyArticleId, problem).into());
        }
        if !self.seen.insert(id) {
            let problem = format!(
                "{id:?} stood before in this stream; the ids of {REMEMBERED} articles on end are \
                 unique"
            );
            return Err(Invalid::new("id", Reason::DuplicateArticleId, problem).into());
        }
        let (article, min_confidence) = convert::request(request.article, request.options)?;
        self.service
            .start(article, min_confidence, self.deadline, admitted)
            .await
    }

    async fn send(&self, id: &str, event: classify_articles_response::Event) -> Result<(), End> {
        let message = Message {
            article_id: id.to_owned(),
            article_index: self.index,
            event: Some(event),
        };
        // Whoever has stopped reading holds the work no longer than its deadline.
        let sent = within(self.deadline, self.out.send(message)).await;
        sent.ok_or_else(late)?.map_err(|_| End::Gone)
    }
}

fn late() -> End {
    End::Failed(status::deadline_exceeded())
}

fn event(event: Event) -> classify_articles_response::Event {
    use classify_articles_response::Event as Message;
    match event {
        Event::Sentence(s) => Message::Sentence(convert::sentence(*s)),
        Event::Summary(s) => Message::Summary(convert::summary(*s)),
    }
}

/// The latest ids of a stream, by hashes that no caller can foresee: with [`REMEMBERED`] of them, a
/// new id is taken for a repeated one once in 2^48 articles.
#[derive(Default)]
struct Seen {
    hasher: RandomState,
    hashes: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Seen {
    /// Remembers an id; false if it is remembered already.
    fn insert(&mut self, id: &str) -> bool {
        let hash = self.hasher.hash_one(id);
        if !self.hashes.insert(hash) {
            return false;
        }
        if self.order.len() == REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.hashes.remove(&oldest);
        }
        self.order.push_back(hash);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_ids_are_remembered() {
        let mut seen = Seen::default();
        for n in 0..REMEMBERED {
            assert!(seen.insert(&n.to_string()));
        }
        assert!(!seen.insert("0"));
        assert!(seen.insert("new"));
        assert!(seen.insert("0"), "forgotten by now");
        assert!(!seen.insert("2"));
        assert_eq!(seen.hashes.len(), REMEMBERED);
    }
}
