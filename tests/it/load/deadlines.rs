//! A deadline is DEADLINE_EXCEEDED, never CANCELLED, in whatever phase it passes. The client here
//! keeps no clock, so that it is the server's word that counts.

use std::time::{Duration, Instant};

use copydesk::grpc::pb;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, IntoStreamingRequest, Request, Status};

use super::{Gate, SENTENCE, Stand, corpus, one_worker};
use crate::service::{article, details, request};

fn within<T>(message: T, time: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(time);
    request
}

fn check(status: &Status, phase: &str) {
    assert_eq!(status.code(), Code::DeadlineExceeded, "{phase}: {status:?}");
    assert_eq!(details(status).0, "DEADLINE_EXCEEDED", "{phase}");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_admission() {
    let stand = Stand::plain().await;
    let mut client = stand.raw().await.client;
    let before = stand.count();
    for micros in [0, 1, 900, 5_000] {
        let time = Duration::from_micros(micros);
        let asked = within(request(article("a", "Short.")), time);
        // One that has passed is refused at once; of the others some may be answered in time.
        match client.classify_article(asked).await {
            Err(status) => check(&status, "at admission"),
            Ok(_) => assert!(micros > 1, "{micros} µs are too few"),
        }
        let articles = tokio_stream::pending::<pb::ClassifyArticlesRequest>();
        let late = client.classify_articles(within(articles, time)).await;
        check(&late.expect_err("late"), "before the first article");
    }
    stand.settles().await;
    assert!(stand.count().answered - before.answered <= 2);
    stand.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_message_comes_in() {
    let stand = Stand::plain().await;
    let raw = stand.raw().await.raw;
    let mut grpc = tonic::client::Grpc::with_origin(raw, stand.origin());
    grpc.ready().await.expect("a connection");
    let messages = tokio_stream::pending::<pb::ClassifyArticleRequest>();
    let mut slow = messages.into_streaming_request();
    slow.set_timeout(Duration::from_millis(300));
    let path = PathAndQuery::from_static("/copydesk.v1.ClassifierService/ClassifyArticle");
    let codec = tonic_prost::ProstCodec::default();
    let start = Instant::now();
    let late: Result<tonic::Response<tonic::Streaming<pb::ClassifyArticleResponse>>, _> =
        grpc.streaming(slow, path, codec).await;
    check(&late.expect_err("nothing was sent"), "upload");
    assert!(start.elapsed() < Duration::from_secs(5));
    stand.settles().await;
    stand.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_queued_and_at_batching() {
    let gate = Gate::new();
    let stand = Stand::start(one_worker(), {
        let gate = gate.clone();
        move |model, windows| {
            gate.pass();
            model.answer(windows)
        }
    })
    .await;
    gate.set(false);
    let mut client = stand.raw().await.client;
    let busy = client
        .classify_article(request(article("a", "Short.")))
        .await;
    let mut busy = busy.expect("admitted").into_inner();
    stand
        .until("a batch runs", || stand.engine.running_batches() == 1)
        .await;
    let time = Duration::from_millis(300);
    let late = within(request(article("b", "Short.")), time);
    let mut late = client
        .classify_article(late)
        .await
        .expect("admitted")
        .into_inner();
    check(&late.message().await.expect_err("late"), "queued");
    let articles = tokio_stream::once(corpus(article("c", "Short.")));
    let late = client.classify_articles(within(articles, time)).await;
    let mut late = late.expect("admitted").into_inner();
    check(
        &late.message().await.expect_err("late"),
        "queued, in a corpus",
    );
    gate.set(true);
    while busy.message().await.expect("an answer").is_some() {}
    stand.settles().await;
    stand.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn between_messages() {
    let stand = Stand::start(one_worker(), |model, windows| {
        std::thread::sleep(Duration::from_millis(50));
        model.answer(windows)
    })
    .await;
    let mut client = stand.raw().await.client;
    let (text, time) = (SENTENCE.repeat(2_000), Duration::from_millis(1_500));
    let asked = within(request(article("a", &text)), time);
    let mut stream = client
        .classify_article(asked)
        .await
        .expect("admitted")
        .into_inner();
    let mut sentences = 0;
    let status = loop {
        match stream.message().await {
            Ok(message) => sentences += usize::from(message.is_some()),
            Err(status) => break status,
        }
    };
    check(&status, "between messages");
    assert!(sentences > 0);

    // A corpus: within an article, and between two.
    for articles in [
        vec![corpus(article("a", &text))],
        vec![corpus(article("a", "Short."))],
    ] {
        use tokio_stream::StreamExt;
        let articles = tokio_stream::iter(articles).chain(tokio_stream::pending());
        let stream = client.classify_articles(within(articles, time)).await;
        let mut stream = stream.expect("admitted").into_inner();
        let mut messages = 0;
        let status = loop {
            match stream.message().await {
                Ok(message) => messages += usize::from(message.is_some()),
                Err(status) => break status,
            }
        };
        check(&status, "in a corpus");
        assert!(messages > 0);
    }
    stand.settles().await;
    stand.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_reads() {
    let stand = Stand::plain().await;
    let mut line = stand.raw().await;
    let articles = (0..).map(|n| corpus(article(&format!("a{n}"), &SENTENCE.repeat(200))));
    let time = Duration::from_millis(800);
    let articles = within(tokio_stream::iter(articles), time);
    let stream = line.client.classify_articles(articles).await;
    let mut stream = stream.expect("admitted").into_inner();
    stand.until("it works", || stand.count().answered > 5).await;
    stand
        .until("its work has ended", || stand.engine.articles() == 0)
        .await;
    // What was under way comes, and then no OK.
    let status = loop {
        match stream.message().await {
            Ok(message) => assert!(message.is_some(), "an end without an error"),
            Err(status) => break status,
        }
    };
    check(&status, "while nobody reads");
    drop(stream);
    stand.settles().await;
    stand.running.stop().await;
}
