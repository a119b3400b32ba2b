//! Who the client is: its certificate, its token. Both are checked as they are named, and neither
//! is ever shown.

use std::fmt;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Identity;

use super::super::pem::{self, Unreadable};

/// A certificate with its key, for servers that ask for one.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Certificate {
    /// Of a PEM file with the certificate, and those that lead to its authority, and of one with its
    /// key.
    ///
    /// # Errors
    ///
    /// What is wrong with the certificate, or with the key.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, BadCertificate> {
        pem::certificates(certificate).map_err(BadCertificate::Certificate)?;
        pem::key(key).map_err(BadCertificate::Key)?;
        Ok(Self {
            certificate: certificate.to_vec(),
            key: key.to_vec(),
        })
    }

    /// As the transport takes it.
    pub(super) fn identity(&self) -> Identity {
        Identity::from_pem(&self.certificate, &self.key)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

/// Which of the two files is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCertificate {
    /// The certificate.
    #[error(transparent)]
    Certificate(Unreadable),
    /// The key.
    #[error(transparent)]
    Key(Unreadable),
}

/// A bearer token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(MetadataValue<Ascii>);

impl Token {
    /// The first line of a file that is neither blank nor a comment (`#`).
    ///
    /// # Errors
    ///
    /// When there is none, or one that no header can carry.
    pub fn from_file(text: &str) -> Result<Self, Unreadable> {
        let mut lines = text.lines().map(str::trim);
        let token = lines
            .find(|line| !line.is_empty() && !line.starts_with('#'))
            .ok_or_else(|| Unreadable("holds no token; write it on a line".to_owned()))?;
        let graphic = token.bytes().all(|b| b.is_ascii_graphic());
        let value = graphic.then(|| format!("Bearer {token}").parse().ok());
        let mut value: MetadataValue<Ascii> = value.flatten().ok_or_else(|| {
            Unreadable("a token is visible ASCII characters without blanks".to_owned())
        })?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// The value of the `authorization` header.
    pub(super) fn header(&self) -> MetadataValue<Ascii> {
        self.0.clone()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}
