//! PEM files: certificates and keys, or what is wrong with the file. Shows nothing of a key.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub(super) String);

/// The certificates of a file, one or more; anything else in it is passed over.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Unreadable> {
    let found = CertificateDer::pem_slice_iter(pem)
        .zip(1..)
        .map(|(certificate, n)| {
            certificate
                .map_err(|error| Unreadable(format!("is no PEM at certificate {n}: {error}")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() {
        let problem = "holds no certificate; it must be PEM, with BEGIN CERTIFICATE";
        return Err(Unreadable(problem.to_owned()));
    }
    Ok(found)
}

/// The first private key of a file.
pub(super) fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Unreadable> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        let problem = "holds no private key; it must be PEM, with BEGIN PRIVATE KEY";
        Unreadable(problem.to_owned())
    })
}
