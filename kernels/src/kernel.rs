//! The loops that the CPU encoder spends its time in, vectorised for the instruction set that the
//! machine has (AVX-512, AVX2 with FMA, NEON, or plain), chosen at run time.
//!
//! Every token keeps to its own lane, and each number comes from the same operations in the same
//! order whatever its lane, its neighbours and the width of the registers: a result does not depend,
//! to the last bit, on the batch that it was computed in, nor (but for `tiles`) on the instruction
//! set.

#![expect(
    clippy::needless_range_loop,
    reason = "counted loops of constant length are what becomes registers"
)]

use std::sync::LazyLock;

use pulp::{Arch, Simd, WithSimd};

use super::arithmetic::{Arithmetic, Emulated, Integers, Single, from_integers};
use super::attention::{Attend, Attention};
use super::bfloat::{Round, RoundAcross};
use super::functions::gelu;
use super::integers::Quantise;
use super::lanes::{BLOCK, Lanes, Linear, NARROW, Precision, Row, WIDE};
use super::native::{Native, Vnni};
use super::norm::{LayerNorm, Norm};
use super::tiles::{Packed, Tile, Tiles};

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
    native: Option<Native>,
    vnni: Option<Vnni>,
    tiles: Option<Tiles>,
}

impl Default for Kernels {
    fn default() -> Self {
        Self::new()
    }
}

impl Kernels {
    /// Looks at the machine, once.
    pub fn new() -> Self {
        static FOUND: LazyLock<Kernels> = LazyLock::new(|| Kernels {
            arch: Arch::new(),
            native: Native::try_new(),
            vnni: Vnni::try_new(),
            tiles: Tiles::try_new(),
        });
        *FOUND
    }

    /// Takes an instruction set that the caller knows to be there, and nothing beside it.
    pub fn with(arch: Arch) -> Self {
        Self {
            arch,
            native: None,
            vnni: None,
            tiles: None,
        }
    }

    /// The same without tiles.
    pub fn without_tiles(self) -> Self {
        Self {
            tiles: None,
            ..self
        }
    }

    /// The tiles, where there are any.
    pub fn tiles(self) -> Option<Tiles> {
        self.tiles
    }

    /// The instruction set.
    pub fn arch(self) -> Arch {
        self.arch
    }

    /// The precision to take for states of so many features if none is asked for; the answers are those of f32
    /// but for rounding: bfloat16 where there are tiles that they fill or its instruction pays, integers where
    /// they have an instruction or AVX2 is the widest, f32 elsewhere.
    pub fn preferred(self, hidden: usize) -> Precision {
        let tiled = self.tiles.is_some_and(|tiles| tiles.attends(hidden));
        if tiled || self.native.is_some_and(Native::pays) {
            return Precision::Bf16;
        }
        match self.arch {
            _ if self.vnni.is_some() => Precision::Int16,
            #[cfg(target_arch = "x86_64")]
            Arch::V3(_) => Precision::Int16,
            _ => Precision::F32,
        }
    }

    /// A linear layer: `x` \[inputs, tokens\], [rounded](Self::round) to the layer's precision, → `out`
    /// \[outputs, tokens\].
    pub fn linear(self, layer: &Linear, x: &Lanes, with: With<'_>, out: &mut Lanes) {
        out.resize(layer.outputs(), x.tokens());
        if let Some((tiles, weights)) = self.tiles_of(layer) {
            return tiles.linear(layer, weights, x, with, out);
        }
        match (layer.precision(), self.native, self.vnni) {
            (Precision::F32, _, _) => self.product(Single, layer, x, with, out),
            (Precision::Bf16, Some(native), _) => self.product(native, layer, x, with, out),
            (Precision::Bf16, None, _) => self.product(Emulated, layer, x, with, out),
            (Precision::Int16, _, Some(vnni)) => self.product(vnni, layer, x, with, out),
            (Precision::Int16, _, None) => self.product(Integers, layer, x, with, out),
        }
    }

    /// What goes into the layer after this: gelu(Wx + b), [rounded](Self::round) to the precision of both;
    /// `between` is a buffer.
    pub fn gelu_rounded(self, layer: &Linear, x: &Lanes, between: &mut Lanes, out: &mut Lanes) {
        let precision = layer.precision();
        if let Some((tiles, weights)) = self.tiles_of(layer) {
            out.resize(precision.rows(layer.outputs()), x.tokens());
            return tiles.gelu_rounded(layer, weights, x, out);
        }
        if precision == Precision::F32 {
            return self.linear(layer, x, With::Gelu, out);
        }
        self.linear(layer, x, With::Gelu, between);
        self.round(between, precision, out);
    }

    /// # Panics
    ///
    /// When the layer is laid out for tiles and there are none.
    fn tiles_of(self, layer: &Linear) -> Option<(Tiles, &[Tile])> {
        let weights = layer.tiles()?;
        assert!(self.tiles.is_some(), "laid out for another instruction set");
        Some((self.tiles?, weights))
    }

    fn product<A: Arithmetic>(
        self,
        arithmetic: A,
        layer: &Linear,
        x: &Lanes,
        with: With<'_>,
        out: &mut Lanes,
    ) {
        let residual = match with {
            With::Residual(residual) => Some(residual),
            With::Bias | With::Gelu => None,
        };
        if let With::Gelu = with {
            let product = Product::<A, GELU> {
                arithmetic,
                layer,
                x,
                out,
                residual,
            };
            arithmetic.dispatch(self.arch, product);
        } else {
            let product = Product::<A, BIAS> {
                arithmetic,
                layer,
                x,
                out,
                residual,
            };
            arithmetic.dispatch(self.arch, product);
        }
    }

    /// What goes into a layer of this precision: \[features, tokens\] → in f32 the same; else features two by
    /// two, \[features / 2, tokens\]; below integers stands one row more, what each token's are multiples of.
    pub fn round(self, x: &Lanes, precision: Precision, out: &mut Lanes) {
        let rows = precision.rows(x.features());
        match precision {
            Precision::F32 => out.copy_from(x, 0, x.tokens()),
            Precision::Bf16 => {
                out.resize(rows, x.tokens());
                self.arch.dispatch(Round { x, out });
            }
            Precision::Int16 => {
                out.resize(rows + 1, x.tokens());
                self.arch.dispatch(Quantise { x, out });
            }
        }
    }

    /// Normalises every token over its features, in place: (x − mean) / √(variance + ε) · γ + β.
    pub fn layer_norm(self, x: &mut Lanes, norm: &Norm) {
        self.arch.dispatch(LayerNorm { x, norm });
    }

    /// Attention of one window: `qkv` is \[3 · heads · width, tokens\], queries, keys and values
    /// below one another; `out` \[heads · width, tokens\]. It is multiplied in bfloat16 or in f32; as integers
    /// it would be no faster at a window's length. A head of odd width is multiplied in f32 too.
    pub fn attention(
        self,
        qkv: &Lanes,
        heads: usize,
        precision: Precision,
        scratch: &mut Scratch,
        out: &mut Lanes,
    ) {
        let hidden = qkv.features() / 3;
        out.resize(hidden, qkv.tokens());
        let Scratch {
            scores,
            pairs,
            values,
            packed,
        } = scratch;
        if let (Precision::Bf16, Some(tiles)) = (precision, self.tiles)
            && tiles.attends(hidden / heads)
        {
            return tiles.attention(qkv, heads, packed, out);
        }
        scores.resize(qkv.tokens().next_multiple_of(BLOCK), BLOCK);
        let in_bf16 = precision == Precision::Bf16 && (hidden / heads).is_multiple_of(2);
        let (qk, values, first_value) = if in_bf16 {
            self.round(qkv, Precision::Bf16, pairs);
            values.resize(hidden, Precision::Bf16.rows(qkv.tokens()));
            self.arch.dispatch(RoundAcross {
                x: qkv,
                first: 2 * hidden,
                out: values,
            });
            (&*pairs, &*values, 0)
        } else {
            (qkv, qkv, 2 * hidden)
        };
        let attention = Attention {
            qk,
            values,
            first_value,
            heads,
            scores,
            out,
        };
        match (in_bf16, self.native) {
            (false, _) => self.arch.dispatch(Attend(Single, attention)),
            (true, Some(native)) => native.dispatch(self.arch, Attend(native, attention)),
            (true, None) => self.arch.dispatch(Attend(Emulated, attention)),
        }
    }
}

/// Buffers of attention.
#[derive(Default)]
pub struct Scratch {
    scores: Lanes,
    /// Queries and keys, their features in pairs.
    pairs: Lanes,
    /// Values, their tokens in pairs.
    values: Lanes,
    packed: Packed,
}

const BIAS: bool = false;
const GELU: bool = true;

/// Bytes of weights that are kept near while all tokens pass by: a part of the second-level cache.
pub(super) const NEAR: usize = 256 << 10;

/// Rows of a slice of tokens that are kept nearest while all those weights pass by, where a slice is no
/// whole row: 24 KiB, most of the first-level cache.
const DEPTH: usize = 384;

struct Product<'a, A, const ACT: bool> {
    arithmetic: A,
    layer: &'a Linear,
    x: &'a Lanes,
    out: &'a mut Lanes,
    residual: Option<&'a Lanes>,
}

impl<A: Arithmetic, const ACT: bool> WithSimd for Product<'_, A, ACT> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::REGISTER_COUNT >= 32 {
            self.run::<S, WIDE>(simd);
        } else {
            self.run::<S, NARROW>(simd);
        }
    }
}

impl<A: Arithmetic, const ACT: bool> Product<'_, A, ACT> {
    /// In panels of P outputs, and so many rows at a time, whose sums wait in `out` for the next.
    #[inline(always)]
    fn run<S: Simd, const P: usize>(self, simd: S) {
        let (outputs, rows) = (self.layer.outputs(), self.layer.rows());
        let panels = outputs.div_ceil(P);
        let whole = slice::<S>() * S::F32_LANES >= BLOCK;
        let depth = if whole { rows } else { rows.min(DEPTH) }.max(1);
        let near = (NEAR / size_of::<[f32; P]>() / depth).max(1);
        for from in (0..rows).step_by(depth) {
            let depths = from..rows.min(from + depth);
            for first in (0..panels).step_by(near) {
                let chunk = first..panels.min(first + near);
                for (b, (x, used)) in self.x.blocks().enumerate() {
                    let residual = self.residual.map(|r| r.block(b));
                    let scales = A::INTEGERS.then(|| &x[rows]);
                    let out = self.out.block_mut(b);
                    for (at, count) in slices::<S>(used) {
                        for panel in chunk.clone() {
                            let features = panel * P..outputs.min((panel + 1) * P);
                            let operands = Weighted {
                                twos: A::INTEGERS,
                                panel: &self.layer.panel::<P>(panel)[depths.clone()],
                                rows: &x[depths.clone()],
                            };
                            let sums = Outputs::<ACT> {
                                begins: from == 0,
                                ends: depths.end == rows,
                                bias: &self.layer.bias()[features.clone()],
                                residual: residual.map(|r| &r[features.clone()]),
                                scales: scales.map(|s| (s, &self.layer.steps()[features.clone()])),
                                out: &mut out[features],
                            };
                            tile(simd, self.arithmetic, operands, at, count, sums);
                        }
                    }
                }
            }
        }
    }
}

/// The outputs of one panel: their sums begin with bias and residual, or go on from where they wait. Sums of
/// integers begin with zero, wait as they are, and are numbers only at their end.
pub(super) struct Outputs<'a, const ACT: bool> {
    pub begins: bool,
    pub ends: bool,
    pub bias: &'a [f32],
    pub residual: Option<&'a [Row]>,
    /// Of integers: what those of each token, and those of each output, are multiples of.
    pub scales: Option<(&'a Row, &'a [f32])>,
    pub out: &'a mut [Row],
}

impl<const ACT: bool> Outputs<'_, ACT> {
    /// What is added to the products of an output; zero past the last.
    #[inline(always)]
    fn offset<S: Simd>(&self, simd: S, i: usize, at: usize) -> S::f32s {
        match (self.bias.get(i), self.residual.and_then(|r| r.get(i))) {
            (Some(b), Some(r)) => simd.add_f32s(vector::<S>(r, at), simd.splat_f32s(*b)),
            (Some(b), None) => simd.splat_f32s(*b),
            _ => simd.splat_f32s(0.0),
        }
    }
}

impl<S: Simd, const ACT: bool> Sums<S> for Outputs<'_, ACT> {
    #[inline(always)]
    fn start(&self, simd: S, i: usize, at: usize) -> S::f32s {
        if !self.begins {
            return match self.out.get(i) {
                Some(row) => vector::<S>(row, at),
                None => simd.splat_f32s(0.0),
            };
        }
        match self.scales {
            Some(_) => simd.splat_f32s(0.0),
            None => self.offset(simd, i, at),
        }
    }

    #[inline(always)]
    fn finish<const V: usize>(&mut self, simd: S, i: usize, at: usize, mut sums: [S::f32s; V]) {
        if i >= self.out.len() {
            return;
        }
        if let (true, Some((tokens, outputs))) = (self.ends, self.scales) {
            for v in 0..V {
                let scale = simd.mul_f32s(vector::<S>(tokens, at + v), simd.splat_f32s(outputs[i]));
                let offset = self.offset(simd, i, at + v);
                sums[v] = simd.mul_add_f32s(from_integers(simd, sums[v]), scale, offset);
            }
        }
        if ACT && self.ends {
            sums = gelu(simd, sums);
        }
        let row = &mut self.out[i];
        for v in 0..V {
            *vector_mut::<S>(row, at + v) = sums[v];
        }
    }
}

/// One vector of a row; `at` counts vectors.
#[inline(always)]
pub(super) fn vector<S: Simd>(row: &Row, at: usize) -> S::f32s {
    S::as_simd_f32s(&row.0).0[at]
}

#[inline(always)]
pub(super) fn vector_mut<S: Simd>(row: &mut Row, at: usize) -> &mut S::f32s {
    &mut S::as_mut_simd_f32s(&mut row.0).0[at]
}

/// The two sides of a sum of products: row after row of one, and M numbers of the other that each
/// multiply the whole row.
pub(super) trait Operands<'a, const M: usize>: Copy {
    type Column: Column;

    fn each(self, step: impl FnMut(Self::Column, &'a Row));
}

pub(super) trait Column: Copy {
    fn get(self, output: usize) -> f32;
}

/// What sums of products begin with, and what becomes of them; `i` is the output within the tile, `at`
/// the vector of its row.
pub(super) trait Sums<S: Simd> {
    fn start(&self, simd: S, i: usize, at: usize) -> S::f32s;

    /// Takes the sums of V vectors from `at` on.
    fn finish<const V: usize>(&mut self, simd: S, i: usize, at: usize, sums: [S::f32s; V]);
}

/// A panel of weights, \[rows, P\], and the tokens of a block, \[rows\].
#[derive(Clone, Copy)]
struct Weighted<'a, const P: usize> {
    /// Goes two rows at a time: of integers a step is so short that counting rows tells. (In f32 it makes the
    /// compiler spill sums, which halves the speed.)
    twos: bool,
    panel: &'a [[f32; P]],
    rows: &'a [Row],
}

impl<'a, const P: usize> Operands<'a, P> for Weighted<'a, P> {
    type Column = &'a [f32; P];

    #[inline(always)]
    fn each(self, mut step: impl FnMut(Self::Column, &'a Row)) {
        let (mut panel, mut rows) = (self.panel, self.rows);
        if self.twos {
            let (weights, last_weights) = panel.as_chunks::<2>();
            let (pairs, last_row) = rows.as_chunks::<2>();
            for (weights, rows) in weights.iter().zip(pairs) {
                step(&weights[0], &rows[0]);
                step(&weights[1], &rows[1]);
            }
            (panel, rows) = (last_weights, last_row);
        }
        for (weights, row) in panel.iter().zip(rows) {
            step(weights, row);
        }
    }
}

impl<const P: usize> Column for &[f32; P] {
    #[inline(always)]
    fn get(self, output: usize) -> f32 {
        self[output]
    }
}

/// The slices of a block's first `used` tokens that tiles take, as their first vector and how many; see
/// [`panel`](super::lanes::panel). With AVX-512 a slice is a whole row.
#[inline(always)]
pub(super) fn slices<S: Simd>(used: usize) -> impl Iterator<Item = (usize, usize)> {
    let vectors = used.div_ceil(S::F32_LANES);
    let found = move |at| (at, slice::<S>().min(vectors - at));
    (0..vectors).step_by(slice::<S>()).map(found)
}

/// Vectors of a slice.
#[inline(always)]
fn slice<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 3 } else { 2 }
}

/// M outputs of one slice of tokens.
#[inline(always)]
pub(super) fn tile<'a, S: Simd, A: Arithmetic, const M: usize>(
    simd: S,
    arithmetic: A,
    operands: impl Operands<'a, M>,
    at: usize,
    count: usize,
    sums: impl Sums<S>,
) {
    match count {
        1 => tile_of::<S, A, M, 1>(simd, arithmetic, operands, at, sums),
        3 if S::REGISTER_COUNT >= 32 => tile_of::<S, A, M, 3>(simd, arithmetic, operands, at, sums),
        _ => tile_of::<S, A, M, 2>(simd, arithmetic, operands, at, sums),
    }
}

/// M outputs of V vectors of tokens.
#[inline(always)]
fn tile_of<'a, S: Simd, A: Arithmetic, const M: usize, const V: usize>(
    simd: S,
    arithmetic: A,
    operands: impl Operands<'a, M>,
    at: usize,
    mut ends: impl Sums<S>,
) {
    let mut sums = [[simd.splat_f32s(0.0); V]; M];
    for i in 0..M {
        for v in 0..V {
            sums[i][v] = ends.start(simd, i, at + v);
        }
    }
    operands.each(
        #[inline(always)]
        |column, row| {
            let row = &S::as_simd_f32s(&row.0).0[at..at + V];
            for i in 0..M {
                let factor = simd.splat_f32s(column.get(i));
                for v in 0..V {
                    sums[i][v] = arithmetic.mul_add(simd, factor, row[v], sums[i][v]);
                }
            }
        },
    );
    for i in 0..M {
        ends.finish(simd, i, at, sums[i]);
    }
}
