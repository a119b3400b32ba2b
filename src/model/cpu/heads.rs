//! The heads: token states → logits. The same functions as `model::candle`'s, put so that
//! they cost next to nothing beside the encoder.

use std::ops::Range;

use copydesk_kernels::kernel::{Kernels, With};
use copydesk_kernels::lanes::{Lanes, Linear, Precision};

use super::encoder::{read, rounded};
use super::{Place, States};
use crate::encode::PLACE_BUCKETS;
use crate::model::LoadError;
use crate::model::network::{
    Asked, Mentions, TAG_HIDDEN, TARGET_HEADS, Tags, piece_ends, piece_of,
};
use crate::model::weights::{Table, Weights};

/// The heads' weights.
pub struct Heads {
    types: Types,
    tags: TagsHead,
    sentiment: Sentiment,
    hidden: usize,
}

struct Types {
    from_start: Table,
    from_end: Table,
    dense: Linear,
    out: Linear,
}

/// The party head and the speaker head side by side: O, B, I of one, then of the other. Every token passes the
/// first of its layers, so that one is computed as the encoder's are.
struct TagsHead {
    dense: Linear,
    out: Linear,
}

/// Attention of a mention over its sentence, without projecting the sentence's tokens: with
/// queries q, and keys and values W_k x + b_k and W_v x + b_v, the score of a token is
/// q · (W_k x + b_k) = (W_kᵀ q) · x + a constant, which softmax drops; and what is found is
/// Σ aₜ (W_v xₜ + b_v) = W_v (Σ aₜ xₜ) + b_v, since Σ aₜ = 1. So projections are paid for once a
/// mention and not once a token.
struct Sentiment {
    query: Linear,
    /// W_kᵀ of each attention head, \[hidden, width\].
    back: Vec<Linear>,
    /// W_v and b_v of each attention head, \[width, hidden\].
    value: Vec<Linear>,
    dense: Linear,
    out: Linear,
}

impl Heads {
    /// Reads and lays out the weights.
    ///
    /// # Errors
    ///
    /// Names the tensor that is missing or has another shape.
    pub fn load(
        weights: &Weights<'_>,
        hidden: usize,
        precision: Precision,
    ) -> Result<Self, LoadError> {
        let rows = PLACE_BUCKETS.len() + 1;
        let place = |name: &str| {
            weights.table(
                &format!("heads.sentence_type.{name}.weight"),
                [rows, hidden],
            )
        };
        Ok(Self {
            types: Types {
                from_start: place("from_start")?,
                from_end: place("from_end")?,
                dense: read(
                    weights,
                    "heads.sentence_type.dense",
                    [hidden, hidden],
                    Precision::F32,
                )?,
                out: read(
                    weights,
                    "heads.sentence_type.out",
                    [hidden, 5],
                    Precision::F32,
                )?,
            },
            tags: TagsHead::load(weights, hidden, precision)?,
            sentiment: Sentiment::load(weights, hidden)?,
            hidden,
        })
    }

    /// See [`crate::model::network::Network::types`].
    pub fn types(&self, kernels: Kernels, states: &States, asked: &[Asked<'_>]) -> Vec<[f32; 5]> {
        let mut x = Lanes::default();
        x.resize(self.hidden, asked.len());
        for (n, asked) in asked.iter().enumerate() {
            let mut mean = self.mean(states, asked);
            let [from_start, from_end] = asked.sentence.places;
            self.types.from_start.add(from_start as usize, &mut mean);
            self.types.from_end.add(from_end as usize, &mut mean);
            x.set(n, &mean);
        }
        let logits = two_layers(kernels, &self.types.dense, &self.types.out, &x);
        (0..asked.len()).map(|n| logits.column(n)).collect()
    }

    /// See [`crate::model::network::Network::tags`].
    pub fn tags(&self, kernels: Kernels, states: &States, asked: &[Asked<'_>]) -> Vec<Tags> {
        let TagsHead { dense, out } = &self.tags;
        let mut buffer = Lanes::default();
        let logits: Vec<Lanes> = states
            .parts
            .iter()
            .map(|tokens| {
                let tokens = rounded(kernels, tokens, dense.precision(), &mut buffer);
                two_layers(kernels, dense, out, tokens)
            })
            .collect();
        let tags = |asked: &Asked<'_>| {
            let ends = piece_ends(asked.sentence);
            let words = asked.sentence.tokens.words.iter();
            let rows = words.map(|&word| {
                let (piece, range) = piece_of(&ends, &(word..word));
                let place = states.piece(asked, piece);
                let [a, b, c, d, e, f] =
                    logits[place.part].column(place.token + word - range.start);
                ([a, b, c], [d, e, f])
            });
            rows.unzip()
        };
        asked.iter().map(tags).collect()
    }

    /// See [`crate::model::network::Network::sentiments`].
    pub fn sentiments(
        &self,
        kernels: Kernels,
        states: &States,
        asked: &[Asked<'_>],
        mentions: &[Mentions],
    ) -> Vec<[f32; 3]> {
        let count = mentions.iter().map(Vec::len).sum();
        if count == 0 {
            return Vec::new();
        }
        // [mention, what it found, mean of the sentence], below one another.
        let mut looked = Lanes::default();
        looked.resize(3 * self.hidden, count);
        let mut vectors = Lanes::default();
        vectors.resize(self.hidden, count);
        let mut means = Lanes::default();
        means.resize(self.hidden, count);
        // Where each mention looks.
        let mut views = Vec::with_capacity(count);
        let pairs = asked.iter().zip(mentions);
        for (asked, mentions) in pairs.filter(|(_, mentions)| !mentions.is_empty()) {
            let ends = piece_ends(asked.sentence);
            let mean = self.mean(states, asked);
            for mention in mentions {
                let (piece, range) = piece_of(&ends, mention);
                let place = states.piece(asked, piece);
                let n = views.len();
                means.set(n, &mean);
                if mention.is_empty() {
                    vectors.set(n, &mean);
                } else {
                    vectors.set(n, &self.mention(states, asked, &ends, mention));
                }
                views.push((place, range.len()));
            }
        }
        let found = self
            .sentiment
            .find(kernels, states, &vectors, &views, self.hidden);
        looked.put(0, &vectors, 0..self.hidden);
        looked.put(self.hidden, &found, 0..self.hidden);
        looked.put(2 * self.hidden, &means, 0..self.hidden);
        let logits = two_layers(kernels, &self.sentiment.dense, &self.sentiment.out, &looked);
        (0..count).map(|n| logits.column(n)).collect()
    }

    /// The mean state of a sentence, \[hidden\].
    fn mean(&self, states: &States, asked: &Asked<'_>) -> Vec<f32> {
        let mut sum = vec![0.0; self.hidden];
        let mut count = 0;
        for (piece, (_, tokens)) in asked.sentence.pieces.iter().enumerate() {
            let Place { part, token } = states.piece(asked, piece);
            // One without tokens (a lone control character) is read off the `[SEP]` behind it.
            let len = tokens.len().max(1);
            states.parts[part].add_sum(token..token + len, &mut sum);
            count += len;
        }
        divide(&mut sum, count);
        sum
    }

    /// The mean state of a mention's tokens, \[hidden\].
    fn mention(
        &self,
        states: &States,
        asked: &Asked<'_>,
        ends: &[usize],
        mention: &Range<usize>,
    ) -> Vec<f32> {
        let mut sum = vec![0.0; self.hidden];
        let mut at = mention.start;
        while at < mention.end {
            let (piece, range) = piece_of(ends, &(at..at));
            let Place { part, token } = states.piece(asked, piece);
            let end = mention.end.min(range.end).max(at + 1);
            let first = token + at - range.start;
            states.parts[part].add_sum(first..first + end - at, &mut sum);
            at = end;
        }
        divide(&mut sum, mention.len());
        sum
    }
}

fn divide(sum: &mut [f32], count: usize) {
    let inverse = 1.0 / count.max(1) as f32;
    for value in sum {
        *value *= inverse;
    }
}

/// A dense layer, gelu, and the layer that gives logits.
fn two_layers(kernels: Kernels, dense: &Linear, out: &Linear, x: &Lanes) -> Lanes {
    let mut middle = Lanes::default();
    kernels.linear(dense, x, With::Gelu, &mut middle);
    let mut logits = Lanes::default();
    kernels.linear(out, &middle, With::Bias, &mut logits);
    logits
}

impl States {
    /// Where a piece of a sentence begins.
    fn piece(&self, asked: &Asked<'_>, piece: usize) -> Place {
        let (sequence, tokens) = &asked.sentence.pieces[piece];
        let Place { part, token } = self.windows[asked.window][*sequence];
        Place {
            part,
            token: token + tokens.start,
        }
    }
}

impl TagsHead {
    fn load(weights: &Weights<'_>, hidden: usize, precision: Precision) -> Result<Self, LoadError> {
        let (mut dense, mut dense_bias) = (Vec::new(), Vec::new());
        let (mut out, mut out_bias) = (Vec::new(), Vec::new());
        for (side, name) in ["party", "speaker"].into_iter().enumerate() {
            let get = |layer: &str, kind: &str, shape: &[usize]| {
                weights.get(&format!("heads.{name}.{layer}.{kind}"), shape)
            };
            dense.extend(get("dense", "weight", &[TAG_HIDDEN, hidden])?);
            dense_bias.extend(get("dense", "bias", &[TAG_HIDDEN])?);
            out_bias.extend(get("out", "bias", &[3])?);
            // Each reads its own half of the dense layer.
            for row in get("out", "weight", &[3, TAG_HIDDEN])?.chunks(TAG_HIDDEN) {
                let mut both = [0.0; 2 * TAG_HIDDEN];
                both[side * TAG_HIDDEN..][..TAG_HIDDEN].copy_from_slice(row);
                out.extend(both);
            }
        }
        Ok(Self {
            dense: Linear::with(&dense, &dense_bias, precision),
            out: Linear::new(&out, &out_bias),
        })
    }
}

impl Sentiment {
    fn load(weights: &Weights<'_>, hidden: usize) -> Result<Self, LoadError> {
        let width = hidden / TARGET_HEADS;
        let name = |layer: &str| format!("heads.sentiment.{layer}");
        let key = weights.get(&name("key.weight"), &[hidden, hidden])?;
        // Adds the same to every score, so softmax drops it; it must be there all the same.
        weights.get(&name("key.bias"), &[hidden])?;
        let value = weights.get(&name("value.weight"), &[hidden, hidden])?;
        let value_bias = weights.get(&name("value.bias"), &[hidden])?;
        let back = |rows: &[f32]| {
            let transposed: Vec<f32> = (0..hidden)
                .flat_map(|column| rows.iter().skip(column).step_by(hidden).copied())
                .collect();
            Linear::new(&transposed, &vec![0.0; hidden])
        };
        let values = value.chunks(width * hidden).zip(value_bias.chunks(width));
        Ok(Self {
            query: read(weights, &name("query"), [hidden, hidden], Precision::F32)?,
            back: key.chunks(width * hidden).map(back).collect(),
            value: values.map(|(w, b)| Linear::new(w, b)).collect(),
            dense: read(
                weights,
                &name("dense"),
                [3 * hidden, hidden],
                Precision::F32,
            )?,
            out: read(weights, &name("out"), [hidden, 3], Precision::F32)?,
        })
    }

    /// What mentions \[hidden, mentions\] find where they look, \[hidden, mentions\].
    fn find(
        &self,
        kernels: Kernels,
        states: &States,
        mentions: &Lanes,
        views: &[(Place, usize)],
        hidden: usize,
    ) -> Lanes {
        let width = hidden / TARGET_HEADS;
        let scale = 1.0 / (width as f32).sqrt();
        let [
            mut queries,
            mut query,
            mut back,
            mut seen,
            mut value,
            mut found,
        ] = std::array::from_fn(|_| Lanes::default());
        kernels.linear(&self.query, mentions, With::Bias, &mut queries);
        found.resize(hidden, mentions.tokens());
        query.resize(width, mentions.tokens());
        seen.resize(hidden, mentions.tokens());
        let (mut toward, mut weighted) = (vec![0.0; hidden], vec![0.0; hidden]);
        let mut scores = Vec::new();
        for head in 0..TARGET_HEADS {
            let features = head * width..(head + 1) * width;
            query.put(0, &queries, features.clone());
            kernels.linear(&self.back[head], &query, With::Bias, &mut back);
            for (n, (place, len)) in views.iter().enumerate() {
                let tokens = &states.parts[place.part];
                back.get(n, &mut toward);
                scores.clear();
                scores.resize(*len, 0.0);
                tokens.add_scores(place.token, &toward, &mut scores);
                softmax(&mut scores, scale);
                weighted.fill(0.0);
                tokens.add_weighted(place.token, &scores, &mut weighted);
                seen.set(n, &weighted);
            }
            kernels.linear(&self.value[head], &seen, With::Bias, &mut value);
            found.put(features.start, &value, 0..width);
        }
        found
    }
}

fn softmax(scores: &mut [f32], scale: f32) {
    let largest = scores.iter().copied().fold(f32::MIN, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = ((*score - largest) * scale).exp();
        sum += *score;
    }
    for score in scores {
        *score /= sum;
    }
}
