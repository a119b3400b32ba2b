//! LayerNorm (Ba et al. 2016).

use pulp::{Simd, WithSimd};

use super::kernel::{vector, vector_mut};
use super::lanes::{Lanes, Row};

/// The scale and shift of a LayerNorm.
pub struct Norm {
    /// γ, \[features\].
    pub weight: Vec<f32>,
    /// β, \[features\].
    pub bias: Vec<f32>,
    /// ε.
    pub epsilon: f32,
}

/// Normalises every token over its features, in place.
pub(super) struct LayerNorm<'a> {
    pub x: &'a mut Lanes,
    pub norm: &'a Norm,
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
