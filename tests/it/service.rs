//! The service through a real socket: answers, and every error of the contract.

mod auth;
mod connections;
#[cfg(feature = "metrics")]
mod metrics;
mod open_inference;
mod reasons;
mod tls;
#[cfg(feature = "otel")]
mod traces;
mod ui;

use std::net::SocketAddr;
use std::time::Duration;

use copydesk::article::Limits;
use copydesk::classifier::Classifier;
use copydesk::engine::Config;
use copydesk::grpc::pb::classifier_service_client::ClassifierServiceClient;
use copydesk::grpc::pb::{self, classify_article_response, classify_articles_response};
use copydesk::grpc::{Service, server};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::support::{classifier, tiny_classifier, tiny_model};

pub struct Running {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Result<(), server::ServeError>>,
}

impl Running {
    pub async fn start(classifier: Classifier, config: server::Config) -> Self {
        let service = Service::new(classifier, config.request_bytes, config.calls);
        Self::start_service(service, config).await
    }

    pub async fn start_service(service: Service, config: server::Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Self::start_at(listener.into(), service, config)
    }

    /// Takes connections of listeners that are bound already.
    pub fn start_at(
        listeners: server::Listeners,
        service: Service,
        config: server::Config,
    ) -> Self {
        let address = listeners.service.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let ended = tokio::spawn(server::serve_service(listeners, service, config, shutdown));
        Self {
            address,
            stop: Some(stop),
            ended,
        }
    }

    pub async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.address)).expect("a URI");
        endpoint.connect().await.expect("a connection")
    }

    pub async fn client(&self) -> ClassifierServiceClient<Channel> {
        ClassifierServiceClient::new(self.channel().await)
    }

    pub async fn stop(mut self) {
        drop(self.stop.take());
        self.ended.await.expect("no panic").expect("a clean end");
    }
}

pub async fn serve() -> Running {
    Running::start(tiny_classifier(), server::Config::default()).await
}

pub fn article(id: &str, text: &str) -> pb::Article {
    pb::Article {
        id: id.to_owned(),
        content: Some(pb::article::Content::Text(text.to_owned())),
        ..pb::Article::default()
    }
}

pub fn request(article: pb::Article) -> pb::ClassifyArticleRequest {
    pb::ClassifyArticleRequest {
        article: Some(article),
        options: None,
    }
}

/// Sentences and summary of one article.
pub async fn ask(
    client: &mut ClassifierServiceClient<Channel>,
    request: impl tonic::IntoRequest<pb::ClassifyArticleRequest>,
) -> Result<(Vec<pb::Sentence>, pb::Summary), Status> {
    use classify_article_response::Event;
    let mut stream = client.classify_article(request).await?.into_inner();
    let mut sentences = Vec::new();
    while let Some(message) = stream.message().await? {
        match message.event.expect("an event") {
            Event::Sentence(sentence) => sentences.push(sentence),
            Event::Summary(summary) => {
                assert!(stream.message().await?.is_none(), "the summary comes last");
                return Ok((sentences, summary));
            }
        }
    }
    panic!("no summary");
}

/// The reason in ErrorInfo, and the field in BadRequest.
pub fn details(status: &Status) -> (String, Option<String>) {
    let info = status.get_details_error_info().expect("ErrorInfo");
    assert_eq!(info.domain, "copydesk");
    let bad = status.get_details_bad_request();
    (
        info.reason,
        bad.and_then(|b| b.field_violations.first().map(|v| v.field.clone())),
    )
}

/// The reason in the ErrorInfo of an article's error within a stream.
pub fn reason(status: &tonic_types::pb::Status) -> String {
    let info = status
        .details
        .iter()
        .find(|any| any.type_url.ends_with("google.rpc.ErrorInfo"))
        .expect("ErrorInfo");
    let info: tonic_types::pb::ErrorInfo = prost::Message::decode(&*info.value).expect("decodes");
    info.reason
}

#[tokio::test(flavor = "multi_thread")]
async fn sentences_stream_then_the_summary() {
    let running = serve().await;
    let mut client = running.client().await;
    let text = "The league met in Port Ellis. “We go,” said Ida Brandt.\n\nIt was cold 🦊.";
    let (sentences, summary) = ask(&mut client, request(article("a", text)))
        .await
        .expect("an answer");
    let texts: Vec<&str> = sentences.iter().map(|s| s.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "The league met in Port Ellis.",
            "“We go,” said Ida Brandt.",
            "It was cold 🦊."
        ]
    );
    assert_eq!(summary.sentence_count, 3);
    assert_eq!(summary.model.expect("a model").revision, "fixture");
    let utf16: Vec<u16> = text.encode_utf16().collect();
    for sentence in &sentences {
        let span = sentence.span.as_ref().expect("a span");
        assert_eq!(
            &text[span.byte_start as usize..span.byte_end as usize],
            sentence.text
        );
        let points: String = text
            .chars()
            .skip(span.code_point_start as usize)
            .take((span.code_point_end - span.code_point_start) as usize)
            .collect();
        assert_eq!(points, sentence.text);
        let units = &utf16[span.utf16_start as usize..span.utf16_end as usize];
        assert_eq!(String::from_utf16_lossy(units), sentence.text);
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn request_spans_come_in_any_unit() {
    let running = serve().await;
    let mut client = running.client().await;
    use pb::party_span::Offsets;
    let range = |start, end| pb::OffsetRange { start, end };
    for offsets in [
        Offsets::Bytes(range(5, 10)),
        Offsets::CodePoints(range(2, 7)),
        Offsets::Utf16Units(range(3, 8)),
    ] {
        let span = pb::PartySpan {
            offsets: Some(offsets),
            sentence_index: None,
        };
        let party = pb::Party {
            id: "o".into(),
            spans: vec![span],
            ..pb::Party::default()
        };
        let parties = Some(pb::PartyList { items: vec![party] });
        let article = pb::Article {
            parties,
            ..article("a", "🦊 Oster met Norland.")
        };
        let (sentences, _) = ask(&mut client, request(article)).await.expect("an answer");
        assert_eq!(sentences[0].parties[0].mentions[0].text, "Oster");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn named_parties_are_not_looked_for_in_lists_of_links() {
    let running = serve().await;
    let mut client = running.client().await;
    let party = |name: &str| pb::Party {
        id: name.into(),
        name: name.into(),
        ..pb::Party::default()
    };
    let items = vec![party("Oster"), party("Norland")];
    let text = "Ada Oster Ada Jane OsterIs Oster done? Norland met Oster MORE (D-Tarn) left. Oster met Norland.";
    let article = pb::Article {
        parties: Some(pb::PartyList { items }),
        ..article("a", text)
    };
    let (sentences, _) = ask(&mut client, request(article)).await.expect("an answer");
    let found: Vec<Vec<(&str, i32)>> = sentences
        .iter()
        .map(|s| {
            let all = s.parties.iter().flat_map(|p| &p.mentions);
            all.map(|m| (&*m.text, m.span.expect("a span").byte_start))
                .collect()
        })
        .collect();
    let second = i32::try_from(text.find("Oster met").expect("there")).expect("small");
    assert_eq!(
        found,
        [
            vec![("Oster", 4)],
            vec![("Oster", second), ("Norland", second + 10)]
        ]
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_told_by_field() {
    let limits = Limits {
        text_bytes: 1000,
        sentences: 20,
        parties: 2,
        spans: 3,
        ..Limits::default()
    };
    let engine = tiny_classifier().engine().clone();
    let config = server::Config {
        request_bytes: 8_000,
        ..server::Config::default()
    };
    let running = Running::start(Classifier::new(engine, limits), config).await;
    let mut client = running.client().await;
    let party = |id: &str, name: &str| pb::Party {
        id: id.into(),
        name: name.into(),
        ..pb::Party::default()
    };
    let with = |parties: Vec<pb::Party>| pb::Article {
        parties: Some(pb::PartyList { items: parties }),
        ..article("a", "Oster met Norland.")
    };
    let spanned = |offsets| {
        let span = pb::PartySpan {
            offsets,
            sentence_index: None,
        };
        with(vec![pb::Party {
            spans: vec![span],
            ..party("p", "Oster")
        }])
    };
    let span = |start| pb::PartySpan {
        offsets: Some(pb::party_span::Offsets::Bytes(pb::OffsetRange {
            start,
            end: start + 1,
        })),
        sentence_index: None,
    };
    let bytes = |start, end| {
        Some(pb::party_span::Offsets::Bytes(pb::OffsetRange {
            start,
            end,
        }))
    };
    let cut = |all: Vec<String>| pb::Article {
        content: Some(pb::article::Content::Sentences(pb::SentenceList {
            items: all,
        })),
        ..pb::Article::default()
    };
    let cases = [
        (pb::Article::default(), "MISSING_TEXT", "text"),
        (article("a", " \n"), "EMPTY_TEXT", "text"),
        (article("a", &"x".repeat(1001)), "TEXT_TOO_LONG", "text"),
        (
            article("a", &"It met. ".repeat(30)),
            "TOO_MANY_SENTENCES",
            "text",
        ),
        (cut(vec![]), "EMPTY_TEXT", "sentences"),
        (
            cut(vec!["A.".into(), " ".into()]),
            "EMPTY_SENTENCE",
            "sentences[1]",
        ),
        (
            pb::Article {
                headline: "x".repeat(5000),
                ..article("a", "A.")
            },
            "HEADLINE_TOO_LONG",
            "headline",
        ),
        (
            with(vec![party("a", "A"), party("b", "B"), party("c", "C")]),
            "TOO_MANY_PARTIES",
            "parties",
        ),
        (
            with(vec![party("a", "A"), party("a", "B")]),
            "DUPLICATE_PARTY_ID",
            "parties[1].id",
        ),
        (
            with(vec![party("", "A")]),
            "EMPTY_PARTY_ID",
            "parties[0].id",
        ),
        (with(vec![party("a", "")]), "EMPTY_NAME", "parties[0].name"),
        (
            with(vec![party("a", &"x".repeat(600))]),
            "NAME_TOO_LONG",
            "parties[0].name",
        ),
        (
            with(vec![pb::Party {
                aliases: vec!["x".into(); 101],
                ..party("a", "A")
            }]),
            "TOO_MANY_ALIASES",
            "parties[0]",
        ),
        (
            with(vec![pb::Party {
                spans: (0..4).map(span).collect(),
                ..party("a", "A")
            }]),
            "TOO_MANY_SPANS",
            "parties[0]",
        ),
        (spanned(None), "INVALID_SPAN", "parties[0].spans[0]"),
        (spanned(bytes(-1, 2)), "INVALID_SPAN", "parties[0].spans[0]"),
        (spanned(bytes(3, 3)), "INVALID_SPAN", "parties[0].spans[0]"),
        (spanned(bytes(3, 99)), "INVALID_SPAN", "parties[0].spans[0]"),
    ];
    for (article, reason, field) in cases {
        let status = ask(&mut client, request(article)).await.expect_err(reason);
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert_eq!(
            details(&status),
            (reason.to_owned(), Some(field.to_owned())),
            "{status:?}"
        );
    }
    let missing = pb::ClassifyArticleRequest::default();
    assert_eq!(
        details(&ask(&mut client, missing).await.expect_err("no article")).0,
        "MISSING_TEXT"
    );
    let options = Some(pb::ClassifyOptions {
        min_confidence: Some(f32::NAN),
    });
    let strange = pb::ClassifyArticleRequest {
        options,
        ..request(article("a", "A."))
    };
    let status = ask(&mut client, strange).await.expect_err("NaN");
    assert_eq!(
        details(&status),
        (
            "INVALID_MIN_CONFIDENCE".into(),
            Some("min_confidence".into())
        )
    );
    let huge = ask(&mut client, request(article("a", &"x".repeat(9_000))))
        .await
        .expect_err("too large");
    assert_eq!(huge.code(), Code::OutOfRange, "the transport's own limit");
    ask(&mut client, request(article("a", "It goes on.")))
        .await
        .expect("the server goes on");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corpus_keeps_order_and_survives_bad_articles() {
    use classify_articles_response::Event;
    let running = serve().await;
    let mut client = running.client().await;
    let articles = [
        article("a", "One. Two. Three."),
        article("", "No id."),
        article("b", "  "),
        article("a", "Again."),
        article("c", "Four."),
    ];
    let requests = articles.map(|a| pb::ClassifyArticlesRequest {
        article: Some(a),
        options: None,
    });
    let stream = client
        .classify_articles(futures_util::stream::iter(requests))
        .await
        .expect("a stream");
    let mut stream = stream.into_inner();
    let mut seen = Vec::new();
    while let Some(message) = stream.message().await.expect("a message") {
        let what = match message.event.expect("an event") {
            Event::Sentence(sentence) => format!("sentence {}", sentence.index),
            Event::Summary(summary) => format!("summary of {}", summary.sentence_count),
            Event::Error(status) => {
                assert_eq!(status.code, Code::InvalidArgument as i32);
                format!("error {}", reason(&status))
            }
        };
        seen.push(format!(
            "{} {} {what}",
            message.article_index, message.article_id
        ));
    }
    assert_eq!(
        seen,
        [
            "0 a sentence 0",
            "0 a sentence 1",
            "0 a sentence 2",
            "0 a summary of 3",
            "1  error EMPTY_ARTICLE_ID",
            "2 b error EMPTY_TEXT",
            "3 a error DUPLICATE_ARTICLE_ID",
            "4 c sentence 0",
            "4 c summary of 1",
        ]
    );
    let empty = client
        .classify_articles(futures_util::stream::empty())
        .await
        .expect("a stream");
    assert!(
        empty
            .into_inner()
            .message()
            .await
            .expect("an end")
            .is_none()
    );
    running.stop().await;
}

/// What is said to a caller for whom there is no room; it comes in place of the headers.
async fn of_a_full_queue() -> Status {
    // A queue smaller than one window has never room for one at once.
    let config = Config {
        workers: 1,
        max_queue_tokens: 8,
        ..Config::default()
    };
    let classifier = classifier(tiny_model(), config);
    let running = Running::start(classifier.clone(), server::Config::default()).await;
    let mut client = running.client().await;
    // A long article, read as fast as it comes, has a window waiting at all times.
    let long = "The league met in Port Ellis and left again in the morning. ".repeat(5_000);
    let mut stream = loop {
        // The server's own warm-up article may have the room at first.
        let admitted = client.classify_article(request(article("long", &long)));
        if let Ok(response) = admitted.await {
            break response.into_inner();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    stream.message().await.expect("a message");
    let reading = tokio::spawn(async move { while let Ok(Some(_)) = stream.message().await {} });
    let mut refused = None;
    while refused.is_none() && !reading.is_finished() {
        let short = request(article("b", "Short."));
        refused = client.classify_article(short).await.err();
    }
    reading.abort();
    running.stop().await;
    refused.expect("a refusal while the queue is full")
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_are_deadline_exceeded() {
    let running = serve().await;
    let mut client = running.client().await;
    let long = "The league met in Port Ellis and left again in the morning. ".repeat(15_000);
    let mut slow = Request::new(request(article("a", &long)));
    slow.set_timeout(Duration::from_millis(800));
    let status = ask(&mut client, slow).await.expect_err("too slow");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert_eq!(details(&status).0, "DEADLINE_EXCEEDED");
    // A corpus has one deadline for all of it: the stream itself fails.
    let requests = [("a", "The league met."), ("b", long.as_str())];
    let requests = requests.map(|(id, text)| pb::ClassifyArticlesRequest {
        article: Some(article(id, text)),
        options: None,
    });
    let mut slow = Request::new(futures_util::stream::iter(requests));
    slow.set_timeout(Duration::from_millis(800));
    let stream = client.classify_articles(slow).await.expect("admitted");
    let mut stream = stream.into_inner();
    let mut messages = 0;
    let status = loop {
        match stream.message().await {
            Ok(message) => assert!(message.is_some(), "no end without an error"),
            Err(status) => break status,
        }
        messages += 1;
    };
    assert!(messages >= 2, "the first article was answered");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert_eq!(details(&status).0, "DEADLINE_EXCEEDED");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_up_frees_the_work() {
    let classifier = tiny_classifier();
    let engine = classifier.engine().clone();
    let running = Running::start(classifier, server::Config::default()).await;
    let mut client = running.client().await;
    let long = "The league met in Port Ellis and left again in the morning. ".repeat(10_000);
    let mut stream = client
        .classify_article(request(article("a", &long)))
        .await
        .expect("admitted")
        .into_inner();
    stream.message().await.expect("a first sentence");
    drop(stream);
    let mut last = u64::MAX;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let answered = engine
            .counters()
            .answered
            .load(std::sync::atomic::Ordering::Relaxed);
        if answered == last && engine.queued_tokens() == 0 {
            running.stop().await;
            return;
        }
        last = answered;
    }
    panic!("the work goes on after the client left");
}

#[tokio::test(flavor = "multi_thread")]
async fn get_model_tells_identity_and_limits() {
    let running = serve().await;
    let mut client = running.client().await;
    let answer = client
        .get_model(pb::GetModelRequest {})
        .await
        .expect("an answer")
        .into_inner();
    let model = answer.model.expect("a model");
    let identity = model.identity.expect("an identity");
    assert_eq!(
        (identity.id.as_str(), identity.sha256.len()),
        ("news-en", 64)
    );
    let labels = model.labels.expect("labels");
    assert_eq!(
        labels.types,
        ["quote", "background", "reaction", "boilerplate", "report"]
    );
    assert_eq!(labels.sentiments, ["negative", "neutral", "positive"]);
    assert_eq!(
        (model.languages, &answer.device[..4]),
        (vec!["eng".to_owned()], "cpu-")
    );
    assert_eq!(answer.limits.expect("limits").text_bytes, 1 << 20);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_answer() {
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let running = serve().await;
    let mut health = HealthClient::new(running.channel().await);
    for service in ["", server::SERVICE] {
        let mut serving = false;
        for _ in 0..100 {
            let request = HealthCheckRequest {
                service: service.to_owned(),
            };
            let status = health
                .check(request)
                .await
                .expect("a status")
                .into_inner()
                .status();
            serving = status == ServingStatus::Serving;
            if serving {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(serving, "{service:?} serves after the warm-up");
    }
    let mut reflection = ServerReflectionClient::new(running.channel().await);
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answer = reflection
        .server_reflection_info(futures_util::stream::iter([list]))
        .await;
    let message = answer
        .expect("a stream")
        .into_inner()
        .message()
        .await
        .expect("a message");
    let Some(MessageResponse::ListServicesResponse(list)) =
        message.and_then(|m| m.message_response)
    else {
        panic!("no list of services");
    };
    assert!(list.service.iter().any(|s| s.name == server::SERVICE));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn first_sentences_come_while_the_rest_waits() {
    let config = Config {
        workers: 1,
        ..Config::default()
    };
    let classifier = classifier(tiny_model(), config);
    let engine = classifier.engine().clone();
    let running = Running::start(classifier, server::Config::default()).await;
    let mut client = running.client().await;
    let text = "The league met in Port Ellis and left again in the morning. ".repeat(3_000);
    let answered = || {
        engine
            .counters()
            .answered
            .load(std::sync::atomic::Ordering::Relaxed)
    };
    let mut stream = client
        .classify_article(request(article("a", &text)))
        .await
        .expect("admitted")
        .into_inner();
    stream.message().await.expect("a first sentence");
    let at_first = answered();
    while stream.message().await.expect("the rest").is_some() {}
    let at_last = answered();
    assert!(at_first * 4 < at_last, "{at_first} of {at_last} windows");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_server_ends_a_corpus_after_what_it_accepted() {
    let status = of_a_draining_server().await;
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(details(&status).0, "DRAINING");
}

/// How a corpus ends whose server stops, after what was accepted has been answered.
async fn of_a_draining_server() -> Status {
    use classify_articles_response::Event;
    let running = serve().await;
    let mut client = running.client().await;
    let (send, articles) = tokio::sync::mpsc::channel(4);
    let corpus = |id: &str| pb::ClassifyArticlesRequest {
        article: Some(article(id, "The league met. It left.")),
        options: None,
    };
    send.send(corpus("a")).await.expect("open");
    let articles = tokio_stream::wrappers::ReceiverStream::new(articles);
    let mut stream = client
        .classify_articles(articles)
        .await
        .expect("admitted")
        .into_inner();
    loop {
        let message = stream
            .message()
            .await
            .expect("an answer")
            .expect("no end yet");
        if matches!(message.event, Some(Event::Summary(_))) {
            break;
        }
    }
    let stopping = tokio::spawn(running.stop());
    let status = loop {
        // Each article before the server notices is answered; the stream then ends.
        let _ = send
            .send(corpus(&format!("{:?}", std::time::Instant::now())))
            .await;
        if let Err(status) = stream.message().await {
            break status;
        }
    };
    drop((stream, client, send));
    stopping.await.expect("the server ends");
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_lets_running_articles_end() {
    let running = serve().await;
    let mut client = running.client().await;
    let text = "The league met in Port Ellis and left again in the morning. ".repeat(60);
    let mut stream = client
        .classify_article(request(article("a", &text)))
        .await
        .expect("admitted")
        .into_inner();
    stream.message().await.expect("a first sentence");
    let stopping = tokio::spawn(running.stop());
    let mut summary = false;
    while let Some(message) = stream.message().await.expect("it is answered to its end") {
        summary |= matches!(
            message.event,
            Some(classify_article_response::Event::Summary(_))
        );
    }
    assert!(summary);
    drop((stream, client));
    stopping.await.expect("the server ends");
}
