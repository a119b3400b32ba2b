//! The address of the page: what is served there and what is refused, that calls pass the same gate
//! and limits as elsewhere, and that the service's own address knows nothing of it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use copydesk::grpc::auth::Tokens;
use copydesk::grpc::tls::{Files, Tls};
use copydesk::grpc::ui::Page;
use copydesk::render::html::Ui;
use prost::Message;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio_rustls::TlsConnector;

use super::auth::http1_at;
use super::*;
use crate::support::fixture;

const TOKEN: &str = "correct-horse-battery";

/// A server with a page.
struct Paged {
    running: Running,
    page: SocketAddr,
}

impl Paged {
    async fn start(config: server::Config) -> Self {
        let bind = || TcpListener::bind("127.0.0.1:0");
        let (service, listener) = (bind().await.expect("a port"), bind().await.expect("a port"));
        let page = listener.local_addr().expect("an address");
        let Ui { html, policy } = Ui::new();
        let shown = Page::new(html, &policy).expect("a policy");
        let listeners = server::Listeners {
            service,
            page: Some((listener, shown)),
        };
        let service = Service::new(tiny_classifier(), config.request_bytes, config.calls);
        let running = Running::start_at(listeners, service, config);
        Self { running, page }
    }

    async fn ask(&self, head: &str, body: &[u8]) -> String {
        http1_at(self.page, head, body).await
    }

    /// An article over grpc-web, with further headers.
    async fn classify(&self, headers: &str) -> String {
        let (head, body) = classify(headers);
        self.ask(&head, &body).await
    }
}

fn classify(headers: &str) -> (String, Vec<u8>) {
    let message =
        request(article("a", "The league met. “We go,” said Ida Brandt.")).encode_to_vec();
    let length = u32::try_from(message.len()).expect("short").to_be_bytes();
    let body = [&[0], &length[..], &message].concat();
    let head = format!(
        "POST /copydesk.v1.ClassifierService/ClassifyArticle HTTP/1.1\r\n{headers}\
         content-type: application/grpc-web+proto\r\ncontent-length: {}\r\n",
        body.len()
    );
    (head, body)
}

/// Without the body.
fn head(answer: &str) -> String {
    let (head, _) = answer.split_once("\r\n\r\n").expect("headers");
    head.to_ascii_lowercase()
}

/// What every answer from the page's address must say.
fn assert_guarded(answer: &str) {
    let head = head(answer);
    for header in [
        "x-content-type-options: nosniff",
        "x-frame-options: deny",
        "referrer-policy: no-referrer",
        "cross-origin-opener-policy: same-origin",
        "cross-origin-resource-policy: same-origin",
        "permissions-policy: camera=()",
        "cache-control: no-store",
        "content-security-policy: default-src 'none'; ",
    ] {
        assert!(head.contains(header), "{header}\n{head}");
    }
    assert!(!head.contains("access-control"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_served_with_its_policy() {
    let paged = Paged::start(server::Config::default()).await;
    let answer = paged.ask("GET / HTTP/1.1\r\n", &[]).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_guarded(&answer);
    let Ui { html, policy } = Ui::new();
    assert!(answer.ends_with(&html));
    let head = head(&answer);
    assert!(head.contains("content-type: text/html; charset=utf-8"));
    let said = format!("content-security-policy: {}", policy.to_ascii_lowercase());
    assert!(head.contains(&said), "{head}");
    for word in ["unsafe", "http:", "https:", " *"] {
        assert!(!policy.contains(word), "{policy}");
    }
    let headed = paged.ask("HEAD / HTTP/1.1\r\n", &[]).await;
    assert!(headed.starts_with("HTTP/1.1 200"), "{headed}");
    assert!(headed.ends_with("\r\n\r\n"), "{headed}");
    paged.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_else_is_refused() {
    let paged = Paged::start(server::Config::default()).await;
    let check = async |head: &str, expect: &str, allow: Option<&str>| {
        let answer = paged.ask(head, &[]).await;
        assert!(answer.starts_with(expect), "{head}{answer}");
        assert_guarded(&answer);
        let said = self::head(&answer);
        let said = said.lines().find_map(|line| line.strip_prefix("allow: "));
        assert_eq!(said, allow, "{answer}");
    };
    check("GET /page.js HTTP/1.1\r\n", "HTTP/1.1 404", None).await;
    check("GET /../secret HTTP/1.1\r\n", "HTTP/1.1 404", None).await;
    check("POST / HTTP/1.1\r\n", "HTTP/1.1 405", Some("get, head")).await;
    let call = "/copydesk.v1.ClassifierService/GetModel HTTP/1.1\r\n";
    let (get, typed) = (format!("GET {call}"), format!("POST {call}"));
    check(&get, "HTTP/1.1 405", Some("post")).await;
    check(&typed, "HTTP/1.1 415", None).await;
    // Other services are at the service's own address alone.
    let health = "POST /grpc.health.v1.Health/Check HTTP/1.1\r\n\
                  content-type: application/grpc-web+proto\r\n";
    check(health, "HTTP/1.1 404", None).await;
    // Another page asks whether it may call, and is told nothing that would let it.
    let preflight = format!(
        "OPTIONS {call}origin: https://example.com\r\n\
         access-control-request-method: POST\r\n\
         access-control-request-headers: content-type,x-grpc-web\r\n"
    );
    check(&preflight, "HTTP/1.1 405", Some("post")).await;
    paged.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_may_call() {
    let paged = Paged::start(server::Config::default()).await;
    let origin = format!("origin: http://{}\r\n", paged.page);
    let answer = paged.classify(&origin).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("said Ida Brandt."), "{answer}");
    assert!(answer.contains("grpc-status:0"), "{answer}");
    assert_guarded(&answer);
    // The service's own address has no page, and lets any page call.
    let (call, body) = classify(&origin);
    let answer = http1_at(paged.running.address, &call, &body).await;
    assert!(
        answer.contains("access-control-allow-origin: *"),
        "{answer}"
    );
    let answer = http1_at(paged.running.address, "GET / HTTP/1.1\r\n", &[]).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let mut client = paged.running.client().await;
    ask(&mut client, request(article("a", "The league met.")))
        .await
        .expect("gRPC beside the page");
    drop(client);
    paged.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_the_page_pass_the_gate() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("tokens");
    std::fs::write(&file, TOKEN).expect("written");
    let config = server::Config {
        tokens: Some(Tokens::load(file).expect("tokens")),
        ..server::Config::default()
    };
    let paged = Paged::start(config).await;
    let page = paged.ask("GET / HTTP/1.1\r\n", &[]).await;
    assert!(
        page.starts_with("HTTP/1.1 200"),
        "the page itself needs no token"
    );
    let refused = paged.classify("").await;
    assert!(refused.contains("grpc-status: 16"), "{refused}");
    assert!(!refused.contains("Ida Brandt"), "{refused}");
    assert_guarded(&refused);
    let token = format!("authorization: Bearer {TOKEN}\r\n");
    let answered = paged.classify(&token).await;
    assert!(answered.contains("grpc-status:0"), "{answered}");
    paged.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_the_page_count_among_all() {
    let config = server::Config {
        calls: 0,
        ..server::Config::default()
    };
    let paged = Paged::start(config).await;
    let refused = paged.classify("").await;
    assert!(refused.contains("grpc-status: 14"), "{refused}");
    assert!(refused.contains("grpc-retry-pushback-ms"), "{refused}");
    paged.running.stop().await;

    let config = server::Config {
        connections: std::sync::Arc::new(server::Connections::new(1)),
        ..server::Config::default()
    };
    let paged = Paged::start(config).await;
    let mut only = paged.running.client().await;
    let question = request(article("a", "The league met."));
    ask(&mut only, question).await.expect("an answer");
    assert!(!opens(&paged).await, "a second connection is let in");
    drop(only);
    paged.running.stop().await;
}

/// Whether the page's address takes a connection.
async fn opens(paged: &Paged) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(paged.page)
        .await
        .expect("a connection");
    let asked = stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut answer = [0; 8];
    asked.await.is_ok() && stream.read_exact(&mut answer).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_comes_over_tls_where_the_service_does() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let config = server::Config {
        tls: Some(
            Tls::load(Files {
                certificate: write("server.pem", made.cert.pem()),
                key: write("server.key", made.signing_key.serialize_pem()),
                client_ca: None,
            })
            .expect("sound files"),
        ),
        ..server::Config::default()
    };
    let paged = Paged::start(config).await;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a certificate");
    let client = ClientConfig::builder_with_provider(std::sync::Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .expect("versions")
    .with_root_certificates(roots)
    .with_no_client_auth();
    let connector = TlsConnector::from(std::sync::Arc::new(client));
    let stream = tokio::net::TcpStream::connect(paged.page).await;
    let name = ServerName::try_from("localhost").expect("a name");
    let mut stream = connector
        .connect(name, stream.expect("a connection"))
        .await
        .expect("TLS");
    let asked = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(asked).await.expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("</html>\n"));
    // Nothing in plain text: what comes back, if anything, is no HTTP.
    let mut plain = tokio::net::TcpStream::connect(paged.page)
        .await
        .expect("a connection");
    plain.write_all(asked).await.expect("sent");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    paged.running.stop().await;
}

/// A running `copydesk serve`; killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_says_where_the_page_is() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_copydesk"))
        .args(["serve", "--addr", "127.0.0.1:0", "--log-format", "json"])
        .args(["--ui", "127.0.0.1:0", "--workers", "1", "--model"])
        .arg(fixture())
        .stderr(Stdio::piped())
        .spawn()
        .map(Process)
        .expect("the executable");
    let mut lines = BufReader::new(child.0.stderr.take().expect("stderr")).lines();
    let page = lines.by_ref().find_map(|line| {
        let log: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        Some(log["fields"]["page"].as_str()?.to_owned())
    });
    std::thread::spawn(move || lines.for_each(drop));
    let page = page.expect("the page is logged");
    let address = page.strip_prefix("http://").expect("plain text");
    let address = address.trim_end_matches('/').parse().expect("an address");
    let answer = http1_at(address, "GET / HTTP/1.1\r\n", &[]).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
