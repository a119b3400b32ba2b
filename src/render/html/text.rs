//! A sentence in pieces: each lies in the same mentions and quotations from end to end, so that
//! spans may overlap as they like and the markup still nests.

use std::io::{Result, Write};
use std::ops::Range;

use crate::answer::{Sentence, Sentiment};

use super::Article;
use super::escape::Text;

/// Words of a sentence that are marked alike.
pub(super) struct Piece<'a> {
    text: &'a str,
    /// Parties named, the shortest name first: it is what a click means.
    parties: Vec<usize>,
    /// The sentiment of the shortest.
    sentiment: Option<Option<Sentiment>>,
    /// Sentiments whose mention ends here.
    ends: Vec<Option<Sentiment>>,
    quoted: bool,
    /// Numbers of those whose words stand elsewhere and who are named here.
    speakers: Vec<usize>,
}

/// A party's name in the sentence.
struct Mark {
    range: Range<usize>,
    party: usize,
    sentiment: Option<Sentiment>,
}

/// The sentence from start to end.
pub(super) fn pieces<'a>(
    article: &Article<'_>,
    at: usize,
    sentence: &'a Sentence,
) -> Vec<Piece<'a>> {
    let marks = marks(article, sentence);
    let quoted: Vec<_> = super::super::quoted(sentence).collect();
    let speakers = article.named.get(at).map_or(&[][..], Vec::as_slice);
    let mut cuts = vec![0, sentence.text.len()];
    cuts.extend(marks.iter().flat_map(|m| [m.range.start, m.range.end]));
    cuts.extend(quoted.iter().flat_map(|q| [q.start, q.end]));
    cuts.extend(speakers.iter().flat_map(|(r, _)| [r.start, r.end]));
    cuts.sort_unstable();
    cuts.dedup();
    let pairs = cuts.iter().zip(cuts.iter().skip(1));
    pairs
        .filter_map(|(&start, &end)| {
            let inside = |r: &Range<usize>| r.start <= start && end <= r.end;
            let over: Vec<&Mark> = marks.iter().filter(|m| inside(&m.range)).collect();
            Some(Piece {
                text: sentence.text.get(start..end)?,
                parties: over.iter().map(|m| m.party).collect(),
                sentiment: over.first().map(|m| m.sentiment),
                ends: over
                    .iter()
                    .filter(|m| m.range.end == end)
                    .map(|m| m.sentiment)
                    .collect(),
                quoted: quoted.iter().any(inside),
                speakers: speakers
                    .iter()
                    .filter(|(range, _)| inside(range))
                    .map(|(_, speaker)| *speaker)
                    .collect(),
            })
        })
        .collect()
}

/// The shortest first.
fn marks(article: &Article<'_>, sentence: &Sentence) -> Vec<Mark> {
    let mut marks = Vec::new();
    for party in &sentence.parties {
        let Some(&place) = article.parties.get(party.party.as_str()) else {
            continue;
        };
        let ranges = party
            .mentions
            .iter()
            .filter_map(|mention| super::super::within(sentence, &mention.span));
        marks.extend(ranges.map(|range| Mark {
            range,
            party: place,
            sentiment: party.sentiment,
        }));
    }
    marks.sort_by_key(|mark| mark.range.len());
    marks
}

impl Piece<'_> {
    /// Writes the piece with its marks.
    pub(super) fn write(&self, out: &mut dyn Write, article: usize) -> Result<()> {
        let mut classes = Vec::new();
        if self.quoted {
            classes.push("q");
        }
        if !self.speakers.is_empty() {
            classes.push("sp");
        }
        let Some(&first) = self.parties.first() else {
            if classes.is_empty() {
                return write!(out, "{}", Text(self.text));
            }
            return write!(
                out,
                "<span class=\"{}\"{}>{}</span>",
                classes.join(" "),
                list("by", &self.speakers),
                Text(self.text)
            );
        };
        classes.push("m");
        classes.push(match self.sentiment.flatten() {
            Some(Sentiment::Negative) => "neg",
            Some(Sentiment::Positive) => "pos",
            Some(Sentiment::Neutral) => "neu",
            None => "uns",
        });
        write!(
            out,
            "<a class=\"{}\" href=\"#a{article}-p{first}\"{}{}>{}{}</a>",
            classes.join(" "),
            list("p", &self.parties),
            list("by", &self.speakers),
            Text(self.text),
            self.ends.iter().map(|end| sign(*end)).collect::<String>()
        )
    }
}

fn list(name: &str, numbers: &[usize]) -> String {
    if numbers.is_empty() {
        return String::new();
    }
    let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
    format!(" data-{name}=\"{}\"", numbers.join(" "))
}

/// A sign for the eye and words for the ear; neutral needs none.
fn sign(sentiment: Option<Sentiment>) -> &'static str {
    match sentiment {
        Some(Sentiment::Negative) => {
            "<sup aria-hidden=\"true\">−</sup><span class=\"vh\"> (negative)</span>"
        }
        Some(Sentiment::Positive) => {
            "<sup aria-hidden=\"true\">+</sup><span class=\"vh\"> (positive)</span>"
        }
        Some(Sentiment::Neutral) => "",
        None => "<sup aria-hidden=\"true\">?</sup><span class=\"vh\"> (unsure)</span>",
    }
}
