//! Where there are no tiles.

use super::Tile;
use crate::kernel::With;
use crate::lanes::{Lanes, Linear};

/// There are none.
#[derive(Clone, Copy)]
pub enum Tiles {}

/// Nothing to keep.
#[derive(Default)]
pub struct Packed;

impl Tiles {
    /// None.
    pub fn try_new() -> Option<Self> {
        None
    }

    /// Never called.
    pub fn laid_out(self, _: &[f32], _: usize, _: usize) -> Option<Vec<Tile>> {
        match self {}
    }

    /// Never called.
    pub fn linear(self, _: &Linear, _: &[Tile], _: &Lanes, _: With<'_>, _: &mut Lanes) {
        match self {}
    }

    /// Never called.
    pub fn gelu_rounded(self, _: &Linear, _: &[Tile], _: &Lanes, _: &mut Lanes) {
        match self {}
    }

    /// Never called.
    pub fn attends(self, _: usize) -> bool {
        match self {}
    }

    /// Never called.
    pub fn attention(self, _: &Lanes, _: usize, _: &mut Packed, _: &mut Lanes) {
        match self {}
    }
}
