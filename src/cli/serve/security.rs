//! Flags of who may call, and of how connections are secured.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;

use super::super::Failure;
use crate::grpc::auth::Tokens;
use crate::grpc::server::Config;
use crate::grpc::tls::{Files, Tls};

/// The files are read again when they change.
#[derive(Args)]
#[command(next_help_heading = "Security")]
pub(super) struct Security {
    /// The server's certificate and those that lead to its authority (PEM); plain text if left out.
    /// Read again when the file changes.
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        env = "COPYDESK_TLS_CERT"
    )]
    tls_cert: Option<PathBuf>,

    /// The certificate's private key (PEM).
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_cert",
        env = "COPYDESK_TLS_KEY"
    )]
    tls_key: Option<PathBuf>,

    /// Let in only clients with a certificate that these authorities signed (PEM).
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_cert",
        env = "COPYDESK_TLS_CLIENT_CA"
    )]
    tls_client_ca: Option<PathBuf>,

    /// Let in only calls with a bearer token of this file: one a line, `#` begins a comment. Health
    /// needs none. Read again when the file changes.
    #[arg(long, value_name = "FILE", env = "COPYDESK_AUTH_TOKENS")]
    auth_tokens: Option<PathBuf>,

    /// Do not tell the contract by reflection.
    #[arg(long, env = "COPYDESK_NO_REFLECTION", value_parser = FalseyValueParser::new())]
    no_reflection: bool,

    /// Do not speak the Open Inference Protocol (`inference.GRPCInferenceService`), only our own.
    #[arg(long, env = "COPYDESK_NO_OPEN_INFERENCE", value_parser = FalseyValueParser::new())]
    no_open_inference: bool,
}

impl Security {
    /// Reads the files.
    pub fn apply(self, config: Config) -> Result<Config, Failure> {
        let files = self.tls_cert.zip(self.tls_key);
        let files = files.map(|(certificate, key)| Files {
            certificate,
            key,
            client_ca: self.tls_client_ca,
        });
        Ok(Config {
            tls: files.map(Tls::load).transpose()?,
            tokens: self.auth_tokens.map(Tokens::load).transpose()?,
            reflection: !self.no_reflection,
            open_inference: !self.no_open_inference,
            ..config
        })
    }
}

/// Says what is likely not meant.
pub(super) fn warn(config: &Config, addresses: &[SocketAddr]) {
    let reached = addresses.iter().any(|address| !address.ip().is_loopback());
    if config.tokens.is_some() && config.tls.is_none() && reached {
        tracing::warn!(
            "tokens come in plain text, where everyone on the way can read them; use --tls-cert"
        );
    }
}
