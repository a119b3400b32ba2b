//! `copydesk model verify`: a model is sound if it loads (shapes, finite weights, tokenizer, label
//! lists, format) and answers an article.

use std::io::Write;
use std::sync::Arc;

use super::size;
use crate::answer::{Event, Sentence};
use crate::article::{Article, Body, Limits};
use crate::classifier::{Classifier, Options};
use crate::cli::Failure;
use crate::cli::setup::runtime;
use crate::cli::source::Found;
use crate::engine::{self, Engine};
use crate::model::files::sha256;
use crate::model::{Model, Placement};

/// Made up; has a quotation, a speaker, parties and a line of boilerplate.
const ARTICLE: &str = "The harbour board of Port Ellis will lease its northern quay to Norland.\n\n\
    “We have waited ten years for this,” said Ida Brandt, who chairs the board. Norland’s rival \
    Oster called the lease a gift to a company that has broken its word before.\n\n\
    Write to us at the usual address.";

/// Prints what was found sound.
pub(super) fn run(found: &Found) -> Result<(), Failure> {
    let model = found.load(Placement::Cpu)?;
    let identity = model.identity().clone();
    let sentences = runtime()?.block_on(answer(model))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} is sound", found.place)?;
    writeln!(out, "id        {}", identity.id)?;
    writeln!(out, "revision  {}", identity.revision)?;
    writeln!(out, "sha256    {}", identity.sha256)?;
    for (name, bytes) in found.files.each() {
        writeln!(
            out,
            "{}  {name}, {}",
            sha256(&[bytes]),
            size(bytes.len() as u64)
        )?;
    }
    writeln!(out, "answered an article of {} sentences", sentences.len())?;
    Ok(())
}

async fn answer(model: Model) -> Result<Vec<Sentence>, Failure> {
    let config = engine::Config {
        workers: 1,
        ..engine::Config::default()
    };
    let engine = Engine::start(Arc::new(model), config)?;
    let article = Article {
        id: "verify".into(),
        headline: Some("Board leases quay to Norland".into()),
        body: Body::Text(ARTICLE.into()),
        ..Article::default()
    };
    let classifier = Classifier::new(Arc::new(engine), Limits::default());
    let mut events = classifier.classify(article, Options::default())?;
    let mut sentences = Vec::new();
    while let Some(event) = events.next().await {
        match event? {
            Event::Sentence(sentence) => sentences.push(*sentence),
            Event::Summary(_) => return Ok(sentences),
        }
    }
    Err("the answer broke off before its summary".into())
}
