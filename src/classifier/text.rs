//! An article, cut: what is known of it before the model has read a word.

use std::ops::Range;

use crate::answer::Mention;
use crate::article::{Article, Body, ExactMention, Invalid, Limits, Parties, Party, Reason};
use crate::party::Matcher;
use crate::quote;
use crate::segment;
use crate::span::{Offsets, Span};

/// An article, cut: its sentences, quotations, and the mentions of named parties.
pub(super) struct Text {
    headline: Option<String>,
    /// The whole text; ready-cut sentences are joined by line feeds.
    pub text: String,
    offsets: Offsets,
    sentences: Vec<segment::Sentence>,
    /// Offsets in answers count from the sentence, not from the text.
    pub ready_cut: bool,
    pub quotations: Vec<Vec<quote::Quotation>>,
    pub named: Option<Vec<Party>>,
    /// Of named parties.
    pub mentions: Places,
}

/// Of each sentence (party, bytes of the sentence), in the order of the text.
pub(super) type Places = Vec<Vec<(usize, Range<usize>)>>;

impl Text {
    pub fn new(
        article: Article,
        exact: Vec<ExactMention>,
        limits: &Limits,
    ) -> Result<Self, Invalid> {
        let ready_cut = matches!(article.body, Body::Sentences(_));
        let (text, sentences) = match article.body {
            Body::Text(text) => {
                let sentences = segment::sentences(&text);
                (text, sentences)
            }
            Body::Sentences(all) => join(&all),
        };
        if sentences.len() > limits.sentences {
            let most = limits.sentences;
            let problem = format!(
                "cuts into {} sentences; at most {most} are allowed",
                sentences.len()
            );
            return Err(Invalid::new("text", Reason::TooManySentences, problem));
        }
        let quotations = quote::quotations(&text, &sentences);
        let named = match article.parties {
            Parties::Detect => None,
            Parties::Named(parties) => Some(parties),
        };
        let mentions = match &named {
            None => Vec::new(),
            Some(parties) => mentions(&text, &sentences, parties, exact, ready_cut, limits)?,
        };
        let offsets = Offsets::new(&text);
        let headline = article.headline;
        Ok(Self {
            headline,
            text,
            offsets,
            sentences,
            ready_cut,
            quotations,
            named,
            mentions,
        })
    }

    pub fn headline(&self) -> Option<&str> {
        self.headline.as_deref()
    }

    pub fn sentences(&self) -> &[segment::Sentence] {
        &self.sentences
    }

    /// A sentence for the encoder: its text, and the mentions to judge unless they are to be found.
    pub fn source(&self, index: usize) -> Option<(String, Option<Vec<Range<usize>>>)> {
        let sentence = self.sentences.get(index)?;
        let text = self.text[sentence.range.clone()].to_owned();
        let mentions = self.named.as_ref().map(|_| {
            let all = self.mentions[index].iter();
            all.map(|(_, range)| range.clone()).collect()
        });
        Some((text, mentions))
    }

    pub fn sentence(&self, index: usize) -> &str {
        &self.text[self.sentences[index].range.clone()]
    }

    /// The span of bytes of a sentence, counted as the answer counts.
    pub fn span(&self, sentence: usize, bytes: &Range<usize>) -> Span {
        let first = self.sentences[sentence].range.start;
        let span = self
            .offsets
            .span(&self.text, &(first + bytes.start..first + bytes.end));
        if !self.ready_cut {
            return span;
        }
        let zero = self.offsets.span(&self.text, &(first..first));
        Span {
            byte_start: span.byte_start - zero.byte_start,
            byte_end: span.byte_end - zero.byte_start,
            char_start: span.char_start - zero.char_start,
            char_end: span.char_end - zero.char_start,
            utf16_start: span.utf16_start - zero.utf16_start,
            utf16_end: span.utf16_end - zero.utf16_start,
        }
    }

    pub fn mention(&self, sentence: usize, bytes: &Range<usize>) -> Mention {
        let text = &self.sentence(sentence)[bytes.clone()];
        Mention {
            span: self.span(sentence, bytes),
            text: text.to_owned(),
        }
    }
}

/// Ready-cut sentences as one text. Paragraphs are not known: a quotation may run over all of it.
fn join(all: &[String]) -> (String, Vec<segment::Sentence>) {
    let mut text = String::with_capacity(all.iter().map(|s| s.len() + 1).sum());
    let mut sentences = Vec::with_capacity(all.len());
    for sentence in all {
        let start = text.len();
        text.push_str(sentence);
        sentences.push(segment::Sentence {
            range: start..text.len(),
            paragraph: 0,
        });
        text.push('\n');
    }
    (text, sentences)
}

/// Mentions of named parties: exact ones where given, else by name and aliases.
fn mentions(
    text: &str,
    sentences: &[segment::Sentence],
    parties: &[Party],
    exact: Vec<ExactMention>,
    ready_cut: bool,
    limits: &Limits,
) -> Result<Places, Invalid> {
    let refuse = || {
        let most = limits.mentions;
        let problem = format!("stand at more than {most} places; at most {most} are allowed");
        Invalid::new("parties", Reason::TooManyMentions, problem)
    };
    let searched = parties
        .iter()
        .enumerate()
        .filter(|(_, p)| p.spans.is_empty());
    let names = searched.flat_map(|(i, p)| {
        let aliases = p.aliases.iter().map(String::as_str);
        std::iter::once(p.name.as_str())
            .chain(aliases)
            .map(move |name| (i, name))
    });
    let ranges: Vec<Range<usize>> = sentences.iter().map(|s| s.range.clone()).collect();
    let left = limits
        .mentions
        .checked_sub(exact.len())
        .ok_or_else(refuse)?;
    let found = Matcher::new(names).find(text, &ranges, left);
    let found = found.ok_or_else(refuse)?;
    let mut all: Places = Vec::with_capacity(sentences.len());
    for (sentence, found) in ranges.iter().zip(found) {
        let lists = segment::link_lists(&text[sentence.clone()]);
        let local = |r: &Range<usize>| r.start - sentence.start..r.end - sentence.start;
        let listed = |r: &Range<usize>| lists.iter().any(|l| l.start < r.end && r.start < l.end);
        let places = found.iter().map(|m| (m.party, local(&m.range)));
        all.push(places.filter(|(_, range)| !listed(range)).collect());
    }
    for mention in exact {
        if let Some((index, range)) = place(&ranges, &mention, ready_cut) {
            all[index].push((mention.party, range));
        }
    }
    for sentence in &mut all {
        sentence.sort_by_key(|(party, range)| (range.start, range.end, *party));
        sentence.dedup();
    }
    Ok(all)
}

/// The sentence of an exact mention, and its bytes there. One that reaches over the end of its
/// sentence is judged by the part that lies in the first.
fn place(
    sentences: &[Range<usize>],
    mention: &ExactMention,
    ready_cut: bool,
) -> Option<(usize, Range<usize>)> {
    if ready_cut {
        return mention.sentence.map(|index| (index, mention.range.clone()));
    }
    let index = sentences.partition_point(|s| s.end <= mention.range.start);
    let sentence = sentences.get(index)?;
    let start = mention.range.start.max(sentence.start) - sentence.start;
    let end = mention
        .range
        .end
        .min(sentence.end)
        .checked_sub(sentence.start)?;
    (start < end).then_some((index, start..end))
}
