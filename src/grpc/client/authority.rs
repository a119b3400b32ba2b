//! A certificate authority of the caller's own. Read and checked as it is named, since the TLS
//! library passes over what it cannot read and would then trust nobody, without a word.

use rustls_pki_types::TrustAnchor;

use super::super::pem::{self, Unreadable};

/// An authority that may vouch for a server, in place of the public ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    anchors: Vec<TrustAnchor<'static>>,
}

impl Authority {
    /// The certificates of a PEM file, one or more; anything else in it is passed over.
    ///
    /// # Errors
    ///
    /// When there is no certificate, or one that cannot be read.
    pub fn from_pem(pem: &[u8]) -> Result<Self, Unreadable> {
        let anchors = pem::certificates(pem)?
            .iter()
            .zip(1..)
            .map(|(certificate, n)| {
                let anchor = webpki::anchor_from_trusted_cert(certificate)
                    .map_err(|error| Unreadable(format!("certificate {n} is none: {error}")))?;
                Ok(anchor.to_owned())
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { anchors })
    }

    /// As the transport takes it.
    pub(super) fn anchors(&self) -> Vec<TrustAnchor<'static>> {
        self.anchors.clone()
    }
}
