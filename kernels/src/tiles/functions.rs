//! Functions of vectors as exact as sums of bfloat16 have use for, since their results are rounded to it.

use pulp::x86::V4;
use pulp::{Simd, f32x16};

/// 2^x; relative error at most 7.5e-5, a fiftieth of what rounding to bfloat16 may change. 2^x = 2^⌊x⌋ · 2^r,
/// and 2^r on \[0, 1) by a minimax polynomial of degree 3 (Lawson's iteration).
#[inline(always)]
pub(super) fn exp2<const V: usize>(v4: V4, x: [f32x16; V]) -> [f32x16; V] {
    const P: [f32; 4] = [0.999_925_3, 0.695_833_15, 0.226_067_42, 0.078_024_7];
    let mut rest = x;
    for v in 0..V {
        rest[v] = rest_of(v4, x[v]);
    }
    let mut power = horner(v4, &P, rest);
    for v in 0..V {
        power[v] = scaled(v4, power[v], x[v]);
    }
    power
}

/// gelu(x) = max(x, 0) − |x| · Φ(−|x|), as elsewhere, with a polynomial of degree 4: within 2e-5, absolutely.
#[inline(always)]
pub(super) fn gelu<const V: usize>(v4: V4, x: [f32x16; V]) -> [f32x16; V] {
    const Q: [f32; 5] = [
        -1.000_479_6,
        -1.147_372_5,
        -0.468_014_5,
        -0.044_079_45,
        0.003_866_295,
    ];
    let mut a = x;
    for v in 0..V {
        a[v] = v4.min_f32s(v4.abs_f32s(x[v]), v4.splat_f32s(6.0));
    }
    let tail = exp2(v4, horner(v4, &Q, a));
    let mut out = x;
    for v in 0..V {
        let positive = v4.max_f32s(x[v], v4.splat_f32s(0.0));
        out[v] = v4.negate_mul_add_f32s(a[v], tail[v], positive);
    }
    out
}

/// x − ⌊x⌋.
#[inline(always)]
fn rest_of(v4: V4, x: f32x16) -> f32x16 {
    /// Rounds downwards, to no binary place.
    const FLOOR: i32 = 1;
    let x = bytemuck::cast(x);
    bytemuck::cast(v4.avx512dq._mm512_reduce_ps::<FLOOR>(x))
}

/// x · 2^⌊power⌋.
#[inline(always)]
fn scaled(v4: V4, x: f32x16, power: f32x16) -> f32x16 {
    let (x, power) = (bytemuck::cast(x), bytemuck::cast(power));
    bytemuck::cast(v4.avx512f._mm512_scalef_ps(x, power))
}

/// Σ cᵢ xⁱ.
#[inline(always)]
fn horner<const N: usize, const V: usize>(v4: V4, c: &[f32; N], x: [f32x16; V]) -> [f32x16; V] {
    let mut sums = [v4.splat_f32s(c[N - 1]); V];
    for i in (0..N - 1).rev() {
        for v in 0..V {
            sums[v] = v4.mul_add_f32s(sums[v], x[v], v4.splat_f32s(c[i]));
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A function of all of these, by the sixteen; none where the machine has no AVX-512.
    fn all(x: &[f64], function: fn(V4, [f32x16; 1]) -> [f32x16; 1]) -> Option<Vec<f64>> {
        let v4 = V4::try_new()?;
        let values = x.chunks(16).flat_map(|x| {
            let row: [f32; 16] = std::array::from_fn(|i| x.get(i).map_or(0.0, |x| *x as f32));
            let found: [[f32; 16]; 1] = bytemuck::cast(function(v4, [bytemuck::cast(row)]));
            found[0].map(f64::from)
        });
        Some(values.take(x.len()).collect())
    }

    #[test]
    fn powers_of_two_are_within_their_bound() {
        let x: Vec<f64> = (-16_000..16_000).map(|i| f64::from(i) / 128.0).collect();
        for (x, found) in x.iter().zip(all(&x, exp2::<1>).unwrap_or_default()) {
            assert!((found / x.exp2() - 1.0).abs() < 7.5e-5, "{x}: {found}");
        }
        let far = [-200.0, -1e9, f64::from(f32::MIN)];
        let far = all(&far, exp2::<1>).unwrap_or_default();
        assert!(far.iter().all(|power| *power == 0.0), "{far:?}");
    }

    #[test]
    fn gelu_is_within_its_bound() {
        let x: Vec<f64> = (-20_000..20_000).map(|i| f64::from(i) / 1_000.0).collect();
        for (x, found) in x.iter().zip(all(&x, gelu::<1>).unwrap_or_default()) {
            let exact = 0.5 * x * (1.0 + libm::erf(x / std::f64::consts::SQRT_2));
            assert!((found - exact).abs() < 2e-5, "{x}: {found}");
        }
    }
}
