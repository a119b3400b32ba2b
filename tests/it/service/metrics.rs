//! The metrics of a running server, after calls that are known.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use copydesk::telemetry::metrics::Metrics;
use copydesk::telemetry::{Began, Observer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::support::fixture;

const ARTICLE: &str = "copydesk.v1.ClassifierService/ClassifyArticle";

async fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

/// The value of a metric by its name with labels.
fn value(text: &str, name: &str) -> Option<f64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_true_to_the_calls() {
    let classifier = tiny_classifier();
    let engine = classifier.engine().clone();
    let metrics = Arc::new(Metrics::new(&engine));
    let config = server::Config {
        observers: vec![Arc::clone(&metrics) as Arc<dyn Observer>],
        ..server::Config::default()
    };
    let running = Running::start(classifier, config).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let serving = tokio::spawn(metrics.serve(listener));

    let mut client = running.client().await;
    for _ in 0..3 {
        let asked = ask(
            &mut client,
            request(article("a", "The league met. It left.")),
        );
        asked.await.expect("an answer");
    }
    let bad = ask(&mut client, request(article("b", " ")));
    bad.await.expect_err("an empty text");
    // One bad article of a corpus, and a caller who leaves.
    let requests = ["A.", " "].map(|text| pb::ClassifyArticlesRequest {
        article: Some(article(text, text)),
        options: None,
    });
    let stream = client
        .classify_articles(futures_util::stream::iter(requests))
        .await;
    let mut stream = stream.expect("admitted").into_inner();
    while stream.message().await.expect("it goes on").is_some() {}
    let long = "The league met in Port Ellis and left again in the morning. ".repeat(5_000);
    let left = client.classify_article(request(article("c", &long))).await;
    let mut left = left.expect("admitted").into_inner();
    left.message().await.expect("a first sentence");
    let busy = get(&address, "/metrics").await;
    let running_now = format!("copydesk_requests_running{{method=\"{ARTICLE}\"}}");
    assert_eq!(value(&busy, &running_now), Some(1.0), "{busy}");
    drop(left);
    let call = |method: &str, code: &str| {
        let service = "copydesk.v1.ClassifierService";
        format!("copydesk_requests_total{{method=\"{service}/{method}\",code=\"{code}\"}}")
    };
    let mut text = String::new();
    for _ in 0..200 {
        text = get(&address, "/metrics").await;
        if value(&text, &call("ClassifyArticle", "CANCELLED")) == Some(1.0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    assert!(text.contains("application/openmetrics-text"), "{text}");
    let check =
        |name: &str, expect: f64| assert_eq!(value(&text, name), Some(expect), "{name}\n{text}");
    check(&call("ClassifyArticle", "OK"), 3.0);
    check(&call("ClassifyArticle", "INVALID_ARGUMENT"), 1.0);
    check(&call("ClassifyArticle", "CANCELLED"), 1.0);
    check(&call("ClassifyArticles", "OK"), 1.0);
    check("copydesk_failures_total{reason=\"EMPTY_TEXT\"}", 2.0);
    check(&running_now, 0.0);
    let label = format!("{{method=\"{ARTICLE}\"}}");
    check(
        &format!("copydesk_request_duration_seconds_count{label}"),
        5.0,
    );
    check(&format!("copydesk_first_message_seconds_count{label}"), 4.0);
    check(
        "copydesk_queue_tokens_limit",
        engine.config().max_queue_tokens as f64,
    );
    check(
        "copydesk_batch_tokens_limit",
        engine.config().max_batch_tokens as f64,
    );
    check("copydesk_windows_failed_total", 0.0);
    let read = |name: &str| value(&text, name).expect("a value");
    assert!(read("copydesk_tokens_total") > 100.0, "{text}");
    assert!(read("copydesk_batches_total") >= 4.0, "{text}");
    assert!(read("copydesk_windows_answered_total") >= 4.0, "{text}");
    let sha256 = &engine.model().identity().sha256;
    assert!(text.contains(&format!("sha256=\"{sha256}\"")), "{text}");
    assert!(text.trim_end().ends_with("# EOF"), "{text}");
    assert!(!text.contains("league"), "no article's text");

    let lost = get(&address, "/").await;
    assert!(lost.starts_with("HTTP/1.1 404"), "{lost}");
    serving.abort();
    drop((stream, client));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn made_up_methods_are_one() {
    let classifier = tiny_classifier();
    let metrics = Arc::new(Metrics::new(classifier.engine()));
    let config = server::Config {
        observers: vec![Arc::clone(&metrics) as Arc<dyn Observer>],
        ..server::Config::default()
    };
    let running = Running::start(classifier, config).await;
    for n in 0..3 {
        let path = format!(
            "POST /made.up/Method{n} HTTP/1.1\r\ncontent-type: application/grpc-web\r\n\
             content-length: 0\r\n"
        );
        auth::http1(&running, &path, &[]).await;
    }
    let text = metrics.text().expect("text");
    let name = "copydesk_requests_total{method=\"other\",code=\"UNIMPLEMENTED\"}";
    assert_eq!(value(&text, name), Some(3.0), "{text}");
    assert!(!text.contains("made"), "{text}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_executable_tells_them_on_an_address_of_their_own() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_copydesk"))
        .args(["serve", "--addr", "127.0.0.1:0", "--log-format", "json"])
        .args(["--metrics-addr", "127.0.0.1:0", "--max-connections", "7"])
        .args(["--workers", "1", "--model"])
        .arg(fixture())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the executable");
    let mut lines = BufReader::new(child.stderr.take().expect("stderr")).lines();
    let address = lines.by_ref().find_map(|line| {
        let log: serde_json::Value = serde_json::from_str(&line.ok()?).ok()?;
        Some(log["fields"]["metrics"].as_str()?.to_owned())
    });
    std::thread::spawn(move || lines.for_each(drop));
    let text = get(&address.expect("its address is logged"), "/metrics").await;
    let _ = child.kill();
    let _ = child.wait();
    assert_eq!(
        value(&text, "copydesk_connections_limit"),
        Some(7.0),
        "{text}"
    );
    assert_eq!(value(&text, "copydesk_connections"), Some(0.0), "{text}");
    assert_eq!(value(&text, "copydesk_workers"), Some(1.0), "{text}");
}

/// What the dashboard asks for is what the server tells.
#[test]
fn the_dashboard_asks_only_for_what_there_is() {
    let dashboard = include_str!("../../../deploy/grafana/copydesk.json");
    let parsed: serde_json::Value = serde_json::from_str(dashboard).expect("JSON");
    let known = Metrics::new(tiny_classifier().engine());
    let method = ARTICLE;
    let headers = http::HeaderMap::new();
    let mut call = known.began(&Began {
        method,
        headers: &headers,
    });
    call.first(Duration::ZERO);
    call.ended("OK", None, Duration::ZERO);
    known.failed("QUEUE_FULL");
    let text = known.text().expect("text");
    let panels = parsed["panels"].as_array().expect("panels");
    assert!(panels.len() >= 8);
    let connections = [
        "copydesk_connections",
        "copydesk_connections_limit",
        "copydesk_connections_refused_total",
    ];
    for panel in panels {
        for target in panel["targets"].as_array().expect("targets") {
            let query = target["expr"].as_str().expect("a query");
            let names = query
                .split(|c: char| !(c.is_alphanumeric() || c == '_'))
                .filter(|word| word.starts_with("copydesk_"));
            for name in names {
                let there = connections.contains(&name)
                    || text
                        .lines()
                        .any(|line| line.split(['{', ' ']).next() == Some(name));
                assert!(there, "{name} of {query}\n{text}");
            }
        }
    }
}
