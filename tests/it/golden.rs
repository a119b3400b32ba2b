//! Both backends against the training code: the logits of `training/golden.py`, which stand beside each
//! model.

use std::path::Path;
use std::sync::Arc;

use copydesk::encode::Window;
use copydesk::model::files::Files;
use copydesk::model::{Model, Placement, SentenceLogits};
use copydesk::span::{Offsets, Unit};
use serde::Deserialize;

use crate::support::{fixture, tiny_model};

#[derive(Deserialize)]
struct Golden {
    headline: String,
    sentences: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    text: String,
    mentions: Vec<[usize; 2]>,
    r#type: Vec<f32>,
    party: Vec<[f32; 3]>,
    speaker: Vec<[f32; 3]>,
    sentiment: Vec<[f32; 3]>,
}

fn read(directory: &Path) -> Golden {
    let text = std::fs::read(directory.join("golden.json")).expect("golden.json");
    serde_json::from_slice(&text).expect("golden.json parses")
}

fn windows(model: &Model, golden: &Golden) -> Vec<Window> {
    let source = |index: usize| {
        let row = golden.sentences.get(index)?;
        let offsets = Offsets::new(&row.text);
        let byte = |n| {
            offsets
                .byte(&row.text, Unit::CodePoint, n)
                .expect("an offset")
        };
        let mentions = row
            .mentions
            .iter()
            .map(|&[a, b]| byte(a)..byte(b))
            .collect();
        Some((row.text.clone(), Some(mentions)))
    };
    let encoder = Arc::clone(model.encoder());
    let windows = encoder.windows(Some(&golden.headline), golden.sentences.len(), source);
    windows
        .expect("a headline")
        .collect::<Result<_, _>>()
        .expect("windows")
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(x, y)| (x - y).abs())
        .fold(0.0, f32::max)
}

fn check(directory: &Path) {
    check_at(directory, Placement::CpuF32, 1e-3);
    check_at(directory, Placement::CpuCandle, 1e-3);
    // Rounding to 16 bits; logits are up to 10.
    check_at(directory, Placement::CpuInt16, 0.05);
    check_at(directory, Placement::CpuBf16, 0.1);
}

fn check_at(directory: &Path, placement: Placement, bound: f32) {
    let golden = read(directory);
    let files = Files::read(directory).expect("model files");
    let model = Model::load(&files, placement).expect("model loads");
    let windows = windows(&model, &golden);
    let refs: Vec<&Window> = windows.iter().collect();
    let answers: Vec<SentenceLogits> = model
        .answer(&refs)
        .expect("an answer")
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(answers.len(), golden.sentences.len());
    let mut largest: f32 = 0.0;
    for (row, answer) in golden.sentences.iter().zip(&answers) {
        largest = largest.max(difference(&row.r#type, &answer.kind));
        let party = difference(row.party.as_flattened(), answer.party_tags.as_flattened());
        let speaker = difference(
            row.speaker.as_flattened(),
            answer.speaker_tags.as_flattened(),
        );
        let sentiment: Vec<f32> = answer.mentions.iter().flat_map(|m| m.sentiment).collect();
        let sentiment = difference(row.sentiment.as_flattened(), &sentiment);
        largest = largest.max(party).max(speaker).max(sentiment);
    }
    println!(
        "{}, {placement}: largest difference {largest:e}",
        directory.display()
    );
    assert!(largest <= bound, "largest difference {largest}");
}

#[test]
fn the_fixture_agrees_with_the_training_code() {
    check(&fixture());
}

#[test]
fn the_default_model_agrees_with_the_training_code() {
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models/news-en"));
}

#[test]
fn a_batch_equals_its_windows_alone() {
    let golden = read(&fixture());
    let model = tiny_model();
    let windows = windows(&model, &golden);
    let lengths: Vec<usize> = windows.iter().map(Window::tokens).collect();
    assert!(
        windows.len() > 1 && lengths.iter().any(|&l| l != lengths[0]),
        "{lengths:?} must differ"
    );
    let refs: Vec<&Window> = windows.iter().collect();
    let together = model.answer(&refs).expect("an answer");
    for (window, batched) in windows.iter().zip(&together) {
        // To the last bit.
        let alone = model.answer(&[window]).expect("an answer");
        assert_eq!(alone[0], *batched);
    }
}

#[test]
fn windows_answer_every_sentence_once() {
    let golden = read(&fixture());
    let model = tiny_model();
    let windows = windows(&model, &golden);
    let answered: Vec<usize> = windows
        .iter()
        .flat_map(|w| &w.sentences)
        .map(|s| s.index)
        .collect();
    assert_eq!(answered, (0..golden.sentences.len()).collect::<Vec<_>>());
    let most = model.encoder().shape().window_tokens;
    assert!(
        windows
            .iter()
            .flat_map(|w| &w.sequences)
            .all(|s| s.ids.len() <= most)
    );
    let pieces = windows.last().map(|w| w.sequences.len());
    assert!(pieces > Some(1), "the last sentence comes in pieces");
    for sentence in windows.iter().flat_map(|w| &w.sentences) {
        let covered: usize = sentence.pieces.iter().map(|(_, r)| r.len()).sum();
        assert_eq!(covered, sentence.tokens.ids.len(), "no token is left out");
    }
}
