//! The answer as the JSON Lines of the design: one article a line, offsets in code points, arrays
//! never left out.

use serde::{Deserialize, Serialize};

use super::{
    Mention, PartySentiment, PartySummary, Quotation, Sentence, SentenceType, Sentiment, Speaker,
    Summary,
};

/// One article's answer.
#[derive(Serialize)]
pub struct Line<'a> {
    id: &'a str,
    model: Model<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sentences: Option<Vec<SentenceLine<'a>>>,
    types: Types<usize>,
    parties: Vec<PartyLine<'a>>,
    language: LanguageLine<'a>,
    timings: TimingsLine,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<Run>,
}

/// What was asked, for a run that is to go on with an unfinished file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// A hash of the article and its parties.
    pub input: String,
    /// The settings that change answers.
    pub settings: String,
}

/// One article's failure.
#[derive(Serialize)]
pub struct Failure<'a> {
    id: &'a str,
    error: Problem<'a>,
}

#[derive(Serialize)]
struct Problem<'a> {
    code: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    revision: &'a str,
    sha256: &'a str,
}

#[derive(Serialize)]
struct Types<T> {
    quote: T,
    background: T,
    reaction: T,
    boilerplate: T,
    report: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    unspecified: Option<T>,
}

#[derive(Serialize)]
struct Sentiments<T> {
    negative: T,
    neutral: T,
    positive: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    unspecified: Option<T>,
}

#[derive(Serialize)]
struct SentenceLine<'a> {
    index: usize,
    paragraph: usize,
    start: usize,
    end: usize,
    text: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    type_scores: Types<f64>,
    quotations: Vec<QuotationLine>,
    speaker: Option<SpeakerLine<'a>>,
    parties: Vec<SentimentLine<'a>>,
}

#[derive(Serialize)]
struct QuotationLine {
    start: usize,
    end: usize,
    kind: &'static str,
    running: bool,
}

#[derive(Serialize)]
struct SpeakerLine<'a> {
    text: &'a str,
    sentence: usize,
    start: usize,
    end: usize,
    party: Option<&'a str>,
    inherited: bool,
}

#[derive(Serialize)]
struct SentimentLine<'a> {
    party: &'a str,
    sentiment: &'static str,
    scores: Sentiments<f64>,
    mentions: Vec<MentionLine<'a>>,
}

#[derive(Serialize)]
struct MentionLine<'a> {
    start: usize,
    end: usize,
    text: &'a str,
}

#[derive(Serialize)]
struct PartyLine<'a> {
    id: &'a str,
    name: &'a str,
    aliases: &'a [String],
    mentions: usize,
    sentences: usize,
    sentiment: Sentiments<usize>,
}

#[derive(Serialize)]
struct LanguageLine<'a> {
    code: &'a str,
    supported: bool,
}

/// Seconds.
#[derive(Serialize)]
struct TimingsLine {
    queue: f64,
    tokenize: f64,
    encode: f64,
    total: f64,
}

impl<'a> Line<'a> {
    /// The answer to the article `id`.
    pub fn new(id: &'a str, sentences: &'a [Sentence], summary: &'a Summary) -> Self {
        Self {
            sentences: Some(sentences.iter().map(sentence).collect()),
            ..Self::summary(id, summary)
        }
    }

    /// The same without `sentences`, for whoever had them before.
    pub fn summary(id: &'a str, summary: &'a Summary) -> Self {
        let (model, t) = (&summary.model, summary.timings);
        let language = &summary.language;
        let seconds = |d: std::time::Duration| (d.as_secs_f64() * 1e6).round() / 1e6;
        Self {
            id,
            model: Model {
                id: &model.id,
                revision: &model.revision,
                sha256: &model.sha256,
            },
            sentences: None,
            types: types(summary.types, Some(summary.types_unspecified)),
            parties: summary.parties.iter().map(party).collect(),
            language: LanguageLine {
                code: &language.code,
                supported: language.supported,
            },
            timings: TimingsLine {
                queue: seconds(t.queue),
                tokenize: seconds(t.tokenize),
                encode: seconds(t.encode),
                total: seconds(t.total),
            },
            run: None,
        }
    }

    /// The same with what was asked.
    pub fn with_run(self, run: Run) -> Self {
        let run = Some(run);
        Self { run, ..self }
    }
}

/// One sentence, as it stands among an answer's `sentences`.
pub fn one(s: &Sentence) -> impl Serialize + '_ {
    sentence(s)
}

impl<'a> Failure<'a> {
    /// The article `id` failed; `code` is the name of a gRPC status code.
    pub fn new(id: &'a str, code: &'a str, message: &'a str) -> Self {
        Self {
            id,
            error: Problem { code, message },
        }
    }
}

/// A label, or what stands in its place under the confidence asked for.
fn label(name: Option<&'static str>) -> &'static str {
    name.unwrap_or("unspecified")
}

/// Four decimals: more would only say noise.
fn score(x: f32) -> f64 {
    (f64::from(x) * 1e4).round() / 1e4
}

fn types<T>(values: [T; 5], unspecified: Option<T>) -> Types<T> {
    let [quote, background, reaction, boilerplate, report] = values;
    Types {
        quote,
        background,
        reaction,
        boilerplate,
        report,
        unspecified,
    }
}

fn sentiments<T>(values: [T; 3], unspecified: Option<T>) -> Sentiments<T> {
    let [negative, neutral, positive] = values;
    Sentiments {
        negative,
        neutral,
        positive,
        unspecified,
    }
}

fn sentence(s: &Sentence) -> SentenceLine<'_> {
    SentenceLine {
        index: s.index,
        paragraph: s.paragraph,
        start: s.span.char_start,
        end: s.span.char_end,
        text: &s.text,
        kind: label(s.kind.map(SentenceType::name)),
        type_scores: types(s.type_scores.map(score), None),
        quotations: s.quotations.iter().map(quotation).collect(),
        speaker: s.speaker.as_ref().map(speaker),
        parties: s.parties.iter().map(sentiment).collect(),
    }
}

fn quotation(q: &Quotation) -> QuotationLine {
    let (start, end) = (q.span.char_start, q.span.char_end);
    QuotationLine {
        start,
        end,
        kind: q.kind.name(),
        running: q.running,
    }
}

fn speaker(s: &Speaker) -> SpeakerLine<'_> {
    SpeakerLine {
        text: &s.text,
        sentence: s.sentence,
        start: s.span.char_start,
        end: s.span.char_end,
        party: s.party.as_deref(),
        inherited: s.inherited,
    }
}

fn sentiment(p: &PartySentiment) -> SentimentLine<'_> {
    SentimentLine {
        party: &p.party,
        sentiment: label(p.sentiment.map(Sentiment::name)),
        scores: sentiments(p.scores.map(score), None),
        mentions: p.mentions.iter().map(mention).collect(),
    }
}

fn mention(m: &Mention) -> MentionLine<'_> {
    MentionLine {
        start: m.span.char_start,
        end: m.span.char_end,
        text: &m.text,
    }
}

fn party(p: &PartySummary) -> PartyLine<'_> {
    PartyLine {
        id: &p.id,
        name: &p.name,
        aliases: &p.aliases,
        mentions: p.mentions.len(),
        sentences: p.sentences,
        sentiment: sentiments(p.sentiment, Some(p.unspecified)),
    }
}
