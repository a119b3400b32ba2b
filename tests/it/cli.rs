//! The real executable: what goes in, what comes out, and with which exit code.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::fixture;

fn copydesk(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_copydesk"))
        .args(arguments)
        .env("COPYDESK_MODEL", fixture())
        .env("COPYDESK_WORKERS", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the executable");
    // The child may refuse its arguments and never read.
    let _ = child.stdin.take().expect("stdin").write_all(input);
    child.wait_with_output().expect("an end")
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    text.lines()
        .map(|l| serde_json::from_str(l).expect("JSON"))
        .collect()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Answers to JSON Lines on standard input.
fn classify(input: &str) -> Vec<Value> {
    lines(&copydesk(
        &["classify", "--format", "jsonl", "-"],
        input.as_bytes(),
    ))
}

#[test]
fn json_has_the_shape_of_the_design() {
    let input = r#"{"id": "a1", "headline": "Talks", "text": "“We go,” said Ida Brandt.\n\nThe league met in Port Ellis."}"#;
    let answer = &classify(input)[0];
    let keys = |v: &Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        keys(answer),
        [
            "id",
            "language",
            "model",
            "parties",
            "sentences",
            "timings",
            "types"
        ],
        "{answer}"
    );
    let sentence = &answer["sentences"][0];
    assert_eq!(
        keys(sentence),
        [
            "end",
            "index",
            "paragraph",
            "parties",
            "quotations",
            "speaker",
            "start",
            "text",
            "type",
            "type_scores"
        ]
    );
    assert_eq!(answer["sentences"][1]["paragraph"], 1);
    let sum: f64 = sentence["type_scores"]
        .as_object()
        .unwrap()
        .values()
        .map(|v| v.as_f64().unwrap())
        .sum();
    assert!((sum - 1.0).abs() < 1e-3, "{sum}");
    let (start, end) = (
        sentence["start"].as_u64().unwrap(),
        sentence["end"].as_u64().unwrap(),
    );
    assert_eq!((start, end), (0, 25), "code points");
}

#[test]
fn order_is_kept_and_bad_lines_do_not_end_the_run() {
    let mut input = String::new();
    for i in 0..20 {
        let text = "The league met again. ".repeat(20 - i);
        input.push_str(&format!("{{\"id\": \"a{i}\", \"text\": \"{text}\"}}\n"));
        if i == 7 {
            input.push_str("{\"id\": \"bad\", \"text\": \"  \"}\nnot json\n");
        }
    }
    let output = copydesk(&["classify", "--format", "jsonl", "-"], input.as_bytes());
    assert_eq!(output.status.code(), Some(1), "some failed");
    let answers = lines(&output);
    let ids: Vec<&str> = answers.iter().map(|a| a["id"].as_str().unwrap()).collect();
    let mut expect: Vec<String> = (0..20).map(|i| format!("a{i}")).collect();
    expect.splice(8..8, ["bad".to_owned(), "stdin:10".to_owned()]);
    assert_eq!(ids, expect);
    assert_eq!(answers[8]["error"]["code"], "INVALID_ARGUMENT");
    assert!(
        stderr(&output).contains("bad: text: is empty or blank"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn exit_codes() {
    let code = |arguments: &[&str], input: &[u8]| copydesk(arguments, input).status.code();
    assert_eq!(code(&["classify", "-"], b"The league met."), Some(0));
    assert_eq!(code(&["classify", "-"], b"   "), Some(1));
    assert_eq!(code(&["classify", "/nowhere.txt"], b""), Some(1));
    assert_eq!(code(&["classify"], b""), Some(2));
    assert_eq!(code(&["classify", "--device", "abacus", "-"], b""), Some(2));
    assert_eq!(
        code(&["classify", "--min-confidence", "2", "-"], b""),
        Some(2)
    );
    assert_eq!(code(&["frobnicate"], b""), Some(2));
    let output = copydesk(&["classify", "--model", "/nowhere", "-"], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("/nowhere/config.json"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn bad_text_gets_a_clear_answer() {
    let check = |bytes: &[u8], expect: &str| {
        let output = copydesk(&["classify", "-"], bytes);
        assert_eq!(output.status.code(), Some(1), "{expect}");
        assert!(stderr(&output).contains(expect), "{}", stderr(&output));
    };
    check(b"", "text: is empty or blank");
    check(b"\n \t\n", "text: is empty or blank");
    check(b"caf\xe9 society met", "is not UTF-8: byte 3");
    check(&b"word ".repeat(1 << 20), "at most 1048576 are allowed");
}

#[test]
fn odd_text_gets_an_answer() {
    let long = format!("The league {} met.", "and the board ".repeat(6_667));
    let texts = [
        "The league\u{0} met.\u{0} It left.",
        "Zoë 🦊🏽 met the e\u{301}lite in 東京.",
        "قال الوزير إن المحادثات ستستمر. وأضاف أن الاتفاق قريب.",
        "\u{202e}met league ehT",
        long.as_str(),
        "\"\"\"\"\"\"",
        ".",
    ];
    for text in texts {
        let line = serde_json::json!({"id": "x", "text": text}).to_string();
        let answer = &classify(&line)[0];
        let chars: Vec<char> = text.chars().collect();
        let sentences = answer["sentences"].as_array().expect("sentences");
        let mut covered = vec![false; chars.len()];
        for s in sentences {
            let span = |k: &str| s[k].as_u64().unwrap() as usize;
            let (start, end) = (span("start"), span("end"));
            assert_eq!(
                chars[start..end].iter().collect::<String>(),
                s["text"].as_str().unwrap()
            );
            covered[start..end].iter_mut().for_each(|c| *c = true);
        }
        let lost = chars
            .iter()
            .zip(&covered)
            .find(|(c, seen)| !c.is_whitespace() && !**seen);
        assert!(lost.is_none(), "{lost:?} in no sentence");
    }
}

#[test]
fn parties_are_searched_or_taken_as_given() {
    let named = r#"{"id": "n", "text": "Norland’s envoy met Oster. OSTER AGREES", "parties": [{"id": "a", "name": "Norland"}, {"id": "b", "name": "Oster"}]}"#;
    let given = r#"{"id": "g", "sentences": ["🦊 Oster met Norland."], "parties": [{"id": "b", "spans": [{"sentence": 0, "start": 2, "end": 7}]}]}"#;
    let none = r#"{"id": "0", "text": "Norland met Oster.", "parties": []}"#;
    let answers = classify(&format!("{named}\n{given}\n{none}\n"));
    let mentions = |answer: &Value| -> Vec<(String, String)> {
        let sentences = answer["sentences"].as_array().unwrap().iter();
        let parties = sentences.flat_map(|s| s["parties"].as_array().unwrap().clone());
        let all = parties.flat_map(|p| {
            let id = p["party"].as_str().unwrap().to_owned();
            let mentions = p["mentions"].as_array().unwrap().clone();
            mentions
                .into_iter()
                .map(move |m| (id.clone(), m["text"].as_str().unwrap().to_owned()))
        });
        all.collect()
    };
    let pairs = |v: &[(&str, &str)]| {
        v.iter()
            .map(|(a, b)| (a.to_string(), b.to_string()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        mentions(&answers[0]),
        pairs(&[("a", "Norland"), ("b", "Oster"), ("b", "OSTER")])
    );
    assert_eq!(mentions(&answers[1]), pairs(&[("b", "Oster")]));
    assert_eq!(mentions(&answers[2]), pairs(&[]));
    assert_eq!(answers[0]["parties"][1]["mentions"], 2);
}

#[test]
fn bad_parties_are_named_by_field() {
    let check = |parties: &str, expect: &str| {
        let answers = classify(&format!(
            r#"{{"id": "x", "text": "Oster met Norland.", "parties": {parties}}}"#
        ));
        let message = answers[0]["error"]["message"]
            .as_str()
            .expect("an error")
            .to_owned();
        assert!(message.contains(expect), "{message}");
    };
    check(
        r#"[{"id": "a", "name": "A"}, {"id": "a", "name": "B"}]"#,
        "parties[1].id",
    );
    check(
        r#"[{"id": "a", "name": " "}]"#,
        "parties[0].name: is empty or blank",
    );
    check(
        r#"[{"id": "a", "spans": [{"start": 3, "end": 3}]}]"#,
        "parties[0].spans[0]: 3..3 is empty",
    );
    check(
        r#"[{"id": "a", "spans": [{"start": 3, "end": 300}]}]"#,
        "out of range",
    );
    check(
        r#"[{"id": "a", "spans": [{"sentence": 0, "start": 0, "end": 5}]}]"#,
        "ready-cut",
    );
    // Overlapping spans of two parties are both answered.
    let both = r#"{"id": "x", "text": "Oster met Norland.", "parties": [{"id": "a", "spans": [{"start": 0, "end": 5}]}, {"id": "b", "spans": [{"start": 0, "end": 9}]}, {"id": "e", "name": "e", "aliases": ["met"]}]}"#;
    let parties = classify(both)[0]["sentences"][0]["parties"].clone();
    assert_eq!(parties.as_array().map(Vec::len), Some(3), "{parties}");
}

#[test]
fn examples_are_answered() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/articles");
    let files: Vec<String> = std::fs::read_dir(examples)
        .expect("examples")
        .flatten()
        .map(|e| e.path().display().to_string())
        .filter(|p| p.ends_with(".txt") || p.ends_with(".jsonl"))
        .collect();
    assert!(files.len() >= 9, "{files:?}");
    let mut arguments = vec!["classify"];
    arguments.extend(files.iter().map(String::as_str));
    let output = copydesk(&arguments, b"");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(!output.stdout.is_empty());
}

#[test]
fn words_that_run_on_keep_the_type_that_they_began_as() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/articles/articles.jsonl");
    let answers = classify(&std::fs::read_to_string(path).expect("examples"));
    let mut run_on = 0;
    for answer in &answers {
        let sentences = answer["sentences"].as_array().expect("sentences");
        for pair in sentences.windows(2) {
            let named = pair[1]["speaker"]["sentence"].as_u64();
            if named.is_some_and(|named| Some(named) < pair[1]["index"].as_u64()) {
                run_on += 1;
                assert_eq!(pair[0]["type"], pair[1]["type"], "{}", pair[1]["text"]);
            }
        }
    }
    assert!(run_on > 0, "the fixture finds no words that run on");
}

#[test]
fn eval_reads_both_layouts() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let newsroom = file(
        "newsroom.jsonl",
        r#"{"id": "n1", "corpus": "ours", "headline": null, "sentences": [{"text": "Oster met Norland.", "type": "report", "speaker": null, "mentions": [{"start": 0, "end": 5, "name": "Oster", "sentiment": "neutral"}]}]}"#,
    );
    let output = copydesk(&["eval", "--data", &newsroom, "--format", "json"], b"");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(lines(&output)[0]["types"]["cases"], 1);
    let newsmtsc = file(
        "mtsc.jsonl",
        r#"{"primary_gid": "g", "sentence_normalized": "Oster lied.", "targets": [{"from": 0, "to": 5, "mention": "Oster", "polarity": 2.0}]}"#,
    );
    let output = copydesk(&["eval", "--data", &newsmtsc], b"");
    assert!(String::from_utf8_lossy(&output.stdout).contains("negative"));
    let plot = directory.path().join("plot.svg").display().to_string();
    let output = copydesk(&["eval", "--data", &newsroom, "--plot", &plot], b"");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let svg = std::fs::read_to_string(&plot).expect("a plot");
    assert!(svg.contains("type, calibration error") && svg.contains("sentiment, calibration"));
    let bad = file("bad.jsonl", "{\n");
    let output = copydesk(&["eval", "--data", &bad], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("bad.jsonl:1"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let print = |arguments: &[&str]| {
        let output = copydesk(arguments, b"");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = print(&["completions", shell]);
        assert!(
            script.contains("classify") && script.contains("resume"),
            "{shell}"
        );
    }
    let page = print(&["man"]);
    assert!(
        page.contains(".TH copydesk 1") && page.contains("copydesk\\-classify(1)"),
        "{page}"
    );
    let page = print(&["man", "classify"]);
    assert!(
        page.contains("copydesk\\-classify") && page.contains("score_quote"),
        "{page}"
    );
    assert!(print(&["man", "model", "verify"]).contains("copydesk\\-model\\-verify"));
    let output = copydesk(&["man", "frobnicate"], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("there are classify, "),
        "{}",
        stderr(&output)
    );
}

#[test]
fn who_reads_no_further_is_no_error() {
    let tiny = fixture();
    let tiny = tiny.to_str().expect("UTF-8");
    let commands: [&[&str]; 4] = [
        &["--licenses"],
        &["man"],
        &["model", "show", tiny],
        &["model", "verify", tiny],
    ];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_copydesk"))
            .args(arguments)
            .stdout(writer)
            .output()
            .expect("started");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_eq!(stderr(&output), "", "{arguments:?}");
    }
}

#[test]
fn the_licences_are_those_of_the_lock_file() {
    let output = copydesk(&["--licenses"], b"");
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let list = text.split("\n====").next().unwrap_or_default();
    let told: BTreeSet<&str> = list
        .lines()
        .skip(1)
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !name.is_empty())
        .collect();
    let locked: BTreeSet<&str> = include_str!("../../Cargo.lock")
        .lines()
        .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
        .filter(|name| !["copydesk", "copydesk-kernels"].contains(name))
        .collect();
    let changed: Vec<_> = told.symmetric_difference(&locked).collect();
    assert!(changed.is_empty(), "run .ci/licenses: {changed:?}");
    assert!(text.contains("Permission is hereby granted"));
}
