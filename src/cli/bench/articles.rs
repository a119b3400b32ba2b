//! `copydesk bench articles`.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::progress::Progress;
use super::set::ArticleArguments;
use super::{count, seconds};
use crate::bench::articles::Set;
use crate::bench::report::number;
use crate::bench::{Pace, Watch, pipeline};
use crate::cli::Failure;
use crate::cli::setup::{ModelArguments, runtime};

/// Arguments of `bench articles`.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    articles: ArticleArguments,

    /// Seconds that are measured.
    #[arg(long, value_name = "SECONDS", default_value = "10", env = "COPYDESK_BENCH_SECONDS", value_parser = seconds)]
    seconds: Duration,

    /// Seconds before them that are left out.
    #[arg(long, value_name = "SECONDS", default_value = "2", env = "COPYDESK_BENCH_WARMUP", value_parser = seconds)]
    warmup: Duration,

    /// Articles under way at a time; twice the workers and two if left out.
    #[arg(long, value_name = "N", value_parser = count)]
    concurrency: Option<usize>,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    model: ModelArguments,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let articles = arguments.articles.read()?;
    let (classifier, cost) = super::classifier(&arguments.model)?;
    let set = Set::new(articles, classifier.engine().model().encoder(), &cost)?;
    let callers = arguments.concurrency;
    let callers = callers.unwrap_or_else(|| super::callers(&classifier));
    let pace = Pace {
        warmup: arguments.warmup,
        time: arguments.seconds,
    };
    let progress = Progress::new();
    progress.begin("the pipeline", pace.whole());
    let run = runtime()?.block_on(pipeline::run(&classifier, &set, callers, pace))?;
    drop(progress);
    let speed = run.speed;
    let mut out = std::io::stdout().lock();
    if arguments.json {
        let figures = json!({
            "articles_per_second": speed.articles,
            "sentences_per_second": speed.sentences,
            "tokens_per_second": speed.tokens,
        });
        writeln!(out, "{figures}")?;
        return Ok(());
    }
    writeln!(out, "articles/s   {}", number(speed.articles))?;
    writeln!(out, "sentences/s  {}", number(speed.sentences))?;
    writeln!(out, "tokens/s     {}", number(speed.tokens))?;
    Ok(())
}
