//! A certificate authority of the caller's own. Read and checked as it is named, since the TLS
//! library passes over what it cannot read and would then trust nobody, without a word.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor};

/// An authority that may vouch for a server, in place of the public ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    anchors: Vec<TrustAnchor<'static>>,
}

/// Not an authority.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

impl Authority {
    /// The certificates of a PEM file, one or more; anything else in it is passed over.
    ///
    /// # Errors
    ///
    /// When there is no certificate, or one that cannot be read.
    pub fn from_pem(pem: &[u8]) -> Result<Self, Unreadable> {
        let anchors = CertificateDer::pem_slice_iter(pem)
            .zip(1..)
            .map(|(certificate, n)| {
                let certificate = certificate.map_err(|error| {
                    Unreadable(format!("is no PEM at certificate {n}: {error}"))
                })?;
                let anchor = webpki::anchor_from_trusted_cert(&certificate)
                    .map_err(|error| Unreadable(format!("certificate {n} is none: {error}")))?;
                Ok(anchor.to_owned())
            })
            .collect::<Result<Vec<_>, _>>()?;
        if anchors.is_empty() {
            let problem = "holds no certificate; it must be PEM, with BEGIN CERTIFICATE";
            return Err(Unreadable(problem.to_owned()));
        }
        Ok(Self { anchors })
    }

    /// As the transport takes it.
    pub(super) fn anchors(&self) -> Vec<TrustAnchor<'static>> {
        self.anchors.clone()
    }
}
