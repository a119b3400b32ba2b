//! Whole archives: what is read, where it goes, and how a run goes on that was killed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::fixture;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_copydesk"));
    command
        .arg("classify")
        .args(arguments)
        .env("COPYDESK_MODEL", fixture())
        .env("COPYDESK_WORKERS", "2")
        .stdin(Stdio::null());
    command
}

fn classify(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the executable")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn ids(answers: &str) -> Vec<String> {
    let values = answers
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    values
        .map(|value: Value| value["id"].as_str().expect("an id").to_owned())
        .collect()
}

fn line(id: &str, text: &str) -> String {
    format!("{{\"id\": {id:?}, \"text\": {text:?}}}\n")
}

/// An archive of so many articles, of several lengths.
fn archive(path: &Path, articles: usize) {
    let text = |i: usize| "Oster met Norland in Port Ellis. ".repeat(1 + i % 5);
    let lines: String = (0..articles)
        .map(|i| line(&format!("a{i}"), &text(i)))
        .collect();
    std::fs::write(path, lines).expect("written");
}

fn path(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(text.as_bytes()).expect("packed");
    out.finish().expect("packed")
}

/// What an answer says, less what is measured anew.
fn untimed(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(file).expect("answers");
    let mut answers: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    for answer in &mut answers {
        answer.as_object_mut().expect("an object").remove("timings");
    }
    answers
}

#[test]
fn folders_patterns_and_packed_files_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, bytes).expect("written");
    };
    write("b/2.jsonl.gz", &gzip(&line("gz", "The league met.")));
    let zstandard = zstd::encode_all(line("zst", "The league met.").as_bytes(), 0);
    write("b/1.jsonl.zst", &zstandard.expect("packed"));
    write("a.txt", b"The league met.");
    write("b/skipped.md", b"# No copy");
    let root = folder.path().display().to_string();
    let output = classify(&["--format", "jsonl", &root]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let answers = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(
        ids(&answers),
        [path(&folder, "a.txt"), "zst".into(), "gz".into()]
    );
    let output = classify(&["--format", "jsonl", &path(&folder, "b/*.gz")]);
    assert_eq!(ids(&String::from_utf8_lossy(&output.stdout)), ["gz"]);
    let output = classify(&["--format", "jsonl", &path(&folder, "*.xyz")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("*.xyz: matches no file"));
    write("cut.jsonl.gz", &gzip(&line("x", "The league met."))[..20]);
    let output = classify(&["--format", "jsonl", &path(&folder, "cut.jsonl.gz")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("cut.jsonl.gz:1: cannot be read"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn output_is_packed_by_name_and_never_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = path(&folder, "in.jsonl");
    archive(Path::new(&input), 5);
    for name in ["out.jsonl.gz", "out.jsonl.zst"] {
        let out = path(&folder, name);
        let output = classify(&["--format", "jsonl", &input, "--out", &out]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        // What is written can be read again: an answer is no article, and is refused by its line.
        let output = classify(&["--format", "jsonl", &out]);
        assert!(stderr(&output).contains(&format!("{name}:5: is no article")));
        let output = classify(&["--format", "jsonl", &input, "--out", &out]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("exists and is not empty; --force"));
    }
    let output = classify(&["--format", "jsonl", &input, "--out", &input, "--force"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("is read and written at once"));
    assert!(std::fs::metadata(&input).expect("still there").len() > 0);
}

#[test]
fn errors_stop_a_run_when_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = path(&folder, "in.jsonl");
    let mut lines = String::new();
    for i in 0..10 {
        lines.push_str(&line(
            &format!("a{i}"),
            if i % 3 == 1 { " " } else { "Oster." },
        ));
    }
    std::fs::write(&input, lines).expect("written");
    let answered = |flags: &[&str]| {
        let output = classify(&[&["--format", "jsonl", &input][..], flags].concat());
        assert_eq!(output.status.code(), Some(1));
        let stopped = stderr(&output).contains("stopped: ");
        (ids(&String::from_utf8_lossy(&output.stdout)).len(), stopped)
    };
    assert_eq!(answered(&[]), (10, false));
    assert_eq!(answered(&["--fail-fast"]), (2, true));
    assert_eq!(answered(&["--max-errors", "1"]), (5, true));
    assert_eq!(answered(&["--max-errors", "3"]), (10, false));
}

#[test]
fn a_killed_run_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, whole, out) = (
        path(&folder, "in.jsonl"),
        path(&folder, "whole.jsonl"),
        path(&folder, "out.jsonl"),
    );
    archive(Path::new(&input), 300);
    let flags = ["--format", "jsonl", &input, "--out"];
    assert!(classify(&[&flags[..], &[&whole]].concat()).status.success());
    for round in 0..3 {
        let mut child = command(&[&flags[..], &[&out, "--resume"]].concat())
            .stderr(Stdio::null())
            .spawn()
            .expect("the executable");
        let enough = 20_000 * (round + 1);
        for _ in 0..2_000 {
            let held = std::fs::metadata(&out).map_or(0, |m| m.len());
            if held > enough || child.try_wait().expect("a status").is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // SIGKILL.
        child.kill().expect("killed");
        child.wait().expect("an end");
        // As if the last write had been cut off.
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(&out)
            .expect("answers");
        file.write_all(b"{\"id\": \"a2").expect("written");
    }
    let output = classify(&[&flags[..], &[&out, "--resume"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("answered before"),
        "{}",
        stderr(&output)
    );
    assert_eq!(untimed(&out), untimed(&whole));
    let output = classify(&[&flags[..], &[&out, "--resume"]].concat());
    assert!(
        stderr(&output).contains("done: 0 articles"),
        "{}",
        stderr(&output)
    );
    assert_eq!(untimed(&out).len(), 300);
}

#[test]
fn failures_are_tried_again_and_other_settings_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, out) = (path(&folder, "in.jsonl"), path(&folder, "out.jsonl"));
    std::fs::write(
        &input,
        line("a", "Oster.") + &line("b", " ") + &line("c", "Oster."),
    )
    .expect("written");
    let flags = ["--format", "jsonl", &input, "--out", &out];
    let resume = |more: &[&str]| classify(&[&flags[..], &["--resume"], more].concat());
    assert_eq!(classify(&flags).status.code(), Some(1));
    // The bad article is mended in the meantime.
    std::fs::write(
        &input,
        line("a", "Oster.") + &line("b", "Norland.") + &line("c", "Oster."),
    )
    .expect("written");
    let output = resume(&["--min-confidence", "0.5"]);
    assert_eq!(output.status.code(), Some(1));
    let told = "with no --party and no --min-confidence; this run has --min-confidence 0.5";
    assert!(stderr(&output).contains(told), "{}", stderr(&output));
    let output = command(&[&flags[..], &["--resume"]].concat())
        .env_remove("COPYDESK_MODEL")
        .output()
        .expect("the executable");
    assert!(
        stderr(&output).contains("was answered by another model"),
        "{}",
        stderr(&output)
    );
    let output = resume(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = std::fs::read_to_string(&out).expect("answers");
    assert_eq!(ids(&text), ["a", "c", "b"]);
    assert!(!text.contains("\"error\""));
    let output = classify(&["--format", "csv", &input, "--out", &out, "--resume"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--resume goes on with --format jsonl"));
}

#[test]
fn tables_and_pages_are_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = path(&folder, "in.jsonl");
    let cut = r#"{"id": "a,\"1\"", "sentences": ["Oster met “Norland,\nhe” said.", "It rained."]}"#;
    std::fs::write(&input, format!("{cut}\n{}", line("b", " "))).expect("written");
    let output = classify(&["--format", "csv", &input]);
    assert_eq!(output.status.code(), Some(1), "b failed");
    let mut reader = csv::Reader::from_reader(output.stdout.as_slice());
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.expect("a row")).collect();
    let text: Vec<&str> = rows.iter().map(|row| &row[5]).collect();
    assert_eq!(text, ["Oster met “Norland,\nhe” said.", "It rained."]);
    assert!(rows.iter().all(|row| &row[0] == "a,\"1\""));
    let html = PathBuf::from(path(&folder, "page.html"));
    let output = classify(&[
        "--format",
        "html",
        &input,
        "--out",
        &html.display().to_string(),
    ]);
    assert_eq!(output.status.code(), Some(1));
    let page = std::fs::read_to_string(html).expect("a page");
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    assert!(page.contains("<b>Not answered.</b> INVALID_ARGUMENT"));
}

#[test]
fn help_and_docs_name_every_column() {
    let help = command(&["--help"])
        .output()
        .expect("the executable")
        .stdout;
    let help = String::from_utf8(help).expect("UTF-8");
    let readme = include_str!("../../docs/input-output.md");
    for rows in [
        copydesk::render::rows::Rows::Sentences,
        copydesk::render::rows::Rows::Parties,
    ] {
        for column in rows.columns() {
            assert!(
                help.contains(&format!("  {}", column.name)),
                "{}",
                column.name
            );
            assert!(
                readme.contains(&format!("`{}`", column.name)),
                "{}",
                column.name
            );
        }
    }
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_goes_in_and_comes_out() {
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use arrow_array::{Int64Array, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use std::fs::File;
    use std::sync::Arc;

    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| File::create(folder.path().join(name)).expect("a file");
    let ids = Int64Array::from_iter_values(7..307);
    let texts = StringArray::from_iter(
        (0..300).map(|i| (i != 5).then_some("Oster met Norland. It rained.")),
    );
    let more = StringArray::from_iter_values((0..300).map(|_| "not read"));
    let table = RecordBatch::try_from_iter([
        ("id", Arc::new(ids) as _),
        ("more", Arc::new(more) as _),
        ("text", Arc::new(texts) as _),
    ])
    .expect("a table");
    let mut writer =
        ArrowWriter::try_new(file("in.parquet"), table.schema(), None).expect("a writer");
    writer.write(&table).expect("written");
    writer.close().expect("written");
    let (input, out) = (path(&folder, "in.parquet"), path(&folder, "out.parquet"));
    let flags = ["--format", "parquet", &input];
    let output = classify(&flags);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("needs --out"));
    let output = classify(&[&flags[..], &["--out", &out]].concat());
    assert_eq!(output.status.code(), Some(1), "one has no text");
    assert!(
        stderr(&output).contains("in.parquet:6 has no \"text\""),
        "{}",
        stderr(&output)
    );
    let read = ParquetRecordBatchReaderBuilder::try_new(File::open(&out).expect("a file"));
    let batches: Vec<RecordBatch> = read
        .and_then(|read| read.build())
        .expect("a table")
        .map(|batch| batch.expect("rows"))
        .collect();
    assert_eq!(
        batches.iter().map(RecordBatch::num_rows).sum::<usize>(),
        299 * 2
    );
    let column = |name: &str| batches[0].column_by_name(name).expect("a column");
    assert_eq!(column("id").as_string::<i32>().value(0), "7");
    assert_eq!(column("sentence").as_primitive::<Int64Type>().value(1), 1);
    assert_eq!(column("text").as_string::<i32>().value(1), "It rained.");
    let names: Vec<&str> = copydesk::render::rows::Rows::Sentences
        .columns()
        .iter()
        .map(|c| c.name)
        .collect();
    let schema = batches[0].schema();
    let found: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(found, names);
}
