//! The loops that the CPU encoder spends its time in, vectorised for the instruction set that the
//! machine has (AVX-512, AVX2 with FMA, NEON, or plain), chosen at run time.
//!
//! Every token keeps to its own lane, and each number comes from the same operations in the same
//! order whatever its lane, its neighbours and the width of the registers: a result does not depend,
//! to the last bit, on the batch that it was computed in.

#![expect(
    clippy::needless_range_loop,
    reason = "counted loops of constant length are what becomes registers"
)]

use pulp::{Arch, Simd, WithSimd};

use super::lanes::{BLOCK, Lanes, Linear, PANEL, Row};

/// What a linear layer does beside its product.
#[derive(Clone, Copy)]
pub enum With<'a> {
    /// Nothing: Wx + b.
    Bias,
    /// gelu(Wx + b).
    Gelu,
    /// Wx + b + the residual, of the output's shape.
    Residual(&'a Lanes),
}

/// The instruction set, looked up once.
#[derive(Clone, Copy)]
pub struct Kernels {
    arch: Arch,
}

impl Default for Kernels {
    fn default() -> Self {
        Self::new()
    }
}

impl Kernels {
    /// Looks at the machine.
    pub fn new() -> Self {
        Self::with(Arch::new())
    }

    /// Takes an instruction set that the caller knows to be there.
    pub fn with(arch: Arch) -> Self {
        Self { arch }
    }

    /// A linear layer: `x` \[inputs, tokens\] → `out` \[outputs, tokens\].
    pub fn linear(self, layer: &Linear, x: &Lanes, with: With<'_>, out: &mut Lanes) {
        out.resize(layer.outputs(), x.tokens());
        match with {
            With::Bias => self.arch.dispatch(Product::<BIAS> {
                layer,
                x,
                out,
                residual: None,
            }),
            With::Gelu => self.arch.dispatch(Product::<GELU> {
                layer,
                x,
                out,
                residual: None,
            }),
            With::Residual(residual) => self.arch.dispatch(Product::<BIAS> {
                layer,
                x,
                out,
                residual: Some(residual),
            }),
        }
    }

    /// Normalises every token over its features, in place: (x − mean) / √(variance + ε) · γ + β.
    pub fn layer_norm(self, x: &mut Lanes, norm: &Norm) {
        self.arch.dispatch(LayerNorm { x, norm });
    }

    /// Attention of one window: `qkv` is \[3 · heads · width, tokens\], queries, keys and values
    /// below one another; `out` \[heads · width, tokens\].
    pub fn attention(self, qkv: &Lanes, heads: usize, scratch: &mut Lanes, out: &mut Lanes) {
        let hidden = qkv.features() / 3;
        out.resize(hidden, qkv.tokens());
        scratch.resize(qkv.tokens().next_multiple_of(PANEL), BLOCK);
        self.arch.dispatch(Attention {
            qkv,
            heads,
            scratch,
            out,
        });
    }
}

/// The scale and shift of a LayerNorm.
pub struct Norm {
    /// γ, \[features\].
    pub weight: Vec<f32>,
    /// β, \[features\].
    pub bias: Vec<f32>,
    /// ε.
    pub epsilon: f32,
}

const BIAS: bool = false;
const GELU: bool = true;

/// Bytes of weights that are kept near while all tokens pass by: a part of the second-level cache.
const NEAR: usize = 256 << 10;

struct Product<'a, const ACT: bool> {
    layer: &'a Linear,
    x: &'a Lanes,
    out: &'a mut Lanes,
    residual: Option<&'a Lanes>,
}

impl<const ACT: bool> WithSimd for Product<'_, ACT> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let panels = self.layer.outputs().div_ceil(PANEL);
        let near = (NEAR / (4 * PANEL * self.layer.inputs().max(1))).max(1);
        for first in (0..panels).step_by(near) {
            let chunk = first..panels.min(first + near);
            for (b, (x, used)) in self.x.blocks().enumerate() {
                let residual = self.residual.map(|r| r.block(b));
                let out = self.out.block_mut(b);
                for panel in chunk.clone() {
                    let features = panel * PANEL..self.layer.outputs().min((panel + 1) * PANEL);
                    let bias = &self.layer.bias()[features.clone()];
                    let residual = residual.map(|r| &r[features.clone()]);
                    let out = &mut out[features];
                    let operands = Weighted {
                        panel: self.layer.panel(panel),
                        rows: x,
                    };
                    tiles(
                        simd,
                        used,
                        operands,
                        #[inline(always)]
                        |i, at| match (bias.get(i), residual.and_then(|r| r.get(i))) {
                            (Some(b), Some(r)) => {
                                simd.add_f32s(vector::<S>(r, at), simd.splat_f32s(*b))
                            }
                            (Some(b), None) => simd.splat_f32s(*b),
                            _ => simd.splat_f32s(0.0),
                        },
                        #[inline(always)]
                        |i, at, sum| {
                            if let Some(row) = out.get_mut(i) {
                                let sum = if ACT { gelu(simd, sum) } else { sum };
                                *vector_mut::<S>(row, at) = sum;
                            }
                        },
                    );
                }
            }
        }
    }
}

/// One vector of a row; `at` counts vectors.
#[inline(always)]
fn vector<S: Simd>(row: &Row, at: usize) -> S::f32s {
    S::as_simd_f32s(&row.0).0[at]
}

#[inline(always)]
fn vector_mut<S: Simd>(row: &mut Row, at: usize) -> &mut S::f32s {
    &mut S::as_mut_simd_f32s(&mut row.0).0[at]
}

/// The two sides of a sum of products: row after row of one, and [`PANEL`] numbers of the other that
/// each multiply the whole row.
trait Operands<'a>: Copy {
    type Column: Column;

    fn each(self, step: impl FnMut(Self::Column, &'a Row));
}

trait Column: Copy {
    fn get(self, output: usize) -> f32;
}

/// A panel of weights, \[inputs, PANEL\], and the tokens of a block, \[inputs\].
#[derive(Clone, Copy)]
struct Weighted<'a> {
    panel: &'a [[f32; PANEL]],
    rows: &'a [Row],
}

impl<'a> Operands<'a> for Weighted<'a> {
    type Column = &'a [f32; PANEL];

    #[inline(always)]
    fn each(self, mut step: impl FnMut(Self::Column, &'a Row)) {
        for (weights, row) in self.panel.iter().zip(self.rows) {
            step(weights, row);
        }
    }
}

impl Column for &[f32; PANEL] {
    #[inline(always)]
    fn get(self, output: usize) -> f32 {
        self[output]
    }
}

/// [`PANEL`] keys of a head, the `panel`th of their block, and its queries; both \[width\].
#[derive(Clone, Copy)]
struct Scored<'a> {
    keys: &'a [Row],
    panel: usize,
    queries: &'a [Row],
}

impl<'a> Operands<'a> for Scored<'a> {
    type Column = &'a [f32; PANEL];

    #[inline(always)]
    fn each(self, mut step: impl FnMut(Self::Column, &'a Row)) {
        for (keys, row) in self.keys.iter().zip(self.queries) {
            step(&keys.0.as_chunks().0[self.panel], row);
        }
    }
}

/// [`PANEL`] features of all values, `first` and those behind it up to `last`, and the weights that
/// queries give them, \[tokens\].
#[derive(Clone, Copy)]
struct Attended<'a> {
    qkv: &'a Lanes,
    first: usize,
    last: usize,
    weights: &'a [Row],
}

impl<'a> Operands<'a> for Attended<'a> {
    type Column = Across<'a>;

    #[inline(always)]
    fn each(self, mut step: impl FnMut(Self::Column, &'a Row)) {
        for ((block, _), weights) in self.qkv.blocks().zip(self.weights.chunks(BLOCK)) {
            let mut rows = [&block[self.first].0; PANEL];
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

/// One token's values of [`PANEL`] features.
#[derive(Clone, Copy)]
struct Across<'a> {
    rows: [&'a [f32; BLOCK]; PANEL],
    k: usize,
}

impl Column for Across<'_> {
    #[inline(always)]
    fn get(self, output: usize) -> f32 {
        self.rows[output][self.k]
    }
}

/// The first `used` tokens of [`PANEL`] outputs. `start` gives what a sum begins with and `finish`
/// takes it, both by the output within the panel and the vector of the row.
#[inline(always)]
fn tiles<'a, S: Simd, O: Operands<'a>>(
    simd: S,
    used: usize,
    operands: O,
    start: impl Fn(usize, usize) -> S::f32s,
    mut finish: impl FnMut(usize, usize, S::f32s),
) {
    let vectors = used.div_ceil(S::F32_LANES);
    if S::REGISTER_COUNT >= 32 {
        // 8 × 3 sums, 3 vectors and 1 factor.
        for at in (0..vectors).step_by(3) {
            match vectors - at {
                1 => tile::<S, O, 0, PANEL, 1>(simd, operands, at, &start, &mut finish),
                2 => tile::<S, O, 0, PANEL, 2>(simd, operands, at, &start, &mut finish),
                _ => tile::<S, O, 0, PANEL, 3>(simd, operands, at, &start, &mut finish),
            }
        }
    } else {
        // 4 × 2 sums of 16 registers: with 4 × 3 there is none to spare, and one spilt sum halves
        // the speed.
        for at in (0..vectors).step_by(2) {
            match vectors - at {
                1 => {
                    tile::<S, O, 0, 4, 1>(simd, operands, at, &start, &mut finish);
                    tile::<S, O, 4, 4, 1>(simd, operands, at, &start, &mut finish);
                }
                _ => {
                    tile::<S, O, 0, 4, 2>(simd, operands, at, &start, &mut finish);
                    tile::<S, O, 4, 4, 2>(simd, operands, at, &start, &mut finish);
                }
            }
        }
    }
}

/// M outputs from F on, times V vectors of tokens from `at` on.
#[inline(always)]
fn tile<'a, S: Simd, O: Operands<'a>, const F: usize, const M: usize, const V: usize>(
    simd: S,
    operands: O,
    at: usize,
    start: &impl Fn(usize, usize) -> S::f32s,
    finish: &mut impl FnMut(usize, usize, S::f32s),
) {
    let mut sums = [[simd.splat_f32s(0.0); V]; M];
    for i in 0..M {
        for v in 0..V {
            sums[i][v] = start(F + i, at + v);
        }
    }
    operands.each(
        #[inline(always)]
        |column, row| {
            let row = &S::as_simd_f32s(&row.0).0[at..at + V];
            for i in 0..M {
                let factor = simd.splat_f32s(column.get(F + i));
                for v in 0..V {
                    sums[i][v] = simd.mul_add_f32s(factor, row[v], sums[i][v]);
                }
            }
        },
    );
    for i in 0..M {
        for v in 0..V {
            finish(F + i, at + v, sums[i][v]);
        }
    }
}

/// 2^x for x ≤ 126, no less than 2^−126. Relative error at most 3e-7.
///
/// 2^x = 2^n · 2^r with n the nearest integer; 2^r on [−½, ½] by a minimax polynomial of degree 5
/// (Lawson's iteration), whose bits n is then added to the exponent of.
#[inline(always)]
fn exp2<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const P: [f32; 6] = [
        1.0,
        0.693_147_24,
        0.240_221_07,
        0.055_502_973,
        0.009_676_036,
        0.001_341,
    ];
    // 1.5 · 2²³: adding it rounds to an integer, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let x = simd.max_f32s(x, simd.splat_f32s(-126.0));
    let round = simd.splat_f32s(ROUND);
    let shifted = simd.add_f32s(x, round);
    let r = simd.sub_f32s(x, simd.sub_f32s(shifted, round));
    let power = horner(simd, &P, r);
    let n = simd.wrapping_dyn_shl_u32s(
        simd.transmute_u32s_f32s(shifted),
        simd.splat_u32s(f32::MANTISSA_DIGITS - 1),
    );
    simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(power), n))
}

/// gelu(x) = x · Φ(x) = max(x, 0) − |x| · Φ(−|x|), within 3e-7 of the exact one up to |x| = 4, and
/// within a unit in the last place beyond.
///
/// log₂ Φ(−a) is close to a parabola, so a polynomial of degree 6 gives it on [0, 6] (Lawson's
/// iteration, weighted by a · Φ(−a)); beyond 6 the term is below 6e-9.
#[inline(always)]
fn gelu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const Q: [f32; 7] = [
        -0.999_993_1,
        -1.151_201_7,
        -0.458_770_96,
        -0.053_412_13,
        0.008_080_732,
        -0.000_769_224_6,
        3.309_34e-5,
    ];
    let a = simd.min_f32s(simd.abs_f32s(x), simd.splat_f32s(6.0));
    let tail = exp2(simd, horner(simd, &Q, a));
    let positive = simd.max_f32s(x, simd.splat_f32s(0.0));
    simd.negate_mul_add_f32s(a, tail, positive)
}

/// Σ cᵢ xⁱ.
#[inline(always)]
fn horner<S: Simd, const N: usize>(simd: S, c: &[f32; N], x: S::f32s) -> S::f32s {
    let mut sum = simd.splat_f32s(c[N - 1]);
    for i in (0..N - 1).rev() {
        sum = simd.mul_add_f32s(sum, x, simd.splat_f32s(c[i]));
    }
    sum
}

struct LayerNorm<'a> {
    x: &'a mut Lanes,
    norm: &'a Norm,
}

impl WithSimd for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let inverse = 1.0 / self.x.features() as f32;
        for (rows, used) in self.x.blocks_mut() {
            for at in 0..used.div_ceil(S::F32_LANES) {
                let mean = mean(
                    simd,
                    rows,
                    inverse,
                    #[inline(always)]
                    |row| vector::<S>(row, at),
                );
                let variance = self::mean(
                    simd,
                    rows,
                    inverse,
                    #[inline(always)]
                    |row| {
                        let d = simd.sub_f32s(vector::<S>(row, at), mean);
                        simd.mul_f32s(d, d)
                    },
                );
                let deviation =
                    simd.sqrt_f32s(simd.add_f32s(variance, simd.splat_f32s(self.norm.epsilon)));
                let scale = simd.div_f32s(simd.splat_f32s(1.0), deviation);
                let parameters = self.norm.weight.iter().zip(&self.norm.bias);
                for (row, (weight, bias)) in rows.iter_mut().zip(parameters) {
                    let x = vector_mut::<S>(row, at);
                    let normal = simd.mul_f32s(simd.sub_f32s(*x, mean), scale);
                    *x =
                        simd.mul_add_f32s(normal, simd.splat_f32s(*weight), simd.splat_f32s(*bias));
                }
            }
        }
    }
}

/// The mean of a value over rows. Four sums, so that an addition need not wait for the one before.
#[inline(always)]
fn mean<S: Simd>(simd: S, rows: &[Row], inverse: f32, value: impl Fn(&Row) -> S::f32s) -> S::f32s {
    let mut sums = [simd.splat_f32s(0.0); 4];
    let (fours, rest) = rows.as_chunks::<4>();
    for four in fours {
        for i in 0..4 {
            sums[i] = simd.add_f32s(sums[i], value(&four[i]));
        }
    }
    for row in rest {
        sums[0] = simd.add_f32s(sums[0], value(row));
    }
    let [a, b, c, d] = sums;
    let sum = simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d));
    simd.mul_f32s(sum, simd.splat_f32s(inverse))
}

struct Attention<'a> {
    qkv: &'a Lanes,
    heads: usize,
    scratch: &'a mut Lanes,
    out: &'a mut Lanes,
}

impl WithSimd for Attention<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let hidden = self.qkv.features() / 3;
        let width = hidden / self.heads;
        let tokens = self.qkv.tokens();
        // softmax(QKᵀ / √width), with powers of two in place of those of e.
        let scale = std::f32::consts::LOG2_E / (width as f32).sqrt();
        let scores = self.scratch.block_mut(0);
        for (b, (block, used)) in self.qkv.blocks().enumerate() {
            for head in 0..self.heads {
                let features = head * width..(head + 1) * width;
                let queries = &block[features.clone()];
                for (kb, (block, count)) in self.qkv.blocks().enumerate() {
                    let keys = &block[hidden..][features.clone()];
                    for panel in 0..count.div_ceil(PANEL) {
                        let out = &mut scores[kb * BLOCK + panel * PANEL..][..PANEL];
                        let operands = Scored {
                            keys,
                            panel,
                            queries,
                        };
                        tiles(
                            simd,
                            used,
                            operands,
                            #[inline(always)]
                            |_, _| simd.splat_f32s(0.0),
                            #[inline(always)]
                            |i, at, sum| *vector_mut::<S>(&mut out[i], at) = sum,
                        );
                    }
                }
                let totals = softmax(simd, &mut scores[..tokens], used, scale);
                let out = &mut self.out.block_mut(b)[features.clone()];
                let values = 2 * hidden + features.start;
                for first in (0..width).step_by(PANEL) {
                    let out = &mut out[first..];
                    let operands = Attended {
                        qkv: self.qkv,
                        first: values + first,
                        last: values + width - 1,
                        weights: &scores[..tokens],
                    };
                    tiles(
                        simd,
                        used,
                        operands,
                        #[inline(always)]
                        |_, _| simd.splat_f32s(0.0),
                        #[inline(always)]
                        |i, at, sum| {
                            if let Some(row) = out.get_mut(i) {
                                let total = vector::<S>(&totals, at);
                                *vector_mut::<S>(row, at) = simd.div_f32s(sum, total);
                            }
                        },
                    );
                }
            }
        }
    }
}

/// Scores \[keys\] rows of queries → 2^(scale · (score − largest)), and their sums.
#[inline(always)]
fn softmax<S: Simd>(simd: S, scores: &mut [Row], used: usize, scale: f32) -> Row {
    let mut totals = Row([1.0; BLOCK]);
    let vectors = used.div_ceil(S::F32_LANES);
    let step = if S::REGISTER_COUNT >= 32 { 3 } else { 2 };
    for at in (0..vectors).step_by(step) {
        match step.min(vectors - at) {
            1 => softmax_of::<S, 1>(simd, scores, at, scale, &mut totals),
            2 => softmax_of::<S, 2>(simd, scores, at, scale, &mut totals),
            _ => softmax_of::<S, 3>(simd, scores, at, scale, &mut totals),
        }
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
        for v in 0..V {
            let x = simd.sub_f32s(simd.mul_f32s(row[v], scale), shift[v]);
            row[v] = exp2(simd, x);
            sums[v] = simd.add_f32s(sums[v], row[v]);
        }
    }
    for v in 0..V {
        *vector_mut::<S>(totals, at + v) = sums[v];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Powers<'a>(&'a mut [f32]);

    impl WithSimd for Powers<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            for x in S::as_mut_simd_f32s(self.0).0 {
                *x = exp2(simd, *x);
            }
        }
    }

    #[test]
    fn powers_of_two_are_within_their_bound() {
        let exponents: Vec<f32> = (-16_000..16_000).map(|i| i as f32 / 128.0).collect();
        let mut powers = exponents.clone();
        Arch::new().dispatch(Powers(&mut powers));
        let largest = exponents
            .iter()
            .zip(&powers)
            .map(|(x, power)| (f64::from(*power) / f64::from(*x).exp2() - 1.0).abs())
            .fold(0.0, f64::max);
        println!("largest relative error {largest:e}");
        assert!(largest <= 3e-7, "{largest:e}");
        let mut small = [-127.0, -1e9, f32::MIN, f32::NEG_INFINITY].repeat(16);
        Arch::new().dispatch(Powers(&mut small));
        assert!(small.iter().all(|p| *p == f32::MIN_POSITIVE));
    }
}
