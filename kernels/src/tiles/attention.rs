//! Attention of one window by tiles. Keys are one factor of the scores, and features of the values one of the
//! averages; queries, and the weights of all tokens, lie as they do elsewhere.

#![expect(
    clippy::needless_range_loop,
    reason = "counted loops of constant length are what becomes registers"
)]

use std::arch::x86_64::__m512;

use bytemuck::Zeroable;
use pulp::x86::V4;
use pulp::{Simd, b16, f32x16};

use super::functions::exp2;
use super::{DEPTH, SIDE, Sums, TALL, Tile, Tiles};
use crate::attention::Averages;
use crate::kernel::{Sums as _, vector, vector_mut};
use crate::lanes::{BLOCK, Lanes, Row};
use crate::native::{Native, Work};

/// Tokens whose keys are a group of tiles.
const GROUP: usize = TALL * SIDE;

/// Buffers.
#[derive(Default)]
pub struct Packed {
    /// Queries, and keys below them, in pairs of features, \[hidden, tokens\].
    qk: Lanes,
    /// Of each head, groups of [`TALL`] tiles of keys, each step after step.
    keys: Vec<Tile>,
    /// Of each head, groups of [`TALL`] tiles of features, each step after step of tokens.
    values: Vec<Tile>,
    /// Of one head and block, \[tokens, queries\].
    scores: Vec<Row>,
}

pub(super) struct Attend<'a> {
    pub tiles: Tiles,
    pub qkv: &'a Lanes,
    pub packed: &'a mut Packed,
    pub heads: usize,
    /// \[hidden, tokens\].
    pub out: &'a mut Lanes,
}

impl Work for Attend<'_> {
    #[inline(always)]
    fn run(self, native: Native) {
        let (tokens, hidden) = (self.out.tokens(), self.out.features());
        let width = hidden / self.heads;
        let groups = tokens.div_ceil(GROUP);
        self.packed.pack(native, self.qkv, width);
        // softmax(QKᵀ / √width), with powers of two in place of those of e.
        let scale = std::f32::consts::LOG2_E / (width as f32).sqrt();
        let ready = self.tiles.ready();
        let mut sums: Sums = Zeroable::zeroed();
        let Packed {
            qk,
            keys,
            values,
            scores,
        } = self.packed;
        // Of a head as many keys as values.
        let of_head = groups * TALL * (width / DEPTH);
        for (b, (qk, used)) in qk.blocks().enumerate() {
            let count = used.div_ceil(SIDE);
            let heads = keys.chunks(of_head).zip(values.chunks(of_head));
            let out = self.out.block_mut(b).chunks_mut(width);
            for (((keys, values), queries), out) in heads.zip(qk.chunks(width / 2)).zip(out) {
                let groups = keys.chunks(TALL * (width / DEPTH));
                for (keys, scores) in groups.zip(scores.as_chunks_mut().0) {
                    match count {
                        1 => ready.multiply::<1>(keys, queries, scores),
                        2 => ready.multiply::<2>(keys, queries, scores),
                        _ => ready.multiply::<3>(keys, queries, scores),
                    }
                }
                let totals = match count {
                    1 => weigh::<1>(native, scores, tokens, scale),
                    2 => weigh::<2>(native, scores, tokens, scale),
                    _ => weigh::<3>(native, scores, tokens, scale),
                };
                let weights = &scores[..scores.len() / 2];
                let features = values.chunks(weights.len() / SIDE * TALL);
                for (values, out) in features.zip(out.chunks_mut(GROUP)) {
                    match count {
                        1 => ready.multiply::<1>(values, weights, &mut sums),
                        2 => ready.multiply::<2>(values, weights, &mut sums),
                        _ => ready.multiply::<3>(values, weights, &mut sums),
                    }
                    let mut averages = Averages {
                        totals: &totals,
                        out,
                    };
                    for (i, row) in sums.iter().enumerate() {
                        for v in 0..count {
                            averages.finish(native.simd(), i, v, [vector::<V4>(row, v)]);
                        }
                    }
                }
            }
        }
    }
}

/// Scores of all keys → 2^(scale · (score − largest)), in pairs of tokens, over the rows that they come from,
/// zero for tokens that there are not; and their sums.
#[inline(always)]
fn weigh<const N: usize>(native: Native, scores: &mut [Row], tokens: usize, scale: f32) -> Row {
    let v4 = native.simd();
    let zero = v4.splat_f32s(0.0);
    // Two of each, so that one need not wait for the other.
    let mut largest = [[v4.splat_f32s(f32::MIN); N]; 2];
    let (pairs, last) = scores[..tokens].as_chunks::<2>();
    for pair in pairs {
        for (row, largest) in pair.iter().zip(&mut largest) {
            for v in 0..N {
                largest[v] = v4.max_f32s(vector::<V4>(row, v), largest[v]);
            }
        }
    }
    for row in last {
        for v in 0..N {
            largest[0][v] = v4.max_f32s(vector::<V4>(row, v), largest[0][v]);
        }
    }
    let factor = v4.splat_f32s(scale);
    let mut shift = [zero; N];
    for v in 0..N {
        let most = v4.max_f32s(largest[0][v], largest[1][v]);
        shift[v] = v4.mul_f32s(most, v4.splat_f32s(-scale));
    }
    let mut sums = [[zero; N]; 2];
    for n in 0..tokens / 2 {
        let low: [f32x16; N] = power(v4, &scores[2 * n], factor, shift);
        let high = power(v4, &scores[2 * n + 1], factor, shift);
        for v in 0..N {
            sums[0][v] = v4.add_f32s(sums[0][v], low[v]);
            sums[1][v] = v4.add_f32s(sums[1][v], high[v]);
            *vector_mut::<V4>(&mut scores[n], v) = native.paired(low[v], high[v]);
        }
    }
    if tokens % 2 == 1 {
        let low = power(v4, &scores[tokens - 1], factor, shift);
        for v in 0..N {
            sums[0][v] = v4.add_f32s(sums[0][v], low[v]);
            *vector_mut::<V4>(&mut scores[tokens / 2], v) = native.paired(low[v], zero);
        }
    }
    let end = scores.len() / 2;
    scores[tokens.div_ceil(2)..end].fill(Row::zeroed());
    let mut totals = Row([1.0; BLOCK]);
    for v in 0..N {
        *vector_mut::<V4>(&mut totals, v) = v4.add_f32s(sums[0][v], sums[1][v]);
    }
    totals
}

/// 2^(factor · score + shift).
#[inline(always)]
fn power<const N: usize>(v4: V4, row: &Row, factor: f32x16, shift: [f32x16; N]) -> [f32x16; N] {
    let mut x = shift;
    for v in 0..N {
        x[v] = v4.mul_add_f32s(vector::<V4>(row, v), factor, shift[v]);
    }
    exp2(v4, x)
}

impl Packed {
    /// Lays queries, keys and values out, rounded; what stands behind the last value is zero.
    #[inline(always)]
    fn pack(&mut self, native: Native, qkv: &Lanes, width: usize) {
        let hidden = qkv.features() / 3;
        let groups = qkv.tokens().div_ceil(GROUP);
        let steps = width / DEPTH;
        self.scores.resize(groups * GROUP, Row::zeroed());
        self.qk.resize(hidden, qkv.tokens());
        for tiles in [&mut self.keys, &mut self.values] {
            tiles.clear();
            tiles.resize(groups * TALL * hidden / DEPTH, Tile::zeroed());
        }
        for ((rows, used), (out, _)) in qkv.blocks().zip(self.qk.blocks_mut()) {
            for ([low, high], out) in rows.as_chunks().0.iter().zip(out) {
                for v in 0..used.div_ceil(SIDE) {
                    let (low, high) = (vector::<V4>(low, v), vector::<V4>(high, v));
                    *vector_mut::<V4>(out, v) = native.paired(low, high);
                }
            }
        }
        for (b, (rows, used)) in self.qk.blocks().enumerate() {
            // Step by step through all heads.
            for (step, rows) in rows[hidden / 2..].as_chunks::<SIDE>().0.iter().enumerate() {
                let (head, step) = (step / steps, step % steps);
                for v in 0..used.div_ceil(SIDE) {
                    let n = b * (BLOCK / SIDE) + v;
                    let group = (head * groups + n / TALL) * steps + step;
                    let across = std::array::from_fn(|p| vector::<V4>(&rows[p], v));
                    self.keys[group * TALL + n % TALL] = Tile(transposed(native.simd(), across));
                }
            }
        }
        let v4 = native.simd();
        for step in 0..groups {
            let sixteens = [step * TALL, step * TALL + 1].map(
                #[inline(always)]
                |n| Sixteen::new(v4, qkv, n),
            );
            for f in 0..hidden {
                let [low, high] = [0, 1].map(
                    #[inline(always)]
                    |n| sixteens[n].of(v4, qkv, 2 * hidden + f),
                );
                // Groups of features, all steps of tokens in each.
                let (group, half, i) = (f / GROUP, f / SIDE % TALL, f % SIDE);
                let tile = &mut self.values[(group * groups + step) * TALL + half];
                tile.0[i] = bytemuck::cast(native.rounded(low, high));
            }
        }
    }
}

/// Sixteen tokens of a window, some of which may not be there.
#[derive(Clone, Copy)]
struct Sixteen {
    block: usize,
    vector: usize,
    there: b16,
}

impl Sixteen {
    #[inline(always)]
    fn new(v4: V4, window: &Lanes, number: usize) -> Self {
        const LANES: [f32; SIDE] = {
            let mut lanes = [0.0; SIDE];
            let mut i = 0;
            while i < SIDE {
                lanes[i] = i as f32;
                i += 1;
            }
            lanes
        };
        let left = window.tokens().saturating_sub(number * SIDE).min(SIDE);
        // Where there is none, any that can be read.
        let number = if left == 0 { 0 } else { number };
        Self {
            block: number / (BLOCK / SIDE),
            vector: number % (BLOCK / SIDE),
            there: v4.less_than_f32s(bytemuck::cast(LANES), v4.splat_f32s(left as f32)),
        }
    }

    /// A feature of them, zero where a token is not there.
    #[inline(always)]
    fn of(self, v4: V4, window: &Lanes, feature: usize) -> f32x16 {
        let found = vector::<V4>(&window.block(self.block)[feature], self.vector);
        v4.select_f32s(self.there, found, v4.splat_f32s(0.0))
    }
}

/// Rows as columns.
#[inline(always)]
fn transposed(v4: V4, rows: [f32x16; SIDE]) -> [[f32; SIDE]; SIDE] {
    let f = v4.avx512f;
    let mut x: [__m512; SIDE] = bytemuck::cast(rows);
    // Of every two rows, pairs of numbers that belong together; of every four, fours; then quarters of vectors
    // change places, twice.
    let mut y = x;
    for i in (0..SIDE).step_by(2) {
        y[i] = f._mm512_unpacklo_ps(x[i], x[i + 1]);
        y[i + 1] = f._mm512_unpackhi_ps(x[i], x[i + 1]);
    }
    for i in (0..SIDE).step_by(4) {
        for (k, [a, b]) in [[0, 2], [1, 3]].into_iter().enumerate() {
            let (a, b) = (bytemuck::cast(y[i + a]), bytemuck::cast(y[i + b]));
            x[i + 2 * k] = bytemuck::cast(f._mm512_unpacklo_pd(a, b));
            x[i + 2 * k + 1] = bytemuck::cast(f._mm512_unpackhi_pd(a, b));
        }
    }
    // x[4 g + c]: of rows 4 g to 4 g + 3, columns c, c + 4, c + 8 and c + 12, a quarter each.
    const EVEN: i32 = 0b10_00_10_00;
    const ODD: i32 = 0b11_01_11_01;
    let mut columns = [[0.0; SIDE]; SIDE];
    for c in 0..4 {
        let above = f._mm512_shuffle_f32x4::<EVEN>(x[c], x[4 + c]);
        let above_odd = f._mm512_shuffle_f32x4::<ODD>(x[c], x[4 + c]);
        let below = f._mm512_shuffle_f32x4::<EVEN>(x[8 + c], x[12 + c]);
        let below_odd = f._mm512_shuffle_f32x4::<ODD>(x[8 + c], x[12 + c]);
        columns[c] = bytemuck::cast(f._mm512_shuffle_f32x4::<EVEN>(above, below));
        columns[c + 8] = bytemuck::cast(f._mm512_shuffle_f32x4::<ODD>(above, below));
        columns[c + 4] = bytemuck::cast(f._mm512_shuffle_f32x4::<EVEN>(above_odd, below_odd));
        columns[c + 12] = bytemuck::cast(f._mm512_shuffle_f32x4::<ODD>(above_odd, below_odd));
    }
    columns
}
