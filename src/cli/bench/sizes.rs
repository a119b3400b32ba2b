//! `copydesk bench sizes`.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::output::{Output, header};
use super::progress::Progress;
use super::{count, seconds};
use crate::bench::{Pace, sizes};
use crate::cli::Failure;
use crate::cli::setup::{ModelArguments, runtime};

/// Arguments of `bench sizes`.
#[derive(Args)]
pub(super) struct Arguments {
    /// Lengths of articles, in sentences.
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "1,10,100,1000,5000",
        value_parser = length
    )]
    sentences: Vec<usize>,

    /// Callers at a time.
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "1,2,4,8,16,32,64",
        value_parser = count
    )]
    concurrency: Vec<usize>,

    /// Seconds of each length and each number of callers; what takes longer is measured once.
    #[arg(long, value_name = "SECONDS", default_value = "5", env = "COPYDESK_BENCH_SECONDS", value_parser = seconds)]
    seconds: Duration,

    /// Seconds that are left out at the start, and before each number of callers.
    #[arg(long, value_name = "SECONDS", default_value = "1", env = "COPYDESK_BENCH_WARMUP", value_parser = seconds)]
    warmup: Duration,

    #[command(flatten)]
    model: ModelArguments,

    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (classifier, cost) = super::classifier(&arguments.model)?;
    let config = sizes::Config {
        sentences: arguments.sentences.clone(),
        callers: arguments.concurrency.clone(),
        pace: Pace {
            warmup: arguments.warmup,
            time: arguments.seconds,
        },
    };
    let progress = Progress::new();
    let report = runtime()?.block_on(sizes::measure(&classifier, &cost, &config, &progress))?;
    drop(progress);
    let engine = classifier.engine();
    let header = header(
        "sizes",
        engine.model().identity(),
        [
            ("device", json!(engine.model().placement().to_string())),
            ("workers", json!(engine.config().workers)),
            ("batch_tokens", json!(engine.config().max_batch_tokens)),
            ("seconds", json!(arguments.seconds.as_secs_f64())),
            ("warmup_seconds", json!(arguments.warmup.as_secs_f64())),
        ],
    );
    arguments.output.write(&header, &report)
}

/// Sentences of an article, as many as one may have.
fn length(text: &str) -> Result<usize, String> {
    let most = sizes::LONGEST;
    match count(text)? {
        length if length <= most => Ok(length),
        _ => Err(format!("an article may have {most} sentences")),
    }
}
