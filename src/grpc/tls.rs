//! TLS of the server: its certificate, and who may vouch for clients. Read again when the files
//! change; a connection keeps what it was made with.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::pem;
pub use super::reload::Unusable;
use super::reload::{Watched, read};

/// Where certificates and keys lie, all in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The server's certificate, and those that lead to its authority.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// The authorities of clients. With any, a client without a certificate of theirs is refused.
    pub client_ca: Option<PathBuf>,
}

/// How connections are secured.
#[derive(Clone, Debug)]
pub struct Tls(Arc<Watched<TlsAcceptor>>);

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// The file that cannot be used, and why.
    pub fn load(files: Files) -> Result<Self, Unusable> {
        let mut all = vec![files.certificate.clone(), files.key.clone()];
        all.extend(files.client_ca.clone());
        let watched = Watched::load("certificates", all, move || acceptor(&files))?;
        Ok(Self(Arc::new(watched)))
    }

    /// For a new connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        (*self.0.get()).clone()
    }

    pub(super) async fn watch(self, every: Duration) {
        self.0.watch(every).await;
    }
}

fn acceptor(files: &Files) -> Result<TlsAcceptor, Unusable> {
    let in_file = |file: &Path, result: Result<_, pem::Unreadable>| {
        result.map_err(|error| Unusable::new(file, error))
    };
    let chain = pem::certificates(&read(&files.certificate)?);
    let chain = in_file(&files.certificate, chain)?;
    let key = pem::key(&read(&files.key)?).map_err(|error| Unusable::new(&files.key, error))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Unusable::new(&files.certificate, error))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for (certificate, n) in in_file(file, pem::certificates(&read(file)?))?
                .into_iter()
                .zip(1..)
            {
                roots.add(certificate).map_err(|error| {
                    Unusable::new(file, format!("certificate {n} is none: {error}"))
                })?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| Unusable::new(file, error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| mismatch(files, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Each file for itself is well, but not the two together.
fn mismatch(files: &Files, error: &rustls::Error) -> Unusable {
    let certificate = files.certificate.display();
    let problem = match error {
        rustls::Error::InconsistentKeys(_) => format!("is not the key of {certificate}"),
        error => format!("does not go with {certificate}: {error}"),
    };
    Unusable::new(&files.key, problem)
}
