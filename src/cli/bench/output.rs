//! Where figures go: a table on standard output, JSON, a page.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use crate::answer::ModelIdentity;
use crate::bench::machine::Machine;
use crate::bench::report::{self, Header, Report};
use crate::cli::Failure;

/// Where figures go.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub(super) struct Output {
    /// Write the figures as one JSON object: to FILE, or to standard output in place of the tables.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,

    /// Write a page with tables and plots, in one file that needs no other.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Output {
    /// Writes what was measured.
    pub fn write(&self, header: &Header, report: &impl Report) -> Result<(), Failure> {
        let json = self.json.as_deref();
        let instead = json == Some(Path::new("-"));
        let mut out = std::io::stdout().lock();
        match instead {
            true => writeln!(out, "{}", report::json(header, report)?)?,
            false => write!(out, "{}", report::text(header, report))?,
        }
        if let Some(path) = json.filter(|_| !instead) {
            let text = report::json(header, report)?;
            save(path, &format!("{text}\n"))?;
        }
        if let Some(path) = &self.html {
            save(path, &report::html(header, report)?)?;
        }
        Ok(())
    }
}

fn save(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text)
        .map_err(|error| format!("{} cannot be written: {error}", path.display()).into())
}

/// What figures belong to.
pub(super) fn header<const N: usize>(
    command: &'static str,
    model: &ModelIdentity,
    settings: [(&'static str, Value); N],
) -> Header {
    Header {
        command,
        machine: Machine::here(),
        model: model.into(),
        settings: settings.into(),
    }
}
