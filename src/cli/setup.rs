//! From flags to a classifier: which model, where it runs, with how many workers.

use std::sync::Arc;

use clap::Args;

use super::Failure;
use super::source::{Found, Network, SOURCE, Source};
use crate::article::Limits;
use crate::classifier::Classifier;
use crate::engine::{self, Engine};
use crate::model::Placement;

/// The model and the machine.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Model")]
pub(super) struct ModelArguments {
    /// Model directory, or a repository on the Hub; the model inside the binary if left out.
    #[arg(long, value_name = SOURCE, env = "COPYDESK_MODEL")]
    pub model: Option<Source>,

    #[command(flatten)]
    network: Network,

    /// Where the model runs: cpu, cpu-f32, cpu-bf16, cpu-int16, cuda, or cuda:N; cpu takes bf16 where
    /// the processor has AMX or AMD's AVX512-BF16, int16 where it has AVX512-VNNI or AVX2 is its
    /// widest, else f32.
    #[arg(long, default_value = "cpu", env = "COPYDESK_DEVICE")]
    pub device: Placement,

    /// Worker threads; as many as the process may use cores if left out.
    #[arg(long, value_name = "N", env = "COPYDESK_WORKERS")]
    pub workers: Option<usize>,
}

impl ModelArguments {
    /// Loads the model and starts the workers.
    pub fn classifier(&self) -> Result<Classifier, Failure> {
        self.classifier_with(engine::Config::default(), Limits::default())
    }

    /// The same, with other settings.
    pub fn classifier_with(
        &self,
        config: engine::Config,
        limits: Limits,
    ) -> Result<Classifier, Failure> {
        self.start(&self.find()?, config, limits)
    }

    /// Finds the model.
    pub fn find(&self) -> Result<Found, Failure> {
        Found::at(self.model.as_ref(), self.network)
    }

    /// Loads a model that was found and starts the workers.
    pub fn start(
        &self,
        found: &Found,
        config: engine::Config,
        limits: Limits,
    ) -> Result<Classifier, Failure> {
        let config = engine::Config {
            workers: self.workers.unwrap_or(config.workers),
            ..config
        };
        let engine = Engine::start(Arc::new(found.load(self.device)?), config)?;
        Ok(Classifier::new(Arc::new(engine), limits))
    }

    /// The same arguments for a process of our own.
    #[cfg(feature = "bench")]
    pub fn repeat(&self) -> Vec<std::ffi::OsString> {
        let mut arguments = vec!["--device".into(), self.device.to_string().into()];
        if let Some(model) = &self.model {
            arguments.extend(["--model".into(), model.to_string().into()]);
        }
        if let Some(workers) = self.workers {
            arguments.extend(["--workers".into(), workers.to_string().into()]);
        }
        if self.network.offline {
            arguments.push("--offline".into());
        }
        arguments
    }
}

/// A runtime for the client's side; the model has threads of its own.
pub(super) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}
