//! Instructions that `pulp` has no set for: products of bfloat16, and of 16-bit integers with their sum, where
//! there is AVX-512.

#[cfg(target_os = "linux")]
use std::arch::x86_64::{__m512i, _mm512_cvtne2ps_pbh};
use std::arch::x86_64::{_mm512_dpbf16_ps, _mm512_dpwssd_epi32};
#[cfg(target_os = "linux")]
use std::mem::transmute;
use std::mem::{size_of, transmute_copy};

#[cfg(target_os = "linux")]
use pulp::f32x16;
use pulp::x86::V4;
use pulp::{Arch, Simd, WithSimd};

use super::arithmetic::{Arithmetic, Emulated, Integers};
use super::lanes::Precision;

pulp::simd_type! {
    /// What [`V4`] has, and AVX512-BF16.
    struct Features {
        sse: "sse",
        sse2: "sse2",
        fxsr: "fxsr",
        sse3: "sse3",
        ssse3: "ssse3",
        sse4_1: "sse4.1",
        sse4_2: "sse4.2",
        popcnt: "popcnt",
        avx: "avx",
        avx2: "avx2",
        bmi1: "bmi1",
        bmi2: "bmi2",
        fma: "fma",
        lzcnt: "lzcnt",
        avx512f: "avx512f",
        avx512bw: "avx512bw",
        avx512cd: "avx512cd",
        avx512dq: "avx512dq",
        avx512vl: "avx512vl",
        avx512bf16: "avx512bf16",
    }
}

/// Lanes of two bfloat16, multiplied by one instruction; to have one is to know that the machine
/// does.
#[derive(Clone, Copy)]
pub struct Native {
    features: Features,
    simd: V4,
}

impl Native {
    /// Looks at the machine.
    pub fn try_new() -> Option<Self> {
        Some(Self {
            features: Features::try_new()?,
            simd: V4::try_new()?,
        })
    }

    /// Whether it multiplies more in the same time than f32 does. Intel's takes twice as long for twice as many
    /// products, and loses by what rounding costs.
    pub fn pays(self) -> bool {
        let vendor = raw_cpuid::CpuId::new().get_vendor_info();
        vendor.is_none_or(|vendor| vendor.as_str() != "GenuineIntel")
    }
}

/// What tiles have use for.
#[cfg(target_os = "linux")]
impl Native {
    /// The instructions beside it.
    #[inline(always)]
    pub fn simd(self) -> V4 {
        self.simd
    }

    /// Two vectors as pairs of bfloat16, rounded to nearest, ties to even.
    #[inline(always)]
    #[expect(unsafe_code, reason = "the instruction has no safe face yet")]
    pub fn paired(self, low: f32x16, high: f32x16) -> f32x16 {
        /// Numbers of the one and of the other in turn.
        const IN_TURN: [u16; 32] = {
            let mut order = [0; 32];
            let mut i = 0;
            while i < 16 {
                order[2 * i] = i as u16;
                order[2 * i + 1] = 16 + i as u16;
                i += 1;
            }
            order
        };
        // SAFETY: `self` exists, so the machine has AVX512-BF16; and all sides of the casts are 64 bytes
        // of plain bits.
        unsafe {
            let order: __m512i = transmute(IN_TURN);
            let both: __m512i = transmute(self.rounded(low, high));
            transmute(self.simd.avx512bw._mm512_permutexvar_epi16(order, both))
        }
    }

    /// Both, one behind the other, as bfloat16: numbers that stand side by side are pairs.
    #[inline(always)]
    #[expect(unsafe_code, reason = "the instruction has no safe face yet")]
    pub fn rounded(self, first: f32x16, second: f32x16) -> f32x16 {
        // SAFETY: as above.
        unsafe {
            let (first, second) = (transmute_copy(&first), transmute_copy(&second));
            transmute_copy(&_mm512_cvtne2ps_pbh(second, first))
        }
    }

    /// Runs the work with these instructions.
    #[inline(always)]
    pub fn run<W: Work>(self, work: W) {
        struct Call<W>(Native, W);
        impl<W: Work> pulp::NullaryFnOnce for Call<W> {
            type Output = ();

            #[inline(always)]
            fn call(self) {
                self.1.run(self.0);
            }
        }
        self.features.vectorize(Call(self, work));
    }
}

/// What runs with AVX512-BF16 alone.
#[cfg(target_os = "linux")]
pub trait Work {
    /// Does it; to be inlined, or it is compiled without the instructions.
    fn run(self, native: Native);
}

impl Arithmetic for Native {
    const PRECISION: Precision = Precision::Bf16;

    #[inline(always)]
    #[expect(unsafe_code, reason = "the instruction has no safe face yet")]
    fn mul_add<S: Simd>(self, simd: S, factor: S::f32s, row: S::f32s, sum: S::f32s) -> S::f32s {
        if size_of::<S::f32s>() != 64 {
            return Emulated.mul_add(simd, factor, row, sum);
        }
        // SAFETY: `self` exists, so the machine has AVX512-BF16; and all sides of the casts are
        // 64 bytes of plain bits.
        unsafe {
            let sum = _mm512_dpbf16_ps(
                transmute_copy(&sum),
                transmute_copy(&factor),
                transmute_copy(&row),
            );
            transmute_copy(&sum)
        }
    }

    #[inline(always)]
    fn dispatch<W: WithSimd>(self, _: Arch, work: W) -> W::Output {
        self.features.vectorize(Run(self.simd, work))
    }
}

pulp::simd_type! {
    /// What [`V4`] has, and AVX512-VNNI.
    struct IntegerFeatures {
        sse: "sse",
        sse2: "sse2",
        fxsr: "fxsr",
        sse3: "sse3",
        ssse3: "ssse3",
        sse4_1: "sse4.1",
        sse4_2: "sse4.2",
        popcnt: "popcnt",
        avx: "avx",
        avx2: "avx2",
        bmi1: "bmi1",
        bmi2: "bmi2",
        fma: "fma",
        lzcnt: "lzcnt",
        avx512f: "avx512f",
        avx512bw: "avx512bw",
        avx512cd: "avx512cd",
        avx512dq: "avx512dq",
        avx512vl: "avx512vl",
        avx512vnni: "avx512vnni",
    }
}

/// Lanes of two integers of 16 bits, multiplied and added by one instruction; to have one is to know that the
/// machine does.
#[derive(Clone, Copy)]
pub struct Vnni {
    features: IntegerFeatures,
    simd: V4,
}

impl Vnni {
    /// Looks at the machine.
    pub fn try_new() -> Option<Self> {
        Some(Self {
            features: IntegerFeatures::try_new()?,
            simd: V4::try_new()?,
        })
    }
}

impl Arithmetic for Vnni {
    const PRECISION: Precision = Precision::Int16;

    #[inline(always)]
    #[expect(unsafe_code, reason = "the instruction has no safe face yet")]
    fn mul_add<S: Simd>(self, simd: S, factor: S::f32s, row: S::f32s, sum: S::f32s) -> S::f32s {
        if size_of::<S::f32s>() != 64 {
            return Integers.mul_add(simd, factor, row, sum);
        }
        // SAFETY: `self` exists, so the machine has AVX512-VNNI; and all sides of the casts are 64 bytes of
        // plain bits.
        unsafe {
            let sum = _mm512_dpwssd_epi32(
                transmute_copy(&sum),
                transmute_copy(&factor),
                transmute_copy(&row),
            );
            transmute_copy(&sum)
        }
    }

    #[inline(always)]
    fn dispatch<W: WithSimd>(self, _: Arch, work: W) -> W::Output {
        self.features.vectorize(Run(self.simd, work))
    }
}

/// Work that is generic over instruction sets, by AVX-512 and what is enabled beside it.
struct Run<W>(V4, W);

impl<W: WithSimd> pulp::NullaryFnOnce for Run<W> {
    type Output = W::Output;

    #[inline(always)]
    fn call(self) -> W::Output {
        self.1.with_simd(self.0)
    }
}
