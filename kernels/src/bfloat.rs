//! Numbers rounded to bfloat16, to nearest, ties to even, two a lane.

use pulp::{Simd, WithSimd};

use super::kernel::{vector, vector_mut};
use super::lanes::{BLOCK, Lanes, Row};

/// Pairs of rows → one row of pairs of bfloat16, rounded to nearest, ties to even.
pub struct Round<'a> {
    pub x: &'a Lanes,
    pub out: &'a mut Lanes,
}

impl WithSimd for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for ((rows, used), (out, _)) in self.x.blocks().zip(self.out.blocks_mut()) {
            for (rows, out) in rows.chunks(2).zip(out) {
                for at in 0..used.div_ceil(S::F32_LANES) {
                    let low = vector::<S>(&rows[0], at);
                    let high = match rows.get(1) {
                        Some(row) => vector::<S>(row, at),
                        None => simd.splat_f32s(0.0),
                    };
                    *vector_mut::<S>(out, at) = paired(simd, low, high);
                }
            }
        }
    }
}

/// Two vectors as pairs of bfloat16.
#[inline(always)]
fn paired<S: Simd>(simd: S, low: S::f32s, high: S::f32s) -> S::f32s {
    let low = simd.wrapping_dyn_shr_u32s(rounded(simd, low), simd.splat_u32s(16));
    let high = simd.and_u32s(rounded(simd, high), simd.splat_u32s(0xffff_0000));
    simd.transmute_f32s_u32s(simd.or_u32s(low, high))
}

/// The bits of bfloat16 in the high half; what stands in the low half is left over. NaN as
/// arithmetic makes it stays NaN.
#[inline(always)]
fn rounded<S: Simd>(simd: S, x: S::f32s) -> S::u32s {
    let bits = simd.transmute_u32s_f32s(x);
    let odd = simd.and_u32s(
        simd.wrapping_dyn_shr_u32s(bits, simd.splat_u32s(16)),
        simd.splat_u32s(1),
    );
    simd.add_u32s(bits, simd.add_u32s(odd, simd.splat_u32s(0x7fff)))
}

/// Weights two tokens at a time as pairs of bfloat16, over the rows that they come from.
#[inline(always)]
pub(super) fn round_in_place<S: Simd>(simd: S, scores: &mut [Row], at: usize, count: usize) {
    for out in 0..scores.len().div_ceil(2) {
        for at in at..at + count {
            let low = vector::<S>(&scores[2 * out], at);
            // A closure in `map` would be compiled by itself, without the instruction set.
            let high = match scores.get(2 * out + 1) {
                Some(row) => vector::<S>(row, at),
                None => simd.splat_f32s(0.0),
            };
            *vector_mut::<S>(&mut scores[out], at) = paired(simd, low, high);
        }
    }
}

/// Rows of `x` from `first` on, their tokens two by two as pairs of bfloat16: \[features, tokens\] →
/// \[features, tokens / 2\].
pub struct RoundAcross<'a> {
    pub x: &'a Lanes,
    pub first: usize,
    pub out: &'a mut Lanes,
}

impl WithSimd for RoundAcross<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (b, (rows, used)) in self.x.blocks().enumerate() {
            let half = b % 2 * (BLOCK / 2);
            for (row, out) in rows[self.first..].iter().zip(self.out.block_mut(b / 2)) {
                let mut row = row.0;
                // What stands behind the last token may be anything, and its weight of zero would
                // not make zero of it.
                row[used..].fill(0.0);
                let out = &mut out.0[half..half + BLOCK / 2];
                for (out, [low, high]) in out.iter_mut().zip(row.as_chunks().0) {
                    *out = pair(*low, *high);
                }
            }
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
