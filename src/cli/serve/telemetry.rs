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
}

impl Telemetry {
    /// Starts what was asked for; it goes on as long as the runtime.
    #[cfg(feature = "metrics")]
    pub async fn start(self, classifier: &Classifier, config: Config) -> Result<Config, Failure> {
        use std::sync::Arc;

        use crate::telemetry::metrics::Kind::{Counter, Gauge};
        use crate::telemetry::metrics::Metrics;

        let Some(address) = self.metrics_addr else {
            return Ok(config);
        };
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
        tokio::spawn(Arc::clone(&metrics).serve(listener));
        Ok(Config {
            observer: Some(metrics),
            ..config
        })
    }

    /// This build has none.
    #[cfg(not(feature = "metrics"))]
    pub async fn start(self, _: &Classifier, config: Config) -> Result<Config, Failure> {
        Ok(config)
    }
}
