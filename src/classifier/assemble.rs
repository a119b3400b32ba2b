//! Logits to answers: labels and scores, speakers, parties, the summary. Looks only at what has
//! been answered by now and at the window at hand, and never takes anything back.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::language;
use super::text::Text;
use super::voices::{self, Voice, Voices};
use crate::answer::{
    Event, Mention, ModelIdentity, PartySentiment, PartySummary, Quotation, QuotationKind,
    Sentence, SentenceType, Sentiment, Speaker, Summary, Timings,
};
use crate::article::Party;
use crate::model::config::Divisors;
use crate::model::decode::{argmax, softmax};
use crate::model::{MentionLogits, Model, SentenceLogits};
use crate::party::{Groups, Named, tidy};
use crate::quote;

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
            temperatures: model.card().temperatures.of(text.sentences().len()),
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
        // All are read first: words may be those of a party that is named at their end.
        let window: Vec<Read> = logits.into_iter().map(|l| self.read(l)).collect();
        (0..window.len())
            .map(|at| Event::Sentence(Box::new(self.sentence(&window[at..]))))
            .collect()
    }

    /// Gives a sentence's mentions and its speaker to parties, by what is known up to here.
    fn read(&mut self, logits: SentenceLogits) -> Read {
        let mentions = self.place_mentions(logits.index, logits.mentions);
        let naming = logits.speaker.map(|range| Naming {
            sentence: logits.index,
            party: self.party_of(self.words(logits.index, &range), &range, &mentions),
            range,
        });
        Read {
            index: logits.index,
            kind: logits.kind,
            mentions,
            naming,
        }
    }

    /// The answer to the first sentence of what is left of a window.
    fn sentence(&mut self, window: &[Read]) -> Sentence {
        let text = Arc::clone(&self.text);
        let Read {
            index,
            kind,
            mentions,
            ..
        } = &window[0];
        let (index, cut) = (*index, &text.sentences()[*index]);
        let type_scores = softmax(*kind, self.temperatures.kind);
        let naming = self.naming(window);
        let type_scores = self.as_spoken(naming, type_scores);
        let type_scores = self.as_it_began(index, naming.is_some(), type_scores);
        let likeliest = argmax(type_scores);
        let kind = SentenceType::ALL[likeliest];
        let sure = type_scores[likeliest] >= self.min_confidence;
        match sure {
            true => self.types[likeliest] += 1,
            false => self.types_unspecified += 1,
        }
        // What is left out as boilerplate follows the type as sent, so that callers can recount.
        let counted = !(sure && kind == SentenceType::Boilerplate);
        let parties = self.judge(index, counted, mentions);
        let speaker = match kind.may_speak() {
            true => self.speaker(index, naming),
            false => None,
        };
        self.speaker.clone_from(&speaker);
        self.before = Some(kind);
        let quotations = self.quotations(index, kind, speaker.is_some());
        Sentence {
            index,
            paragraph: if text.ready_cut { index } else { cut.paragraph },
            span: text.span(index, &(0..cut.range.len())),
            text: text.sentence(index).to_owned(),
            kind: sure.then_some(kind),
            type_scores,
            quotations,
            speaker,
            parties,
        }
    }

    /// Where the speaker of a window's first sentence is named: there or, of a quotation that runs on, beside the
    /// words that end it ("I won. I knew it," said Olsen). A pronoun at its end leaves it to the speaker before.
    fn naming<'a>(&self, window: &'a [Read]) -> Option<&'a Naming> {
        let quotations = &self.text.quotations;
        let Read { index, naming, .. } = &window[0];
        if naming.is_some() || !quotations[*index].last().is_some_and(|q| q.running) {
            return naming.as_ref();
        }
        let first = |read: &&Read| quotations[read.index].first();
        let runs = |read: &&Read| first(read).is_some_and(|q| q.opened_before && q.running);
        let last = window[1..].iter().find(|read| !runs(read));
        let last = last.filter(|read| first(read).is_some_and(|q| q.opened_before))?;
        let later = last.naming.as_ref().filter(|n| !self.is_quoted(n))?;
        let pronoun = voices::is_pronoun(self.words(later.sentence, &later.range));
        let inside = |i: &usize| quotations[*i].first().is_some_and(|q| q.opened_before);
        let began = (0..=*index).rev().find(|i| !inside(i)).unwrap_or(0);
        let before = self.speaker.as_ref().filter(|_| self.runs_on(*index));
        let keeps = before.is_some_and(|speaker| pronoun || speaker.sentence >= began);
        (!keeps).then_some(later)
    }

    /// Whether a name stands between quotation marks: it is spoken of, then.
    fn is_quoted(&self, naming: &Naming) -> bool {
        let start = self.text.sentences()[naming.sentence].range.start;
        let name = start + naming.range.start..start + naming.range.end;
        let quotations = self.text.quotations[naming.sentence].iter();
        quotations
            .map(|q| &q.range)
            .any(|q| q.start < name.end && name.start < q.end)
    }

    /// Words of a sentence.
    fn words(&self, sentence: usize, range: &Range<usize>) -> &str {
        &self.text.sentence(sentence)[range.clone()]
    }

    /// The scores in the light of what the same speaker said before.
    fn as_spoken(&mut self, naming: Option<&Naming>, scores: [f32; 5]) -> [f32; 5] {
        let voice = match naming {
            _ if !SentenceType::ALL[argmax(scores)].may_speak() => None,
            Some(naming) => {
                let words = &self.text.sentence(naming.sentence)[naming.range.clone()];
                self.voices.named(words, naming.party)
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

    /// Each mention with its party: as asked for, or grouped as it comes; a party that is new gets its summary.
    fn place_mentions(&mut self, index: usize, logits: Vec<MentionLogits>) -> Vec<Placed> {
        let text = Arc::clone(&self.text);
        let named = text.mentions.get(index).into_iter().flatten();
        let placed: Vec<(usize, Range<usize>, [f32; 3])> = match &mut self.known {
            Known::Named(_) => named
                .zip(logits)
                .map(|((party, range), l)| (*party, range.clone(), l.sentiment))
                .collect(),
            Known::Found(groups) => {
                let sentence = text.sentence(index);
                let mut free = 0;
                let placed = logits.into_iter().filter_map(|l| {
                    let range = tidy(sentence, &l.range, free)?;
                    free = range.end;
                    Some((groups.place(&sentence[range.clone()]), range, l.sentiment))
                });
                let placed = placed.collect();
                for party in self.parties.len()..groups.parties().len() {
                    self.parties.push(PartySummary {
                        id: format!("p{}", party + 1),
                        ..PartySummary::default()
                    });
                }
                placed
            }
        };
        let read = placed.into_iter().map(|(party, range, logits)| Placed {
            party,
            name: self.name(party),
            range,
            logits,
        });
        read.collect()
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
            self.count(party, index, counted, sure.then_some(likeliest), &mentions);
            judged.push(PartySentiment {
                party: self.parties[party].id.clone(),
                name: all[0].name.clone(),
                sentiment: sure.then_some(Sentiment::ALL[likeliest]),
                scores,
                mentions,
            });
        }
        judged
    }

    /// Adds a sentence's mentions of a party to its summary.
    fn count(
        &mut self,
        party: usize,
        index: usize,
        counted: bool,
        sentiment: Option<usize>,
        mentions: &[Mention],
    ) {
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
    }

    fn name(&self, party: usize) -> String {
        match &self.known {
            Known::Named(_) => self.parties[party].name.clone(),
            Known::Found(groups) => groups.parties()[party].name.clone(),
        }
    }

    /// Whose words: who is named for them, or the last speaker where they run on.
    fn speaker(&self, index: usize, naming: Option<&Naming>) -> Option<Speaker> {
        if let Some(naming) = naming {
            return Some(Speaker {
                text: self.words(naming.sentence, &naming.range).to_owned(),
                sentence: naming.sentence,
                span: self.text.span(naming.sentence, &naming.range),
                party: naming.party.map(|p| self.parties[p].id.clone()),
                inherited: naming.sentence != index,
            });
        }
        let before = self.speaker.clone().filter(|_| self.runs_on(index))?;
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
        let sentence = self.text.sentence(index);
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
            Known::Found(groups) => groups.resolve(words),
        }
    }

    /// Marked quotations; a sentence of reported words without marks is indirect as a whole.
    fn quotations(&self, index: usize, kind: SentenceType, spoken: bool) -> Vec<Quotation> {
        let text = &self.text;
        let first = text.sentences()[index].range.start;
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
        let span = text.span(index, &(0..text.sentence(index).len()));
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

/// A sentence as the model reads it.
struct Read {
    index: usize,
    /// Logits of its type.
    kind: [f32; 5],
    mentions: Vec<Placed>,
    /// The speaker that it names.
    naming: Option<Naming>,
}

/// Where a speaker is named.
struct Naming {
    sentence: usize,
    /// Bytes of that sentence.
    range: Range<usize>,
    party: Option<usize>,
}

/// A mention, its party, and what the model makes of it.
struct Placed {
    party: usize,
    /// The party's, as fully as it is known up to here.
    name: String,
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

#[cfg(test)]
mod tests;
