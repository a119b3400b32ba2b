//! copydesk inside a program of one's own, without gRPC and without the command line:
//!
//! ```text
//! cargo run --release --example library --no-default-features --features embedded-model -- FILE
//! ```

#![allow(clippy::print_stdout, reason = "a program for people")]

use std::error::Error;

use copydesk::model::files::Files;
use copydesk::{Article, Body, Classifier, Event, Model, Options, Placement};

fn main() -> Result<(), Box<dyn Error>> {
    // The model has threads of its own; the answers need a runtime to arrive in.
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("name a text file")?;
    let files = Files::embedded().ok_or("this build has no model inside")?;
    let classifier = Classifier::start(Model::load(&files, Placement::Cpu)?)?;
    let article = Article {
        body: Body::Text(std::fs::read_to_string(&path)?),
        id: path,
        ..Article::default()
    };
    let mut answer = classifier.classify(article, Options::default())?;
    while let Some(event) = answer.next().await {
        match event? {
            Event::Sentence(sentence) => {
                let kind = sentence.kind.map_or("unsure", |kind| kind.name());
                println!("{kind:<12}{}", sentence.text);
            }
            Event::Summary(summary) => {
                for party in &summary.parties {
                    let [negative, neutral, positive] = party.sentiment;
                    println!("{}: -{negative} ·{neutral} +{positive}", party.name);
                }
            }
        }
    }
    Ok(())
}
