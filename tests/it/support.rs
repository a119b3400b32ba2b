//! What the tests share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use copydesk::article::Limits;
use copydesk::classifier::Classifier;
use copydesk::engine::{Config, Engine};
use copydesk::model::files::Files;
use copydesk::model::{Model, Placement};
use serde_json::Value;
use tempfile::TempDir;

/// A tiny model of random weights.
pub fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny")
}

/// A copy of it, to be changed.
pub fn copy_of_fixture() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for name in Files::NAMES {
        std::fs::copy(fixture().join(name), directory.path().join(name)).expect("a copy");
    }
    directory
}

/// Changes a file of JSON.
pub fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value: Value =
        serde_json::from_slice(&std::fs::read(path).expect("json")).expect("json");
    change(&mut value);
    std::fs::write(path, value.to_string()).expect("written");
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
