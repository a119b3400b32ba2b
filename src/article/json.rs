//! An article as the JSON of the design: one object, offsets in code points. Refuses fields that it does
//! not know, so that a misspelt one is not passed over.

use serde::Deserialize;

use super::{Article, Body, Parties, Party, PartySpan};
use crate::span::Unit;

/// One article, read but not yet checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    id: Option<String>,
    headline: Option<String>,
    text: Option<String>,
    sentences: Option<Vec<String>>,
    parties: Option<Vec<PartyLine>>,
    /// Carried by archives; not looked at.
    #[serde(default, rename = "source")]
    _source: serde::de::IgnoredAny,
    #[serde(default, rename = "date")]
    _date: serde::de::IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartyLine {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    spans: Vec<SpanLine>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SpanLine {
    sentence: Option<usize>,
    start: usize,
    end: usize,
}

impl Line {
    /// Reads one object; a byte order mark and blanks around it do not matter.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as goes on after its place.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim_start_matches('\u{feff}').trim();
        serde_json::from_str(text).map_err(|error| format!("is no article: {error}"))
    }

    /// The id that it gives itself.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The article, under an id of the caller's choice.
    ///
    /// # Errors
    ///
    /// When it has neither text nor sentences, or both.
    pub fn into_article(self, id: String) -> Result<Article, String> {
        let body = match (self.text, self.sentences) {
            (Some(text), None) => Body::Text(text),
            (None, Some(sentences)) => Body::Sentences(sentences),
            (None, None) => return Err("has neither \"text\" nor \"sentences\"".to_owned()),
            (Some(_), Some(_)) => return Err("has both \"text\" and \"sentences\"".to_owned()),
        };
        Ok(Article {
            id,
            headline: self.headline,
            body,
            parties: self.parties.map_or(Parties::Detect, named),
        })
    }
}

/// Reads a list of parties, as the field `parties` of an article holds it.
///
/// # Errors
///
/// What is wrong with it, as goes on after its place.
pub fn parties(text: &str) -> Result<Parties, String> {
    let lines = serde_json::from_str(text);
    lines
        .map(named)
        .map_err(|error| format!("is no list of parties: {error}"))
}

fn named(lines: Vec<PartyLine>) -> Parties {
    Parties::Named(lines.into_iter().map(party).collect())
}

fn party(line: PartyLine) -> Party {
    let spans = line.spans.into_iter().map(|s| PartySpan {
        sentence: s.sentence,
        start: s.start,
        end: s.end,
        unit: Unit::CodePoint,
    });
    Party {
        id: line.id,
        name: line.name,
        aliases: line.aliases,
        spans: spans.collect(),
    }
}
