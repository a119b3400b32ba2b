//! One test binary: the library and the real executable, as their users meet them. Touches no
//! network but loopback.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "clippy.toml lets tests do so, but not what they share"
)]

mod archive;
mod bad_models;
#[cfg(feature = "bench")]
mod bench;
mod calibration;
mod cli;
mod fuzzed;
mod golden;
#[cfg(feature = "hub")]
mod hub;
mod layers;
mod load;
mod service;
mod serving;
mod support;
mod tls;
mod windows;
