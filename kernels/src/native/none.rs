//! Where there are none.

use pulp::Simd;

use crate::arithmetic::Arithmetic;
use crate::lanes::Precision;

/// No such instruction is used here.
#[derive(Clone, Copy)]
pub enum Native {}

/// No such instruction is used here.
#[derive(Clone, Copy)]
pub enum Vnni {}

impl Native {
    /// None.
    pub fn try_new() -> Option<Self> {
        None
    }

    /// Never called.
    pub fn pays(self) -> bool {
        match self {}
    }
}

impl Vnni {
    /// None.
    pub fn try_new() -> Option<Self> {
        None
    }
}

impl Arithmetic for Native {
    const PRECISION: Precision = Precision::Bf16;

    fn mul_add<S: Simd>(self, _: S, _: S::f32s, _: S::f32s, _: S::f32s) -> S::f32s {
        match self {}
    }
}

impl Arithmetic for Vnni {
    const PRECISION: Precision = Precision::Int16;

    fn mul_add<S: Simd>(self, _: S, _: S::f32s, _: S::f32s, _: S::f32s) -> S::f32s {
        match self {}
    }
}
