//! Flags of what the server tells of itself.

use clap::Args;

use super::super::Failure;
use crate::classifier::Classifier;
use crate::grpc::server::Config;

/// Where it is told.
#[derive(Args)]
#[command(next_help_heading = "Telemetry")]
pub(super) struct Telemetry {
    /// Address of the metrics, at /metrics, for Prometheus; none if left out. Without TLS or tokens:
    /// give it an address that only the monitoring reaches.
    #[cfg(feature = "metrics")]
    #[arg(long, value_name = "ADDR", env = "COPYDESK_METRICS_ADDR")]
    metrics_addr: Option<std::net::SocketAddr>,

    /// Send traces to this collector, by OTLP over gRPC: http://host:port; none if left out.
    #[cfg(feature = "otel")]
    #[arg(long, value_name = "URL", env = "COPYDESK_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,

    /// How many of the calls are traced whose caller does not trace: 0 for none, 1 for all.
    #[cfg(feature = "otel")]
    #[arg(long, value_name = "0..1", default_value_t = 1.0, value_parser = ratio, env = "COPYDESK_TRACE_RATIO")]
    trace_ratio: f64,
}

#[cfg(feature = "otel")]
fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text
        .parse()
        .ok()
        .filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "a ratio is a number from 0 to 1".to_owned())
}

/// What must be told the end.
#[derive(Default)]
pub(super) struct Started {
    #[cfg(feature = "otel")]
    traces: Option<std::sync::Arc<crate::telemetry::traces::Traces>>,
}

impl Started {
    /// Sends what is still to be sent.
    pub async fn finish(self) {
        #[cfg(feature = "otel")]
        if let Some(traces) = self.traces {
            let _ = tokio::task::spawn_blocking(move || traces.shut_down()).await;
        }
    }
}

impl Telemetry {
    /// Starts what was asked for; it goes on as long as the runtime.
    pub async fn start(
        self,
        classifier: &Classifier,
        config: &mut Config,
    ) -> Result<Started, Failure> {
        #[cfg(feature = "metrics")]
        if let Some(address) = self.metrics_addr {
            metrics(address, classifier, config).await?;
        }
        #[cfg(not(feature = "metrics"))]
        let _ = (classifier, &config);
        Ok(Started {
            #[cfg(feature = "otel")]
            traces: match &self.otlp_endpoint {
                None => None,
                Some(endpoint) => Some(traces(endpoint, self.trace_ratio, config)?),
            },
        })
    }
}

#[cfg(feature = "otel")]
fn traces(
    endpoint: &str,
    ratio: f64,
    config: &mut Config,
) -> Result<std::sync::Arc<crate::telemetry::traces::Traces>, Failure> {
    use std::sync::Arc;

    use crate::telemetry::traces::Traces;

    if !endpoint.starts_with("http://") {
        let problem = "is no address of a collector; use http://host:port";
        return Err(format!("--otlp-endpoint {endpoint:?} {problem}").into());
    }
    let traces = Arc::new(Traces::new(endpoint, ratio)?);
    config.observers.push(Arc::clone(&traces) as Arc<_>);
    Ok(traces)
}

#[cfg(feature = "metrics")]
async fn metrics(
    address: std::net::SocketAddr,
    classifier: &Classifier,
    config: &mut Config,
) -> Result<(), Failure> {
    use std::sync::Arc;

    use crate::telemetry::metrics::Kind::{Counter, Gauge};
    use crate::telemetry::metrics::Metrics;

    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on {address} for metrics: {error}"))?;
    let of = || Arc::clone(&config.connections);
    let (open, refused, most) = (of(), of(), config.connections.most());
    let metrics = Metrics::new(classifier.engine())
        .with(Gauge, "connections", "Connections open", move || {
            open.open() as f64
        })
        .with(
            Gauge,
            "connections_limit",
            "Connections allowed",
            move || most as f64,
        )
        .with(
            Counter,
            "connections_refused",
            "Connections closed at once for want of room",
            move || refused.refused() as f64,
        );
    let metrics = Arc::new(metrics);
    tracing::info!(metrics = %listener.local_addr()?, "metrics at /metrics");
    config.observers.push(Arc::clone(&metrics) as Arc<_>);
    tokio::spawn(metrics.serve(listener));
    Ok(())
}
