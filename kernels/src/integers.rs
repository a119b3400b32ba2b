//! Numbers as multiples of a step, integers of 16 bits, two a lane: symmetric quantisation (Jacob et al. 2018,
//! "Quantization and training of neural networks for efficient integer-arithmetic-only inference"), but
//! with 16 bits in place of 8, so that the answers are those of f32 but for rounding.
//!
//! A token's largest feature is the integer [`LARGEST`]. The weights of an output take the least step by which
//! no weight leaves 16 bits and none of their sums can leave 32, whatever the token: Σ |weight| · [`LARGEST`]
//! < 2³¹. So sums are exact, and as fine as that lets them be.

#![expect(
    clippy::needless_range_loop,
    reason = "counted loops of constant length are what becomes registers"
)]

use pulp::{Simd, WithSimd};

use super::kernel::{slices, vector, vector_mut};
use super::lanes::{Lanes, Row};

/// The largest of a token's features is this integer.
const LARGEST: f32 = 4095.0;

/// Not zero, so that numbers that are all zero are multiples of something.
const LEAST: f32 = 1e-30;

/// 1.5 · 2²³: adding it rounds to an integer, which then stands in the lowest bits.
const ROUND: f32 = 12_582_912.0;

/// What the weights of an output are multiples of.
pub(super) fn step(weights: &[f32]) -> f32 {
    let largest = weights.iter().fold(LEAST, |a, w| a.max(w.abs()));
    let total: f64 = weights.iter().map(|w| f64::from(w.abs())).sum();
    // Each weight is off by up to a half, and by what its quotient with a step in f32 is.
    let most = 0.9999 * f64::from(i32::MAX) / f64::from(LARGEST) - weights.len() as f64 / 2.0;
    (largest / f32::from(i16::MAX)).max((total / most.max(1.0)) as f32)
}

/// Two numbers by their step, in the bits of one lane.
pub(super) fn pair(low: f32, high: f32, step: f32) -> f32 {
    let whole = |x: f32| (x / step + ROUND).to_bits();
    f32::from_bits(whole(low) & 0xffff | whole(high) << 16)
}

/// Features two by two, \[features, tokens\] → \[features / 2, tokens\], by a step a token, which stands
/// below them.
pub struct Quantise<'a> {
    pub x: &'a Lanes,
    pub out: &'a mut Lanes,
}

impl WithSimd for Quantise<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for ((rows, used), (out, _)) in self.x.blocks().zip(self.out.blocks_mut()) {
            let Some((steps, out)) = out.split_last_mut() else {
                return;
            };
            for (at, count) in slices::<S>(used) {
                match count {
                    1 => quantise::<S, 1>(simd, rows, at, out, steps),
                    3 => quantise::<S, 3>(simd, rows, at, out, steps),
                    _ => quantise::<S, 2>(simd, rows, at, out, steps),
                }
            }
        }
    }
}

/// V vectors of tokens.
#[inline(always)]
fn quantise<S: Simd, const V: usize>(
    simd: S,
    rows: &[Row],
    at: usize,
    out: &mut [Row],
    steps: &mut Row,
) {
    let zero = simd.splat_f32s(0.0);
    let mut largest = [simd.splat_f32s(LEAST); V];
    // Zero, or no number if a feature is none: a token with such a feature has outputs that are none, as it
    // has in f32. (The largest of numbers and none is whatever the instruction set makes of it.)
    let mut spoilt = [zero; V];
    for row in rows {
        for v in 0..V {
            let x = vector::<S>(row, at + v);
            largest[v] = simd.max_f32s(simd.abs_f32s(x), largest[v]);
            spoilt[v] = simd.mul_add_f32s(x, zero, spoilt[v]);
        }
    }
    let mut factors = largest;
    for v in 0..V {
        factors[v] = simd.div_f32s(simd.splat_f32s(LARGEST), largest[v]);
        let step = simd.mul_add_f32s(largest[v], simd.splat_f32s(1.0 / LARGEST), spoilt[v]);
        *vector_mut::<S>(steps, at + v) = step;
    }
    for (rows, out) in rows.chunks(2).zip(out) {
        for v in 0..V {
            let low = vector::<S>(&rows[0], at + v);
            let high = match rows.get(1) {
                Some(row) => vector::<S>(row, at + v),
                None => zero,
            };
            *vector_mut::<S>(out, at + v) = paired(simd, low, high, factors[v]);
        }
    }
}

/// Two vectors, times a factor, as pairs.
#[inline(always)]
fn paired<S: Simd>(simd: S, low: S::f32s, high: S::f32s, factor: S::f32s) -> S::f32s {
    let round = simd.splat_f32s(ROUND);
    let low = simd.transmute_u32s_f32s(simd.mul_add_f32s(low, factor, round));
    let high = simd.transmute_u32s_f32s(simd.mul_add_f32s(high, factor, round));
    let low = simd.and_u32s(low, simd.splat_u32s(0xffff));
    let high = simd.wrapping_dyn_shl_u32s(high, simd.splat_u32s(16));
    simd.transmute_f32s_u32s(simd.or_u32s(low, high))
}
