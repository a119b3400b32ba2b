//! Flags of what the server takes: articles, messages, connections. Seconds of 0 mean no limit.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::article;
use crate::grpc::server::{CONNECTIONS, Config, Connections};

/// What one article may hold.
#[derive(Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct ArticleLimits {
    /// Bytes of an article's text.
    #[arg(long, value_name = "BYTES", default_value_t = article::Limits::default().text_bytes, env = "COPYDESK_MAX_TEXT_BYTES")]
    max_text_bytes: usize,

    /// Bytes of a headline.
    #[arg(long, value_name = "BYTES", default_value_t = article::Limits::default().headline_bytes, env = "COPYDESK_MAX_HEADLINE_BYTES")]
    max_headline_bytes: usize,

    /// Sentences of an article.
    #[arg(long, value_name = "N", default_value_t = article::Limits::default().sentences, env = "COPYDESK_MAX_SENTENCES")]
    max_sentences: usize,

    /// Parties named in one request.
    #[arg(long, value_name = "N", default_value_t = article::Limits::default().parties, env = "COPYDESK_MAX_PARTIES")]
    max_parties: usize,

    /// Aliases of one party.
    #[arg(long, value_name = "N", default_value_t = article::Limits::default().aliases, env = "COPYDESK_MAX_ALIASES")]
    max_aliases: usize,

    /// Spans of one party.
    #[arg(long, value_name = "N", default_value_t = article::Limits::default().spans, env = "COPYDESK_MAX_SPANS")]
    max_spans: usize,

    /// Places where the parties named in one request stand; where several share a name, each counts.
    #[arg(long, value_name = "N", default_value_t = article::Limits::default().mentions, env = "COPYDESK_MAX_MENTIONS")]
    max_mentions: usize,

    /// Bytes of an id, a name or an alias, or of the words under a span.
    #[arg(long, value_name = "BYTES", default_value_t = article::Limits::default().name_bytes, env = "COPYDESK_MAX_NAME_BYTES")]
    max_name_bytes: usize,
}

impl From<&ArticleLimits> for article::Limits {
    fn from(flags: &ArticleLimits) -> Self {
        Self {
            text_bytes: flags.max_text_bytes,
            sentences: flags.max_sentences,
            parties: flags.max_parties,
            aliases: flags.max_aliases,
            name_bytes: flags.max_name_bytes,
            headline_bytes: flags.max_headline_bytes,
            spans: flags.max_spans,
            mentions: flags.max_mentions,
        }
    }
}

/// What connections may do.
#[derive(Args)]
#[command(next_help_heading = "Connections")]
pub(super) struct ConnectionLimits {
    /// Connections at a time; more are closed at once.
    #[arg(
        long,
        value_name = "N",
        default_value_t = CONNECTIONS as u64,
        value_parser = clap::value_parser!(u64).range(1..),
        env = "COPYDESK_MAX_CONNECTIONS"
    )]
    max_connections: u64,

    /// Calls under way on one connection.
    #[arg(long, value_name = "N", default_value_t = Config::default().streams, env = "COPYDESK_MAX_STREAMS")]
    max_streams: u32,

    /// Bytes of a call's headers.
    #[arg(long, value_name = "BYTES", default_value_t = Config::default().header_bytes, env = "COPYDESK_MAX_HEADER_BYTES")]
    max_header_bytes: u32,

    /// Bytes of a request message; what is larger is refused before it is read.
    #[arg(long, value_name = "BYTES", default_value_t = Config::default().request_bytes, env = "COPYDESK_MAX_REQUEST_BYTES")]
    max_request_bytes: usize,

    /// Seconds that a request message may take to arrive; 0 for no limit.
    #[arg(long, value_name = "SECONDS", default_value_t = seconds(Config::default().message_timeout), env = "COPYDESK_MESSAGE_TIMEOUT")]
    message_timeout: u64,

    /// Seconds of silence after which a client is asked whether it is still there; 0 for never.
    #[arg(long, value_name = "SECONDS", default_value_t = seconds(Config::default().keepalive_interval), env = "COPYDESK_KEEPALIVE_INTERVAL")]
    keepalive_interval: u64,

    /// Seconds that a client has to answer this.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = Config::default().keepalive_timeout.as_secs(),
        value_parser = clap::value_parser!(u64).range(1..),
        env = "COPYDESK_KEEPALIVE_TIMEOUT"
    )]
    keepalive_timeout: u64,

    /// Seconds without a call after which a connection is closed; 0 for never.
    #[arg(long, value_name = "SECONDS", default_value_t = seconds(Config::default().idle), env = "COPYDESK_MAX_CONNECTION_IDLE")]
    max_connection_idle: u64,

    /// Seconds after which a connection takes no new calls, so that clients spread anew; 0 for never.
    #[arg(long, value_name = "SECONDS", default_value_t = seconds(Config::default().age), env = "COPYDESK_MAX_CONNECTION_AGE")]
    max_connection_age: u64,

    /// Seconds that running calls then get to end; 0 for as long as they need.
    #[arg(long, value_name = "SECONDS", default_value_t = seconds(Config::default().age_grace), env = "COPYDESK_MAX_CONNECTION_AGE_GRACE")]
    max_connection_age_grace: u64,
}

impl ConnectionLimits {
    pub fn apply(self, config: Config) -> Config {
        let most = usize::try_from(self.max_connections).unwrap_or(usize::MAX);
        Config {
            request_bytes: self.max_request_bytes,
            streams: self.max_streams,
            connections: Arc::new(Connections::new(most)),
            header_bytes: self.max_header_bytes,
            message_timeout: limit(self.message_timeout),
            keepalive_interval: limit(self.keepalive_interval),
            keepalive_timeout: Duration::from_secs(self.keepalive_timeout),
            idle: limit(self.max_connection_idle),
            age: limit(self.max_connection_age),
            age_grace: limit(self.max_connection_age_grace),
            ..config
        }
    }
}

/// Longer than anything runs, and short enough for every clock.
const LONGEST: u64 = 10 * 365 * 24 * 3600;

fn limit(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds.min(LONGEST)))
}

fn seconds(limit: Option<Duration>) -> u64 {
    limit.map_or(0, |limit| limit.as_secs())
}
