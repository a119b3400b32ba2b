//! `config.json` of a model directory: the BERT config and the `copydesk` object. Checks what it
//! reads against what this build answers.

use candle_transformers::models::bert::{Config as BertConfig, HiddenAct};
use serde::Deserialize;

use super::LoadError;
use super::network::TARGET_HEADS;
use crate::answer::{SentenceType, Sentiment};
use crate::encode::{Case, PLACE_BUCKETS, Shape};

/// The format of model directories that this build reads.
pub const FORMAT: u32 = 1;

/// The `copydesk` object of `config.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Card {
    /// Version of the directory's format.
    pub format: u32,
    /// The model's name.
    pub id: String,
    /// The model's revision.
    pub revision: String,
    /// ISO 639-1 code of the language it was trained for.
    pub language: String,
    /// Labels of the type head, in logit order.
    pub types: Vec<String>,
    /// Labels of the sentiment head, in logit order.
    pub sentiments: Vec<String>,
    /// Labels of the tag heads, in logit order.
    pub tags: Vec<String>,
    /// Rows of the token-type embedding.
    pub cases: Vec<String>,
    /// Upper bounds of the place buckets.
    pub place_buckets: Vec<usize>,
    /// How windows are cut.
    #[serde(flatten)]
    pub shape: Shape,
    /// Divisors of the logits that make scores honest.
    pub temperatures: Temperatures,
    /// What the encoder was before training.
    #[serde(default)]
    pub base_model: String,
    /// Names of the corpora.
    #[serde(default)]
    pub training_data: Vec<String>,
}

/// Divisors of the logits, fitted on the dev set (Guo et al. 2017).
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Temperatures {
    /// Of the type head.
    #[serde(rename = "type")]
    pub kind: f32,
    /// Of the sentiment head.
    pub sentiment: f32,
}

impl Card {
    /// The language as ISO 639-3, as answers name languages.
    pub fn language_639_3(&self) -> &str {
        match self.language.as_str() {
            "en" => "eng",
            "de" => "deu",
            "es" => "spa",
            "fr" => "fra",
            other => other,
        }
    }
}

#[derive(Deserialize)]
struct File {
    copydesk: Card,
}

/// Reads and checks `config.json`.
pub(super) fn read(json: &[u8]) -> Result<(BertConfig, Card), LoadError> {
    let bert: BertConfig = serde_json::from_slice(json).map_err(LoadError::Config)?;
    let File { copydesk: card } = serde_json::from_slice(json).map_err(LoadError::Config)?;
    check(&bert, &card)?;
    Ok((bert, card))
}

fn check(bert: &BertConfig, card: &Card) -> Result<(), LoadError> {
    if card.format != FORMAT {
        return Err(LoadError::Format { found: card.format });
    }
    same(
        "types",
        &card.types,
        &SentenceType::ALL.map(SentenceType::name),
    )?;
    same(
        "sentiments",
        &card.sentiments,
        &Sentiment::ALL.map(Sentiment::name),
    )?;
    same("tags", &card.tags, &["O", "B", "I"])?;
    same("cases", &card.cases, &Case::NAMES)?;
    if card.place_buckets != PLACE_BUCKETS {
        return Err(setting(
            "place_buckets",
            format!("must be {PLACE_BUCKETS:?}"),
        ));
    }
    let shape = card.shape;
    if shape.window_tokens > bert.max_position_embeddings {
        let most = bert.max_position_embeddings;
        return Err(setting(
            "window_tokens",
            format!("exceeds the encoder's {most} positions"),
        ));
    }
    if shape.window_tokens.saturating_sub(shape.headline_tokens) < 16 {
        return Err(setting(
            "window_tokens",
            "leaves under 16 tokens beside the headline".into(),
        ));
    }
    if bert.type_vocab_size != Case::NAMES.len() {
        return Err(setting(
            "type_vocab_size",
            format!("must be {}", Case::NAMES.len()),
        ));
    }
    if bert.num_attention_heads == 0 || !bert.hidden_size.is_multiple_of(bert.num_attention_heads) {
        return Err(setting(
            "num_attention_heads",
            "must divide hidden_size".into(),
        ));
    }
    if bert.hidden_size == 0 || !bert.hidden_size.is_multiple_of(TARGET_HEADS) {
        return Err(setting(
            "hidden_size",
            format!("must be a multiple of {TARGET_HEADS}, and not 0"),
        ));
    }
    for (name, value) in [
        ("num_hidden_layers", bert.num_hidden_layers),
        ("intermediate_size", bert.intermediate_size),
    ] {
        if value == 0 {
            return Err(setting(name, "must be at least 1".into()));
        }
    }
    if bert.hidden_act != HiddenAct::Gelu {
        return Err(setting("hidden_act", "must be \"gelu\"".into()));
    }
    for (name, value) in [
        ("temperatures.type", card.temperatures.kind),
        ("temperatures.sentiment", card.temperatures.sentiment),
    ] {
        if !(value.is_finite() && value > 0.0) {
            return Err(setting(name, "must be a positive number".into()));
        }
    }
    Ok(())
}

fn setting(name: &str, problem: String) -> LoadError {
    LoadError::Setting {
        name: name.to_owned(),
        problem,
    }
}

fn same(name: &str, found: &[String], expected: &[&str]) -> Result<(), LoadError> {
    if found == expected {
        return Ok(());
    }
    Err(setting(
        name,
        format!("must be {expected:?}, in this order; found {found:?}"),
    ))
}
