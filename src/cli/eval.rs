//! `copydesk eval`: the model's figures on a labelled file.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::Failure;
use super::setup::{ModelArguments, runtime};
use crate::eval;

/// Arguments of `eval`.
#[derive(Args)]
pub(super) struct Arguments {
    /// Labelled articles, a JSON object a line: the `newsroom` layout, or NewsMTSC's.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,

    /// How the figures are written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    #[command(flatten)]
    model: ModelArguments,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables to read.
    Table,
    /// One JSON object.
    Json,
}

/// Runs the command.
pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let set = eval::data::Set::read(&arguments.data)?;
    let classifier = arguments.model.classifier()?;
    let shown = std::io::stderr().is_terminal();
    let report = runtime()?.block_on(eval::run(&classifier, &set, |done, total| {
        if shown {
            progress(done, total);
        }
    }))?;
    let mut out = std::io::stdout().lock();
    match arguments.format {
        Format::Table => write!(out, "{}", report.table())?,
        Format::Json => writeln!(out, "{}", serde_json::to_string(&report)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// One line that writes over itself.
fn progress(done: usize, total: usize) {
    let end = if done == total { "\n" } else { "" };
    // Nobody can be told that stderr cannot be written to.
    let _ = write!(std::io::stderr(), "\r{done}/{total} articles{end}");
}
