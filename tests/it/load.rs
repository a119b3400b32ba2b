//! Under load and under fault, through a real socket: what is refused, what waits, what breaks, and
//! that nothing is left behind.

mod deadlines;
mod drain;
mod faults;
mod overload;
mod streams;

use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use copydesk::article::Limits;
use copydesk::classifier::Classifier;
use copydesk::encode::Window;
use copydesk::engine::{Config, Engine, Run};
use copydesk::grpc::pb::classifier_service_client::ClassifierServiceClient;
use copydesk::grpc::{Gauges, Service, pb, server};
use copydesk::model::{Model, RunError, SentenceLogits};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::codegen::{Service as TowerService, http};

use crate::service::Running;
use crate::support::tiny_model;

const SENTENCE: &str = "The league met in Port Ellis and left again in the morning. ";

type Answers = Result<Vec<Vec<SentenceLogits>>, RunError>;

/// The tiny model, and what happens to its batches.
struct Stage<F> {
    model: Arc<Model>,
    act: F,
}

impl<F: Fn(&Model, &[&Window]) -> Answers + Send + Sync> Run for Stage<F> {
    fn run(&self, windows: &[&Window]) -> Answers {
        (self.act)(&self.model, windows)
    }
}

/// A server whose batches go through `act`, and a view of what it holds.
struct Stand {
    running: Running,
    engine: Arc<Engine>,
    gauges: Gauges,
}

impl Stand {
    async fn start<F>(config: Config, act: F) -> Self
    where
        F: Fn(&Model, &[&Window]) -> Answers + Send + Sync + 'static,
    {
        Self::start_with(config, server::Config::default(), act).await
    }

    async fn start_with<F>(config: Config, server: server::Config, act: F) -> Self
    where
        F: Fn(&Model, &[&Window]) -> Answers + Send + Sync + 'static,
    {
        let model = Arc::new(tiny_model());
        let stage = Arc::new(Stage {
            model: Arc::clone(&model),
            act,
        });
        let engine = Engine::start_with(model, stage, config).expect("threads");
        let engine = Arc::new(engine);
        let classifier = Classifier::new(Arc::clone(&engine), Limits::default());
        let service = Service::new(classifier, server.request_bytes, server.calls);
        let gauges = service.gauges().clone();
        let running = Running::start_service(service, server).await;
        let stand = Self {
            running,
            engine,
            gauges,
        };
        stand
            .until("the warm-up", || stand.count().answered > 0)
            .await;
        stand.settles().await;
        stand
    }

    /// One worker with the model as it is.
    async fn plain() -> Self {
        Self::start(one_worker(), |model, windows| model.answer(windows)).await
    }

    fn count(&self) -> Count {
        let counters = self.engine.counters();
        Count {
            answered: counters.answered.load(Ordering::Relaxed),
            dropped: counters.cancelled.load(Ordering::Relaxed)
                + counters.expired.load(Ordering::Relaxed),
            failed: counters.failed.load(Ordering::Relaxed),
            batches: counters.batches.load(Ordering::Relaxed),
            tokens: counters.tokens.load(Ordering::Relaxed),
        }
    }

    /// Waits, not for ever, until something holds.
    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "{what}: {self:?}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until nothing is left of any call.
    async fn settles(&self) {
        self.until("nothing is left", || {
            self.gauges.articles() + self.gauges.corpora() + self.engine.queued_tokens() == 0
                && self.engine.articles() + self.engine.running_batches() == 0
        })
        .await;
    }

    fn origin(&self) -> http::Uri {
        origin(self.running.address)
    }

    async fn raw(&self) -> Line {
        Line::to(self.running.address).await
    }
}

fn origin(address: SocketAddr) -> http::Uri {
    let origin = format!("http://{address}");
    origin.parse().expect("a URI")
}

impl std::fmt::Debug for Stand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stand")
            .field("count", &self.count())
            .field("gauges", &self.gauges)
            .field("queued tokens", &self.engine.queued_tokens())
            .field("articles", &self.engine.articles())
            .field("running", &self.engine.running_batches())
            .finish()
    }
}

/// What the engine has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    answered: u64,
    dropped: u64,
    failed: u64,
    batches: u64,
    tokens: u64,
}

/// Whatever the machine is busy with, time is no reason to refuse.
fn one_worker() -> Config {
    Config {
        workers: 1,
        max_wait: Duration::from_secs(3600),
        ..Config::default()
    }
}

/// Holds batches up until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Open at first, so that the server can warm up.
    fn new() -> Self {
        let gate = Self::default();
        gate.set(true);
        gate
    }

    fn set(&self, open: bool) {
        *self.0.0.lock().expect("no panic") = open;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let open = self.0.0.lock().expect("no panic");
        // A test that fails while it is shut must not hold its worker for ever.
        let waited = self
            .0
            .1
            .wait_timeout_while(open, Duration::from_secs(30), |open| !*open);
        drop(waited.expect("no panic"));
    }
}

/// A connection of its own.
struct Line {
    client: ClassifierServiceClient<Raw>,
    raw: Raw,
    socket: std::net::TcpStream,
}

impl Line {
    /// A client that keeps no clock, takes in little at a time, and breaks off when told.
    async fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        let stream = stream.into_std().expect("a socket");
        let socket = stream.try_clone().expect("a socket");
        let io = TokioIo::new(TcpStream::from_std(stream).expect("a socket"));
        let connected = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(65_535)
            .initial_connection_window_size(65_535)
            .handshake(io);
        let (send, connection) = connected.await.expect("HTTP/2");
        tokio::spawn(connection);
        let raw = Raw(send);
        Self {
            client: ClassifierServiceClient::with_origin(raw.clone(), origin(address)),
            raw,
            socket,
        }
    }

    /// Hangs up at once.
    fn cut(self) {
        self.socket.shutdown(Shutdown::Both).expect("open");
    }
}

#[derive(Clone)]
struct Raw(SendRequest<Body>);

type Sent<T> = Pin<Box<dyn Future<Output = Result<T, hyper::Error>> + Send>>;

impl TowerService<http::Request<Body>> for Raw {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Sent<Self::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

fn corpus(article: pb::Article) -> pb::ClassifyArticlesRequest {
    pb::ClassifyArticlesRequest {
        article: Some(article),
        options: None,
    }
}
