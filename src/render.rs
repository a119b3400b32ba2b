//! Pages for people. A page shows what an answer says and adds no judgement of its own; what
//! machines read is the JSON of [`crate::answer`].

pub mod csv;
pub mod html;
#[cfg(feature = "parquet")]
pub mod parquet;
#[cfg(feature = "cli")]
pub mod plot;
pub mod rows;
mod terminal;

pub use terminal::{Page, article, failure};

use std::cmp::Reverse;
use std::ops::Range;

use crate::answer::{QuotationKind, Sentence, SentenceType, Sentiment};
use crate::span::Span;

/// A party named within a sentence.
struct Mark {
    /// Bytes of the sentence.
    range: Range<usize>,
    sentiment: Option<Sentiment>,
}

impl Mark {
    fn judged(&self) -> bool {
        matches!(
            self.sentiment,
            Some(Sentiment::Negative | Sentiment::Positive)
        )
    }
}

/// Every mention that lies within the sentence, in the order to paint them: a name within a name
/// over it, and of two parties in one place the one that is judged over the other.
fn marks(sentence: &Sentence) -> Vec<Mark> {
    let mut marks: Vec<Mark> = sentence
        .parties
        .iter()
        .flat_map(|party| party.mentions.iter().map(|m| (m.span, party.sentiment)))
        .filter_map(|(span, sentiment)| {
            let range = within(sentence, &span)?;
            Some(Mark { range, sentiment })
        })
        .collect();
    marks.sort_by_key(|mark| (Reverse(mark.range.len()), mark.judged()));
    marks
}

/// The words between quotation marks; an indirect quotation is the whole sentence and has none.
fn quoted(sentence: &Sentence) -> impl Iterator<Item = Range<usize>> {
    sentence
        .quotations
        .iter()
        .filter(|quotation| quotation.kind != QuotationKind::Indirect)
        .filter_map(|quotation| within(sentence, &quotation.span))
}

/// A span as bytes of its sentence; `None` where it does not fit, since a page is better short of
/// a mark than of a reader.
fn within(sentence: &Sentence, span: &Span) -> Option<Range<usize>> {
    let start = span.byte_start.checked_sub(sentence.span.byte_start)?;
    let end = span.byte_end.checked_sub(sentence.span.byte_start)?;
    let found = sentence.text.get(start..end)?;
    (!found.is_empty()).then_some(start..end)
}

/// How sure the model is of a type.
fn score(sentence: &Sentence, kind: SentenceType) -> f32 {
    let mut scores = SentenceType::ALL.iter().zip(sentence.type_scores);
    scores
        .find(|(each, _)| **each == kind)
        .map_or(0.0, |(_, score)| score)
}

/// A commit is known by its first twelve digits; any other revision is told whole.
fn short_revision(revision: &str) -> &str {
    let commit = revision.len() >= 40 && revision.bytes().all(|b| b.is_ascii_hexdigit());
    revision.get(..12).filter(|_| commit).unwrap_or(revision)
}
