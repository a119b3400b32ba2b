//! Functions of vectors: powers of two, and the Gaussian error linear unit.

use pulp::Simd;

/// 2^x for x ≤ 126, no less than 2^−126. Relative error at most 3e-7.
///
/// 2^x = 2^n · 2^r with n the nearest integer; 2^r on [−½, ½] by a minimax polynomial of degree 5
/// (Lawson's iteration), whose bits n is then added to the exponent of. Step by step over all vectors,
/// since each step waits for the one before.
#[inline(always)]
pub(super) fn exp2<S: Simd, const V: usize>(simd: S, x: [S::f32s; V]) -> [S::f32s; V] {
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
    let round = simd.splat_f32s(ROUND);
    let (mut shifted, mut r) = (x, x);
    for v in 0..V {
        let x = simd.max_f32s(x[v], simd.splat_f32s(-126.0));
        shifted[v] = simd.add_f32s(x, round);
        r[v] = simd.sub_f32s(x, simd.sub_f32s(shifted[v], round));
    }
    let mut power = horner(simd, &P, r);
    for v in 0..V {
        let n = simd.wrapping_dyn_shl_u32s(
            simd.transmute_u32s_f32s(shifted[v]),
            simd.splat_u32s(f32::MANTISSA_DIGITS - 1),
        );
        let bits = simd.add_u32s(simd.transmute_u32s_f32s(power[v]), n);
        power[v] = simd.transmute_f32s_u32s(bits);
    }
    power
}

/// gelu(x) = x · Φ(x) = max(x, 0) − |x| · Φ(−|x|), within 3e-7 of the exact one up to |x| = 4, and
/// within a unit in the last place beyond.
///
/// log₂ Φ(−a) is close to a parabola, so a polynomial of degree 6 gives it on [0, 6] (Lawson's
/// iteration, weighted by a · Φ(−a)); beyond 6 the term is below 6e-9.
#[inline(always)]
pub(super) fn gelu<S: Simd, const V: usize>(simd: S, x: [S::f32s; V]) -> [S::f32s; V] {
    const Q: [f32; 7] = [
        -0.999_993_1,
        -1.151_201_7,
        -0.458_770_96,
        -0.053_412_13,
        0.008_080_732,
        -0.000_769_224_6,
        3.309_34e-5,
    ];
    let mut a = x;
    for v in 0..V {
        a[v] = simd.min_f32s(simd.abs_f32s(x[v]), simd.splat_f32s(6.0));
    }
    let tail = exp2(simd, horner(simd, &Q, a));
    let mut out = x;
    for v in 0..V {
        let positive = simd.max_f32s(x[v], simd.splat_f32s(0.0));
        out[v] = simd.negate_mul_add_f32s(a[v], tail[v], positive);
    }
    out
}

/// Σ cᵢ xⁱ.
#[inline(always)]
fn horner<S: Simd, const N: usize, const V: usize>(
    simd: S,
    c: &[f32; N],
    x: [S::f32s; V],
) -> [S::f32s; V] {
    let mut sums = [simd.splat_f32s(c[N - 1]); V];
    for i in (0..N - 1).rev() {
        for v in 0..V {
            sums[v] = simd.mul_add_f32s(sums[v], x[v], simd.splat_f32s(c[i]));
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use pulp::{Arch, WithSimd};

    use super::*;

    struct Powers<'a>(&'a mut [f32]);

    impl WithSimd for Powers<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            for x in S::as_mut_simd_f32s(self.0).0 {
                [*x] = exp2(simd, [*x]);
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
