//! How the client knows a server, and shows itself to it: certificates and a token, from files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::Failure;
use crate::grpc::client::{Authority, BadCertificate, Certificate, Config, ConnectError, Token};

/// Flags of a client whose server asks who it is, or shows who it is itself.
#[derive(Args)]
pub(super) struct Credentials {
    #[command(flatten)]
    tls: TlsArguments,

    /// With --server: a file with the token that the server asks for.
    #[arg(
        long,
        value_name = "FILE",
        env = "COPYDESK_TOKEN_FILE",
        help_heading = "Server"
    )]
    token_file: Option<PathBuf>,
}

/// Those of its connection.
#[derive(Args)]
pub(super) struct TlsArguments {
    /// For https://…: trust this certificate authority (PEM) instead of the public ones.
    #[arg(
        long,
        value_name = "FILE",
        env = "COPYDESK_TLS_CA",
        help_heading = "Server"
    )]
    tls_ca: Option<PathBuf>,

    /// For https://…: the name that the server's certificate must be for, where it is not that of
    /// the address.
    #[arg(
        long,
        value_name = "NAME",
        env = "COPYDESK_TLS_SERVER_NAME",
        help_heading = "Server"
    )]
    tls_server_name: Option<String>,

    /// For https://…: show this certificate (PEM) to a server that asks for one.
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        env = "COPYDESK_CLIENT_TLS_CERT",
        help_heading = "Server"
    )]
    tls_cert: Option<PathBuf>,

    /// The private key (PEM) of --tls-cert.
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_cert",
        env = "COPYDESK_CLIENT_TLS_KEY",
        help_heading = "Server"
    )]
    tls_key: Option<PathBuf>,
}

impl Credentials {
    /// Reads the files; the timeout is for one article, all tries together.
    pub fn config(&self, timeout: Duration) -> Result<Config, Failure> {
        Ok(Config {
            token: self.token_file.as_deref().map(token).transpose()?,
            ..self.tls.config(timeout)?
        })
    }
}

impl TlsArguments {
    /// Reads the files.
    pub fn config(&self, timeout: Duration) -> Result<Config, Failure> {
        Ok(Config {
            timeout,
            authority: self.tls_ca.as_deref().map(authority).transpose()?,
            name: self.tls_server_name.clone(),
            certificate: self.certificate()?,
            ..Config::default()
        })
    }

    fn certificate(&self) -> Result<Option<Certificate>, Failure> {
        let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            return Ok(None);
        };
        let pem = (read("--tls-cert", certificate)?, read("--tls-key", key)?);
        let read = Certificate::from_pem(&pem.0, &pem.1);
        Ok(Some(read.map_err(|error| match error {
            BadCertificate::Certificate(error) => {
                format!("--tls-cert {}: {error}", certificate.display())
            }
            BadCertificate::Key(error) => format!("--tls-key {}: {error}", key.display()),
        })?))
    }
}

/// Whether the arguments themselves are wrong, rather than what they name.
pub(super) fn is_usage(error: &Failure) -> bool {
    use ConnectError::{Exposed, Plain, Url};
    matches!(
        error.downcast_ref(),
        Some(Url { .. } | Plain { .. } | Exposed { .. })
    )
}

fn authority(file: &Path) -> Result<Authority, Failure> {
    let place = file.display();
    let pem = read("--tls-ca", file)?;
    Authority::from_pem(&pem).map_err(|error| format!("--tls-ca {place}: {error}").into())
}

fn token(file: &Path) -> Result<Token, Failure> {
    let place = file.display();
    let bytes = read("--token-file", file)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| format!("--token-file {place}: is not UTF-8 text"))?;
    Token::from_file(text).map_err(|error| format!("--token-file {place}: {error}").into())
}

fn read(flag: &str, file: &Path) -> Result<Vec<u8>, Failure> {
    let place = file.display();
    std::fs::read(file).map_err(|error| format!("{flag} {place}: {error}").into())
}
