//! Traces as a collector gets them: from a server through a socket, by OTLP.

use std::sync::{Arc, Mutex};

use copydesk::telemetry::Observer;
use copydesk::telemetry::traces::Traces;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use super::*;

const TRACE: [u8; 16] = [0x4b; 16];
const CALLER: [u8; 8] = [0x0f; 8];

/// Keeps all that it gets.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().expect("no panic").push(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

fn text(span: &Span, key: &str) -> Option<String> {
    let attribute = span.attributes.iter().find(|a| a.key == key)?;
    match attribute.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        other => panic!("{key} is {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_gets_a_span_a_call_under_the_callers() {
    let collector = Collector::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let service = TraceServiceServer::new(collector.clone());
    let collecting = Server::builder()
        .add_service(service)
        .serve_with_incoming(TcpListenerStream::new(listener));
    let collecting = tokio::spawn(collecting);

    let traces = Arc::new(Traces::new(&endpoint, 1.0).expect("an exporter"));
    let config = server::Config {
        observers: vec![Arc::clone(&traces) as Arc<dyn Observer>],
        ..server::Config::default()
    };
    let running = Running::start(tiny_classifier(), config).await;
    let mut client = running.client().await;
    let traced = |text: &str| {
        let mut request = Request::new(request(article("a", text)));
        let parent = format!("00-{}-{}-01", "4b".repeat(16), "0f".repeat(8));
        let metadata = request.metadata_mut();
        metadata.insert("traceparent", parent.parse().expect("a header"));
        let secret = "Bearer correct-horse-battery";
        metadata.insert("authorization", secret.parse().expect("a header"));
        request
    };
    let answered = ask(&mut client, traced("The league met in Port Ellis.")).await;
    answered.expect("an answer");
    ask(&mut client, traced(" "))
        .await
        .expect_err("an empty text");
    let untraced = request(article("c", "It left."));
    ask(&mut client, untraced).await.expect("an answer");
    drop(client);
    running.stop().await;
    let last = Arc::clone(&traces);
    let sent = tokio::task::spawn_blocking(move || last.shut_down());
    sent.await.expect("no panic");
    collecting.abort();

    let got = collector.0.lock().expect("no panic");
    let shown = format!("{got:?}");
    assert!(
        !shown.contains("league") && !shown.contains("horse"),
        "{shown}"
    );
    let resources = got.iter().flat_map(|r| &r.resource_spans);
    let spans: Vec<&Span> = resources
        .flat_map(|r| &r.scope_spans)
        .flat_map(|s| &s.spans)
        .collect();
    let (calls, stages): (Vec<&Span>, Vec<&Span>) = spans
        .into_iter()
        .partition(|s| s.kind() == SpanKind::Server);
    let [answered, refused, alone] = calls[..] else {
        panic!("{} calls: {shown}", calls.len());
    };
    let names = |call: &Span| -> Vec<&str> {
        let under = stages.iter().filter(|s| s.parent_span_id == call.span_id);
        under.map(|s| s.name.as_str()).collect()
    };
    assert_eq!(names(answered), ["cut", "queue", "encode"]);
    assert_eq!(names(refused), [""; 0], "nothing was done for it");
    assert_eq!(names(alone), ["cut", "queue", "encode"]);
    for stage in stages {
        assert_eq!(stage.kind(), SpanKind::Internal);
        let call = [answered, alone]
            .into_iter()
            .find(|call| call.span_id == stage.parent_span_id)
            .expect("a call");
        assert_eq!(stage.trace_id, call.trace_id);
        // The clock that runs evenly is told in the one that is set; a little may be lost.
        let slack = 5_000_000;
        assert!(stage.start_time_unix_nano + slack >= call.start_time_unix_nano);
        assert!(stage.start_time_unix_nano <= stage.end_time_unix_nano);
        assert!(stage.end_time_unix_nano <= call.end_time_unix_nano + slack);
    }
    for span in [answered, refused, alone] {
        assert_eq!(span.name, "copydesk.v1.ClassifierService/ClassifyArticle");
        assert_eq!(span.kind(), SpanKind::Server);
        assert_eq!(text(span, "rpc.system.name").as_deref(), Some("grpc"));
        assert_eq!(text(span, "rpc.method").as_deref(), Some(&*span.name));
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    }
    for span in [answered, refused] {
        assert_eq!(span.trace_id, TRACE);
        assert_eq!(span.parent_span_id, CALLER);
    }
    assert_ne!(alone.trace_id, TRACE);
    assert!(alone.parent_span_id.is_empty(), "{alone:?}");
    let code = |span| text(span, "rpc.response.status_code");
    assert_eq!(code(answered).as_deref(), Some("OK"));
    assert_eq!(answered.events.len(), 1, "the first message");
    assert_eq!(code(refused).as_deref(), Some("INVALID_ARGUMENT"));
    assert_eq!(
        text(refused, "copydesk.reason").as_deref(),
        Some("EMPTY_TEXT")
    );
    // The caller's mistake is no error of the server.
    let status = refused
        .status
        .as_ref()
        .map_or(StatusCode::Unset, |s| s.code());
    assert_eq!(status, StatusCode::Unset);
}
