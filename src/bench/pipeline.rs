//! The whole pipeline in this process: articles in, sentences and summary out.

use std::time::Instant;

use super::articles::Set;
use super::load::{self, Outcome, Reply, Run};
use super::{Error, Pace};
use crate::answer::Event;
use crate::article::Article;
use crate::classifier::{Classifier, ClassifyError, Options};

/// A closed loop of `callers`, each asking for the next article of the set when its last is
/// answered. Must run within a tokio runtime.
///
/// # Errors
///
/// When an article is not answered.
pub async fn run(
    classifier: &Classifier,
    set: &Set,
    callers: usize,
    pace: Pace,
) -> Result<Run, Error> {
    let ask = |n: usize| ask(classifier, set, n);
    let run = load::closed(ask, callers, pace).await?;
    match run.errors.first_key_value() {
        Some((error, _)) => Err(Error::Unanswered(error.clone())),
        None => Ok(run),
    }
}

async fn ask(classifier: &Classifier, set: &Set, n: usize) -> Outcome {
    let first = answer(classifier, set.article(n)).await;
    let first = first.map_err(|error| error.to_string())?;
    let work = set.work(n);
    Ok(Reply { work, first })
}

/// Answers an article; when its first sentence was there.
///
/// # Errors
///
/// When it is not answered.
pub async fn answer(classifier: &Classifier, article: &Article) -> Result<Instant, ClassifyError> {
    let mut events = classifier.classify(article.clone(), Options::default())?;
    let mut first = None;
    while let Some(event) = events.next().await {
        if let Event::Sentence(_) = event? {
            first.get_or_insert_with(Instant::now);
        }
    }
    Ok(first.unwrap_or_else(Instant::now))
}
