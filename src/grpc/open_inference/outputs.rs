//! Answers as tensors. Articles differ in length, so rows of all articles stand one below the other, and row
//! splits say whose they are: the sentences of article `i` are the rows `sentence_splits[i]` up to
//! `sentence_splits[i + 1]`, and likewise its pairs of sentence and party.

use serde::Serialize;
use tonic::Status;

use super::batch::Answered;
use super::pb::ModelInferResponse;
use super::tensor::{self, Datatype, Elements};
use crate::answer::json::{self, Line};
use crate::answer::{PartySentiment, Sentence, SentenceType, Sentiment, Summary};

/// A tensor that can be asked for.
pub(super) struct Output {
    pub name: &'static str,
    pub datatype: Datatype,
    /// Values of a row; `None` where the tensor has one dimension.
    pub width: Option<usize>,
    read: fn(&[Piece<'_>]) -> Elements,
}

impl Output {
    /// Its shape, the number of rows left open.
    pub fn dims(&self) -> Vec<i64> {
        [-1].into_iter()
            .chain(self.width.map(|w| w as i64))
            .collect()
    }
}

/// An article's answer, or the part of it that one response holds.
pub(super) struct Piece<'a> {
    json: Vec<u8>,
    sentences: &'a [Sentence],
}

impl<'a> Piece<'a> {
    /// All of it.
    pub fn whole(answer: &'a Answered) -> Result<Self, Status> {
        let line = Line::new(&answer.id, &answer.sentences, &answer.summary);
        Ok(Self {
            json: written(&line)?,
            sentences: &answer.sentences,
        })
    }

    /// One sentence.
    pub fn sentence(sentence: &'a Sentence) -> Result<Self, Status> {
        Ok(Self {
            json: written(&json::one(sentence))?,
            sentences: std::slice::from_ref(sentence),
        })
    }

    /// What comes after the sentences.
    pub fn summary(id: &str, summary: &Summary) -> Result<Self, Status> {
        Ok(Self {
            json: written(&Line::summary(id, summary))?,
            sentences: &[],
        })
    }
}

fn written(value: &impl Serialize) -> Result<Vec<u8>, Status> {
    serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "an answer cannot be written as JSON");
        Status::internal("the answer cannot be written as JSON")
    })
}

/// All outputs, in the order in which they come if none is asked for by name.
pub(super) static OUTPUTS: [Output; 12] = [
    Output {
        name: "answer",
        datatype: Datatype::Bytes,
        width: None,
        read: |pieces| Elements::Bytes(pieces.iter().map(|piece| piece.json.clone()).collect()),
    },
    Output {
        name: "sentence_splits",
        datatype: Datatype::Int32,
        width: None,
        read: |pieces| splits(pieces.iter().map(|piece| piece.sentences.len())),
    },
    Output {
        name: "sentences",
        datatype: Datatype::Bytes,
        width: None,
        read: |pieces| bytes(sentences(pieces).map(|s| s.text.as_str())),
    },
    Output {
        name: "sentence_spans",
        datatype: Datatype::Int32,
        width: Some(2),
        read: |pieces| {
            let spans = sentences(pieces).map(|s| [s.span.char_start, s.span.char_end]);
            Elements::Int32(spans.flatten().map(int).collect())
        },
    },
    Output {
        name: "types",
        datatype: Datatype::Bytes,
        width: None,
        read: |pieces| bytes(sentences(pieces).map(|s| label(s.kind.map(SentenceType::name)))),
    },
    Output {
        name: "type_scores",
        datatype: Datatype::Fp32,
        width: Some(SentenceType::ALL.len()),
        read: |pieces| Elements::Fp32(sentences(pieces).flat_map(|s| s.type_scores).collect()),
    },
    Output {
        name: "pair_splits",
        datatype: Datatype::Int32,
        width: None,
        read: |pieces| {
            let pairs = |piece: &Piece<'_>| piece.sentences.iter().map(|s| s.parties.len()).sum();
            splits(pieces.iter().map(pairs))
        },
    },
    Output {
        name: "pair_sentences",
        datatype: Datatype::Int32,
        width: None,
        read: |pieces| Elements::Int32(pairs(pieces).map(|(row, _)| int(row)).collect()),
    },
    Output {
        name: "pair_parties",
        datatype: Datatype::Bytes,
        width: None,
        read: |pieces| bytes(pairs(pieces).map(|(_, pair)| pair.party.as_str())),
    },
    Output {
        name: "pair_names",
        datatype: Datatype::Bytes,
        width: None,
        read: |pieces| bytes(pairs(pieces).map(|(_, pair)| pair.name.as_str())),
    },
    Output {
        name: "sentiments",
        datatype: Datatype::Bytes,
        width: None,
        read: |pieces| {
            bytes(pairs(pieces).map(|(_, pair)| label(pair.sentiment.map(Sentiment::name))))
        },
    },
    Output {
        name: "sentiment_scores",
        datatype: Datatype::Fp32,
        width: Some(Sentiment::ALL.len()),
        read: |pieces| Elements::Fp32(pairs(pieces).flat_map(|(_, pair)| pair.scores).collect()),
    },
];

/// A response with the outputs asked for.
pub(super) fn response(
    head: ModelInferResponse,
    outputs: &[&Output],
    raw: bool,
    pieces: &[Piece<'_>],
) -> ModelInferResponse {
    let mut response = head;
    for output in outputs {
        let elements = (output.read)(pieces);
        let rows = elements.len() / output.width.unwrap_or(1);
        let mut shape = output.dims();
        shape[0] = rows as i64;
        let (tensor, raw) = tensor::write(output.name, shape, elements, raw);
        response.outputs.push(tensor);
        response.raw_output_contents.extend(raw);
    }
    response
}

/// Rows of all pieces.
fn sentences<'a>(pieces: &'a [Piece<'_>]) -> impl Iterator<Item = &'a Sentence> {
    pieces.iter().flat_map(|piece| piece.sentences)
}

/// The party judgements of all pieces, each with the row of its sentence.
fn pairs<'a>(pieces: &'a [Piece<'_>]) -> impl Iterator<Item = (usize, &'a PartySentiment)> {
    let rows = sentences(pieces).enumerate();
    rows.flat_map(|(row, sentence)| sentence.parties.iter().map(move |pair| (row, pair)))
}

/// Where each piece's rows begin, and at last where the rows end.
fn splits(counts: impl Iterator<Item = usize>) -> Elements {
    let ends = counts.scan(0, |sum, count| {
        *sum += count;
        Some(int(*sum))
    });
    Elements::Int32([0].into_iter().chain(ends).collect())
}

fn bytes<'a>(texts: impl Iterator<Item = &'a str>) -> Elements {
    Elements::Bytes(texts.map(|text| text.as_bytes().to_vec()).collect())
}

/// A label, or what stands in its place under the confidence asked for.
fn label(name: Option<&'static str>) -> &'static str {
    name.unwrap_or("unspecified")
}

/// Sizes are far under `i32::MAX` by the limits.
fn int(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
