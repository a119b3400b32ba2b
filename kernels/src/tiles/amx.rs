//! The instructions.

use std::arch::asm;
use std::marker::PhantomData;

use raw_cpuid::CpuId;

use super::{SIDE, Sums, TALL, Tile};
use crate::lanes::Row;
use crate::native::Native;

/// To have one is to know that the machine has tiles and that the process may use them.
#[derive(Clone, Copy)]
pub struct Tiles(Native);

/// The registers of this thread are set up for tiles; they are given back when this is dropped, so that the
/// system need not save them.
pub struct Ready {
    /// Of this thread alone.
    thread: PhantomData<*const ()>,
}

/// What `ldtilecfg` reads.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Eight registers of 16 rows of 64 bytes.
static WHOLE: Shapes = Shapes {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

impl Tiles {
    /// Looks at the machine, and asks the system for its leave: tiles are 8 KiB of state a thread, which
    /// Linux saves only for processes that said so.
    pub fn try_new() -> Option<Self> {
        let native = Native::try_new()?;
        let features = CpuId::new().get_extended_feature_info()?;
        let there = features.has_amx_tile() && features.has_amx_bf16();
        (there && permitted()).then_some(Self(native))
    }

    /// The vector instructions beside them.
    pub fn native(self) -> Native {
        self.0
    }

    /// Sets this thread's registers up. Not while they are: the first to be dropped gives them back.
    #[expect(unsafe_code, reason = "the instructions have no safe face yet")]
    pub(super) fn ready(self) -> Ready {
        // SAFETY: `self` exists, so the machine has tiles and the process may use them; the shapes are
        // 64 bytes of a valid configuration.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const WHOLE, options(nostack, readonly));
        }
        Ready {
            thread: PhantomData,
        }
    }
}

impl Drop for Ready {
    #[expect(unsafe_code, reason = "the instructions have no safe face yet")]
    fn drop(&mut self) {
        // SAFETY: this thread's registers were set up, and nothing in them outlives a product.
        unsafe { asm!("tilerelease", options(nostack, nomem)) }
    }
}

#[expect(unsafe_code, reason = "a system call")]
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_int = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_ulong = 18;
    // SAFETY: takes two numbers and touches no memory of ours.
    let failed = unsafe {
        libc::syscall(
            libc::SYS_arch_prctl,
            ARCH_REQ_XCOMP_PERM,
            XFEATURE_XTILEDATA,
        )
    };
    failed == 0
}

impl Ready {
    /// `out` = `left` · `right`, of N · 16 tokens from the front of the rows: `left` is step after step of
    /// [`TALL`] tiles below one another, `right` pairs of features \[steps · 16, tokens\].
    ///
    /// # Panics
    ///
    /// When `left` and `right` are not of as many steps.
    #[inline(always)]
    pub(super) fn multiply<const N: usize>(&self, left: &[Tile], right: &[Row], out: &mut Sums) {
        let steps = right.len() / SIDE;
        assert!(
            steps > 0 && right.len() == steps * SIDE && left.len() == steps * TALL,
            "{} tiles by {} rows",
            left.len(),
            right.len()
        );
        match N {
            1 => self.one(left, right, out),
            2 => self.two(left, right, out),
            _ => self.three(left, right, out),
        }
    }
}

/// A product of so many tokens: the sums' registers by row of tiles, and what a step does.
macro_rules! product {
    ($name:ident, $zero:expr, $step:expr, $above:expr, $below:expr) => {
        #[inline(always)]
        #[expect(unsafe_code, reason = "the instructions have no safe face yet")]
        fn $name(&self, left: &[Tile], right: &[Row], out: &mut Sums) {
            // SAFETY: `self` exists, so the registers are set up; each of the steps, of which there is one at
            // least, reads two tiles of `left` and 16 rows of `right`, which `multiply` has counted; and 32
            // rows of `out` are written, 64 bytes a register, within the 192 of a row. The registers are
            // used by nothing else.
            unsafe {
                asm!(
                    $zero,
                    "2:",
                    $step,
                    "add {left}, 2048",
                    "add {right}, 3072",
                    "dec {steps}",
                    "jnz 2b",
                    $above,
                    "add {out}, 3072",
                    $below,
                    left = inout(reg) left.as_ptr() => _,
                    right = inout(reg) right.as_ptr() => _,
                    steps = inout(reg) right.len() / SIDE => _,
                    out = inout(reg) out.as_mut_ptr() => _,
                    tile = in(reg) size_of::<[f32; SIDE]>(),
                    row = in(reg) size_of::<Row>(),
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

impl Ready {
    product!(
        one,
        "tilezero tmm0\n tilezero tmm3",
        "tileloadd tmm6, [{left} + {tile}]
         tileloadd tmm7, [{right} + {row}]
         tdpbf16ps tmm0, tmm6, tmm7
         tileloadd tmm5, [{left} + {tile} + 1024]
         tdpbf16ps tmm3, tmm5, tmm7",
        "tilestored [{out} + {row}], tmm0",
        "tilestored [{out} + {row}], tmm3"
    );

    product!(
        two,
        "tilezero tmm0\n tilezero tmm1\n tilezero tmm3\n tilezero tmm4",
        "tileloadd tmm6, [{left} + {tile}]
         tileloadd tmm7, [{right} + {row}]
         tdpbf16ps tmm0, tmm6, tmm7
         tileloadd tmm2, [{right} + {row} + 64]
         tdpbf16ps tmm1, tmm6, tmm2
         tileloadd tmm5, [{left} + {tile} + 1024]
         tdpbf16ps tmm3, tmm5, tmm7
         tdpbf16ps tmm4, tmm5, tmm2",
        "tilestored [{out} + {row}], tmm0\n tilestored [{out} + {row} + 64], tmm1",
        "tilestored [{out} + {row}], tmm3\n tilestored [{out} + {row} + 64], tmm4"
    );

    // Six sums leave two registers: the tokens' are read twice, but for the last of the first row of tiles.
    product!(
        three,
        "tilezero tmm0\n tilezero tmm1\n tilezero tmm2\n tilezero tmm3\n tilezero tmm4\n tilezero tmm5",
        "tileloadd tmm6, [{left} + {tile}]
         tileloadd tmm7, [{right} + {row}]
         tdpbf16ps tmm0, tmm6, tmm7
         tileloadd tmm7, [{right} + {row} + 64]
         tdpbf16ps tmm1, tmm6, tmm7
         tileloadd tmm7, [{right} + {row} + 128]
         tdpbf16ps tmm2, tmm6, tmm7
         tileloadd tmm6, [{left} + {tile} + 1024]
         tdpbf16ps tmm5, tmm6, tmm7
         tileloadd tmm7, [{right} + {row} + 64]
         tdpbf16ps tmm4, tmm6, tmm7
         tileloadd tmm7, [{right} + {row}]
         tdpbf16ps tmm3, tmm6, tmm7",
        "tilestored [{out} + {row}], tmm0
         tilestored [{out} + {row} + 64], tmm1
         tilestored [{out} + {row} + 128], tmm2",
        "tilestored [{out} + {row}], tmm3
         tilestored [{out} + {row} + 64], tmm4
         tilestored [{out} + {row} + 128], tmm5"
    );
}
