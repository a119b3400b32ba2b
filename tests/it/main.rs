//! One test binary: the library and the real executable, as their users meet them. Touches no
//! network but loopback.

mod bad_models;
mod cli;
mod golden;
mod layers;
mod service;
mod serving;
mod support;
