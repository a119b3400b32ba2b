//! Windows as JSON Lines, so that other runtimes can be measured on exactly what ours reads.
//!
//! One window a line: `sequences` of token ids and cases (rows of the vocabulary and of the
//! token-type embedding); `sentences`, each with its index in the article, its `pieces` as
//! `[sequence, first token, one past its last]`, its `words` (the first token of each, counted from
//! the sentence's first), and its `places` (buckets of the distance from the article's two ends).
//! Named parties are not written: who reads a window looks for them.

use std::io::{BufRead, Write};
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Error;
use super::articles::cut;
use crate::article::{Article, Limits};
use crate::encode::{Answered, Encoder, Lookup, Sequence, Tokens, Window};

#[derive(Serialize, Deserialize)]
struct Line {
    /// The article's id.
    article: String,
    sequences: Vec<SequenceLine>,
    sentences: Vec<SentenceLine>,
}

#[derive(Serialize, Deserialize)]
struct SequenceLine {
    ids: Vec<u32>,
    cases: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
struct SentenceLine {
    index: usize,
    pieces: Vec<(usize, usize, usize)>,
    words: Vec<usize>,
    places: [u32; 2],
}

/// Writes the windows of the articles, at most `limit` of them; how many there were.
///
/// # Errors
///
/// When an article would be refused, or `out` cannot be written to.
pub fn write(
    articles: impl Iterator<Item = Result<Article, Error>>,
    encoder: &Arc<Encoder>,
    limit: usize,
    out: &mut impl Write,
) -> Result<usize, Error> {
    let mut written = 0;
    for article in articles {
        if written == limit {
            break;
        }
        let article = article?;
        let windows = cut(&article, &Limits::default())?.windows(encoder)?;
        for window in windows.into_iter().take(limit - written) {
            serde_json::to_writer(&mut *out, &line(&article.id, window))?;
            out.write_all(b"\n")?;
            written += 1;
        }
    }
    Ok(written)
}

/// Reads windows; `name` is that of the file.
///
/// # Errors
///
/// Names the line that is no window.
pub fn read(reader: impl BufRead, name: &str) -> Result<Vec<Window>, Error> {
    let mut windows = Vec::new();
    for (n, text) in reader.lines().enumerate() {
        let text = text?;
        if text.trim().is_empty() {
            continue;
        }
        let parsed = serde_json::from_str(&text).map_err(|error| error.to_string());
        let window = parsed.and_then(window).map_err(|problem| Error::Window {
            place: format!("{name}:{}", n + 1),
            problem,
        })?;
        windows.push(window);
    }
    match windows.is_empty() {
        true => Err(Error::NoWindows),
        false => Ok(windows),
    }
}

fn line(article: &str, window: Window) -> Line {
    let sequence = |s: Sequence| SequenceLine {
        ids: s.ids,
        cases: s.cases,
    };
    let sentence = |s: Answered| SentenceLine {
        index: s.index,
        pieces: s
            .pieces
            .into_iter()
            .map(|(sequence, tokens)| (sequence, tokens.start, tokens.end))
            .collect(),
        words: s.tokens.words.clone(),
        places: s.places,
    };
    Line {
        article: article.to_owned(),
        sequences: window.sequences.into_iter().map(sequence).collect(),
        sentences: window.sentences.into_iter().map(sentence).collect(),
    }
}

fn window(line: Line) -> Result<Window, String> {
    let mut sequences = Vec::with_capacity(line.sequences.len());
    for s in line.sequences {
        if s.ids.is_empty() || s.ids.len() != s.cases.len() {
            return Err("a sequence has no ids, or not one case for each".to_owned());
        }
        sequences.push(Sequence {
            ids: s.ids,
            cases: s.cases,
        });
    }
    let sentences = line.sentences.into_iter().map(|s| answered(s, &sequences));
    let sentences = sentences.collect::<Result<_, _>>()?;
    Ok(Window {
        sequences,
        sentences,
    })
}

fn answered(line: SentenceLine, sequences: &[Sequence]) -> Result<Answered, String> {
    let mut tokens = Tokens {
        words: line.words,
        ..Tokens::default()
    };
    let mut pieces: Vec<(usize, Range<usize>)> = Vec::with_capacity(line.pieces.len());
    for (sequence, start, end) in line.pieces {
        let of = sequences.get(sequence);
        let ids = of.and_then(|s| s.ids.get(start..end));
        let cases = of.and_then(|s| s.cases.get(start..end));
        let (Some(ids), Some(cases)) = (ids, cases) else {
            return Err(format!(
                "piece {sequence}, {start}..{end} is not in its sequences"
            ));
        };
        tokens.ids.extend_from_slice(ids);
        tokens.cases.extend_from_slice(cases);
        pieces.push((sequence, start..end));
    }
    if pieces.is_empty() {
        return Err("a sentence has no pieces".to_owned());
    }
    let count = tokens.ids.len();
    if tokens.words.iter().any(|&w| w >= count) || !tokens.words.is_sorted() {
        return Err("words are not tokens of their sentence, in order".to_owned());
    }
    // Where a token stands in the text is not known any more, and nobody asks.
    tokens.ranges = vec![0..0; count];
    Ok(Answered {
        index: line.index,
        pieces,
        tokens: Arc::new(tokens),
        places: line.places,
        lookup: Lookup::Detect,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong_with_a_line() {
        let good = r#"{"article": "a", "sequences": [{"ids": [2, 7, 8, 3], "cases": [0, 1, 1, 0]}], "sentences": [{"index": 0, "pieces": [[0, 1, 3]], "words": [0, 1], "places": [0, 0]}]}"#;
        let windows = read(good.as_bytes(), "w").unwrap();
        assert_eq!(windows[0].tokens(), 4);
        assert_eq!(windows[0].sentences[0].tokens.ids, [7, 8]);
        let check = |from: &str, to: &str, expect: &str| {
            let text = format!("{good}\n{}", good.replace(from, to));
            let error = read(text.as_bytes(), "w").unwrap_err().to_string();
            assert!(error.starts_with("w:2 is no window"), "{error}");
            assert!(error.contains(expect), "{error}");
        };
        check("[0, 1, 3]", "[0, 1, 9]", "is not in its sequences");
        check("[0, 1, 3]", "[1, 1, 3]", "is not in its sequences");
        check("[[0, 1, 3]]", "[]", "has no pieces");
        check("\"words\": [0, 1]", "\"words\": [0, 2]", "words are not");
        check("[0, 1, 1, 0]", "[0]", "not one case for each");
        check("\"article\": \"a\",", "", "article");
        assert!(matches!(read(&b"\n"[..], "w"), Err(Error::NoWindows)));
    }
}
