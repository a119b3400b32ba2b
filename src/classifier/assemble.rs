//! Logits to answers: labels and scores, speakers, parties, the summary. Looks only at what has
//! been answered by now, and never takes anything back.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::language;
use super::voices::{Voice, Voices};
use crate::answer::{
    Event, Mention, ModelIdentity, PartySentiment, PartySummary, Quotation, QuotationKind,
    Sentence, SentenceType, Sentiment, Speaker, Summary, Timings,
};
use crate::article::{Article, Body, ExactMention, Invalid, Limits, Parties, Party, Reason};
use crate::model::config::Divisors;
use crate::model::decode::{argmax, softmax};
use crate::model::{MentionLogits, Model, SentenceLogits};
use crate::party::{Groups, Matcher, Named, tidy};
use crate::quote;
use crate::segment;
use crate::span::{Offsets, Span};

/// An article, cut: its sentences, quotations, and the mentions of named parties.
pub(super) struct Text {
    headline: Option<String>,
    /// The whole text; ready-cut sentences are joined by line feeds.
    text: String,
    offsets: Offsets,
    sentences: Vec<segment::Sentence>,
    /// Offsets in answers count from the sentence, not from the text.
    ready_cut: bool,
    quotations: Vec<Vec<quote::Quotation>>,
    named: Option<Vec<Party>>,
    /// Of named parties.
    mentions: Places,
}

/// Of each sentence (party, bytes of the sentence), in the order of the text.
type Places = Vec<Vec<(usize, Range<usize>)>>;

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
        let text = self.sentence(self.sentences.get(index)?).to_owned();
        let mentions = self.named.as_ref().map(|_| {
            let all = self.mentions[index].iter();
            all.map(|(_, range)| range.clone()).collect()
        });
        Some((text, mentions))
    }

    fn sentence(&self, sentence: &segment::Sentence) -> &str {
        &self.text[sentence.range.clone()]
    }

    /// The span of bytes of a sentence, counted as the answer counts.
    fn span(&self, sentence: usize, bytes: &Range<usize>) -> Span {
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

    fn mention(&self, sentence: usize, bytes: &Range<usize>) -> Mention {
        let text = &self.sentence(&self.sentences[sentence])[bytes.clone()];
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
        let local = |r: &Range<usize>| r.start - sentence.start..r.end - sentence.start;
        all.push(found.iter().map(|m| (m.party, local(&m.range))).collect());
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

/// What is known of the parties by now.
enum Known {
    Named(Named),
    Found(Groups),
}

/// Turns the logits of one article into its answer, window by window.
pub(super) struct Assembler {
    text: Arc<Text>,
    identity: ModelIdentity,
    temperatures: Divisors,
    trained: String,
    min_confidence: f32,
    known: Known,
    parties: Vec<PartySummary>,
    types: [usize; 5],
    types_unspecified: usize,
    /// The last sentence's speaker, for words that run on.
    speaker: Option<Speaker>,
    /// The last sentence's likeliest type.
    before: Option<SentenceType>,
    voices: Voices,
    /// The last sentence's, for words after it that name no speaker.
    voice: Option<Voice>,
}

impl Assembler {
    pub fn new(text: Arc<Text>, model: &Model, min_confidence: f32) -> Self {
        let (known, parties) = match &text.named {
            None => (Known::Found(Groups::new()), Vec::new()),
            Some(named) => {
                let names = named
                    .iter()
                    .map(|p| (p.name.as_str(), p.aliases.as_slice()));
                (
                    Known::Named(Named::new(names)),
                    named.iter().map(summary_of).collect(),
                )
            }
        };
        Self {
            temperatures: model.card().temperatures.of(text.sentences.len()),
            text,
            identity: model.identity().clone(),
            trained: model.card().language_639_3().to_owned(),
            min_confidence,
            known,
            parties,
            types: [0; 5],
            types_unspecified: 0,
            speaker: None,
            before: None,
            voices: Voices::default(),
            voice: None,
        }
    }

    /// The answers to the sentences of the next window.
    pub fn window(&mut self, logits: Vec<SentenceLogits>) -> Vec<Event> {
        let sentences = logits.into_iter().map(|l| self.sentence(l));
        sentences.map(|s| Event::Sentence(Box::new(s))).collect()
    }

    fn sentence(&mut self, logits: SentenceLogits) -> Sentence {
        let text = Arc::clone(&self.text);
        let (index, cut) = (logits.index, &text.sentences[logits.index]);
        let type_scores = softmax(logits.kind, self.temperatures.kind);
        let mentions = self.place_mentions(index, logits.mentions);
        let type_scores = self.as_spoken(index, logits.speaker.as_ref(), &mentions, type_scores);
        let type_scores = self.as_it_began(index, logits.speaker.is_some(), type_scores);
        let likeliest = argmax(type_scores);
        let kind = SentenceType::ALL[likeliest];
        let sure = type_scores[likeliest] >= self.min_confidence;
        match sure {
            true => self.types[likeliest] += 1,
            false => self.types_unspecified += 1,
        }
        // What is left out as boilerplate follows the type as sent, so that callers can recount.
        let counted = !(sure && kind == SentenceType::Boilerplate);
        let parties = self.judge(index, counted, &mentions);
        let own = logits.speaker.filter(|_| kind.may_speak());
        let speaker = self.speaker(index, kind, own, &mentions);
        self.speaker.clone_from(&speaker);
        self.before = Some(kind);
        let quotations = self.quotations(index, kind, speaker.is_some());
        Sentence {
            index,
            paragraph: if text.ready_cut { index } else { cut.paragraph },
            span: text.span(index, &(0..cut.range.len())),
            text: text.sentence(cut).to_owned(),
            kind: sure.then_some(kind),
            type_scores,
            quotations,
            speaker,
            parties,
        }
    }

    /// The scores in the light of what the same speaker said before.
    fn as_spoken(
        &mut self,
        index: usize,
        own: Option<&Range<usize>>,
        placed: &[Placed],
        scores: [f32; 5],
    ) -> [f32; 5] {
        let voice = match own {
            _ if !SentenceType::ALL[argmax(scores)].may_speak() => None,
            Some(range) => {
                let text = &self.text;
                let words = &text.sentence(&text.sentences[index])[range.clone()];
                let party = self.party_of(words, range, placed);
                self.voices.named(words, party)
            }
            None => self.voice.take(),
        };
        self.voice.clone_from(&voice);
        match voice {
            Some(voice) => self.voices.agree(voice, scores),
            None => scores,
        }
    }

    /// Quote and reaction do not change while one speaker's words run on (nor do they in any of the
    /// 62 labelled sentences of dev): the probability of both goes to the one that they began as.
    fn as_it_began(&self, index: usize, speaks: bool, mut scores: [f32; 5]) -> [f32; 5] {
        let [quote, reaction] = [SentenceType::Quote, SentenceType::Reaction].map(|k| k as usize);
        let (kept, other) = match self.before {
            Some(SentenceType::Quote) => (quote, reaction),
            Some(SentenceType::Reaction) => (reaction, quote),
            _ => return scores,
        };
        let opened_before = self.text.quotations[index]
            .first()
            .is_some_and(|q| q.opened_before);
        if opened_before || (!speaks && self.speaker.is_some() && self.runs_on(index)) {
            scores[kept] += scores[other];
            scores[other] = 0.0;
        }
        scores
    }

    /// Each mention with its party: as asked for, or grouped as it comes.
    fn place_mentions(&mut self, index: usize, logits: Vec<MentionLogits>) -> Vec<Placed> {
        let text = Arc::clone(&self.text);
        let named = text.mentions.get(index).into_iter().flatten();
        match &mut self.known {
            Known::Named(_) => named
                .zip(logits)
                .map(|((party, range), l)| Placed {
                    party: *party,
                    range: range.clone(),
                    logits: l.sentiment,
                })
                .collect(),
            Known::Found(groups) => {
                let sentence = text.sentence(&text.sentences[index]);
                let placed = logits.into_iter().filter_map(|l| {
                    let range = tidy(sentence, &l.range)?;
                    Some(Placed {
                        party: groups.place(&sentence[range.clone()]),
                        range,
                        logits: l.sentiment,
                    })
                });
                placed.collect()
            }
        }
    }

    /// One judgement a party, in the order of first mention: the softmax of the mean of its
    /// mentions' calibrated logits.
    fn judge(&mut self, index: usize, counted: bool, placed: &[Placed]) -> Vec<PartySentiment> {
        let mut order: Vec<usize> = Vec::new();
        let mut of: HashMap<usize, Vec<&Placed>> = HashMap::new();
        for mention in placed {
            let all = of.entry(mention.party).or_default();
            if all.is_empty() {
                order.push(mention.party);
            }
            all.push(mention);
        }
        let mut judged = Vec::with_capacity(order.len());
        for party in order {
            let all = &of[&party];
            let mean = |c: usize| all.iter().map(|m| m.logits[c]).sum::<f32>() / all.len() as f32;
            let scores = softmax([mean(0), mean(1), mean(2)], self.temperatures.sentiment);
            let likeliest = argmax(scores);
            let sure = scores[likeliest] >= self.min_confidence;
            let mentions: Vec<Mention> = all
                .iter()
                .map(|m| self.text.mention(index, &m.range))
                .collect();
            let (id, name) =
                self.count(party, index, counted, sure.then_some(likeliest), &mentions);
            let sentiment = sure.then_some(Sentiment::ALL[likeliest]);
            judged.push(PartySentiment {
                party: id,
                name,
                sentiment,
                scores,
                mentions,
            });
        }
        judged
    }

    /// Adds a sentence's mentions of a party to its summary; its id and its name by now.
    fn count(
        &mut self,
        party: usize,
        index: usize,
        counted: bool,
        sentiment: Option<usize>,
        mentions: &[Mention],
    ) -> (String, String) {
        while self.parties.len() <= party {
            let id = format!("p{}", self.parties.len() + 1);
            self.parties.push(PartySummary {
                id,
                ..PartySummary::default()
            });
        }
        let name = self.name(party);
        let summary = &mut self.parties[party];
        summary
            .mentions
            .extend(mentions.iter().map(|m| (index, m.clone())));
        if counted {
            summary.sentences += 1;
            match sentiment {
                Some(s) => summary.sentiment[s] += 1,
                None => summary.unspecified += 1,
            }
        }
        (summary.id.clone(), name)
    }

    fn name(&self, party: usize) -> String {
        match &self.known {
            Known::Named(_) => self.parties[party].name.clone(),
            Known::Found(groups) => groups.parties()[party].name.clone(),
        }
    }

    /// Whose words: the span found here, or the last speaker where the words run on.
    fn speaker(
        &self,
        index: usize,
        kind: SentenceType,
        own: Option<Range<usize>>,
        placed: &[Placed],
    ) -> Option<Speaker> {
        let text = &self.text;
        if let Some(range) = own {
            let words = &text.sentence(&text.sentences[index])[range.clone()];
            let party = self.party_of(words, &range, placed);
            return Some(Speaker {
                text: words.to_owned(),
                sentence: index,
                span: text.span(index, &range),
                party: party.map(|p| self.parties[p].id.clone()),
                inherited: false,
            });
        }
        let runs_on = kind.may_speak() && self.runs_on(index);
        let before = self.speaker.clone().filter(|_| runs_on)?;
        Some(Speaker {
            inherited: true,
            ..before
        })
    }

    /// Whether the sentence's words go on from the sentence before: a quotation opened there, or
    /// one that is the whole of this sentence.
    fn runs_on(&self, index: usize) -> bool {
        let [quotation, ..] = self.text.quotations[index].as_slice() else {
            return false;
        };
        let sentence = &self.text.sentences[index].range;
        // Marks and a full stop may stand outside the words.
        let whole = quotation.range.len() + 8 >= sentence.len();
        quotation.opened_before || (whole && quotation.kind == quote::Kind::Direct)
    }

    fn party_of(&self, words: &str, range: &Range<usize>, placed: &[Placed]) -> Option<usize> {
        let over = |m: &&Placed| m.range.start < range.end && range.start < m.range.end;
        if let Some(mention) = placed.iter().find(over) {
            return Some(mention.party);
        }
        match &self.known {
            Known::Named(named) => named.resolve(words),
            // A group that no sentence has named yet has no id to give.
            Known::Found(groups) => groups.resolve(words).filter(|&p| p < self.parties.len()),
        }
    }

    /// Marked quotations; a sentence of reported words without marks is indirect as a whole.
    fn quotations(&self, index: usize, kind: SentenceType, spoken: bool) -> Vec<Quotation> {
        let text = &self.text;
        let first = text.sentences[index].range.start;
        let marked = text.quotations[index].iter().map(|q| Quotation {
            span: text.span(index, &(q.range.start - first..q.range.end - first)),
            kind: match q.kind {
                quote::Kind::Direct => QuotationKind::Direct,
                quote::Kind::Mixed => QuotationKind::Mixed,
            },
            running: q.running,
            opened_before: q.opened_before,
        });
        let marked: Vec<Quotation> = marked.collect();
        let reported = kind == SentenceType::Quote || (kind == SentenceType::Reaction && spoken);
        if !marked.is_empty() || !reported {
            return marked;
        }
        let span = text.span(index, &(0..text.sentences[index].range.len()));
        let kind = QuotationKind::Indirect;
        vec![Quotation {
            span,
            kind,
            running: false,
            opened_before: false,
        }]
    }

    /// The end of the answer.
    pub fn summary(self, timings: Timings) -> Summary {
        let mut parties = self.parties;
        if let Known::Found(groups) = &self.known {
            for (party, group) in parties.iter_mut().zip(groups.parties()) {
                party.name.clone_from(&group.name);
                party.aliases.clone_from(&group.aliases);
            }
        }
        Summary {
            model: self.identity,
            types: self.types,
            types_unspecified: self.types_unspecified,
            parties,
            language: language::detect(&self.text.text, &self.trained),
            timings,
        }
    }
}

/// A mention, its party, and what the model makes of it.
struct Placed {
    party: usize,
    /// Bytes of the sentence.
    range: Range<usize>,
    logits: [f32; 3],
}

fn summary_of(party: &Party) -> PartySummary {
    PartySummary {
        id: party.id.clone(),
        name: party.name.clone(),
        aliases: party.aliases.clone(),
        ..PartySummary::default()
    }
}
