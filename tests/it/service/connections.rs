//! What connections may do: how many there are, how long they last, how fast they send.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::metadata::MetadataValue;
use tower_service::Service;

use super::*;

/// Whether the server closes a connection that sends nothing.
async fn closes(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 1024];
    let end = async { while let Ok(1..) = stream.read(&mut bytes).await {} };
    tokio::time::timeout(Duration::from_secs(10), end)
        .await
        .is_ok()
}

async fn with(change: impl FnOnce(&mut server::Config)) -> Running {
    let mut config = server::Config::default();
    change(&mut config);
    Running::start(tiny_classifier(), config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let connections = Arc::new(server::Connections::new(2));
    let shared = Arc::clone(&connections);
    let running = with(|config| config.connections = shared).await;
    let mut clients = [running.client().await, running.client().await];
    for client in &mut clients {
        let asked = client.get_model(pb::GetModelRequest {}).await;
        asked.expect("there is room");
    }
    assert_eq!(connections.open(), 2);
    let mut third = TcpStream::connect(running.address)
        .await
        .expect("the system accepts");
    assert!(closes(&mut third).await);
    assert_eq!((connections.open(), connections.refused()), (2, 1));
    let [one, two] = clients;
    drop(one);
    // The place of one that left is free again.
    let mut next = None;
    for _ in 0..200 {
        let endpoint = Channel::from_shared(format!("http://{}", running.address)).expect("a URI");
        if let Ok(channel) = endpoint.connect().await {
            let mut client = ClassifierServiceClient::new(channel);
            if client.get_model(pb::GetModelRequest {}).await.is_ok() {
                next = Some(client);
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(next.is_some());
    drop((two, next));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_closed_and_busy_ones_are_not() {
    let running = with(|config| config.idle = Some(Duration::from_millis(200))).await;
    let mut silent = TcpStream::connect(running.address)
        .await
        .expect("a connection");
    // Far longer than the limit, and nothing is read meanwhile.
    let mut client = running.client().await;
    let text = "The league met in Port Ellis and left again in the morning. ".repeat(200);
    let (send, articles) = tokio::sync::mpsc::channel(1);
    let corpus = |id: &str| pb::ClassifyArticlesRequest {
        article: Some(article(id, &text)),
        options: None,
    };
    send.send(corpus("a")).await.expect("open");
    let articles = tokio_stream::wrappers::ReceiverStream::new(articles);
    let stream = client.classify_articles(articles).await;
    let mut stream = stream.expect("admitted").into_inner();
    tokio::time::sleep(Duration::from_millis(900)).await;
    send.send(corpus("b")).await.expect("open");
    drop(send);
    let mut last = String::new();
    while let Some(message) = stream.message().await.expect("it goes on") {
        last = message.article_id;
    }
    assert_eq!(last, "b");
    assert!(closes(&mut silent).await);
    drop((stream, client));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_connections_end_after_their_calls() {
    let running = with(|config| config.age = Some(Duration::from_millis(300))).await;
    let mut client = running.client().await;
    let (send, articles) = tokio::sync::mpsc::channel(1);
    let corpus = |id: &str| pb::ClassifyArticlesRequest {
        article: Some(article(id, "The league met.")),
        options: None,
    };
    send.send(corpus("a")).await.expect("open");
    let articles = tokio_stream::wrappers::ReceiverStream::new(articles);
    let stream = client.classify_articles(articles).await;
    let mut stream = stream.expect("admitted").into_inner();
    tokio::time::sleep(Duration::from_millis(900)).await;
    send.send(corpus("b")).await.expect("open");
    drop(send);
    let mut messages = 0;
    while stream.message().await.expect("it goes on").is_some() {
        messages += 1;
    }
    assert_eq!(messages, 4, "two sentences, two summaries");
    // A new call goes over a new connection, and nobody notices; but for one in the very moment of the
    // close, which a bare client is told of and which clients that retry send again.
    tokio::time::sleep(Duration::from_millis(100)).await;
    ask(&mut client, request(article("c", "It met.")))
        .await
        .expect("an answer");
    drop((stream, client));
    running.stop().await;

    let running = with(|config| {
        config.age = Some(Duration::from_millis(200));
        config.age_grace = Some(Duration::from_millis(200));
    })
    .await;
    let mut client = running.client().await;
    let (send, articles) = tokio::sync::mpsc::channel(1);
    send.send(corpus("a")).await.expect("open");
    let articles = tokio_stream::wrappers::ReceiverStream::new(articles);
    let stream = client.classify_articles(articles).await;
    let mut stream = stream.expect("admitted").into_inner();
    let mut broke = false;
    while let Ok(Some(_)) | Err(_) = stream.message().await.inspect_err(|_| broke = true) {
        if broke {
            break;
        }
    }
    assert!(broke, "calls beyond the grace are cut off");
    drop((send, stream, client));
    running.stop().await;
}

/// Opens a connection and says no more: what a client says whose machine has gone. The seconds until
/// the server closes it, and whether it asked before.
async fn of_a_silent_client(address: SocketAddr, calls: bool) -> (Duration, bool) {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const PING: u8 = 6;
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .expect("sent");
    stream.write_all(&SETTINGS).await.expect("sent");
    if calls {
        // A call whose message never comes.
        let head = b"\x83\x86\x04\x2e/copydesk.v1.ClassifierService/ClassifyArticle\
            \x01\x09localhost\x0f\x10\x10application/grpc";
        let length = u8::try_from(head.len()).expect("short");
        stream
            .write_all(&[0, 0, length, 1, 4, 0, 0, 0, 1])
            .await
            .expect("sent");
        stream.write_all(head).await.expect("sent");
    }
    let begin = Instant::now();
    let mut asked = false;
    let end = async {
        let mut head = [0; 9];
        while stream.read_exact(&mut head).await.is_ok() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut rest = vec![0; length as usize];
            asked |= head[3] == PING && head[4] == 0;
            if stream.read_exact(&mut rest).await.is_err() {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), end)
        .await
        .expect("the server closes it");
    (begin.elapsed(), asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_answer_no_ping_are_dropped_in_time() {
    let connections = Arc::new(server::Connections::new(10));
    let (interval, timeout) = (Duration::from_millis(400), Duration::from_millis(600));
    let shared = Arc::clone(&connections);
    let running = with(|config| {
        config.connections = shared;
        config.keepalive_interval = Some(interval);
        config.keepalive_timeout = timeout;
    })
    .await;
    // One whose library answers, with a call open all the while, and then between calls.
    let mut client = running.client().await;
    let (send, articles) = tokio::sync::mpsc::channel(1);
    let corpus = |id: &str| pb::ClassifyArticlesRequest {
        article: Some(article(id, "The league met.")),
        options: None,
    };
    send.send(corpus("a")).await.expect("open");
    let articles = tokio_stream::wrappers::ReceiverStream::new(articles);
    let stream = client.classify_articles(articles).await;
    let mut stream = stream.expect("admitted").into_inner();

    for calls in [false, true] {
        let (after, asked) = of_a_silent_client(running.address, calls).await;
        assert!(asked, "it is asked first");
        assert!(after >= interval, "{after:?}, calls: {calls}");
        // The rest is for busy machines.
        assert!(
            after < (interval + timeout) * 5,
            "{after:?}, calls: {calls}"
        );
    }
    let gone = async {
        while connections.open() > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone)
        .await
        .expect("their places are free again");

    send.send(corpus("b")).await.expect("open");
    drop(send);
    let mut last = String::new();
    while let Some(message) = stream.message().await.expect("it goes on") {
        last = message.article_id;
    }
    assert_eq!(last, "b");
    drop((stream, client));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_call_of_grpc_is_refused_as_http_would() {
    let running = with(|_| {}).await;
    let path = "copydesk.v1.ClassifierService/GetModel";
    let post = || http::Request::post(format!("http://{}/{path}", running.address));
    let check = async |request: http::request::Builder, expect: u16| {
        let mut channel = running.channel().await;
        std::future::poll_fn(|context| channel.poll_ready(context))
            .await
            .expect("ready");
        let request = request.body(tonic::body::Body::empty()).expect("a request");
        let answer = channel.call(request).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), expect);
    };
    check(post().header("content-type", "text/html"), 415).await;
    check(post(), 415).await;
    let get = http::Request::get(format!("http://{}/{path}", running.address));
    check(get.header("content-type", "application/grpc"), 405).await;
    check(post().header("content-type", "application/grpc+proto"), 200).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_headers_are_refused_and_the_server_goes_on() {
    let running = with(|config| config.header_bytes = 2048).await;
    let mut client = running.client().await;
    let mut large = Request::new(request(article("a", "It met.")));
    let value = MetadataValue::try_from("x".repeat(4096)).expect("a value");
    large.metadata_mut().insert("x-large", value);
    ask(&mut client, large).await.expect_err("too large");
    ask(&mut client, request(article("a", "It met.")))
        .await
        .expect("an answer");
    drop(client);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_messages_are_ended_and_pauses_between_messages_are_not() {
    let status = of_a_slow_sender().await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert!(status.message().contains("0.3 s"), "{status:?}");
    let running = slow_server().await;
    let mut client = running.client().await;
    let (send, articles) = tokio::sync::mpsc::channel(1);
    let sending = tokio::spawn(async move {
        for id in ["a", "b"] {
            tokio::time::sleep(Duration::from_millis(700)).await;
            let request = pb::ClassifyArticlesRequest {
                article: Some(article(id, "The league met.")),
                options: None,
            };
            send.send(request).await.expect("open");
        }
    });
    let articles = tokio_stream::wrappers::ReceiverStream::new(articles);
    let stream = client.classify_articles(articles).await;
    let mut stream = stream.expect("admitted").into_inner();
    let mut messages = 0;
    while stream.message().await.expect("pauses are fine").is_some() {
        messages += 1;
    }
    assert_eq!(messages, 4);
    sending.await.expect("sent");
    drop((stream, client));
    running.stop().await;
}

async fn slow_server() -> Running {
    with(|config| config.message_timeout = Some(Duration::from_millis(300))).await
}

/// What is said to a caller whose message trickles in: a byte now and then, and never the last.
pub(super) async fn of_a_slow_sender() -> Status {
    let running = slow_server().await;
    let drops = futures_util::stream::unfold(0_u8, |n| async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let byte = if n == 4 { 100 } else { 0 };
        let frame = http_body::Frame::data(Bytes::from(vec![byte]));
        Some((Ok::<_, Status>(frame), n.saturating_add(1)))
    });
    let request = http::Request::post(format!(
        "http://{}/copydesk.v1.ClassifierService/ClassifyArticle",
        running.address
    ))
    .header("content-type", "application/grpc")
    .header("te", "trailers")
    .body(tonic::body::Body::new(StreamBody::new(drops)))
    .expect("a request");
    let mut channel = running.channel().await;
    std::future::poll_fn(|context| channel.poll_ready(context))
        .await
        .expect("ready");
    let answer = channel.call(request).await.expect("an answer");
    let (head, body) = answer.into_parts();
    let trailers = body
        .collect()
        .await
        .ok()
        .and_then(|body| body.trailers().cloned());
    let status = Status::from_header_map(&head.headers);
    let status = status.or_else(|| Status::from_header_map(&trailers?));
    drop(channel);
    running.stop().await;
    status.expect("a status")
}
