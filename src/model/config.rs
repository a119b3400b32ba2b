//! `config.json` of a model directory: the BERT config and the `copydesk` object. Checks what it
//! reads against what this build answers.

use candle_transformers::models::bert::{Config as BertConfig, HiddenAct};
use serde::{Deserialize, Serialize};

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
    /// What makes scores honest.
    pub temperatures: Temperatures,
    /// What the encoder was before training.
    #[serde(default)]
    pub base_model: String,
    /// Names of the corpora.
    #[serde(default)]
    pub training_data: Vec<String>,
}

/// Divisors of the logits, fitted on the dev set (Guo et al. 2017): of whole articles, and of a sentence
/// that stands alone, of which a model is surer than it should be.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Temperatures {
    /// Of articles.
    #[serde(flatten)]
    pub article: Divisors,
    /// Of texts of one sentence; those of articles if left out.
    #[serde(default)]
    pub alone: Option<Divisors>,
}

/// A divisor for each head that has a temperature.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct Divisors {
    /// Of the type head.
    #[serde(rename = "type")]
    pub kind: f32,
    /// Of the sentiment head.
    pub sentiment: f32,
}

impl Temperatures {
    /// Those of a text of so many sentences: T + (T₁ − T) / sentences, which the temperatures of texts of
    /// 1, 2, 3, 5 and 10 sentences follow.
    pub fn of(self, sentences: usize) -> Divisors {
        let whole = self.article;
        let alone = self.alone.unwrap_or(whole);
        let share = 1.0 / sentences.max(1) as f32;
        let between = |whole: f32, alone: f32| whole + (alone - whole) * share;
        Divisors {
            kind: between(whole.kind, alone.kind),
            sentiment: between(whole.sentiment, alone.sentiment),
        }
    }
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
    let Temperatures { article, alone } = card.temperatures;
    for (of, divisors) in [("", Some(article)), ("alone.", alone)] {
        let Some(Divisors { kind, sentiment }) = divisors else {
            continue;
        };
        for (name, value) in [("type", kind), ("sentiment", sentiment)] {
            if !(value.is_finite() && value > 0.0) {
                let name = format!("temperatures.{of}{name}");
                return Err(setting(&name, "must be a positive number".into()));
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_a_text_the_more_it_is_cooled_down() {
        let read = |json: &str| -> Temperatures { serde_json::from_str(json).expect("valid") };
        let plain = read(r#"{"type": 1.5, "sentiment": 1.25}"#);
        let of = |kind, sentiment| Divisors { kind, sentiment };
        assert_eq!(plain.of(1), of(1.5, 1.25));
        assert_eq!(plain.of(40), of(1.5, 1.25));
        let both = r#"{"type": 1.5, "sentiment": 1.25, "alone": {"type": 2.5, "sentiment": 2.25}}"#;
        let both = read(both);
        assert_eq!(both.of(1), of(2.5, 2.25));
        assert_eq!(both.of(2), of(2.0, 1.75));
        assert_eq!(both.of(4), of(1.75, 1.5));
        // No text has no sentence, but none divides by it.
        assert_eq!(both.of(0), both.of(1));
    }
}
