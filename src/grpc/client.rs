//! The bundled client: one article, one answer, from one server or several. Sends a deadline, goes
//! to the server with the fewest articles under way, tries again elsewhere or later when one has no
//! room or its connection breaks, and drops what came of an answer that broke off.

mod authority;
mod backend;
mod identity;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tonic::{Code, Status};

pub use self::authority::Authority;
use self::backend::Backend;
pub use self::identity::{BadCertificate, Certificate, Token};
use super::convert;
pub use super::pem::Unreadable;
use super::status::{PUSHBACK, deadline_exceeded};
use crate::answer::{ModelIdentity, Sentence, Summary};
use crate::article::Article;

/// How the client behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// How long one article may take, all tries together.
    pub timeout: Duration,
    /// How often an article is sent at most, for each server and if the server does not say when to come back.
    pub tries: u32,
    /// Who may vouch for a server at `https://`: this authority alone, or the public ones.
    pub authority: Option<Authority>,
    /// The name that a server's certificate must be for; that of its address if left out.
    pub name: Option<String>,
    /// Who the client is, for servers that ask for a certificate.
    pub certificate: Option<Certificate>,
    /// What lets it in, for servers that ask for a token.
    pub token: Option<Token>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(300),
            tries: 6,
            authority: None,
            name: None,
            certificate: None,
            token: None,
        }
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not an address.
    #[error("{url:?} is no address of a server; use http://host:port or https://host:port")]
    Url {
        /// As given.
        url: String,
    },
    /// Certificates for a server that shows and reads none.
    #[error(
        "{url:?} is plain text, where no certificate is looked at; use https:// or leave {flags} out"
    )]
    Plain {
        /// As given.
        url: String,
        /// What makes no sense there.
        flags: &'static str,
    },
    /// A token that everyone on the way could read.
    #[error(
        "{url:?} is plain text, where everyone on the way could read the token; use https:// (or a \
         loopback address)"
    )]
    Exposed {
        /// As given.
        url: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] tonic::transport::Error),
}

/// A client of one server or several. Cheap to clone; connects with the first call.
#[derive(Clone)]
pub struct Client {
    backends: Arc<Vec<Backend>>,
    /// Where the search for the idlest begins, so that idle ones take turns.
    turn: Arc<AtomicUsize>,
    config: Config,
}

/// How far two clocks for one deadline may be apart.
const LAST_MOMENT: Duration = Duration::from_millis(20);

impl Client {
    /// A client of the servers at `urls`; `https://` means TLS.
    ///
    /// # Errors
    ///
    /// When an address is none, or plain text with certificates or a token. Whether a server answers shows with the first call.
    pub fn new<U: AsRef<str>>(urls: &[U], config: Config) -> Result<Self, ConnectError> {
        if urls.is_empty() {
            let url = String::new();
            return Err(ConnectError::Url { url });
        }
        let backends = urls.iter().map(|url| Backend::new(url.as_ref(), &config));
        Ok(Self {
            backends: Arc::new(backends.collect::<Result<_, _>>()?),
            turn: Arc::default(),
            config,
        })
    }

    /// The model of each server, by its address.
    pub async fn models(&self) -> Vec<(&str, Result<ModelIdentity, Status>)> {
        let mut models = Vec::new();
        for backend in self.backends.iter() {
            models.push((backend.url(), backend.model().await));
        }
        models
    }

    /// Whether each server says that it serves, by its address; each within the client's timeout.
    pub async fn serving(&self) -> Vec<(&str, Result<bool, Status>)> {
        let patience = self.config.timeout;
        let asked = self.backends.iter().map(|backend| backend.serves(patience));
        let answers = futures_util::future::join_all(asked).await;
        self.backends
            .iter()
            .map(Backend::url)
            .zip(answers)
            .collect()
    }

    /// The whole answer to an article.
    ///
    /// # Errors
    ///
    /// The last try's status.
    pub async fn classify(
        &self,
        article: &Article,
        min_confidence: f32,
    ) -> Result<(Vec<Sentence>, Summary), Status> {
        let end = Instant::now() + self.config.timeout;
        let message = convert::to_request(article, min_confidence);
        let servers = u32::try_from(self.backends.len()).unwrap_or(u32::MAX);
        let mut left = self.config.tries.max(1).saturating_mul(servers);
        let mut last = None;
        loop {
            let (backend, ready) = self.idlest();
            // Waiting beyond the deadline is no use: the last answer tells more.
            if left == 0 || ready >= end {
                return Err(last.unwrap_or_else(deadline_exceeded));
            }
            tokio::time::sleep_until(ready.into()).await;
            left -= 1;
            let attempt = async {
                // One that failed is asked how it is before an article is risked on it, if there
                // are others to turn to.
                if servers > 1 {
                    backend.ask_health().await?;
                }
                backend.attempt(message.clone(), end, || ()).await
            };
            let status = match tokio::time::timeout_at(end.into(), attempt).await {
                Ok(Ok(answer)) => {
                    backend.well();
                    return Ok(answer);
                }
                Ok(Err(status)) => status,
                Err(_) => return Err(deadline_exceeded()),
            };
            // tonic's own clock tells a deadline as a cancellation.
            if status.code() == Code::Cancelled && Instant::now() + LAST_MOMENT >= end {
                return Err(deadline_exceeded());
            }
            if !worth_another(&status) {
                return Err(status);
            }
            let slot = pushback(&status);
            // Whoever is given a slot is in a queue, and goes on until the timeout.
            left += u32::from(slot.is_some());
            backend.rest(slot);
            last = Some(status);
        }
    }

    /// One try at an article: a full queue is told, not waited out. `arrived` is called as each
    /// sentence arrives. For whoever measures a server as it is.
    ///
    /// # Errors
    ///
    /// The try's status.
    pub async fn once(
        &self,
        article: &Article,
        min_confidence: f32,
        arrived: impl FnMut(),
    ) -> Result<(Vec<Sentence>, Summary), Status> {
        let end = Instant::now() + self.config.timeout;
        let message = convert::to_request(article, min_confidence);
        let attempt = self.idlest().0.attempt(message, end, arrived);
        match tokio::time::timeout_at(end.into(), attempt).await {
            Ok(answer) => answer,
            Err(_) => Err(deadline_exceeded()),
        }
    }

    /// Of those that may be asked now the one with the fewest articles under way; else the one that
    /// may be asked first.
    fn idlest(&self) -> (&Backend, Instant) {
        let now = Instant::now();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let (before, from) = self.backends.split_at(turn % self.backends.len());
        let mut best = (&from[0], from[0].ready().max(now));
        for backend in from.iter().chain(before).skip(1) {
            let ready = backend.ready().max(now);
            if (ready, backend.in_flight()) < (best.1, best.0.in_flight()) {
                best = (backend, ready);
            }
        }
        best
    }
}

/// What a server says of when to come back.
fn pushback(status: &Status) -> Option<Duration> {
    let wait = status.metadata().get(PUSHBACK)?.to_str().ok()?;
    wait.parse().ok().map(Duration::from_millis)
}

/// No room, a server that went away, a connection that broke: another try may go well.
fn worth_another(status: &Status) -> bool {
    // hyper tells a connection that broke in mid-answer as an unknown error with a source.
    let broke = matches!(
        status.code(),
        Code::Unknown | Code::Internal | Code::Cancelled
    ) && std::error::Error::source(status).is_some();
    status.code() == Code::Unavailable || broke
}
