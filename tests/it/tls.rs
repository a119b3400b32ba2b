//! `copydesk classify --server https://…` against a server with a certificate that no public
//! authority has signed.

use std::path::PathBuf;
use std::process::{Command, Output};

use copydesk::grpc::Service;
use copydesk::grpc::pb::classifier_service_server::ClassifierServiceServer;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Identity, Server, ServerTlsConfig};

use crate::support::tiny_classifier;

/// A server that shows a certificate of an authority made for this test.
struct Secured {
    url: String,
    directory: tempfile::TempDir,
    /// The authority's certificate.
    ca: PathBuf,
    /// The server's key: PEM, but no certificate.
    key: PathBuf,
    server: tokio::task::JoinHandle<()>,
}

impl Secured {
    async fn start() -> Self {
        // One test is the first; the others find it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authority = authority();
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()])
            .and_then(|params| params.signed_by(&key, &authority))
            .expect("a certificate");
        let identity = Identity::from_pem(certificate.pem(), key.serialize_pem());
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, pem: String| {
            let path = directory.path().join(name);
            std::fs::write(&path, pem).expect("written");
            path
        };
        let (ca, key) = (
            write("ca.pem", authority.pem()),
            write("key.pem", key.serialize_pem()),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("https://{}", listener.local_addr().expect("an address"));
        let service = ClassifierServiceServer::new(Service::new(tiny_classifier(), 8 << 20, 64));
        let server = Server::builder()
            .tls_config(ServerTlsConfig::new().identity(identity))
            .expect("TLS")
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { server.await.expect("serves") });
        Self {
            url,
            directory,
            ca,
            key,
            server,
        }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path
    }

    /// Asks a server about an article of one sentence.
    fn classify(&self, url: &str, ca: &[&str], settings: &[(&str, &str)]) -> Output {
        let article = self.file("article.txt", b"The league met in Port Ellis.");
        Command::new(env!("CARGO_BIN_EXE_copydesk"))
            .env_remove("COPYDESK_TLS_CA")
            .args(["classify", "--server", url, "--timeout", "60"])
            .args(ca)
            .arg(article)
            .envs(settings.iter().copied())
            .output()
            .expect("the executable")
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("an authority")
}

fn answers(output: &Output) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("The league met in Port Ellis."));
}

/// Ends with `code`, and says all of `expect` in one line.
fn fails(output: &Output, code: i32, expect: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        expect.iter().all(|e| stderr.contains(e)),
        "{stderr} should say {expect:?}"
    );
    assert!(output.stdout.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_authority_is_trusted_where_it_is_named() {
    let secured = Secured::start().await;
    let ca = secured.ca.display().to_string();
    answers(&secured.classify(&secured.url, &["--tls-ca", &ca], &[]));
    answers(&secured.classify(&secured.url, &[], &[("COPYDESK_TLS_CA", &ca)]));
    // A file may hold several, such as the old one and the new one of a change.
    let both = [
        authority().pem(),
        authority().pem(),
        std::fs::read_to_string(&ca).expect("PEM"),
    ];
    let both = secured.file("both.pem", both.concat().as_bytes());
    answers(&secured.classify(
        &secured.url,
        &["--tls-ca", &both.display().to_string()],
        &[],
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_is_trusted() {
    let secured = Secured::start().await;
    let other = secured.file("other.pem", authority().pem().as_bytes());
    let other = other.display().to_string();
    let unknown = &["article.txt: ", "invalid peer certificate"];
    fails(&secured.classify(&secured.url, &[], &[]), 1, unknown);
    fails(
        &secured.classify(&secured.url, &["--tls-ca", &other], &[]),
        1,
        unknown,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_authority_is_told() {
    let secured = Secured::start().await;
    let check = |file: &PathBuf, expect: &str| {
        let name = file.display().to_string();
        let output = secured.classify(&secured.url, &["--tls-ca", &name], &[]);
        fails(&output, 1, &["--tls-ca", &name, expect]);
    };
    check(
        &secured.directory.path().join("nothing.pem"),
        "No such file",
    );
    check(&secured.file("empty.pem", b""), "holds no certificate");
    check(
        &secured.file("binary.pem", &[0xff; 64]),
        "holds no certificate",
    );
    check(&secured.key, "holds no certificate");
    let pem = std::fs::read_to_string(&secured.ca).expect("PEM");
    let cut = &pem[..pem.len() / 2];
    check(
        &secured.file("cut.pem", cut.as_bytes()),
        "is no PEM at certificate 1",
    );
    let other = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    let second = secured.file("second.pem", [&pem, other].concat().as_bytes());
    check(&second, "certificate 2 is none");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_needs_no_authority() {
    let secured = Secured::start().await;
    let ca = secured.ca.display().to_string();
    let url = secured.url.replace("https://", "http://");
    let output = secured.classify(&url, &["--tls-ca", &ca], &[]);
    fails(&output, 2, &[&url, "use https:// or leave --tls-ca out"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_for_a_name() {
    let secured = Secured::start().await;
    let ca = secured.ca.display().to_string();
    let ca = ["--tls-ca", &*ca];
    // The certificate is for 127.0.0.1.
    let url = secured.url.replace("127.0.0.1", "localhost");
    let wrong = &["invalid peer certificate", "not valid for name"];
    fails(&secured.classify(&url, &ca, &[]), 1, wrong);
    let name = [ca[0], ca[1], "--tls-server-name", "127.0.0.1"];
    answers(&secured.classify(&url, &name, &[]));
    let variable = [("COPYDESK_TLS_SERVER_NAME", "copydesk.example")];
    fails(&secured.classify(&secured.url, &ca, &variable), 1, wrong);
    let plain = secured.url.replace("https://", "http://");
    let leave = &["leave --tls-server-name out"];
    fails(&secured.classify(&plain, &name[2..], &[]), 2, leave);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_tokens_that_are_none_are_told() {
    let secured = Secured::start().await;
    let (ca, key) = (&secured.ca, &secured.key);
    let show = |path: &PathBuf| path.display().to_string();
    let ask = |url: &str, flags: &[&str]| secured.classify(url, flags, &[]);
    let flags = ["--tls-cert", &show(key), "--tls-key", &show(key)];
    let expect = &["--tls-cert", "key.pem", "holds no certificate"];
    fails(&ask(&secured.url, &flags), 1, expect);
    let flags = ["--tls-cert", &show(ca), "--tls-key", &show(ca)];
    let expect = &["--tls-key", "ca.pem", "holds no private key"];
    fails(&ask(&secured.url, &flags), 1, expect);
    let alone = ask(&secured.url, &["--tls-cert", &show(ca)]);
    assert_eq!(alone.status.code(), Some(2), "a certificate without a key");
    let plain = secured.url.replace("https://", "http://");
    let flags = ["--tls-cert", &show(ca), "--tls-key", &show(key)];
    let expect = &[&*plain, "leave --tls-cert and --tls-key out"];
    fails(&ask(&plain, &flags), 2, expect);

    let token = |text: &str| show(&secured.file("token", text.as_bytes()));
    let flags = ["--token-file", &token("# none\n")];
    let expect = &["--token-file", "holds no token"];
    fails(&ask(&plain, &flags), 1, expect);
    let flags = ["--token-file", &token("two words")];
    fails(&ask(&plain, &flags), 1, &["visible ASCII"]);
    let flags = ["--token-file", &token("correct-horse-battery")];
    let output = ask("http://192.0.2.1:50051", &flags);
    fails(&output, 2, &["could read the token", "use https://"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("horse"));
}
