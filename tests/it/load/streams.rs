//! Streams that stop, break or go on for long: memory stays flat and nothing is left behind.

use std::time::Duration;

use copydesk::grpc::pb;
use copydesk::grpc::pb::classifier_service_client::ClassifierServiceClient;
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use prost::Message;
use prost::bytes::{BufMut, Bytes, BytesMut};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tonic::codegen::http::Request;

use super::{Line, SENTENCE, Stand, corpus};
use crate::service::{article, ask, request};

/// Articles as fast as they are taken.
fn endless(text: String) -> impl tokio_stream::Stream<Item = pb::ClassifyArticlesRequest> {
    tokio_stream::iter((0..).map(move |n| corpus(article(&format!("a{n}"), &text))))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_holds_nothing_that_others_wait_for() {
    let stand = Stand::plain().await;
    let mut lines = Vec::new();
    for _ in 0..8 {
        let mut line = stand.raw().await;
        let articles = endless(SENTENCE.repeat(100));
        let stream = line.client.classify_articles(articles).await;
        lines.push((stream.expect("admitted"), line));
    }
    // Work goes on until what the transport buffers is full; then nothing is queued any more.
    let mut last = None;
    while last != Some(stand.count()) || stand.engine.queued_tokens() > 0 {
        last = Some(stand.count());
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(stand.gauges.corpora(), 8);
    assert!(stand.engine.articles() <= 8, "one article each");
    let mut client = stand.running.client().await;
    ask(&mut client, request(article("x", "Short.")))
        .await
        .expect("an answer");
    for (stream, line) in lines {
        line.cut();
        drop(stream);
    }
    drop(client);
    stand.settles().await;
    stand.running.stop().await;
}

#[derive(Clone, Copy, Debug)]
enum Leave {
    HalfClose,
    Reset,
    HangUp,
}

/// How far a call has come.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Headers are sent.
    Opened,
    /// And half a message.
    Half,
    /// And all of it.
    Sent,
    /// And some of the answer is read.
    Reading,
    /// A short article is answered; a corpus now waits for the next.
    Between,
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_leaves_in_any_phase_leaves_nothing_behind() {
    let stand = Stand::plain().await;
    let long = SENTENCE.repeat(1_000);
    for method in ["ClassifyArticle", "ClassifyArticles"] {
        for phase in [
            Phase::Opened,
            Phase::Half,
            Phase::Sent,
            Phase::Reading,
            Phase::Between,
        ] {
            for leave in [Leave::HalfClose, Leave::Reset, Leave::HangUp] {
                let mut call = Call::open(&stand, method).await;
                let text = match phase {
                    Phase::Between => "Short.",
                    _ => &long,
                };
                let message = match method {
                    "ClassifyArticle" => frame(&request(article("a", text))),
                    _ => frame(&corpus(article("a", text))),
                };
                match phase {
                    Phase::Opened => {}
                    Phase::Half => call.send(message.slice(..message.len() / 2)),
                    Phase::Sent => call.send(message),
                    Phase::Reading => {
                        call.send(message);
                        // A single article is read to its end before the answer begins.
                        if method == "ClassifyArticle" {
                            call.half_close();
                        }
                        call.read(5).await;
                    }
                    Phase::Between => {
                        call.send(message);
                        if method == "ClassifyArticle" {
                            call.half_close();
                        }
                        call.read(1).await;
                    }
                }
                match leave {
                    Leave::HalfClose => {
                        call.half_close();
                        call.read(usize::MAX).await;
                        assert!(call.connection.is_some());
                    }
                    Leave::Reset => call.send.send_reset(Reason::CANCEL),
                    Leave::HangUp => call.connection.take().expect("open").abort(),
                }
                println!("{method} {phase:?} {leave:?}");
                stand.settles().await;
            }
        }
    }
    stand.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_work_for_a_reader_that_stops() {
    let stand = Stand::plain().await;
    // Far more than the room that a client gives that has not read.
    let long = request(article("a", &SENTENCE.repeat(4_000)));
    let mut call = Call::open_within(&stand, "ClassifyArticle", "6S").await;
    call.send(frame(&long));
    call.half_close();
    // It goes on until the client's room is full.
    let mut last = None;
    while last != Some(stand.count()) || stand.engine.queued_tokens() > 0 {
        last = Some(stand.count());
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(stand.gauges.articles(), 1, "the deadline is still to come");
    stand
        .until("its work has ended", || {
            stand.engine.articles() == 0 && stand.gauges.articles() == 0
        })
        .await;
    assert!(call.connection.as_ref().is_some_and(|c| !c.is_finished()));
    drop(call);
    stand.settles().await;
    stand.running.stop().await;
}

/// A call in frames, on a connection of its own.
struct Call {
    send: SendStream<Bytes>,
    answer: Answer,
    connection: Option<JoinHandle<()>>,
    _requests: SendRequest<Bytes>,
}

enum Answer {
    Waiting(h2::client::ResponseFuture),
    Coming(RecvStream),
    Failed,
}

impl Call {
    async fn open(stand: &Stand, method: &str) -> Self {
        Self::open_within(stand, method, "").await
    }

    /// With a deadline, as gRPC writes it.
    async fn open_within(stand: &Stand, method: &str, timeout: &str) -> Self {
        let stream = TcpStream::connect(stand.running.address).await;
        let connected = h2::client::handshake(stream.expect("a connection")).await;
        let (mut requests, connection) = connected.expect("HTTP/2");
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        let uri = format!("{}copydesk.v1.ClassifierService/{method}", stand.origin());
        let request = Request::post(uri)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-timeout", timeout);
        let request = request.body(()).expect("a request");
        let (response, send) = requests.send_request(request, false).expect("open");
        let kind = method.len();
        stand
            .until("it is open", || {
                // The handler of a single article runs once its message is whole.
                kind == "ClassifyArticle".len() || stand.gauges.corpora() == 1
            })
            .await;
        Self {
            send,
            answer: Answer::Waiting(response),
            connection: Some(connection),
            _requests: requests,
        }
    }

    fn send(&mut self, bytes: Bytes) {
        self.send.send_data(bytes, false).expect("open");
    }

    fn half_close(&mut self) {
        // It may be closed already.
        let _ = self.send.send_data(Bytes::new(), true);
    }

    /// Reads so many frames of the answer, or to its end.
    async fn read(&mut self, frames: usize) {
        if let Answer::Waiting(response) = &mut self.answer {
            self.answer = match response.await {
                Ok(response) => Answer::Coming(response.into_body()),
                Err(_) => Answer::Failed,
            };
        }
        let Answer::Coming(body) = &mut self.answer else {
            return;
        };
        for _ in 0..frames {
            let Some(Ok(data)) = body.data().await else {
                return;
            };
            let _ = body.flow_control().release_capacity(data.len());
        }
    }
}

/// A message as gRPC frames it.
fn frame(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).expect("short"));
    message.encode(&mut bytes).expect("room");
    bytes.freeze()
}

/// The tests below look at a process of its own.
#[cfg(target_os = "linux")]
mod process {
    use std::path::Path;

    use super::*;
    use crate::serving::Server;

    fn resident_kib(server: &Server) -> u64 {
        let status = format!("/proc/{}/status", server.child.id());
        let status = std::fs::read_to_string(status).expect("a process");
        let line = status.lines().find(|l| l.starts_with("VmRSS:"));
        let digits = line.expect("VmRSS").split_whitespace().nth(1);
        digits.expect("a number").parse().expect("a number")
    }

    fn sockets(server: &Server) -> usize {
        let files = format!("/proc/{}/fd", server.child.id());
        let files = std::fs::read_dir(Path::new(&files)).expect("a process");
        let links = files
            .flatten()
            .filter_map(|f| std::fs::read_link(f.path()).ok());
        links
            .filter(|l| l.to_string_lossy().starts_with("socket:"))
            .count()
    }

    async fn client(server: &Server) -> ClassifierServiceClient<tonic::transport::Channel> {
        ClassifierServiceClient::connect(server.url.clone())
            .await
            .expect("a connection")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn readers_that_stop_cost_little_memory_and_no_connection_stays() {
        let server = Server::start();
        let mut first = client(&server).await;
        for _ in 0..3 {
            ask(&mut first, request(article("a", &SENTENCE.repeat(200))))
                .await
                .expect("an answer");
        }
        drop(first);
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (before, connected) = (resident_kib(&server), sockets(&server));
        let address = server.url.trim_start_matches("http://");
        let address = address.parse().expect("an address");
        let mut stalled = Vec::new();
        for _ in 0..16 {
            let mut line = Line::to(address).await;
            // 6 kB an article; far more than all buffers together.
            let stream = loop {
                let articles = endless(SENTENCE.repeat(100));
                match line.client.classify_articles(articles).await {
                    Ok(stream) => break stream,
                    // The others keep it busy.
                    Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                }
            };
            stalled.push((stream, line));
        }
        let mut last = 0;
        let mut same = 0;
        while same < 8 {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let now = resident_kib(&server);
            same = if now.abs_diff(last) < 256 {
                same + 1
            } else {
                0
            };
            last = now;
        }
        let each = last.saturating_sub(before) / 16;
        println!("{before} KiB before, {last} KiB with 16 readers that stopped: {each} KiB each");
        assert!(each < 4096, "{each} KiB a reader");
        assert!(sockets(&server) >= connected + 16);
        stalled.into_iter().for_each(|(_, line)| line.cut());
        for tries in 0.. {
            if sockets(&server) <= connected {
                break;
            }
            assert!(tries < 100, "connections stay");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn corpus_in_flat_memory(count: usize) {
        let server = Server::start();
        let mut client = client(&server).await;
        let articles = (0..count).map(|n| corpus(article(&format!("article-{n}"), "It rained.")));
        let articles = tokio_stream::iter(articles);
        let stream = client.classify_articles(articles).await.expect("admitted");
        let mut stream = stream.into_inner();
        let (mut answered, mut early, mut most) = (0, 0, 0);
        while let Some(message) = stream.message().await.expect("a message") {
            use pb::classify_articles_response::Event;
            match message.event.expect("an event") {
                Event::Sentence(_) => {}
                Event::Summary(_) => answered += 1,
                Event::Error(status) => panic!("{status:?}"),
            }
            if answered == count / 4 && early == 0 {
                early = resident_kib(&server);
            }
            if answered % 500 == 0 {
                most = most.max(resident_kib(&server));
            }
        }
        println!("{answered} articles: {early} KiB after a quarter, {most} KiB at most");
        assert_eq!(answered, count);
        // Ids are remembered to a bound; for so many it is 2 MiB.
        assert!(most < early + 4096, "{early} KiB, then {most} KiB");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_corpus_of_many_articles_takes_flat_memory() {
        corpus_in_flat_memory(4_000).await;
    }

    /// Some minutes in a debug build.
    #[ignore = "long; run by name"]
    #[tokio::test(flavor = "multi_thread")]
    async fn a_corpus_of_100_000_articles_takes_flat_memory() {
        corpus_in_flat_memory(100_000).await;
    }
}
