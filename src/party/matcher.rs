//! Finds names in a text: whole words only, letter by letter except in all-capitals text, the
//! longest name winning.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use unicode_normalization::{UnicodeNormalization, is_nfc};

/// A place where a party is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// Index of the party.
    pub party: usize,
    /// UTF-8 bytes of the text.
    pub range: Range<usize>,
}

/// The names of all parties, ready to be searched for.
///
/// Names and text are compared word by word, so white space between words may differ, and so may
/// the kinds of apostrophe and hyphen, and composed letters from decomposed ones. Searching takes
/// time in proportion to the text times the words of the longest name, whatever the names are.
#[derive(Debug, Default)]
pub struct Matcher {
    exact: Trie,
    /// The same names without case, for text in capitals.
    folded: Trie,
}

impl Matcher {
    /// Takes (index of the party, name or alias) pairs. Several parties may share a name.
    pub fn new<'a>(names: impl Iterator<Item = (usize, &'a str)>) -> Self {
        let mut matcher = Self::default();
        for (party, name) in names {
            let words: Vec<Word> = words(name).collect();
            matcher
                .exact
                .insert(words.iter().map(|w| w.text.clone()), party);
            matcher.folded.insert(words.iter().map(Word::folded), party);
        }
        matcher
    }

    /// The mentions in each of `sentences` (bytes of `text`), in the order of the text. Mentions
    /// do not overlap, but where parties share a name each is given. `None` if there are more than
    /// `most`.
    pub fn find(
        &self,
        text: &str,
        sentences: &[Range<usize>],
        most: usize,
    ) -> Option<Vec<Vec<Mention>>> {
        let mut left = most;
        let mut all = Vec::with_capacity(sentences.len());
        for sentence in sentences {
            let found = self.find_in(&text[sentence.clone()], sentence.start, left)?;
            left -= found.len();
            all.push(found);
        }
        Some(all)
    }

    fn find_in(&self, sentence: &str, offset: usize, most: usize) -> Option<Vec<Mention>> {
        let words: Vec<Word> = words(sentence).collect();
        let capitals = in_capitals(sentence);
        let ids: Vec<Option<u32>> = match capitals {
            true => words
                .iter()
                .map(|w| self.folded.word(&w.folded()))
                .collect(),
            false => words.iter().map(|w| self.exact.word(&w.text)).collect(),
        };
        let trie = if capitals { &self.folded } else { &self.exact };
        let mut found = Vec::new();
        let mut at = 0;
        while at < ids.len() {
            let Some((length, parties)) = trie.longest(&ids[at..]) else {
                at += 1;
                continue;
            };
            if found.len() + parties.len() > most {
                return None;
            }
            let (first, last) = (&words[at].range, &words[at + length - 1].range);
            let range = offset + first.start..offset + last.end;
            found.extend(parties.iter().map(|&party| Mention {
                party,
                range: range.clone(),
            }));
            at += length;
        }
        Some(found)
    }
}

/// Whether a sentence is written in capitals: two cased letters at least, none of them small.
fn in_capitals(sentence: &str) -> bool {
    let small = sentence.chars().any(char::is_lowercase);
    !small
        && sentence
            .chars()
            .filter(|c| c.is_uppercase())
            .nth(1)
            .is_some()
}

/// A word, or one mark between words.
struct Word<'a> {
    text: Cow<'a, str>,
    range: Range<usize>,
}

impl<'a> Word<'a> {
    fn new(text: &'a str, range: Range<usize>) -> Self {
        let text = &text[range.clone()];
        let text = match text {
            "’" | "‘" | "ʼ" => Cow::Borrowed("'"),
            "‐" | "‑" => Cow::Borrowed("-"),
            _ if is_nfc(text) => Cow::Borrowed(text),
            _ => Cow::Owned(text.nfc().collect()),
        };
        Self { text, range }
    }

    fn folded(&self) -> Cow<'a, str> {
        Cow::Owned(self.text.to_lowercase())
    }
}

/// Runs of letters, digits and marks that combine with them; every other character but white space
/// stands alone, and so does one of a script that sets no space between words.
fn words(text: &str) -> impl Iterator<Item = Word<'_>> {
    let mut chars = text.char_indices().peekable();
    std::iter::from_fn(move || {
        let (start, first) = chars.find(|(_, c)| !c.is_whitespace())?;
        let mut end = start + first.len_utf8();
        let joins = |c: char| joined(c) && !unspaced(c);
        let run = joins(first);
        while let Some((at, c)) = chars.next_if(|&(_, c)| {
            if run {
                joins(c) || combining(c)
            } else {
                combining(c)
            }
        }) {
            end = at + c.len_utf8();
        }
        Some(Word::new(text, start..end))
    })
}

fn joined(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn combining(c: char) -> bool {
    unicode_normalization::char::is_combining_mark(c)
}

/// Han, kana, Thai, Lao, Khmer and Burmese write words without spaces.
fn unspaced(c: char) -> bool {
    matches!(c,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// Names as paths of words.
#[derive(Debug, Default)]
struct Trie {
    words: HashMap<String, u32>,
    /// (node, word) → node; node 0 is the root.
    steps: HashMap<(u32, u32), u32>,
    /// Parties whose name ends at a node.
    ends: HashMap<u32, Vec<usize>>,
}

impl Trie {
    fn insert<'a>(&mut self, name: impl Iterator<Item = Cow<'a, str>>, party: usize) {
        let mut node = 0;
        for text in name {
            let fresh = self.words.len() as u32;
            let word = *self.words.entry(text.into_owned()).or_insert(fresh);
            let fresh = self.steps.len() as u32 + 1;
            node = *self.steps.entry((node, word)).or_insert(fresh);
        }
        let parties = self.ends.entry(node).or_default();
        // They come in order, nearly always, and many may share a name.
        if node != 0
            && let Err(at) = parties.binary_search(&party)
        {
            parties.insert(at, party);
        }
    }

    fn word(&self, text: &str) -> Option<u32> {
        self.words.get(text).copied()
    }

    /// The longest name that `words` opens with: its length in words, and whose it is.
    fn longest(&self, words: &[Option<u32>]) -> Option<(usize, &[usize])> {
        let (mut node, mut best) = (0, None);
        for (i, word) in words.iter().enumerate() {
            let step = word.and_then(|w| self.steps.get(&(node, w)));
            let Some(&next) = step else { break };
            node = next;
            if let Some(parties) = self.ends.get(&node) {
                best = Some((i + 1, parties.as_slice()));
            }
        }
        best
    }
}
