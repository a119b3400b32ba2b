//! Every `ErrorReason` of the contract, provoked and read as a client reads it: in the details of
//! a status that came through the socket, with the code that the contract states.

use copydesk::grpc::pb::ErrorReason;
use copydesk::grpc::status;
use copydesk::model::files::Files;
use copydesk::model::{Model, Placement};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tonic_health::pb::health_check_response::ServingStatus;

use super::*;
use crate::support::fixture;

/// The contract itself: what it says of its reasons is what is tested.
const CONTRACT: &str = include_str!("../../../proto/copydesk/v1/error.proto");

const SENTENCE: &str = "The league met in Port Ellis and left again in the morning. ";

/// A reason as the contract has it.
#[derive(Debug)]
struct Stated {
    /// Without its prefix, as `ErrorInfo` carries it.
    name: String,
    /// The name of the code that it comes with.
    code: String,
    reason: ErrorReason,
}

/// All reasons of the contract but the one that is never sent.
fn stated() -> Vec<Stated> {
    let mut found = Vec::new();
    let mut comment = String::new();
    for line in CONTRACT.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("//") {
            comment.push_str(text);
            continue;
        }
        let comment = std::mem::take(&mut comment);
        let Some((name, number)) = line.split_once(" = ") else {
            continue;
        };
        let Some(name) = name.strip_prefix("ERROR_REASON_") else {
            continue;
        };
        let number = number.trim_end_matches(';').parse::<i32>();
        let number = number.expect("the number of a reason");
        let code = comment.trim().split('.').next().unwrap_or_default();
        found.push(Stated {
            name: name.to_owned(),
            code: code.to_owned(),
            reason: ErrorReason::try_from(number).expect("the generated enum has it"),
        });
    }
    found.retain(|stated| stated.reason != ErrorReason::Unspecified);
    found
}

/// The status with which a reason reaches a client. A reason that has no arm here does not
/// compile, so none comes into the contract without a test.
async fn provoke(reason: ErrorReason, client: &mut ClassifierServiceClient<Channel>) -> Status {
    let refused = match reason {
        ErrorReason::Unspecified => unreachable!("never sent"),
        ErrorReason::EmptyArticleId => return of_a_corpus(client, [article("", "A.")]).await,
        ErrorReason::DuplicateArticleId => {
            return of_a_corpus(client, ["A.", "B."].map(|text| article("a", text))).await;
        }
        ErrorReason::MissingText => pb::Article::default(),
        ErrorReason::EmptyText => article("a", " \n"),
        ErrorReason::TextTooLong => article("a", &"x".repeat(1001)),
        ErrorReason::TooManySentences => article("a", &"It met. ".repeat(30)),
        ErrorReason::EmptySentence => ready_cut(&["A.", " "]),
        ErrorReason::HeadlineTooLong => pb::Article {
            headline: "x".repeat(101),
            ..article("a", "A.")
        },
        ErrorReason::TooManyParties => with(["a", "b", "c"].map(party)),
        ErrorReason::TooManyAliases => with([pb::Party {
            aliases: vec!["x".into(); 4],
            ..party("a")
        }]),
        ErrorReason::TooManySpans => with([pb::Party {
            spans: (0..4).map(|start| span(start, start + 1)).collect(),
            ..party("a")
        }]),
        ErrorReason::TooManyMentions => pb::Article {
            content: article("a", &"It met. ".repeat(9)).content,
            ..with([pb::Party {
                name: "met".into(),
                ..party("a")
            }])
        },
        ErrorReason::EmptyPartyId => with([party(" ")]),
        ErrorReason::DuplicatePartyId => with(["a", "a"].map(party)),
        ErrorReason::EmptyName => with([pb::Party {
            name: " ".into(),
            ..party("a")
        }]),
        ErrorReason::NameTooLong => with([party(&"x".repeat(101))]),
        ErrorReason::InvalidSpan => with([pb::Party {
            spans: vec![span(3, 99)],
            ..party("a")
        }]),
        ErrorReason::InvalidMinConfidence => {
            let options = pb::ClassifyOptions {
                min_confidence: Some(1.5),
            };
            let strange = pb::ClassifyArticleRequest {
                options: Some(options),
                ..request(article("a", "A."))
            };
            return ask(client, strange).await.expect_err("no probability");
        }
        ErrorReason::QueueFull => return of_a_full_queue().await,
        ErrorReason::Draining => return of_a_draining_server().await,
        ErrorReason::DeadlineExceeded => return past_a_deadline().await,
        ErrorReason::ModelFailed => return of_a_failing_model().await,
        ErrorReason::Unauthenticated => return auth::of_a_stranger().await,
        ErrorReason::RequestTooSlow => return connections::of_a_slow_sender().await,
        ErrorReason::UnknownModel => return open_inference::of_an_unknown_model().await,
        ErrorReason::InvalidTensor => return open_inference::of_a_strange_tensor().await,
    };
    ask(client, request(refused)).await.expect_err("a refusal")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reason_reaches_the_client() {
    let limits = Limits {
        text_bytes: 1000,
        sentences: 20,
        parties: 2,
        aliases: 3,
        spans: 3,
        mentions: 5,
        name_bytes: 100,
        headline_bytes: 100,
    };
    let engine = tiny_classifier().engine().clone();
    let config = server::Config::default();
    let running = Running::start(Classifier::new(engine, limits), config).await;
    let mut client = running.client().await;
    let all = stated();
    assert!(all.len() >= 24, "{all:?}");
    for Stated { name, code, reason } in all {
        let status = provoke(reason, &mut client).await;
        assert_eq!(status::name(status.code()), code, "{name}: {status:?}");
        let (told, field) = details(&status);
        assert_eq!(told, name, "{status:?}");
        assert_eq!(field.is_some(), code == "INVALID_ARGUMENT", "{status:?}");
        let retry = status.get_details_retry_info();
        assert_eq!(retry.is_some(), reason == ErrorReason::QueueFull);
        assert!(!status.message().is_empty(), "{name} says nothing");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_article_that_the_model_fails_on_costs_only_itself() {
    use classify_articles_response::Event;
    let running = failing("from_start").await;
    let mut client = running.client().await;
    let long = SENTENCE.repeat(60);
    let articles = [
        article("a", SENTENCE),
        article("b", &long),
        article("c", SENTENCE),
    ];
    let mut seen = Vec::new();
    for message in corpus(&mut client, articles).await {
        let id = message.article_id;
        match message.event.expect("an event") {
            Event::Sentence(_) => seen.push(format!("{id} sentence")),
            Event::Summary(_) => seen.push(format!("{id} summary")),
            Event::Error(error) => {
                assert_eq!(error.code, Code::Internal as i32);
                seen.push(format!("{id} {}", reason(&error)));
            }
        }
    }
    // The beginning of the long one is answered before the model fails on what follows.
    seen.dedup();
    assert_eq!(
        seen,
        [
            "a sentence",
            "a summary",
            "b sentence",
            "b MODEL_FAILED",
            "c sentence",
            "c summary"
        ]
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_keeps_failing_takes_the_server_out_of_health() {
    let running = failing("from_end").await;
    let mut client = running.client().await;
    wait_for(&running, ServingStatus::Serving).await;
    for _ in 0..3 {
        let status = ask(&mut client, request(article("a", &SENTENCE.repeat(60)))).await;
        assert_eq!(status.expect_err("no answer").code(), Code::Internal);
    }
    wait_for(&running, ServingStatus::NotServing).await;
    ask(&mut client, request(article("b", SENTENCE)))
        .await
        .expect("what the model can answer it answers");
    wait_for(&running, ServingStatus::Serving).await;
    running.stop().await;
}

async fn wait_for(running: &Running, expect: ServingStatus) {
    let mut health = tonic_health::pb::health_client::HealthClient::new(running.channel().await);
    let mut last = ServingStatus::Unknown;
    for _ in 0..200 {
        let request = tonic_health::pb::HealthCheckRequest::default();
        let answer = health.check(request).await.expect("a status");
        last = answer.into_inner().status();
        if last == expect {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{last:?} instead of {expect:?}");
}

fn party(id: &str) -> pb::Party {
    pb::Party {
        id: id.into(),
        name: "Oster".into(),
        ..pb::Party::default()
    }
}

fn span(start: i32, end: i32) -> pb::PartySpan {
    let range = pb::OffsetRange { start, end };
    pb::PartySpan {
        offsets: Some(pb::party_span::Offsets::Bytes(range)),
        sentence_index: None,
    }
}

fn with<const N: usize>(parties: [pb::Party; N]) -> pb::Article {
    pb::Article {
        parties: Some(pb::PartyList {
            items: parties.to_vec(),
        }),
        ..article("a", "Oster met Norland.")
    }
}

fn ready_cut(sentences: &[&str]) -> pb::Article {
    let items = sentences.iter().map(|s| (*s).to_owned()).collect();
    pb::Article {
        content: Some(pb::article::Content::Sentences(pb::SentenceList { items })),
        ..pb::Article::default()
    }
}

/// All messages of a corpus that is answered to its end.
async fn corpus<const N: usize>(
    client: &mut ClassifierServiceClient<Channel>,
    articles: [pb::Article; N],
) -> Vec<pb::ClassifyArticlesResponse> {
    let requests = articles.map(|a| pb::ClassifyArticlesRequest {
        article: Some(a),
        options: None,
    });
    let requests = futures_util::stream::iter(requests);
    let stream = client.classify_articles(requests).await.expect("a stream");
    let mut stream = stream.into_inner();
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await.expect("the stream goes on") {
        messages.push(message);
    }
    messages
}

/// The error of the one article of a corpus that has one, as a status.
async fn of_a_corpus<const N: usize>(
    client: &mut ClassifierServiceClient<Channel>,
    articles: [pb::Article; N],
) -> Status {
    use classify_articles_response::Event;
    let messages = corpus(client, articles).await;
    let mut errors = messages.into_iter().filter_map(|m| match m.event {
        Some(Event::Error(error)) => Some(error),
        _ => None,
    });
    let error = errors.next().expect("an error");
    assert_eq!(errors.next(), None);
    let details = prost::Message::encode_to_vec(&error).into();
    Status::with_details(Code::from(error.code), error.message, details)
}

async fn past_a_deadline() -> Status {
    let running = serve().await;
    let mut client = running.client().await;
    let mut slow = Request::new(request(article("a", &SENTENCE.repeat(15_000))));
    slow.set_timeout(Duration::from_millis(800));
    let status = ask(&mut client, slow).await.expect_err("too slow");
    running.stop().await;
    status
}

async fn of_a_failing_model() -> Status {
    let running = failing("from_end").await;
    let mut client = running.client().await;
    let status = ask(&mut client, request(article("a", &SENTENCE.repeat(60)))).await;
    running.stop().await;
    status.expect_err("no answer")
}

/// A server over the fixture with a type head of huge weights: each weight is finite, but far from
/// one end of an article the logits are not. The server's own warm-up article is too short for it.
async fn failing(place: &str) -> Running {
    let mut files = Files::read(&fixture()).expect("fixture");
    files.weights = overflowing(&files.weights, place).into();
    let model = Model::load(&files, Placement::Cpu).expect("finite weights load");
    let config = Config {
        workers: 1,
        ..Config::default()
    };
    Running::start(classifier(model, config), server::Config::default()).await
}

fn overflowing(weights: &[u8], place: &str) -> Vec<u8> {
    const HUGE: f32 = 1e15;
    let tensors = SafeTensors::deserialize(weights).expect("the fixture's weights");
    let head = |name: &str| format!("heads.sentence_type.{name}.weight");
    let values = |count: usize, value: f32| value.to_le_bytes().repeat(count);
    let huge: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .tensors()
        .into_iter()
        .filter_map(|(name, tensor)| {
            let shape = tensor.shape().to_vec();
            let count = shape.iter().product();
            if name == head("dense") || name == head("out") {
                return Some((name, shape, values(count, HUGE)));
            }
            // The last row stands for the places farthest from that end.
            let width = *shape.last()?;
            let rows = [values(count - width, 0.0), values(width, HUGE)].concat();
            (name == head(place)).then_some((name, shape, rows))
        })
        .collect();
    assert_eq!(huge.len(), 3, "the type head is as it was");
    let mut all = tensors.tensors();
    for (name, shape, bytes) in &huge {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).expect("fits its shape");
        all.retain(|(other, _)| other != name);
        all.push((name.clone(), view));
    }
    safetensors::serialize(all, None).expect("serialised")
}
