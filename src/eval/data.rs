//! Labelled files: JSON Lines in one of two layouts, told apart by their keys. Refuses a line that
//! does not fit and names it; mends nothing. Offsets are code points of the sentence.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize, de};

use crate::answer::{SentenceType, Sentiment};

/// The articles of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct Set {
    /// What the file's lines look like, and so what is labelled.
    pub layout: Layout,
    /// In the order of the file; at least one.
    pub articles: Vec<Article>,
}

/// What a line holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// A whole article: types, speakers, every party with its sentiment.
    Newsroom,
    /// A sentence of NewsMTSC (Hamborg and Donnay 2021): the sentiment of some of its parties.
    Newsmtsc,
}

impl Layout {
    /// The name in JSON and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Newsroom => "newsroom",
            Self::Newsmtsc => "newsmtsc",
        }
    }
}

/// An article and what is true of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Article {
    /// As the file has it.
    pub id: String,
    /// Context for the model.
    pub headline: Option<String>,
    /// In order.
    pub sentences: Vec<Sentence>,
}

/// A sentence and what is true of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sentence {
    /// As cut in the file; may be blank.
    pub text: String,
    /// `None` where the layout has no types.
    pub kind: Option<SentenceType>,
    /// Where the sentence names its speaker.
    pub speaker: Option<Range<usize>>,
    /// In the order of the file.
    pub mentions: Vec<Mention>,
}

/// A party named in a sentence.
#[derive(Clone, Debug, PartialEq)]
pub struct Mention {
    /// Where.
    pub range: Range<usize>,
    /// The party's name.
    pub name: String,
    /// Number of the party in its sentence: mentions of one party share it.
    pub party: usize,
    /// How the sentence makes the party look.
    pub sentiment: Sentiment,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// It cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// A line does not fit.
    #[error("{file}:{line}: {problem}")]
    Line {
        /// The file.
        file: String,
        /// From 1.
        line: usize,
        /// What is wrong, and where in the line.
        problem: String,
    },
    /// It has only blank lines.
    #[error("{file} holds no article")]
    Empty {
        /// The file.
        file: String,
    },
}

impl Set {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`DataError`], with the line where one is to blame.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Self::parse(&name, BufReader::new(file)),
            Err(source) => Err(DataError::Read { file: name, source }),
        }
    }

    /// Reads lines; `name` stands for them in errors.
    ///
    /// # Errors
    ///
    /// As [`Set::read`].
    pub fn parse(name: &str, lines: impl BufRead) -> Result<Self, DataError> {
        let file = || name.to_owned();
        let mut layout = None;
        let mut articles = Vec::new();
        for (index, line) in lines.lines().enumerate() {
            let bad = |problem| DataError::Line {
                file: file(),
                line: index + 1,
                problem,
            };
            let line = line.map_err(|source| match source.kind() {
                ErrorKind::InvalidData => bad("is not UTF-8".to_owned()),
                _ => DataError::Read {
                    file: file(),
                    source,
                },
            })?;
            if line.trim().is_empty() {
                continue;
            }
            let this = layout_of(&line).map_err(bad)?;
            let first = *layout.get_or_insert(this);
            if this != first {
                let (this, first) = (this.name(), first.name());
                return Err(bad(format!(
                    "is in the layout {this}; the file began in {first}"
                )));
            }
            articles.push(article(this, &line).map_err(bad)?);
        }
        let layout = layout.ok_or_else(|| DataError::Empty { file: file() })?;
        Ok(Self { layout, articles })
    }
}

/// The keys that tell the layouts apart.
#[derive(Deserialize)]
struct Keys {
    sentences: Option<de::IgnoredAny>,
    sentence_normalized: Option<de::IgnoredAny>,
}

fn layout_of(line: &str) -> Result<Layout, String> {
    let keys: Keys = from_json(line)?;
    match (keys.sentences, keys.sentence_normalized) {
        (Some(_), None) => Ok(Layout::Newsroom),
        (None, Some(_)) => Ok(Layout::Newsmtsc),
        (None, None) => Err("has neither `sentences` nor `sentence_normalized`".to_owned()),
        (Some(_), Some(_)) => Err("has both `sentences` and `sentence_normalized`".to_owned()),
    }
}

fn article(layout: Layout, line: &str) -> Result<Article, String> {
    match layout {
        Layout::Newsroom => from_json::<NewsroomRow>(line)?.article(),
        Layout::Newsmtsc => from_json::<NewsmtscRow>(line)?.article(),
    }
}

fn from_json<'a, T: Deserialize<'a>>(line: &'a str) -> Result<T, String> {
    serde_json::from_str(line).map_err(|error| {
        // serde_json counts lines in what it was given, which is always one.
        let place = format!(" at line {} column {}", error.line(), error.column());
        let text = error.to_string();
        match text.strip_suffix(&place) {
            Some(problem) => format!("column {}: {problem}", error.column()),
            None => text,
        }
    })
}

#[derive(Deserialize)]
struct NewsroomRow {
    id: String,
    headline: Option<String>,
    sentences: Vec<NewsroomSentence>,
}

#[derive(Deserialize)]
struct NewsroomSentence {
    text: String,
    #[serde(rename = "type")]
    kind: String,
    speaker: Option<Bounds>,
    mentions: Vec<NewsroomMention>,
}

#[derive(Deserialize)]
struct Bounds {
    start: usize,
    end: usize,
}

#[derive(Deserialize)]
struct NewsroomMention {
    start: usize,
    end: usize,
    name: String,
    sentiment: String,
}

impl NewsroomRow {
    fn article(self) -> Result<Article, String> {
        let sentences = self.sentences.into_iter().enumerate();
        let sentences = sentences.map(|(i, s)| s.sentence(&format!("sentences[{i}]")));
        let sentences = sentences.collect::<Result<_, _>>()?;
        Ok(Article {
            id: self.id,
            headline: self.headline,
            sentences,
        })
    }
}

impl NewsroomSentence {
    fn sentence(self, field: &str) -> Result<Sentence, String> {
        let kind = SentenceType::ALL
            .into_iter()
            .find(|t| t.name() == self.kind);
        let Some(kind) = kind else {
            return Err(format!(
                "{field}.type: {:?} is none of the types",
                self.kind
            ));
        };
        let speaker = self
            .speaker
            .map(|s| range(&self.text, s.start, s.end, || format!("{field}.speaker")));
        let speaker = speaker.transpose()?;
        let mut names: Vec<String> = Vec::new();
        let mut mentions = Vec::with_capacity(self.mentions.len());
        for (i, mention) in self.mentions.into_iter().enumerate() {
            let field = || format!("{field}.mentions[{i}]");
            let range = range(&self.text, mention.start, mention.end, field)?;
            let sentiment = Sentiment::ALL
                .into_iter()
                .find(|s| s.name() == mention.sentiment);
            let Some(sentiment) = sentiment else {
                let field = field();
                return Err(format!(
                    "{field}.sentiment: {:?} is no sentiment",
                    mention.sentiment
                ));
            };
            let party = number(&mut names, folded(&mention.name));
            mentions.push(Mention {
                range,
                name: mention.name,
                party,
                sentiment,
            });
        }
        Ok(Sentence {
            text: self.text,
            kind: Some(kind),
            speaker,
            mentions,
        })
    }
}

#[derive(Deserialize)]
struct NewsmtscRow {
    primary_gid: String,
    sentence_normalized: String,
    targets: Vec<Target>,
}

/// Its main mention; further ones that the corpus lists are not judged.
#[derive(Deserialize)]
struct Target {
    from: usize,
    to: usize,
    mention: String,
    polarity: f64,
}

impl NewsmtscRow {
    fn article(self) -> Result<Article, String> {
        let text = self.sentence_normalized;
        let mut mentions = Vec::with_capacity(self.targets.len());
        for (party, target) in self.targets.into_iter().enumerate() {
            let field = || format!("targets[{party}]");
            let range = range(&text, target.from, target.to, field)?;
            let sentiment = sentiment_of(target.polarity).ok_or_else(|| {
                format!(
                    "{}.polarity: {} is none of 2, 4, 6",
                    field(),
                    target.polarity
                )
            })?;
            mentions.push(Mention {
                range,
                name: target.mention,
                party,
                sentiment,
            });
        }
        let sentence = Sentence {
            text,
            kind: None,
            speaker: None,
            mentions,
        };
        Ok(Article {
            id: self.primary_gid,
            headline: None,
            sentences: vec![sentence],
        })
    }
}

fn sentiment_of(polarity: f64) -> Option<Sentiment> {
    let known = [2.0, 4.0, 6.0].into_iter().zip(Sentiment::ALL);
    known
        .into_iter()
        .find(|(p, _)| *p == polarity)
        .map(|(_, s)| s)
}

fn range(
    text: &str,
    start: usize,
    end: usize,
    field: impl Fn() -> String,
) -> Result<Range<usize>, String> {
    let length = text.chars().count();
    if start >= end || end > length {
        let field = field();
        return Err(format!(
            "{field}: {start}..{end} is no span of {length} code points"
        ));
    }
    if text.chars().skip(start).take(end - start).all(blank) {
        return Err(format!("{}: {start}..{end} is blank", field()));
    }
    Ok(start..end)
}

/// What the classifier refuses to take for text.
pub(super) fn blank(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

/// The place of `name` among `names`, put there if it is new.
fn number(names: &mut Vec<String>, name: String) -> usize {
    let known = names.iter().position(|n| *n == name);
    known.unwrap_or_else(|| {
        names.push(name);
        names.len() - 1
    })
}

/// Case folded as the training folds names: lower case, and the letters whose lower case depends
/// on where they stand, or that have two capitals, made one.
fn folded(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars().flat_map(char::to_lowercase) {
        match c {
            'ß' => out.push_str("ss"),
            'ς' => out.push('σ'),
            c => out.push(c),
        }
    }
    out
}
