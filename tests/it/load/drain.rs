//! A server that is to stop: health first, then refusal, then the end.

use std::time::{Duration, Instant};

use copydesk::grpc::server;
use tokio_stream::StreamExt;
use tonic::{Code, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::{Stand, corpus, one_worker};
use crate::service::{article, ask, details, request};

/// Reads until a status comes, not for ever.
async fn until(watch: &mut Streaming<HealthCheckResponse>, status: ServingStatus) {
    let read = async {
        while watch
            .message()
            .await
            .expect("a status")
            .expect("a status")
            .status()
            != status
        {}
    };
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, read).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_goes_first_and_calls_are_taken_until_the_wait_is_over() {
    let config = server::Config {
        drain_wait: Duration::from_millis(1500),
        drain_timeout: Duration::from_secs(20),
        ..server::Config::default()
    };
    let stand =
        Stand::start_with(one_worker(), config, |model, windows| model.answer(windows)).await;
    let mut client = stand.running.client().await;
    let mut health = HealthClient::new(stand.running.channel().await);
    let asked = HealthCheckRequest {
        service: server::SERVICE.to_owned(),
    };
    let mut watch = health.watch(asked).await.expect("a watch").into_inner();
    // The warm-up is answered a moment before health says so.
    until(&mut watch, ServingStatus::Serving).await;
    // A corpus that is answered and waits for more.
    let articles =
        tokio_stream::once(corpus(article("a", "Short."))).chain(tokio_stream::pending());
    let mut idle = client
        .classify_articles(articles)
        .await
        .expect("admitted")
        .into_inner();
    for _ in 0..2 {
        idle.message().await.expect("a message").expect("a message");
    }
    let start = Instant::now();
    let stopping = tokio::spawn(stand.running.stop());
    until(&mut watch, ServingStatus::NotServing).await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "health goes first"
    );
    ask(&mut client, request(article("b", "Short.")))
        .await
        .expect("still taken");
    // Then the corpus ends, and so does the watch; neither holds the server up.
    let status = idle.message().await.expect_err("the end");
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(details(&status).0, "DRAINING");
    assert!(watch.message().await.map_or(true, |m| m.is_none()));
    assert!(start.elapsed() >= Duration::from_millis(1400));
    stopping.await.expect("a clean end");
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "it waited for nobody"
    );
}
