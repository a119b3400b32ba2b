//! TLS of the server itself: certificates that are changed while it runs, clients that must show
//! one.

use std::path::PathBuf;
use std::process::{Command, Output};

use copydesk::grpc::tls::{Files, Tls};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use super::*;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("an authority")
}

/// A certificate and its key, in PEM.
fn signed(authority: &Authority, purpose: ExtendedKeyUsagePurpose) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
    params.extended_key_usages = vec![purpose];
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}

fn server_signed(authority: &Authority) -> (String, String) {
    signed(authority, ExtendedKeyUsagePurpose::ServerAuth)
}

/// A folder of a server's files.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    fn identity(&self, (certificate, key): &(String, String)) -> Files {
        Files {
            certificate: self.write("server.pem", certificate),
            key: self.write("server.key", key),
            client_ca: None,
        }
    }
}

fn config(files: Files) -> server::Config {
    server::Config {
        tls: Some(Tls::load(files).expect("sound files")),
        reload: Duration::from_millis(20),
        ..server::Config::default()
    }
}

async fn connect(
    running: &Running,
    authority: &Authority,
    identity: Option<&(String, String)>,
) -> Result<ClassifierServiceClient<Channel>, tonic::transport::Error> {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority.pem()));
    let tls = match identity {
        None => tls,
        Some((certificate, key)) => tls.identity(Identity::from_pem(certificate, key)),
    };
    let endpoint = Channel::from_shared(format!("https://{}", running.address)).expect("a URI");
    let channel = endpoint.tls_config(tls)?.connect().await?;
    Ok(ClassifierServiceClient::new(channel))
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_change_while_the_server_runs() {
    let folder = Folder::new();
    let (old, new) = (authority(), authority());
    let files = folder.identity(&server_signed(&old));
    let running = Running::start(tiny_classifier(), config(files)).await;
    let mut first = connect(&running, &old, None).await.expect("connected");
    let question = || request(article("a", "The league met."));
    ask(&mut first, question()).await.expect("an answer");
    connect(&running, &new, None).await.expect_err("not yet");

    folder.identity(&server_signed(&new));
    let mut tries = 0;
    while connect(&running, &new, None).await.is_err() {
        tries += 1;
        assert!(tries < 500, "the new certificate is not taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    connect(&running, &old, None).await.expect_err("no more");
    ask(&mut first, question())
        .await
        .expect("what was connected stays so");

    // A broken certificate, then a key of another: neither takes the place of what works.
    folder.write("server.pem", "-----BEGIN CERTIFICATE-----\nhalf");
    tokio::time::sleep(Duration::from_millis(150)).await;
    connect(&running, &new, None).await.expect("as before");
    folder.write("server.pem", &server_signed(&new).0);
    tokio::time::sleep(Duration::from_millis(150)).await;
    let mut last = connect(&running, &new, None).await.expect("as before");
    ask(&mut last, question()).await.expect("an answer");
    drop((first, last));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_show_a_certificate_where_the_server_asks_for_one() {
    let folder = Folder::new();
    let (servers, clients) = (authority(), authority());
    let files = Files {
        client_ca: Some(folder.write("clients.pem", &clients.pem())),
        ..folder.identity(&server_signed(&servers))
    };
    let running = Running::start(tiny_classifier(), config(files)).await;
    let own = signed(&clients, ExtendedKeyUsagePurpose::ClientAuth);
    let foreign = signed(&servers, ExtendedKeyUsagePurpose::ClientAuth);
    let question = || request(article("a", "The league met."));
    let mut client = connect(&running, &servers, Some(&own)).await.expect("in");
    ask(&mut client, question()).await.expect("an answer");
    for identity in [None, Some(&foreign)] {
        // In TLS 1.3 a client learns only after the handshake that it is refused.
        if let Ok(mut client) = connect(&running, &servers, identity).await {
            ask(&mut client, question()).await.expect_err("refused");
        }
    }

    let (ca, cert, key) = (
        folder.write("ca.pem", &servers.pem()),
        folder.write("client.pem", &own.0),
        folder.write("client.key", &own.1),
    );
    let text = folder.write("article.txt", "The league met in Port Ellis.");
    let url = format!("https://{}", running.address);
    let bundled = |with: &[&str], settings: &[(&str, &PathBuf)]| -> Output {
        Command::new(env!("CARGO_BIN_EXE_copydesk"))
            .args(["classify", "--server", &url, "--timeout", "60", "--tls-ca"])
            .arg(&ca)
            .args(with)
            .arg(&text)
            .envs(settings.iter().copied())
            .output()
            .expect("the executable")
    };
    let shown = |path: &PathBuf| path.display().to_string();
    let flags = ["--tls-cert", &shown(&cert), "--tls-key", &shown(&key)];
    let answered = bundled(&flags, &[]);
    assert_eq!(answered.status.code(), Some(0), "{answered:?}");
    let settings = [
        ("COPYDESK_CLIENT_TLS_CERT", &cert),
        ("COPYDESK_CLIENT_TLS_KEY", &key),
    ];
    assert_eq!(bundled(&[], &settings).status.code(), Some(0));
    let tries = bundled(&["--timeout", "3"], &[]);
    assert!(tries.status.code() != Some(0), "{tries:?}");
    drop(client);
    running.stop().await;
}

#[test]
fn files_that_cannot_be_used_are_told() {
    let folder = Folder::new();
    let one = authority();
    let good = folder.identity(&server_signed(&one));
    let check = |files: Files, expect: &[&str]| {
        let error = Tls::load(files).expect_err("unusable").to_string();
        assert!(expect.iter().all(|e| error.contains(e)), "{error}");
    };
    let with = |change: fn(&mut Files, PathBuf), path: PathBuf| {
        let mut files = good.clone();
        change(&mut files, path);
        files
    };
    let missing = folder.0.path().join("missing.pem");
    check(
        with(|f, p| f.certificate = p, missing),
        &["missing.pem", "No such file"],
    );
    let empty = || folder.write("empty.pem", "");
    check(
        with(|f, p| f.certificate = p, empty()),
        &["empty.pem", "holds no certificate"],
    );
    check(
        with(|f, p| f.key = p, empty()),
        &["empty.pem", "holds no private key"],
    );
    check(
        with(|f, p| f.client_ca = Some(p), empty()),
        &["empty.pem", "holds no certificate"],
    );
    let other = folder.write("other.key", &server_signed(&one).1);
    let expect = &["other.key", "is not the key of", "server.pem"];
    check(with(|f, p| f.key = p, other), expect);
}
