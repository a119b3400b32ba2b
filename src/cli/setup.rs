//! From flags to a classifier: which model, where it runs, with how many workers.

use std::path::Path;
use std::sync::Arc;

use clap::Args;

use super::Failure;
use crate::article::Limits;
use crate::classifier::Classifier;
use crate::engine::{self, Engine};
use crate::model::files::Files;
use crate::model::{LoadError, Model, Placement};

/// The model and the machine.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Model")]
pub(super) struct ModelArguments {
    /// Model directory; the model inside the binary if left out.
    #[arg(long, value_name = "DIR", env = "COPYDESK_MODEL")]
    pub model: Option<String>,

    /// Where the model runs: cpu, cuda, or cuda:N.
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
        let config = engine::Config {
            workers: self.workers.unwrap_or(config.workers),
            ..config
        };
        let engine = Engine::start(Arc::new(self.load()?), config)?;
        Ok(Classifier::new(Arc::new(engine), limits))
    }

    fn load(&self) -> Result<Model, Failure> {
        let files = match &self.model {
            None => Files::embedded().ok_or(LoadError::NoModel)?,
            Some(directory) => Files::read(Path::new(directory))?,
        };
        Ok(Model::load(&files, self.device)?)
    }
}

/// A runtime for the client's side; the model has threads of its own.
pub(super) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}
