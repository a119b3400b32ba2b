//! Metrics as Prometheus reads them, on an address of their own: counters of calls, and what the
//! engine holds at the moment of reading.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method as Verb, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{Began, Observer, Running};
use crate::engine::{Counters, Engine};

/// Readers at a time; Prometheus needs one.
const READERS: usize = 16;

/// How long a reader may take over its request.
const REQUEST: Duration = Duration::from_secs(5);

/// What OpenMetrics asks for.
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds: from a health check to the longest article.
const SECONDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    method: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: String,
}

type Histograms = Family<Method, Histogram, fn() -> Histogram>;

/// What is counted of calls. Clones count together.
#[derive(Clone, Debug)]
struct Calls {
    requests: Family<Outcome, Counter>,
    running: Family<Method, Gauge>,
    durations: Histograms,
    firsts: Histograms,
    failures: Family<Reason, Counter>,
}

impl Calls {
    fn failed(&self, reason: &str) {
        let reason = reason.to_owned();
        self.failures.get_or_create(&Reason { reason }).inc();
    }
}

/// All metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    calls: Calls,
}

/// How a value that is read from elsewhere behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name gets the suffix `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
}

impl Metrics {
    /// Metrics of an engine and of the calls that are told of.
    pub fn new(engine: &Arc<Engine>) -> Self {
        let mut registry = Registry::with_prefix("copydesk");
        let histograms = || Histograms::new_with_constructor(|| Histogram::new(SECONDS));
        let calls = Calls {
            requests: Family::default(),
            running: Family::default(),
            durations: histograms(),
            firsts: histograms(),
            failures: Family::default(),
        };
        registry.register(
            "requests",
            "Calls that ended, by method and gRPC code",
            Family::clone(&calls.requests),
        );
        registry.register(
            "requests_running",
            "Calls under way",
            Family::clone(&calls.running),
        );
        registry.register(
            "request_duration_seconds",
            "From a call's headers to the end of its answer",
            calls.durations.clone(),
        );
        registry.register(
            "first_message_seconds",
            "From a call's headers to the first message of its answer, which carries the first sentence",
            calls.firsts.clone(),
        );
        registry.register(
            "failures",
            "Calls and articles of corpora that failed, by reason of the contract",
            Family::clone(&calls.failures),
        );
        let metrics = Self { registry, calls };
        metrics.with_build(engine).with_engine(engine)
    }

    /// A value that is asked for whenever the metrics are read.
    #[must_use]
    pub fn with(
        mut self,
        kind: Kind,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Self {
        self.registry.register_collector(Box::new(Value {
            kind,
            name,
            help,
            read: Box::new(read),
        }));
        self
    }

    fn with_build(mut self, engine: &Engine) -> Self {
        let model = engine.model();
        let identity = model.identity();
        let labels = vec![
            ("id", identity.id.clone()),
            ("revision", identity.revision.clone()),
            ("sha256", identity.sha256.clone()),
            ("device", model.placement().to_string()),
        ];
        let build = vec![("version", env!("CARGO_PKG_VERSION"))];
        self.registry
            .register("model", "The model that answers", Info::new(labels));
        self.registry
            .register("build", "The server's build", Info::new(build));
        self
    }

    fn with_engine(self, engine: &Arc<Engine>) -> Self {
        use Kind::{Counter, Gauge};
        let config = engine.config();
        let of = |read: fn(&Engine) -> f64| {
            let engine = Arc::clone(engine);
            move || read(&engine)
        };
        let count = |which: fn(&Counters) -> &AtomicU64| {
            let engine = Arc::clone(engine);
            move || which(engine.counters()).load(Ordering::Relaxed) as f64
        };
        self.with(
            Gauge,
            "queue_tokens",
            "Tokens that wait for a worker or are in one",
            of(|engine| engine.queued_tokens() as f64),
        )
        .with(
            Gauge,
            "queue_tokens_limit",
            "Tokens that may wait",
            move || config.max_queue_tokens as f64,
        )
        .with(
            Gauge,
            "queue_oldest_seconds",
            "For how long the first window of the queue has waited",
            of(|engine| engine.oldest().map_or(0.0, |age| age.as_secs_f64())),
        )
        .with(
            Gauge,
            "batch_tokens_limit",
            "Tokens of a full batch",
            move || config.max_batch_tokens as f64,
        )
        .with(Gauge, "workers", "Worker threads", move || {
            config.workers as f64
        })
        .with(
            Gauge,
            "batches_failed_in_a_row",
            "Batches that the model failed on since it last answered one",
            of(|engine| engine.failures_in_a_row() as f64),
        )
        .with(Counter, "tokens", "Tokens encoded", count(|c| &c.tokens))
        .with(Counter, "batches", "Batches run", count(|c| &c.batches))
        .with(
            Counter,
            "windows_answered",
            "Windows that the model answered",
            count(|c| &c.answered),
        )
        .with(
            Counter,
            "windows_cancelled",
            "Windows dropped because nobody waited any more",
            count(|c| &c.cancelled),
        )
        .with(
            Counter,
            "windows_expired",
            "Windows dropped past their deadline",
            count(|c| &c.expired),
        )
        .with(
            Counter,
            "windows_failed",
            "Windows that the model failed on",
            count(|c| &c.failed),
        )
    }

    /// All of them, in the text format of OpenMetrics.
    ///
    /// # Errors
    ///
    /// When a metric cannot be written, which is a bug.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }

    /// Answers `GET /metrics` on `listener`, for ever.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let room = Arc::new(Semaphore::new(READERS));
        loop {
            // Never closed.
            let Ok(place) = Arc::clone(&room).acquire_owned().await else {
                return;
            };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the system gives no connection to a reader of metrics");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            };
            let this = Arc::clone(&self);
            tokio::spawn(async move {
                let answer = service_fn(|request| {
                    std::future::ready(Ok::<_, Infallible>(this.answer(&request)))
                });
                let served = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(REQUEST)
                    .serve_connection(TokioIo::new(stream), answer)
                    .await;
                if let Err(error) = served {
                    tracing::debug!(%error, "a reader of metrics left");
                }
                drop(place);
            });
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let text = match (request.method(), request.uri().path()) {
            (&Verb::GET | &Verb::HEAD, "/metrics") => self.text(),
            _ => return plain(StatusCode::NOT_FOUND, "metrics are at GET /metrics\n"),
        };
        match text {
            Ok(text) => {
                let mut response = Response::new(Full::from(text));
                let kind = http::HeaderValue::from_static(TEXT);
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            Err(error) => {
                tracing::error!(%error, "the metrics cannot be written");
                plain(StatusCode::INTERNAL_SERVER_ERROR, "no metrics\n")
            }
        }
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}

impl Observer for Metrics {
    fn began(&self, call: &Began<'_>) -> Box<dyn Running> {
        let (calls, method) = (self.calls.clone(), call.method);
        calls.running.get_or_create(&Method { method }).inc();
        Box::new(Call { calls, method })
    }

    fn failed(&self, reason: &str) {
        self.calls.failed(reason);
    }
}

/// A call under way.
#[derive(Debug)]
struct Call {
    calls: Calls,
    method: &'static str,
}

impl Running for Call {
    fn first(&mut self, after: Duration) {
        let method = self.method;
        let firsts = self.calls.firsts.get_or_create(&Method { method });
        firsts.observe(after.as_secs_f64());
    }

    fn ended(&mut self, code: &'static str, reason: Option<&str>, after: Duration) {
        let (calls, method) = (&self.calls, self.method);
        calls.running.get_or_create(&Method { method }).dec();
        let durations = calls.durations.get_or_create(&Method { method });
        durations.observe(after.as_secs_f64());
        calls
            .requests
            .get_or_create(&Outcome { method, code })
            .inc();
        if let Some(reason) = reason {
            calls.failed(reason);
        }
    }
}

/// A value from elsewhere.
struct Value {
    kind: Kind,
    name: &'static str,
    help: &'static str,
    read: Box<dyn Fn() -> f64 + Send + Sync>,
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Value").field(&self.name).finish()
    }
}

impl Collector for Value {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let value = (self.read)();
        match self.kind {
            Kind::Counter => {
                let counter = ConstCounter::new(value);
                let kind = counter.metric_type();
                counter.encode(encoder.encode_descriptor(self.name, self.help, None, kind)?)
            }
            Kind::Gauge => {
                let gauge = ConstGauge::new(value);
                let kind = gauge.metric_type();
                gauge.encode(encoder.encode_descriptor(self.name, self.help, None, kind)?)
            }
        }
    }
}
