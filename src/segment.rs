//! Cuts English news copy into sentences and paragraphs; refuses to drop, change or
//! look up anything: every non-white character lands in exactly one sentence.
//!
//! A paragraph ends at a blank line. A single newline ends one too, unless the block
//! between blank lines is hard-wrapped: its longest line has 40 to 132 columns, some
//! line in it begins in lower case, and at least half of its lines are full (the first
//! word of the next line would not have fitted). There a newline after a full line is a
//! space. A line that opens with a bullet begins a paragraph always.
//!
//! A sentence ends at a run of `.`, `!`, `?` or `…` together with the closing marks and
//! footnote numbers behind it, unless what follows goes on in lower case or the full
//! stop belongs to an abbreviation. Quotation marks are never a shelter: a quotation of
//! three sentences is three sentences, as newsrooms count them. None ends in a list of
//! related links that a scraper left behind a name (`links.rs`).
//!
//! The scan looks back and ahead by bounded amounts only, so its time is linear.

mod links;
mod words;

use std::ops::Range;

pub(crate) use links::link_lists;
pub(crate) use words::is_saying;
use words::{
    Abbreviation, abbreviation, fronts_a_time, is_determiner, is_exclaiming_name, is_numeral,
    is_starter, is_time_tail, is_unit,
};

/// A sentence of a text, without its outer white space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// UTF-8 bytes of the text.
    pub range: Range<usize>,
    /// Counted from 0.
    pub paragraph: usize,
}

/// All sentences of `text`, in order; none for a blank text. Time linear in its length.
///
/// ```
/// let text = "Dr. Brandt left at 5 p.m. on Tuesday. \"We will be back,\" she said.\n\nThe port is shut.";
/// let cut = copydesk::segment::sentences(text);
/// let found: Vec<_> = cut.iter().map(|s| (s.paragraph, &text[s.range.clone()])).collect();
/// assert_eq!(found, [
///     (0, "Dr. Brandt left at 5 p.m. on Tuesday."),
///     (0, "\"We will be back,\" she said."),
///     (1, "The port is shut."),
/// ]);
/// ```
pub fn sentences(text: &str) -> Vec<Sentence> {
    let mut found = Vec::new();
    for (paragraph, range) in paragraphs(text).into_iter().enumerate() {
        let base = range.start;
        let cuts = cut(&text[range]).into_iter();
        found.extend(cuts.map(|cut| Sentence {
            range: base + cut.start..base + cut.end,
            paragraph,
        }));
    }
    found
}

/// How far back an abbreviation, or ahead an attribution, is looked for.
const REACH: usize = 120;

// ---- paragraphs ----

const NARROWEST: usize = 40;
const WIDEST: usize = 132;

fn paragraphs(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut block = Vec::new();
    for line in lines(text) {
        if line.is_empty() {
            close_block(text, &mut block, &mut found);
        } else {
            block.push(line);
        }
    }
    close_block(text, &mut block, &mut found);
    found
}

/// The lines of a text without their outer white space; a blank one is empty.
fn lines(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut previous = None;
    for (at, c) in text.char_indices() {
        if is_line_break(c) {
            // CR LF is one break; the piece between the two is no blank line.
            if !(c == '\n' && previous == Some('\r') && start == at) {
                found.push(trimmed(text, start..at));
            }
            start = at + c.len_utf8();
        }
        previous = Some(c);
    }
    found.push(trimmed(text, start..text.len()));
    found
}

fn is_line_break(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let piece = &text[range.clone()];
    let start = range.start + (piece.len() - piece.trim_start().len());
    start..start + piece.trim().len()
}

fn close_block(text: &str, block: &mut Vec<Range<usize>>, found: &mut Vec<Range<usize>>) {
    let width = wrap_width(text, block);
    let mut open: Option<Range<usize>> = None;
    let mut previous_columns = 0;
    for line in block.drain(..) {
        let words = &text[line.clone()];
        let joins = width.is_some_and(|width| is_full(previous_columns, words, width));
        previous_columns = words.chars().count();
        match &mut open {
            Some(paragraph) if joins && !is_bullet(words) => paragraph.end = line.end,
            _ => found.extend(open.replace(line)),
        }
    }
    found.extend(open);
}

/// The column at which a block is hard-wrapped, if it is.
fn wrap_width(text: &str, block: &[Range<usize>]) -> Option<usize> {
    let columns: Vec<usize> = block
        .iter()
        .map(|line| text[line.clone()].chars().count())
        .collect();
    let width = columns.iter().copied().max()?;
    let following = || block.iter().skip(1).map(|line| &text[line.clone()]);
    let full = following()
        .zip(&columns)
        .filter(|(next, columns)| is_full(**columns, next, width))
        .count();
    let wrapped = (NARROWEST..=WIDEST).contains(&width)
        && following().any(|line| line.starts_with(char::is_lowercase))
        && 2 * full >= block.len() - 1;
    wrapped.then_some(width)
}

/// Whether the first word of the next line would not have fitted; a tenth of the width
/// is forgiven, for editors that wrap early.
fn is_full(columns: usize, next: &str, width: usize) -> bool {
    let word = next.split_whitespace().next().unwrap_or_default();
    columns + 1 + word.chars().count() > width - width / 10
}

fn is_bullet(line: &str) -> bool {
    let Some((mark, _)) = line.split_once(char::is_whitespace) else {
        return false;
    };
    let number = mark.trim_end_matches(['.', ')']);
    matches!(
        mark,
        "-" | "–" | "—" | "*" | "•" | "·" | "▪" | "◦" | "‣" | "■" | "●"
    ) || number.len() < mark.len() && is_short_number(number)
}

fn is_short_number(word: &str) -> bool {
    (1..=3).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_digit())
}

// ---- sentences of one paragraph ----

fn cut(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut past = 0;
    let mut marks = Marks::default();
    let mut skipped = link_lists(text).into_iter().peekable();
    for (at, c) in text.char_indices() {
        while skipped.next_if(|s| s.end <= at).is_some() {}
        if skipped.peek().is_some_and(|s| s.contains(&at)) {
            continue;
        }
        if at >= past && is_terminator(c) {
            let run = Run::read(text, at, marks);
            past = run.end;
            let listed = skipped.peek().is_some_and(|s| s.start == run.end);
            if run.end < text.len() && !listed && run.ends_sentence(&text[start..]) {
                found.push(trimmed(text, start..run.end));
                start = run.end;
            }
        }
        marks.pass(text, at, c);
    }
    found.push(trimmed(text, start..text.len()));
    found.retain(|range| !range.is_empty());
    found
}

fn is_terminator(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…' | '‼' | '⁇' | '⁈' | '⁉') || is_wide_terminator(c)
}

/// Full-width stops need no space behind them.
fn is_wide_terminator(c: char) -> bool {
    matches!(c, '。' | '！' | '？' | '｡')
}

/// Which marks stand open. Only asked where a straight mark has space on both sides,
/// or none on either, so that its shape does not tell.
#[derive(Clone, Copy, Default)]
struct Marks {
    double: bool,
    single: bool,
}

impl Marks {
    fn pass(&mut self, text: &str, at: usize, c: char) {
        let before = char_before(text, at);
        match c {
            '“' => self.double = true,
            '”' => self.double = false,
            // After a digit, a mark that closes nothing means inches.
            '"' if self.double || !before.is_some_and(|b| b.is_ascii_digit()) => {
                self.double = !self.double;
            }
            '\'' if before == Some('\'') => self.double = !self.double,
            '\'' if stands_alone(text, at, 1) => self.single = !self.single,
            _ => {}
        }
    }
}

fn stands_alone(text: &str, at: usize, len: usize) -> bool {
    let white_or_none = |c: Option<char>| c.is_none_or(char::is_whitespace);
    white_or_none(char_before(text, at)) && white_or_none(char_at(text, at + len))
}

fn char_at(text: &str, at: usize) -> Option<char> {
    text.get(at..)?.chars().next()
}

fn char_before(text: &str, at: usize) -> Option<char> {
    text.get(..at)?.chars().next_back()
}

fn white_from(text: &str, at: usize) -> usize {
    text[at..].len() - text[at..].trim_start().len()
}

/// A run of end marks with the closing marks and footnotes behind it.
struct Run<'a> {
    text: &'a str,
    start: usize,
    end: usize,
    dots: usize,
    exclaims: bool,
    wide: bool,
    quote_closed: bool,
    double_closed: bool,
}

impl<'a> Run<'a> {
    fn read(text: &'a str, start: usize, marks: Marks) -> Self {
        let mut run = Run {
            text,
            start,
            end: start,
            dots: 0,
            exclaims: false,
            wide: false,
            quote_closed: false,
            double_closed: false,
        };
        while let Some(len) = run.step(marks) {
            run.end += len;
        }
        run
    }

    /// The length of what belongs to the run next.
    fn step(&mut self, marks: Marks) -> Option<usize> {
        let white = white_from(self.text, self.end);
        let at = self.end + white;
        let c = char_at(self.text, at)?;
        let len = if is_terminator(c) {
            self.take_terminator(at, c, white)?
        } else if let Some(len) = footnote(self.text, at, white) {
            len
        } else {
            self.take_closer(at, c, white, marks)?
        };
        Some(white + len)
    }

    fn take_terminator(&mut self, at: usize, c: char, white: usize) -> Option<usize> {
        // "so. .5 percent" and "so. ...and on" begin something new.
        if white > 0 && starts_word(self.text[at..].trim_start_matches(is_terminator)) {
            return None;
        }
        self.dots += match c {
            '.' => 1,
            '…' => 3,
            _ => 0,
        };
        self.wide |= is_wide_terminator(c);
        self.exclaims |= !matches!(c, '.' | '…') && !self.wide;
        Some(c.len_utf8())
    }

    fn take_closer(&mut self, at: usize, c: char, white: usize, marks: Marks) -> Option<usize> {
        let len = mark_len(self.text, at, c);
        let after = char_at(self.text, at + len);
        let loose = after.is_none_or(|a| !a.is_alphanumeric() && !is_opener(a));
        // One run closes each kind of mark that stands open once.
        let double = marks.double && !self.double_closed;
        let single = marks.single && !self.quote_closed;
        let closes = match c {
            ')' | ']' | '}' | '”' | '»' | '›' => true,
            '’' => loose,
            '"' if white == 0 => loose || double,
            '\'' | '`' | '“' | '‘' if white == 0 => loose,
            '"' | '“' => double && stands_alone(self.text, at, len),
            '\'' if len == 2 => double && stands_alone(self.text, at, len),
            '\'' => single && stands_alone(self.text, at, len),
            _ => false,
        };
        self.quote_closed |= closes && !matches!(c, ')' | ']' | '}');
        self.double_closed |= closes && (len > 1 || matches!(c, '"')) && !matches!(c, '’' | '‘');
        closes.then_some(len)
    }

    fn ends_sentence(&self, from_start: &str) -> bool {
        let rest = &self.text[self.end..];
        let next = Next::read(rest);
        if self.wide {
            return true;
        }
        if !rest.starts_with(char::is_whitespace) {
            return self.glued_end(&next);
        }
        if next.goes_on() {
            return false;
        }
        if self.exclaims {
            return self.exclamation_ends(&next);
        }
        if self.dots > 1 {
            return self.quote_closed || !next.is_word("I");
        }
        let head = &from_start[..from_start.len() - (self.text.len() - self.start)];
        self.full_stop_ends(head, &next)
    }

    fn exclamation_ends(&self, next: &Next) -> bool {
        if self.quote_closed && (next.dashed || next.is_attribution()) {
            return false;
        }
        !is_exclaiming_name(last_token(&self.text[..self.start])) || is_starter(next.word)
    }

    fn full_stop_ends(&self, head: &str, next: &Next) -> bool {
        let token = last_token(head);
        if token.is_empty() {
            return !self.quote_closed || !next.dashed;
        }
        let kind = abbreviation(token);
        // "2. Taxes" counts and "A.D. 79" dates; neither says anything yet.
        let opens = is_short_number(token) || is_letter(token) || kind == Abbreviation::Time;
        if opens && head.trim_start() == token {
            return false;
        }
        let before = last_token(head.trim_end().strip_suffix(token).unwrap_or_default());
        match kind {
            Abbreviation::None if is_unit(token) && ends_in_number(before) => {
                is_starter(next.word) || next.is_capital() && !is_fronted(head)
            }
            Abbreviation::None => !self.quote_closed || !next.dashed,
            Abbreviation::Title => false,
            Abbreviation::Numbered => !next.is_number(),
            Abbreviation::Time => {
                !next.dashed
                    && !is_time_tail(next.word)
                    && (is_starter(next.word) || next.fresh() && !is_fronted(head))
            }
            Abbreviation::Degree if is_determiner(before) => !next.dashed,
            Abbreviation::Degree | Abbreviation::Name => next.starts_afresh(),
        }
    }

    /// "ended.The next": a space was lost.
    fn glued_end(&self, next: &Next) -> bool {
        if !next.is_capital() || self.dots > 1 && !self.quote_closed {
            return false;
        }
        let head = &self.text[..self.start];
        let token = tail(head)
            .rsplit(char::is_whitespace)
            .next()
            .unwrap_or_default();
        let odd = |c: char| matches!(c, '/' | '@' | ':' | '_' | '.' | '\\' | '=');
        if token.contains(odd) || next.token.contains(['/', '@', '_', '(', '\\', '=']) {
            return false;
        }
        let long = next.word.len() > 2;
        let plain = token.len() > 1 && token.chars().all(char::is_lowercase);
        self.quote_closed
            || long && is_starter(next.word)
            || long && plain && next.word.chars().skip(1).all(char::is_lowercase)
            || matches!(next.word, "Mr" | "Mrs" | "Ms" | "Dr")
    }
}

fn mark_len(text: &str, at: usize, c: char) -> usize {
    let doubled = matches!(c, '\'' | '`') && text[at + 1..].starts_with(c);
    c.len_utf8() * (1 + usize::from(doubled))
}

/// A footnote mark: `[1]`, or glued to the stop a raised digit or a dagger.
fn footnote(text: &str, at: usize, white: usize) -> Option<usize> {
    let rest = &text[at..];
    if let Some(inner) = rest.strip_prefix('[') {
        let digits = inner.len() - inner.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let closed = (1..=3).contains(&digits) && inner[digits..].starts_with(']');
        return closed.then_some(digits + 2);
    }
    let raised = |c: &char| matches!(c, '¹' | '²' | '³' | '⁰' | '⁴'..='⁹' | '†' | '‡' | '*');
    let c = rest.chars().next().filter(|c| white == 0 && raised(c))?;
    Some(c.len_utf8())
}

fn starts_word(text: &str) -> bool {
    text.starts_with(char::is_alphanumeric)
}

fn is_letter(word: &str) -> bool {
    word.len() == 1 && word.bytes().all(|b| b.is_ascii_uppercase())
}

fn ends_in_number(word: &str) -> bool {
    word.ends_with(|c: char| c.is_ascii_digit())
}

fn is_opener(c: char) -> bool {
    matches!(
        c,
        '"' | '\'' | '`' | '“' | '‘' | '„' | '«' | '‹' | '(' | '[' | '{' | '¿' | '¡'
    )
}

fn is_dash(c: char) -> bool {
    matches!(c, '-' | '–' | '—' | '―')
}

/// The last stretch of `text`, bounded.
fn tail(text: &str) -> &str {
    let mut from = text.len().saturating_sub(REACH);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

/// The first stretch of `text`, bounded.
fn lead(text: &str) -> &str {
    let mut to = text.len().min(REACH);
    while !text.is_char_boundary(to) {
        to -= 1;
    }
    &text[..to]
}

/// The word that a text ends in, its inner full stops kept ("U.S"), opening marks gone.
fn last_token(text: &str) -> &str {
    let breaks = |c: char| c.is_whitespace() || is_opener(c) || is_dash(c) || c == '/';
    tail(text)
        .trim_end()
        .rsplit(breaks)
        .next()
        .unwrap_or_default()
}

/// Whether the clause opens with a time, which its subject is still to follow:
/// "At 6 p.m. Marta Olsen spoke".
fn is_fronted(head: &str) -> bool {
    let clause = tail(head).rsplit(": ").next().unwrap_or_default();
    // A head longer than the reach is no longer an opening.
    let whole = tail(head).len() == head.len() || clause.len() < tail(head).len();
    let mut words = clause.split_whitespace();
    whole
        && words
            .next()
            .is_some_and(|word| fronts_a_time(word.trim_start_matches(is_opener)))
        && words.count() <= 9
}

/// What stands behind a run.
struct Next<'a> {
    /// First character behind white space and opening marks.
    first: Option<char>,
    /// The letters and digits that it begins, with inner apostrophes left out.
    word: &'a str,
    /// Up to the next white space.
    token: &'a str,
    /// What follows `word`.
    behind: &'a str,
    dashed: bool,
    bracketed: bool,
}

impl<'a> Next<'a> {
    fn read(rest: &'a str) -> Self {
        let rest = rest.trim_start();
        let dashed = rest.starts_with(is_dash);
        let rest = rest
            .trim_start_matches(|c| is_dash(c) && dashed)
            .trim_start();
        let bracketed = rest.starts_with(['(', '[', '{']);
        let rest = lead(rest.trim_start_matches(|c: char| is_opener(c) || c.is_whitespace()));
        let end = rest
            .find(|c: char| !c.is_alphanumeric())
            .unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        Next {
            first: rest.chars().next(),
            word,
            token: rest.split(char::is_whitespace).next().unwrap_or_default(),
            behind,
            dashed,
            bracketed,
        }
    }

    /// Whether the sentence clearly goes on.
    fn goes_on(&self) -> bool {
        match self.first {
            None => false,
            // "iPhone", "eBay": names that begin small.
            Some('i' | 'e') if self.word.chars().nth(1).is_some_and(char::is_uppercase) => false,
            Some(c) => c.is_lowercase() || ",;:)]}%&=/|>”»’".contains(c),
        }
    }

    fn is_capital(&self) -> bool {
        self.first.is_some_and(char::is_uppercase)
    }

    fn is_word(&self, word: &str) -> bool {
        self.word == word && !self.behind.starts_with('.')
    }

    fn is_number(&self) -> bool {
        self.first.is_some_and(|c| c.is_ascii_digit()) || is_numeral(self.word)
    }

    /// A capital or a digit, with no bracket before it.
    fn fresh(&self) -> bool {
        let digit = self.first.is_some_and(|c| c.is_ascii_digit());
        !self.bracketed && (digit || self.is_capital())
    }

    /// A word that hardly ever continues a name.
    fn starts_afresh(&self) -> bool {
        let article = matches!(self.word, "A" | "I")
            && (self.behind.starts_with(['\'', '’'])
                || self
                    .behind
                    .strip_prefix(' ')
                    .is_some_and(|b| b.starts_with(char::is_lowercase)));
        let courtesy = matches!(self.word, "Mr" | "Mrs" | "Ms") && self.behind.starts_with('.');
        !self.dashed && !self.bracketed && (article || courtesy || is_starter(self.word))
    }

    /// "Stop!" Mayor Ana Ruiz said: names, then a verb of saying.
    fn is_attribution(&self) -> bool {
        let rest = [self.word, self.behind].concat();
        for (index, word) in rest.split_whitespace().take(8).enumerate() {
            let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
            if is_saying(bare) {
                return index > 0;
            }
            let stop = word.ends_with('.') && abbreviation(bare) == Abbreviation::None;
            let name = bare.starts_with(char::is_uppercase) || matches!(bare, "of" | "the" | "and");
            if stop || !name || word.ends_with([':', ';', '?', '!']) {
                return false;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
