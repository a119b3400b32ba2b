//! What the tests share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use copydesk::article::Limits;
use copydesk::classifier::Classifier;
use copydesk::engine::{Config, Engine};
use copydesk::model::files::Files;
use copydesk::model::{Model, Placement};

/// A tiny model of random weights.
pub fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny")
}

pub fn tiny_model() -> Model {
    let files = Files::read(&fixture()).expect("fixture");
    Model::load(&files, Placement::Cpu).expect("fixture loads")
}

pub fn classifier(model: Model, config: Config) -> Classifier {
    let engine = Engine::start(Arc::new(model), config).expect("threads");
    Classifier::new(Arc::new(engine), Limits::default())
}

pub fn tiny_classifier() -> Classifier {
    classifier(
        tiny_model(),
        Config {
            workers: 2,
            ..Config::default()
        },
    )
}
