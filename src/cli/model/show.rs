//! `copydesk model show`: what a model is, as a table or as JSON.

use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;

use super::size;
use crate::cli::Failure;
use crate::cli::source::{Found, Place};
use crate::model::config::{Card, Divisors};
use crate::model::{Model, Placement};

/// How it is written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table to read.
    Table,
    /// One JSON object.
    Json,
}

/// What a model is.
#[derive(Serialize)]
struct Description<'a> {
    id: &'a str,
    revision: &'a str,
    sha256: &'a str,
    format: u32,
    language: &'a str,
    types: &'a [String],
    sentiments: &'a [String],
    tags: &'a [String],
    window_tokens: usize,
    context_sentences: usize,
    headline_tokens: usize,
    parameters: usize,
    bytes: u64,
    base_model: &'a str,
    training_data: &'a [String],
    temperatures: Temperatures,
    /// `None` for the model inside the binary.
    directory: Option<String>,
    /// `None` unless it is from the Hub; so with the commit.
    source: Option<String>,
    commit: Option<&'a str>,
}

#[derive(Serialize)]
struct Temperatures {
    #[serde(flatten)]
    article: Divisors,
    /// `None` where a sentence alone has those of articles.
    alone: Option<Divisors>,
}

/// Prints it.
pub(super) fn run(found: &Found, format: Format) -> Result<(), Failure> {
    let model = found.load(Placement::Cpu)?;
    let description = Description::of(found, &model)?;
    let mut out = std::io::stdout().lock();
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string(&description)?)?,
        Format::Table => {
            for (name, value) in description.rows() {
                writeln!(out, "{name:<15}{value}")?;
            }
        }
    }
    Ok(())
}

impl<'a> Description<'a> {
    fn of(found: &'a Found, model: &'a Model) -> Result<Self, Failure> {
        let Card {
            format,
            language,
            types,
            sentiments,
            tags,
            shape,
            temperatures,
            base_model,
            training_data,
            ..
        } = model.card();
        let identity = model.identity();
        let (directory, source, commit) = match &found.place {
            Place::Inside => (None, None, None),
            Place::Directory(directory) => (Some(directory), None, None),
            #[cfg(feature = "hub")]
            Place::Cache(repository, snapshot) => (
                Some(&snapshot.directory),
                Some(repository.to_string()),
                Some(&*snapshot.commit),
            ),
        };
        Ok(Self {
            id: &identity.id,
            revision: &identity.revision,
            sha256: &identity.sha256,
            format: *format,
            language,
            types,
            sentiments,
            tags,
            window_tokens: shape.window_tokens,
            context_sentences: shape.context_sentences,
            headline_tokens: shape.headline_tokens,
            parameters: found.files.parameters()?,
            bytes: found.files.each().iter().map(|(_, b)| b.len() as u64).sum(),
            base_model,
            training_data,
            temperatures: Temperatures {
                article: temperatures.article,
                alone: temperatures.alone,
            },
            directory: directory.map(|d| d.display().to_string()),
            source,
            commit,
        })
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let window = format!(
            "{} tokens, of these at most {} of the headline; {} sentences of context",
            self.window_tokens, self.headline_tokens, self.context_sentences
        );
        let of = |d: Divisors| format!("type {}, sentiment {}", d.kind, d.sentiment);
        let mut temperatures = of(self.temperatures.article);
        if let Some(alone) = self.temperatures.alone {
            temperatures = format!("{temperatures}; of one sentence {}", of(alone));
        }
        let mut rows = vec![
            ("id", self.id.to_owned()),
            ("revision", self.revision.to_owned()),
            ("sha256", self.sha256.to_owned()),
            ("format", self.format.to_string()),
            ("language", self.language.to_owned()),
            ("types", self.types.join(", ")),
            ("sentiments", self.sentiments.join(", ")),
            ("tags", self.tags.join(", ")),
            ("window", window),
            ("parameters", millions(self.parameters)),
            ("size", size(self.bytes)),
            ("base model", self.base_model.to_owned()),
            ("training data", self.training_data.join(", ")),
            ("temperatures", temperatures),
        ];
        let inside = || "inside the binary".to_owned();
        rows.push(("place", self.directory.clone().unwrap_or_else(inside)));
        rows.extend(self.source.clone().map(|source| ("source", source)));
        rows.extend(self.commit.map(|commit| ("commit", commit.to_owned())));
        rows
    }
}

fn millions(count: usize) -> String {
    match count {
        0..1_000_000 => count.to_string(),
        _ => format!("{:.1} million", count as f64 / 1e6),
    }
}
