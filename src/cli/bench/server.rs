//! `copydesk bench server`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::output::{Output, header};
use super::progress::Progress;
use super::set::ArticleArguments;
use super::{count, seconds};
use crate::bench::{Error, Pace, server};
use crate::cli::setup::runtime;
use crate::cli::{Failure, warn};
use crate::grpc::client::{Client, Config};

/// Callers of the closed loops, where neither they nor a rate are named.
const CALLERS: [usize; 3] = [1, 4, 16];

/// Arguments of `bench server`.
#[derive(Args)]
pub(super) struct Arguments {
    /// The server: http://host:port, or https:// for TLS.
    #[arg(long, value_name = "URL", env = "COPYDESK_SERVER")]
    server: String,

    #[command(flatten)]
    articles: ArticleArguments,

    /// Closed loops, one after another: so many callers each send their next article when their
    /// last is answered. 1, 4 and 16 if left out, none if only --rate is given.
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = count)]
    concurrency: Vec<usize>,

    /// Open loops, one after another: so many articles a second are sent at planned times, and
    /// latency counts from the planned time.
    #[arg(long, value_name = "ARTICLES,…", value_delimiter = ',', value_parser = rate)]
    rate: Vec<f64>,

    /// Articles of an open loop that may be under way; what would be more is counted as unsent.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = count)]
    max_callers: usize,

    /// Seconds of each loop.
    #[arg(long, value_name = "SECONDS", default_value = "30", env = "COPYDESK_BENCH_SECONDS", value_parser = seconds)]
    seconds: Duration,

    /// Seconds before each that are left out.
    #[arg(long, value_name = "SECONDS", default_value = "3", env = "COPYDESK_BENCH_WARMUP", value_parser = seconds)]
    warmup: Duration,

    /// Seconds that an article may take.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    timeout: Duration,

    #[command(flatten)]
    output: Output,
}

/// Runs the command; 1 if nothing was answered at all.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let articles = arguments.articles.read()?;
    let callers = match (&*arguments.concurrency, &*arguments.rate) {
        ([], []) => CALLERS.to_vec(),
        (callers, _) => callers.to_vec(),
    };
    let config = server::Config {
        callers,
        rates: arguments.rate.clone(),
        max_callers: arguments.max_callers,
        pace: Pace {
            warmup: arguments.warmup,
            time: arguments.seconds,
        },
    };
    let progress = Progress::new();
    let (model, report) = runtime()?.block_on(async {
        let timeout = arguments.timeout;
        let client = Client::new(
            std::slice::from_ref(&arguments.server),
            Config {
                timeout,
                ..Config::default()
            },
        )?;
        let first = articles.first().ok_or(Error::NoArticles)?;
        let model = server::probe(&client, first).await?;
        let report = server::measure(&client, &articles, &config, &progress).await?;
        Ok::<_, Failure>((model, report))
    })?;
    drop(progress);
    let header = header(
        "server",
        &model,
        [
            ("server", json!(arguments.server)),
            ("articles", arguments.articles.setting()),
            ("article_count", json!(articles.len())),
            ("seconds", json!(arguments.seconds.as_secs_f64())),
            ("warmup_seconds", json!(arguments.warmup.as_secs_f64())),
            ("timeout_seconds", json!(arguments.timeout.as_secs_f64())),
            ("max_callers", json!(arguments.max_callers)),
        ],
    );
    arguments.output.write(&header, &report)?;
    if report.runs.iter().any(|run| run.articles == 0) {
        warn("a run got no answer at all");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Articles a second; at most as many as the clock can tell apart.
fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().map_err(|error| error.to_string())?;
    match rate > 0.0 && rate <= 100_000.0 {
        true => Ok(rate),
        false => Err("must be above 0, and at most 100000".to_owned()),
    }
}
