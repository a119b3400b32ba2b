//! The articles of one request: admitted as one, answered a few at a time, held until the last is there. One
//! that fails fails the request.

use std::time::Instant;

use futures_util::stream::{self, StreamExt};
use tonic::Status;

use super::super::deadline::within;
use super::super::service::{Service, next};
use super::super::status;
use super::request::place;
use crate::answer::{Event, Sentence, Summary};
use crate::article::{Article, Invalid, Reason};
use crate::classifier::{Classification, ClassifyError};
use crate::engine::{EngineError, Lane};

/// An article's answer.
pub(super) struct Answered {
    pub id: String,
    pub sentences: Vec<Sentence>,
    pub summary: Summary,
}

/// Lets the articles in if there is time for all of them, by the rule that holds for one article of their
/// length; what is given is the place of the first. The others wait for room, as in a corpus.
pub(super) fn admit(
    service: &Service,
    articles: &[Article],
    deadline: Option<Instant>,
) -> Result<Lane, Status> {
    let mut bytes = articles.iter().map(|article| article.body.bytes());
    let first = bytes.next().unwrap_or_default();
    let rest: usize = bytes.sum();
    if rest > 0 {
        // Room is given back at once: the articles enter the queue one by one.
        drop(service.admit(first + rest, deadline)?);
    }
    service.admit(first, deadline)
}

/// Begins the answer of the article at `index` of its request.
pub(super) async fn start(
    service: &Service,
    (index, article): (usize, Article),
    (min_confidence, deadline): (f32, Option<Instant>),
    admitted: Option<Lane>,
) -> Result<Classification, Status> {
    let start = service.start(article, min_confidence, deadline, admitted);
    let started = within(deadline, start).await;
    started
        .ok_or_else(status::deadline_exceeded)?
        .map_err(|error| failed(index, error))
}

/// Answers the articles, in their order.
pub(super) async fn answer(
    service: &Service,
    articles: Vec<Article>,
    terms: (f32, Option<Instant>),
    mut admitted: Option<Lane>,
) -> Result<Vec<Answered>, Status> {
    let classifier = service.classifier();
    let (most, ahead) = (classifier.limits().sentences, classifier.engine().ahead());
    let work = articles.into_iter().enumerate().map(|article| {
        let (service, admitted) = (service.clone(), admitted.take());
        async move { one(&service, article, terms, admitted).await }
    });
    let mut under_way = stream::iter(work).buffered(ahead);
    let (mut answers, mut count) = (Vec::new(), 0);
    while let Some(answered) = under_way.next().await {
        let answered = answered?;
        count += answered.sentences.len();
        if count > most {
            let problem = format!(
                "holds more than {most} sentences; at most {most} are allowed in one request"
            );
            let invalid = Invalid::new("text", Reason::TooManySentences, problem);
            return Err(status::invalid(&invalid));
        }
        answers.push(answered);
    }
    Ok(answers)
}

async fn one(
    service: &Service,
    (index, article): (usize, Article),
    terms: (f32, Option<Instant>),
    admitted: Option<Lane>,
) -> Result<Answered, Status> {
    let id = article.id.clone();
    let mut answer = start(service, (index, article), terms, admitted).await?;
    let mut sentences = Vec::new();
    while let Some(event) = next(&mut answer, terms.1).await {
        match event.map_err(|error| failed(index, error))? {
            Event::Sentence(sentence) => sentences.push(*sentence),
            Event::Summary(summary) => {
                return Ok(Answered {
                    id,
                    sentences,
                    summary: *summary,
                });
            }
        }
    }
    let error = EngineError::Failed("the answer has no summary".to_owned());
    Err(status::classify(&error.into()))
}

/// Why the article at `index` was not answered.
pub(super) fn failed(index: usize, error: ClassifyError) -> Status {
    match error {
        ClassifyError::Invalid(error) => status::invalid(&place(index, error)),
        error => status::classify(&error),
    }
}
