//! Scaled dot-product attention (Vaswani et al. 2017) of one window over itself.

#![expect(
    clippy::needless_range_loop,
    reason = "counted loops of constant length are what becomes registers"
)]

use pulp::{Simd, WithSimd};

use super::arithmetic::Arithmetic;
use super::bfloat::round_in_place;
use super::functions::exp2;
use super::kernel::{Column, Operands, Sums, slices, tile, vector, vector_mut};
use super::lanes::{BLOCK, Lanes, NARROW, Precision, Row, WIDE};

/// What attention of one window takes.
pub struct Attention<'a> {
    /// Queries, and keys below them.
    pub qk: &'a Lanes,
    pub values: &'a Lanes,
    /// The row that the values begin at.
    pub first_value: usize,
    pub heads: usize,
    pub scores: &'a mut Lanes,
    /// \[hidden, tokens\].
    pub out: &'a mut Lanes,
}

/// The same with how it is computed.
pub struct Attend<'a, A>(pub A, pub Attention<'a>);

impl<A: Arithmetic> WithSimd for Attend<'_, A> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::REGISTER_COUNT >= 32 {
            self.run::<S, WIDE>(simd);
        } else {
            self.run::<S, NARROW>(simd);
        }
    }
}

impl<A: Arithmetic> Attend<'_, A> {
    /// Slice by slice of queries, whose scores are few enough to stay near, in panels of P keys, then of
    /// P features.
    #[inline(always)]
    fn run<S: Simd, const P: usize>(self, simd: S) {
        let Self(arithmetic, attention) = self;
        let width = attention.out.features() / attention.heads;
        let tokens = attention.out.tokens();
        // Of queries and keys.
        let precision = A::PRECISION;
        let (hidden, rows) = (
            precision.rows(attention.out.features()),
            precision.rows(width),
        );
        // softmax(QKᵀ / √width), with powers of two in place of those of e.
        let scale = std::f32::consts::LOG2_E / (width as f32).sqrt();
        let scores = attention.scores.block_mut(0);
        for (b, (block, used)) in attention.qk.blocks().enumerate() {
            for head in 0..attention.heads {
                let features = head * rows..(head + 1) * rows;
                let queries = &block[features.clone()];
                for (at, count) in slices::<S>(used) {
                    for (kb, (block, keys)) in attention.qk.blocks().enumerate() {
                        let operands = |panel| Scored {
                            keys: &block[hidden..][features.clone()],
                            panel,
                            queries,
                        };
                        for panel in 0..keys.div_ceil(P) {
                            let out = &mut scores[kb * BLOCK + panel * P..][..P];
                            let operands: Scored<'_, P> = operands(panel);
                            tile(simd, arithmetic, operands, at, count, Scores(out));
                        }
                    }
                    let scores = &mut scores[..tokens];
                    let totals = softmax(simd, scores, at, count, scale);
                    if let Precision::Bf16 = precision {
                        round_in_place(simd, scores, at, count);
                    }
                    let features = head * width..(head + 1) * width;
                    let values = attention.first_value + features.start;
                    let out = &mut attention.out.block_mut(b)[features];
                    for first in (0..width).step_by(P) {
                        let operands: Attended<'_, P> = Attended {
                            values: attention.values,
                            first: values + first,
                            last: values + width - 1,
                            weights: &scores[..precision.rows(tokens)],
                        };
                        let sums = Averages {
                            totals: &totals,
                            out: &mut out[first..],
                        };
                        tile(simd, arithmetic, operands, at, count, sums);
                    }
                }
            }
        }
    }
}

/// Scores of a panel of keys, as they are.
struct Scores<'a>(&'a mut [Row]);

impl<S: Simd> Sums<S> for Scores<'_> {
    #[inline(always)]
    fn start(&self, simd: S, _: usize, _: usize) -> S::f32s {
        simd.splat_f32s(0.0)
    }

    #[inline(always)]
    fn finish<const V: usize>(&mut self, _: S, i: usize, at: usize, sums: [S::f32s; V]) {
        for v in 0..V {
            *vector_mut::<S>(&mut self.0[i], at + v) = sums[v];
        }
    }
}

/// Features of the values, weighted by powers of two whose sums are `totals`.
pub(super) struct Averages<'a> {
    pub totals: &'a Row,
    pub out: &'a mut [Row],
}

impl<S: Simd> Sums<S> for Averages<'_> {
    #[inline(always)]
    fn start(&self, simd: S, _: usize, _: usize) -> S::f32s {
        simd.splat_f32s(0.0)
    }

    #[inline(always)]
    fn finish<const V: usize>(&mut self, simd: S, i: usize, at: usize, sums: [S::f32s; V]) {
        if let Some(row) = self.out.get_mut(i) {
            for v in 0..V {
                let total = vector::<S>(self.totals, at + v);
                *vector_mut::<S>(row, at + v) = simd.div_f32s(sums[v], total);
            }
        }
    }
}

/// Scores \[keys\] of a slice of queries → 2^(scale · (score − largest)), and their sums.
#[inline(always)]
fn softmax<S: Simd>(simd: S, scores: &mut [Row], at: usize, count: usize, scale: f32) -> Row {
    let mut totals = Row([1.0; BLOCK]);
    match count {
        1 => softmax_of::<S, 1>(simd, scores, at, scale, &mut totals),
        3 if S::REGISTER_COUNT >= 32 => softmax_of::<S, 3>(simd, scores, at, scale, &mut totals),
        _ => softmax_of::<S, 2>(simd, scores, at, scale, &mut totals),
    }
    totals
}

#[inline(always)]
fn softmax_of<S: Simd, const V: usize>(
    simd: S,
    scores: &mut [Row],
    at: usize,
    scale: f32,
    totals: &mut Row,
) {
    let mut largest = [simd.splat_f32s(f32::MIN); V];
    for row in scores.iter() {
        let row = &S::as_simd_f32s(&row.0).0[at..at + V];
        for v in 0..V {
            largest[v] = simd.max_f32s(row[v], largest[v]);
        }
    }
    let scale = simd.splat_f32s(scale);
    let shift: [S::f32s; V] = std::array::from_fn(|v| simd.mul_f32s(largest[v], scale));
    let mut sums = [simd.splat_f32s(0.0); V];
    for row in scores.iter_mut() {
        let row = &mut S::as_mut_simd_f32s(&mut row.0).0[at..at + V];
        let mut x = sums;
        for v in 0..V {
            x[v] = simd.sub_f32s(simd.mul_f32s(row[v], scale), shift[v]);
        }
        let powers = exp2(simd, x);
        for v in 0..V {
            row[v] = powers[v];
            sums[v] = simd.add_f32s(sums[v], powers[v]);
        }
    }
    for v in 0..V {
        *vector_mut::<S>(totals, at + v) = sums[v];
    }
}

/// P keys of a head, the `panel`th of their block, and its queries; both \[width\].
#[derive(Clone, Copy)]
struct Scored<'a, const P: usize> {
    keys: &'a [Row],
    panel: usize,
    queries: &'a [Row],
}

impl<'a, const P: usize> Operands<'a, P> for Scored<'a, P> {
    type Column = &'a [f32; P];

    #[inline(always)]
    fn each(self, mut step: impl FnMut(Self::Column, &'a Row)) {
        for (keys, row) in self.keys.iter().zip(self.queries) {
            step(&keys.0.as_chunks().0[self.panel], row);
        }
    }
}

/// P features of all values, `first` and those behind it up to `last`, and the weights that
/// queries give them, \[tokens\] or \[pairs of tokens\].
#[derive(Clone, Copy)]
struct Attended<'a, const P: usize> {
    values: &'a Lanes,
    first: usize,
    last: usize,
    weights: &'a [Row],
}

impl<'a, const P: usize> Operands<'a, P> for Attended<'a, P> {
    type Column = Across<'a, P>;

    #[inline(always)]
    fn each(self, mut step: impl FnMut(Self::Column, &'a Row)) {
        for ((block, _), weights) in self.values.blocks().zip(self.weights.chunks(BLOCK)) {
            let mut rows = [&block[self.first].0; P];
            for (i, row) in rows.iter_mut().enumerate() {
                // A width that is no multiple of a panel repeats its last feature.
                *row = &block[(self.first + i).min(self.last)].0;
            }
            for (k, row) in weights.iter().enumerate() {
                step(Across { rows, k }, row);
            }
        }
    }
}

/// One token's values of P features.
#[derive(Clone, Copy)]
struct Across<'a, const P: usize> {
    rows: [&'a [f32; BLOCK]; P],
    k: usize,
}

impl<const P: usize> Column for Across<'_, P> {
    #[inline(always)]
    fn get(self, output: usize) -> f32 {
        self.rows[output][self.k]
    }
}
