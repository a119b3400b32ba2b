//! Linear layers by tiles.

#![expect(
    clippy::needless_range_loop,
    reason = "counted loops of constant length are what becomes registers"
)]

use std::ops::Range;

use bytemuck::Zeroable;
use pulp::Simd;
use pulp::x86::V4;

use super::functions::gelu;
use super::{DEPTH, SIDE, Sums, TALL, Tile, Tiles};
use crate::bfloat::pair;
use crate::kernel::{NEAR, Outputs, Sums as _, vector, vector_mut};
use crate::lanes::{Lanes, Linear};
use crate::native::{Native, Work};

/// Outputs of a group of tiles.
const GROUP: usize = TALL * SIDE;

/// Weights in groups of [`TALL`] tiles of outputs, each step after step: \[groups, steps, tiles\].
pub(super) fn laid_out(weight: &[f32], inputs: usize, outputs: usize) -> Vec<Tile> {
    let at = |output: usize, input: usize| match output < outputs {
        true => weight[output * inputs + input],
        false => 0.0,
    };
    let mut tiles = Vec::new();
    for first in (0..outputs).step_by(GROUP) {
        for input in (0..inputs).step_by(DEPTH) {
            for output in (first..first + GROUP).step_by(SIDE) {
                let mut tile = Tile::zeroed();
                for (i, row) in tile.0.iter_mut().enumerate() {
                    for (p, pairs) in row.iter_mut().enumerate() {
                        let input = input + 2 * p;
                        *pairs = pair(at(output + i, input), at(output + i, input + 1));
                    }
                }
                tiles.push(tile);
            }
        }
    }
    tiles
}

/// A linear layer whose weights are tiles; `x` in pairs.
pub(super) struct Product<'a, F> {
    pub tiles: Tiles,
    pub weights: &'a [Tile],
    pub layer: &'a Linear,
    pub x: &'a Lanes,
    pub finish: F,
}

/// What becomes of the sums of a group.
pub(super) trait Finish {
    /// Takes those of N · 16 tokens of a block, of these outputs.
    fn finish<const N: usize>(
        &mut self,
        native: Native,
        block: usize,
        outputs: Range<usize>,
        sums: &Sums,
    );
}

impl<F: Finish> Work for Product<'_, F> {
    /// As many weights at a time as stay near while all tokens pass by.
    #[inline(always)]
    fn run(mut self, native: Native) {
        let ready = self.tiles.ready();
        let mut sums: Sums = Zeroable::zeroed();
        let group = self.layer.inputs() / DEPTH * TALL;
        let near = (NEAR / (group * size_of::<Tile>())).max(1);
        for (n, weights) in self.weights.chunks(near * group).enumerate() {
            for (block, (x, used)) in self.x.blocks().enumerate() {
                for (g, weights) in weights.chunks(group).enumerate() {
                    let first = (n * near + g) * GROUP;
                    let outputs = first..(first + GROUP).min(self.layer.outputs());
                    match used.div_ceil(SIDE) {
                        1 => {
                            ready.multiply::<1>(weights, x, &mut sums);
                            self.finish.finish::<1>(native, block, outputs, &sums);
                        }
                        2 => {
                            ready.multiply::<2>(weights, x, &mut sums);
                            self.finish.finish::<2>(native, block, outputs, &sums);
                        }
                        _ => {
                            ready.multiply::<3>(weights, x, &mut sums);
                            self.finish.finish::<3>(native, block, outputs, &sums);
                        }
                    }
                }
            }
        }
    }
}

/// To f32.
pub(super) struct Single<'a, const ACT: bool> {
    pub layer: &'a Linear,
    pub residual: Option<&'a Lanes>,
    pub out: &'a mut Lanes,
}

impl<const ACT: bool> Finish for Single<'_, ACT> {
    #[inline(always)]
    fn finish<const N: usize>(
        &mut self,
        native: Native,
        block: usize,
        outputs: Range<usize>,
        sums: &Sums,
    ) {
        let v4 = native.simd();
        let mut outputs = Outputs::<ACT> {
            begins: true,
            ends: true,
            bias: &self.layer.bias()[outputs.clone()],
            residual: self.residual.map(|r| &r.block(block)[outputs.clone()]),
            scales: None,
            out: &mut self.out.block_mut(block)[outputs],
        };
        for i in 0..outputs.out.len() {
            let mut row = [v4.splat_f32s(0.0); N];
            for (v, sum) in row.iter_mut().enumerate() {
                *sum = v4.add_f32s(vector::<V4>(&sums[i], v), outputs.start(v4, i, v));
            }
            outputs.finish(v4, i, 0, row);
        }
    }
}

/// To gelu's of them as pairs of bfloat16.
pub(super) struct Paired<'a> {
    pub layer: &'a Linear,
    pub out: &'a mut Lanes,
}

impl Finish for Paired<'_> {
    #[inline(always)]
    fn finish<const N: usize>(
        &mut self,
        native: Native,
        block: usize,
        outputs: Range<usize>,
        sums: &Sums,
    ) {
        let v4 = native.simd();
        let (biases, last_bias) = self.layer.bias()[outputs.clone()].as_chunks::<2>();
        let out = &mut self.out.block_mut(block)[outputs.start / 2..outputs.end.div_ceil(2)];
        let last = last_bias.first().map(|bias| [*bias, 0.0]);
        let biases = biases.iter().copied().chain(last);
        for (([low, high], biases), out) in sums.as_chunks::<2>().0.iter().zip(biases).zip(out) {
            let mut both = [[v4.splat_f32s(0.0); 2]; N];
            for (v, both) in both.iter_mut().enumerate() {
                let [a, b] = biases.map(|bias| v4.splat_f32s(bias));
                both[0] = v4.add_f32s(vector::<V4>(low, v), a);
                both[1] = v4.add_f32s(vector::<V4>(high, v), b);
            }
            // Two of each vector, so that a step need not wait for the one before.
            for (v, both) in both.into_iter().enumerate() {
                let [low, high] = gelu(v4, both);
                *vector_mut::<V4>(out, v) = native.paired(low, high);
            }
        }
    }
}
