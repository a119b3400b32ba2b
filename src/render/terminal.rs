//! The page that a reader sees in a terminal: the text with its labels in the margin, then what it
//! comes to. Nothing is said by colour alone, and without colour no escape is written.

mod line;
mod table;
#[cfg(test)]
mod tests;

use std::io::{Result, Write};
use std::time::Duration;

use crate::answer::{PartySummary, Sentence, SentenceType, Sentiment, Speaker, Summary};

use super::Mark;
use line::{Line, Style, Tone};

/// What the page is written on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Columns of the terminal; fewer than 40 are taken as 40, and no text runs wider than 100.
    pub width: usize,
    /// Whether the terminal shows colours.
    pub colour: bool,
}

impl Page {
    const NARROWEST: usize = 40;
    const MEASURE: usize = 100;

    /// Too narrow for the types' full names.
    fn narrow(&self) -> bool {
        self.width < 56
    }

    fn margin(&self) -> usize {
        if self.narrow() { 8 } else { 14 }
    }

    /// Columns of the text.
    fn measure(&self) -> usize {
        (self.width.max(Self::NARROWEST) - self.margin()).min(Self::MEASURE)
    }
}

/// Writes the page of one answered article.
///
/// # Errors
/// Whatever writing to `out` comes to.
pub fn article(
    out: &mut dyn Write,
    page: &Page,
    id: &str,
    headline: Option<&str>,
    sentences: &[Sentence],
    summary: &Summary,
) -> Result<()> {
    let mut sheet = Sheet { out, page };
    sheet.title(id)?;
    if let Some(headline) = headline {
        sheet.block(&Line::default(), &Line::new(headline, Tone::Bold))?;
        sheet.blank()?;
    }
    sheet.sentences(sentences)?;
    sheet.block(&label("types"), &types(summary))?;
    sheet.parties(&summary.parties)?;
    if !summary.language.supported {
        sheet.block(
            &Line::new("note", Tone::Yellow),
            &language(&summary.language.code),
        )?;
    }
    sheet.block(&label("model"), &model(summary, sentences.len()))?;
    sheet.blank()
}

/// Writes the page of an article that could not be answered.
///
/// # Errors
/// Whatever writing to `out` comes to.
pub fn failure(
    out: &mut dyn Write,
    page: &Page,
    id: &str,
    code: &str,
    message: &str,
) -> Result<()> {
    let mut sheet = Sheet { out, page };
    sheet.title(id)?;
    let mut reason = Line::new(code, Tone::Bold);
    reason.push(": ", Tone::Plain);
    reason.push(message, Tone::Plain);
    sheet.block(&Line::new("failed", Tone::Red), &reason)?;
    sheet.blank()
}

struct Sheet<'a> {
    out: &'a mut dyn Write,
    page: &'a Page,
}

impl Sheet<'_> {
    /// The id on a rule, which parts this page from the one before.
    fn title(&mut self, id: &str) -> Result<()> {
        let width = self.page.margin() + self.page.measure();
        let mut title = Line::new("── ", Tone::Faint);
        title.push(id, Tone::Plain);
        title.push(" ", Tone::Plain);
        let rest = width.saturating_sub(title.width());
        title.push(&"─".repeat(rest), Tone::Faint);
        for line in title.wrap(width) {
            self.line(&line)?;
        }
        self.blank()
    }

    /// A short one in the margin, where labels stop being types.
    fn rule(&mut self) -> Result<()> {
        self.line(&Line::new(&"─".repeat(self.page.margin() - 2), Tone::Faint))?;
        self.blank()
    }

    fn sentences(&mut self, sentences: &[Sentence]) -> Result<()> {
        let mut paragraph = sentences.first().map(|sentence| sentence.paragraph);
        for sentence in sentences {
            if paragraph.replace(sentence.paragraph) != Some(sentence.paragraph) {
                self.blank()?;
            }
            self.block(
                &kind(sentence, self.page),
                &body(sentence, self.page.colour),
            )?;
        }
        if sentences.is_empty() {
            return Ok(());
        }
        self.blank()?;
        self.rule()
    }

    /// The table, which takes the margin too where the page is narrow.
    fn parties(&mut self, parties: &[PartySummary]) -> Result<()> {
        let Page { width, .. } = *self.page;
        self.blank()?;
        if self.page.narrow() {
            self.line(&label("parties"))?;
            for line in table::lines(parties, width.max(Page::NARROWEST)) {
                self.line(&line)?;
            }
        } else {
            self.lines(
                &label("parties"),
                &table::lines(parties, self.page.measure()),
            )?;
        }
        self.blank()
    }

    /// A label in the margin and a text beside it.
    fn block(&mut self, label: &Line, text: &Line) -> Result<()> {
        self.lines(label, &text.wrap(self.page.measure()))
    }

    fn lines(&mut self, label: &Line, lines: &[Line]) -> Result<()> {
        for (at, text) in lines.iter().enumerate() {
            let mut line = if at == 0 {
                label.clone()
            } else {
                Line::default()
            };
            line.pad(self.page.margin());
            line.append(text);
            self.line(&line)?;
        }
        Ok(())
    }

    fn line(&mut self, line: &Line) -> Result<()> {
        line.write(self.out, self.page.colour)?;
        self.blank()
    }

    fn blank(&mut self) -> Result<()> {
        writeln!(self.out)
    }
}

fn label(text: &str) -> Line {
    Line::new(text, Tone::Faint)
}

/// The sentence's type, doubted when no more likely than not.
fn kind(sentence: &Sentence, page: &Page) -> Line {
    let Some(kind) = sentence.kind else {
        return Line::new("unsure", Tone::Faint);
    };
    let name = if page.narrow() {
        short(kind)
    } else {
        kind.name()
    };
    let mut label = Line::new(name, kind_tone(kind));
    if super::score(sentence, kind) < 0.5 {
        label.push("?", kind_tone(kind));
    }
    label
}

fn short(kind: SentenceType) -> &'static str {
    match kind {
        SentenceType::Background => "backgr",
        SentenceType::Reaction => "react",
        SentenceType::Boilerplate => "boiler",
        SentenceType::Quote | SentenceType::Report => kind.name(),
    }
}

fn kind_tone(kind: SentenceType) -> Tone {
    match kind {
        SentenceType::Quote => Tone::Cyan,
        SentenceType::Reaction => Tone::Magenta,
        SentenceType::Report => Tone::Plain,
        SentenceType::Background | SentenceType::Boilerplate => Tone::Faint,
    }
}

/// The sentence with its quotations and parties marked, and whose words it carries.
fn body(sentence: &Sentence, colour: bool) -> Line {
    let marks = super::marks(sentence);
    let styles = styles(sentence, &marks);
    let mut ends: Vec<&Mark> = marks.iter().collect();
    ends.sort_by_key(|mark| (mark.range.end, mark.range.len()));
    let mut ends = ends.into_iter().peekable();
    let mut line = Line::default();
    for ((at, c), style) in sentence.text.char_indices().zip(styles) {
        line.push(c.encode_utf8(&mut [0; 4]), style);
        while let Some(mark) = ends.next_if(|mark| mark.range.end == at + c.len_utf8()) {
            line.push_tight(sign(mark.sentiment, colour), tone(mark.sentiment));
        }
    }
    if let Some(speaker) = &sentence.speaker {
        attribute(&mut line, speaker, sentence.goes_on());
    }
    line
}

/// One style for every character.
fn styles(sentence: &Sentence, marks: &[Mark]) -> Vec<Style> {
    let base = match sentence.kind {
        Some(SentenceType::Boilerplate) => Tone::Faint,
        _ => Tone::Plain,
    };
    let mut bytes = vec![Style::from(base); sentence.text.len()];
    for range in super::quoted(sentence) {
        bytes[range]
            .iter_mut()
            .for_each(|style| style.italic = true);
    }
    for mark in marks {
        bytes[mark.range.clone()]
            .iter_mut()
            .for_each(|style| style.tone = tone(mark.sentiment));
    }
    sentence
        .text
        .char_indices()
        .map(|(at, _)| bytes[at])
        .collect()
}

/// What stands behind a mention. In colour a neutral one needs nothing: its weight tells it from
/// the text.
fn sign(sentiment: Option<Sentiment>, colour: bool) -> &'static str {
    match sentiment {
        Some(Sentiment::Negative) => "[-]",
        Some(Sentiment::Positive) => "[+]",
        Some(Sentiment::Neutral) if colour => "",
        Some(Sentiment::Neutral) => "[·]",
        None => "[?]",
    }
}

fn tone(sentiment: Option<Sentiment>) -> Tone {
    match sentiment {
        Some(Sentiment::Negative) => Tone::Red,
        Some(Sentiment::Positive) => Tone::Green,
        Some(Sentiment::Neutral) | None => Tone::Bold,
    }
}

fn attribute(line: &mut Line, speaker: &Speaker, goes_on: bool) {
    let note = match (&speaker.party, goes_on) {
        (Some(party), true) => format!(" ({party}, cont.)"),
        (Some(party), false) => format!(" ({party})"),
        (None, true) => " (cont.)".to_owned(),
        (None, false) => String::new(),
    };
    line.push(" —", Tone::Faint);
    line.push_tight(&format!(" {}{note}", speaker.text), Tone::Faint);
}

fn types(summary: &Summary) -> Line {
    let names = SentenceType::ALL
        .map(SentenceType::name)
        .into_iter()
        .zip(summary.types);
    let mut line = Line::default();
    for (name, count) in names.chain([("unsure", summary.types_unspecified)]) {
        if count > 0 {
            line.push_tight(if line.is_empty() { "" } else { "," }, Tone::Plain);
            line.push(&format!(" {count}"), Tone::Plain);
            line.push_tight(&format!(" {name}"), Tone::Plain);
        }
    }
    if line.is_empty() {
        Line::new("none", Tone::Plain)
    } else {
        line
    }
}

fn language(code: &str) -> Line {
    let code = if code.is_empty() {
        String::new()
    } else {
        format!(" ({code})")
    };
    let text =
        format!("The model was not trained for this language{code}: read the labels with care.");
    Line::new(&text, Tone::Yellow)
}

fn model(summary: &Summary, sentences: usize) -> Line {
    let plural = if sentences == 1 { "" } else { "s" };
    let revision = super::short_revision(&summary.model.revision);
    let total = elapsed(summary.timings.total);
    let text = format!(
        "{} {revision}, {sentences} sentence{plural} in {total}",
        summary.model.id
    );
    Line::new(&text, Tone::Faint)
}

fn elapsed(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        ..0.01 => format!("{:.1} ms", seconds * 1e3),
        ..1.0 => format!("{:.0} ms", seconds * 1e3),
        _ => format!("{seconds:.1} s"),
    }
}
