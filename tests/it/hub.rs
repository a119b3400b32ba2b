//! Models from the Hub: the real executable and its real download code against a server on
//! loopback that answers as the Hub does, and with no server at all.

mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use copydesk::model::files::Files;
use serde_json::Value;

use self::server::{FIRST, Fault, SECOND, Server};
use crate::support::{copy_of_fixture, fixture};

const SOURCE: &str = "hf://acme/tiny";

/// Settings of whoever runs the tests must not reach them.
const FOREIGN: [&str; 17] = [
    "ALL_PROXY",
    "COPYDESK_DEVICE",
    "COPYDESK_HUB_TIMEOUT",
    "COPYDESK_MODEL",
    "COPYDESK_SERVER",
    "HF_HUB_CACHE",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN",
    "HF_HUB_OFFLINE",
    "HF_TOKEN",
    "HF_TOKEN_PATH",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "HUGGINGFACE_HUB_CACHE",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// A machine with a cache of its own.
struct Machine {
    home: tempfile::TempDir,
    endpoint: String,
}

impl Machine {
    fn new(server: &Server) -> Self {
        Self {
            home: tempfile::tempdir().expect("a directory"),
            endpoint: server.endpoint(),
        }
    }

    fn run(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_copydesk"));
        for name in FOREIGN {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .env("COPYDESK_WORKERS", "1")
            .env("HF_HOME", self.home.path())
            .env("HF_ENDPOINT", &self.endpoint)
            .env("NO_PROXY", "*")
            .envs(settings.iter().copied())
            .output()
            .expect("the executable")
    }

    fn fetch(&self, source: &str) -> Output {
        self.run(&["model", "fetch", source], &[])
    }

    /// The revision of the model that answers.
    fn classify(&self, source: &str, settings: &[(&str, &str)]) -> Result<String, String> {
        let article = self.home.path().join("article.txt");
        std::fs::write(&article, "The league met in Port Ellis.").expect("written");
        let article = article.display().to_string();
        let arguments = ["classify", "--format", "jsonl", "--model", source, &article];
        let output = self.run(&arguments, settings);
        if !output.status.success() {
            return Err(stderr(&output));
        }
        let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        Ok(answer["model"]["revision"]
            .as_str()
            .expect("a revision")
            .to_owned())
    }

    fn repository(&self) -> PathBuf {
        self.home.path().join("hub/models--acme--tiny")
    }

    fn snapshot(&self, commit: &str) -> PathBuf {
        self.repository().join("snapshots").join(commit)
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn succeeds(output: Output) -> Output {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    output
}

/// Ends with 1, one line that says all of `expect`, and nothing on standard output.
fn fails(output: &Output, expect: &[&str]) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let last = text.lines().last().unwrap_or_default();
    assert!(last.starts_with("copydesk: "), "{text}");
    assert!(expect.iter().all(|e| last.contains(e)), "{text}{expect:?}");
    assert_eq!(stdout(output), "");
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("a file")
}

#[test]
fn fetch_lays_the_files_into_the_cache() {
    let server = Server::start();
    let machine = Machine::new(&server);
    let output = succeeds(machine.fetch(SOURCE));
    let directory = machine.snapshot(FIRST);
    assert_eq!(
        stdout(&output),
        format!("{}\n{FIRST}\n", directory.display())
    );
    for name in Files::NAMES {
        assert_eq!(
            read(&directory.join(name)),
            read(&fixture().join(name)),
            "{name}"
        );
    }
    assert_eq!(read(&directory.join("README.md")), b"# tiny\n");
    assert!(
        !directory.join("golden.json").exists(),
        "only what a model needs"
    );
    assert_eq!(
        read(&machine.repository().join("refs/main")),
        FIRST.as_bytes()
    );
    let text = stderr(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "a line a file: {text}");
    assert!(
        lines[2].starts_with("model.safetensors  166.4 kB, fetched"),
        "{text}"
    );
    assert!(!text.contains('\r'), "no terminal: {text}");
}

#[test]
fn what_is_in_the_cache_is_not_loaded_again() {
    let server = Server::start();
    let machine = Machine::new(&server);
    succeeds(machine.fetch(SOURCE));
    assert!(server.downloads() >= 4);
    let before = server.downloads();
    let output = succeeds(machine.fetch(SOURCE));
    assert_eq!(server.downloads(), before);
    assert!(stderr(&output).contains("model.safetensors  166.4 kB, was in the cache"));
    assert_eq!(machine.classify(SOURCE, &[]), Ok("fixture".into()));
    assert_eq!(server.downloads(), before);
    // A commit cannot change, so nobody is asked.
    let asked = server.requests().len();
    let pinned = format!("{SOURCE}@{FIRST}");
    assert_eq!(machine.classify(&pinned, &[]), Ok("fixture".into()));
    assert_eq!(server.requests().len(), asked);
}

#[test]
fn a_model_is_fetched_where_it_is_needed() {
    let server = Server::start();
    let machine = Machine::new(&server);
    assert_eq!(machine.classify(SOURCE, &[]), Ok("fixture".into()));
    assert_eq!(
        machine.classify(SOURCE, &[("HF_HUB_OFFLINE", "1")]),
        Ok("fixture".into())
    );
    let output = machine.run(&["model", "verify"], &[("COPYDESK_MODEL", SOURCE)]);
    assert!(stdout(&succeeds(output)).contains(FIRST));
}

#[test]
fn revisions_are_honoured() {
    let server = Server::start();
    let machine = Machine::new(&server);
    assert_eq!(
        machine.classify(&format!("{SOURCE}@v2"), &[]),
        Ok("second".into())
    );
    assert_eq!(
        machine.classify(&format!("{SOURCE}@{FIRST}"), &[]),
        Ok("fixture".into())
    );
    assert_eq!(machine.classify(SOURCE, &[]), Ok("fixture".into()));
    server.move_main(SECOND);
    let offline = [("HF_HUB_OFFLINE", "true")];
    assert_eq!(
        machine.classify(SOURCE, &offline),
        Ok("fixture".into()),
        "as it was"
    );
    assert_eq!(
        machine.classify(SOURCE, &[]),
        Ok("second".into()),
        "as it is"
    );
    assert_eq!(machine.classify(SOURCE, &offline), Ok("second".into()));
    let missing = machine.fetch("hf://acme/tiny@v3");
    fails(&missing, &["hf://acme/tiny@v3", "has no revision \"v3\""]);
    let show = machine.run(
        &["model", "show", "--format", "json", "hf://acme/tiny@v2"],
        &offline,
    );
    let shown: Value = serde_json::from_slice(&succeeds(show).stdout).expect("JSON");
    assert_eq!(shown["commit"], SECOND);
    assert_eq!(shown["source"], "hf://acme/tiny@v2");
    assert_eq!(shown["revision"], "second");
}

#[test]
fn the_token_is_sent() {
    let server = Server::start();
    server.fault(Fault::Token("s3cret"));
    let machine = Machine::new(&server);
    fails(&machine.fetch(SOURCE), &["hf://acme/tiny", "HF_TOKEN"]);
    let with = |token| machine.run(&["model", "fetch", SOURCE], &[("HF_TOKEN", token)]);
    fails(
        &with("wrong"),
        &["HF_TOKEN", "Invalid username or password"],
    );
    let from = server.requests().len();
    succeeds(with("s3cret"));
    let requests = server.requests();
    assert!(requests[from..].iter().all(|r| r.token == "Bearer s3cret"));
    // So is the one that `hf auth login` leaves.
    let other = Machine::new(&server);
    std::fs::write(other.home.path().join("token"), "s3cret\n").expect("written");
    succeeds(other.fetch(SOURCE));
}

#[test]
fn refusals_say_what_to_do() {
    let server = Server::start();
    let machine = Machine::new(&server);
    fails(
        &machine.fetch("hf://acme/nothing"),
        &["hf://acme/nothing", "no such repository"],
    );
    fails(
        &machine.fetch("hf://acme/half"),
        &[
            "hf://acme/half",
            "no model.safetensors",
            "no copydesk model",
        ],
    );
    assert_eq!(server.downloads(), 0, "what cannot be used is not loaded");
    server.fault(Fault::Gated);
    let access = format!("ask for access at {}/acme/tiny", server.endpoint());
    fails(&machine.fetch(SOURCE), &["gated", &access, "restricted"]);
    server.fault(Fault::Broken);
    fails(&machine.fetch(SOURCE), &["cannot reach the Hub", "500"]);
}

#[test]
fn wrong_sources_are_wrong_usage() {
    let server = Server::start();
    let machine = Machine::new(&server);
    let check = |arguments: &[&str], expect: &str| {
        let output = machine.run(arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(expect), "{}", stderr(&output));
    };
    check(&["model", "fetch", "hf://tiny"], "the owner is missing");
    check(&["model", "fetch", "hf://acme/tiny@"], "the revision is no");
    check(
        &["model", "fetch", "hf://acme/tiny@../../x"],
        "the revision is no",
    );
    check(
        &["classify", "--model", "hf://acme/tiny/x", "-"],
        "no name on the Hub",
    );
    check(
        &["serve", "--model", "https://hub/acme/tiny"],
        "hf://owner/name",
    );
    check(
        &["eval", "--data", "x", "--model", "hf://a b/c"],
        "no name on the Hub",
    );
    fails(
        &machine.fetch("tiny"),
        &["tiny names a directory", "hf://owner/name"],
    );
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn with_the_network_off_the_cache_answers() {
    let server = Server::start();
    let machine = Machine::new(&server);
    let empty = Machine::new(&server);
    succeeds(machine.fetch(SOURCE));
    drop(server);
    let offline = [("HF_HUB_OFFLINE", "1")];
    assert_eq!(machine.classify(SOURCE, &offline), Ok("fixture".into()));
    let output = succeeds(machine.run(&["model", "fetch", SOURCE, "--offline"], &[]));
    assert!(stdout(&output).contains(FIRST));
    // Not told to stay offline, but there is no Hub: the cache is better than nothing.
    let output = succeeds(machine.run(&["model", "verify", SOURCE], &[]));
    let expect = format!("using commit {FIRST} from the cache");
    assert!(stderr(&output).contains(&expect), "{}", stderr(&output));
    // Whoever asks for a fetch wants to know that there was none.
    fails(
        &machine.fetch(SOURCE),
        &["cannot reach the Hub at http://127.0.0.1", "refused"],
    );
    let how = "run `copydesk model fetch hf://acme/tiny`";
    let error = empty.classify(SOURCE, &offline).expect_err("nothing there");
    assert!(
        error.contains("not in the cache") && error.contains(how),
        "{error}"
    );
    fails(
        &empty.run(&["model", "verify", SOURCE], &[]),
        &["cannot reach the Hub"],
    );
    // A falsy setting is none.
    let output = machine.run(&["model", "fetch", SOURCE], &[("HF_HUB_OFFLINE", "0")]);
    fails(&output, &["cannot reach the Hub"]);
}

#[test]
fn a_download_that_breaks_off_leaves_no_model() {
    let server = Server::start();
    let machine = Machine::new(&server);
    let offline = [("HF_HUB_OFFLINE", "1")];
    for (fault, expect) in [
        (Fault::Hangup, "hf://acme/tiny"),
        (Fault::Short, "model.safetensors came damaged"),
        (Fault::Altered, "has SHA-256"),
        (Fault::ErrorPage, "came damaged"),
    ] {
        server.fault(fault);
        fails(&machine.fetch(SOURCE), &[expect]);
        assert!(
            !machine.snapshot(FIRST).join("model.safetensors").exists(),
            "{fault:?}"
        );
        assert!(
            !machine.repository().join("refs/main").exists(),
            "{fault:?}"
        );
        let error = machine.classify(SOURCE, &offline).expect_err("no model");
        assert!(error.contains("not in the cache"), "{error}");
    }
    server.fault(Fault::None);
    succeeds(machine.fetch(SOURCE));
    assert_eq!(machine.classify(SOURCE, &offline), Ok("fixture".into()));
}

#[test]
fn a_download_that_stalls_ends() {
    let server = Server::start();
    let machine = Machine::new(&server);
    let impatient = [("COPYDESK_HUB_TIMEOUT", "2")];
    let fetch = || machine.run(&["model", "fetch", SOURCE], &impatient);
    let endpoint = server.endpoint();
    for (path, expect) in [
        ("/api/", ["cannot reach the Hub", "no answer in 2 s"]),
        (
            "/acme/",
            ["config.json stopped coming", "not a byte in 2 s"],
        ),
        (
            "/cdn/",
            ["model.safetensors stopped coming", "not a byte in 2 s"],
        ),
    ] {
        server.fault(Fault::Stall(path));
        let began = Instant::now();
        fails(&fetch(), &[&[endpoint.as_str()], &expect[..]].concat());
        assert!(began.elapsed() < Duration::from_secs(20), "{path}");
        assert!(!machine.repository().join("refs/main").exists(), "{path}");
    }
    // Slow, but never still: twelve pauses are longer than the patience, none of them is.
    server.fault(Fault::Slow(200));
    succeeds(fetch());
    // With the model in the cache a Hub that stalls is like none.
    server.move_main(SECOND);
    server.fault(Fault::Stall("/acme/"));
    assert_eq!(machine.classify(SOURCE, &impatient), Ok("fixture".into()));
}

#[test]
fn fetch_mends_a_damaged_cache() {
    let server = Server::start();
    let machine = Machine::new(&server);
    succeeds(machine.fetch(SOURCE));
    for name in ["model.safetensors", "config.json"] {
        let path = machine.snapshot(FIRST).join(name);
        let bytes = read(&path);
        std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
        let offline = machine.run(&["model", "verify", "--offline", SOURCE], &[]);
        fails(&offline, &["cannot be used", name]);
        let output = succeeds(machine.fetch(SOURCE));
        let mended = stderr(&output)
            .lines()
            .any(|l| l.starts_with(name) && l.ends_with("fetched"));
        assert!(mended, "{}", stderr(&output));
        assert_eq!(read(&path), bytes);
    }
}

#[test]
fn verify_and_show_know_a_directory() {
    let server = Server::start();
    let machine = Machine::new(&server);
    let directory = fixture().display().to_string();
    let files = Files::read(&fixture()).expect("the fixture");
    let text = stdout(&succeeds(
        machine.run(&["model", "verify", &directory], &[]),
    ));
    for expect in [
        &*directory,
        "news-en",
        "fixture",
        &*files.sha256(),
        "model.safetensors",
    ] {
        assert!(text.contains(expect), "{expect} in {text}");
    }
    let text = stdout(&succeeds(machine.run(&["model", "show", &directory], &[])));
    for expect in [
        "newsroom, newsmtsc, newstsc",
        "64 tokens",
        "type 1.5, sentiment 1.25",
    ] {
        assert!(text.contains(expect), "{expect} in {text}");
    }
    let json = machine.run(&["model", "show", "--format", "json", &directory], &[]);
    let shown: Value = serde_json::from_slice(&succeeds(json).stdout).expect("JSON");
    assert_eq!(shown["sha256"], files.sha256());
    assert_eq!(shown["window_tokens"], 64);
    assert_eq!(shown["types"][0], "quote");
    assert_eq!(shown["temperatures"]["type"], 1.5);
    assert_eq!(shown["directory"], *directory);
    assert_eq!(shown["source"], Value::Null);
    assert!(shown["parameters"].as_u64().is_some_and(|n| n > 50_000));
    // The model inside the binary needs neither directory nor Hub.
    let inside = stdout(&succeeds(machine.run(&["model", "show"], &[])));
    assert!(inside.contains("inside the binary"), "{inside}");
    succeeds(machine.run(&["model", "verify"], &[]));
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn verify_and_show_refuse_a_damaged_directory() {
    let server = Server::start();
    let machine = Machine::new(&server);
    let copy = copy_of_fixture();
    let weights = copy.path().join("model.safetensors");
    let bytes = read(&weights);
    std::fs::write(&weights, &bytes[..bytes.len() - 100]).expect("written");
    let directory = copy.path().display().to_string();
    for command in ["verify", "show"] {
        let output = machine.run(&["model", command, &directory], &[]);
        fails(
            &output,
            &[&directory, "cannot be used", "model.safetensors"],
        );
    }
    std::fs::remove_file(&weights).expect("removed");
    let output = machine.run(&["model", "verify", &directory], &[]);
    fails(&output, &[&weights.display().to_string()]);
}
