//! Scores by the length of a text: the fewer its sentences, the less sure.

use copydesk::answer::Event;
use copydesk::article::{Article, Body, Parties, Party, PartySpan};
use copydesk::classifier::Options;
use copydesk::engine::Config;
use copydesk::model::files::Files;
use copydesk::model::{Model, Placement};
use copydesk::span::Unit;
use serde_json::json;

use crate::support::{classifier, copy_of_fixture, edit};

const SENTENCES: [&str; 3] = [
    "Northland on Tuesday rejected the accord.",
    "The Harbour League blamed Northland for the delay.",
    "Talks resume in May.",
];
/// As the fixture's config has them.
const WHOLE: [f32; 2] = [1.5, 1.25];
const ALONE: [f32; 2] = [15.0, 7.5];

/// The scores of every sentence's type, and of Northland in every sentence that names it.
async fn scores(alone: Option<[f32; 2]>, sentences: &[&str]) -> (Vec<[f32; 5]>, Vec<[f32; 3]>) {
    let directory = copy_of_fixture();
    if let Some([kind, sentiment]) = alone {
        edit(&directory.path().join("config.json"), |config| {
            config["copydesk"]["temperatures"]["alone"] =
                json!({"type": kind, "sentiment": sentiment});
        });
    }
    let files = Files::read(directory.path()).expect("a model");
    let model = Model::load(&files, Placement::Cpu).expect("a model");
    let span = |index: usize, text: &str| {
        let start = text.find("Northland")?;
        Some(PartySpan {
            sentence: Some(index),
            start,
            end: start + "Northland".len(),
            unit: Unit::CodePoint,
        })
    };
    let spans = sentences.iter().enumerate().filter_map(|(i, s)| span(i, s));
    let article = Article {
        id: "a".into(),
        headline: None,
        body: Body::Sentences(sentences.iter().map(|&s| s.to_owned()).collect()),
        parties: Parties::Named(vec![Party {
            id: "n".into(),
            name: "Northland".into(),
            aliases: Vec::new(),
            spans: spans.collect(),
        }]),
    };
    let classifier = classifier(model, Config::default());
    let mut events = classifier
        .classify(article, Options::default())
        .expect("admitted");
    let (mut types, mut sentiments) = (Vec::new(), Vec::new());
    while let Some(event) = events.next().await {
        if let Event::Sentence(sentence) = event.expect("answered") {
            types.push(sentence.type_scores);
            sentiments.extend(sentence.parties.iter().map(|p| p.scores));
        }
    }
    (types, sentiments)
}

/// softmax(z / to) from softmax(z / from).
fn cooled<const N: usize>(scores: [f32; N], from: f32, to: f32) -> [f32; N] {
    let powers = scores.map(|p| p.powf(from / to));
    powers.map(|p| p / powers.iter().sum::<f32>())
}

fn close(found: &[f32], expected: &[f32]) {
    let near = found
        .iter()
        .zip(expected)
        .all(|(a, b)| (a - b).abs() < 1e-4);
    assert!(near, "{found:?} against {expected:?}");
}

#[tokio::test]
async fn the_fewer_sentences_the_less_sure() {
    for count in 1..=SENTENCES.len() {
        let sentences = &SENTENCES[..count];
        let (types, sentiments) = scores(None, sentences).await;
        let (cool_types, cool_sentiments) = scores(Some(ALONE), sentences).await;
        let between = |i: usize| WHOLE[i] + (ALONE[i] - WHOLE[i]) / count as f32;
        assert_eq!(types.len(), count);
        assert_eq!(sentiments.len(), count.min(2));
        for (plain, cool) in types.iter().zip(&cool_types) {
            close(cool, &cooled(*plain, WHOLE[0], between(0)));
        }
        for (plain, cool) in sentiments.iter().zip(&cool_sentiments) {
            close(cool, &cooled(*plain, WHOLE[1], between(1)));
        }
    }
}
