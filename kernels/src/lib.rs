//! The loops that copydesk's encoder spends its time in on a processor: linear layers, attention and LayerNorm
//! over tokens that lie side by side in vector registers, for AVX-512, AVX2 with FMA, NEON or plain code,
//! chosen at run time.
//!
//! A package of its own so that it is optimised in every build: without that a debug build took 23 seconds
//! for an article of 32 sentences, on two cores with AVX2.

mod arithmetic;
mod attention;
mod bfloat;
mod functions;
mod integers;
pub mod kernel;
pub mod lanes;
#[cfg(target_arch = "x86_64")]
mod native;
#[cfg(not(target_arch = "x86_64"))]
#[path = "native/none.rs"]
mod native;
pub mod norm;
mod tiles;
