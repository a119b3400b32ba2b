//! How the CPU encoder lays its numbers out: tokens side by side in the lanes of a vector register,
//! features below one another. A product's result is then the next product's operand as it is, and
//! sums over features (LayerNorm) or keys (softmax) never cross lanes.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

/// Tokens of a block: three AVX-512 registers, six of AVX2, twelve of NEON.
pub const BLOCK: usize = 48;

/// Features that one tile of a product computes at a time.
pub const PANEL: usize = 8;

/// One feature of the tokens of a block.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Row(pub [f32; BLOCK]);

/// A matrix of \[features, tokens\] in blocks of [`BLOCK`] tokens; lanes past the last token hold
/// anything, and nothing reads across lanes.
#[derive(Default)]
pub struct Lanes {
    rows: Vec<Row>,
    features: usize,
    tokens: usize,
}

impl Lanes {
    /// Takes this size on, keeping the allocation. What it then holds is left over from before.
    pub fn resize(&mut self, features: usize, tokens: usize) {
        self.features = features;
        self.tokens = tokens;
        let rows = features * tokens.div_ceil(BLOCK);
        // Never shrinks, so that rows are zeroed once and not every time.
        if rows > self.rows.len() {
            self.rows.resize(rows, Row::zeroed());
        }
    }

    /// How many features.
    pub fn features(&self) -> usize {
        self.features
    }

    /// How many tokens.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The blocks, each of all features, and how many of their tokens are in use.
    pub fn blocks(&self) -> impl Iterator<Item = (&[Row], usize)> {
        let used = |b: usize| BLOCK.min(self.tokens - b * BLOCK);
        self.rows
            .chunks_exact(self.features.max(1))
            .take(self.tokens.div_ceil(BLOCK))
            .enumerate()
            .map(move |(b, rows)| (rows, used(b)))
    }

    /// The blocks, to write to.
    pub fn blocks_mut(&mut self) -> impl Iterator<Item = (&mut [Row], usize)> {
        let tokens = self.tokens;
        self.rows
            .chunks_exact_mut(self.features.max(1))
            .take(tokens.div_ceil(BLOCK))
            .enumerate()
            .map(move |(b, rows)| (rows, BLOCK.min(tokens - b * BLOCK)))
    }

    /// One block: \[features\] rows.
    pub fn block(&self, index: usize) -> &[Row] {
        &self.rows[index * self.features..][..self.features]
    }

    /// One block, to write to.
    pub fn block_mut(&mut self, index: usize) -> &mut [Row] {
        &mut self.rows[index * self.features..][..self.features]
    }

    /// Sets all features of a token.
    pub fn set(&mut self, token: usize, values: &[f32]) {
        let lane = token % BLOCK;
        let rows = self.block_mut(token / BLOCK);
        for (row, value) in rows.iter_mut().zip(values) {
            row.0[lane] = *value;
        }
    }

    /// Reads all features of a token.
    pub fn get(&self, token: usize, values: &mut [f32]) {
        let lane = token % BLOCK;
        for (value, row) in values.iter_mut().zip(self.block(token / BLOCK)) {
            *value = row.0[lane];
        }
    }

    /// Copies features `from` of all tokens of `other` to the features from `first` on.
    pub fn put(&mut self, first: usize, other: &Self, from: Range<usize>) {
        for (target, (source, _)) in self.blocks_mut().map(|(t, _)| t).zip(other.blocks()) {
            target[first..first + from.len()].copy_from_slice(&source[from.clone()]);
        }
    }

    /// Copies tokens `start..start + tokens` of `other` to the front of this.
    pub fn copy_from(&mut self, other: &Self, start: usize, tokens: usize) {
        self.resize(other.features, tokens);
        self.copy(other, start, 0, tokens);
    }

    /// Copies all tokens of `other` to `start` of this.
    pub fn copy_to(&mut self, other: &Self, start: usize) {
        self.copy(other, 0, start, other.tokens);
    }

    /// Copies `tokens` tokens run by run, a run being what lies within one block on both sides.
    fn copy(&mut self, other: &Self, from: usize, to: usize, tokens: usize) {
        let mut done = 0;
        while done < tokens {
            let (source, target) = (from + done, to + done);
            let (s, t) = (source % BLOCK, target % BLOCK);
            let run = (BLOCK - s.max(t)).min(tokens - done);
            let source = other.block(source / BLOCK);
            let target = self.block_mut(target / BLOCK);
            for (target, source) in target.iter_mut().zip(source) {
                target.0[t..t + run].copy_from_slice(&source.0[s..s + run]);
            }
            done += run;
        }
    }
}

/// What numbers the products multiply; sums are f32 in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// f32.
    Single,
    /// bfloat16, rounded to nearest, in pairs of features: the first in the low half of a lane.
    Pairs,
}

/// The weights of a linear layer, laid out once: panels of [`PANEL`] output features, each
/// \[rows, PANEL\], and the bias. A row is an input, or a pair of inputs.
pub struct Linear {
    panels: Vec<[f32; PANEL]>,
    bias: Vec<f32>,
    inputs: usize,
    precision: Precision,
}

impl Linear {
    /// Of f32, from `weight` \[outputs, inputs\], row by row, and `bias` \[outputs\].
    pub fn new(weight: &[f32], bias: &[f32]) -> Self {
        Self::with(weight, bias, Precision::Single)
    }

    /// The same, in this precision.
    pub fn with(weight: &[f32], bias: &[f32], precision: Precision) -> Self {
        let outputs = bias.len();
        let inputs = weight.len() / outputs.max(1);
        let at = |output: usize, input: usize| {
            let inside = output < outputs && input < inputs;
            if inside {
                weight[output * inputs + input]
            } else {
                0.0
            }
        };
        let mut panels = Vec::with_capacity(outputs.div_ceil(PANEL) * precision.rows(inputs));
        for first in (0..outputs).step_by(PANEL) {
            for row in 0..precision.rows(inputs) {
                panels.push(std::array::from_fn(|i| match precision {
                    Precision::Single => at(first + i, row),
                    Precision::Pairs => pair(at(first + i, 2 * row), at(first + i, 2 * row + 1)),
                }));
            }
        }
        Self {
            panels,
            bias: bias.to_vec(),
            inputs,
            precision,
        }
    }

    /// Width in.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Width out.
    pub fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// Of what its products are.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// \[outputs\].
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// One panel: \[rows\] of [`PANEL`] outputs.
    pub fn panel(&self, index: usize) -> &[[f32; PANEL]] {
        let rows = self.precision.rows(self.inputs);
        &self.panels[index * rows..][..rows]
    }
}

impl Precision {
    /// Rows that so many features take.
    pub fn rows(self, features: usize) -> usize {
        match self {
            Self::Single => features,
            Self::Pairs => features.div_ceil(2),
        }
    }
}

/// Two numbers as bfloat16, rounded to nearest, ties to even, in the bits of one lane.
#[inline(always)]
pub(super) fn pair(low: f32, high: f32) -> f32 {
    let rounded = |x: f32| {
        let bits = x.to_bits();
        bits.wrapping_add(0x7fff + (bits >> 16 & 1))
    };
    f32::from_bits(rounded(low) >> 16 | rounded(high) & 0xffff_0000)
}
