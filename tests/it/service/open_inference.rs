//! The Open Inference Protocol through a real socket: each method, each error, and that its answers are
//! those of our own service.

use std::collections::HashMap;

use copydesk::grpc::auth::Tokens;
use copydesk::grpc::open_inference::pb::grpc_inference_service_client::GrpcInferenceServiceClient;
use copydesk::grpc::open_inference::pb::infer_parameter::ParameterChoice;
use copydesk::grpc::open_inference::pb::model_infer_request::{
    InferInputTensor, InferRequestedOutputTensor,
};
use copydesk::grpc::open_inference::pb::model_infer_response::InferOutputTensor;
use copydesk::grpc::open_inference::pb::{self as kserve, InferParameter, InferTensorContents};
use copydesk::grpc::open_inference::{ARTICLES, SERVICE};
use serde_json::{Value, json};

use super::*;

type Kserve = GrpcInferenceServiceClient<Channel>;

/// Name and version of the fixture.
const MODEL: &str = "news-en";
const VERSION: &str = "fixture";

const SENTENCE: &str = "The league met in Port Ellis and left again in the morning. ";

/// Texts of different lengths.
const TEXTS: [&str; 3] = [
    "The league met in Port Ellis. “We go,” said Ida Brandt.\n\nOster 🦊 blamed Norland.",
    "It rained.",
    "Norland won. Oster lost. Nobody saw it.",
];

async fn kserve(running: &Running) -> Kserve {
    GrpcInferenceServiceClient::new(running.channel().await)
}

/// An input of typed contents.
fn input(name: &str, elements: &[&str]) -> InferInputTensor {
    InferInputTensor {
        name: name.to_owned(),
        datatype: "BYTES".to_owned(),
        shape: vec![elements.len() as i64],
        contents: Some(InferTensorContents {
            bytes_contents: elements.iter().map(|e| e.as_bytes().to_vec()).collect(),
            ..InferTensorContents::default()
        }),
        ..InferInputTensor::default()
    }
}

fn asking(inputs: &[InferInputTensor]) -> kserve::ModelInferRequest {
    kserve::ModelInferRequest {
        model_name: MODEL.to_owned(),
        id: "r1".to_owned(),
        inputs: inputs.to_vec(),
        ..kserve::ModelInferRequest::default()
    }
}

fn texts(texts: &[&str]) -> kserve::ModelInferRequest {
    asking(&[input("text", texts)])
}

/// The same, with its tensors as raw bytes.
fn raw(mut request: kserve::ModelInferRequest) -> kserve::ModelInferRequest {
    for input in &mut request.inputs {
        let contents = input.contents.take().expect("contents");
        let elements = contents.bytes_contents.into_iter();
        let bytes = elements.flat_map(|e| [&(e.len() as u32).to_le_bytes()[..], &e].concat());
        request.raw_input_contents.push(bytes.collect());
    }
    request
}

fn parameter(value: ParameterChoice) -> InferParameter {
    InferParameter {
        parameter_choice: Some(value),
    }
}

fn set(
    mut request: kserve::ModelInferRequest,
    name: &str,
    value: ParameterChoice,
) -> kserve::ModelInferRequest {
    request.parameters.insert(name.to_owned(), parameter(value));
    request
}

fn wanting(mut request: kserve::ModelInferRequest, names: &[&str]) -> kserve::ModelInferRequest {
    let output = |name: &&str| InferRequestedOutputTensor {
        name: (*name).to_owned(),
        parameters: HashMap::new(),
    };
    request.outputs = names.iter().map(output).collect();
    request
}

/// A response's tensors of typed contents.
struct Tensors(kserve::ModelInferResponse);

impl Tensors {
    fn names(&self) -> Vec<&str> {
        self.0.outputs.iter().map(|o| o.name.as_str()).collect()
    }

    /// Its contents, held to its shape and to `datatype`.
    fn get(&self, name: &str, datatype: &str) -> (&InferOutputTensor, &InferTensorContents) {
        let tensor = self.0.outputs.iter().find(|o| o.name == name);
        let tensor = tensor.expect(name);
        assert_eq!(tensor.datatype, datatype, "{name}");
        let contents = tensor.contents.as_ref().expect("contents");
        let have = match datatype {
            "BYTES" => contents.bytes_contents.len(),
            "FP32" => contents.fp32_contents.len(),
            _ => contents.int_contents.len(),
        };
        assert_eq!(have as i64, tensor.shape.iter().product::<i64>(), "{name}");
        (tensor, contents)
    }

    fn text(&self, name: &str) -> Vec<String> {
        let (_, contents) = self.get(name, "BYTES");
        let elements = contents.bytes_contents.iter().cloned();
        elements
            .map(|e| String::from_utf8(e).expect("UTF-8"))
            .collect()
    }

    fn ints(&self, name: &str) -> Vec<i32> {
        self.get(name, "INT32").1.int_contents.clone()
    }

    /// Rows of so many scores.
    fn rows<const N: usize>(&self, name: &str) -> Vec<[f32; N]> {
        let (tensor, contents) = self.get(name, "FP32");
        assert_eq!(tensor.shape[1], N as i64);
        let rows = contents.fp32_contents.chunks_exact(N);
        rows.map(|row| row.try_into().expect("a row")).collect()
    }

    fn answers(&self) -> Vec<Value> {
        let lines = self.text("answer").into_iter();
        lines
            .map(|line| serde_json::from_str(&line).expect("JSON"))
            .collect()
    }

    fn flag(&self, name: &str) -> Option<&ParameterChoice> {
        self.0.parameters.get(name)?.parameter_choice.as_ref()
    }
}

async fn infer(client: &mut Kserve, request: kserve::ModelInferRequest) -> Tensors {
    let answer = client.model_infer(request).await.expect("an answer");
    Tensors(answer.into_inner())
}

async fn refused(client: &mut Kserve, request: kserve::ModelInferRequest) -> Status {
    client.model_infer(request).await.expect_err("a refusal")
}

/// What is said to a caller who names another model.
pub(super) async fn of_an_unknown_model() -> Status {
    let running = serve().await;
    let request = kserve::ModelInferRequest {
        model_name: "resnet".to_owned(),
        ..texts(&["A."])
    };
    let status = refused(&mut kserve(&running).await, request).await;
    running.stop().await;
    status
}

/// What is said to a caller whose tensor is of another type.
pub(super) async fn of_a_strange_tensor() -> Status {
    let running = serve().await;
    let mut request = texts(&["A."]);
    request.inputs[0].datatype = "FP32".to_owned();
    let status = refused(&mut kserve(&running).await, request).await;
    running.stop().await;
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_and_its_model_describe_themselves() {
    let running = serve().await;
    let mut client = kserve(&running).await;
    let live = client.server_live(kserve::ServerLiveRequest {}).await;
    assert!(live.expect("an answer").into_inner().live);
    until_ready(&mut client).await;
    let ready = async |client: &mut Kserve, name: &str, version: &str| {
        let (name, version) = (name.to_owned(), version.to_owned());
        let asked = kserve::ModelReadyRequest { name, version };
        client
            .model_ready(asked)
            .await
            .expect("an answer")
            .into_inner()
            .ready
    };
    assert!(ready(&mut client, MODEL, "").await);
    assert!(ready(&mut client, MODEL, VERSION).await);
    assert!(!ready(&mut client, MODEL, "7").await);
    assert!(!ready(&mut client, "resnet", "").await);
    let server = client
        .server_metadata(kserve::ServerMetadataRequest {})
        .await;
    let server = server.expect("an answer").into_inner();
    assert_eq!(server.name, "copydesk");
    assert_eq!(server.version, env!("CARGO_PKG_VERSION"));
    assert!(
        server
            .extensions
            .contains(&"model_configuration".to_owned())
    );

    let asked = kserve::ModelMetadataRequest {
        name: MODEL.to_owned(),
        version: VERSION.to_owned(),
    };
    let model = client.model_metadata(asked).await.expect("an answer");
    let model = model.into_inner();
    assert_eq!(
        (model.name.as_str(), &model.versions[..]),
        (MODEL, &[VERSION.to_owned()][..])
    );
    let asked = kserve::ModelConfigRequest {
        name: MODEL.to_owned(),
        version: String::new(),
    };
    let config = client.model_config(asked).await.expect("an answer");
    let config = config.into_inner().config.expect("a configuration");
    assert_eq!(config.max_batch_size, 0);
    let optional: Vec<bool> = config.input.iter().map(|i| i.optional).collect();
    assert_eq!(optional, [false, true, true]);
    let value = |name: &str| config.parameters[name].string_value.as_str();
    assert_eq!(
        value("types"),
        "quote,background,reaction,boilerplate,report"
    );
    assert_eq!(value("max_text_bytes"), (1 << 20).to_string());

    // What is said of tensors is what comes.
    let answer = infer(&mut client, texts(&TEXTS)).await;
    let said: Vec<&str> = model.outputs.iter().map(|o| o.name.as_str()).collect();
    assert_eq!(said, answer.names());
    let said = config.output.iter().map(|o| o.name.as_str());
    assert!(said.eq(answer.names()));
    for (said, came) in model.outputs.iter().zip(&answer.0.outputs) {
        assert_eq!(said.datatype, came.datatype, "{}", said.name);
        assert_eq!(said.shape.len(), came.shape.len(), "{}", said.name);
        assert_eq!(said.shape[1..], came.shape[1..], "{}", said.name);
    }
    for (name, version) in [("resnet", ""), (MODEL, "7")] {
        let (name, version) = (name.to_owned(), version.to_owned());
        let asked = kserve::ModelMetadataRequest {
            name: name.clone(),
            version: version.clone(),
        };
        let status = client.model_metadata(asked).await.expect_err("none");
        assert_eq!(status.code(), Code::NotFound, "{status:?}");
        let asked = kserve::ModelConfigRequest { name, version };
        let status = client.model_config(asked).await.expect_err("none");
        assert_eq!(details(&status).0, "UNKNOWN_MODEL");
        assert!(status.message().contains("is not found"), "{status:?}");
    }
    drop(client);
    running.stop().await;
}

async fn until_ready(client: &mut Kserve) {
    for _ in 0..200 {
        let answer = client.server_ready(kserve::ServerReadyRequest {}).await;
        if answer.expect("an answer").into_inner().ready {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the server does not come to serve");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_our_own_service() {
    let running = serve().await;
    let mut client = kserve(&running).await;
    let parties = r#"[{"id": "o", "name": "Oster"}, {"id": "n", "name": "Norland"}]"#;
    let inputs = [
        input("text", &TEXTS),
        input("headline", &["", "Weather", ""]),
        input("parties", &[parties, "", parties]),
    ];
    let answer = infer(&mut client, asking(&inputs)).await;
    assert_eq!(answer.0.model_name, MODEL);
    assert_eq!(answer.0.model_version, VERSION);
    assert_eq!(answer.0.id, "r1");

    let mut ours = running.client().await;
    let named = |id: &str, name: &str| pb::Party {
        id: id.to_owned(),
        name: name.to_owned(),
        ..pb::Party::default()
    };
    let named = pb::PartyList {
        items: vec![named("o", "Oster"), named("n", "Norland")],
    };
    let (splits, pair_splits) = (answer.ints("sentence_splits"), answer.ints("pair_splits"));
    assert_eq!(splits, [0, 3, 4, 7]);
    let (spans, rows) = (
        answer.ints("sentence_spans"),
        answer.rows::<5>("type_scores"),
    );
    let (texts, kinds) = (answer.text("sentences"), answer.text("types"));
    let pair_rows = answer.ints("pair_sentences");
    let (ids, names) = (answer.text("pair_parties"), answer.text("pair_names"));
    let (labels, scores) = (
        answer.text("sentiments"),
        answer.rows::<3>("sentiment_scores"),
    );
    assert!(ids.len() >= 4, "{ids:?}");
    let mut pair = 0;
    for (index, text) in TEXTS.into_iter().enumerate() {
        let asked = pb::Article {
            headline: ["", "Weather", ""][index].to_owned(),
            parties: (index != 1).then(|| named.clone()),
            ..article("", text)
        };
        let (sentences, summary) = ask(&mut ours, request(asked)).await.expect("an answer");
        assert_eq!(pair_splits[index] as usize, pair);
        let first = splits[index] as usize;
        assert_eq!(splits[index + 1] as usize - first, sentences.len());
        for (row, sentence) in sentences.iter().enumerate().map(|(i, s)| (first + i, s)) {
            let span = sentence.span.as_ref().expect("a span");
            assert_eq!(texts[row], sentence.text);
            assert_eq!(spans[2 * row], span.code_point_start);
            assert_eq!(spans[2 * row + 1], span.code_point_end);
            let t = sentence.type_scores.as_ref().expect("scores");
            let expect = [t.quote, t.background, t.reaction, t.boilerplate, t.report];
            assert_eq!(rows[row], expect, "to the last bit");
            let kind = sentence.r#type().as_str_name().to_lowercase();
            assert_eq!(format!("sentence_type_{}", kinds[row]), kind);
            for party in &sentence.parties {
                assert_eq!(pair_rows[pair] as usize, row);
                assert_eq!((&ids[pair], &names[pair]), (&party.party_id, &party.name));
                let s = party.scores.as_ref().expect("scores");
                assert_eq!(scores[pair], [s.negative, s.neutral, s.positive]);
                let label = party.sentiment().as_str_name().to_lowercase();
                assert_eq!(format!("sentiment_{}", labels[pair]), label);
                pair += 1;
            }
        }
        let line = &answer.answers()[index];
        assert_eq!(line["id"], index.to_string());
        assert_eq!(
            line["sentences"].as_array().map(Vec::len),
            Some(sentences.len())
        );
        let told = summary.model.expect("a model").sha256;
        assert_eq!(line["model"]["sha256"], told.as_str());
    }
    assert_eq!(
        (*pair_splits.last().expect("an end") as usize, ids.len()),
        (pair, pair)
    );
    drop((client, ours));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tensors_go_as_they_came_and_only_those_asked_for() {
    let running = serve().await;
    let mut client = kserve(&running).await;
    let names = ["sentence_splits", "type_scores", "types", "type_scores"];
    let typed = infer(&mut client, wanting(texts(&TEXTS), &names)).await;
    assert_eq!(typed.names(), names[..3], "in their order, each once");
    assert!(typed.0.raw_output_contents.is_empty());

    let mut request = raw(wanting(texts(&TEXTS), &names));
    request.inputs[0].shape.push(1);
    let raw = infer(&mut client, request).await.0;
    assert!(raw.outputs.iter().all(|o| o.contents.is_none()));
    let [splits, scores, types] = &raw.raw_output_contents[..] else {
        panic!("{raw:?}");
    };
    let ints = splits.chunks_exact(4);
    let ints = ints.map(|c| i32::from_le_bytes(c.try_into().expect("four bytes")));
    assert!(ints.eq(typed.ints("sentence_splits")));
    let floats = scores.chunks_exact(4);
    let floats: Vec<f32> = floats
        .map(|c| f32::from_le_bytes(c.try_into().expect("four bytes")))
        .collect();
    assert_eq!(floats, typed.rows::<5>("type_scores").concat());
    let mut rest = &types[..];
    for kind in typed.text("types") {
        let (length, after) = rest.split_at(4);
        assert_eq!(length, (kind.len() as u32).to_le_bytes());
        let (bytes, after) = after.split_at(kind.len());
        assert_eq!(bytes, kind.as_bytes());
        rest = after;
    }
    assert!(rest.is_empty());
    drop(client);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_element_may_be_an_object() {
    let running = serve().await;
    let mut client = kserve(&running).await;
    let object = json!({
        "id": "a1",
        "headline": "Port Ellis",
        "sentences": ["Oster won.", "It rained."],
        "parties": [{"id": "o", "spans": [{"sentence": 0, "start": 0, "end": 5}]}],
    })
    .to_string();
    let request = wanting(
        texts(&[&object, "{Norland} is in braces."]),
        &["answer", "pair_parties"],
    );
    let status = refused(&mut client, request.clone()).await;
    assert!(
        status.message().starts_with("text[1]: is no article:"),
        "{status:?}"
    );
    let with = |value: &str| {
        let value = ParameterChoice::StringParam(value.to_owned());
        set(request.clone(), "input_format", value)
    };
    let plain = infer(&mut client, with("text")).await.answers();
    assert_eq!(plain[1]["sentences"][0]["text"], "{Norland} is in braces.");
    assert_eq!(plain[0]["id"], "0");
    refused(&mut client, with("json")).await;
    let status = refused(&mut client, with("yaml")).await;
    assert_eq!(
        details(&status),
        (
            "INVALID_TENSOR".into(),
            Some("parameters.input_format".into())
        )
    );

    let request = wanting(texts(&[&object]), &["answer", "pair_parties"]);
    let answer = infer(&mut client, request).await;
    let line = &answer.answers()[0];
    assert_eq!(line["id"], "a1");
    assert_eq!(line["sentences"][1]["text"], "It rained.");
    assert_eq!(answer.text("pair_parties"), ["o"]);

    for (name, value) in [("headline", "Another"), ("parties", "[]")] {
        let request = asking(&[input("text", &[&object]), input(name, &[value])]);
        let status = refused(&mut client, request).await;
        assert!(status.message().contains("as well"), "{status:?}");
    }
    // An empty list looks for no parties; an empty element says nothing.
    let request = asking(&[
        input("text", &["Oster met Norland.", "Oster met Norland."]),
        input("parties", &["[]", ""]),
    ]);
    let answer = infer(&mut client, request).await.answers();
    assert_eq!(answer[0]["parties"], json!([]));
    drop(client);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn confidence_is_a_parameter() {
    let running = serve().await;
    let mut client = kserve(&running).await;
    let with = |value| set(texts(&TEXTS), "min_confidence", value);
    for sure in [
        ParameterChoice::DoubleParam(1.0),
        ParameterChoice::Int64Param(1),
        ParameterChoice::StringParam("1.0".to_owned()),
    ] {
        let answer = infer(&mut client, with(sure)).await;
        assert!(answer.text("types").iter().all(|t| t == "unspecified"));
        assert!(answer.text("sentiments").iter().all(|t| t == "unspecified"));
    }
    let status = refused(&mut client, with(ParameterChoice::DoubleParam(1.5))).await;
    assert_eq!(
        details(&status),
        (
            "INVALID_MIN_CONFIDENCE".into(),
            Some("min_confidence".into())
        )
    );
    let status = refused(&mut client, with(ParameterChoice::BoolParam(true))).await;
    assert_eq!(details(&status).0, "INVALID_TENSOR");
    drop(client);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_by_name() {
    let running = serve().await;
    let mut client = kserve(&running).await;
    let change = |change: &dyn Fn(&mut kserve::ModelInferRequest)| {
        let mut request = texts(&["A.", "B."]);
        change(&mut request);
        request
    };
    let shape = |shape: &[i64]| change(&|r| r.inputs[0].shape = shape.to_vec());
    let raw_of = |bytes: &[u8]| {
        change(&|r| {
            r.inputs[0].contents = None;
            r.raw_input_contents = vec![bytes.to_vec()];
        })
    };
    let region = || {
        let name = ParameterChoice::StringParam("r".to_owned());
        HashMap::from([("shared_memory_region".to_owned(), parameter(name))])
    };
    let output = |name: &str, parameters: HashMap<String, InferParameter>| {
        change(&|r| {
            r.outputs = vec![InferRequestedOutputTensor {
                name: name.to_owned(),
                parameters: parameters.clone(),
            }];
        })
    };
    let class_count = HashMap::from([(
        "classification".to_owned(),
        parameter(ParameterChoice::Int64Param(3)),
    )]);
    let cases = [
        (asking(&[]), "text", "missing required input(s) ['text']"),
        (
            asking(&[input("text", &["A."]), input("TEXT", &["A."])]),
            "TEXT",
            "unexpected inference input 'TEXT' for model 'news-en'",
        ),
        (
            asking(&[input("text", &["A."]), input("text", &["A."])]),
            "text",
            "input 'text' already exists in request",
        ),
        (
            change(&|r| r.inputs[0].datatype = "INT64".to_owned()),
            "text",
            "data-type is 'INT64', but model 'news-en' expects 'BYTES'",
        ),
        (shape(&[]), "text", "unexpected shape for input 'text'"),
        (shape(&[1, 2]), "text", "got [1, 2]"),
        (shape(&[0]), "text", "got [0]"),
        (shape(&[-1]), "text", "got [-1]"),
        (shape(&[ARTICLES as i64 + 1]), "text", "n from 1 to 256"),
        (shape(&[3]), "text", "its shape says 3, its contents have 2"),
        (
            change(&|r| r.inputs[0].contents = None),
            "text",
            "its contents have 0",
        ),
        (
            asking(&[input("text", &["A.", "B."]), input("headline", &["H"])]),
            "headline",
            "has 1 elements, but 'text' has 2",
        ),
        (
            asking(&[input("text", &["A."]), input("parties", &["{}"])]),
            "parties[0]",
            "parties[0]: is no list of parties",
        ),
        (
            texts(&["A.", r#"{"id": "x"}"#]),
            "text[1]",
            "text[1]: has neither \"text\" nor \"sentences\"",
        ),
        (
            change(&|r| r.raw_input_contents = vec![b"\x01\0\0\0a".to_vec()]),
            "text",
            "contents field must not be specified when using raw_input_contents",
        ),
        (
            change(&|r| r.raw_input_contents = vec![Vec::new(); 2]),
            "raw_input_contents",
            "expected 1 raw input contents",
        ),
        (
            raw_of(b"\x01\0\0\0a\x01"),
            "text",
            "incomplete string length indicator",
        ),
        (
            raw_of(b"\x09\0\0\0a"),
            "text",
            "expecting string of length 9 but only 1",
        ),
        (
            raw_of(b"\x01\0\0\0a"),
            "text",
            "its shape says 2, its contents have 1",
        ),
        (
            raw_of(b"\x01\0\0\0a\x01\0\0\0\xff"),
            "text[1]",
            "text[1]: is not UTF-8: byte 0",
        ),
        (
            change(&|r| r.inputs[0].parameters = region()),
            "text",
            "shared memory",
        ),
        (output("types", region()), "outputs.types", "shared memory"),
        (
            output("types", class_count),
            "outputs.types",
            "cannot be asked for as a classification",
        ),
        (
            output("logits", HashMap::new()),
            "outputs.logits",
            "unexpected inference output 'logits' for model 'news-en'",
        ),
        (
            set(
                texts(&["A."]),
                "timeout",
                ParameterChoice::StringParam("5".into()),
            ),
            "parameters.timeout",
            "microseconds",
        ),
        (
            set(
                texts(&["A."]),
                "decoupled",
                ParameterChoice::BoolParam(true),
            ),
            "parameters.decoupled",
            "only ModelStreamInfer",
        ),
        (
            set(texts(&["A."]), "decoupled", ParameterChoice::Int64Param(1)),
            "parameters.decoupled",
            "a bool is allowed",
        ),
    ];
    for (request, field, message) in cases {
        let status = refused(&mut client, request).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains(message), "{message}: {status:?}");
        let expect = ("INVALID_TENSOR".to_owned(), Some(field.to_owned()));
        assert_eq!(details(&status), expect, "{status:?}");
    }
    for (name, version) in [("", ""), ("resnet", ""), (MODEL, "2")] {
        let request = kserve::ModelInferRequest {
            model_name: name.to_owned(),
            model_version: version.to_owned(),
            ..texts(&["A."])
        };
        let status = refused(&mut client, request).await;
        assert_eq!(status.code(), Code::NotFound, "{status:?}");
        assert!(status.message().starts_with("Request for unknown model: '"));
    }
    infer(&mut client, texts(&["It goes on."])).await;
    drop(client);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn articles_are_held_to_the_limits_each_and_together() {
    let limits = Limits {
        text_bytes: 1000,
        sentences: 20,
        headline_bytes: 100,
        ..Limits::default()
    };
    let config = server::Config {
        request_bytes: 8_000,
        ..server::Config::default()
    };
    let engine = tiny_classifier().engine().clone();
    let running = Running::start(Classifier::new(engine, limits), config).await;
    let mut client = kserve(&running).await;
    let long = "x".repeat(1001);
    let half = "x".repeat(600);
    let many = "It met. ".repeat(30);
    let some = "It met. ".repeat(12);
    let cases = [
        (texts(&["A.", " \n"]), "EMPTY_TEXT", "text[1]"),
        (texts(&["A.", &long]), "TEXT_TOO_LONG", "text[1]"),
        (texts(&[&half, &half]), "TEXT_TOO_LONG", "text"),
        (texts(&["A.", &many]), "TOO_MANY_SENTENCES", "text[1]"),
        (texts(&[&some, &some]), "TOO_MANY_SENTENCES", "text"),
        (
            asking(&[
                input("text", &["A.", "B."]),
                input("headline", &["", &"x".repeat(101)]),
            ]),
            "HEADLINE_TOO_LONG",
            "text[1].headline",
        ),
        (
            asking(&[
                input("text", &["A."]),
                input(
                    "parties",
                    &[r#"[{"id": "a", "name": "A"}, {"id": "a", "name": "B"}]"#],
                ),
            ]),
            "DUPLICATE_PARTY_ID",
            "text[0].parties[1].id",
        ),
    ];
    for (request, reason, field) in cases {
        let status = refused(&mut client, request).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        let expect = (reason.to_owned(), Some(field.to_owned()));
        assert_eq!(details(&status), expect, "{status:?}");
        assert!(
            status.message().starts_with(&format!("{field}: ")),
            "{status:?}"
        );
    }
    let status = refused(&mut client, texts(&[&"x".repeat(9_000)])).await;
    assert_eq!(status.code(), Code::OutOfRange, "the transport's own limit");
    infer(&mut client, texts(&["It goes on."])).await;
    drop(client);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_of_the_call_and_of_the_request_pass() {
    let running = serve().await;
    let mut client = kserve(&running).await;
    let long = SENTENCE.repeat(15_000);
    let mut slow = Request::new(texts(&[&long]));
    slow.set_timeout(Duration::from_millis(800));
    let status = client.model_infer(slow).await.expect_err("too slow");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert_eq!(details(&status).0, "DEADLINE_EXCEEDED");
    let slow = set(
        texts(&[&long]),
        "timeout",
        ParameterChoice::Int64Param(800_000),
    );
    let status = refused(&mut client, slow).await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert_eq!(details(&status).0, "DEADLINE_EXCEEDED");
    drop(client);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_told_with_when_to_come_back() {
    // A queue smaller than one window has never room for two articles at once.
    let config = Config {
        workers: 1,
        max_queue_tokens: 8,
        ..Config::default()
    };
    let running = Running::start(classifier(tiny_model(), config), server::Config::default()).await;
    let mut client = kserve(&running).await;
    until_ready(&mut client).await;
    let long = SENTENCE.repeat(2_000);
    let mut busy = kserve(&running).await;
    let work = tokio::spawn(async move {
        let request = texts(&[&long]);
        while busy.model_infer(request.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let mut status = None;
    while status.is_none() && !work.is_finished() {
        status = client
            .model_infer(texts(&["Short.", "Shorter."]))
            .await
            .err();
    }
    let status = status.expect("a refusal while the queue is full");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(details(&status).0, "QUEUE_FULL");
    assert!(status.get_details_retry_info().is_some());
    assert!(status.metadata().contains_key("grpc-retry-pushback-ms"));
    // A stream is refused by its first request, before its headers.
    let mut refused = None;
    while refused.is_none() && !work.is_finished() {
        let requests = futures_util::stream::iter([texts(&["Short."])]);
        refused = client.model_stream_infer(requests).await.err();
    }
    assert_eq!(refused.expect("a refusal").code(), Code::Unavailable);
    work.abort();
    drop(client);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_the_bound_are_refused() {
    let config = server::Config {
        calls: 0,
        ..server::Config::default()
    };
    let running = Running::start(tiny_classifier(), config).await;
    let mut client = kserve(&running).await;
    let status = refused(&mut client, texts(&["A."])).await;
    assert_eq!(details(&status).0, "QUEUE_FULL");
    drop(client);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_drains_is_live_and_not_ready() {
    let config = server::Config {
        drain_wait: Duration::from_secs(2),
        ..server::Config::default()
    };
    let running = Running::start(tiny_classifier(), config).await;
    let mut client = kserve(&running).await;
    until_ready(&mut client).await;
    // An open stream keeps the connection until it is told.
    let (send, requests) = tokio::sync::mpsc::channel(1);
    send.send(texts(&["A."])).await.expect("open");
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let stream = client.model_stream_infer(requests).await.expect("admitted");
    let mut stream = stream.into_inner();
    stream.message().await.expect("an answer").expect("one");
    let stopping = tokio::spawn(running.stop());
    let mut ready = true;
    for _ in 0..60 {
        let answer = client.server_ready(kserve::ServerReadyRequest {}).await;
        ready = answer.expect("an answer").into_inner().ready;
        if !ready {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!ready, "it drains");
    let asked = kserve::ModelReadyRequest {
        name: MODEL.to_owned(),
        version: String::new(),
    };
    let model = client.model_ready(asked).await.expect("an answer");
    assert!(!model.into_inner().ready);
    let live = client.server_live(kserve::ServerLiveRequest {}).await;
    assert!(live.expect("an answer").into_inner().live);
    infer(&mut client, texts(&["Until it stops it answers."])).await;
    let status = stream.message().await.expect_err("the end");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(details(&status).0, "DRAINING");
    drop((stream, client, send));
    stopping.await.expect("the server ends");
}

/// All responses to a stream of requests, and how it ended.
async fn stream(
    client: &mut Kserve,
    requests: impl tonic::IntoStreamingRequest<Message = kserve::ModelInferRequest>,
) -> (Vec<kserve::ModelStreamInferResponse>, Result<(), Status>) {
    let mut stream = match client.model_stream_infer(requests).await {
        Ok(stream) => stream.into_inner(),
        Err(status) => return (Vec::new(), Err(status)),
    };
    let mut responses = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(response)) => responses.push(response),
            Ok(None) => return (responses, Ok(())),
            Err(status) => return (responses, Err(status)),
        }
    }
}

fn numbered(id: &str, request: kserve::ModelInferRequest) -> kserve::ModelInferRequest {
    kserve::ModelInferRequest {
        id: id.to_owned(),
        ..request
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_answers_in_order_and_survives_bad_requests() {
    let running = serve().await;
    let mut client = kserve(&running).await;
    let requests = [
        numbered("a", texts(&["A.", " "])),
        numbered("b", texts(&TEXTS)),
        numbered(
            "c",
            kserve::ModelInferRequest {
                model_name: "resnet".to_owned(),
                ..texts(&["A."])
            },
        ),
        numbered("d", raw(wanting(texts(&["A."]), &["types"]))),
    ];
    let (responses, end) = stream(&mut client, futures_util::stream::iter(requests.clone())).await;
    end.expect("a clean end");
    let mut seen = Vec::new();
    for response in responses {
        let error = response.error_message;
        let tensors = Tensors(response.infer_response.expect("a response"));
        assert_eq!(
            tensors.flag("triton_final_response"),
            Some(&ParameterChoice::BoolParam(true))
        );
        let reason = match tensors.flag("reason") {
            Some(ParameterChoice::StringParam(reason)) => reason.clone(),
            _ => String::new(),
        };
        assert_eq!(error.is_empty(), reason.is_empty(), "{error}");
        let outputs = tensors.0.outputs.len();
        seen.push(format!("{} {outputs} {reason}", tensors.0.id));
    }
    assert_eq!(
        seen,
        ["a 0 EMPTY_TEXT", "b 12 ", "c 0 UNKNOWN_MODEL", "d 1 "]
    );

    // By Triton's header the first error ends the stream, with its status.
    let mut strict = Request::new(futures_util::stream::iter(
        [&requests[1], &requests[2], &requests[3]].map(Clone::clone),
    ));
    let yes = "true".parse().expect("a header");
    strict.metadata_mut().insert("triton_grpc_error", yes);
    let (responses, end) = stream(&mut client, strict).await;
    assert_eq!(responses.len(), 1);
    assert_eq!(end.expect_err("the error").code(), Code::NotFound);

    let (responses, end) = stream(&mut client, futures_util::stream::empty()).await;
    assert!(responses.is_empty() && end.is_ok());
    drop(client);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_one_deadline_and_each_request_may_have_its_own() {
    let running = serve().await;
    let mut client = kserve(&running).await;
    let long = SENTENCE.repeat(15_000);
    let hasty = set(
        texts(&[&long]),
        "timeout",
        ParameterChoice::Int64Param(300_000),
    );
    let requests = [texts(&["A."]), hasty, texts(&["B."])];
    let (responses, end) = stream(&mut client, futures_util::stream::iter(requests)).await;
    end.expect("a clean end");
    let errors: Vec<bool> = responses
        .iter()
        .map(|r| !r.error_message.is_empty())
        .collect();
    assert_eq!(errors, [false, true, false]);

    let requests = futures_util::stream::iter([texts(&["A."]), texts(&[&long])]);
    let mut slow = Request::new(requests);
    slow.set_timeout(Duration::from_millis(800));
    let (responses, end) = stream(&mut client, slow).await;
    assert_eq!(responses.len(), 1);
    assert_eq!(end.expect_err("too slow").code(), Code::DeadlineExceeded);
    drop(client);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sentences_come_one_by_one_if_asked_for() {
    let running = serve().await;
    let mut client = kserve(&running).await;
    let whole = infer(&mut client, texts(&TEXTS)).await;
    let decoupled = set(texts(&TEXTS), "decoupled", ParameterChoice::BoolParam(true));
    for empty_final in [false, true] {
        let flag = ParameterChoice::BoolParam(empty_final);
        let request = set(
            decoupled.clone(),
            "triton_enable_empty_final_response",
            flag,
        );
        let requests = futures_util::stream::iter([request]);
        let (responses, end) = stream(&mut client, requests).await;
        end.expect("a clean end");
        let mut responses: Vec<Tensors> = responses
            .into_iter()
            .map(|r| Tensors(r.infer_response.expect("a response")))
            .collect();
        let finals = responses
            .iter()
            .map(|t| t.flag("triton_final_response").cloned());
        let finals: Vec<_> = finals.collect();
        let last = finals.len() - 1;
        for (index, flag) in finals.into_iter().enumerate() {
            assert_eq!(flag, Some(ParameterChoice::BoolParam(index == last)));
        }
        if empty_final {
            let end = responses.pop().expect("an end");
            assert!(end.0.outputs.is_empty());
            assert_eq!(end.0.id, "r1");
        }
        // The pieces, put together, are the whole.
        let mut rows = Vec::new();
        let mut answers = whole.answers();
        let mut events = Vec::new();
        for response in &responses {
            let Some(ParameterChoice::Int64Param(article)) = response.flag("article") else {
                panic!("no article");
            };
            let Some(ParameterChoice::StringParam(event)) = response.flag("event") else {
                panic!("no event");
            };
            events.push(format!("{article} {event}"));
            rows.extend(response.rows::<5>("type_scores"));
            let answer = response.answers().remove(0);
            let whole = &mut answers[*article as usize];
            if event == "sentence" {
                assert_eq!(response.ints("sentence_splits"), [0, 1]);
                assert_eq!(
                    answer,
                    whole["sentences"][answer["index"].as_u64().expect("one") as usize]
                );
            } else {
                assert_eq!(response.ints("sentence_splits"), [0, 0]);
                let whole = whole.as_object_mut().expect("an object");
                whole.remove("sentences").expect("not yet summed up");
                whole.remove("timings");
                let mut answer = answer;
                answer.as_object_mut().expect("an object").remove("timings");
                assert_eq!(answer, Value::Object(whole.clone()));
            }
        }
        let expect = [(0, 3), (1, 1), (2, 3)]
            .into_iter()
            .flat_map(|(article, count)| {
                let sentences = std::iter::repeat_n(format!("{article} sentence"), count);
                sentences.chain([format!("{article} summary")])
            });
        assert_eq!(events, expect.collect::<Vec<_>>());
        assert_eq!(rows, whole.rows::<5>("type_scores"));
    }
    drop(client);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn first_sentences_of_a_stream_come_while_the_rest_waits() {
    let config = Config {
        workers: 1,
        ..Config::default()
    };
    let classifier = classifier(tiny_model(), config);
    let engine = classifier.engine().clone();
    let answered = || {
        engine
            .counters()
            .answered
            .load(std::sync::atomic::Ordering::Relaxed)
    };
    let running = Running::start(classifier, server::Config::default()).await;
    let mut client = kserve(&running).await;
    let request = set(
        texts(&[&SENTENCE.repeat(3_000)]),
        "decoupled",
        ParameterChoice::BoolParam(true),
    );
    let stream = client
        .model_stream_infer(futures_util::stream::iter([request]))
        .await;
    let mut stream = stream.expect("admitted").into_inner();
    stream.message().await.expect("a first sentence");
    let at_first = answered();
    while stream.message().await.expect("the rest").is_some() {}
    let at_last = answered();
    assert!(at_first * 4 < at_last, "{at_first} of {at_last} windows");
    drop((stream, client));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_leaves_nothing_behind() {
    // Two long articles at once are let in, however busy the machine is.
    let config = Config {
        workers: 2,
        max_wait: Duration::from_secs(3600),
        ..Config::default()
    };
    let classifier = classifier(tiny_model(), config);
    let engine = classifier.engine().clone();
    let config = server::Config::default();
    let service = Service::new(classifier, config.request_bytes, config.calls);
    let gauges = service.gauges().clone();
    let running = Running::start_service(service, config).await;
    let mut client = kserve(&running).await;
    let long = SENTENCE.repeat(10_000);
    let answered = || {
        engine
            .counters()
            .answered
            .load(std::sync::atomic::Ordering::Relaxed)
    };
    let before = answered();
    let mut whole = client.clone();
    let request = texts(&[&long]);
    let asking = tokio::spawn(async move { whole.model_infer(request).await.map(drop) });
    let decoupled = set(
        texts(&[&long]),
        "decoupled",
        ParameterChoice::BoolParam(true),
    );
    let stream = client
        .model_stream_infer(futures_util::stream::iter([decoupled]))
        .await;
    let mut stream = stream.expect("admitted").into_inner();
    stream.message().await.expect("a first sentence");
    while gauges.articles() == 0 || answered() < before + 10 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    asking.abort();
    drop(stream);
    let mut left = usize::MAX;
    for _ in 0..400 {
        left = gauges.articles() + gauges.corpora() + engine.queued_tokens();
        left += engine.articles() as usize;
        if left == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!(left, 0, "the work goes on after the client left");
    drop(client);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_here_is_unimplemented() {
    let running = serve().await;
    let mut client = kserve(&running).await;
    let status = [
        client
            .model_statistics(kserve::ModelStatisticsRequest::default())
            .await
            .err(),
        client
            .repository_index(kserve::RepositoryIndexRequest::default())
            .await
            .err(),
        client
            .repository_model_load(kserve::RepositoryModelLoadRequest::default())
            .await
            .err(),
        client
            .repository_model_unload(kserve::RepositoryModelUnloadRequest::default())
            .await
            .err(),
        client
            .system_shared_memory_status(kserve::SystemSharedMemoryStatusRequest::default())
            .await
            .err(),
        client
            .system_shared_memory_register(kserve::SystemSharedMemoryRegisterRequest::default())
            .await
            .err(),
        client
            .system_shared_memory_unregister(kserve::SystemSharedMemoryUnregisterRequest::default())
            .await
            .err(),
        client
            .cuda_shared_memory_status(kserve::CudaSharedMemoryStatusRequest::default())
            .await
            .err(),
        client
            .cuda_shared_memory_register(kserve::CudaSharedMemoryRegisterRequest::default())
            .await
            .err(),
        client
            .cuda_shared_memory_unregister(kserve::CudaSharedMemoryUnregisterRequest::default())
            .await
            .err(),
        client
            .trace_setting(kserve::TraceSettingRequest::default())
            .await
            .err(),
        client
            .log_settings(kserve::LogSettingsRequest::default())
            .await
            .err(),
    ];
    for status in status {
        let status = status.expect("a refusal");
        assert_eq!(status.code(), Code::Unimplemented);
        assert!(!status.message().is_empty());
    }
    drop(client);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_need_no_token_and_all_else_does() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("tokens");
    std::fs::write(&file, "correct-horse-battery\n").expect("written");
    let config = server::Config {
        tokens: Some(Tokens::load(file).expect("tokens")),
        ..server::Config::default()
    };
    let running = Running::start(tiny_classifier(), config).await;
    let mut client = kserve(&running).await;
    until_ready(&mut client).await;
    let live = client.server_live(kserve::ServerLiveRequest {}).await;
    live.expect("no token needed");
    let asked = kserve::ModelReadyRequest::default();
    let requests = futures_util::stream::iter([texts(&["A."])]);
    let strangers = [
        client.model_ready(asked).await.err(),
        client
            .server_metadata(kserve::ServerMetadataRequest {})
            .await
            .err(),
        client.model_infer(texts(&["A."])).await.err(),
        client.model_stream_infer(requests).await.err(),
    ];
    for status in strangers {
        let status = status.expect("a stranger");
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(details(&status).0, "UNAUTHENTICATED");
    }
    let mut known = Request::new(texts(&["A."]));
    let token = "Bearer correct-horse-battery".parse().expect("a header");
    known.metadata_mut().insert("authorization", token);
    client.model_infer(known).await.expect("let in");
    drop(client);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_by_health_and_reflection_and_can_be_off() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;

    for on in [true, false] {
        let config = server::Config {
            open_inference: on,
            ..server::Config::default()
        };
        let running = Running::start(tiny_classifier(), config).await;
        let mut client = kserve(&running).await;
        let live = client.server_live(kserve::ServerLiveRequest {}).await;
        let code = live.map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!(code, if on { Code::Ok } else { Code::Unimplemented });
        let mut health = HealthClient::new(running.channel().await);
        let service = SERVICE.to_owned();
        let health = health.check(HealthCheckRequest { service }).await;
        let code = health.map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!(code, if on { Code::Ok } else { Code::NotFound });
        let services = services(&running).await;
        assert_eq!(services.iter().any(|s| s == SERVICE), on, "{services:?}");
        assert!(services.iter().any(|s| s == server::SERVICE));
        drop(client);
        running.stop().await;
    }
}

/// The services that reflection tells.
async fn services(running: &Running) -> Vec<String> {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let mut client = ServerReflectionClient::new(running.channel().await);
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let requests = futures_util::stream::iter([list]);
    let answer = client
        .server_reflection_info(requests)
        .await
        .expect("a stream");
    let message = answer.into_inner().message().await.expect("a message");
    match message.and_then(|m| m.message_response) {
        Some(MessageResponse::ListServicesResponse(list)) => {
            list.service.into_iter().map(|s| s.name).collect()
        }
        other => panic!("{other:?}"),
    }
}
