//! Products of matrix tiles: Intel's AMX, of bfloat16.
//!
//! One instruction multiplies 16 × 32 numbers by 32 × 16 and adds what it gives to 16 × 16 sums. What it takes
//! is what lies here anyway: a block's features in pairs are one factor as they are, 16 tokens wide, and its
//! outputs are the sums. Only weights, keys and values are laid out for it, as [`Tile`]s.
//!
//! Each sum adds up the products of 32 features in two halves, the even and the odd ones, in order, each step
//! rounded once, and then adds both (Intel 64 and IA-32 Architectures Software Developer's Manual,
//! TDPBF16PS): not the order of `vdpbf16ps`, so the last bits differ from it, but the same whatever else is in
//! the batch.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod attention;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod functions;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod linear;
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod none;

use bytemuck::{Pod, Zeroable};

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub use self::none::{Packed, Tiles};
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub use self::there::{Packed, Tiles};

/// Rows of a tile, and pairs in a row of it.
const SIDE: usize = 16;

/// Pairs of bfloat16, row by row.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Tile([[f32; SIDE]; SIDE]);

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod there {
    pub use super::amx::Tiles;
    use super::attention::Attend;
    pub use super::attention::Packed;
    use super::linear::{self, Paired, Product, Single};
    use super::{DEPTH, Tile};
    use crate::kernel::With;
    use crate::lanes::{Lanes, Linear};

    impl Tiles {
        /// Weights \[outputs, inputs\] as tiles, if they fill them.
        pub fn laid_out(self, weight: &[f32], inputs: usize, outputs: usize) -> Option<Vec<Tile>> {
            let fits = outputs > 0 && inputs > 0 && inputs.is_multiple_of(DEPTH);
            fits.then(|| linear::laid_out(weight, inputs, outputs))
        }

        /// A linear layer with these weights, as `Kernels::linear` has it.
        pub fn linear(
            self,
            layer: &Linear,
            weights: &[Tile],
            x: &Lanes,
            with: With<'_>,
            out: &mut Lanes,
        ) {
            let residual = match with {
                With::Residual(residual) => Some(residual),
                With::Bias | With::Gelu => None,
            };
            if let With::Gelu = with {
                let finish = Single::<true> {
                    layer,
                    residual,
                    out,
                };
                self.product(layer, weights, x, finish);
            } else {
                let finish = Single::<false> {
                    layer,
                    residual,
                    out,
                };
                self.product(layer, weights, x, finish);
            }
        }

        /// gelu(Wx + b) in pairs.
        pub fn gelu_rounded(self, layer: &Linear, weights: &[Tile], x: &Lanes, out: &mut Lanes) {
            self.product(layer, weights, x, Paired { layer, out });
        }

        fn product<F: linear::Finish>(
            self,
            layer: &Linear,
            weights: &[Tile],
            x: &Lanes,
            finish: F,
        ) {
            self.native().run(Product {
                tiles: self,
                weights,
                layer,
                x,
                finish,
            });
        }

        /// Whether heads, or states, of this width fill tiles.
        pub fn attends(self, width: usize) -> bool {
            width > 0 && width.is_multiple_of(DEPTH)
        }

        /// Attention of one window, as [`crate::kernel::Kernels::attention`] has it.
        pub fn attention(self, qkv: &Lanes, heads: usize, packed: &mut Packed, out: &mut Lanes) {
            self.native().run(Attend {
                tiles: self,
                qkv,
                packed,
                heads,
                out,
            });
        }
    }
}

/// Features that one product adds up.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
const DEPTH: usize = 2 * SIDE;

/// Tiles whose products are computed together: 32 rows of sums.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
const TALL: usize = 2;

/// Sums of [`TALL`] tiles' rows.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
type Sums = [crate::lanes::Row; TALL * SIDE];
