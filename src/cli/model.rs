//! `copydesk model`: fetches a model, checks one, or says what one is.

mod show;
mod verify;

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Failure;
use super::source::{Found, Network, SOURCE, Source};

/// Arguments of `model`.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fetch a model from the Hub into its cache; prints where it lies and its commit.
    Fetch(Fetch),
    /// Load a model and answer an article with it; prints its hashes, or what is wrong.
    Verify(Named),
    /// Say what a model is.
    Show(Show),
}

#[derive(Args)]
struct Fetch {
    /// A repository on the Hub; the revision is a branch, a tag or a commit, `main` if left out.
    #[arg(value_name = "hf://OWNER/NAME[@REVISION]")]
    source: Source,

    #[command(flatten)]
    network: Network,
}

/// A model, or the one inside the binary.
#[derive(Args)]
struct Named {
    /// Model directory, or a repository on the Hub; the model inside the binary if left out.
    #[arg(value_name = SOURCE, env = "COPYDESK_MODEL")]
    source: Option<Source>,

    #[command(flatten)]
    network: Network,
}

impl Named {
    fn find(&self) -> Result<Found, Failure> {
        Found::at(self.source.as_ref(), self.network)
    }
}

#[derive(Args)]
struct Show {
    #[command(flatten)]
    model: Named,

    /// How it is written.
    #[arg(long, value_enum, default_value_t = show::Format::Table)]
    format: show::Format,
}

/// Runs the command.
pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    match arguments.command {
        Command::Fetch(fetch) => self::fetch(&fetch)?,
        Command::Verify(named) => verify::run(&named.find()?)?,
        Command::Show(show) => show::run(&show.model.find()?, show.format)?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(feature = "hub")]
fn fetch(arguments: &Fetch) -> Result<(), Failure> {
    use std::io::Write;

    let repository = match &arguments.source {
        Source::Hub(repository) => repository,
        Source::Directory(directory) => return Err(nothing_to_fetch(directory)),
    };
    let hub = arguments.network.hub()?;
    let runtime = super::setup::runtime()?;
    let snapshot = runtime.block_on(async {
        if arguments.network.offline {
            return hub.cached(repository).await;
        }
        hub.fetch(repository, &super::progress::watcher()).await
    })?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}\n{}", snapshot.directory.display(), snapshot.commit)?;
    Ok(())
}

/// Without the Hub every source is a directory: others are refused as they are read.
#[cfg(not(feature = "hub"))]
fn fetch(arguments: &Fetch) -> Result<(), Failure> {
    let Source::Directory(directory) = &arguments.source;
    Err(nothing_to_fetch(directory))
}

fn nothing_to_fetch(directory: &Path) -> Failure {
    let directory = directory.display();
    format!("{directory} names a directory, where there is nothing to fetch; sources on the Hub are hf://owner/name[@revision]").into()
}

/// Bytes as people count them.
pub(super) fn size(bytes: u64) -> String {
    let at = |unit: f64| bytes as f64 / unit;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", at(1e3)),
        1_000_000..1_000_000_000 => format!("{:.1} MB", at(1e6)),
        _ => format!("{:.1} GB", at(1e9)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let sizes = [999, 1_000, 45_600_000, 7_000_000_000].map(size);
        assert_eq!(sizes, ["999 B", "1.0 kB", "45.6 MB", "7.0 GB"]);
    }
}
