//! `copydesk bench local`.

use std::process::Command;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::output::{Output, header};
use super::progress::Progress;
use super::set::ArticleArguments;
use super::{count, seconds};
use crate::bench::articles::Set;
use crate::bench::{Pace, local};
use crate::cli::Failure;
use crate::cli::setup::{ModelArguments, runtime};

/// Arguments of `bench local`.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    articles: ArticleArguments,

    /// Seconds of each of five measurements: the pipeline full, and with one article at a time;
    /// its stages; the encoder alone, and with the heads.
    #[arg(long, value_name = "SECONDS", default_value = "10", env = "COPYDESK_BENCH_SECONDS", value_parser = seconds)]
    seconds: Duration,

    /// Seconds before each that are left out.
    #[arg(long, value_name = "SECONDS", default_value = "2", env = "COPYDESK_BENCH_WARMUP", value_parser = seconds)]
    warmup: Duration,

    /// Articles under way at a time in the full pipeline; twice the workers and two if left out.
    #[arg(long, value_name = "N", value_parser = count)]
    concurrency: Option<usize>,

    #[command(flatten)]
    model: ModelArguments,

    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let articles = arguments.articles.read()?;
    let (classifier, cost) = super::classifier(&arguments.model)?;
    let engine = classifier.engine();
    let set = Set::new(articles, engine.model().encoder(), &cost)?;
    let config = local::Config {
        callers: arguments
            .concurrency
            .unwrap_or_else(|| super::callers(&classifier)),
        pace: Pace {
            warmup: arguments.warmup,
            time: arguments.seconds,
        },
    };
    let executable = std::env::current_exe()?;
    let child = || {
        let mut command = Command::new(&executable);
        command
            .args(["bench", "start"])
            .args(arguments.model.repeat());
        command
    };
    let progress = Progress::new();
    let report = local::measure(
        &classifier,
        &set,
        &cost,
        config,
        &runtime()?,
        child,
        &progress,
    )?;
    drop(progress);
    let total = set.total();
    let header = header(
        "local",
        engine.model().identity(),
        [
            ("articles", arguments.articles.setting()),
            ("article_count", json!(set.articles.len())),
            ("article_sentences", json!(total.sentences as u64)),
            ("article_tokens", json!(total.tokens as u64)),
            ("device", json!(engine.model().placement().to_string())),
            ("workers", json!(engine.config().workers)),
            ("batch_tokens", json!(engine.config().max_batch_tokens)),
            ("seconds", json!(arguments.seconds.as_secs_f64())),
            ("warmup_seconds", json!(arguments.warmup.as_secs_f64())),
        ],
    );
    arguments.output.write(&header, &report)
}
