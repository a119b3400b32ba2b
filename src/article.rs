//! What comes in: an article, the parties asked about, and what is allowed. Refuses what breaks a
//! rule, naming the field; changes nothing.

pub mod json;

use std::collections::HashSet;
use std::ops::Range;

use crate::span::{Offsets, Unit};

/// An article as a caller sends it.
///
/// ```
/// use copydesk::{Article, Body, Limits, Parties, Party};
///
/// let named = |id: &str, name: &str| Party { id: id.into(), name: name.into(), ..Party::default() };
/// let article = Article {
///     body: Body::Sentences(vec!["Oslo protested.".into(), "Bergen did not.".into()]),
///     parties: Parties::Named(vec![named("o", "Oslo"), named("o", "Bergen")]),
///     ..Article::default()
/// };
/// let refused = article.check(&Limits::default()).unwrap_err();
/// assert_eq!(refused.field, "parties[1].id");
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Article {
    /// The caller's id; comes back with the answer.
    pub id: String,
    /// Context for the model; not answered and not counted.
    pub headline: Option<String>,
    /// The text itself.
    pub body: Body,
    /// Whose image to judge.
    pub parties: Parties,
}

/// Running text, or sentences that are taken as cut.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Text to be cut into sentences; spans count from its start.
    Text(String),
    /// Sentences, never cut again; spans count from the start of their sentence.
    Sentences(Vec<String>),
}

impl Body {
    /// Bytes of the text, or of all sentences.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Sentences(all) => all.iter().map(String::len).sum(),
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

/// Which parties to look for.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Parties {
    /// The model finds them.
    #[default]
    Detect,
    /// Only these; none at all if empty.
    Named(Vec<Party>),
}

/// A party named by the caller.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Party {
    /// The caller's id, unique in the article.
    pub id: String,
    /// Its name, searched in the text.
    pub name: String,
    /// Other names, searched too.
    pub aliases: Vec<String>,
    /// Exact mentions; if any stands here, name and aliases are not searched.
    pub spans: Vec<PartySpan>,
}

/// A mention given by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartySpan {
    /// With ready-cut sentences: the sentence that `start` and `end` count in.
    pub sentence: Option<usize>,
    /// First offset.
    pub start: usize,
    /// One past the last offset.
    pub end: usize,
    /// What the offsets count.
    pub unit: Unit,
}

/// What one article may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// UTF-8 bytes of the text, all sentences together.
    pub text_bytes: usize,
    /// Sentences, cut or ready-cut.
    pub sentences: usize,
    /// Parties named.
    pub parties: usize,
    /// Aliases of one party.
    pub aliases: usize,
    /// UTF-8 bytes of an id, a name, an alias or an exact mention.
    pub name_bytes: usize,
    /// UTF-8 bytes of the headline.
    pub headline_bytes: usize,
    /// Exact mentions of one party.
    pub spans: usize,
    /// Mentions of all named parties together, found or exact. Parties may share a name, and each is
    /// answered at each place, so that a short text could ask for millions.
    pub mentions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            text_bytes: 1 << 20,
            sentences: 20_000,
            parties: 1_000,
            aliases: 100,
            name_bytes: 512,
            headline_bytes: 4_096,
            spans: 10_000,
            mentions: 20_000,
        }
    }
}

/// Why an article is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// Path of the field, as `parties[2].spans[0]`.
    pub field: String,
    /// What is wrong, and what is allowed.
    pub problem: String,
    /// The same for programs.
    pub reason: Reason,
}

/// Kinds of refusal; the names go out in `google.rpc.ErrorInfo.reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it, the contract explains each")]
pub enum Reason {
    EmptyArticleId,
    DuplicateArticleId,
    MissingText,
    EmptyText,
    TextTooLong,
    TooManySentences,
    EmptySentence,
    HeadlineTooLong,
    TooManyParties,
    TooManyAliases,
    TooManySpans,
    TooManyMentions,
    EmptyPartyId,
    DuplicatePartyId,
    EmptyName,
    NameTooLong,
    InvalidSpan,
    InvalidMinConfidence,
}

impl Invalid {
    /// A refusal of `field`.
    pub fn new(field: impl Into<String>, reason: Reason, problem: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
            reason,
        }
    }
}

/// An exact mention in bytes: of the text, or of the sentence where sentences came ready-cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExactMention {
    /// Index of the party.
    pub party: usize,
    /// The ready-cut sentence, or `None` for an offset into the text.
    pub sentence: Option<usize>,
    /// UTF-8 bytes.
    pub range: Range<usize>,
}

impl Article {
    /// Holds the article to `limits` and to the contract; gives the exact mentions in bytes.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with its field.
    pub fn check(&self, limits: &Limits) -> Result<Vec<ExactMention>, Invalid> {
        at_most(
            "id",
            Reason::NameTooLong,
            "bytes",
            self.id.len(),
            limits.name_bytes,
        )?;
        self.check_text(limits)?;
        let headline = self.headline.as_deref().unwrap_or_default();
        at_most(
            "headline",
            Reason::HeadlineTooLong,
            "bytes",
            headline.len(),
            limits.headline_bytes,
        )?;
        match &self.parties {
            Parties::Detect => Ok(Vec::new()),
            Parties::Named(parties) => self.check_parties(parties, limits),
        }
    }

    fn check_text(&self, limits: &Limits) -> Result<(), Invalid> {
        let bytes = self.body.bytes();
        let field = match &self.body {
            Body::Text(_) => "text",
            Body::Sentences(_) => "sentences",
        };
        at_most(
            field,
            Reason::TextTooLong,
            "bytes of text",
            bytes,
            limits.text_bytes,
        )?;
        match &self.body {
            Body::Text(text) if blank(text) => {
                Err(Invalid::new("text", Reason::EmptyText, "is empty or blank"))
            }
            Body::Text(_) => Ok(()),
            Body::Sentences(all) => {
                at_most(
                    field,
                    Reason::TooManySentences,
                    "sentences",
                    all.len(),
                    limits.sentences,
                )?;
                if all.is_empty() {
                    return Err(Invalid::new(field, Reason::EmptyText, "holds no sentence"));
                }
                match all.iter().position(|s| blank(s)) {
                    Some(i) => Err(Invalid::new(
                        format!("sentences[{i}]"),
                        Reason::EmptySentence,
                        "is empty or blank",
                    )),
                    None => Ok(()),
                }
            }
        }
    }

    fn check_parties(
        &self,
        parties: &[Party],
        limits: &Limits,
    ) -> Result<Vec<ExactMention>, Invalid> {
        at_most(
            "parties",
            Reason::TooManyParties,
            "parties",
            parties.len(),
            limits.parties,
        )?;
        let mut ids = HashSet::new();
        let texts: Vec<&str> = match &self.body {
            Body::Text(text) => vec![text],
            Body::Sentences(all) => all.iter().map(String::as_str).collect(),
        };
        // Tables are made only for texts that a span points into.
        let mut tables: Vec<Option<Offsets>> = vec![None; texts.len()];
        let mut mentions = Vec::new();
        for (index, party) in parties.iter().enumerate() {
            check_names(index, party, limits)?;
            if !ids.insert(party.id.as_str()) {
                return Err(Invalid::new(
                    format!("parties[{index}].id"),
                    Reason::DuplicatePartyId,
                    format!("{:?} stands twice; ids are unique in an article", party.id),
                ));
            }
            for (i, span) in party.spans.iter().enumerate() {
                let field = format!("parties[{index}].spans[{i}]");
                let text = self.text_of(span, &field)?;
                let table = tables[text].get_or_insert_with(|| Offsets::new(texts[text]));
                let range = resolve(span, texts[text], table, &field)?;
                // An answer repeats every mention's text; long ones would multiply the article.
                at_most(
                    &field,
                    Reason::InvalidSpan,
                    "bytes",
                    range.len(),
                    limits.name_bytes,
                )?;
                mentions.push(ExactMention {
                    party: index,
                    sentence: span.sentence,
                    range,
                });
            }
        }
        Ok(mentions)
    }

    /// Which text the offsets of a span count in.
    fn text_of(&self, span: &PartySpan, field: &str) -> Result<usize, Invalid> {
        let refuse = |problem: String| Err(Invalid::new(field, Reason::InvalidSpan, problem));
        match (&self.body, span.sentence) {
            (Body::Text(_), None) => Ok(0),
            (Body::Text(_), Some(_)) => {
                refuse("names a sentence, which only ready-cut sentences have".to_owned())
            }
            (Body::Sentences(_), None) => {
                refuse("must name its sentence: the sentences came ready-cut".to_owned())
            }
            (Body::Sentences(all), Some(s)) if s < all.len() => Ok(s),
            (Body::Sentences(all), Some(s)) => refuse(format!(
                "sentence {s} does not exist; there are {}",
                all.len()
            )),
        }
    }
}

fn blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || c.is_control())
}

fn at_most(
    field: &str,
    reason: Reason,
    what: &str,
    have: usize,
    allowed: usize,
) -> Result<(), Invalid> {
    if have <= allowed {
        return Ok(());
    }
    Err(Invalid::new(
        field,
        reason,
        format!("holds {have} {what}; at most {allowed} are allowed"),
    ))
}

fn check_names(index: usize, party: &Party, limits: &Limits) -> Result<(), Invalid> {
    if blank(&party.id) {
        let field = format!("parties[{index}].id");
        return Err(Invalid::new(
            field,
            Reason::EmptyPartyId,
            "is empty or blank",
        ));
    }
    let field = format!("parties[{index}]");
    at_most(
        &field,
        Reason::TooManyAliases,
        "aliases",
        party.aliases.len(),
        limits.aliases,
    )?;
    at_most(
        &field,
        Reason::TooManySpans,
        "spans",
        party.spans.len(),
        limits.spans,
    )?;
    let id = (format!("{field}.id"), &party.id);
    let name = (format!("{field}.name"), &party.name);
    let aliases = party.aliases.iter().enumerate();
    let aliases = aliases.map(|(i, a)| (format!("{field}.aliases[{i}]"), a));
    for (field, text) in [id, name].into_iter().chain(aliases) {
        at_most(
            &field,
            Reason::NameTooLong,
            "bytes",
            text.len(),
            limits.name_bytes,
        )?;
        // A party known by its spans alone needs no name.
        if blank(text) && (party.spans.is_empty() || !field.ends_with(".name")) {
            return Err(Invalid::new(field, Reason::EmptyName, "is empty or blank"));
        }
    }
    Ok(())
}

fn resolve(
    span: &PartySpan,
    text: &str,
    table: &Offsets,
    field: &str,
) -> Result<Range<usize>, Invalid> {
    let refuse = |problem: String| Err(Invalid::new(field, Reason::InvalidSpan, problem));
    let unit = match span.unit {
        Unit::Byte => "bytes",
        Unit::CodePoint => "code points",
        Unit::Utf16 => "UTF-16 units",
    };
    let length = match span.unit {
        Unit::Byte => table.end()[0],
        Unit::CodePoint => table.end()[1],
        Unit::Utf16 => table.end()[2],
    };
    let (start, end) = (span.start, span.end);
    if end > length {
        return refuse(format!(
            "{start}..{end} is out of range; the text has {length} {unit}"
        ));
    }
    if start >= end {
        return refuse(format!(
            "{start}..{end} is empty; the end must lie past the start"
        ));
    }
    match (
        table.byte(text, span.unit, start),
        table.byte(text, span.unit, end),
    ) {
        (Some(a), Some(b)) if blank(&text[a..b]) => refuse(format!("{start}..{end} is blank")),
        (Some(a), Some(b)) => Ok(a..b),
        _ => refuse(format!(
            "{start}..{end} cuts a character in the middle (in {unit})"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(id: &str, spans: &[(usize, usize, Unit)]) -> Party {
        let spans = spans.iter();
        let spans = spans.map(|&(start, end, unit)| PartySpan {
            sentence: None,
            start,
            end,
            unit,
        });
        Party {
            id: id.into(),
            name: "Ruritania".into(),
            aliases: vec![],
            spans: spans.collect(),
        }
    }

    fn check(text: &str, parties: Vec<Party>, expect: Result<usize, (&str, Reason)>) {
        let article = Article {
            body: Body::Text(text.into()),
            parties: Parties::Named(parties),
            ..Article::default()
        };
        let found = article.check(&Limits {
            parties: 3,
            ..Limits::default()
        });
        let found = found
            .as_ref()
            .map(Vec::len)
            .map_err(|e| (e.field.as_str(), e.reason));
        assert_eq!(found, expect, "{text}");
    }

    #[test]
    fn refuses_by_field() {
        use Reason::*;
        use Unit::*;
        check("A 🦊 ran.", vec![party("p", &[(2, 6, Byte)])], Ok(1));
        check("A 🦊 ran.", vec![party("p", &[(2, 4, Utf16)])], Ok(1));
        check("A 🦊 ran.", vec![party("p", &[(2, 3, CodePoint)])], Ok(1));
        check(
            "A 🦊 ran.",
            vec![party("p", &[(2, 3, Utf16)])],
            Err(("parties[0].spans[0]", InvalidSpan)),
        );
        check(
            "A fox.",
            vec![party("p", &[(2, 2, Byte)])],
            Err(("parties[0].spans[0]", InvalidSpan)),
        );
        check(
            "A fox.",
            vec![party("p", &[(2, 99, Byte)])],
            Err(("parties[0].spans[0]", InvalidSpan)),
        );
        check(" \n", vec![], Err(("text", EmptyText)));
        check("\0\0", vec![], Err(("text", EmptyText)));
        check(
            "A.",
            vec![party("p", &[]), party("p", &[])],
            Err(("parties[1].id", DuplicatePartyId)),
        );
        check(
            "A.",
            vec![party("", &[])],
            Err(("parties[0].id", EmptyPartyId)),
        );
        let four = ["a", "b", "c", "d"].map(|id| party(id, &[])).to_vec();
        check("A.", four, Err(("parties", TooManyParties)));
        check(
            "A.",
            vec![Party {
                name: " ".into(),
                ..party("p", &[])
            }],
            Err(("parties[0].name", EmptyName)),
        );
        check(&"x".repeat(2 << 20), vec![], Err(("text", TextTooLong)));
    }
}
