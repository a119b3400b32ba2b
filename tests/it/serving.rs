//! `copydesk serve` and `copydesk classify --server` as processes of their own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::support::fixture;

/// A running `copydesk serve`; killed when dropped.
pub struct Server {
    pub child: Child,
    /// Where it listens.
    pub url: String,
}

impl Server {
    pub fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_copydesk"))
            .args(["serve", "--addr", "127.0.0.1:0", "--log-format", "json"])
            .args(["--workers", "1", "--model"])
            .arg(fixture())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the executable");
        let mut lines = BufReader::new(child.stderr.take().expect("stderr")).lines();
        let url = lines.by_ref().find_map(|line| {
            let log: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
            let address = log["fields"]["address"].as_str()?;
            Some(format!("http://{address}"))
        });
        // The server must never wait for a reader of its log.
        std::thread::spawn(move || lines.for_each(drop));
        let url = url.expect("the address is logged");
        Self { child, url }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn classify(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_copydesk"))
        .arg("classify")
        .args(arguments)
        .output()
        .expect("the executable")
}

/// Output less what is measured anew in every run.
fn untimed(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    let lines = text
        .lines()
        .map(|line| match line.split_once("\"timings\":") {
            Some((before, _)) => before.to_owned(),
            None if line.starts_with("model ") => {
                line.split(" in ").next().unwrap_or(line).to_owned()
            }
            None => line.to_owned(),
        });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_server_answers_as_this_process_does() {
    let server = Server::start();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/articles");
    let path = |name: &str| examples.join(name).display().to_string();
    let model = fixture().display().to_string();
    for format in ["jsonl", "text"] {
        let files = [
            path("diplomacy.txt"),
            path("articles.jsonl"),
            path("court.txt"),
        ];
        let mut arguments = vec!["--format", format, "--min-confidence", "0.3"];
        arguments.extend(files.iter().map(String::as_str));
        let here = classify(&[&arguments[..], &["--model", &model]].concat());
        let there = classify(&[&arguments[..], &["--server", &server.url]].concat());
        assert_eq!(there.status.code(), Some(0));
        assert_eq!(untimed(&here), untimed(&there), "{format}");
    }
}

#[test]
fn a_server_refuses_as_this_process_does() {
    let server = Server::start();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("bad.jsonl");
    let lines = [
        r#"{"id": "blank", "text": " "}"#,
        r#"{"id": "twice", "text": "A.", "parties": [{"id": "a", "name": "A"}, {"id": "a", "name": "B"}]}"#,
        r#"{"id": "good", "text": "Oster met Norland."}"#,
    ];
    std::fs::write(&file, lines.join("\n")).expect("written");
    let file = file.display().to_string();
    let model = fixture().display().to_string();
    let here = classify(&["--format", "jsonl", &file, "--model", &model]);
    let there = classify(&["--format", "jsonl", &file, "--server", &server.url]);
    assert_eq!(
        (here.status.code(), there.status.code()),
        (Some(1), Some(1))
    );
    assert_eq!(untimed(&here), untimed(&there));
    assert!(untimed(&there).contains("parties[1].id"));
}

#[test]
fn no_server_is_a_clear_error() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/articles/court.txt");
    let file = examples.display().to_string();
    // Port 1 of loopback is nobody's.
    let output = classify(&["--server", "http://127.0.0.1:1", "--timeout", "2", &file]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("court.txt: "), "{stderr}");
    let output = classify(&["--server", "nowhere", &file]);
    assert_eq!(output.status.code(), Some(2), "no address at all");
    assert!(String::from_utf8_lossy(&output.stderr).contains("is no address of a server"));
    let output = classify(&["--server", "http://127.0.0.1:1", "--model", "x", &file]);
    assert_eq!(output.status.code(), Some(2), "a server has its own model");
}

#[test]
fn the_command_line_goes_before_the_environment() {
    let model = fixture().display().to_string();
    let code = |variable: (&str, &str), arguments: [&str; 2]| {
        let output = Command::new(env!("CARGO_BIN_EXE_copydesk"))
            .env(variable.0, variable.1)
            .args(["classify", "--timeout", "2", "examples/articles/court.txt"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(arguments)
            .output()
            .expect("the executable");
        output.status.code()
    };
    let nobody = "http://127.0.0.1:1";
    assert_eq!(
        code(("COPYDESK_MODEL", &model), ["--server", nobody]),
        Some(1),
        "the server is asked, and does not answer"
    );
    assert_eq!(
        code(("COPYDESK_SERVER", nobody), ["--model", &model]),
        Some(0)
    );
}

#[test]
fn a_log_that_is_no_terminal_is_plain() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_copydesk"))
        .args(["serve", "--addr", "127.0.0.1:0", "--workers", "1"])
        .args(["--log-format", "text", "--model"])
        .arg(fixture())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the executable");
    let mut line = String::new();
    let stderr = child.stderr.take().expect("stderr");
    let read = BufReader::new(stderr).read_line(&mut line);
    let _ = child.kill();
    let _ = child.wait();
    read.expect("a line");
    assert!(
        line.contains("INFO copydesk::cli::serve: listening"),
        "{line:?}"
    );
    assert!(!line.contains('\x1b'), "{line:?}");
}

#[test]
fn the_log_holds_neither_texts_nor_tokens() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let tokens = write("tokens", "# ours\nquokka-quokka-quokka\n");
    let own = write("own", "quokka-quokka-quokka\n");
    let other = write("other", "wombat-wombat-wombat\n");
    let good = write(
        "good.txt",
        "Zanzipolis votes\n\nZanzipolis met the Grimwald envoys.\n",
    );
    // The second is refused, for its party has no name.
    let bad = write(
        "bad.jsonl",
        r#"{"id":"b","text":"Zanzipolis met Grimwald.","parties":[{"id":"grimwald","name":" "}]}"#,
    );
    let log = folder.path().join("log");
    let mut child = Command::new(env!("CARGO_BIN_EXE_copydesk"))
        .args(["serve", "--addr", "127.0.0.1:0", "--workers", "1"])
        .args(["--log", "debug", "--log-format", "json", "--auth-tokens"])
        .args([&tokens, "--model"])
        .arg(fixture())
        .stderr(std::fs::File::create(&log).expect("a file"))
        .spawn()
        .expect("the executable");
    let read = || std::fs::read_to_string(&log).expect("the log");
    let address = || {
        read().lines().find_map(|line| {
            let log: Value = serde_json::from_str(line).ok()?;
            log["fields"]["address"].as_str().map(str::to_owned)
        })
    };
    let url = loop {
        assert_eq!(child.try_wait().expect("a child"), None, "{}", read());
        if let Some(address) = address() {
            break format!("http://{address}");
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    for (token, file, code) in [(&own, &good, 0), (&own, &bad, 1), (&other, &good, 1)] {
        let output = classify(&["--server", &url, "--token-file", token, file]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{told}");
    }
    let _ = child.kill();
    let _ = child.wait();
    let log = read();
    // That there is one of the calls, down to their frames.
    assert!(
        log.contains("stream_id") && log.contains("copydesk"),
        "{log}"
    );
    for word in ["zanzipolis", "grimwald", "quokka", "wombat"] {
        assert!(!log.to_lowercase().contains(word), "{word}: {log}");
    }
}

#[cfg(unix)]
#[test]
fn signals_end_the_server_cleanly() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start();
        let pid = server.child.id().to_string();
        let kill = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(kill.expect("kill runs").success());
        let status = server.child.wait().expect("an end");
        assert_eq!(status.code(), Some(0), "SIG{signal}");
    }
}

#[test]
fn several_servers_share_the_work_and_stand_in_for_each_other() {
    let (first, second) = (Server::start(), Server::start());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("in.jsonl");
    let line = |i| format!("{{\"id\": \"a{i}\", \"text\": \"Oster met Norland. It rained.\"}}\n");
    let lines: String = (0..400).map(line).collect();
    std::fs::write(&file, lines).expect("written");
    let file = file.display().to_string();
    let child = Command::new(env!("CARGO_BIN_EXE_copydesk"))
        .args(["classify", "--format", "jsonl", &file])
        // One that was never there, two that are, and one of these goes away.
        .args(["--server", "http://127.0.0.1:1", "--server", &first.url])
        .args(["--server", &second.url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the executable");
    std::thread::sleep(std::time::Duration::from_millis(300));
    drop(second);
    let output = child.wait_with_output().expect("an end");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(
        stderr.contains("http://127.0.0.1:1 does not answer now"),
        "{stderr}"
    );
    let answers = untimed(&output);
    let ids: Vec<String> = answers
        .lines()
        .map(|l| l.chars().skip(7).take_while(|c| *c != '"').collect())
        .collect();
    let expect: Vec<String> = (0..400).map(|i| format!("a{i}")).collect();
    assert_eq!(ids, expect);
}

fn health(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_copydesk"))
        .env_remove("COPYDESK_SERVER")
        .arg("health")
        .args(arguments)
        .output()
        .expect("the executable")
}

fn told(output: &Output) -> (Option<i32>, String) {
    let text = [&*output.stdout, &*output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn health_is_an_exit_code() {
    let server = Server::start();
    let (code, text) = told(&health(&[&server.url, "--wait", "60"]));
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text, format!("{} serves\n", server.url));

    // One that is not there, beside one that is.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let (code, text) = told(&health(&[&server.url, &nobody]));
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.starts_with(&format!("{} serves\n", server.url)),
        "{text}"
    );
    assert!(
        text.contains(&format!("{nobody} does not answer: UNAVAILABLE")),
        "{text}"
    );

    let (code, text) = told(&health(&["127.0.0.1:50051"]));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("no address of a server"), "{text}");
}

/// A connection that is accepted and then never answered.
#[test]
fn health_of_a_server_that_is_silent_is_told_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let began = std::time::Instant::now();
    let (code, text) = told(&health(&[&url, "--timeout", "1"]));
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("does not answer: DEADLINE_EXCEEDED"),
        "{text}"
    );
    assert!(
        began.elapsed() < std::time::Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
}

#[cfg(unix)]
#[test]
fn health_of_a_server_that_drains_is_told() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_copydesk"))
        .args(["serve", "--addr", "127.0.0.1:0", "--log-format", "json"])
        .args(["--drain-wait", "20", "--workers", "1", "--model"])
        .arg(fixture())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the executable");
    let log = BufReader::new(child.stderr.take().expect("stderr"));
    let mut server = Server {
        child,
        url: String::new(),
    };
    let mut fields = log.lines().map(|line| {
        let log: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        log["fields"].clone()
    });
    let address = fields.find_map(|f| Some(f["address"].as_str()?.to_owned()));
    server.url = format!("http://{}", address.expect("the address is logged"));
    let (code, text) = told(&health(&[&server.url, "--wait", "60"]));
    assert_eq!(code, Some(0), "{text}");
    let stopped = Command::new("kill")
        .arg(server.child.id().to_string())
        .status();
    assert!(stopped.expect("kill").success());
    let stopping = |f: &Value| {
        let message = f["message"].as_str();
        message.is_some_and(|m| m.starts_with("not serving"))
    };
    assert!(fields.any(|f| stopping(&f)), "it says that it stops");
    let (code, text) = told(&health(&[&server.url]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("says that it does not serve"), "{text}");
}
