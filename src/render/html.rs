//! A page for a browser: articles with their sentence types in the margin, parties to choose,
//! quotations with their speakers. One file that asks the network for nothing, written article by
//! article and never held whole. Whatever comes from an article passes through `escape::Text`.

mod escape;
mod hash;
mod panel;
#[cfg(test)]
mod tests;
mod text;
mod ui;

pub use ui::Ui;

use std::collections::HashMap;
use std::io::{Result, Write};
use std::ops::Range;

use crate::answer::{Sentence, SentenceType, Summary};

use escape::Text;

const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");

/// Types in the order in which readers look for them, and what stands where there is none.
const KINDS: [&str; 6] = [
    "report",
    "quote",
    "reaction",
    "background",
    "boilerplate",
    "unsure",
];

/// A page under way.
#[derive(Debug)]
pub struct Document {
    /// Articles so far.
    number: usize,
}

impl Document {
    /// Opens the page.
    ///
    /// # Errors
    /// Whatever writing to `out` comes to.
    pub fn begin(out: &mut dyn Write) -> Result<Self> {
        // The policy lets nothing be loaded and no other script run, whatever stands in the text.
        let policy = format!(
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
            hash::sha256(SCRIPT)
        );
        write!(
            out,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta name=\"referrer\" content=\"no-referrer\">\n\
             <title>copydesk</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
             {SKIP}{}<main id=\"main\">\n",
            tools()
        )?;
        Ok(Self { number: 0 })
    }

    /// Adds an answered article.
    ///
    /// # Errors
    /// Whatever writing to `out` comes to.
    pub fn article(
        &mut self,
        out: &mut dyn Write,
        id: &str,
        headline: Option<&str>,
        sentences: &[Sentence],
        summary: &Summary,
    ) -> Result<()> {
        self.number += 1;
        let parties = summary.parties.iter().enumerate();
        let speakers = speakers(sentences);
        let article = Article {
            number: self.number,
            sentences,
            summary,
            parties: parties.map(|(at, party)| (party.id.as_str(), at)).collect(),
            named: named(sentences, &speakers),
            speakers,
        };
        let number = self.number;
        writeln!(
            out,
            "<article id=\"a{number}\" aria-labelledby=\"a{number}-h\"{}>",
            language(summary)
        )?;
        article.head(out, id, headline)?;
        writeln!(out, "<div class=\"cols\">")?;
        panel::write(out, &article)?;
        article.copy(out)?;
        writeln!(out, "</div>\n</article>")
    }

    /// Adds an article that could not be answered.
    ///
    /// # Errors
    /// Whatever writing to `out` comes to.
    pub fn failure(
        &mut self,
        out: &mut dyn Write,
        id: &str,
        code: &str,
        message: &str,
    ) -> Result<()> {
        self.number += 1;
        let number = self.number;
        writeln!(
            out,
            "<article id=\"a{number}\" class=\"failed\" aria-labelledby=\"a{number}-h\">\n\
             <header><h2 id=\"a{number}-h\"><bdi>{}</bdi></h2>\n\
             <p class=\"note\"><b>Not answered.</b> {}: <bdi>{}</bdi></p></header>\n</article>",
            Text(id),
            Text(code),
            Text(message)
        )
    }

    /// Closes the page.
    ///
    /// # Errors
    /// Whatever writing to `out` comes to.
    pub fn end(self, out: &mut dyn Write) -> Result<()> {
        if self.number == 0 {
            writeln!(out, "<p class=\"note\">There was no article.</p>")?;
        }
        write!(
            out,
            "</main>\n{}<script>{SCRIPT}</script>\n</body>\n</html>\n",
            BAR
        )
    }
}

/// What is chosen, and what to do with it; shown by the script.
const BAR: &str = "<div id=\"bar\" hidden>\n\
     <p id=\"chosen\" role=\"status\"></p>\n\
     <button type=\"button\" id=\"back\">Previous</button>\n\
     <button type=\"button\" id=\"next\">Next</button>\n\
     <label><input type=\"checkbox\" id=\"only\"> Only these sentences</label>\n\
     <button type=\"button\" id=\"clear\">Clear <kbd>Esc</kbd></button>\n</div>\n";

/// The first thing that the keyboard meets.
const SKIP: &str = "<a class=\"skip\" href=\"#main\">Skip to the text</a>\n";

/// The filters, and the room for the index.
fn tools() -> String {
    let kind = |kind| {
        format!(
            "<label class=\"t-{kind}\"><input type=\"checkbox\" name=\"kind\" value=\"{kind}\" checked> {kind} <span class=\"count\"></span></label>\n"
        )
    };
    format!(
        "<div id=\"tools\" hidden>\n<fieldset><legend>Show</legend>\n{}</fieldset>\n\
         <label class=\"find\">Party <input type=\"search\" id=\"party\" list=\"names\" placeholder=\"any\" autocomplete=\"off\"></label>\n\
         <datalist id=\"names\"></datalist>\n<p id=\"shown\" role=\"status\"></p>\n</div>\n\
         <nav id=\"index\" aria-label=\"Articles\" hidden></nav>\n",
        KINDS.map(kind).concat()
    )
}

/// One article and what its parts look up.
struct Article<'a> {
    number: usize,
    sentences: &'a [Sentence],
    summary: &'a Summary,
    /// Place of a party by its id. Pages carry places: ids are the caller's and may hold anything.
    parties: HashMap<&'a str, usize>,
    /// Who speaks in each sentence, by number.
    speakers: Vec<Option<usize>>,
    /// Where each sentence names a speaker, of its own words or of others'.
    named: Vec<Vec<(Range<usize>, usize)>>,
}

impl Article<'_> {
    fn head(&self, out: &mut dyn Write, id: &str, headline: Option<&str>) -> Result<()> {
        let number = self.number;
        let title = headline.filter(|h| !h.trim().is_empty()).unwrap_or(id);
        let count = self.sentences.len();
        let model = &self.summary.model;
        write!(
            out,
            "<header>\n<h2 id=\"a{number}-h\"><bdi>{}</bdi></h2>\n<p class=\"meta\">",
            Text(title)
        )?;
        if title != id {
            write!(out, "<bdi>{}</bdi> · ", Text(id))?;
        }
        writeln!(
            out,
            "{count} {} · model <bdi>{} {}</bdi></p>",
            plural(count, "sentence"),
            Text(&model.id),
            Text(super::short_revision(&model.revision))
        )?;
        let language = &self.summary.language;
        if !language.supported {
            writeln!(
                out,
                "<p class=\"note\">The model was not trained for this language ({}): read the labels with care.</p>",
                Text(&language.code)
            )?;
        }
        writeln!(out, "</header>")
    }

    fn copy(&self, out: &mut dyn Write) -> Result<()> {
        writeln!(out, "<div class=\"copy\">")?;
        let mut paragraph = None;
        for (at, sentence) in self.sentences.iter().enumerate() {
            let first = paragraph.replace(sentence.paragraph) != Some(sentence.paragraph);
            self.sentence(out, at, sentence, first)?;
        }
        writeln!(out, "</div>")
    }

    fn sentence(
        &self,
        out: &mut dyn Write,
        at: usize,
        sentence: &Sentence,
        first: bool,
    ) -> Result<()> {
        let kind = kind(sentence);
        let parties: Vec<String> = sentence
            .parties
            .iter()
            .filter_map(|p| self.parties.get(p.party.as_str()))
            .map(usize::to_string)
            .collect();
        let number = self.number;
        write!(
            out,
            "<div class=\"s t-{kind}{}\" id=\"a{number}-s{at}\" data-t=\"{kind}\" data-p=\"{}\"",
            if first { " first" } else { "" },
            parties.join(" ")
        )?;
        if let Some(speaker) = self.speakers.get(at).copied().flatten() {
            write!(out, " data-by=\"{speaker}\"")?;
            if let Some(party) = self.speaking(sentence) {
                write!(out, " data-byp=\"{party}\"")?;
            }
        }
        write!(
            out,
            "><span class=\"k\" title=\"{}\">{kind}{}</span><p dir=\"auto\"><bdi>",
            scores(sentence),
            doubt(sentence)
        )?;
        for piece in text::pieces(self, at, sentence) {
            piece.write(out, number)?;
        }
        write!(out, "</bdi>")?;
        self.attribution(out, at, sentence)?;
        writeln!(out, "</p></div>")
    }

    /// The place of the party that speaks.
    fn speaking(&self, sentence: &Sentence) -> Option<usize> {
        let party = sentence.speaker.as_ref()?.party.as_deref()?;
        self.parties.get(party).copied()
    }

    /// Whose words these are, linked to where the text names them.
    fn attribution(&self, out: &mut dyn Write, at: usize, sentence: &Sentence) -> Result<()> {
        let (Some(speaker), Some(by)) = (&sentence.speaker, self.speakers[at]) else {
            return Ok(());
        };
        let name = self
            .speaking(sentence)
            .and_then(|party| self.summary.parties.get(party))
            .map_or(speaker.text.as_str(), |party| party.name.as_str());
        let continued = if sentence.goes_on() {
            ", continued"
        } else {
            ""
        };
        write!(
            out,
            " <a class=\"by\" href=\"#a{}-s{}\" data-by=\"{by}\">— <bdi>{}</bdi>{continued}</a>",
            self.number,
            speaker.sentence,
            Text(name)
        )
    }
}

fn kind(sentence: &Sentence) -> &'static str {
    sentence.kind.map_or("unsure", SentenceType::name)
}

/// A label that is no more likely than not is doubted, in a sign and in words.
fn doubt(sentence: &Sentence) -> &'static str {
    match sentence.kind {
        Some(kind) if super::score(sentence, kind) < 0.5 => {
            "<span aria-hidden=\"true\">?</span><span class=\"vh\">, in doubt</span>"
        }
        _ => "",
    }
}

/// All five, the likeliest first.
fn scores(sentence: &Sentence) -> String {
    let mut scores: Vec<(SentenceType, f32)> = SentenceType::ALL
        .into_iter()
        .zip(sentence.type_scores)
        .collect();
    scores.sort_by(|a, b| b.1.total_cmp(&a.1));
    let each = scores
        .iter()
        .map(|(kind, score)| format!("{} {:.0} %", kind.name(), score * 100.0));
    each.collect::<Vec<_>>().join(", ")
}

/// A number for whoever speaks: one a party, and one for each other name.
fn speakers(sentences: &[Sentence]) -> Vec<Option<usize>> {
    let mut known = HashMap::new();
    let mut number = |sentence: &Sentence| {
        let speaker = sentence.speaker.as_ref()?;
        let key = match &speaker.party {
            Some(party) => (true, party.clone()),
            None => (false, speaker.text.clone()),
        };
        let next = known.len();
        Some(*known.entry(key).or_insert(next))
    };
    sentences.iter().map(&mut number).collect()
}

fn named(sentences: &[Sentence], speakers: &[Option<usize>]) -> Vec<Vec<(Range<usize>, usize)>> {
    let mut named = vec![Vec::new(); sentences.len()];
    for (sentence, number) in sentences.iter().zip(speakers) {
        let (Some(speaker), Some(number)) = (&sentence.speaker, number) else {
            continue;
        };
        let there = sentences.get(speaker.sentence);
        if let (Some(range), Some(names)) = (
            there.and_then(|there| super::within(there, &speaker.span)),
            named.get_mut(speaker.sentence),
        ) {
            // Words that run on name the same place again.
            if names.last() != Some(&(range.clone(), *number)) {
                names.push((range, *number));
            }
        }
    }
    named
}

/// The page speaks English; an article may not.
fn language(summary: &Summary) -> String {
    match summary.language.code.as_str() {
        "" | "eng" => String::new(),
        code => format!(" lang=\"{}\"", Text(code)),
    }
}

fn plural(count: usize, noun: &str) -> String {
    format!("{noun}{}", if count == 1 { "" } else { "s" })
}
