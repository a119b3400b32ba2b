//! The command line: arguments → settings → run. Prints results on stdout, all else on stderr, and
//! ends with 0 (done), 1 (something failed) or 2 (the arguments are wrong).

#[cfg(feature = "bench")]
mod bench;
mod classify;
#[cfg(feature = "grpc")]
mod credentials;
mod eval;
#[cfg(feature = "grpc")]
mod health;
mod input;
mod manual;
mod model;
mod output;
mod pager;
#[cfg(feature = "hub")]
mod progress;
#[cfg(feature = "grpc")]
mod serve;
mod setup;
mod source;

use std::io::Write;
use std::process::ExitCode;

#[cfg(feature = "grpc")]
use clap::{ArgMatches, error::ErrorKind, parser::ValueSource};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// How articles are read, for tests that feed it anything.
#[doc(hidden)]
pub use self::input::json_lines;

/// Reads news copy: sentence types, speakers, and how each party is made to look.
#[derive(Parser)]
#[command(version, about, propagate_version = true)]
#[command(arg_required_else_help = true)]
struct Arguments {
    /// Print the packages of other people that this is built from, and their licences.
    #[arg(long, exclusive = true)]
    licenses: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

/// Written by `.ci/licenses`.
const LICENSES: &str = include_str!("../THIRD-PARTY.txt");

#[derive(Subcommand)]
enum Command {
    /// Answer articles from files or standard input.
    Classify(classify::Arguments),
    /// Run the gRPC service.
    #[cfg(feature = "grpc")]
    Serve(serve::Arguments),
    /// Ask whether servers serve; the exit code tells.
    #[cfg(feature = "grpc")]
    Health(health::Arguments),
    /// Score the model on a labelled file.
    Eval(eval::Arguments),
    /// Fetch, check or describe a model.
    Model(model::Arguments),
    /// Measure speed, latency and memory, here or of a running server.
    #[cfg(feature = "bench")]
    Bench(bench::Arguments),
    /// Print completions for a shell.
    Completions(manual::Completions),
    /// Print a manual page.
    Man(manual::Man),
}

/// What a command failed on.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // clap prints and exits with 2 by itself.
    let matches = Arguments::command().get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let result = match arguments.command {
        None => licenses(),
        Some(Command::Classify(arguments)) => {
            #[cfg(feature = "grpc")]
            let arguments = arguments
                .settled(|flag| on_the_command_line(&matches, flag))
                .unwrap_or_else(|conflict| {
                    let conflict =
                        Arguments::command().error(ErrorKind::ArgumentConflict, conflict);
                    conflict.exit()
                });
            classify::run(arguments)
        }
        #[cfg(feature = "grpc")]
        Some(Command::Serve(arguments)) => serve::run(arguments),
        #[cfg(feature = "grpc")]
        Some(Command::Health(arguments)) => health::run(&arguments),
        Some(Command::Eval(arguments)) => eval::run(arguments),
        Some(Command::Model(arguments)) => model::run(arguments),
        #[cfg(feature = "bench")]
        Some(Command::Bench(arguments)) => bench::run(arguments),
        Some(Command::Completions(arguments)) => manual::completions(&arguments),
        Some(Command::Man(arguments)) => manual::man(&arguments),
    };
    match result {
        Ok(code) => code,
        Err(error) if nobody_reads(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            report(&*error);
            ExitCode::FAILURE
        }
    }
}

/// Whether a flag of the subcommand stands there, and is not set by a variable or a default.
#[cfg(feature = "grpc")]
fn on_the_command_line(matches: &ArgMatches, flag: &str) -> bool {
    let source = matches
        .subcommand()
        .and_then(|(_, own)| own.value_source(flag));
    source == Some(ValueSource::CommandLine)
}

fn licenses() -> Result<ExitCode, Failure> {
    std::io::stdout().write_all(LICENSES.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Whether whoever read the output has seen enough and gone.
fn nobody_reads(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

/// One line: the error and what it came from.
#[expect(clippy::print_stderr, reason = "the command line talks to people here")]
fn report(error: &(dyn std::error::Error + Send + Sync + 'static)) {
    let mut line = format!("copydesk: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        // Some errors repeat their source in their own words.
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        source = cause.source();
    }
    eprintln!("{line}");
}

/// A warning on stderr; the run goes on.
#[expect(clippy::print_stderr, reason = "the command line talks to people here")]
fn warn(message: &str) {
    eprintln!("copydesk: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_fit_together() {
        Arguments::command().debug_assert();
    }

    /// A service is set up by flags or, as in a container, by its environment alone.
    #[cfg(feature = "grpc")]
    #[test]
    fn every_flag_of_serve_is_explained_and_has_a_variable() {
        let mut command = Arguments::command();
        command.build();
        let serve = command.find_subcommand("serve").unwrap();
        let own = serve.get_arguments().filter(|argument| {
            let id = argument.get_id().as_str();
            id != "help" && id != "version"
        });
        let mut variables = std::collections::HashSet::new();
        for argument in own {
            let id = argument.get_id();
            assert!(argument.get_help().is_some(), "{id} is not explained");
            let variable = argument.get_env().and_then(|name| name.to_str());
            let variable = variable.unwrap_or_else(|| panic!("{id} has no variable"));
            // The Hub's other clients know this one, and people have set it already.
            let ours = variable.starts_with("COPYDESK_") || variable == "HF_HUB_OFFLINE";
            assert!(ours, "{id} is set by {variable}");
            assert!(variables.insert(variable), "{variable} sets two flags");
        }
        for expected in [
            "ADDR",
            "DEVICE",
            "WORKERS",
            "MAX_TEXT_BYTES",
            "LOG",
            "LOG_FORMAT",
        ] {
            assert!(
                variables.contains(&*format!("COPYDESK_{expected}")),
                "{expected}"
            );
        }
    }
}
