//! Admission, pushback, and whose turn it is.

use std::time::{Duration, Instant};

use copydesk::engine::{Config, LONGEST_WAIT, SHORTEST_WAIT};
use copydesk::grpc::server;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{Gate, SENTENCE, Stand, corpus, one_worker};
use crate::service::{article, ask, details, request};

/// What a refused caller is told, in the trailer and in the details.
fn pushback(status: &Status) -> Duration {
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(details(status).0, "QUEUE_FULL");
    let trailer = status.metadata().get("grpc-retry-pushback-ms");
    let trailer = trailer.expect("pushback").to_str().expect("digits");
    let wait = Duration::from_millis(trailer.parse().expect("a number"));
    let info = status.get_details_retry_info().and_then(|r| r.retry_delay);
    assert_eq!(info.expect("RetryInfo").as_millis(), wait.as_millis());
    wait
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_refused_before_the_headers_with_slots_in_turn() {
    let gate = Gate::new();
    let config = Config {
        max_queue_tokens: 1000,
        ..one_worker()
    };
    let stand = Stand::start(config, {
        let gate = gate.clone();
        move |model, windows| {
            gate.pass();
            std::thread::sleep(Duration::from_millis(20));
            model.answer(windows)
        }
    })
    .await;
    gate.set(false);
    let mut client = stand.running.client().await;
    let text = SENTENCE.repeat(10);
    let mut admitted = Vec::new();
    loop {
        assert!(admitted.len() < 50, "the queue has a bound");
        match client.classify_article(request(article("a", &text))).await {
            Ok(stream) => admitted.push(stream.into_inner()),
            Err(status) => {
                pushback(&status);
                break;
            }
        }
    }
    println!(
        "{} admitted, {} tokens queued",
        admitted.len(),
        stand.engine.queued_tokens()
    );
    assert!(admitted.len() > 1 && stand.engine.queued_tokens() <= 1000);
    let mut waits = Vec::new();
    for _ in 0..5 {
        let refused = client.classify_article(request(article("c", &text))).await;
        waits.push(pushback(&refused.expect_err("no room")));
        // The same rule for both calls: a call that answers without a header is refused.
        let article = corpus(article("c", &text));
        let refused = client.classify_articles(tokio_stream::once(article)).await;
        waits.push(pushback(&refused.expect_err("no room")));
    }
    println!("slots: {waits:?}");
    assert!(
        waits
            .iter()
            .all(|w| (SHORTEST_WAIT..=LONGEST_WAIT).contains(w))
    );
    // Each stands behind the one before by what the article costs.
    let step = 216.0 / stand.engine.tokens_per_second();
    for pair in waits.windows(2) {
        let found = pair[1].as_secs_f64() - pair[0].as_secs_f64();
        assert!(
            (found - step).abs() < step / 2.0 + 0.03,
            "{found} s, not {step} s"
        );
    }
    let before = stand.count();
    gate.set(true);
    for mut stream in admitted {
        while stream.message().await.expect("an answer").is_some() {}
    }
    ask(&mut client, request(article("c", &text)))
        .await
        .expect("there is room again");
    assert!(stand.count().answered > before.answered);
    stand.settles().await;
    stand.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_not_be_answered_in_time_is_refused_at_once() {
    let stand = Stand::start(one_worker(), |model, windows| {
        std::thread::sleep(Duration::from_millis(50));
        model.answer(windows)
    })
    .await;
    let mut client = stand.raw().await.client;
    let text = SENTENCE.repeat(200);
    let mut open = Vec::new();
    for _ in 0..4 {
        let stream = client.classify_article(request(article("a", &text))).await;
        open.push(stream.expect("admitted"));
    }
    let asked = |time| {
        let mut asked = tonic::Request::new(request(article("b", &text)));
        asked.set_timeout(time);
        asked
    };
    let refused = client
        .classify_article(asked(Duration::from_millis(500)))
        .await;
    pushback(&refused.expect_err("too little time"));
    let stream = client
        .classify_article(asked(Duration::from_secs(3_000)))
        .await;
    drop((stream.expect("time enough"), open));
    stand.settles().await;
    stand.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_the_limit_are_refused_alike() {
    let server = server::Config {
        calls: 2,
        ..server::Config::default()
    };
    let act = |model: &copydesk::model::Model, windows: &[&_]| model.answer(windows);
    let stand = Stand::start_with(one_worker(), server, act).await;
    let mut client = stand.running.client().await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let (send, articles) = tokio::sync::mpsc::channel(1);
        send.send(corpus(article("a", "Short.")))
            .await
            .expect("open");
        let articles = tokio_stream::wrappers::ReceiverStream::new(articles);
        let answers = client.classify_articles(articles).await.expect("admitted");
        open.push((send, answers));
    }
    let refused = client
        .classify_article(request(article("c", "Short.")))
        .await;
    pushback(&refused.expect_err("a third call"));
    open.pop();
    stand
        .until("one has left", || stand.gauges.corpora() == 1)
        .await;
    ask(&mut client, request(article("c", "Short.")))
        .await
        .expect("room");
    drop(open);
    stand.settles().await;
    stand.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn short_articles_are_not_held_up_by_a_long_one() {
    let stand = Stand::plain().await;
    let mut client = stand.running.client().await;
    // 50,000 words.
    let long = SENTENCE.repeat(50_000 / 12);
    let short = SENTENCE.repeat(5);
    let alone = Instant::now();
    ask(&mut client, request(article("s", &short)))
        .await
        .expect("an answer");
    let alone = alone.elapsed();
    let start = Instant::now();
    let mut reading = client.clone();
    let reader = tokio::spawn(async move {
        let (sentences, _) = ask(&mut reading, request(article("long", &long)))
            .await
            .expect("whole");
        (sentences.len(), start.elapsed())
    });
    stand
        .until("the long one runs", || stand.count().answered > 10)
        .await;
    let before = stand.count();
    let began = Instant::now();
    let shorts = (0..10).map(|n| {
        let (mut client, short) = (client.clone(), short.clone());
        tokio::spawn(async move {
            ask(&mut client, request(article(&format!("s{n}"), &short)))
                .await
                .expect("an answer");
            began.elapsed()
        })
    });
    let mut took = Vec::new();
    for short in shorts.collect::<Vec<_>>() {
        took.push(short.await.expect("no panic"));
    }
    let windows = stand.count().answered - before.answered;
    assert!(!reader.is_finished(), "the long one is still under way");
    let (sentences, long) = reader.await.expect("no panic");
    assert_eq!(sentences, 50_000 / 12);
    let slowest = took.iter().max().expect("ten");
    println!(
        "alone {alone:?}; beside 50,000 words, slowest of ten {slowest:?}, {windows} windows; long {long:?}"
    );
    assert!(*slowest * 4 < long, "{slowest:?} of {long:?}");
    stand.settles().await;
    stand.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_hung_up_on_or_expired_never_reaches_the_model() {
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
    let mut client = stand.running.client().await;
    let text = SENTENCE.repeat(30);
    let busy = client
        .classify_article(request(article("a", "Short.")))
        .await;
    let mut busy = busy.expect("admitted").into_inner();
    stand
        .until("a batch runs", || stand.engine.running_batches() == 1)
        .await;
    let before = stand.count();
    // One resets its stream, one hangs up, one runs out of time: all while queued.
    let mut reset = stand.raw().await;
    let stream = reset
        .client
        .classify_article(request(article("b", &text)))
        .await;
    drop(stream.expect("admitted"));
    let mut cut = stand.raw().await;
    let kept = cut
        .client
        .classify_article(request(article("c", &text)))
        .await;
    let kept = kept.expect("admitted");
    cut.cut();
    drop(kept);
    let mut late = stand.raw().await;
    let mut expiring = tonic::Request::new(request(article("d", &text)));
    expiring.set_timeout(Duration::from_millis(1500));
    let late = late.client.classify_article(expiring).await;
    let status = late.expect("admitted").into_inner().message().await;
    assert_eq!(status.expect_err("late").code(), Code::DeadlineExceeded);
    stand
        .until("only one call is left", || stand.engine.articles() == 1)
        .await;
    gate.set(true);
    while busy.message().await.expect("an answer").is_some() {}
    stand.settles().await;
    let after = stand.count();
    assert_eq!(after.batches, before.batches, "no batch ran for them");
    assert_eq!(after.tokens, before.tokens);
    assert_eq!(after.answered, before.answered + 1);
    assert!(after.dropped >= before.dropped + 3, "{before:?} {after:?}");
    stand.running.stop().await;
}
