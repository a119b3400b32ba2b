//! Bearer tokens: who is let in, who is not, and what needs none.

use std::path::PathBuf;
use std::process::Command;

use copydesk::grpc::auth::Tokens;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

use super::*;

const TOKEN: &str = "correct-horse-battery";
const OTHER: &str = "staple-correct-horse";

/// A server that asks for tokens, and their file.
struct Guarded {
    running: Running,
    directory: tempfile::TempDir,
}

impl Guarded {
    async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("tokens");
        std::fs::write(&file, format!("# ours\n{TOKEN}\n")).expect("written");
        let config = server::Config {
            tokens: Some(Tokens::load(file).expect("tokens")),
            reload: Duration::from_millis(20),
            ..server::Config::default()
        };
        let running = Running::start(tiny_classifier(), config).await;
        Self { running, directory }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    async fn ask(&self, token: Option<&str>) -> Result<(), Status> {
        let mut client = self.running.client().await;
        let mut question = Request::new(request(article("a", "The league met.")));
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().expect("a header");
            question.metadata_mut().insert("authorization", value);
        }
        ask(&mut client, question).await.map(drop)
    }
}

/// What is said to a caller without a token.
pub(super) async fn of_a_stranger() -> Status {
    let guarded = Guarded::start().await;
    let status = guarded.ask(None).await.expect_err("a stranger");
    guarded.running.stop().await;
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_let_in_and_change_while_the_server_runs() {
    let guarded = Guarded::start().await;
    guarded.ask(Some(TOKEN)).await.expect("let in");
    for stranger in [None, Some(OTHER), Some("")] {
        let status = guarded.ask(stranger).await.expect_err("a stranger");
        assert_eq!(status.code(), Code::Unauthenticated);
        assert!(!format!("{status:?}").contains(OTHER), "{status:?}");
    }
    guarded.write("tokens", OTHER);
    let mut tries = 0;
    while guarded.ask(Some(OTHER)).await.is_err() {
        tries += 1;
        assert!(tries < 200, "the new token is not taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    guarded.ask(Some(TOKEN)).await.expect_err("no more");
    // An empty file lets nobody out.
    guarded.write("tokens", "");
    tokio::time::sleep(Duration::from_millis(150)).await;
    guarded.ask(Some(OTHER)).await.expect("as before");
    guarded.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_needs_no_token_and_reflection_does() {
    let guarded = Guarded::start().await;
    let mut health = HealthClient::new(guarded.running.channel().await);
    let check = health.check(HealthCheckRequest::default()).await;
    check.expect("a status without a token");
    let status = services(&guarded.running).await.expect_err("a stranger");
    assert_eq!(status.code(), Code::Unauthenticated);
    drop(health);
    guarded.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_can_be_off() {
    let config = server::Config {
        reflection: false,
        ..server::Config::default()
    };
    let running = Running::start(tiny_classifier(), config).await;
    let status = services(&running).await.expect_err("no such service");
    assert_eq!(status.code(), Code::Unimplemented);
    running.stop().await;
}

/// Asks for the services by reflection.
async fn services(running: &Running) -> Result<(), Status> {
    let mut client = ServerReflectionClient::new(running.channel().await);
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let requests = futures_util::stream::iter([list]);
    let answer = client.server_reflection_info(requests).await?;
    answer.into_inner().message().await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_may_ask_before_they_have_a_token() {
    let guarded = Guarded::start().await;
    let preflight = http1(
        &guarded.running,
        "OPTIONS /copydesk.v1.ClassifierService/GetModel HTTP/1.1\r\n\
         origin: https://example.com\r\n\
         access-control-request-method: POST\r\n\
         access-control-request-headers: authorization,content-type,x-grpc-web\r\n",
        &[],
    )
    .await;
    assert!(preflight.starts_with("HTTP/1.1 200"), "{preflight}");
    assert!(
        preflight.contains("access-control-allow-origin: *"),
        "{preflight}"
    );
    assert!(
        preflight.contains("access-control-allow-headers: authorization"),
        "{preflight}"
    );
    let call = |authorization: &str| {
        format!(
            "POST /copydesk.v1.ClassifierService/GetModel HTTP/1.1\r\n\
             origin: https://example.com\r\n{authorization}\
             content-type: application/grpc-web+proto\r\n\
             content-length: 5\r\n"
        )
    };
    let refused = http1(&guarded.running, &call(""), &[0; 5]).await;
    assert!(refused.starts_with("HTTP/1.1 200"), "{refused}");
    assert!(refused.contains("grpc-status: 16"), "{refused}");
    assert!(
        refused.contains("access-control-allow-origin: *"),
        "{refused}"
    );
    let token = format!("authorization: Bearer {TOKEN}\r\n");
    let answered = http1(&guarded.running, &call(&token), &[0; 5]).await;
    assert!(answered.contains("grpc-status:0"), "{answered}");
    guarded.running.stop().await;
}

/// One request over HTTP/1.1, and all that comes back.
pub(super) async fn http1(running: &Running, head: &str, body: &[u8]) -> String {
    http1_at(running.address, head, body).await
}

/// The same at any address.
pub(super) async fn http1_at(address: SocketAddr, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let head = format!("{head}host: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(body).await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bundled_client_brings_its_token() {
    let guarded = Guarded::start().await;
    let text = guarded.write("article.txt", "The league met in Port Ellis.");
    let own = guarded.write("own", &format!("# for the desk\n{TOKEN}\n"));
    let other = guarded.write("other", OTHER);
    let url = format!("http://{}", guarded.running.address);
    let classify = |flags: &[&str], settings: &[(&str, &PathBuf)]| {
        Command::new(env!("CARGO_BIN_EXE_copydesk"))
            .args(["classify", "--server", &url, "--timeout", "60"])
            .args(flags)
            .arg(&text)
            .envs(settings.iter().copied())
            .output()
            .expect("the executable")
    };
    let flag = |file: &PathBuf| classify(&["--token-file", &file.display().to_string()], &[]);
    assert_eq!(flag(&own).status.code(), Some(0));
    let by_variable = classify(&[], &[("COPYDESK_TOKEN_FILE", &own)]);
    assert_eq!(by_variable.status.code(), Some(0));
    for refused in [flag(&other), classify(&[], &[])] {
        assert_eq!(refused.status.code(), Some(1));
        let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(stderr.contains("no valid token"), "{stderr}");
        assert!(!stderr.contains(OTHER), "{stderr}");
    }
    guarded.running.stop().await;
}
