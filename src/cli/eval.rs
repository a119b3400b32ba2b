//! `copydesk eval`: the model's figures on a labelled file.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::Failure;
use super::setup::{ModelArguments, runtime};
use crate::eval::{self, metrics::Classes};
use crate::render::plot::{self, Axis, Plot, Scale, Series};

/// Arguments of `eval`.
#[derive(Args)]
pub(super) struct Arguments {
    /// Labelled articles, a JSON object a line: the `newsroom` layout, or NewsMTSC's.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,

    /// How the figures are written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    /// Draw how often answers of each confidence are right, as SVG; points of fewer than ten answers
    /// are left out.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,

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
    if let Some(file) = arguments.plot {
        let svg = plot::svg(&reliability(&report), true)?;
        std::fs::write(&file, svg).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let mut out = std::io::stdout().lock();
    match arguments.format {
        Format::Table => write!(out, "{}", report.table())?,
        Format::Json => writeln!(out, "{}", serde_json::to_string(&report)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Answers that a point of the diagram needs at least: the share of a few says nothing.
const ENOUGH: usize = 10;

/// The reliability diagram of Guo et al. 2017, "On calibration of modern neural networks": calibrated
/// answers lie on the diagonal.
fn reliability(report: &eval::Report) -> Plot {
    let points = |classes: &Classes| {
        let bins = classes.reliability.iter();
        let bins = bins.filter(|bin| bin.cases >= ENOUGH);
        bins.map(|bin| (bin.confidence, bin.accuracy)).collect()
    };
    let named = [("type", &report.types), ("sentiment", &report.sentiment)];
    let measured = named.into_iter().filter_map(|(name, classes)| {
        let classes = classes.as_ref()?;
        let error = classes.calibration_error;
        let name = format!("{name}, calibration error {error:.3}");
        Some(Series::new(&name, points(classes)))
    });
    let ideal = Series {
        marked: false,
        ..Series::new("calibrated", vec![(0.0, 0.0), (1.0, 1.0)])
    };
    Plot::Lines {
        title: "Reliability".to_owned(),
        x: Axis::new("confidence", Scale::Linear),
        y: Axis::new("share of right answers", Scale::Linear),
        series: measured.chain([ideal]).collect(),
    }
}

/// One line that writes over itself.
fn progress(done: usize, total: usize) {
    let end = if done == total { "\n" } else { "" };
    // Nobody can be told that stderr cannot be written to.
    let _ = write!(std::io::stderr(), "\r{done}/{total} articles{end}");
}
