//! The figures of a model on labelled articles: labelled lines → requests to the classifier → a
//! report. Asks as any caller does and sees nothing but answers. Computes what `training/train.py`
//! computes on its dev sets, from the outside.

pub mod data;
pub mod metrics;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::pin::pin;

use futures_util::StreamExt;
use futures_util::stream;
use serde::Serialize;

use self::data::Layout;
use self::metrics::{Case, Classes, Score, Spans, ratio};
use crate::answer::{self, Event, SentenceType, Sentiment};
use crate::article::{self, Body, Limits, Parties, Party, PartySpan};
use crate::classifier::{Classifier, ClassifyError, Options};
use crate::span::Unit;

/// Articles under way at a time: enough that no worker waits for the end of one.
const AT_ONCE: usize = 4;

/// Everything measured on one file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// What the file's lines look like.
    pub layout: Layout,
    /// Articles in the file.
    pub articles: usize,
    /// Sentences in the file, those left out included.
    pub sentences: usize,
    /// Types of sentences; `None` where the file labels none.
    pub types: Option<Classes>,
    /// Parties found; `None` where the file does not label them all.
    pub parties: Option<Score>,
    /// Speakers found in the sentence itself; `None` where the file labels none.
    pub speakers: Option<Score>,
    /// Sentiment of the labelled mentions, given to the classifier; `None` where there is none.
    pub sentiment: Option<Classes>,
    /// Sentences that make one party look worse and another better.
    pub opposed: Opposed,
    /// What could not be judged.
    pub left_out: Vec<LeftOut>,
}

/// Sentences in which one party is negative and another positive: whoever answers one sentiment for
/// the whole sentence gets none of them right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Opposed {
    /// How many there are.
    pub sentences: usize,
    /// How many have every mention right, neutral ones included.
    pub right: usize,
    /// The share of these; 0 where there are no such sentences.
    pub share: f64,
}

/// Something that is labelled and was not judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Id of the article.
    pub article: String,
    /// The sentence in the file, from 0.
    pub sentence: usize,
    /// Why.
    pub reason: Omission,
}

/// Why something was not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Omission {
    /// A blank sentence: the classifier takes none. Later sentences move up by one.
    Blank,
    /// The answer has no such sentence. Its labelled spans count as missed.
    Unanswered,
    /// The answer says nothing of a mention.
    MentionUnanswered,
}

impl Omission {
    fn what(self) -> &'static str {
        match self {
            Self::Blank => "blank sentences, which the classifier does not take",
            Self::Unanswered => "sentences that were not answered",
            Self::MentionUnanswered => "mentions that were not answered",
        }
    }
}

impl Report {
    /// For a terminal: aligned columns, several lines, ends with a line feed.
    pub fn table(&self) -> String {
        let sections = [
            Some(self.title()),
            self.types
                .as_ref()
                .map(|types| classes_table("type", types)),
            self.spans_table(),
            self.sentiment
                .as_ref()
                .map(|sentiment| classes_table("sentiment", sentiment)),
            self.opposed_line(),
            self.left_out_line(),
        ];
        sections
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn title(&self) -> String {
        let (layout, articles, sentences) = (self.layout.name(), self.articles, self.sentences);
        format!("{layout}: {articles} articles, {sentences} sentences\n")
    }

    fn spans_table(&self) -> Option<String> {
        let named = [("party", self.parties), ("speaker", self.speakers)];
        let rows: Vec<_> = named
            .iter()
            .filter_map(|(name, score)| Some((*name, (*score)?)))
            .collect();
        (!rows.is_empty()).then(|| scores_table("span", &rows))
    }

    fn opposed_line(&self) -> Option<String> {
        let Opposed {
            sentences,
            right,
            share,
        } = self.opposed;
        (sentences > 0).then(|| {
            format!(
                "opposed parties: {right} of {sentences} sentences with a negative and a positive \
                 party have every mention right ({share:.3})\n"
            )
        })
    }

    /// How often what was left out, and where first.
    fn left_out_line(&self) -> Option<String> {
        let mut counts: Vec<(Omission, usize, &LeftOut)> = Vec::new();
        for left in &self.left_out {
            match counts
                .iter_mut()
                .find(|(reason, ..)| *reason == left.reason)
            {
                Some((_, count, _)) => *count += 1,
                None => counts.push((left.reason, 1, left)),
            }
        }
        let line = |(reason, count, first): (Omission, usize, &LeftOut)| {
            let LeftOut {
                article, sentence, ..
            } = first;
            let what = reason.what();
            format!("left out: {count} {what}; first in article {article:?}, sentence {sentence}\n")
        };
        (!counts.is_empty()).then(|| counts.into_iter().map(line).collect())
    }
}

fn classes_table(title: &str, classes: &Classes) -> String {
    let rows: Vec<_> = classes.classes.iter().map(|c| (c.name, c.score)).collect();
    let names = classes.classes.iter().map(|c| c.name.to_owned());
    let head = std::iter::once("true \\ answer".to_owned())
        .chain(names.clone())
        .collect();
    let counts = names.zip(&classes.confusion).map(|(name, row)| {
        std::iter::once(name)
            .chain(row.iter().map(usize::to_string))
            .collect()
    });
    let confusion = std::iter::once(head)
        .chain(counts)
        .collect::<Vec<Vec<String>>>();
    format!(
        "{}macro-F1 {:.3}, accuracy {:.3}, calibration error {:.3}\n\n{}",
        scores_table(title, &rows),
        classes.macro_f1,
        classes.accuracy,
        classes.calibration_error,
        aligned(&confusion)
    )
}

fn scores_table(title: &str, scores: &[(&str, Score)]) -> String {
    let head = [title, "precision", "recall", "F1", "support"]
        .map(str::to_owned)
        .to_vec();
    let rows = scores.iter().map(|(name, score)| {
        let shares = [score.precision, score.recall, score.f1].map(|share| format!("{share:.3}"));
        let [precision, recall, f1] = shares;
        vec![
            (*name).to_owned(),
            precision,
            recall,
            f1,
            score.support.to_string(),
        ]
    });
    aligned(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

/// Rows of cells as lines: the first column to the left, the others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
    let width = |column| {
        cells(column)
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            match column {
                0 => out.push_str(&format!("{cell:<width$}")),
                _ => out.push_str(&format!("  {cell:>width$}")),
            }
        }
        out.push('\n');
    }
    out
}

/// Why there is no report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("article {id:?} was not answered")]
pub struct EvalError {
    /// The article.
    pub id: String,
    /// Why.
    pub source: ClassifyError,
}

/// Has every article answered and compares. `progress` is told, after each article, how many are
/// done and how many there are.
///
/// # Errors
///
/// [`EvalError`], for the first article that the classifier refuses or does not answer to the end.
pub async fn run(
    classifier: &Classifier,
    articles: &data::Set,
    mut progress: impl FnMut(usize, usize),
) -> Result<Report, EvalError> {
    let asked = articles
        .articles
        .iter()
        .map(|a| Asked::new(articles.layout, a));
    let asked: Vec<Asked<'_>> = asked.collect();
    let answers = stream::iter(0..asked.len()).map(|index| answers(classifier, &asked[index]));
    let mut answers = pin!(answers.buffered(AT_ONCE).enumerate());
    let mut tally = Tally::default();
    while let Some((index, next)) = answers.next().await {
        tally.add(&asked[index], &next?);
        progress(index + 1, asked.len());
    }
    Ok(tally.report(articles))
}

/// An article as it is sent: without its blank sentences.
struct Asked<'a> {
    layout: Layout,
    article: &'a data::Article,
    /// The sentences sent, by their place in the file.
    places: Vec<usize>,
}

/// What came back for one article.
#[derive(Default)]
struct Answers {
    /// Sentences by their place in the file, with what was found in them; none where not asked for.
    found: HashMap<usize, answer::Sentence>,
    /// Sentiment scores of the labelled parties, by [`party_id`].
    judged: HashMap<String, [f32; 3]>,
}

impl<'a> Asked<'a> {
    fn new(layout: Layout, article: &'a data::Article) -> Self {
        let sentences = article.sentences.iter().enumerate();
        let sent = sentences.filter(|(_, s)| !s.text.chars().all(data::blank));
        Self {
            layout,
            article,
            places: sent.map(|(place, _)| place).collect(),
        }
    }

    /// With parties to be found: types, parties and speakers are judged by its answer.
    fn detection(&self) -> Option<article::Article> {
        let labelled = self.layout == Layout::Newsroom && !self.places.is_empty();
        labelled.then(|| self.request(Parties::Detect))
    }

    /// With the labelled parties, as many in each request as the limits allow.
    fn judgements(&self, limits: &Limits) -> Vec<article::Article> {
        let parties = self.parties();
        let parts = parties.chunks(limits.parties.max(1));
        parts
            .map(|part| self.request(Parties::Named(part.to_vec())))
            .collect()
    }

    fn request(&self, parties: Parties) -> article::Article {
        let sentences = self
            .places
            .iter()
            .map(|&place| self.article.sentences[place].text.clone());
        article::Article {
            id: self.article.id.clone(),
            headline: self.article.headline.clone(),
            body: Body::Sentences(sentences.collect()),
            parties,
        }
    }

    /// One for each party of each sentence, so that sentences do not share names.
    fn parties(&self) -> Vec<Party> {
        let mut parties: Vec<Party> = Vec::new();
        for (sent, &place) in self.places.iter().enumerate() {
            let first = parties.len();
            for mention in &self.article.sentences[place].mentions {
                let (start, end) = (mention.range.start, mention.range.end);
                let span = PartySpan {
                    sentence: Some(sent),
                    start,
                    end,
                    unit: Unit::CodePoint,
                };
                // A sentence's parties are numbered in the order in which they come.
                match parties.get_mut(first + mention.party) {
                    Some(party) => party.spans.push(span),
                    None => parties.push(Party {
                        id: party_id(place, mention.party),
                        name: mention.name.clone(),
                        aliases: Vec::new(),
                        spans: vec![span],
                    }),
                }
            }
        }
        parties
    }
}

fn party_id(sentence: usize, party: usize) -> String {
    format!("s{sentence}p{party}")
}

async fn answers(classifier: &Classifier, asked: &Asked<'_>) -> Result<Answers, EvalError> {
    let failed = |source| EvalError {
        id: asked.article.id.clone(),
        source,
    };
    let mut answers = Answers::default();
    if let Some(request) = asked.detection() {
        answers.detected(asked, sentences(classifier, request).await.map_err(failed)?);
    }
    for request in asked.judgements(classifier.limits()) {
        answers.judged(sentences(classifier, request).await.map_err(failed)?);
    }
    Ok(answers)
}

async fn sentences(
    classifier: &Classifier,
    request: article::Article,
) -> Result<Vec<answer::Sentence>, ClassifyError> {
    let mut classification = classifier.classify(request, Options::default())?;
    let mut sentences = Vec::new();
    while let Some(event) = classification.next().await {
        if let Event::Sentence(sentence) = event? {
            sentences.push(*sentence);
        }
    }
    Ok(sentences)
}

impl Answers {
    fn detected(&mut self, asked: &Asked<'_>, sentences: Vec<answer::Sentence>) {
        let placed = sentences
            .into_iter()
            .filter_map(|s| Some((*asked.places.get(s.index)?, s)));
        self.found.extend(placed);
    }

    fn judged(&mut self, sentences: Vec<answer::Sentence>) {
        let parties = sentences.into_iter().flat_map(|s| s.parties);
        self.judged.extend(parties.map(|p| (p.party, p.scores)));
    }
}

/// What is counted, article by article.
#[derive(Default)]
struct Tally {
    types: Vec<Case<5>>,
    sentiment: Vec<Case<3>>,
    parties: Spans,
    speakers: Spans,
    opposed: Opposed,
    left_out: Vec<LeftOut>,
}

impl Tally {
    fn add(&mut self, asked: &Asked<'_>, answers: &Answers) {
        for (place, gold) in asked.article.sentences.iter().enumerate() {
            let sent = asked.places.binary_search(&place).is_ok();
            let found = answers.found.get(&place);
            if !sent {
                self.leave_out(asked, place, Omission::Blank);
            } else if found.is_none() && asked.layout == Layout::Newsroom {
                self.leave_out(asked, place, Omission::Unanswered);
            }
            self.count_found(gold, found);
            self.count_judged(asked, place, answers);
        }
    }

    fn leave_out(&mut self, asked: &Asked<'_>, sentence: usize, reason: Omission) {
        self.left_out.push(LeftOut {
            article: asked.article.id.clone(),
            sentence,
            reason,
        });
    }

    fn count_found(&mut self, gold: &data::Sentence, found: Option<&answer::Sentence>) {
        if let (Some(kind), Some(found)) = (gold.kind, found) {
            self.types.push(Case {
                gold: kind as usize,
                scores: found.type_scores,
            });
        }
        let parties = found
            .into_iter()
            .flat_map(|s| &s.parties)
            .flat_map(|p| &p.mentions);
        let parties = parties.map(|m| m.span.char_start..m.span.char_end);
        self.parties
            .add(gold.mentions.iter().map(|m| m.range.clone()), parties);
        let speaker = found
            .and_then(|s| s.speaker.as_ref())
            .filter(|s| !s.inherited);
        let speaker = speaker.map(|s| s.span.char_start..s.span.char_end);
        self.speakers.add(gold.speaker.clone(), speaker);
    }

    /// Sentiment, a case for each mention: a party named twice counts twice, as in training.
    fn count_judged(&mut self, asked: &Asked<'_>, place: usize, answers: &Answers) {
        let mentions = &asked.article.sentences[place].mentions;
        let mut right = true;
        for mention in mentions {
            let gold = mention.sentiment as usize;
            match answers.judged.get(&party_id(place, mention.party)) {
                Some(&scores) => {
                    let case = Case { gold, scores };
                    right &= case.answer() == gold;
                    self.sentiment.push(case);
                }
                None => {
                    right = false;
                    self.leave_out(asked, place, Omission::MentionUnanswered);
                }
            }
        }
        if opposed(mentions) {
            self.opposed.sentences += 1;
            self.opposed.right += usize::from(right);
        }
    }

    fn report(self, set: &data::Set) -> Report {
        let structured = set.layout == Layout::Newsroom;
        let Opposed {
            sentences, right, ..
        } = self.opposed;
        Report {
            layout: set.layout,
            articles: set.articles.len(),
            sentences: set.articles.iter().map(|a| a.sentences.len()).sum(),
            types: Classes::of(SentenceType::ALL.map(SentenceType::name), &self.types),
            parties: structured.then(|| self.parties.score()),
            speakers: structured.then(|| self.speakers.score()),
            sentiment: Classes::of(Sentiment::ALL.map(Sentiment::name), &self.sentiment),
            opposed: Opposed {
                sentences,
                right,
                share: ratio(right, sentences),
            },
            left_out: self.left_out,
        }
    }
}

/// Whether one party is negative and another positive.
fn opposed(mentions: &[data::Mention]) -> bool {
    let of = |sentiment| mentions.iter().filter(move |m| m.sentiment == sentiment);
    of(Sentiment::Negative).any(|n| of(Sentiment::Positive).any(|p| p.party != n.party))
}
