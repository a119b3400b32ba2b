//! What a product multiplies: f32, pairs of bfloat16, or pairs of integers.
//!
//! A lane of pairs holds two features of a token, and a step adds the products of both to the sum. Of
//! integers that is exact, whatever computes it. Where there is AVX2 that is `vpmaddwd` and an addition: two
//! instructions for what takes two in f32, but only one of them keeps a multiplier busy. Of bfloat16:
//! first the high half's, then the low half's, each rounded once. That is what the instruction
//! `vdpbf16ps` does, and what two fused multiplications in f32 do where there is none, since the
//! product of two bfloat16 needs no more bits than f32 has beyond its sum: so the result is the same
//! to the last bit on every machine (but for sums below 2⁻¹²⁶, which the instruction takes for zero; and but for
//! tiles, which add up in another order).

#[cfg(target_arch = "x86_64")]
use std::any::Any;

#[cfg(target_arch = "x86_64")]
use bytemuck::cast;
#[cfg(target_arch = "x86_64")]
use pulp::x86::{V3, V4};
use pulp::{Arch, Simd, WithSimd};

use super::lanes::Precision;

/// How a step of a product is computed, and where.
pub trait Arithmetic: Copy {
    /// What stands in a lane.
    const PRECISION: Precision;

    /// Whether sums are integers.
    const INTEGERS: bool = matches!(Self::PRECISION, Precision::Int16);

    /// sum + factor · row, lane by lane.
    fn mul_add<S: Simd>(self, simd: S, factor: S::f32s, row: S::f32s, sum: S::f32s) -> S::f32s;

    /// Runs the work with the instruction set that this needs.
    fn dispatch<W: WithSimd>(self, arch: Arch, work: W) -> W::Output {
        arch.dispatch(work)
    }
}

/// Lanes of f32.
#[derive(Clone, Copy)]
pub struct Single;

impl Arithmetic for Single {
    const PRECISION: Precision = Precision::F32;

    #[inline(always)]
    fn mul_add<S: Simd>(self, simd: S, factor: S::f32s, row: S::f32s, sum: S::f32s) -> S::f32s {
        simd.mul_add_f32s(factor, row, sum)
    }
}

/// Lanes of two bfloat16, widened and multiplied one after the other.
#[derive(Clone, Copy)]
pub struct Emulated;

impl Arithmetic for Emulated {
    const PRECISION: Precision = Precision::Bf16;

    #[inline(always)]
    fn mul_add<S: Simd>(self, simd: S, factor: S::f32s, row: S::f32s, sum: S::f32s) -> S::f32s {
        let sum = simd.mul_add_f32s(high(simd, factor), high(simd, row), sum);
        simd.mul_add_f32s(low(simd, factor), low(simd, row), sum)
    }
}

#[inline(always)]
fn high<S: Simd>(simd: S, pairs: S::f32s) -> S::f32s {
    let bits = simd.transmute_u32s_f32s(pairs);
    simd.transmute_f32s_u32s(simd.and_u32s(bits, simd.splat_u32s(0xffff_0000)))
}

#[inline(always)]
fn low<S: Simd>(simd: S, pairs: S::f32s) -> S::f32s {
    let bits = simd.transmute_u32s_f32s(pairs);
    simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(bits, simd.splat_u32s(16)))
}

/// Lanes of two integers of 16 bits; sums are integers of 32.
#[derive(Clone, Copy)]
pub struct Integers;

impl Arithmetic for Integers {
    const PRECISION: Precision = Precision::Int16;

    #[inline(always)]
    fn mul_add<S: Simd>(self, simd: S, factor: S::f32s, row: S::f32s, sum: S::f32s) -> S::f32s {
        let products = products(simd, factor, row);
        simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(sum), products))
    }
}

/// Lane by lane the sum of both products.
#[inline(always)]
fn products<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::u32s {
    #[cfg(target_arch = "x86_64")]
    {
        // Which instruction set this is compiled for is known then: nothing is asked at run time.
        let simd: &dyn Any = &simd;
        if let Some(v3) = simd.downcast_ref::<V3>() {
            return cast(v3.multiply_wrapping_add_adjacent_i16x16(cast(a), cast(b)));
        }
        if let Some(v4) = simd.downcast_ref::<V4>() {
            return cast(v4.multiply_wrapping_add_adjacent_i16x32(cast(a), cast(b)));
        }
    }
    let _ = simd;
    let mut sums: S::u32s = bytemuck::Zeroable::zeroed();
    let lanes = bytemuck::cast_slice_mut::<_, i32>(std::slice::from_mut(&mut sums));
    let a: &[[i16; 2]] = bytemuck::cast_slice(std::slice::from_ref(&a));
    let b: &[[i16; 2]] = bytemuck::cast_slice(std::slice::from_ref(&b));
    for ((sum, a), b) in lanes.iter_mut().zip(a).zip(b) {
        let [low, high] = [0, 1].map(|i| i32::from(a[i]) * i32::from(b[i]));
        *sum = low.wrapping_add(high);
    }
    sums
}

/// Sums of integers as the nearest numbers.
#[inline(always)]
pub(super) fn from_integers<S: Simd>(simd: S, sums: S::f32s) -> S::f32s {
    #[cfg(target_arch = "x86_64")]
    {
        let simd: &dyn Any = &simd;
        if let Some(v3) = simd.downcast_ref::<V3>() {
            return cast(v3.convert_i32x8_to_f32x8(cast(sums)));
        }
        if let Some(v4) = simd.downcast_ref::<V4>() {
            return cast(v4.convert_i32x16_to_f32x16(cast(sums)));
        }
    }
    let _ = simd;
    let mut numbers = sums;
    for lane in bytemuck::cast_slice_mut::<_, f32>(std::slice::from_mut(&mut numbers)) {
        *lane = lane.to_bits().cast_signed() as f32;
    }
    numbers
}
