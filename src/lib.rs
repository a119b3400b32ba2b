//! copydesk reads news copy: what kind each sentence is, whose words it carries, and how it makes
//! each party look.
//!
//! # Layout
//!
//! An article flows one way, and so do the imports:
//!
//! ```text
//! main → cli → bench → grpc → telemetry → classifier → engine → model → encode → {party, quote, segment, article, answer}
//! ```
//!
//! - [`article`]: what comes in, its limits, what is refused;
//! - [`segment`]: text → sentences; [`quote`]: quoted words; [`party`]: names → mentions, mentions → parties;
//! - [`encode`]: sentences → windows of token ids;
//! - [`model`]: windows → logits and spans, on candle; synchronous;
//! - `hub`, with the feature of its name: models from the Hugging Face Hub;
//! - [`engine`]: the bounded queue and the worker threads;
//! - [`classifier`]: an article → a stream of answered sentences, then a summary;
//! - `telemetry`, with the service: what the server tells of itself;
//! - `bench`, with the feature of its name: measures all of it, for the command line alone;
//! - [`answer`]: what comes back, and its JSON; [`span`]: places in a text, counted three ways.

//!
//! # From Rust
//!
//! The crate is the service's engine without the service: with `default-features = false` and the
//! feature `embedded-model` it has no gRPC, no command line and no network.
//!
//! ```
//! use copydesk::model::files::Files;
//! use copydesk::{Article, Body, Classifier, Event, Model, Options, Placement};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # if Files::embedded().is_none() { return Ok(()) }
//! let files = Files::embedded().ok_or("built without a model inside")?;
//! let classifier = Classifier::start(Model::load(&files, Placement::Cpu)?)?;
//! let article = Article {
//!     id: "a1".into(),
//!     headline: Some("Port Ellis doubles its harbour fee".into()),
//!     body: Body::Text(
//!         "Port Ellis doubled its fee on Tuesday. \"The channel is full of sand,\" said Ida Brandt.".into(),
//!     ),
//!     ..Article::default()
//! };
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let mut answer = classifier.classify(article, Options::default())?;
//! while let Some(event) = answer.next().await {
//!     match event? {
//!         Event::Sentence(sentence) => println!("{:?}: {}", sentence.kind, sentence.text),
//!         Event::Summary(summary) => println!("{} parties", summary.parties.len()),
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })
//! # }
//! ```
//!
//! `examples/library.rs` is the same as a program. What it costs: 21 million
//! floating-point operations a token, and attention; 230 MB of memory at most were measured with two workers,
//! which share the weights.

pub mod answer;
pub mod article;
#[cfg(feature = "bench")]
mod bench;
pub mod classifier;
#[cfg(feature = "cli")]
pub mod cli;
pub mod encode;
pub mod engine;
pub mod eval;
#[cfg(feature = "grpc")]
pub mod grpc;
#[cfg(feature = "hub")]
pub mod hub;
pub mod model;
pub mod party;
pub mod quote;
pub mod render;
pub mod segment;
pub mod span;
#[cfg(feature = "grpc")]
pub mod telemetry;

pub use answer::{Event, Sentence, Summary};
pub use article::{Article, Body, Limits, Parties, Party};
pub use classifier::{Classification, Classifier, ClassifyError, Options};
pub use engine::Engine;
pub use model::{Model, Placement};
