//! A Hub on loopback: one repository with two commits, answered as the real one answers hf-hub.
//! Weights are "large": their metadata comes with a redirect to another place, as from a CDN.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use copydesk::model::files::{Files, sha256};
use serde_json::{Value, json};

use crate::support::fixture;

/// `main`, at first.
pub const FIRST: &str = "1111111111111111111111111111111111111111";
/// `v2`: the same, but that its config calls its revision "second".
pub const SECOND: &str = "2222222222222222222222222222222222222222";

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Only this token may read.
    Token(&'static str),
    /// Nobody may read.
    Gated,
    /// Everything is an internal error.
    Broken,
    /// The connection ends within the weights.
    Hangup,
    /// Half of the weights come, and are said to be all.
    Short,
    /// One byte of the weights is another.
    Altered,
    /// A page that says "forbidden" comes in place of the weights.
    ErrorPage,
    /// Answers under this path stop half way, on a connection that stays open.
    Stall(&'static str),
    /// The weights come in twelve pieces, one after another with this many milliseconds between.
    Slow(u64),
}

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    path: String,
    /// The header `Authorization`, empty if there was none.
    pub token: String,
}

struct State {
    address: SocketAddr,
    commits: BTreeMap<&'static str, BTreeMap<String, Vec<u8>>>,
    main: Mutex<&'static str>,
    fault: Mutex<Fault>,
    requests: Mutex<Vec<Request>>,
    stopped: AtomicBool,
}

/// Answers until it is dropped.
pub struct Server {
    state: Arc<State>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let first = files();
        let mut second = first.clone();
        let mut config: Value = serde_json::from_slice(&first["config.json"]).expect("JSON");
        config["copydesk"]["revision"] = json!("second");
        second.insert("config.json".into(), config.to_string().into_bytes());
        let state = Arc::new(State {
            address: listener.local_addr().expect("an address"),
            commits: BTreeMap::from([(FIRST, first), (SECOND, second)]),
            main: Mutex::new(FIRST),
            fault: Mutex::new(Fault::None),
            requests: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let state = Arc::clone(&shared);
                // A client that hangs up is its own affair.
                std::thread::spawn(move || state.serve(stream).unwrap_or_default());
            }
        });
        Self {
            state,
            thread: Some(thread),
        }
    }

    pub fn endpoint(&self) -> String {
        self.state.endpoint()
    }

    pub fn fault(&self, fault: Fault) {
        *self.state.fault.lock().expect("unharmed") = fault;
    }

    pub fn move_main(&self, commit: &'static str) {
        *self.state.main.lock().expect("unharmed") = commit;
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().expect("unharmed").clone()
    }

    /// How often a file was sent, or the way to it.
    pub fn downloads(&self) -> usize {
        let requests = self.requests();
        let files = requests.iter().filter(|r| r.method == "GET");
        files.filter(|r| !r.path.starts_with("/api/")).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // Wakes the listener up.
        let _ = TcpStream::connect(self.state.address);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("an end");
        }
    }
}

fn files() -> BTreeMap<String, Vec<u8>> {
    let read = |name: &str| std::fs::read(fixture().join(name)).expect("the fixture");
    let mut files: BTreeMap<String, Vec<u8>> = Files::NAMES
        .into_iter()
        .map(|name| (name.to_owned(), read(name)))
        .collect();
    files.insert("README.md".into(), b"# tiny\n".to_vec());
    files.insert("golden.json".into(), read("golden.json"));
    files
}

/// An answer: its status line, further headers, and the body (or, to a HEAD, its length).
struct Answer {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn error(status: &'static str, code: &str, message: &str) -> Self {
        let mut headers = vec![("X-Error-Message", message.to_owned())];
        if !code.is_empty() {
            headers.push(("X-Error-Code", code.to_owned()));
        }
        let body = json!({"error": message}).to_string().into_bytes();
        Self {
            status,
            headers,
            body,
        }
    }

    fn json(value: &Value) -> Self {
        Self {
            status: "200 OK",
            headers: vec![("Content-Type", "application/json".into())],
            body: value.to_string().into_bytes(),
        }
    }
}

impl State {
    fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// One request a connection.
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        let mut words = first.split(' ').map(str::to_owned);
        let mut request = Request {
            method: words.next().unwrap_or_default(),
            path: words.next().unwrap_or_default(),
            token: String::new(),
        };
        for line in lines {
            let line = line?;
            match line.split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                    request.token = value.to_owned();
                }
                Some(_) => {}
                None => break,
            }
        }
        self.requests
            .lock()
            .expect("unharmed")
            .push(request.clone());
        let fault = *self.fault.lock().expect("unharmed");
        let answer = refuse(fault, &request).unwrap_or_else(|| self.answer(fault, &request));
        let mut length = answer.body.len();
        let mut body = &answer.body[..];
        if fault == Fault::Hangup && request.path.starts_with("/cdn/") {
            body = &body[..length / 2];
        }
        if request.method == "HEAD" {
            body = &[];
        }
        if answer.status.starts_with("302") {
            (length, body) = (0, &[]);
        }
        let mut head = format!("HTTP/1.1 {}\r\n", answer.status);
        for (name, value) in &answer.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {length}\r\nConnection: close\r\n\r\n");
        match fault {
            Fault::Stall(path) if request.path.starts_with(path) => {
                let whole = [head.as_bytes(), body].concat();
                stream.write_all(&whole[..whole.len() / 2])?;
                stream.flush()?;
                while !self.stopped.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(20));
                }
                return Ok(());
            }
            Fault::Slow(pause) if request.path.starts_with("/cdn/") => {
                stream.write_all(head.as_bytes())?;
                for piece in body.chunks(body.len().div_ceil(12).max(1)) {
                    std::thread::sleep(Duration::from_millis(pause));
                    stream.write_all(piece)?;
                    stream.flush()?;
                }
                return Ok(());
            }
            _ => {}
        }
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        stream.flush()
    }

    fn answer(&self, fault: Fault, request: &Request) -> Answer {
        let parts: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        match parts[..] {
            ["api", "models", owner, name, "revision", revision] => {
                self.info(owner, name, revision)
            }
            ["acme", "tiny", "resolve", revision, file] => self.resolve(revision, file),
            ["cdn", commit, file] => self.send(fault, commit, file),
            _ => Answer::error("404 Not Found", "", "Not Found"),
        }
    }

    fn info(&self, owner: &str, name: &str, revision: &str) -> Answer {
        if owner != "acme" || !["tiny", "half"].contains(&name) {
            return Answer::error("404 Not Found", "RepoNotFound", "Repository not found");
        }
        let Some(commit) = self.commit(revision) else {
            let message = format!("Invalid rev id: {revision}");
            return Answer::error("404 Not Found", "RevisionNotFound", &message);
        };
        let files = self.commits[commit].keys();
        let listed = files.filter(|file| name == "tiny" || *file != "model.safetensors");
        let siblings: Vec<Value> = listed.map(|file| json!({"rfilename": file})).collect();
        Answer::json(&json!({"id": format!("{owner}/{name}"), "sha": commit, "siblings": siblings}))
    }

    fn commit(&self, revision: &str) -> Option<&'static str> {
        match revision {
            "main" => Some(*self.main.lock().expect("unharmed")),
            "v2" => Some(SECOND),
            other => self
                .commits
                .keys()
                .find(|commit| **commit == other)
                .copied(),
        }
    }

    fn resolve(&self, revision: &str, file: &str) -> Answer {
        let Some(commit) = self.commit(revision) else {
            return Answer::error("404 Not Found", "RevisionNotFound", "Invalid rev id");
        };
        let Some(body) = self.commits[commit].get(file) else {
            return Answer::error("404 Not Found", "EntryNotFound", "Entry not found");
        };
        let commit_header = ("X-Repo-Commit", commit.to_owned());
        let hash = sha256(&[body]);
        if file != "model.safetensors" {
            // In place of git's hash, which has as many digits.
            let headers = vec![commit_header, ("ETag", format!("\"{}\"", &hash[..40]))];
            return Answer {
                status: "200 OK",
                headers,
                body: body.clone(),
            };
        }
        let headers = vec![
            commit_header,
            ("X-Linked-ETag", format!("\"{hash}\"")),
            ("X-Linked-Size", body.len().to_string()),
            (
                "Location",
                format!("{}/cdn/{commit}/{file}", self.endpoint()),
            ),
        ];
        Answer {
            status: "302 Found",
            headers,
            body: Vec::new(),
        }
    }

    fn send(&self, fault: Fault, commit: &str, file: &str) -> Answer {
        let mut body = self.commits[commit][file].clone();
        match fault {
            Fault::Short => body.truncate(body.len() / 2),
            Fault::Altered => *body.last_mut().expect("bytes") ^= 1,
            Fault::ErrorPage => {
                return Answer::error("403 Forbidden", "", "the link has expired");
            }
            _ => {}
        }
        Answer {
            status: "200 OK",
            headers: Vec::new(),
            body,
        }
    }
}

/// What is answered to anything at all.
fn refuse(fault: Fault, request: &Request) -> Option<Answer> {
    match fault {
        Fault::Token(token) if request.token != format!("Bearer {token}") => Some(Answer::error(
            "401 Unauthorized",
            "",
            "Invalid username or password.",
        )),
        Fault::Gated => Some(Answer::error(
            "403 Forbidden",
            "GatedRepo",
            "Access to model acme/tiny is restricted",
        )),
        Fault::Broken => Some(Answer::error("500 Internal Server Error", "", "Broken")),
        _ => None,
    }
}
