//! Traces over OTLP: a span a call, under the one that the caller names in `traceparent`, by
//! OpenTelemetry's conventions for RPC; and under it a span for each stage of its work, up to a number. Sends them in batches from a thread of its own, so that no call
//! waits for the collector.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{
    Span as _, SpanKind, Status, TraceContextExt, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span};

use super::{Began, Observer, Running, Stage, Stages};

/// How long the collector may take over a batch.
const EXPORT: Duration = Duration::from_secs(10);

/// Stages of one call that are told: a corpus may have millions, and the exporter holds 2048 spans.
const STAGES: usize = 128;

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
        Box::new(Call {
            span,
            tracer: self.tracer.clone(),
        })
    }

    fn failed(&self, _reason: &str) {}
}

/// A call under way.
#[derive(Debug)]
struct Call {
    span: Span,
    tracer: SdkTracer,
}

impl Running for Call {
    fn first(&mut self, _after: Duration) {
        self.span.add_event("first message", Vec::new());
    }

    fn ended(&mut self, code: &'static str, reason: Option<&str>, _after: Duration) {
        let set = |key, value: &str| KeyValue::new(key, value.to_owned());
        self.span
            .set_attribute(set("rpc.response.status_code", code));
        if let Some(reason) = reason {
            self.span.set_attribute(set("copydesk.reason", reason));
        }
        if is_ours(code) {
            self.span.set_attribute(set("error.type", code));
            self.span.set_status(Status::error(""));
        }
        self.span.end();
    }

    fn stages(&self) -> Option<Arc<dyn Stages>> {
        let parent = self.span.span_context();
        parent.is_sampled().then(|| {
            Arc::new(Work {
                parent: Context::new().with_remote_span_context(parent.clone()),
                tracer: self.tracer.clone(),
                told: AtomicUsize::new(0),
            }) as Arc<dyn Stages>
        })
    }
}

/// The work for a call.
#[derive(Debug)]
struct Work {
    /// The call's span.
    parent: Context,
    tracer: SdkTracer,
    told: AtomicUsize,
}

impl Stages for Work {
    fn passed(&self, stage: &Stage) {
        if self.told.fetch_add(1, Ordering::Relaxed) >= STAGES {
            return;
        }
        let sentences = i64::try_from(stage.sentences).unwrap_or(i64::MAX);
        let mut span = self
            .tracer
            .span_builder(stage.name)
            .with_start_time(stage.began)
            .with_attributes([
                KeyValue::new("copydesk.article", stage.article),
                KeyValue::new("copydesk.sentences", sentences),
            ])
            .start_with_context(&self.tracer, &self.parent);
        span.end_with_timestamp(stage.began + stage.took);
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
