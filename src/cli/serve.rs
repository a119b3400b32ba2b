//! `copydesk serve`: the service, until SIGTERM or SIGINT.

mod limits;
mod security;
mod telemetry;
mod ui;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

use self::limits::{ArticleLimits, ConnectionLimits};
use self::security::Security;
use self::telemetry::Telemetry;
use self::ui::Ui;
use super::Failure;
use super::setup::ModelArguments;
use crate::article::Limits;
use crate::engine;
use crate::grpc::server;

/// Arguments of `serve`.
#[derive(Args)]
pub(super) struct Arguments {
    /// Address to listen on; port 0 takes a free one, told in the log.
    #[arg(long, default_value = "127.0.0.1:50051", env = "COPYDESK_ADDR")]
    addr: SocketAddr,

    #[command(flatten)]
    ui: Ui,

    /// Seconds to go on as before after SIGTERM or SIGINT, while health says NOT_SERVING, so that
    /// balancers notice before callers do.
    #[arg(long, value_name = "SECONDS", default_value_t = server::Config::default().drain_wait.as_secs(), env = "COPYDESK_DRAIN_WAIT")]
    drain_wait: u64,

    /// Seconds that running calls then get to end.
    #[arg(long, value_name = "SECONDS", default_value_t = server::Config::default().drain_timeout.as_secs(), env = "COPYDESK_DRAIN_TIMEOUT")]
    drain_timeout: u64,

    #[command(flatten)]
    model: ModelArguments,

    /// Tokens of one batch; more pays on a GPU, not on a CPU.
    #[arg(long, value_name = "TOKENS", default_value_t = engine::Config::default().max_batch_tokens, env = "COPYDESK_MAX_BATCH_TOKENS", help_heading = "Limits")]
    max_batch_tokens: usize,

    /// Tokens that may wait or run: one half for articles as they come, and who finds no room there
    /// is refused with UNAVAILABLE; the other for what is left of those under way.
    #[arg(long, value_name = "TOKENS", default_value_t = engine::Config::default().max_queue_tokens, env = "COPYDESK_MAX_QUEUE_TOKENS", help_heading = "Limits")]
    max_queue_tokens: usize,

    /// Seconds that an article may have to wait for those before it and still be let in.
    #[arg(long, value_name = "SECONDS", default_value_t = engine::Config::default().max_wait.as_secs_f32(), env = "COPYDESK_MAX_WAIT", value_parser = seconds, help_heading = "Limits")]
    max_wait: f32,

    #[command(flatten)]
    articles: ArticleLimits,

    #[command(flatten)]
    connections: ConnectionLimits,

    #[command(flatten)]
    security: Security,

    #[command(flatten)]
    telemetry: Telemetry,

    /// Calls under way altogether; callers beyond are refused with UNAVAILABLE.
    #[arg(long, value_name = "N", default_value_t = server::Config::default().calls, env = "COPYDESK_MAX_CALLS", help_heading = "Limits")]
    max_calls: usize,

    /// What is logged: error, warn, info, debug, trace, or a filter as `copydesk=debug,h2=warn`.
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        env = "COPYDESK_LOG",
        help_heading = "Log"
    )]
    log: String,

    /// How it is logged, on standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "COPYDESK_LOG_FORMAT", help_heading = "Log")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// Lines to read.
    Text,
    /// One JSON object a line.
    Json,
}

/// Runs the server; 0 when it was asked to stop.
pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    log(&arguments.log, arguments.log_format)?;
    let limits = Limits::from(&arguments.articles);
    let engine = engine::Config {
        max_batch_tokens: arguments.max_batch_tokens,
        max_queue_tokens: arguments.max_queue_tokens,
        max_wait: Duration::from_secs_f32(arguments.max_wait),
        ..engine::Config::default()
    };
    let config = server::Config {
        calls: arguments.max_calls,
        drain_wait: Duration::from_secs(arguments.drain_wait),
        drain_timeout: Duration::from_secs(arguments.drain_timeout),
        ..server::Config::default()
    };
    let config = arguments.connections.apply(config);
    let mut config = arguments.security.apply(config)?;
    let page = arguments.ui;
    let addresses = [Some(arguments.addr), page.address()];
    security::warn(
        &config,
        &addresses.into_iter().flatten().collect::<Vec<_>>(),
    );
    page.warn(&config);
    let classifier = arguments.model.classifier_with(engine, limits)?;
    // The workers take the cores; the transport needs little.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(arguments.addr)
            .await
            .map_err(|error| format!("cannot listen on {}: {error}", arguments.addr))?;
        // Before the address is told, so that whoever reads it can stop the server cleanly.
        let stop = stop_signal()?;
        let address = server::address(&listener)?;
        let listeners = server::Listeners {
            service: listener,
            page: page.listen(config.tls.is_some()).await?,
        };
        let telemetry = arguments.telemetry;
        let telemetry = telemetry.start(&classifier, &mut config).await?;
        let model = classifier.engine().model();
        tracing::info!(
            address = %address,
            model = model.identity().id,
            revision = model.identity().revision,
            device = %model.placement(),
            workers = classifier.engine().config().workers,
            "listening"
        );
        server::serve(listeners, classifier, config, stop).await?;
        telemetry.finish().await;
        tracing::info!("stopped");
        Ok(ExitCode::SUCCESS)
    })
}

/// From none to a day.
fn seconds(text: &str) -> Result<f32, String> {
    let seconds = text.parse().ok();
    let seconds = seconds.filter(|s| (0.0..=86_400.0).contains(s));
    seconds.ok_or_else(|| format!("{text:?} is no number of seconds from 0 to 86400"))
}

fn log(filter: &str, format: LogFormat) -> Result<(), Failure> {
    let filter =
        EnvFilter::try_new(filter).map_err(|error| format!("--log {filter:?}: {error}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // Codes of colour are noise in a file. On a terminal NO_COLOR is heeded by itself.
    let builder = match std::io::stderr().is_terminal() {
        true => builder,
        false => builder.with_ansi(false),
    };
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

/// Ends with the first SIGTERM or SIGINT.
#[cfg(unix)]
fn stop_signal() -> std::io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

/// Ends with Ctrl-C.
#[cfg(not(unix))]
fn stop_signal() -> std::io::Result<impl Future<Output = ()> + Send> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}
