//! `copydesk bench`: that each subcommand measures something and writes it in the shape that
//! programs read. How fast anything was is no test's business.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::serving::Server;
use crate::support::fixture;

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_copydesk"))
        .arg("bench")
        .args(arguments)
        .env("COPYDESK_MODEL", fixture())
        .env("COPYDESK_WORKERS", "2")
        .output()
        .expect("the executable")
}

/// What a bench printed, which went well.
fn printed(arguments: &[&str]) -> String {
    let output = bench(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {errors}");
    assert_eq!(errors, "", "nothing on stderr, which is no terminal");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn json(arguments: &[&str]) -> Value {
    let text = printed(arguments);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// The number at a place as `/a/b/0`, which must be above 0.
fn positive(value: &Value, place: &str) -> f64 {
    let found = value.pointer(place).and_then(Value::as_f64);
    let found = found.unwrap_or_else(|| panic!("no number at {place}: {value}"));
    assert!(found > 0.0 && found.is_finite(), "{place} is {found}");
    found
}

fn keys(value: &Value) -> Vec<&str> {
    let object = value.as_object().expect("an object");
    object.keys().map(String::as_str).collect()
}

/// Two files of three articles.
fn articles(folder: &Path) -> String {
    let lines = [
        r#"{"id": "a", "headline": "Talks", "text": "The league met. “We go,” said Ida Brandt. Norland agreed."}"#,
        r#"{"id": "b", "sentences": ["Oster lost.", "It will appeal."]}"#,
    ];
    std::fs::write(folder.join("a.jsonl"), lines.join("\n")).expect("written");
    std::fs::write(folder.join("b.txt"), "Oster met Norland.\n\nNobody spoke.").expect("written");
    std::fs::write(folder.join("README.md"), "no article").expect("written");
    folder.display().to_string()
}

const SHORT: [&str; 4] = ["--seconds", "0.05", "--warmup", "0"];

fn check_latencies(run: &Value) {
    for kind in ["first_sentence_ms", "article_ms"] {
        let at = |name: &str| positive(run, &format!("/{kind}/{name}"));
        assert_eq!(at("count"), positive(run, "/articles"));
        let ranks = [at("p50"), at("p90"), at("p99"), at("max")];
        assert!(ranks.is_sorted(), "{ranks:?}");
    }
    assert!(positive(run, "/first_sentence_ms/max") <= positive(run, "/article_ms/max"));
}

fn check_header(report: &Value, command: &str) {
    assert_eq!(report["command"], command);
    assert_eq!(report["model"]["revision"], "fixture");
    assert_eq!(report["model"]["sha256"].as_str().map(str::len), Some(64));
    positive(report, "/machine/cores");
    positive(report, "/settings/seconds");
}

fn check_page(path: &Path, plots: usize) {
    let page = std::fs::read_to_string(path).expect("a page");
    assert_eq!(page.matches("<svg ").count(), plots);
    assert!(page.contains("news-en fixture"), "the model is named");
    assert!(page.contains("2 cores") || page.contains(" cores"));
    for outside in ["<script", "<link", "src=", "@import", "href="] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn local_measures_pipeline_stages_encoder_start_and_memory() {
    let directory = tempfile::tempdir().expect("a directory");
    let folder = articles(directory.path());
    let page = directory.path().join("page.html");
    let html = page.display().to_string();
    let mut arguments = vec!["local", "--articles", &folder, "--html", &html, "--json"];
    arguments.extend(SHORT);
    let report = json(&arguments);
    check_header(&report, "local");
    assert_eq!(report["settings"]["article_count"], 3);
    assert_eq!(report["settings"]["article_sentences"], 7);
    for run in ["pipeline", "alone"] {
        let run = &report[run];
        check_latencies(run);
        let articles = positive(run, "/articles_per_second");
        let sentences = positive(run, "/sentences_per_second");
        let tokens = positive(run, "/tokens_per_second");
        assert!(articles < sentences && sentences < tokens);
    }
    let stages = report["stages"].as_array().expect("stages");
    let names: Vec<_> = stages.iter().map(|s| s["stage"].as_str()).collect();
    assert_eq!(
        names.into_iter().flatten().collect::<Vec<_>>(),
        ["segment", "tokenise", "encode", "heads", "assemble"]
    );
    let share = |i: usize| positive(&stages[i], "/share");
    let sum: f64 = (0..5).map(share).sum();
    assert!((sum - 1.0).abs() < 1e-6);
    let beside = positive(&report, "/beside_model/of_stages");
    assert!((beside - (share(0) + share(1) + share(4))).abs() < 1e-6);
    assert!(report["beside_model"]["of_pipeline"].is_number());
    for encoder in ["/encoder", "/pipeline_encoder"] {
        positive(&report, &format!("{encoder}/tokens_per_second"));
        let gflops = positive(&report, &format!("{encoder}/gflops"));
        let share = positive(&report, &format!("{encoder}/share_of_peak"));
        let peak = positive(&report, "/peak_gflops");
        assert!((gflops / peak - share).abs() < 1e-6);
    }
    positive(&report, "/encoder_heads/tokens_per_second");
    let start = |name: &str| positive(&report, &format!("/start/{name}"));
    assert!(start("load_seconds") < start("seconds"));
    assert!(start("answer_seconds") < start("seconds"));
    if cfg!(target_os = "linux") {
        start("resident_bytes");
        positive(&report, "/memory/resident_bytes");
        positive(&report, "/memory/peak_bytes");
    }
    check_page(&page, 4);
}

#[test]
fn tables_are_for_people_and_files_for_programs() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("figures.json");
    let mut arguments = vec!["sizes", "--sentences", "1,3", "--concurrency", "1,2"];
    let name = file.display().to_string();
    arguments.extend(["--json", &name]);
    arguments.extend(SHORT);
    let text = printed(&arguments);
    assert!(text.contains("\nmodel "), "{text}");
    assert!(text.contains("\n  2 callers "), "{text}");
    let saved = std::fs::read_to_string(file).expect("a file");
    check_header(&serde_json::from_str(&saved).expect("JSON"), "sizes");
}

#[test]
fn sizes_measures_lengths_and_callers() {
    let directory = tempfile::tempdir().expect("a directory");
    let page = directory.path().join("page.html");
    let html = page.display().to_string();
    let mut arguments = vec!["sizes", "--sentences", "1,3,12", "--concurrency", "1,3"];
    arguments.extend(["--json", "-", "--html", &html]);
    arguments.extend(SHORT);
    let report = json(&arguments);
    check_header(&report, "sizes");
    let sizes = report["sizes"].as_array().expect("sizes");
    for (size, sentences) in sizes.iter().zip([1.0, 3.0, 12.0]) {
        assert_eq!(positive(size, "/sentences"), sentences);
        let whole = positive(size, "/article_ms");
        assert!(positive(size, "/first_sentence_ms") <= whole);
        let each = positive(size, "/ms_per_sentence");
        assert!((each * sentences - whole).abs() <= whole * 1e-6);
        positive(size, "/runs");
    }
    let tokens: Vec<f64> = sizes.iter().map(|s| positive(s, "/tokens")).collect();
    assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
    let callers = report["callers"].as_array().expect("callers");
    assert_eq!(callers.len(), 2);
    for (run, count) in callers.iter().zip([1.0, 3.0]) {
        assert_eq!(positive(run, "/callers"), count);
        check_latencies(run);
    }
    check_page(&page, 4);
}

#[test]
fn server_measures_closed_and_open_loops() {
    let server = Server::start();
    let directory = tempfile::tempdir().expect("a directory");
    let folder = articles(directory.path());
    let page = directory.path().join("page.html");
    let html = page.display().to_string();
    let mut arguments = vec!["server", "--server", &server.url, "--articles", &folder];
    arguments.extend(["--concurrency", "1,2", "--rate", "40", "--json"]);
    arguments.extend(["--html", &html]);
    arguments.extend(["--seconds", "0.5", "--warmup", "0.1"]);
    let report = json(&arguments);
    check_header(&report, "server");
    let runs = report["runs"].as_array().expect("runs");
    let modes: Vec<_> = runs.iter().map(|r| r["mode"].as_str()).collect();
    assert_eq!(modes, [Some("closed"), Some("closed"), Some("open")]);
    for run in runs {
        check_latencies(run);
        assert_eq!(run["errors"], serde_json::json!({}));
        assert!(positive(run, "/articles") < positive(run, "/sentences"));
        positive(run, "/sentences_per_second");
    }
    let open = &runs[2];
    assert_eq!((&open["rate"], &open["unsent"]), (&40.0.into(), &0.into()));
    assert_eq!(open["articles"], 20, "40 a second for half a second");
    check_page(&page, 4);
}

#[test]
fn a_server_that_is_not_there_is_said_so() {
    let arguments = ["server", "--server", "http://127.0.0.1:1", "--timeout", "1"];
    let output = bench(&arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("was not answered"), "{errors}");
}

#[test]
fn windows_can_be_encoded() {
    let directory = tempfile::tempdir().expect("a directory");
    let folder = articles(directory.path());
    let file = format!("{folder}/a.jsonl");
    let text = printed(&["windows", "--articles", &file]);
    let windows: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let ids: Vec<_> = windows
        .iter()
        .filter_map(|w| w["article"].as_str())
        .collect();
    assert_eq!((ids.first(), ids.last()), (Some(&"a"), Some(&"b")));
    for window in &windows {
        assert_eq!(keys(window), ["article", "sentences", "sequences"]);
        let sequences = window["sequences"].as_array().expect("sequences");
        for sequence in sequences {
            assert_eq!(keys(sequence), ["cases", "ids"]);
            let count = |name: &str| sequence[name].as_array().map(Vec::len);
            assert_eq!(count("ids"), count("cases"));
        }
        for sentence in window["sentences"].as_array().expect("sentences") {
            assert_eq!(keys(sentence), ["index", "pieces", "places", "words"]);
            let number = |place: &str| sentence.pointer(place).and_then(Value::as_u64);
            let of = number("/pieces/0/0").expect("a sequence") as usize;
            assert!(of < sequences.len());
            assert!(number("/pieces/0/1") < number("/pieces/0/2"));
            assert_eq!(number("/words/0"), Some(0));
            assert!(number("/places/1").is_some());
        }
    }
    let short = printed(&["windows", "--articles", &file, "--window-tokens", "40"]);
    assert!(
        short.lines().count() > windows.len(),
        "shorter windows are more"
    );
    let limited = printed(&["windows", "--articles", &file, "--limit", "1"]);
    assert_eq!(
        limited.lines().collect::<Vec<_>>(),
        text.lines().take(1).collect::<Vec<_>>()
    );

    let path = directory.path().join("windows.jsonl");
    std::fs::write(&path, &text).expect("written");
    let path = path.display().to_string();
    for engine in ["ours", "candle"] {
        let mut arguments = vec!["encode", "--windows", &path, "--json", "--engine", engine];
        arguments.extend(["--batch-tokens", "64", "--workers", "1"]);
        arguments.extend(SHORT);
        let report = json(&arguments);
        let parts = ["encoder", "encoder_heads", "peak_gflops", "workers"];
        assert_eq!(keys(&report), parts);
        assert_eq!(
            keys(&report["encoder"]),
            ["gflops", "share_of_peak", "tokens_per_second"]
        );
        assert_eq!(keys(&report["encoder_heads"]), ["tokens_per_second"]);
        assert_eq!(report["workers"], 1);
        positive(&report, "/encoder/gflops");
        positive(&report, "/encoder/share_of_peak");
        positive(&report, "/encoder/tokens_per_second");
        positive(&report, "/encoder_heads/tokens_per_second");
    }
}

#[test]
fn articles_measures_the_pipeline() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = format!("{}/a.jsonl", articles(directory.path()));
    let mut arguments = vec!["articles", "--articles", &file, "--json"];
    arguments.extend(SHORT);
    let report = json(&arguments);
    assert_eq!(
        keys(&report),
        [
            "articles_per_second",
            "sentences_per_second",
            "tokens_per_second"
        ]
    );
    let articles = positive(&report, "/articles_per_second");
    assert!(articles < positive(&report, "/sentences_per_second"));
    positive(&report, "/tokens_per_second");
}

#[test]
fn bad_arguments_and_bad_articles_are_refused() {
    let code = |arguments: &[&str]| bench(arguments).status.code();
    assert_eq!(code(&["local", "--seconds", "-1"]), Some(2));
    assert_eq!(code(&["sizes", "--sentences", "0"]), Some(2));
    assert_eq!(code(&["sizes", "--sentences", "1000000"]), Some(2));
    assert_eq!(code(&["server", "--server", "x", "--rate", "0"]), Some(2));
    let directory = tempfile::tempdir().expect("a directory");
    let folder = directory.path().display().to_string();
    let output = bench(&["articles", "--articles", &folder]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("holds no .txt"), "{errors}");
    std::fs::write(directory.path().join("blank.txt"), " \n").expect("written");
    let output = bench(&["articles", "--articles", &folder]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("blank.txt: text: is empty"), "{errors}");
}
