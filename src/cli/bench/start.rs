//! `copydesk bench start`: what `bench local` starts, to see how long that takes.

use std::io::Write;
use std::time::Instant;

use clap::Args;

use crate::bench::{articles, pipeline, start};
use crate::cli::Failure;
use crate::cli::setup::{ModelArguments, runtime};

/// Arguments of `bench start`.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let began = Instant::now();
    let classifier = arguments.model.classifier()?;
    let loaded = Instant::now();
    let article = articles::of_sentences(start::SENTENCES);
    runtime()?.block_on(pipeline::answer(&classifier, &article))?;
    let inside = serde_json::to_string(&start::inside(began, loaded))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{inside}")?;
    out.flush()?;
    Ok(())
}
