//! Messages to articles, answers to messages. Converts and checks shape only; what an article may
//! hold is checked where articles are.

use std::time::Duration;

use super::pb;
use crate::answer;
use crate::article::{Article, Body, Invalid, Limits, Parties, Party, PartySpan, Reason};
use crate::model::Model;
use crate::model::config::FORMAT;
use crate::span;

/// A request's article and the least confidence asked for.
pub(super) fn request(
    article: Option<pb::Article>,
    options: Option<pb::ClassifyOptions>,
) -> Result<(Article, f32), Invalid> {
    let min_confidence = options.and_then(|o| o.min_confidence).unwrap_or_default();
    let missing = || Invalid::new("article", Reason::MissingText, "is missing");
    Ok((article.ok_or_else(missing)?.try_into()?, min_confidence))
}

/// Bytes of the text, or of all sentences; the headline is context and costs little.
pub(super) fn text_bytes(article: &pb::Article) -> usize {
    use pb::article::Content;
    match &article.content {
        Some(Content::Text(text)) => text.len(),
        Some(Content::Sentences(list)) => list.items.iter().map(String::len).sum(),
        None => 0,
    }
}

/// Converts; what an article may hold is for [`Article::check`] to say.
impl TryFrom<pb::Article> for Article {
    type Error = Invalid;

    fn try_from(article: pb::Article) -> Result<Self, Invalid> {
        let body = body(article.content)?;
        let parties = match article.parties {
            None => Parties::Detect,
            Some(list) => {
                let parties = list.items.into_iter().enumerate();
                Parties::Named(
                    parties
                        .map(|(i, p)| party(i, p))
                        .collect::<Result<_, _>>()?,
                )
            }
        };
        Ok(Self {
            id: article.id,
            headline: Some(article.headline).filter(|h| !h.is_empty()),
            body,
            parties,
        })
    }
}

fn body(content: Option<pb::article::Content>) -> Result<Body, Invalid> {
    use pb::article::Content;
    match content {
        Some(Content::Text(text)) => Ok(Body::Text(text)),
        Some(Content::Sentences(list)) => Ok(Body::Sentences(list.items)),
        None => {
            let problem = "is missing; send text or sentences";
            Err(Invalid::new("text", Reason::MissingText, problem))
        }
    }
}

fn party(index: usize, party: pb::Party) -> Result<Party, Invalid> {
    let spans = party.spans.into_iter().enumerate();
    let spans = spans.map(|(i, s)| party_span(&format!("parties[{index}].spans[{i}]"), s));
    Ok(Party {
        id: party.id,
        name: party.name,
        aliases: party.aliases,
        spans: spans.collect::<Result<_, _>>()?,
    })
}

fn party_span(field: &str, span: pb::PartySpan) -> Result<PartySpan, Invalid> {
    use pb::party_span::Offsets;
    let refuse = |problem: &str| Invalid::new(field, Reason::InvalidSpan, problem);
    let (unit, range) = match span.offsets {
        Some(Offsets::Bytes(range)) => (span::Unit::Byte, range),
        Some(Offsets::CodePoints(range)) => (span::Unit::CodePoint, range),
        Some(Offsets::Utf16Units(range)) => (span::Unit::Utf16, range),
        None => {
            return Err(refuse(
                "has no offsets; send bytes, code_points or utf16_units",
            ));
        }
    };
    let offset = |n: i32| usize::try_from(n).map_err(|_| refuse("has a negative offset"));
    let sentence = match span.sentence_index {
        None => None,
        Some(n) => Some(usize::try_from(n).map_err(|_| refuse("has a negative sentence index"))?),
    };
    Ok(PartySpan {
        sentence,
        start: offset(range.start)?,
        end: offset(range.end)?,
        unit,
    })
}

/// Sizes are far under `i32::MAX` by the limits; a larger one is told as the largest.
fn int(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

fn span(span: &span::Span) -> pb::Span {
    pb::Span {
        byte_start: int(span.byte_start),
        byte_end: int(span.byte_end),
        code_point_start: int(span.char_start),
        code_point_end: int(span.char_end),
        utf16_start: int(span.utf16_start),
        utf16_end: int(span.utf16_end),
    }
}

pub(super) fn sentence(s: answer::Sentence) -> pb::Sentence {
    let [quote, background, reaction, boilerplate, report] = s.type_scores;
    pb::Sentence {
        index: int(s.index),
        paragraph: int(s.paragraph),
        span: Some(span(&s.span)),
        text: s.text,
        r#type: s
            .kind
            .map_or(pb::SentenceType::Unspecified, sentence_type)
            .into(),
        type_scores: Some(pb::TypeScores {
            quote,
            background,
            reaction,
            boilerplate,
            report,
        }),
        quotations: s.quotations.iter().map(quotation).collect(),
        speaker: s.speaker.map(speaker),
        parties: s.parties.into_iter().map(party_sentiment).collect(),
    }
}

fn sentence_type(kind: answer::SentenceType) -> pb::SentenceType {
    match kind {
        answer::SentenceType::Quote => pb::SentenceType::Quote,
        answer::SentenceType::Background => pb::SentenceType::Background,
        answer::SentenceType::Reaction => pb::SentenceType::Reaction,
        answer::SentenceType::Boilerplate => pb::SentenceType::Boilerplate,
        answer::SentenceType::Report => pb::SentenceType::Report,
    }
}

fn quotation(q: &answer::Quotation) -> pb::Quotation {
    let kind = match q.kind {
        answer::QuotationKind::Direct => pb::QuotationKind::Direct,
        answer::QuotationKind::Indirect => pb::QuotationKind::Indirect,
        answer::QuotationKind::Mixed => pb::QuotationKind::Mixed,
    };
    pb::Quotation {
        span: Some(span(&q.span)),
        kind: kind.into(),
        running: q.running,
        opened_before: q.opened_before,
    }
}

fn speaker(s: answer::Speaker) -> pb::Speaker {
    pb::Speaker {
        text: s.text,
        sentence_index: int(s.sentence),
        span: Some(span(&s.span)),
        party_id: s.party,
        inherited: s.inherited,
    }
}

fn party_sentiment(p: answer::PartySentiment) -> pb::PartySentiment {
    let sentiment = match p.sentiment {
        None => pb::Sentiment::Unspecified,
        Some(answer::Sentiment::Negative) => pb::Sentiment::Negative,
        Some(answer::Sentiment::Neutral) => pb::Sentiment::Neutral,
        Some(answer::Sentiment::Positive) => pb::Sentiment::Positive,
    };
    let [negative, neutral, positive] = p.scores;
    let mention = |m: answer::Mention| pb::Mention {
        span: Some(span(&m.span)),
        text: m.text,
    };
    pb::PartySentiment {
        party_id: p.party,
        name: p.name,
        sentiment: sentiment.into(),
        scores: Some(pb::SentimentScores {
            negative,
            neutral,
            positive,
        }),
        mentions: p.mentions.into_iter().map(mention).collect(),
    }
}

pub(super) fn summary(s: answer::Summary) -> pb::Summary {
    let [quote, background, reaction, boilerplate, report] = s.types.map(int);
    let count = s.types.iter().sum::<usize>() + s.types_unspecified;
    let unspecified = int(s.types_unspecified);
    pb::Summary {
        model: Some(identity(&s.model)),
        sentence_count: int(count),
        type_counts: Some(pb::TypeCounts {
            quote,
            background,
            reaction,
            boilerplate,
            report,
            unspecified,
        }),
        parties: s.parties.into_iter().map(party_summary).collect(),
        detected_language: s.language.code,
        language_supported: s.language.supported,
        timings: Some(pb::Timings {
            queue: Some(duration(s.timings.queue)),
            tokenize: Some(duration(s.timings.tokenize)),
            encode: Some(duration(s.timings.encode)),
            total: Some(duration(s.timings.total)),
        }),
    }
}

fn party_summary(p: answer::PartySummary) -> pb::PartySummary {
    let [negative, neutral, positive] = p.sentiment.map(int);
    let location = |(sentence, m): &(usize, answer::Mention)| pb::MentionLocation {
        sentence_index: int(*sentence),
        span: Some(span(&m.span)),
    };
    pb::PartySummary {
        id: p.id,
        name: p.name,
        aliases: p.aliases,
        mention_count: int(p.mentions.len()),
        mentions: p.mentions.iter().map(location).collect(),
        sentence_count: int(p.sentences),
        sentiment_counts: Some(pb::SentimentCounts {
            negative,
            neutral,
            positive,
            unspecified: int(p.unspecified),
        }),
    }
}

fn duration(d: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: d.as_secs() as i64,
        nanos: d.subsec_nanos() as i32,
    }
}

fn identity(model: &answer::ModelIdentity) -> pb::ModelIdentity {
    pb::ModelIdentity {
        id: model.id.clone(),
        revision: model.revision.clone(),
        sha256: model.sha256.clone(),
    }
}

/// The answer to `GetModel`.
pub(super) fn model(model: &Model, limits: &Limits, request_bytes: usize) -> pb::GetModelResponse {
    let card = model.card();
    pb::GetModelResponse {
        model: Some(pb::Model {
            identity: Some(identity(model.identity())),
            format_version: FORMAT as i32,
            languages: vec![card.language_639_3().to_owned()],
            labels: Some(pb::ModelLabels {
                types: card.types.clone(),
                sentiments: card.sentiments.clone(),
                party_tags: card.tags.clone(),
                speaker_tags: card.tags.clone(),
            }),
            window_tokens: int(card.shape.window_tokens),
        }),
        limits: Some(pb::Limits {
            request_bytes: int(request_bytes),
            text_bytes: int(limits.text_bytes),
            headline_bytes: int(limits.headline_bytes),
            sentences: int(limits.sentences),
            parties: int(limits.parties),
            aliases: int(limits.aliases),
            spans: int(limits.spans),
            name_bytes: int(limits.name_bytes),
            mentions: int(limits.mentions),
        }),
        device: model.placement().to_string(),
        build: Some(pb::Build {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            git_commit: option_env!("COPYDESK_GIT_COMMIT")
                .unwrap_or_default()
                .to_owned(),
        }),
    }
}

/// An article as a request; the other way round from [`request`].
pub(super) fn to_request(article: &Article, min_confidence: f32) -> pb::ClassifyArticleRequest {
    use pb::article::Content;
    let content = match &article.body {
        Body::Text(text) => Content::Text(text.clone()),
        Body::Sentences(all) => Content::Sentences(pb::SentenceList { items: all.clone() }),
    };
    let parties = match &article.parties {
        Parties::Detect => None,
        Parties::Named(parties) => Some(pb::PartyList {
            items: parties.iter().map(to_party).collect(),
        }),
    };
    let article = pb::Article {
        id: article.id.clone(),
        headline: article.headline.clone().unwrap_or_default(),
        content: Some(content),
        parties,
    };
    let options = pb::ClassifyOptions {
        min_confidence: Some(min_confidence),
    };
    pb::ClassifyArticleRequest {
        article: Some(article),
        options: Some(options),
    }
}

fn to_party(party: &Party) -> pb::Party {
    use pb::party_span::Offsets;
    let span = |s: &PartySpan| {
        let range = pb::OffsetRange {
            start: int(s.start),
            end: int(s.end),
        };
        let offsets = match s.unit {
            span::Unit::Byte => Offsets::Bytes(range),
            span::Unit::CodePoint => Offsets::CodePoints(range),
            span::Unit::Utf16 => Offsets::Utf16Units(range),
        };
        pb::PartySpan {
            offsets: Some(offsets),
            sentence_index: s.sentence.map(int),
        }
    };
    pb::Party {
        id: party.id.clone(),
        name: party.name.clone(),
        aliases: party.aliases.clone(),
        spans: party.spans.iter().map(span).collect(),
    }
}

/// A server's message that does not hold what the contract says.
fn strange(what: &str) -> tonic::Status {
    tonic::Status::internal(format!("the server's answer has no {what}"))
}

fn size(n: i32) -> usize {
    usize::try_from(n).unwrap_or_default()
}

fn from_span(span: Option<pb::Span>) -> span::Span {
    let span = span.unwrap_or_default();
    span::Span {
        byte_start: size(span.byte_start),
        byte_end: size(span.byte_end),
        char_start: size(span.code_point_start),
        char_end: size(span.code_point_end),
        utf16_start: size(span.utf16_start),
        utf16_end: size(span.utf16_end),
    }
}

/// A sentence as the classifier gave it; the other way round from [`sentence`].
pub(super) fn from_sentence(s: pb::Sentence) -> Result<answer::Sentence, tonic::Status> {
    let kind = match s.r#type() {
        pb::SentenceType::Unspecified => None,
        pb::SentenceType::Quote => Some(answer::SentenceType::Quote),
        pb::SentenceType::Background => Some(answer::SentenceType::Background),
        pb::SentenceType::Reaction => Some(answer::SentenceType::Reaction),
        pb::SentenceType::Boilerplate => Some(answer::SentenceType::Boilerplate),
        pb::SentenceType::Report => Some(answer::SentenceType::Report),
    };
    let t = s.type_scores.ok_or_else(|| strange("type_scores"))?;
    Ok(answer::Sentence {
        index: size(s.index),
        paragraph: size(s.paragraph),
        span: from_span(s.span),
        text: s.text,
        kind,
        type_scores: [t.quote, t.background, t.reaction, t.boilerplate, t.report],
        quotations: s.quotations.into_iter().map(from_quotation).collect(),
        speaker: s.speaker.map(|p| answer::Speaker {
            text: p.text,
            sentence: size(p.sentence_index),
            span: from_span(p.span),
            party: p.party_id,
            inherited: p.inherited,
        }),
        parties: s
            .parties
            .into_iter()
            .map(from_party)
            .collect::<Result<_, _>>()?,
    })
}

fn from_quotation(q: pb::Quotation) -> answer::Quotation {
    let kind = match q.kind() {
        pb::QuotationKind::Indirect => answer::QuotationKind::Indirect,
        pb::QuotationKind::Mixed => answer::QuotationKind::Mixed,
        _ => answer::QuotationKind::Direct,
    };
    answer::Quotation {
        span: from_span(q.span),
        kind,
        running: q.running,
        opened_before: q.opened_before,
    }
}

fn from_party(p: pb::PartySentiment) -> Result<answer::PartySentiment, tonic::Status> {
    let sentiment = match p.sentiment() {
        pb::Sentiment::Unspecified => None,
        pb::Sentiment::Negative => Some(answer::Sentiment::Negative),
        pb::Sentiment::Neutral => Some(answer::Sentiment::Neutral),
        pb::Sentiment::Positive => Some(answer::Sentiment::Positive),
    };
    let scores = p.scores.ok_or_else(|| strange("scores"))?;
    let mention = |m: pb::Mention| answer::Mention {
        span: from_span(m.span),
        text: m.text,
    };
    Ok(answer::PartySentiment {
        party: p.party_id,
        name: p.name,
        sentiment,
        scores: [scores.negative, scores.neutral, scores.positive],
        mentions: p.mentions.into_iter().map(mention).collect(),
    })
}

/// A summary as the classifier gave it; the texts of its mentions come from their sentences.
pub(super) fn from_summary(
    s: pb::Summary,
    sentences: &[answer::Sentence],
) -> Result<answer::Summary, tonic::Status> {
    let model = s.model.ok_or_else(|| strange("model"))?;
    let t = s.type_counts.ok_or_else(|| strange("type_counts"))?;
    let timings = s.timings.unwrap_or_default();
    let parties = s
        .parties
        .into_iter()
        .map(|p| from_party_summary(p, sentences));
    Ok(answer::Summary {
        model: answer::ModelIdentity {
            id: model.id,
            revision: model.revision,
            sha256: model.sha256,
        },
        types: [t.quote, t.background, t.reaction, t.boilerplate, t.report].map(size),
        types_unspecified: size(t.unspecified),
        parties: parties.collect(),
        language: answer::Language {
            code: s.detected_language,
            supported: s.language_supported,
        },
        timings: answer::Timings {
            queue: from_duration(timings.queue),
            tokenize: from_duration(timings.tokenize),
            encode: from_duration(timings.encode),
            total: from_duration(timings.total),
        },
    })
}

fn from_party_summary(p: pb::PartySummary, sentences: &[answer::Sentence]) -> answer::PartySummary {
    let counts = p.sentiment_counts.unwrap_or_default();
    let mention = |m: pb::MentionLocation| {
        let (index, span) = (size(m.sentence_index), from_span(m.span));
        let judged = sentences.get(index).into_iter().flat_map(|s| &s.parties);
        let mut mentions = judged.flat_map(|j| &j.mentions);
        let text = mentions
            .find(|m| m.span == span)
            .map(|m| m.text.clone())
            .unwrap_or_default();
        (index, answer::Mention { span, text })
    };
    answer::PartySummary {
        id: p.id,
        name: p.name,
        aliases: p.aliases,
        mentions: p.mentions.into_iter().map(mention).collect(),
        sentences: size(p.sentence_count),
        sentiment: [counts.negative, counts.neutral, counts.positive].map(size),
        unspecified: size(counts.unspecified),
    }
}

fn from_duration(d: Option<prost_types::Duration>) -> Duration {
    d.and_then(|d| Duration::try_from(d).ok())
        .unwrap_or_default()
}
