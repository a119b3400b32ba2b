//! Who may call: bearer tokens from a file, read again when it changes. Keeps hashes only, compares
//! them in constant time, and never shows a token.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use tonic::Status;

pub use super::reload::Unusable;
use super::reload::{Watched, read};
use super::status;

/// Characters of a token: enough that none is guessed, and no more than a header should carry.
const LENGTH: std::ops::RangeInclusive<usize> = 16..=512;

/// What anyone may ask: load balancers and orchestrators have no token.
const OPEN: [&str; 3] = [
    "/grpc.health.v1.Health/",
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
];

type Hash = [u8; 32];

/// The tokens that are let in.
#[derive(Clone, Debug)]
pub struct Tokens(Arc<Watched<Vec<Hash>>>);

impl Tokens {
    /// Reads a file: a token a line; blank lines and those that begin with `#` are passed over.
    ///
    /// # Errors
    ///
    /// When it cannot be read, has a line that is no token, or holds none.
    pub fn load(file: PathBuf) -> Result<Self, Unusable> {
        let files = vec![file.clone()];
        let watched = Watched::load("tokens", files, move || hashes(&file))?;
        Ok(Self(Arc::new(watched)))
    }

    pub(super) async fn watch(self, every: Duration) {
        self.0.watch(every).await;
    }

    /// Lets a call in, or says why not.
    pub(super) fn check(&self, path: &str, headers: &HeaderMap) -> Result<(), Box<Status>> {
        let open = OPEN.iter().any(|open| match open.ends_with('/') {
            true => path.starts_with(open),
            false => path == *open,
        });
        if open || bearer(headers).is_some_and(|token| self.knows(token)) {
            return Ok(());
        }
        Err(Box::new(status::unauthenticated()))
    }

    /// Looks at all of them, whichever it is.
    fn knows(&self, token: &[u8]) -> bool {
        let hash = Hash::from(Sha256::digest(token));
        let known = self.0.get();
        let found = known
            .iter()
            .fold(Choice::from(0), |found, one| found | one.ct_eq(&hash));
        found.into()
    }
}

/// The token of `authorization: Bearer TOKEN`. Two such headers are none.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    let only = values.next().is_none();
    (only && scheme.eq_ignore_ascii_case(b"Bearer ")).then(|| token.trim_ascii())
}

fn hashes(file: &Path) -> Result<Vec<Hash>, Unusable> {
    let bytes = read(file)?;
    let mut found = Vec::new();
    for (line, n) in bytes.split(|&b| b == b'\n').zip(1..) {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        found.push(hash(line).ok_or_else(|| {
            let (least, most) = (LENGTH.start(), LENGTH.end());
            // The line itself may be a secret.
            let problem = format!(
                "line {n} is no token; one is {least} to {most} visible ASCII characters without blanks"
            );
            Unusable::new(file, problem)
        })?);
    }
    if found.is_empty() {
        return Err(Unusable::new(file, "holds no token; write one a line"));
    }
    Ok(found)
}

fn hash(token: &[u8]) -> Option<Hash> {
    let sound = LENGTH.contains(&token.len()) && token.iter().all(u8::is_ascii_graphic);
    sound.then(|| Sha256::digest(token).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "correct-horse-battery";

    fn load(text: &str) -> Result<Tokens, Unusable> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tokens");
        std::fs::write(&file, text).unwrap();
        Tokens::load(file)
    }

    #[test]
    fn headers_are_read() {
        let tokens = load(&format!("# ours\n\n{TOKEN}\r\nanother-token-0001\n")).unwrap();
        let check = |values: &[&str], expect: bool| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            let found = tokens.check("/copydesk.v1.ClassifierService/GetModel", &headers);
            assert_eq!(found.is_ok(), expect, "{values:?}");
        };
        check(&[&format!("Bearer {TOKEN}")], true);
        check(&[&format!("bearer  {TOKEN} ")], true);
        check(&["Bearer another-token-0001"], true);
        check(&[], false);
        check(&[""], false);
        check(&["Bearer "], false);
        check(&[TOKEN], false);
        check(&[&format!("Basic {TOKEN}")], false);
        check(&["Bearer # ours"], false);
        check(&["Bearer correct-horse-batter"], false);
        check(&[&format!("Bearer {TOKEN}x")], false);
        check(&[&format!("Bearer {TOKEN}"), "Bearer x"], false);
    }

    #[test]
    fn files_without_tokens_are_refused_and_nothing_of_them_is_shown() {
        let check = |text: &str, expect: &str| {
            let error = load(text).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
            assert!(!error.contains("secret"), "{error}");
        };
        check("", "holds no token");
        check("# only\n", "holds no token");
        check("long-enough-token\nsecret\n", "line 2 is no token");
        check("secret secret secret secret", "line 1 is no token");
        check("sécret-sécret-sécret", "line 1 is no token");
    }

    #[test]
    fn tokens_are_not_shown() {
        let shown = format!("{:?}", load(TOKEN).unwrap());
        assert!(!shown.contains(TOKEN), "{shown}");
    }
}
