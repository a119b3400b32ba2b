//! The bundled client: one article, one answer. Sends a deadline, tries again when the server has
//! no room or the connection breaks, and drops what came of an answer that broke off.

mod authority;
mod identity;

use std::time::{Duration, Instant};

use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

pub use self::authority::Authority;
pub use self::identity::{BadCertificate, Certificate, Token};
use super::convert;
use super::pb::classifier_service_client::ClassifierServiceClient;
use super::pb::{self, classify_article_response};
pub use super::pem::Unreadable;
use super::status::{PUSHBACK, deadline_exceeded};
use crate::answer::{Sentence, Summary};
use crate::article::Article;

/// How the client behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// How long one article may take, all tries together.
    pub timeout: Duration,
    /// How often an article is sent at most.
    pub tries: u32,
    /// Who may vouch for a server at `https://`: this authority alone, or the public ones.
    pub authority: Option<Authority>,
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

/// A client of one server. Cheap to clone; connects with the first call.
#[derive(Clone)]
pub struct Client {
    service: ClassifierServiceClient<Channel>,
    config: Config,
}

/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How far two clocks for one deadline may be apart.
const LAST_MOMENT: Duration = Duration::from_millis(20);

/// Bytes of one answer; far above any sentence, and above the summary of the largest article.
const ANSWER_BYTES: usize = 64 << 20;

impl Client {
    /// A client of the server at `url`; `https://` means TLS.
    ///
    /// # Errors
    ///
    /// When the address is none, or plain text with certificates or a token. Whether a server answers shows with the first call.
    pub fn new(url: &str, config: Config) -> Result<Self, ConnectError> {
        let known = url.starts_with("http://") || url.starts_with("https://");
        let endpoint = Some(url)
            .filter(|_| known)
            .and_then(|url| Endpoint::from_shared(url.to_owned()).ok())
            .ok_or_else(|| ConnectError::Url {
                url: url.to_owned(),
            })?
            .connect_timeout(Duration::from_secs(10))
            .http2_keep_alive_interval(Duration::from_secs(30));
        let owned = || url.to_owned();
        let endpoint = if url.starts_with("https://") {
            endpoint
                .tls_config(tls(&config))
                .map_err(ConnectError::Tls)?
        } else if config.authority.is_some() {
            let flags = "--tls-ca";
            return Err(ConnectError::Plain {
                url: owned(),
                flags,
            });
        } else if config.certificate.is_some() {
            let flags = "--tls-cert and --tls-key";
            return Err(ConnectError::Plain {
                url: owned(),
                flags,
            });
        } else if config.token.is_some() && !is_loopback(endpoint.uri()) {
            return Err(ConnectError::Exposed { url: owned() });
        } else {
            endpoint
        };
        let service = ClassifierServiceClient::new(endpoint.connect_lazy())
            .max_decoding_message_size(ANSWER_BYTES);
        Ok(Self { service, config })
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
        let mut wait = Duration::from_millis(100);
        let mut left = self.config.tries.max(1);
        loop {
            left -= 1;
            let attempt = self.attempt(message.clone(), end, || ());
            let status = match tokio::time::timeout_at(end.into(), attempt).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(status)) => status,
                Err(_) => return Err(deadline_exceeded()),
            };
            // tonic's own clock tells a deadline as a cancellation.
            if status.code() == Code::Cancelled && Instant::now() + LAST_MOMENT >= end {
                return Err(deadline_exceeded());
            }
            let pause = pushback(&status).unwrap_or(wait).min(LONGEST_WAIT);
            if left == 0 || !worth_another(&status) || Instant::now() + pause >= end {
                return Err(status);
            }
            tokio::time::sleep(pause).await;
            wait *= 2;
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
        let attempt = self.attempt(message, end, arrived);
        match tokio::time::timeout_at(end.into(), attempt).await {
            Ok(answer) => answer,
            Err(_) => Err(deadline_exceeded()),
        }
    }

    async fn attempt(
        &self,
        message: pb::ClassifyArticleRequest,
        end: Instant,
        mut arrived: impl FnMut(),
    ) -> Result<(Vec<Sentence>, Summary), Status> {
        use classify_article_response::Event;
        let mut request = Request::new(message);
        if let Some(token) = &self.config.token {
            request
                .metadata_mut()
                .insert("authorization", token.header());
        }
        request.set_timeout(end.saturating_duration_since(Instant::now()));
        let mut stream = self
            .service
            .clone()
            .classify_article(request)
            .await?
            .into_inner();
        let mut sentences = Vec::new();
        while let Some(message) = stream.message().await? {
            match message.event {
                Some(Event::Sentence(sentence)) => {
                    arrived();
                    sentences.push(convert::from_sentence(sentence)?);
                }
                Some(Event::Summary(summary)) => {
                    let summary = convert::from_summary(summary, &sentences)?;
                    return Ok((sentences, summary));
                }
                None => {}
            }
        }
        Err(Status::unavailable(
            "the answer broke off before its summary",
        ))
    }
}

fn tls(config: &Config) -> ClientTlsConfig {
    let tls = match &config.authority {
        Some(authority) => ClientTlsConfig::new().trust_anchors(authority.anchors()),
        None => ClientTlsConfig::new().with_webpki_roots(),
    };
    match &config.certificate {
        Some(certificate) => tls.identity(certificate.identity()),
        None => tls,
    }
}

/// Whether an address is this machine's own, where nobody is on the way.
fn is_loopback(uri: &http::Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse();
    host == "localhost" || ip.is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
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
