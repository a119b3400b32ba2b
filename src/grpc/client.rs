//! The bundled client: one article, one answer. Sends a deadline, tries again when the server has
//! no room or the connection breaks, and drops what came of an answer that broke off.

use std::time::{Duration, Instant};

use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

use super::convert;
use super::pb::classifier_service_client::ClassifierServiceClient;
use super::pb::{self, classify_article_response};
use super::status::{PUSHBACK, deadline_exceeded};
use crate::answer::{Sentence, Summary};
use crate::article::Article;

/// How the client behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// How long one article may take, all tries together.
    pub timeout: Duration,
    /// How often an article is sent at most, if the server does not say when to come back.
    pub tries: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(300),
            tries: 6,
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

/// The longest wait between two tries, unless the server asks for a longer one.
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
    /// When the address is none. Whether a server answers shows with the first call.
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
        let endpoint = match url.starts_with("https://") {
            true => endpoint
                .tls_config(ClientTlsConfig::new().with_webpki_roots())
                .map_err(ConnectError::Tls)?,
            false => endpoint,
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
        let mut left = self.config.tries.max(1) - 1;
        loop {
            let attempt = self.attempt(message.clone(), end);
            let status = match tokio::time::timeout_at(end.into(), attempt).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(status)) => status,
                Err(_) => return Err(deadline_exceeded()),
            };
            // tonic's own clock tells a deadline as a cancellation.
            if status.code() == Code::Cancelled && Instant::now() + LAST_MOMENT >= end {
                return Err(deadline_exceeded());
            }
            let slot = pushback(&status);
            let pause = slot.unwrap_or(wait.min(LONGEST_WAIT));
            if left == 0 || !worth_another(&status) || Instant::now() + pause >= end {
                return Err(status);
            }
            tokio::time::sleep(pause).await;
            // Whoever is given a slot is in a queue, and goes on until the timeout.
            if slot.is_none() {
                left -= 1;
                wait *= 2;
            }
        }
    }

    async fn attempt(
        &self,
        message: pb::ClassifyArticleRequest,
        end: Instant,
    ) -> Result<(Vec<Sentence>, Summary), Status> {
        use classify_article_response::Event;
        let mut request = Request::new(message);
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
                    sentences.push(convert::from_sentence(sentence)?)
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
