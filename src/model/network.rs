//! What a network must do, wherever it runs: encode windows, then read heads off the token states.

use std::ops::Range;

use super::RunError;
use crate::encode::{Answered, Window};

/// A sentence of a batch.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The number of its window in the batch.
    pub window: usize,
    /// What is known of it.
    pub sentence: &'a Answered,
}

/// Width of the tag heads.
pub const TAG_HIDDEN: usize = 128;
/// Attention heads of the sentiment head.
pub const TARGET_HEADS: usize = 6;

/// O, B, I of every word of a sentence, for parties and for the speaker.
pub type Tags = (Vec<[f32; 3]>, Vec<[f32; 3]>);

/// The mentions of a sentence, in tokens of it.
pub type Mentions = Vec<Range<usize>>;

/// An encoder with its heads.
pub trait Network {
    /// Token states of a batch of windows.
    type States;

    /// Token states of every sequence of every window.
    fn encode(&self, windows: &[&Window]) -> Result<Self::States, RunError>;

    /// Type logits, one row a sentence.
    fn types(&self, states: &Self::States, asked: &[Asked<'_>]) -> Result<Vec<[f32; 5]>, RunError>;

    /// Party and speaker logits of every sentence's words.
    fn tags(&self, states: &Self::States, asked: &[Asked<'_>]) -> Result<Vec<Tags>, RunError>;

    /// Sentiment logits of all mentions, sentence by sentence; `mentions` has one entry a sentence.
    /// A mention attends over the piece of the sentence that it begins in, so that the cost of a
    /// huge sentence stays linear. One without tokens is judged by the sentence's mean.
    fn sentiments(
        &self,
        states: &Self::States,
        asked: &[Asked<'_>],
        mentions: &[Mentions],
    ) -> Result<Vec<[f32; 3]>, RunError>;
}

/// Where each piece of a sentence ends, in its tokens. A piece without tokens counts for the one
/// state that it is read off.
pub fn piece_ends(sentence: &Answered) -> Vec<usize> {
    let mut end = 0;
    let next = |(_, tokens): &(usize, Range<usize>)| {
        end += tokens.len().max(1);
        end
    };
    sentence.pieces.iter().map(next).collect()
}

/// The piece that a mention begins in: its number, and its range of the sentence's tokens.
pub fn piece_of(ends: &[usize], mention: &Range<usize>) -> (usize, Range<usize>) {
    let piece = ends.partition_point(|&end| end <= mention.start);
    let piece = piece.min(ends.len().saturating_sub(1));
    let start = piece.checked_sub(1).map_or(0, |before| ends[before]);
    (piece, start..ends.get(piece).copied().unwrap_or(start))
}
