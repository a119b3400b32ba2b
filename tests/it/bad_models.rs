//! Model directories that are wrong: each is refused by name, none is used.

use std::path::Path;

use copydesk::model::files::Files;
use copydesk::model::{Model, Placement};
use serde_json::{Value, json};

use crate::support::{copy_of_fixture, edit};

/// A copy of the fixture, changed by `damage`; the error with its causes.
fn error(damage: impl FnOnce(&Path)) -> String {
    let directory = copy_of_fixture();
    damage(directory.path());
    let loaded = Files::read(directory.path()).and_then(|f| Model::load(&f, Placement::Cpu));
    let error = loaded.err().expect("a refusal");
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn check(expect: &[&str], damage: impl FnOnce(&Path)) {
    let error = error(damage);
    assert!(
        expect.iter().all(|e| error.contains(e)),
        "{error:?} should name {expect:?}"
    );
}

fn config(expect: &[&str], change: impl FnOnce(&mut Value)) {
    check(expect, |d| edit(&d.join("config.json"), change));
}

#[test]
fn missing_files_are_named() {
    for name in Files::NAMES {
        check(&[name], |d| {
            std::fs::remove_file(d.join(name)).expect("removed")
        });
    }
}

#[test]
fn configs_are_checked() {
    check(&["config.json"], |d| {
        std::fs::write(d.join("config.json"), "{").expect("written")
    });
    config(&["config.json", "copydesk"], |c| {
        drop(c.as_object_mut().unwrap().remove("copydesk"))
    });
    config(&["format", "99"], |c| c["copydesk"]["format"] = json!(99));
    config(&["types", "quote"], |c| {
        c["copydesk"]["types"].as_array_mut().unwrap().reverse()
    });
    config(&["window_tokens", "96"], |c| {
        c["copydesk"]["window_tokens"] = json!(4096)
    });
    config(&["window_tokens", "headline"], |c| {
        c["copydesk"]["headline_tokens"] = json!(u64::MAX)
    });
    config(&["hidden_size"], |c| c["hidden_size"] = json!(0));
    config(&["num_hidden_layers"], |c| {
        c["num_hidden_layers"] = json!(0)
    });
    config(&["intermediate_size"], |c| {
        c["intermediate_size"] = json!(0)
    });
    config(&["temperatures.type"], |c| {
        c["copydesk"]["temperatures"]["type"] = json!(0.0)
    });
    config(&["temperatures.alone.sentiment"], |c| {
        c["copydesk"]["temperatures"]["alone"] = json!({"type": 1.0, "sentiment": -1.0})
    });
    config(&["type_vocab_size"], |c| c["type_vocab_size"] = json!(2));
    config(&["num_attention_heads"], |c| {
        c["num_attention_heads"] = json!(7)
    });
}

#[test]
fn tokenizers_that_meddle_are_refused() {
    let truncate =
        json!({"direction": "Right", "max_length": 128, "strategy": "LongestFirst", "stride": 0});
    check(&["tokenizer.json", "truncation"], |d| {
        edit(&d.join("tokenizer.json"), |t| t["truncation"] = truncate);
    });
    check(&["vocab_size", "1000 tokens"], |d| {
        edit(&d.join("tokenizer.json"), |t| {
            t["model"]["vocab"]["paper"] = json!(999)
        });
    });
    check(&["[SEP]"], |d| {
        edit(&d.join("tokenizer.json"), |t| {
            drop(t["model"]["vocab"].as_object_mut().unwrap().remove("[SEP]"))
        });
    });
}

#[test]
fn weights_are_checked() {
    let weights = |d: &Path| d.join("model.safetensors");
    check(&["model.safetensors"], |d| {
        let bytes = std::fs::read(weights(d)).expect("weights");
        std::fs::write(weights(d), &bytes[..bytes.len() / 2]).expect("written");
    });
    check(&["model.safetensors"], |d| {
        std::fs::write(weights(d), b"not weights").expect("written")
    });
    check(&["model.safetensors", "shape"], |d| {
        edit(&d.join("config.json"), |c| {
            c["intermediate_size"] = json!(64)
        });
    });
    check(&["model.safetensors", "not finite"], |d| {
        let mut bytes = std::fs::read(weights(d)).expect("weights");
        let end = bytes.len();
        // The last value becomes an f16 NaN.
        bytes[end - 2..].copy_from_slice(&0x7e00_u16.to_le_bytes());
        std::fs::write(weights(d), bytes).expect("written");
    });
}
