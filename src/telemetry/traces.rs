//! Traces over OTLP: a span a call, under the one that the caller names in `traceparent`, by
//! OpenTelemetry's conventions for RPC. Sends them in batches from a thread of its own, so that no call
//! waits for the collector.

use std::time::Duration;

use http::HeaderMap;
use opentelemetry::KeyValue;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span as _, SpanKind, Status, Tracer as _, TracerProvider as _};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span};

use super::{Began, Observer, Running};

/// How long the collector may take over a batch.
const EXPORT: Duration = Duration::from_secs(10);

/// Traces cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// No exporter, as when the address is none.
    #[error("traces cannot be sent to {endpoint}")]
    Exporter {
        /// As given.
        endpoint: String,
        /// What is wrong.
        source: opentelemetry_otlp::ExporterBuildError,
    },
}

/// Traces every call.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
}

impl Traces {
    /// Sends to the collector at `endpoint` (http://host:port, gRPC). Of calls whose caller does not
    /// trace, `ratio` are traced: 0 for none, 1 for all. Called within the runtime that sends.
    ///
    /// # Errors
    ///
    /// When the address is none. Whether a collector answers does not show here.
    pub fn new(endpoint: &str, ratio: f64) -> Result<Self, TracesError> {
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(EXPORT)
            .build()
            .map_err(|source| TracesError::Exporter {
                endpoint: endpoint.to_owned(),
                source,
            })?;
        let resource = Resource::builder()
            .with_service_name("copydesk")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)));
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(sampler)
            .with_batch_exporter(exporter)
            .build();
        Ok(Self {
            tracer: provider.tracer("copydesk"),
            provider,
            propagator: TraceContextPropagator::new(),
        })
    }

    /// Sends what has not been sent yet. Blocks; the runtime must go on meanwhile.
    pub fn shut_down(&self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

impl Observer for Traces {
    fn began(&self, call: &Began<'_>) -> Box<dyn Running> {
        let parent = self.propagator.extract(&Headers(call.headers));
        // Spelt so by the conventions.
        let method = match call.method {
            "other" => "_OTHER",
            known => known,
        };
        let span = self
            .tracer
            .span_builder(method)
            .with_kind(SpanKind::Server)
            .with_attributes([
                KeyValue::new("rpc.system.name", "grpc"),
                KeyValue::new("rpc.method", method),
            ])
            .start_with_context(&self.tracer, &parent);
        Box::new(Call(span))
    }

    fn failed(&self, _reason: &str) {}
}

/// A call under way.
#[derive(Debug)]
struct Call(Span);

impl Running for Call {
    fn first(&mut self, _after: Duration) {
        self.0.add_event("first message", Vec::new());
    }

    fn ended(&mut self, code: &'static str, reason: Option<&str>, _after: Duration) {
        let set = |key, value: &str| KeyValue::new(key, value.to_owned());
        self.0.set_attribute(set("rpc.response.status_code", code));
        if let Some(reason) = reason {
            self.0.set_attribute(set("copydesk.reason", reason));
        }
        if is_ours(code) {
            self.0.set_attribute(set("error.type", code));
            self.0.set_status(Status::error(""));
        }
        self.0.end();
    }
}

/// Whether a server's span of this code is an error, rather than its caller's.
fn is_ours(code: &str) -> bool {
    [
        "UNKNOWN",
        "DEADLINE_EXCEEDED",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
    ]
    .contains(&code)
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
