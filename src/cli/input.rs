//! Articles from files, folders and standard input: plain text, or JSON Lines. Names the file and line of
//! what is wrong, and goes on.

pub(super) mod archive;
#[cfg(feature = "parquet")]
mod parquet;
mod unpack;

use std::io::{self, BufRead, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use clap::ValueEnum;

use self::archive::Archive;
pub use self::unpack::Reader;
use crate::article::json::Line;
use crate::article::{Article, Body};

/// How input is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// JSON Lines if the name ends in .jsonl or the text opens with `{`, else plain text.
    #[default]
    Auto,
    /// One file is one article.
    Text,
    /// One line is one article.
    Jsonl,
}

/// Bytes of one article that are read at all; the limit of the text lies far below.
const MOST: u64 = 64 << 20;

/// An article, or why there is none, with its id (or its place) for the answer.
pub type Item = (String, Result<Article, String>);

/// Reads the files in order, an article at a time; `read` counts the bytes.
pub(super) fn articles(
    archive: Archive,
    format: Format,
    read: Arc<AtomicU64>,
) -> impl Iterator<Item = Item> + Send {
    archive.files().flat_map(move |found| match found {
        Ok(path) => open(&path, format, &read),
        Err((name, problem)) => failed(name, problem),
    })
}

type Items = Box<dyn Iterator<Item = Item> + Send>;

fn failed(name: String, problem: String) -> Items {
    Box::new(std::iter::once((name, Err(problem))))
}

fn open(path: &Path, format: Format, read: &Arc<AtomicU64>) -> Items {
    let name = if archive::is_standard(path) {
        "stdin".to_owned()
    } else {
        path.display().to_string()
    };
    if name.ends_with(".parquet") {
        return in_columns(path, name, read);
    }
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    let mut reader = match unpack::open(path, read) {
        Ok(reader) => reader,
        Err(error) => return failed(name, unreadable(error)),
    };
    let lines = match format {
        Format::Auto if is_jsonl(&name) => Ok(true),
        Format::Auto => opens_with_brace(&mut *reader),
        other => Ok(other == Format::Jsonl),
    };
    match lines {
        Ok(true) => Box::new(json_lines(reader, name)),
        Ok(false) => Box::new(std::iter::once(plain(reader, name))),
        Err(error) => failed(name, unreadable(error)),
    }
}

#[cfg(feature = "parquet")]
fn in_columns(path: &Path, name: String, read: &Arc<AtomicU64>) -> Items {
    match parquet::open(path, &name, read) {
        Ok(rows) => rows,
        Err(problem) => failed(name, problem),
    }
}

#[cfg(not(feature = "parquet"))]
fn in_columns(_: &Path, name: String, _: &Arc<AtomicU64>) -> Items {
    let problem =
        "is Parquet, which this build cannot read: it was made without the feature `parquet`";
    failed(name, problem.to_owned())
}

/// By its name, packed or not.
fn is_jsonl(name: &str) -> bool {
    let bare = name
        .strip_suffix(".gz")
        .or_else(|| name.strip_suffix(".zst"))
        .unwrap_or(name);
    bare.ends_with(".jsonl")
}

/// Whether the first non-blank byte is `{`; reads no further than the buffer.
fn opens_with_brace(reader: &mut dyn BufRead) -> io::Result<bool> {
    let start = reader.fill_buf()?;
    let start = start.strip_prefix("\u{feff}".as_bytes()).unwrap_or(start);
    Ok(start.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{'))
}

fn plain(reader: Reader, name: String) -> Item {
    let mut bytes = Vec::new();
    let article = match reader.take(MOST).read_to_end(&mut bytes) {
        Err(error) => Err(format!("cannot be read: {error}")),
        Ok(_) => utf8(bytes).map(|text| Article {
            id: name.clone(),
            body: Body::Text(text.trim_start_matches('\u{feff}').to_owned()),
            ..Article::default()
        }),
    };
    (name, article)
}

fn utf8(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        format!("is not UTF-8: byte {at} cannot be read; convert the file to UTF-8")
    })
}

/// The articles of JSON Lines, a line at a time; `name` is the file's, for what is wrong with it.
pub fn json_lines(reader: Reader, name: String) -> impl Iterator<Item = Item> + Send {
    Lines {
        reader,
        name,
        number: 0,
        ended: false,
    }
}

struct Lines {
    reader: Reader,
    name: String,
    number: usize,
    ended: bool,
}

impl Iterator for Lines {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        while !self.ended {
            let mut bytes = Vec::new();
            self.number += 1;
            let place = format!("{}:{}", self.name, self.number);
            match (&mut *self.reader).take(MOST).read_until(b'\n', &mut bytes) {
                Ok(0) => return None,
                Ok(n) if n as u64 == MOST => {
                    self.ended = true;
                    return Some((place, Err(format!("is longer than {} MiB", MOST >> 20))));
                }
                Ok(_) if bytes.trim_ascii().is_empty() => {}
                Ok(_) => return Some(parse(place, bytes)),
                Err(error) => {
                    self.ended = true;
                    return Some((place, Err(format!("cannot be read: {error}"))));
                }
            }
        }
        None
    }
}

fn parse(place: String, bytes: Vec<u8>) -> Item {
    let line = match utf8(bytes).and_then(|text| Line::parse(&text)) {
        Ok(line) => line,
        Err(problem) => return (place, Err(problem)),
    };
    let id = line.id().unwrap_or(&place).to_owned();
    match line.into_article(id.clone()) {
        Ok(article) => (id, Ok(article)),
        Err(problem) => (id, Err(format!("{place} {problem}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::article::Parties;

    fn read(text: &str) -> Vec<Item> {
        let reader = Box::new(io::Cursor::new(text.to_owned()));
        json_lines(reader, "a.jsonl".into()).collect()
    }

    #[test]
    fn a_bad_line_is_named_and_the_rest_goes_on() {
        let items = read(
            "{\"id\": \"x\", \"text\": \"A.\"}\n\n{\"id\": \n{\"text\": \"B.\", \"parties\": []}\n",
        );
        let ids: Vec<&str> = items.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["x", "a.jsonl:3", "a.jsonl:4"]);
        assert!(
            items[1]
                .1
                .as_ref()
                .is_err_and(|e| e.contains("is no article"))
        );
        let last = items[2].1.as_ref().unwrap();
        assert_eq!(
            last.parties,
            Parties::Named(vec![]),
            "an empty list looks for none"
        );
    }

    #[test]
    fn says_what_a_line_lacks() {
        let check = |line: &str, expect: &str| {
            let items = read(line);
            let error = items[0].1.as_ref().unwrap_err();
            assert!(error.contains(expect), "{line}: {error}");
        };
        check("{\"id\": \"x\"}", "neither");
        check("{\"text\": \"A.\", \"sentences\": []}", "both");
        check(
            "{\"text\": \"A.\", \"partys\": []}",
            "unknown field `partys`",
        );
        check("[1]", "is no article");
        check(
            "{\"text\": \"A.\", \"parties\": [{\"id\": \"p\", \"spans\": [{\"start\": -1, \"end\": 2}]}]}",
            "-1",
        );
    }
}
