//! The server: the service, health, reflection, and grpc-web behind one listener, and behind another,
//! where it is asked for, a page for a browser. Says SERVING only once the model has answered, and NOT_SERVING when it breaks or the server drains.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer, ExposeHeaders};

pub use super::listener::Connections;

use super::Service;
use super::auth::Tokens;
use super::deadline::Deadlines;
use super::gate::{self, Gate};
use super::listener::{self, Door};
use super::open_inference::pb::grpc_inference_service_server::GrpcInferenceServiceServer;
use super::open_inference::{self, OpenInference};
use super::pb::FILE_DESCRIPTOR_SET;
use super::pb::classifier_service_server::ClassifierServiceServer;
use super::tls::Tls;
use super::ui::{Doors, Page};
use crate::answer::Event;
use crate::article::{Article, Body};
use crate::classifier::{Classifier, Options};
use crate::engine::Engine;
use crate::telemetry::Observer;

/// The service's full name, as health checks ask for it.
pub const SERVICE: &str = "copydesk.v1.ClassifierService";

/// Batches that may fail in a row before the replica says NOT_SERVING.
const FAILURES: u64 = 3;

/// How often a replica that does not serve for such failures tries whether the model answers again.
const PROBE: Duration = Duration::from_secs(1);

/// How the server runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of one request message.
    pub request_bytes: usize,
    /// Calls under way on one connection.
    pub streams: u32,
    /// Calls under way altogether; those beyond are refused like those that the queue has no room
    /// for.
    pub calls: usize,
    /// How long it goes on as before once it is to stop, but tells health checks that it does not
    /// serve: the time that balancers need to notice.
    pub drain_wait: Duration,
    /// How long running calls may take to end once the server stops.
    pub drain_timeout: Duration,
    /// TLS; plain text without.
    pub tls: Option<Tls>,
    /// Who may call; anyone if left out.
    pub tokens: Option<Tokens>,
    /// Whether the contract is told to whoever asks.
    pub reflection: bool,
    /// Whether the Open Inference Protocol is spoken beside our own.
    pub open_inference: bool,
    /// Connections at a time.
    pub connections: Arc<Connections>,
    /// Bytes of a call's headers.
    pub header_bytes: u32,
    /// How long a request message may be under way; as long as it likes if left out.
    pub message_timeout: Option<Duration>,
    /// How often a silent client is asked whether it is still there; never if left out.
    pub keepalive_interval: Option<Duration>,
    /// How long it may take to answer that.
    pub keepalive_timeout: Duration,
    /// How long a connection may be without calls; for ever if left out.
    pub idle: Option<Duration>,
    /// After how long a connection takes no new calls; never if left out.
    pub age: Option<Duration>,
    /// How long the calls of such a connection may then go on; to their end if left out.
    pub age_grace: Option<Duration>,
    /// Who is told of calls.
    pub observers: Vec<Arc<dyn Observer>>,
    /// How often the files of certificates and tokens are looked at.
    pub reload: Duration,
}

impl Default for Config {
    fn default() -> Self {
        // Above the limit of an article's text with its parties, so that what is too long is
        // refused with details rather than by the transport.
        Self {
            request_bytes: 8 << 20,
            streams: 1024,
            calls: 1024,
            drain_wait: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
            tls: None,
            tokens: None,
            reflection: true,
            open_inference: true,
            connections: Arc::new(Connections::new(CONNECTIONS)),
            header_bytes: 16 << 10,
            message_timeout: Some(Duration::from_secs(30)),
            keepalive_interval: Some(Duration::from_secs(60)),
            keepalive_timeout: Duration::from_secs(20),
            idle: Some(Duration::from_secs(300)),
            age: None,
            age_grace: None,
            observers: Vec::new(),
            reload: Duration::from_secs(2),
        }
    }
}

/// Connections at a time, if nothing else is said.
pub const CONNECTIONS: usize = 1000;

/// Why the server ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The reflection service could not be built from the contract.
    #[error("the contract cannot be reflected")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport failed.
    #[error("the server failed")]
    Transport(#[from] tonic::transport::Error),
    /// The model does not answer.
    #[error("the model does not answer a test article: {0}")]
    WarmUp(String),
}

/// Where the server listens.
#[derive(Debug)]
pub struct Listeners {
    /// For the service.
    pub service: TcpListener,
    /// For a page, and for the calls that it makes.
    pub page: Option<(TcpListener, Page)>,
}

impl From<TcpListener> for Listeners {
    /// The service alone.
    fn from(service: TcpListener) -> Self {
        Self {
            service,
            page: None,
        }
    }
}

/// Serves on `listeners` until `shutdown` ends, then lets running calls end.
///
/// # Errors
///
/// When the model does not answer a test article, or the transport fails.
pub async fn serve(
    listeners: impl Into<Listeners>,
    classifier: Classifier,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let service = Service::new(classifier, config.request_bytes, config.calls);
    serve_service(listeners, service, config, shutdown).await
}

/// The same, with a service made before, so that its gauges can be read.
///
/// # Errors
///
/// As [`serve`].
pub async fn serve_service(
    listeners: impl Into<Listeners>,
    service: Service,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let (reporter, health_service) = tonic_health::server::health_reporter();
    let health = Health {
        reporter,
        service: service.clone(),
        open_inference: config.open_inference,
        closed: Arc::default(),
    };
    health.report(false).await;
    let classifier_service = ClassifierServiceServer::new(service.clone())
        .max_decoding_message_size(config.request_bytes);
    let open_inference = config.open_inference.then(|| {
        GrpcInferenceServiceServer::new(OpenInference::new(service.clone()))
            .max_decoding_message_size(config.request_bytes)
    });

    let gate = Gate::new(gate::Rules {
        tokens: config.tokens.clone(),
        message_timeout: config.message_timeout,
        observers: config.observers.clone().into(),
    });
    let rules = listener::Rules {
        tls: config.tls.clone(),
        connections: Arc::clone(&config.connections),
        idle: config.idle,
    };
    let listeners = listeners.into();
    let (page_listener, page) = listeners.page.unzip();
    let doors = [(listeners.service, Door::Service)];
    let doors = doors
        .into_iter()
        .chain(page_listener.map(|listener| (listener, Door::Page)));
    let reflected = || {
        let open_inference = config.open_inference;
        config.reflection.then(|| reflection(open_inference))
    };
    let v1 = reflected().map(|r| r.build_v1()).transpose()?;
    // The name by which grpcio's own reflection client still asks.
    let v1alpha = reflected().map(|r| r.build_v1alpha()).transpose()?;
    // Ends with this function.
    let _files = watch_files(&config);

    let (stopping, stops) = watch::channel(false);
    let classifier = service.classifier().clone();
    let warm = tokio::spawn(keep_health(health.clone(), classifier, stops));
    let (stop, mut stopped) = watch::channel(false);
    let mut server = Server::builder()
        .accept_http1(true)
        .max_concurrent_streams(config.streams)
        .http2_keepalive_interval(config.keepalive_interval)
        .http2_keepalive_timeout(Some(config.keepalive_timeout))
        .http2_max_header_list_size(config.header_bytes);
    if let Some(age) = config.age {
        server = server.max_connection_age(age);
    }
    if let Some(grace) = config.age_grace {
        server = server.max_connection_age_grace(grace);
    }
    let server = server
        // Outermost, so that browsers see its headers on every answer.
        .layer(Doors::new(page, cors()))
        .layer(tonic_web::GrpcWebLayer::new())
        .layer(gate)
        .layer(Deadlines)
        .add_service(health_service)
        .add_optional_service(v1)
        .add_optional_service(v1alpha)
        .add_service(classifier_service)
        .add_optional_service(open_inference)
        .serve_with_incoming_shutdown(listener::accept(doors, &rules), async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        });
    let drain = async {
        shutdown.await;
        let _ = stopping.send(true);
        health.close().await;
        if !config.drain_wait.is_zero() {
            tracing::info!(
                seconds = config.drain_wait.as_secs_f32(),
                "not serving; stopping soon"
            );
            tokio::time::sleep(config.drain_wait).await;
        }
        tracing::info!(
            articles = service.gauges().articles(),
            corpora = service.gauges().corpora(),
            "stopping: running calls end, new ones are refused"
        );
        service.drain();
        // Whoever watches health does not hold us up.
        health.end().await;
        let _ = stop.send(true);
        tokio::time::sleep(config.drain_timeout).await;
    };
    let warm = async {
        match warm.await {
            Ok(Err(error)) => error,
            // It ends well only when the server stops.
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        served = server => Ok(served?),
        () = drain => {
            tracing::warn!("some calls did not end in time and were cut off");
            Ok(())
        }
        error = warm => Err(error),
    }
}

/// Looks at the files that may change while the server runs.
fn watch_files(config: &Config) -> JoinSet<()> {
    let mut watchers = JoinSet::new();
    if let Some(tls) = &config.tls {
        watchers.spawn(tls.clone().watch(config.reload));
    }
    if let Some(tokens) = &config.tokens {
        watchers.spawn(tokens.clone().watch(config.reload));
    }
    watchers
}

/// Warms the model up, then keeps health true to it.
async fn keep_health(
    health: Health,
    classifier: Classifier,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    warm_up(&classifier).await.map_err(ServeError::WarmUp)?;
    tracing::info!("the model answers; serving");
    let mut serving = None;
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    let mut probe = Instant::now();
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = stopping.wait_for(|stop| *stop) => return Ok(()),
        }
        if !sound(classifier.engine()) && probe.elapsed() >= PROBE {
            // Balancers send nothing more, so nothing else would show that it works again.
            tokio::select! {
                answered = warm_up(&classifier) => if let Err(error) = answered {
                    tracing::warn!(%error, "the model still fails");
                },
                _ = stopping.wait_for(|stop| *stop) => return Ok(()),
            }
            probe = Instant::now();
        }
        let sound = sound(classifier.engine());
        if serving != Some(sound) {
            serving = Some(sound);
            tracing::info!(serving = sound, "health");
            health.report(sound).await;
        }
    }
}

fn sound(engine: &Arc<Engine>) -> bool {
    engine.failures_in_a_row() < FAILURES
}

/// One made-up article through the whole path.
async fn warm_up(classifier: &Classifier) -> Result<(), String> {
    let article = Article {
        id: "warm-up".to_owned(),
        body: Body::Text("The council met on Monday. “It went well,” said the mayor.".to_owned()),
        ..Article::default()
    };
    let answer = classifier.classify(article, Options::default());
    let mut answer = answer.map_err(|error| error.to_string())?;
    while let Some(event) = answer.next().await {
        if let Event::Summary(_) = event.map_err(|error| error.to_string())? {
            return Ok(());
        }
    }
    Err("no summary came".to_owned())
}

fn reflection(with_open_inference: bool) -> tonic_reflection::server::Builder<'static> {
    let builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    match with_open_inference {
        true => {
            builder.register_encoded_file_descriptor_set(open_inference::pb::FILE_DESCRIPTOR_SET)
        }
        false => builder,
    }
}

/// What is told of the server as a whole, and of each service by name.
#[derive(Clone)]
struct Health {
    reporter: HealthReporter,
    service: Service,
    open_inference: bool,
    closed: Arc<Mutex<bool>>,
}

impl Health {
    /// Says whether the server serves; nothing, once it is to stop.
    async fn report(&self, serving: bool) {
        let closed = self.closed.lock().await;
        if !*closed {
            self.tell(serving).await;
        }
    }

    /// Says that it does not, whatever is reported from now on: a report that is under way is waited for.
    async fn close(&self) {
        let mut closed = self.closed.lock().await;
        *closed = true;
        self.tell(false).await;
    }

    async fn tell(&self, serving: bool) {
        self.service.set_serving(serving);
        let status = match serving {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        for name in self.names() {
            self.reporter.set_service_status(name, status).await;
        }
    }

    /// Tells whoever watches that there is no more to come.
    async fn end(&self) {
        let mut reporter = self.reporter.clone();
        for name in self.names() {
            let _ = reporter.clear_service_status(name).await;
        }
    }

    fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        let open_inference = self.open_inference.then_some(open_inference::SERVICE);
        ["", SERVICE].into_iter().chain(open_inference)
    }
}

/// Any page may call: there are no cookies, and what a caller may do does not hang on its origin.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::any())
        .allow_methods([http::Method::POST, http::Method::OPTIONS])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(ExposeHeaders::list(
            [
                "grpc-status",
                "grpc-message",
                "grpc-status-details-bin",
                "grpc-retry-pushback-ms",
            ]
            .map(http::HeaderName::from_static),
        ))
        .max_age(Duration::from_secs(24 * 3600))
}

/// The address that a listener got.
///
/// # Errors
///
/// When the system does not tell.
pub fn address(listener: &TcpListener) -> std::io::Result<SocketAddr> {
    listener.local_addr()
}
