//! What the fuzzer found by now, and its seeds, held to the properties that it checks: the files of
//! `tests/fixtures/fuzz`, one folder a target.

pub mod properties;

use std::path::Path;

fn replay(target: &str) {
    let (_, property) = properties::ALL
        .into_iter()
        .find(|(name, _)| *name == target)
        .expect("a target");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fuzz");
    let files = std::fs::read_dir(folder.join(target)).expect("a folder a target");
    let mut count = 0;
    for file in files {
        let path = file.expect("a file").path();
        println!("{}", path.display());
        property(&std::fs::read(path).expect("bytes"));
        count += 1;
    }
    assert!(count > 2, "{target} has {count} files");
}

#[test]
fn segmentation() {
    replay("segmentation");
}

#[test]
fn quotations() {
    replay("quotations");
}

#[test]
fn parties() {
    replay("parties");
}

#[test]
fn json_lines() {
    replay("json_lines");
}

#[test]
fn model_config() {
    replay("model_config");
}

#[test]
fn safetensors() {
    replay("safetensors");
}

#[test]
fn request() {
    replay("request");
}
