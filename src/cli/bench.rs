//! `copydesk bench`: from arguments to what `crate::bench` measures, and from there to a table on
//! standard output, JSON or a page.

mod articles;
mod encode;
mod local;
mod output;
mod progress;
#[cfg(feature = "grpc")]
mod server;
mod set;
mod sizes;
mod start;
mod windows;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::Failure;
use super::setup::ModelArguments;
use crate::article::Limits;
use crate::bench::cost::Cost;
use crate::classifier::Classifier;
use crate::engine;

/// Arguments of `bench`.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure a model in this process: pipeline, stages, encoder, start, memory.
    Local(local::Arguments),
    /// Measure a running server, with callers that wait (closed loop) or do not (open loop).
    #[cfg(feature = "grpc")]
    Server(server::Arguments),
    /// Measure how time grows with an article's length, and throughput with callers.
    Sizes(sizes::Arguments),
    /// Measure the encoder alone, and with the heads, on windows from a file.
    Encode(encode::Arguments),
    /// Measure the whole pipeline on articles from a file.
    Articles(articles::Arguments),
    /// Print the windows of articles, a JSON object a line, for other runtimes to be measured on.
    Windows(windows::Arguments),
    /// Load a model, answer ten sentences, say how long that took, and end.
    #[command(hide = true)]
    Start(start::Arguments),
}

/// Runs the command.
pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    match arguments.command {
        Command::Local(arguments) => local::run(&arguments)?,
        #[cfg(feature = "grpc")]
        Command::Server(arguments) => return server::run(&arguments),
        Command::Sizes(arguments) => sizes::run(&arguments)?,
        Command::Encode(arguments) => encode::run(&arguments)?,
        Command::Articles(arguments) => articles::run(&arguments)?,
        Command::Windows(arguments) => windows::run(&arguments)?,
        Command::Start(arguments) => start::run(&arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A classifier, and what its encoder costs.
fn classifier(model: &ModelArguments) -> Result<(Classifier, Cost), Failure> {
    let found = model.find()?;
    let cost = Cost::read(&found.files.config)?;
    let classifier = model.start(&found, engine::Config::default(), Limits::default())?;
    Ok((classifier, cost))
}

/// Articles under way at a time, so that every worker finds full batches.
fn callers(classifier: &Classifier) -> usize {
    2 * classifier.engine().config().workers + 2
}

/// A number of seconds, up to a day.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|error| error.to_string())?;
    match (0.0..=86_400.0).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err("from 0 to 86400 seconds are allowed".to_owned()),
    }
}

/// A count from 1 up.
fn count(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(0) => Err("must be 1 or more".to_owned()),
        Ok(count) => Ok(count),
        Err(error) => Err(error.to_string()),
    }
}
