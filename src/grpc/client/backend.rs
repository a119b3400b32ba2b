//! One server as a client knows it: what is under way there, how it does, when it may be asked.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::super::convert;
use super::super::pb::classifier_service_client::ClassifierServiceClient;
use super::super::pb::{self, classify_article_response};
use super::super::server::SERVICE;
use super::super::status::deadline_exceeded;
use super::{Config, ConnectError, Token};
use crate::answer::{ModelIdentity, Sentence, Summary};

/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The wait after a first failure; it doubles with each one that follows.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// How long a server may take to say how it is, or which model it has.
const SOON: Duration = Duration::from_secs(3);

/// Bytes of one answer; far above any sentence, and above the summary of the largest article.
const ANSWER_BYTES: usize = 64 << 20;

/// A server.
pub(super) struct Backend {
    url: String,
    service: ClassifierServiceClient<Channel>,
    token: Option<Token>,
    health: HealthClient<Channel>,
    in_flight: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    /// When it may be asked.
    ready: Instant,
    /// How long it rests after the next failure.
    wait: Duration,
    /// Whether its last answer was a failure.
    failed: bool,
}

/// One article under way.
struct Under<'a>(&'a AtomicUsize);

impl Drop for Under<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Backend {
    /// A server by its address.
    pub fn new(url: &str, config: &Config) -> Result<Self, ConnectError> {
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
                .tls_config(tls(config))
                .map_err(ConnectError::Tls)?
        } else if config.authority.is_some() {
            let flags = "--tls-ca";
            return Err(ConnectError::Plain {
                url: owned(),
                flags,
            });
        } else if config.name.is_some() {
            let flags = "--tls-server-name";
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
        let channel = endpoint.connect_lazy();
        Ok(Self {
            url: url.to_owned(),
            service: ClassifierServiceClient::new(channel.clone())
                .max_decoding_message_size(ANSWER_BYTES),
            token: config.token.clone(),
            health: HealthClient::new(channel),
            in_flight: AtomicUsize::new(0),
            state: Mutex::new(State {
                ready: Instant::now(),
                wait: FIRST_WAIT,
                failed: false,
            }),
        })
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Articles under way there.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// When it may be asked.
    pub fn ready(&self) -> Instant {
        self.state().ready
    }

    /// It answered.
    pub fn well(&self) {
        let mut state = self.state();
        (state.failed, state.wait) = (false, FIRST_WAIT);
    }

    /// It did not answer, and may have said when to come back.
    pub fn rest(&self, pushback: Option<Duration>) {
        let mut state = self.state();
        // One that says when to come back is well.
        state.failed = pushback.is_none();
        let now = Instant::now();
        let resting = now < state.ready;
        let until = now + pushback.unwrap_or(state.wait);
        state.ready = state.ready.max(until);
        // Articles that fail together are one failure.
        if !resting {
            state.wait = (state.wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Asks a server whose last answer was a failure how it is; the others wait for what it says.
    pub async fn ask_health(&self) -> Result<(), Status> {
        {
            let mut state = self.state();
            if !state.failed {
                return Ok(());
            }
            state.ready = Instant::now() + SOON;
        }
        let mut health = self.health.clone();
        let check = health.check(HealthCheckRequest::default());
        let answer = match tokio::time::timeout(SOON, check).await {
            Ok(Ok(answer)) => answer.into_inner().status(),
            Ok(Err(status)) if status.code() == Code::Unimplemented => ServingStatus::Serving,
            Ok(Err(status)) => return Err(Status::unavailable(status.message())),
            Err(_) => return Err(Status::unavailable("the server does not say how it is")),
        };
        if answer != ServingStatus::Serving {
            return Err(Status::unavailable("the server is not serving"));
        }
        self.well();
        self.state().ready = Instant::now();
        Ok(())
    }

    /// Whether it says that it serves, as a server that is asked for the first time would be: what
    /// it answered before does not count. Waits for `patience` at most.
    pub async fn serves(&self, patience: Duration) -> Result<bool, Status> {
        let mut health = self.health.clone();
        let service = SERVICE.to_owned();
        let check = health.check(HealthCheckRequest { service });
        match tokio::time::timeout(patience, check).await {
            Ok(answer) => Ok(answer?.into_inner().status() == ServingStatus::Serving),
            Err(_) => Err(deadline_exceeded()),
        }
    }

    /// Which model it has.
    pub async fn model(&self) -> Result<ModelIdentity, Status> {
        let mut service = self.service.clone();
        let asked = service.get_model(self.request(pb::GetModelRequest {}));
        let answer = tokio::time::timeout(SOON, asked)
            .await
            .map_err(|_| Status::deadline_exceeded("the server does not answer"))??;
        let model = answer.into_inner().model.unwrap_or_default();
        let model = model.identity.unwrap_or_default();
        Ok(ModelIdentity {
            id: model.id,
            revision: model.revision,
            sha256: model.sha256,
        })
    }

    /// Sends an article once; `arrived` is called as each sentence arrives.
    pub async fn attempt(
        &self,
        message: pb::ClassifyArticleRequest,
        end: Instant,
        mut arrived: impl FnMut(),
    ) -> Result<(Vec<Sentence>, Summary), Status> {
        use classify_article_response::Event;
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let _under = Under(&self.in_flight);
        let mut request = self.request(message);
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

    /// A request with the token, if there is one.
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", token.header());
        }
        request
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A few plain values are whole whoever panicked over them.
        self.state.lock().unwrap_or_else(|torn| torn.into_inner())
    }
}

fn tls(config: &Config) -> ClientTlsConfig {
    let tls = match &config.authority {
        Some(authority) => ClientTlsConfig::new().trust_anchors(authority.anchors()),
        None => ClientTlsConfig::new().with_webpki_roots(),
    };
    let tls = match &config.name {
        Some(name) => tls.domain_name(name),
        None => tls,
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
