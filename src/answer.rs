//! What comes back: sentences as they are answered, then a summary. Mirrors the messages of
//! `proto/copydesk/v1`; `json` writes it as the design's JSON.

pub mod json;

use std::time::Duration;

use crate::span::Span;

/// What a sentence does in its article.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SentenceType {
    /// Someone's words, quoted or reported for the view in them.
    Quote,
    /// What helps to understand the news but is not new.
    Background,
    /// A party answers the event or another party.
    Reaction,
    /// Text that is not the article's own reporting.
    Boilerplate,
    /// What happened, is happening or was announced.
    Report,
}

impl SentenceType {
    /// In the order of the model's logits.
    pub const ALL: [Self; 5] = [
        Self::Quote,
        Self::Background,
        Self::Reaction,
        Self::Boilerplate,
        Self::Report,
    ];

    /// The name in JSON and in `config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quote => "quote",
            Self::Background => "background",
            Self::Reaction => "reaction",
            Self::Boilerplate => "boilerplate",
            Self::Report => "report",
        }
    }

    /// Whether the sentence may carry somebody's words.
    pub fn may_speak(self) -> bool {
        matches!(self, Self::Quote | Self::Reaction)
    }
}

/// How a sentence makes a party look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sentiment {
    /// A reader comes away with a worse view.
    Negative,
    /// Neither.
    Neutral,
    /// A better view.
    Positive,
}

impl Sentiment {
    /// In the order of the model's logits.
    pub const ALL: [Self; 3] = [Self::Negative, Self::Neutral, Self::Positive];

    /// The name in JSON and in `config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Negative => "negative",
            Self::Neutral => "neutral",
            Self::Positive => "positive",
        }
    }
}

/// How words are quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotationKind {
    /// A clause of the speaker's own between marks.
    Direct,
    /// No marks: the writer reports the words.
    Indirect,
    /// A fragment between marks within the writer's sentence.
    Mixed,
}

impl QuotationKind {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Indirect => "indirect",
            Self::Mixed => "mixed",
        }
    }
}

/// Quoted words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quotation {
    /// The words without their marks; the whole sentence where they are indirect.
    pub span: Span,
    /// How they are quoted.
    pub kind: QuotationKind,
    /// They go on in the next sentence.
    pub running: bool,
    /// They began in an earlier sentence.
    pub opened_before: bool,
}

/// Whose words a sentence carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// As the text names them.
    pub text: String,
    /// The sentence in which `span` lies.
    pub sentence: usize,
    /// Where.
    pub span: Span,
    /// Id of the party, if the speaker is among them; perhaps one that only a later sentence lists.
    pub party: Option<String>,
    /// Another sentence names the speaker: the words run on from it, or up to it.
    pub inherited: bool,
}

/// Where a party is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// Where.
    pub span: Span,
    /// The words.
    pub text: String,
}

/// How one sentence makes one party look.
#[derive(Clone, Debug, PartialEq)]
pub struct PartySentiment {
    /// The party's id.
    pub party: String,
    /// Its name as far as known by now.
    pub name: String,
    /// `None` below the confidence asked for.
    pub sentiment: Option<Sentiment>,
    /// Calibrated, in the order of [`Sentiment::ALL`]; sum 1.
    pub scores: [f32; 3],
    /// In the order of the text.
    pub mentions: Vec<Mention>,
}

/// One sentence, answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Sentence {
    /// From 0.
    pub index: usize,
    /// From 0; the sentence's own index where sentences came ready-cut.
    pub paragraph: usize,
    /// Where it lies in the text; with ready-cut sentences, 0 to its length.
    pub span: Span,
    /// The sentence.
    pub text: String,
    /// `None` below the confidence asked for.
    pub kind: Option<SentenceType>,
    /// Calibrated, in the order of [`SentenceType::ALL`]; sum 1.
    pub type_scores: [f32; 5],
    /// In the order of the text.
    pub quotations: Vec<Quotation>,
    /// Only on quotes and reactions.
    pub speaker: Option<Speaker>,
    /// In the order of first mention.
    pub parties: Vec<PartySentiment>,
}

impl Sentence {
    /// Whether its words go on from an earlier sentence, which names their speaker.
    pub fn goes_on(&self) -> bool {
        let speaker = self.speaker.as_ref();
        speaker.is_some_and(|speaker| speaker.sentence < self.index)
    }
}

/// A party over the whole article.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PartySummary {
    /// The caller's id, or `p1`, `p2`, … by first appearance.
    pub id: String,
    /// The fullest name.
    pub name: String,
    /// Other names: those given, or those found.
    pub aliases: Vec<String>,
    /// Every mention with its sentence.
    pub mentions: Vec<(usize, Mention)>,
    /// Sentences that name it, boilerplate left out.
    pub sentences: usize,
    /// Sentences by [`Sentiment::ALL`], boilerplate left out.
    pub sentiment: [usize; 3],
    /// Sentences whose sentiment is under the confidence asked for.
    pub unspecified: usize,
}

/// Which model answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelIdentity {
    /// Its name.
    pub id: String,
    /// Its revision.
    pub revision: String,
    /// SHA-256 of config, tokenizer and weights, in hexadecimal.
    pub sha256: String,
}

/// What language the text seems to be in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Language {
    /// ISO 639-3 code, empty when unsure.
    pub code: String,
    /// False when it is surely not one that the model was trained for.
    pub supported: bool,
}

/// Where the time went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Waiting in the queue, summed over windows.
    pub queue: Duration,
    /// Cutting and tokenising.
    pub tokenize: Duration,
    /// Encoder and heads, summed over windows.
    pub encode: Duration,
    /// From admission to the summary.
    pub total: Duration,
}

/// What the article comes to; the last thing answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Which model answered.
    pub model: ModelIdentity,
    /// Sentences by [`SentenceType::ALL`].
    pub types: [usize; 5],
    /// Sentences whose type is under the confidence asked for.
    pub types_unspecified: usize,
    /// In the order asked for, or of first appearance.
    pub parties: Vec<PartySummary>,
    /// What language it seems to be.
    pub language: Language,
    /// Where the time went.
    pub timings: Timings,
}

/// One piece of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A sentence, in order.
    Sentence(Box<Sentence>),
    /// The end.
    Summary(Box<Summary>),
}
