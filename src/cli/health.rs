//! `copydesk health`: whether servers serve, as an exit code, for supervisors that run a command.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};
use tonic::Status;

use super::credentials::{TlsArguments, is_usage};
use super::setup::runtime;
use super::{Failure, warn};
use crate::grpc::client::Client;

/// Between two questions while it waits.
const PAUSE: Duration = Duration::from_millis(200);

/// Arguments of `health`.
#[derive(Args)]
#[command(after_help = "Exit codes: 0 all serve, 1 one does not, 2 wrong arguments.")]
pub(super) struct Arguments {
    /// The server: http://host:port, or https:// for TLS. Repeated, or with commas between: each
    /// must serve.
    #[arg(
        value_name = "URL",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:50051",
        env = "COPYDESK_SERVER"
    )]
    server: Vec<String>,

    /// Seconds that an answer may take.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 3,
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    timeout: u64,

    /// Ask again for so many seconds, until all serve: for what is to begin once a server is up.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        value_parser = clap::value_parser!(u64).range(..=86_400)
    )]
    wait: u64,

    #[command(flatten)]
    tls: TlsArguments,
}

/// Runs the command; 1 unless all servers serve.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let config = arguments
        .tls
        .config(Duration::from_secs(arguments.timeout))?;
    // The client needs the runtime from its first moment on.
    let runtime = runtime()?;
    let _inside = runtime.enter();
    let client = match Client::new(&arguments.server, config).map_err(Failure::from) {
        Err(error) if is_usage(&error) => {
            warn(&error.to_string());
            return Ok(ExitCode::from(2));
        }
        client => client?,
    };
    let wait = Duration::from_secs(arguments.wait);
    let answers = runtime.block_on(ask(&client, wait));
    for (url, answer) in &answers {
        if let Some(problem) = problem(answer) {
            warn(&format!("{url} {problem}"));
        } else if let Err(error) = writeln!(io::stdout(), "{url} serves")
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            return Err(error.into());
        }
    }
    Ok(match answers.iter().all(|(_, answer)| serves(answer)) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// What the servers answer once all serve, or when the time to wait is over.
async fn ask(client: &Client, wait: Duration) -> Vec<(&str, Result<bool, Status>)> {
    let end = Instant::now() + wait;
    loop {
        let answers = client.serving().await;
        let all = answers.iter().all(|(_, answer)| serves(answer));
        if all || Instant::now() + PAUSE >= end {
            return answers;
        }
        sleep(PAUSE).await;
    }
}

fn serves(answer: &Result<bool, Status>) -> bool {
    matches!(answer, Ok(true))
}

/// What is wrong, if anything is.
fn problem(answer: &Result<bool, Status>) -> Option<String> {
    match answer {
        Ok(true) => None,
        Ok(false) => Some("says that it does not serve".to_owned()),
        Err(status) => Some(format!(
            "does not answer: {}: {}",
            crate::grpc::status::name(status.code()),
            status.message()
        )),
    }
}
