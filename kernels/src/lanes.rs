//! How the CPU encoder lays its numbers out: tokens side by side in the lanes of a vector register,
//! features below one another. A product's result is then the next product's operand as it is, and
//! sums over features (LayerNorm) or keys (softmax) never cross lanes.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use pulp::{Simd, WithSimd};

use super::kernel::Kernels;
use super::tiles::Tile;
use super::{bfloat, integers};

/// Tokens of a block: three AVX-512 registers, six of AVX2, twelve of NEON.
pub const BLOCK: usize = 48;

/// Features that one tile of a product computes at a time, by how many registers there are. A tile
/// keeps its sums in registers, three vectors of tokens of each feature where there are 32, else two:
/// 8 × 3 or 6 × 2 sums, the tokens' vectors, and one more for the feature's factor. (With 16 registers,
/// 4 × 3 sums have none to spare, and one that is spilt halves the speed; 4 × 2 are as few as two
/// multiplications a cycle that take four cycles each keep busy, and slower by a tenth to a sixth.)
pub const fn panel(registers: usize) -> usize {
    if registers >= 32 { WIDE } else { NARROW }
}

/// A panel where there are 32 registers or more.
pub const WIDE: usize = 8;
/// A panel where there are fewer.
pub const NARROW: usize = 6;

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

    /// All features of a token, as many as there are.
    pub fn column<const N: usize>(&self, token: usize) -> [f32; N] {
        let mut values = [0.0; N];
        self.get(token, &mut values);
        values
    }

    /// Adds, feature by feature, the sum over tokens.
    pub fn add_sum(&self, tokens: Range<usize>, sums: &mut [f32]) {
        self.runs(tokens.start, tokens.len(), |block, lanes, _| {
            for (sum, row) in sums.iter_mut().zip(self.block(block)) {
                for value in &row.0[lanes.clone()] {
                    *sum += value;
                }
            }
        });
    }

    /// Adds to each token's score its product with `toward` \[features\].
    pub fn add_scores(&self, first: usize, toward: &[f32], scores: &mut [f32]) {
        self.runs(first, scores.len(), |block, lanes, done| {
            let scores = &mut scores[done..done + lanes.len()];
            for (factor, row) in toward.iter().zip(self.block(block)) {
                for (score, value) in scores.iter_mut().zip(&row.0[lanes.clone()]) {
                    *score += factor * value;
                }
            }
        });
    }

    /// Adds, feature by feature, the sum over tokens by their weights.
    pub fn add_weighted(&self, first: usize, weights: &[f32], sums: &mut [f32]) {
        self.runs(first, weights.len(), |block, lanes, done| {
            let weights = &weights[done..done + lanes.len()];
            for (sum, row) in sums.iter_mut().zip(self.block(block)) {
                for (weight, value) in weights.iter().zip(&row.0[lanes.clone()]) {
                    *sum += weight * value;
                }
            }
        });
    }

    /// Walks tokens run by run, a run being what lies in one block: its number, its lanes, and how
    /// many tokens came before.
    fn runs(&self, first: usize, count: usize, mut run: impl FnMut(usize, Range<usize>, usize)) {
        let mut done = 0;
        while done < count {
            let (block, lane) = ((first + done) / BLOCK, (first + done) % BLOCK);
            let len = (BLOCK - lane).min(count - done);
            run(block, lane..lane + len, done);
            done += len;
        }
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

/// What numbers the products multiply. Those of 16 bits come in pairs of features, the first in the low
/// half of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// f32.
    F32,
    /// bfloat16, rounded to nearest; sums are f32.
    Bf16,
    /// Integers of 16 bits, each token by a scale of its own and each output of a layer by another; sums
    /// are integers of 32 bits and lose nothing. See [`Linear`].
    Int16,
}

/// The weights of a linear layer, laid out once for an instruction set: panels of as many output
/// features as a tile takes (see [`panel`]), each \[rows, features\], and the bias. A row is an input,
/// or a pair of inputs.
///
/// As integers the weights of an output are as large as they can be without a sum of theirs leaving 32
/// bits, whatever the token: see `integers`.
pub struct Linear {
    panels: Vec<f32>,
    /// In place of the panels, where the machine has tiles and they fit.
    tiles: Vec<Tile>,
    /// Of each output, what its weights as integers are multiples of; nothing in other precisions.
    steps: Vec<f32>,
    bias: Vec<f32>,
    inputs: usize,
    width: usize,
    precision: Precision,
}

/// Asks an instruction set how wide its panels are.
struct Width;

impl WithSimd for Width {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        panel(S::REGISTER_COUNT)
    }
}

impl Linear {
    /// Of f32, from `weight` \[outputs, inputs\], row by row, and `bias` \[outputs\], for this machine.
    pub fn new(weight: &[f32], bias: &[f32]) -> Self {
        Self::with(weight, bias, Precision::F32)
    }

    /// The same, in this precision.
    pub fn with(weight: &[f32], bias: &[f32], precision: Precision) -> Self {
        Self::laid_out(weight, bias, precision, Kernels::new())
    }

    /// The same, for the kernels of an instruction set.
    pub fn laid_out(weight: &[f32], bias: &[f32], precision: Precision, kernels: Kernels) -> Self {
        let width = kernels.arch().dispatch(Width);
        let outputs = bias.len();
        let inputs = weight.len() / outputs.max(1);
        if let (Precision::Bf16, Some(tiles)) = (precision, kernels.tiles())
            && let Some(tiles) = tiles.laid_out(weight, inputs, outputs)
        {
            return Self {
                panels: Vec::new(),
                tiles,
                steps: Vec::new(),
                bias: bias.to_vec(),
                inputs,
                width,
                precision,
            };
        }
        let at = |output: usize, input: usize| {
            let inside = output < outputs && input < inputs;
            if inside {
                weight[output * inputs + input]
            } else {
                0.0
            }
        };
        let rows = precision.rows(inputs);
        let steps: Vec<f32> = match precision {
            Precision::Int16 => weight.chunks(inputs.max(1)).map(integers::step).collect(),
            Precision::F32 | Precision::Bf16 => Vec::new(),
        };
        let mut panels = Vec::with_capacity(outputs.next_multiple_of(width) * rows);
        for first in (0..outputs).step_by(width) {
            for row in 0..rows {
                panels.extend((first..first + width).map(|output| match precision {
                    Precision::F32 => at(output, row),
                    Precision::Bf16 => bfloat::pair(at(output, 2 * row), at(output, 2 * row + 1)),
                    Precision::Int16 => {
                        let step = steps.get(output).copied().unwrap_or(1.0);
                        integers::pair(at(output, 2 * row), at(output, 2 * row + 1), step)
                    }
                }));
            }
        }
        Self {
            panels,
            tiles: Vec::new(),
            steps,
            bias: bias.to_vec(),
            inputs,
            width,
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

    /// \[outputs\] as integers, else nothing.
    pub(super) fn steps(&self) -> &[f32] {
        &self.steps
    }

    /// Its weights as tiles, if they are laid out so.
    pub(super) fn tiles(&self) -> Option<&[Tile]> {
        (!self.tiles.is_empty()).then_some(&self.tiles)
    }

    /// Inputs, or pairs of them: the rows of a panel.
    pub fn rows(&self) -> usize {
        self.precision.rows(self.inputs)
    }

    /// One panel: \[rows\] of P outputs.
    ///
    /// # Panics
    ///
    /// When the layer was laid out for panels of another width.
    pub fn panel<const P: usize>(&self, index: usize) -> &[[f32; P]] {
        assert_eq!(P, self.width, "laid out for another instruction set");
        let size = self.rows() * P;
        self.panels[index * size..][..size].as_chunks().0
    }
}

impl Precision {
    /// Rows that so many features take.
    pub fn rows(self, features: usize) -> usize {
        match self {
            Self::F32 => features,
            Self::Bf16 | Self::Int16 => features.div_ceil(2),
        }
    }
}
