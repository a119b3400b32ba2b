//! Answers as rows of a table, one a sentence or one a sentence and party, for CSV and Parquet.
//! Columns are named and told once, here.

use std::borrow::Cow;

use crate::answer::{
    PartySentiment, PartySummary, QuotationKind, Sentence, SentenceType, Sentiment, Summary,
};

/// What one row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// One sentence.
    Sentences,
    /// One party named in one sentence; sentences that name none have no row.
    Parties,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Words.
    Text,
    /// A count or an offset.
    Integer,
    /// A score.
    Float,
    /// Yes or no.
    Boolean,
}

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// As in the header.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What it says.
    pub about: &'static str,
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    /// There is none.
    Empty,
    /// Words.
    Text(Cow<'a, str>),
    /// A count or an offset.
    Integer(i64),
    /// A score.
    Float(f64),
    /// Yes or no.
    Boolean(bool),
}

const fn column(name: &'static str, kind: Kind, about: &'static str) -> Column {
    Column { name, kind, about }
}

const SENTENCES: &[Column] = &[
    column("id", Kind::Text, "the article"),
    column("sentence", Kind::Integer, "number of the sentence, from 0"),
    column(
        "paragraph",
        Kind::Integer,
        "number of its paragraph, from 0",
    ),
    column(
        "start",
        Kind::Integer,
        "first code point in the article's text",
    ),
    column("end", Kind::Integer, "one past the last code point"),
    column("text", Kind::Text, "the sentence"),
    column(
        "type",
        Kind::Text,
        "report, quote, reaction, background or boilerplate; unspecified below --min-confidence",
    ),
    column(
        "type_score",
        Kind::Float,
        "probability of that type, 0 to 1",
    ),
    column("score_quote", Kind::Float, "probability of each type"),
    column("score_background", Kind::Float, "the same"),
    column("score_reaction", Kind::Float, "the same"),
    column("score_boilerplate", Kind::Float, "the same"),
    column("score_report", Kind::Float, "the same"),
    column(
        "quotation",
        Kind::Text,
        "direct, indirect or mixed; empty without a quotation",
    ),
    column(
        "quoted",
        Kind::Text,
        "the words between quotation marks, several joined by \" | \"",
    ),
    column(
        "speaker",
        Kind::Text,
        "whose words, as the text names them; empty if nobody's",
    ),
    column(
        "speaker_party",
        Kind::Text,
        "id of the speaker's party; empty if it is none",
    ),
    column(
        "speaker_inherited",
        Kind::Boolean,
        "whether another sentence names the speaker; empty without one",
    ),
    column(
        "negative",
        Kind::Text,
        "names of parties that the sentence makes look worse, joined by \" | \"",
    ),
    column("neutral", Kind::Text, "the same, neither worse nor better"),
    column("positive", Kind::Text, "the same, better"),
    column(
        "language",
        Kind::Text,
        "of the article, ISO 639-3; empty if unsure",
    ),
    column("model", Kind::Text, "id and revision of the model"),
];

const PARTIES: &[Column] = &[
    column("id", Kind::Text, "the article"),
    column("sentence", Kind::Integer, "number of the sentence, from 0"),
    column(
        "paragraph",
        Kind::Integer,
        "number of its paragraph, from 0",
    ),
    column("type", Kind::Text, "the sentence's type"),
    column("party", Kind::Text, "id of the party, within its article"),
    column(
        "name",
        Kind::Text,
        "the party's fullest name in the article",
    ),
    column(
        "sentiment",
        Kind::Text,
        "negative, neutral or positive; unspecified below --min-confidence",
    ),
    column(
        "score_negative",
        Kind::Float,
        "probability of each sentiment, 0 to 1",
    ),
    column("score_neutral", Kind::Float, "the same"),
    column("score_positive", Kind::Float, "the same"),
    column(
        "mentions",
        Kind::Integer,
        "how often the sentence names the party",
    ),
    column("mention", Kind::Text, "the words of the first mention"),
    column(
        "mention_start",
        Kind::Integer,
        "first code point of the first mention in the article's text",
    ),
    column("mention_end", Kind::Integer, "one past its last code point"),
    column(
        "speaks",
        Kind::Boolean,
        "whether the sentence carries this party's words",
    ),
    column("text", Kind::Text, "the sentence"),
    column(
        "language",
        Kind::Text,
        "of the article, ISO 639-3; empty if unsure",
    ),
    column("model", Kind::Text, "id and revision of the model"),
];

impl Rows {
    /// The table's columns, in order.
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Sentences => SENTENCES,
            Self::Parties => PARTIES,
        }
    }

    /// Hands every row of an article to `take`; a row has one cell a column.
    ///
    /// # Errors
    /// The first error of `take`.
    pub fn each<E>(
        self,
        id: &str,
        sentences: &[Sentence],
        summary: &Summary,
        mut take: impl FnMut(&[Cell<'_>]) -> Result<(), E>,
    ) -> Result<(), E> {
        let about = About::new(id, summary);
        for sentence in sentences {
            match self {
                Self::Sentences => take(&about.sentence(sentence))?,
                Self::Parties => {
                    for party in &sentence.parties {
                        take(&about.party(sentence, party))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// What all rows of an article share.
struct About<'a> {
    id: &'a str,
    names: std::collections::HashMap<&'a str, &'a str>,
    language: &'a str,
    model: String,
}

impl<'a> About<'a> {
    fn new(id: &'a str, summary: &'a Summary) -> Self {
        let name = |party: &'a PartySummary| (party.id.as_str(), party.name.as_str());
        Self {
            id,
            names: summary.parties.iter().map(name).collect(),
            language: &summary.language.code,
            model: format!("{} {}", summary.model.id, summary.model.revision),
        }
    }

    fn sentence(&self, s: &Sentence) -> Vec<Cell<'_>> {
        let speaker = s.speaker.as_ref();
        let mut row = vec![
            text(self.id),
            integer(s.index),
            integer(s.paragraph),
            integer(s.span.char_start),
            integer(s.span.char_end),
            owned(s.text.clone()),
            text(s.kind.map_or("unspecified", SentenceType::name)),
            float(s.kind.map_or_else(
                || s.type_scores.iter().copied().fold(0.0, f32::max),
                |kind| super::score(s, kind),
            )),
        ];
        row.extend(s.type_scores.map(float));
        row.extend([
            s.quotations
                .first()
                .map_or(Cell::Empty, |q| text(QuotationKind::name(q.kind))),
            some(quoted(s)),
            speaker.map_or(Cell::Empty, |p| owned(p.text.clone())),
            speaker
                .and_then(|p| p.party.clone())
                .map_or(Cell::Empty, owned),
            speaker.map_or(Cell::Empty, |p| Cell::Boolean(p.inherited)),
        ]);
        row.extend(Sentiment::ALL.map(|sentiment| some(self.judged(s, sentiment))));
        row.extend([some(self.language.to_owned()), owned(self.model.clone())]);
        row
    }

    fn party(&self, s: &Sentence, p: &PartySentiment) -> Vec<Cell<'_>> {
        let first = p.mentions.first();
        let speaker = s.speaker.as_ref().and_then(|by| by.party.as_ref());
        let mut row = vec![
            text(self.id),
            integer(s.index),
            integer(s.paragraph),
            text(s.kind.map_or("unspecified", SentenceType::name)),
            owned(p.party.clone()),
            owned(self.name(p)),
            text(p.sentiment.map_or("unspecified", Sentiment::name)),
        ];
        row.extend(p.scores.map(float));
        row.extend([
            integer(p.mentions.len()),
            first.map_or(Cell::Empty, |m| owned(m.text.clone())),
            first.map_or(Cell::Empty, |m| integer(m.span.char_start)),
            first.map_or(Cell::Empty, |m| integer(m.span.char_end)),
            Cell::Boolean(speaker == Some(&p.party)),
            owned(s.text.clone()),
            some(self.language.to_owned()),
            owned(self.model.clone()),
        ]);
        row
    }

    /// The fullest, which only the summary knows.
    fn name(&self, party: &PartySentiment) -> String {
        let known = self.names.get(party.party.as_str()).copied();
        known.unwrap_or(&party.name).to_owned()
    }

    fn judged(&self, s: &Sentence, sentiment: Sentiment) -> String {
        let parties = s.parties.iter();
        let names: Vec<String> = parties
            .filter(|party| party.sentiment == Some(sentiment))
            .map(|party| self.name(party))
            .collect();
        names.join(JOINT)
    }
}

/// Between several values of one cell.
const JOINT: &str = " | ";

fn quoted(sentence: &Sentence) -> String {
    let words: Vec<&str> = super::quoted(sentence)
        .filter_map(|range| sentence.text.get(range))
        .collect();
    words.join(JOINT)
}

fn text(words: &str) -> Cell<'_> {
    Cell::Text(Cow::Borrowed(words))
}

fn owned(words: String) -> Cell<'static> {
    Cell::Text(Cow::Owned(words))
}

fn some(words: String) -> Cell<'static> {
    if words.is_empty() {
        Cell::Empty
    } else {
        owned(words)
    }
}

fn integer(count: usize) -> Cell<'static> {
    i64::try_from(count).map_or(Cell::Empty, Cell::Integer)
}

/// Four decimals, as in JSON.
fn float(score: f32) -> Cell<'static> {
    Cell::Float((f64::from(score) * 1e4).round() / 1e4)
}
