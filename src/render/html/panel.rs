//! The parties of an article: buttons that choose them, their counts, and their sentiment along
//! the article as a strip: up is better, down is worse, a dot is neither.

use std::cmp::Reverse;
use std::fmt::Write as _;
use std::io::{Result, Write};

use crate::answer::{PartySummary, Sentiment};

use super::Article;
use super::escape::Text;

/// Parties shown at once; the rest is folded.
const SHOWN: usize = 10;

const WIDTH: f64 = 240.0;
const MIDDLE: f64 = 12.0;

/// Writes the panel; nothing where there is no party.
pub(super) fn write(out: &mut dyn Write, article: &Article<'_>) -> Result<()> {
    let mut parties: Vec<(usize, &PartySummary)> =
        article.summary.parties.iter().enumerate().collect();
    if parties.is_empty() {
        return Ok(());
    }
    parties.sort_by_key(|(_, party)| Reverse(party.sentences));
    let strips = strips(article);
    let (first, rest) = parties.split_at(parties.len().min(SHOWN));
    writeln!(
        out,
        "<details class=\"panel\" open><summary>Parties <span class=\"hint\">{}</span></summary>\n\
         <p class=\"hint\">Choose one to see its mentions and words.</p>\n<ul>",
        parties.len()
    )?;
    rows(out, article, first, &strips)?;
    writeln!(out, "</ul>")?;
    if !rest.is_empty() {
        writeln!(
            out,
            "<details class=\"more\"><summary>{} more</summary>\n<ul>",
            rest.len()
        )?;
        rows(out, article, rest, &strips)?;
        writeln!(out, "</ul></details>")?;
    }
    writeln!(out, "</details>")
}

fn rows(
    out: &mut dyn Write,
    article: &Article<'_>,
    parties: &[(usize, &PartySummary)],
    strips: &[Strip],
) -> Result<()> {
    let number = article.number;
    for &(place, party) in parties {
        let [negative, neutral, positive] = party.sentiment;
        write!(
            out,
            "<li id=\"a{number}-p{place}\"><button type=\"button\" data-p=\"{place}\" aria-pressed=\"false\"><bdi>{}</bdi>",
            Text(&party.name)
        )?;
        if !party.aliases.is_empty() {
            let aliases = party.aliases.join(", ");
            write!(
                out,
                " <span class=\"also\">also <bdi>{}</bdi></span>",
                Text(&aliases)
            )?;
        }
        write!(out, "</button><span class=\"tally\">")?;
        for (class, sign, word, count) in [
            ("neg", "−", "negative", negative),
            ("neu", "·", "neutral", neutral),
            ("pos", "+", "positive", positive),
            ("uns", "?", "unsure", party.unspecified),
        ] {
            if count > 0 {
                write!(
                    out,
                    "<span class=\"{class}\"><span aria-hidden=\"true\">{sign}</span>{count}<span class=\"vh\"> {word} </span></span>"
                )?;
            }
        }
        let Some(strip) = strips.get(place) else {
            continue;
        };
        writeln!(
            out,
            "</span><svg class=\"strip\" viewBox=\"0 0 {WIDTH} 24\" role=\"img\" aria-label=\"Along the article: {}\"><path class=\"axis\" d=\"M0 12H{WIDTH}\"/>{}</svg></li>",
            strip.in_words(),
            strip.marks
        )?;
    }
    Ok(())
}

/// A party along the article.
#[derive(Clone, Default)]
struct Strip {
    /// For the eye.
    marks: String,
    /// For the ear: sentences by [`Sentiment::ALL`], counted from 1.
    sentences: [Vec<String>; 3],
}

/// Every party's strip, in one pass over the sentences.
fn strips(article: &Article<'_>) -> Vec<Strip> {
    let mut strips = vec![Strip::default(); article.summary.parties.len()];
    let step = WIDTH / article.sentences.len().max(1) as f64;
    let wide = (step * 0.8).clamp(2.5, 10.0);
    for (at, sentence) in article.sentences.iter().enumerate() {
        let x = ((at as f64 + 0.5) * step).clamp(wide / 2.0, WIDTH - wide / 2.0);
        for party in &sentence.parties {
            let place = article.parties.get(party.party.as_str());
            let Some(strip) = place.and_then(|&place| strips.get_mut(place)) else {
                continue;
            };
            mark(&mut strip.marks, party.sentiment, x, wide, at);
            for (sentiment, sentences) in Sentiment::ALL.iter().zip(&mut strip.sentences) {
                if party.sentiment == Some(*sentiment) {
                    sentences.push((at + 1).to_string());
                }
            }
        }
    }
    strips
}

fn mark(strip: &mut String, sentiment: Option<Sentiment>, x: f64, wide: f64, at: usize) {
    let left = x - wide / 2.0;
    // Writing to a string cannot fail.
    let _ = match sentiment {
        Some(Sentiment::Negative) => write!(
            strip,
            "<rect class=\"neg\" data-s=\"{at}\" x=\"{left:.1}\" y=\"{MIDDLE}\" width=\"{wide:.1}\" height=\"11\"/>"
        ),
        Some(Sentiment::Positive) => write!(
            strip,
            "<rect class=\"pos\" data-s=\"{at}\" x=\"{left:.1}\" y=\"1\" width=\"{wide:.1}\" height=\"11\"/>"
        ),
        Some(Sentiment::Neutral) => write!(
            strip,
            "<circle class=\"neu\" data-s=\"{at}\" cx=\"{x:.1}\" cy=\"{MIDDLE}\" r=\"2.5\"/>"
        ),
        None => write!(
            strip,
            "<circle class=\"uns\" data-s=\"{at}\" cx=\"{x:.1}\" cy=\"{MIDDLE}\" r=\"2.5\"/>"
        ),
    };
}

impl Strip {
    fn in_words(&self) -> String {
        let groups = Sentiment::ALL.iter().zip(&self.sentences);
        let said: Vec<String> = groups
            .filter(|(_, at)| !at.is_empty())
            .map(|(sentiment, at)| {
                let noun = super::plural(at.len(), "sentence");
                format!("{} in {noun} {}", sentiment.name(), at.join(", "))
            })
            .collect();
        if said.is_empty() {
            return "not judged".to_owned();
        }
        said.join("; ")
    }
}
