//! Who answers: a model in this process, or servers; and what an answer comes to.

use super::resume::Settings;
use crate::answer::{Event, Sentence, Summary};
use crate::article::Article;
use crate::classifier::{Classifier, ClassifyError, Options};
use crate::cli::Failure;
use crate::engine::EngineError;
#[cfg(feature = "grpc")]
use crate::grpc::client::Client;

/// Who answers.
pub(super) enum Answerer {
    /// A model in this process.
    Here(Classifier),
    /// One server or several.
    #[cfg(feature = "grpc")]
    Servers(Client, usize),
}

/// An answer, or the code and the words of a failure.
pub(super) type Answer = Result<(Vec<Sentence>, Summary), (&'static str, String)>;

impl Answerer {
    /// Articles under way at a time: enough that nobody waits for input, and no more.
    pub fn ahead(&self) -> usize {
        match self {
            Self::Here(classifier) => 2 * classifier.engine().config().workers + 2,
            #[cfg(feature = "grpc")]
            Self::Servers(_, servers) => 8 * servers,
        }
    }

    /// The whole answer to an article.
    pub async fn answer(&self, article: Article, options: Options) -> Answer {
        match self {
            Self::Here(classifier) => collect(classifier, article, options)
                .await
                .map_err(|e| (code(&e), e.to_string())),
            #[cfg(feature = "grpc")]
            Self::Servers(client, _) => {
                let answer = client.classify(&article, options.min_confidence).await;
                answer.map_err(|s| (crate::grpc::status::name(s.code()), s.message().to_owned()))
            }
        }
    }

    /// The model's SHA-256. Servers must agree on it: answers of two models are no one's.
    pub async fn model(&self) -> Result<Option<String>, Failure> {
        match self {
            Self::Here(classifier) => {
                let model = classifier.engine().model();
                Ok(Some(model.identity().sha256.clone()))
            }
            #[cfg(feature = "grpc")]
            Self::Servers(client, _) => agreed(client).await,
        }
    }
}

/// `None` where no server answers.
#[cfg(feature = "grpc")]
async fn agreed(client: &Client) -> Result<Option<String>, Failure> {
    let mut first: Option<(&str, String)> = None;
    for (url, model) in client.models().await {
        let model = match model {
            Ok(model) => model,
            Err(status) => {
                crate::cli::warn(&format!("{url} does not answer now: {}", status.message()));
                continue;
            }
        };
        match &first {
            Some((other, sha256)) if *sha256 != model.sha256 => {
                return Err(format!(
                    "the servers have different models: {other} has {sha256}, {url} has {}",
                    model.sha256
                )
                .into());
            }
            Some(_) => {}
            None => first = Some((url, model.sha256)),
        }
    }
    Ok(first.map(|(_, sha256)| sha256))
}

/// What must be the same for a run to go on.
pub(super) async fn settings(answerer: &Answerer, flags: String) -> Result<Settings, Failure> {
    let model = answerer.model().await?;
    let model = model.ok_or("no server answers, so --resume cannot tell whether its model is the one that answered before")?;
    Ok(Settings { model, flags })
}

/// The gRPC code with which a server would have answered.
fn code(error: &ClassifyError) -> &'static str {
    match error {
        ClassifyError::Invalid(_) => "INVALID_ARGUMENT",
        ClassifyError::Engine(EngineError::Failed(_)) => "INTERNAL",
        ClassifyError::Engine(EngineError::Expired) => "DEADLINE_EXCEEDED",
        ClassifyError::Engine(_) => "UNAVAILABLE",
    }
}

async fn collect(
    classifier: &Classifier,
    article: Article,
    options: Options,
) -> Result<(Vec<Sentence>, Summary), ClassifyError> {
    let mut answer = classifier.classify(article, options)?;
    let mut sentences = Vec::new();
    while let Some(event) = answer.next().await {
        match event? {
            Event::Sentence(sentence) => sentences.push(*sentence),
            Event::Summary(summary) => return Ok((sentences, *summary)),
        }
    }
    Err(ClassifyError::Engine(EngineError::Stopping))
}
