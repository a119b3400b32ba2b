//! Finds the quoted words of each sentence; refuses to take an apostrophe, a foot or an
//! inch for a quotation mark, and to let an unclosed mark run past its paragraph.
//!
//! Marks form three families that close only each other: double (curly, straight,
//! doubled single and `„`), guillemets, and single. Writers mix the double ones up, so
//! any of them closes any other. Only the outermost quotation is reported. A single mark
//! opens only where another that looks like its end follows: in the sentence or, for a
//! curly one or an end behind punctuation, in the paragraph.
//!
//! A quotation open at the end of a paragraph ends there, unless the next paragraph
//! begins with an opening mark of its family. One open where a later sentence of the
//! paragraph begins with an opening mark is taken for unclosed, and ends before it.
//!
//! [`Kind::Direct`] is a clause of its own: a quotation that runs over a sentence's end,
//! or begins with a capital behind a comma, colon, dash, stop or verb of saying, or
//! begins the sentence with a capital and ends in punctuation or before a verb of saying.
//! What resumes a direct quotation of the same sentence behind a comma is direct too.
//! All else is [`Kind::Mixed`].
//!
//! Each paragraph is decided with a look at the first characters of the next one, in
//! linear time.

use std::ops::Range;

use crate::segment::{Sentence, is_saying};

/// How quoted words stand in the writer's sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A clause of its own.
    Direct,
    /// A fragment in the writer's own sentence.
    Mixed,
}

/// Quoted words within one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quotation {
    /// UTF-8 bytes of the text, without the marks, trimmed, never empty.
    pub range: Range<usize>,
    /// A clause of its own, or a fragment.
    pub kind: Kind,
    /// Goes on in the next sentence.
    pub running: bool,
    /// Began in an earlier sentence.
    pub opened_before: bool,
}

/// One list per sentence. `sentences` are sorted disjoint byte ranges of `text`.
///
/// ```
/// use copydesk::{quote, segment};
///
/// let text = "“We waited. Nobody came,” she said.";
/// let sentences = segment::sentences(text);
/// let quoted = quote::quotations(text, &sentences);
/// assert_eq!(&text[quoted[0][0].range.clone()], "We waited.");
/// assert!(quoted[0][0].running && quoted[1][0].opened_before);
/// ```
pub fn quotations(text: &str, sentences: &[Sentence]) -> Vec<Vec<Quotation>> {
    let mut reader = Reader {
        text,
        found: vec![Vec::new(); sentences.len()],
        open: None,
    };
    let mut index = 0;
    for paragraph in sentences.chunk_by(|a, b| a.paragraph == b.paragraph) {
        reader.read_paragraph(index, paragraph);
        index += paragraph.len();
        reader.end_paragraph(index, sentences.get(index));
    }
    reader.found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Double,
    Guillemet,
    Single,
}

/// What precedes a quotation in its sentence.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lead {
    Nothing,
    Comma,
    Break,
    Words,
}

struct Open {
    family: Family,
    lead: Lead,
    start: usize,
    depth: usize,
    before: bool,
}

struct Reader<'a> {
    text: &'a str,
    found: Vec<Vec<Quotation>>,
    open: Option<Open>,
}

impl Reader<'_> {
    fn read_paragraph(&mut self, index: usize, paragraph: &[Sentence]) {
        let last = paragraph.last().map_or(0, |sentence| sentence.range.end);
        let first = paragraph.first().map_or(last, |s| s.range.start);
        let ends = Ends::of(self.text, first..last);
        for (offset, sentence) in paragraph.iter().enumerate() {
            self.resume(index + offset, sentence, offset == 0);
            self.read_sentence(index + offset, sentence, &ends);
            self.leave(index + offset, sentence);
        }
    }

    /// Carries an open quotation into a sentence, past a mark that opens it again.
    fn resume(&mut self, index: usize, sentence: &Sentence, first: bool) {
        let Some(mut open) = self.open.take() else {
            return;
        };
        let mark = Mark::read(self.text, sentence.range.start);
        let again = mark.filter(|mark| mark.opens_again(open.family));
        if again.is_some() && !first {
            self.end_unclosed(index);
            return;
        }
        open.start = again.map_or(sentence.range.start, |mark| mark.end());
        open.before = true;
        open.depth = 0;
        self.open = Some(open);
    }

    fn read_sentence(&mut self, index: usize, sentence: &Sentence, ends: &Ends) {
        let whole = sentence.range.clone();
        let here = Ends::of(self.text, whole.clone());
        let mut past = self.open.as_ref().map_or(whole.start, |open| open.start);
        for (offset, _) in self.text[whole.clone()].char_indices() {
            let at = whole.start + offset;
            let mark = (at >= past).then(|| Mark::read(self.text, at)).flatten();
            if let Some(mark) = mark {
                past = mark.end();
                self.meet(index, sentence, &mark, ends, &here);
            }
        }
    }

    fn meet(&mut self, index: usize, sentence: &Sentence, mark: &Mark, all: &Ends, here: &Ends) {
        match &mut self.open {
            None if mark.opens && mark.will_end(all, here) => {
                self.open = Some(Open {
                    family: mark.family,
                    lead: lead(&self.text[sentence.range.start..mark.at]),
                    start: mark.end(),
                    depth: 0,
                    before: false,
                });
            }
            Some(open) if open.family == mark.family => {
                if mark.nests() {
                    open.depth += 1;
                } else if mark.closes && open.depth > 0 {
                    open.depth -= 1;
                } else if mark.closes {
                    self.close(index, sentence, mark);
                }
            }
            _ => {}
        }
    }

    fn close(&mut self, index: usize, sentence: &Sentence, mark: &Mark) {
        let Some(open) = self.open.take() else {
            return;
        };
        let after = &self.text[mark.end()..sentence.range.end];
        let range = trimmed(self.text, open.start..mark.at);
        if range.is_empty() && open.before {
            self.end_unclosed(index);
        }
        let resumes = self.found[index]
            .last()
            .is_some_and(|last| last.kind == Kind::Direct);
        let kind = if open.before {
            Kind::Direct
        } else {
            kind(open.lead, &self.text[range.clone()], after, resumes)
        };
        self.push(index, range, kind, &open, false);
    }

    /// Ends a sentence: what is open runs on.
    fn leave(&mut self, index: usize, sentence: &Sentence) {
        if let Some(open) = self.open.take() {
            let range = trimmed(self.text, open.start..sentence.range.end);
            self.push(index, range, Kind::Direct, &open, true);
            self.open = Some(open);
        }
    }

    fn push(&mut self, index: usize, range: Range<usize>, kind: Kind, open: &Open, running: bool) {
        if !range.is_empty() {
            self.found[index].push(Quotation {
                range,
                kind,
                running,
                opened_before: open.before,
            });
        }
    }

    fn end_paragraph(&mut self, next_index: usize, next: Option<&Sentence>) {
        let Some(open) = &self.open else {
            return;
        };
        let mark = next.and_then(|next| Mark::read(self.text, next.range.start));
        if mark.is_none_or(|mark| !mark.opens_again(open.family)) {
            let lead = open.lead;
            self.open = None;
            self.end_unclosed(next_index);
            self.judge_again(next_index, lead);
        }
    }

    /// Takes back the promise that the sentence before `index` runs on.
    fn end_unclosed(&mut self, index: usize) {
        if let Some(last) = self.last_before(index) {
            last.running = false;
        }
    }

    /// A quotation that only a lost mark made run is judged by its words.
    fn judge_again(&mut self, index: usize, lead: Lead) {
        let text = self.text;
        if let Some(last) = self.last_before(index).filter(|last| !last.opened_before) {
            last.kind = kind(lead, &text[last.range.clone()], "", false);
        }
    }

    fn last_before(&mut self, index: usize) -> Option<&mut Quotation> {
        self.found.get_mut(index.checked_sub(1)?)?.last_mut()
    }
}

fn lead(before: &str) -> Lead {
    let before = before.trim_end();
    match before.chars().next_back() {
        None => Lead::Nothing,
        Some(',') => Lead::Comma,
        Some(c) if is_break(c) => Lead::Break,
        _ if ends_in_saying(before) => Lead::Break,
        _ => Lead::Words,
    }
}

fn is_break(c: char) -> bool {
    matches!(
        c,
        ':' | ';' | '.' | '!' | '?' | '…' | '-' | '–' | '—' | '•' | '*' | '(' | '[' | '|'
    )
}

/// Ends in a verb of saying, or in whom it was said to: "told me".
fn ends_in_saying(text: &str) -> bool {
    let mut words = text.rsplit(|c: char| !c.is_alphabetic());
    words.next().is_some_and(is_saying)
        || matches!(words.next(), Some("told" | "tells" | "asked" | "asks"))
}

fn kind(lead: Lead, words: &str, after: &str, resumes: bool) -> Kind {
    let first = words.chars().find(|c| c.is_alphanumeric());
    let begins = first.is_none_or(|c| !c.is_lowercase());
    let direct = match lead {
        Lead::Comma => begins || resumes,
        Lead::Break => begins,
        Lead::Nothing => begins && (is_punctuated(words) || is_attributed(after)),
        Lead::Words => false,
    };
    if direct { Kind::Direct } else { Kind::Mixed }
}

fn is_punctuated(words: &str) -> bool {
    // A quotation within it may close behind the punctuation.
    words
        .trim_end_matches(|c: char| family(c).is_some() || c.is_whitespace())
        .ends_with([',', '.', '!', '?', '…', '-', '–', '—'])
}

/// Whether what follows a quotation tells its speaker, or ends the sentence.
fn is_attributed(after: &str) -> bool {
    let after = after.trim_start();
    after.is_empty()
        || after.starts_with([',', '.', '!', '?', '-', '–', '—'])
        || after
            .split_whitespace()
            .take(4)
            .any(|word| is_saying(word.trim_end_matches([',', '.', ':'])))
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let piece = text.get(range.clone()).unwrap_or_default();
    let start = range.start + (piece.len() - piece.trim_start().len());
    start..start + piece.trim().len()
}

/// A mark and what its neighbours let it do.
struct Mark {
    at: usize,
    len: usize,
    family: Family,
    opens: bool,
    closes: bool,
    /// White space, an opening mark or nothing stands before, and none behind.
    leans: bool,
    curly: bool,
}

impl Mark {
    fn read(text: &str, at: usize) -> Option<Self> {
        let c = text.get(at..)?.chars().next()?;
        let family = family(c)?;
        let around = Around::read(text, at, c);
        let doubled = family == Family::Single && around.doubled;
        let family = if doubled { Family::Double } else { family };
        let (opens, closes) = match c {
            '«' => (true, false),
            '»' => (false, true),
            '"' | '\'' | '`' | '‘' | '’' | '“' | '”' | '„' | '‟' if family == Family::Double => {
                around.double(c)
            }
            _ => around.single(c),
        };
        (opens || closes).then_some(Mark {
            at,
            len: around.len,
            family,
            opens,
            closes,
            leans: around.leans(),
            curly: c == '‘',
        })
    }

    fn end(&self) -> usize {
        self.at + self.len
    }

    /// Begins a paragraph of a quotation that the one before left open.
    fn opens_again(&self, family: Family) -> bool {
        self.family == family && self.opens && self.leans
    }

    fn nests(&self) -> bool {
        self.opens && self.leans
    }

    fn will_end(&self, paragraph: &Ends, sentence: &Ends) -> bool {
        let behind = |end: Option<usize>| end.is_some_and(|end| end > self.at);
        self.family != Family::Single
            || behind(sentence.any)
            || behind(paragraph.firm)
            || self.curly && behind(paragraph.any)
    }
}

fn family(c: char) -> Option<Family> {
    match c {
        '"' | '“' | '”' | '„' | '‟' => Some(Family::Double),
        '«' | '»' => Some(Family::Guillemet),
        '\'' | '‘' | '’' | '`' => Some(Family::Single),
        _ => None,
    }
}

struct Around<'a> {
    before: Option<char>,
    after: Option<char>,
    len: usize,
    doubled: bool,
    feet: bool,
    behind: &'a str,
}

impl<'a> Around<'a> {
    fn read(text: &'a str, at: usize, c: char) -> Self {
        let rest = &text[at + c.len_utf8()..];
        let doubled = matches!(c, '\'' | '`' | '‘' | '’') && rest.starts_with(c);
        let len = c.len_utf8() * (1 + usize::from(doubled));
        let behind = &text[at + len..];
        let mut back = text[..at].chars().rev();
        let before = back.next();
        // Six feet two is written 6'2".
        let feet = before.is_some_and(|b| b.is_ascii_digit())
            && back
                .find(|b| !b.is_ascii_digit())
                .is_some_and(|b| matches!(b, '\'' | '’' | '′'));
        Around {
            before,
            after: behind.chars().next(),
            len,
            doubled,
            feet,
            behind,
        }
    }

    fn free_before(&self) -> bool {
        self.before
            .is_none_or(|c| c.is_whitespace() || is_opening(c))
    }

    fn free_after(&self) -> bool {
        self.after.is_none_or(char::is_whitespace)
    }

    fn leans(&self) -> bool {
        self.free_before() && !self.free_after()
    }

    /// Whether a double mark opens, and whether it closes.
    fn double(&self, c: char) -> (bool, bool) {
        let word_after = self.after.is_some_and(char::is_alphanumeric);
        match c {
            '“' | '„' | '‟' | '‘' | '`' => (true, !self.free_before() && !word_after),
            '”' | '’' => (self.leans() && word_after, !self.leans() || !word_after),
            _ if self.feet => (false, false),
            _ => {
                let stuck = self.before.is_some_and(char::is_alphanumeric);
                let number = self.before.is_some_and(|b| b.is_ascii_digit());
                let opens = self.free_before() || word_after && !number;
                (opens && (word_after || !stuck), !self.leans())
            }
        }
    }

    /// Whether a single mark opens, and whether it closes.
    fn single(&self, c: char) -> (bool, bool) {
        let word_after = self
            .after
            .is_some_and(|a| a.is_alphanumeric() || is_opening(a) || a == '…' || a == '.');
        let opens = c != '’' && self.free_before() && word_after && !self.elides();
        (opens, c != '‘' && self.ends_single())
    }

    /// Apostrophes that open a word: '90s, 'em, rock 'n' roll.
    fn elides(&self) -> bool {
        let digits = self.behind.bytes().take_while(u8::is_ascii_digit).take(3);
        let word = self
            .behind
            .split(|c: char| !c.is_alphabetic())
            .next()
            .unwrap_or_default();
        digits.count() == 2
            || matches!(
                word,
                "bout" | "cause" | "cos" | "em" | "n" | "round" | "til" | "till" | "tis" | "twas"
            )
    }

    fn ends_single(&self) -> bool {
        let word_after = self.after.is_some_and(char::is_alphanumeric);
        let word_before = self.before.is_some_and(char::is_alphanumeric);
        !(self.free_before() || word_after || word_before && self.owns())
    }

    /// "the workers' strike", "6' tall", "rock 'n' roll": no end of a quotation.
    fn owns(&self) -> bool {
        let word_follows = self
            .behind
            .strip_prefix(' ')
            .is_some_and(|rest| rest.starts_with(char::is_alphabetic));
        let plural = matches!(self.before, Some('s' | 'S' | 'n' | 'z'));
        plural && word_follows || self.before.is_some_and(|b| b.is_ascii_digit())
    }
}

fn is_opening(c: char) -> bool {
    matches!(
        c,
        '(' | '[' | '{' | '"' | '“' | '„' | '‘' | '\'' | '`' | '«' | '-' | '–' | '—' | '/'
    )
}

/// The last single marks of a stretch that can end a quotation.
struct Ends {
    any: Option<usize>,
    /// Behind punctuation, where no apostrophe stands.
    firm: Option<usize>,
}

impl Ends {
    fn of(text: &str, range: Range<usize>) -> Self {
        let mut ends = Ends {
            any: None,
            firm: None,
        };
        let marks = |c: char| matches!(c, '\'' | '’');
        for (offset, _) in text[range.clone()].match_indices(marks) {
            let at = range.start + offset;
            let single =
                Mark::read(text, at).is_some_and(|m| m.closes && m.family == Family::Single);
            if single {
                ends.any = Some(at);
                let before = text[..at].chars().next_back();
                if matches!(before, Some(',' | '.' | '!' | '?' | '…')) {
                    ends.firm = Some(at);
                }
            }
        }
        ends
    }
}

#[cfg(test)]
mod tests;
