//! A model that panics, fails, or gives no numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use copydesk::encode::Window;
use copydesk::grpc::server;
use copydesk::model::files::Files;
use copydesk::model::{Model, Placement, RunError};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tonic::{Code, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::{Gate, SENTENCE, Stand, corpus, one_worker};
use crate::service::{article, ask, details, reason, request};
use crate::support::fixture;

/// Three sentences in one window mark the article that breaks the model.
const BAD: &str = "It rained. It rained. It rained.";

fn bad(windows: &[&Window]) -> bool {
    windows.iter().any(|w| w.sentences.len() == 3)
}

fn check(status: &Status) {
    assert_eq!(status.code(), Code::Internal, "{status:?}");
    assert_eq!(details(status).0, "MODEL_FAILED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_costs_its_article_and_not_its_neighbours() {
    let gate = Gate::new();
    let stand = Stand::start(one_worker(), {
        let gate = gate.clone();
        move |model, windows| {
            gate.pass();
            assert!(!bad(windows), "an injected panic");
            model.answer(windows)
        }
    })
    .await;
    gate.set(false);
    let mut client = stand.running.client().await;
    let busy = client
        .classify_article(request(article("a", "Short.")))
        .await;
    let mut busy = busy.expect("admitted").into_inner();
    stand
        .until("a batch runs", || stand.engine.running_batches() == 1)
        .await;
    // These wait together, and go in one batch.
    let texts = [SENTENCE, BAD, SENTENCE, "Norland won.", "Oster lost."];
    let asks = texts.map(|text| {
        let mut client = client.clone();
        let text = text.to_owned();
        tokio::spawn(async move { ask(&mut client, request(article("x", &text))).await })
    });
    stand
        .until("all wait", || stand.engine.articles() == 6)
        .await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let before = stand.count();
    gate.set(true);
    while busy.message().await.expect("an answer").is_some() {}
    let mut answers = Vec::new();
    for ask in asks {
        answers.push(ask.await.expect("no panic here"));
    }
    for (text, answer) in texts.iter().zip(&answers) {
        match answer {
            Ok((sentences, _)) => assert_eq!(sentences.len(), 1),
            Err(status) => {
                assert_eq!(*text, BAD);
                check(status);
            }
        }
    }
    assert_eq!(answers.iter().filter(|a| a.is_err()).count(), 1);
    let after = stand.count();
    assert_eq!(after.failed - before.failed, 1);
    assert_eq!(
        after.batches - before.batches,
        1 + 5,
        "one together, then one by one"
    );

    // In a corpus it is one article's error, and the stream goes on.
    let articles = [("a", "Short."), ("b", BAD), ("c", "Short.")];
    let articles = articles.map(|(id, text)| corpus(article(id, text)));
    let stream = client.classify_articles(tokio_stream::iter(articles)).await;
    let mut stream = stream.expect("admitted").into_inner();
    let mut ends = Vec::new();
    while let Some(message) = stream.message().await.expect("no error of the whole") {
        use copydesk::grpc::pb::classify_articles_response::Event;
        match message.event.expect("an event") {
            Event::Sentence(_) => {}
            Event::Summary(_) => ends.push((message.article_id, String::new())),
            Event::Error(status) => ends.push((message.article_id, reason(&status))),
        }
    }
    let expect = [("a", ""), ("b", "MODEL_FAILED"), ("c", "")];
    assert_eq!(
        ends,
        expect.map(|(id, end)| (id.to_owned(), end.to_owned()))
    );
    stand.settles().await;
    stand.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_failures_cost_the_replica_its_health_until_it_answers_again() {
    let broken = Arc::new(AtomicBool::new(false));
    let stand = Stand::start(one_worker(), {
        let broken = Arc::clone(&broken);
        move |model, windows| match broken.load(Ordering::Relaxed) {
            true => Err(RunError::NotFinite),
            false => model.answer(windows),
        }
    })
    .await;
    let mut health = HealthClient::new(stand.running.channel().await);
    let mut client = stand.running.client().await;
    let mut becomes = async |expect: ServingStatus| {
        for service in ["", server::SERVICE] {
            for tries in 0.. {
                let request = tonic_health::pb::HealthCheckRequest {
                    service: service.to_owned(),
                };
                let status = health
                    .check(request)
                    .await
                    .expect("a status")
                    .into_inner()
                    .status();
                if status == expect {
                    break;
                }
                assert!(tries < 200, "{service:?} stays {status:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    becomes(ServingStatus::Serving).await;
    broken.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        let failed = ask(&mut client, request(article("a", "Short."))).await;
        check(&failed.expect_err("it fails"));
    }
    becomes(ServingStatus::NotServing).await;
    // Nobody asks now; the replica finds out by itself.
    broken.store(false, Ordering::Relaxed);
    becomes(ServingStatus::Serving).await;
    ask(&mut client, request(article("a", "Short.")))
        .await
        .expect("an answer");
    drop((health, client));
    stand.settles().await;
    stand.running.stop().await;
}

/// The fixture with a head whose numbers overflow: finite in the file, not in the answer.
fn overflowing() -> Model {
    let mut files = Files::read(&fixture()).expect("fixture");
    let tensors = SafeTensors::deserialize(&files.weights).expect("tensors");
    let huge = |name: &str| {
        name.starts_with("heads.sentence_type.")
            && name.ends_with("weight")
            && (name.contains("dense") || name.contains("out"))
    };
    let changed: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| {
            let (name, shape) = (name.to_owned(), tensor.shape().to_vec());
            if huge(&name) {
                let count = shape.iter().product();
                return (
                    name,
                    Dtype::F32,
                    shape,
                    3e38_f32.to_le_bytes().repeat(count),
                );
            }
            (name, tensor.dtype(), shape, tensor.data().to_vec())
        })
        .collect();
    let views = changed.iter().map(|(name, dtype, shape, data)| {
        let view = TensorView::new(*dtype, shape.clone(), data);
        (name.as_str(), view.expect("a tensor"))
    });
    files.weights = safetensors::serialize(views, None).expect("a file").into();
    Model::load(&files, Placement::Cpu).expect("each weight is a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn logits_that_are_no_numbers_are_an_error_and_no_answer() {
    let broken = overflowing();
    let stand = Stand::start(one_worker(), move |model, windows| {
        // The warm-up article has two sentences.
        match windows.iter().any(|w| w.sentences.len() == 1) {
            true => broken.answer(windows),
            false => model.answer(windows),
        }
    })
    .await;
    let mut client = stand.running.client().await;
    let mut stream = client
        .classify_article(request(article("a", "Oster met Norland.")))
        .await
        .expect("admitted")
        .into_inner();
    // The first message is the error: no sentence was made of such numbers.
    check(&stream.message().await.expect_err("no answer"));
    drop((stream, client));
    stand.settles().await;
    stand.running.stop().await;
}
