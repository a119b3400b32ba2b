//! `copydesk bench encode`.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::progress::Progress;
use super::{count, seconds};
use crate::bench::cost::Cost;
use crate::bench::report::{number, percent};
use crate::bench::{Pace, encode, windows};
use crate::cli::Failure;
use crate::cli::setup::ModelArguments;
use crate::engine;
use crate::model::Placement;

/// Arguments of `bench encode`.
#[derive(Args)]
pub(super) struct Arguments {
    /// Windows as `bench windows` prints them.
    #[arg(long, value_name = "FILE")]
    windows: PathBuf,

    /// Seconds of each of the two measurements.
    #[arg(long, value_name = "SECONDS", default_value = "10", env = "COPYDESK_BENCH_SECONDS", value_parser = seconds)]
    seconds: Duration,

    /// Seconds before each that are left out.
    #[arg(long, value_name = "SECONDS", default_value = "2", env = "COPYDESK_BENCH_WARMUP", value_parser = seconds)]
    warmup: Duration,

    /// Which encoder runs.
    #[arg(long, value_enum, default_value_t = Choice::Ours)]
    engine: Choice,

    /// Tokens of one batch; a window larger than this goes alone.
    #[arg(long, value_name = "TOKENS", default_value_t = engine::Config::default().max_batch_tokens, value_parser = count)]
    batch_tokens: usize,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    model: ModelArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// The one of this program.
    Ours,
    /// candle's BERT.
    Candle,
}

impl Choice {
    /// Where the model runs; the choice is one of processors only.
    fn placement(self, device: Placement) -> Placement {
        match (self, device) {
            (
                Self::Candle,
                Placement::Cpu | Placement::CpuF32 | Placement::CpuBf16 | Placement::CpuInt16,
            ) => Placement::CpuCandle,
            (_, other) => other,
        }
    }
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let path = &arguments.windows;
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| format!("{name} cannot be read: {error}"))?;
    let windows = windows::read(BufReader::new(file), &name)?;
    let found = arguments.model.find()?;
    let cost = Cost::read(&found.files.config)?;
    let model = found.load(arguments.engine.placement(arguments.model.device))?;
    let workers = arguments.model.workers;
    let config = encode::Config {
        workers: workers.unwrap_or(engine::Config::default().workers).max(1),
        batch_tokens: arguments.batch_tokens,
        pace: Pace {
            warmup: arguments.warmup,
            time: arguments.seconds,
        },
    };
    let progress = Progress::new();
    let report = encode::measure(&model, &windows, &cost, config, &progress)?;
    drop(progress);
    let mut out = std::io::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
        return Ok(());
    }
    let encoder = report.encoder;
    let share = match (encoder.share_of_peak, report.peak_gflops) {
        (Some(share), Some(peak)) => format!(
            ", {} of what products reach beside it ({})",
            percent(share),
            number(peak)
        ),
        _ => String::new(),
    };
    writeln!(out, "workers            {}", report.workers)?;
    writeln!(
        out,
        "encoder            {} tokens/s, {} GFLOP/s{share}",
        number(encoder.tokens_per_second),
        number(encoder.gflops)
    )?;
    writeln!(
        out,
        "encoder and heads  {} tokens/s",
        number(report.encoder_heads.tokens_per_second)
    )?;
    Ok(())
}
