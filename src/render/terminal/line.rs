//! Styled text, broken into lines by the columns it takes. Every character of a page passes
//! through [`Line::push`], which lets no control character by; escapes are written in
//! [`Line::write`] and nowhere else.

use std::io::{Result, Write};
use std::mem;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How a character stands out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    #[default]
    Plain,
    Bold,
    Faint,
    Red,
    Green,
    Yellow,
    Cyan,
    Magenta,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) tone: Tone,
    pub(super) italic: bool,
}

impl From<Tone> for Style {
    fn from(tone: Tone) -> Self {
        Self {
            tone,
            italic: false,
        }
    }
}

impl Style {
    fn codes(self) -> String {
        let tone = match self.tone {
            Tone::Plain => "",
            Tone::Bold => "1",
            Tone::Faint => "2",
            Tone::Red => "1;31",
            Tone::Green => "1;32",
            Tone::Yellow => "33",
            Tone::Cyan => "36",
            Tone::Magenta => "35",
        };
        match (tone, self.italic) {
            (tone, false) => tone.to_owned(),
            ("", true) => "3".to_owned(),
            (tone, true) => format!("3;{tone}"),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    c: char,
    style: Style,
    /// No line ends before it.
    tight: bool,
}

impl Cell {
    fn is_space(&self) -> bool {
        !self.tight && self.c == ' '
    }
}

/// A run of styled characters.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    cells: Vec<Cell>,
}

impl Line {
    pub(super) fn new(text: &str, style: impl Into<Style>) -> Self {
        let mut line = Self::default();
        line.push(text, style);
        line
    }

    /// Adds text that may be broken at its spaces.
    pub(super) fn push(&mut self, text: &str, style: impl Into<Style>) {
        let style = style.into();
        self.cells.extend(text.chars().map(|c| Cell {
            c: clean(c),
            style,
            tight: false,
        }));
    }

    /// Adds text that stays in one piece with what stands before it.
    pub(super) fn push_tight(&mut self, text: &str, style: impl Into<Style>) {
        let style = style.into();
        self.cells.extend(text.chars().map(|c| Cell {
            c: clean(c),
            style,
            tight: true,
        }));
    }

    /// Fills up with blanks to a width.
    pub(super) fn pad(&mut self, columns: usize) {
        let missing = columns.saturating_sub(self.width());
        self.push(&" ".repeat(missing), Style::default());
    }

    pub(super) fn append(&mut self, other: &Self) {
        self.cells.extend_from_slice(&other.cells);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// In columns.
    pub(super) fn width(&self) -> usize {
        width(&self.cells)
    }

    /// The same text in lines of at most so many columns, white space run together.
    pub(super) fn wrap(&self, measure: usize) -> Vec<Self> {
        let mut lines = Vec::new();
        let mut line = Self::default();
        let mut used = 0;
        for word in self.words().flat_map(|word| word.chop(measure)) {
            let gap = usize::from(word.spaced && used > 0);
            let columns = width(word.cells);
            if used > 0 && used + gap + columns > measure {
                lines.push(mem::take(&mut line));
                used = columns;
            } else {
                used += gap + columns;
            }
            line.join(&word);
        }
        lines.push(line);
        lines
    }

    /// Writes without trailing blanks and without a line feed.
    pub(super) fn write(&self, out: &mut dyn Write, colour: bool) -> Result<()> {
        let end = self
            .cells
            .iter()
            .rposition(|cell| cell.c != ' ')
            .map_or(0, |last| last + 1);
        for run in self.cells[..end].chunk_by(|a, b| a.style == b.style) {
            let codes = run
                .first()
                .map(|cell| cell.style.codes())
                .unwrap_or_default();
            if colour && !codes.is_empty() {
                write!(out, "\x1b[{codes}m{}\x1b[0m", text(run))?;
            } else {
                write!(out, "{}", text(run))?;
            }
        }
        Ok(())
    }

    fn words(&self) -> impl Iterator<Item = Word<'_>> {
        self.cells.split(Cell::is_space).flat_map(|word| {
            word.chunk_by(|a, b| !may_break(a, b))
                .enumerate()
                .map(|(at, cells)| Word {
                    cells,
                    spaced: at == 0,
                })
        })
    }

    /// A blank between two words of one style has that style too.
    fn join(&mut self, word: &Word<'_>) {
        if let (Some(last), Some(next), true) = (self.cells.last(), word.cells.first(), word.spaced)
        {
            let style = if last.style == next.style {
                last.style
            } else {
                Style::default()
            };
            self.cells.push(Cell {
                c: ' ',
                style,
                tight: false,
            });
        }
        self.cells.extend_from_slice(word.cells);
    }
}

/// What is not broken unless it is wider than a line.
#[derive(Clone, Copy)]
struct Word<'a> {
    cells: &'a [Cell],
    /// A blank stands before it.
    spaced: bool,
}

impl<'a> Word<'a> {
    /// Pieces no wider than a line; nearly always one.
    fn chop(self, measure: usize) -> Vec<Word<'a>> {
        if self.cells.len() * 2 <= measure || width(self.cells) <= measure {
            return vec![self];
        }
        let mut pieces = Vec::new();
        let mut rest = self;
        while let Some(at) = overflow(rest.cells, measure) {
            let (piece, tail) = rest.cells.split_at(at);
            pieces.push(Word {
                cells: piece,
                ..rest
            });
            rest = Word {
                cells: tail,
                spaced: false,
            };
        }
        pieces.push(rest);
        pieces
    }
}

/// The first cell past a width, never the first of all.
fn overflow(cells: &[Cell], measure: usize) -> Option<usize> {
    let mut used = 0;
    for (at, cell) in cells.iter().enumerate() {
        used += columns(cell.c);
        if at > 0 && used > measure {
            return Some(at);
        }
    }
    None
}

fn text(cells: &[Cell]) -> String {
    cells.iter().map(|cell| cell.c).collect()
}

/// Of the whole, since an emoji of several characters is narrower than they are.
fn width(cells: &[Cell]) -> usize {
    text(cells).width()
}

fn columns(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// Where a line may end without a space: after a dash, and between the characters of Chinese and
/// Japanese, but no line starts with what closes or ends with what opens.
fn may_break(a: &Cell, b: &Cell) -> bool {
    const CLOSING: &str =
        "、。，．・：；？！ー）」』】〉》〕］｝”’,.;:!?)]}…—ぁぃぅぇぉっゃゅょァィゥェォッャュョ";
    const OPENING: &str = "（「『【〈《〔［｛“‘([{";
    (a.c == '—' || is_cjk(a.c) || is_cjk(b.c))
        && !b.tight
        && columns(b.c) > 0
        && !CLOSING.contains(b.c)
        && !OPENING.contains(a.c)
}

fn is_cjk(c: char) -> bool {
    matches!(c, '\u{2E80}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{FF00}'..='\u{FFEF}'
        | '\u{20000}'..='\u{3FFFF}')
}

/// A character that cannot drive the terminal: white space becomes a blank, and controls and
/// direction overrides the replacement character.
fn clean(c: char) -> char {
    match c {
        '\u{A0}' | '\u{2007}' | '\u{202F}' => c,
        _ if c.is_whitespace() => ' ',
        '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => '\u{FFFD}',
        _ if c.is_control() => '\u{FFFD}',
        _ => c,
    }
}

/// The text on one line of at most so many columns, with an ellipsis where it is cut.
pub(super) fn fit(text: &str, columns: usize) -> String {
    let line = Line::new(text, Tone::Plain);
    if line.width() <= columns {
        return self::text(&line.cells);
    }
    let at = overflow(&line.cells, columns.saturating_sub(1)).unwrap_or(line.cells.len());
    format!("{}…", self::text(&line.cells[..at]).trim_end())
}
