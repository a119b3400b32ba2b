//! Places in a text, counted three ways. Spans are made from byte ranges and never guessed.

use std::ops::Range;

/// A half-open range of a text in UTF-8 bytes, Unicode code points and UTF-16 units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// First UTF-8 byte.
    pub byte_start: usize,
    /// One past the last UTF-8 byte.
    pub byte_end: usize,
    /// First code point.
    pub char_start: usize,
    /// One past the last code point.
    pub char_end: usize,
    /// First UTF-16 unit.
    pub utf16_start: usize,
    /// One past the last UTF-16 unit.
    pub utf16_end: usize,
}

/// The unit that a caller counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// UTF-8 bytes.
    Byte,
    /// Unicode code points.
    CodePoint,
    /// UTF-16 code units.
    Utf16,
}

// A checkpoint every so many bytes keeps a look-up short and the table small.
const STRIDE: usize = 256;

/// A table that turns byte offsets of one text into code points and UTF-16 units, and back.
///
/// ```
/// use copydesk::span::{Offsets, Unit};
///
/// let text = "🦊 Øresund";
/// let offsets = Offsets::new(text);
/// let span = offsets.span(text, &(5..13));
/// assert_eq!((span.char_start, span.char_end), (2, 9));
/// assert_eq!((span.utf16_start, span.utf16_end), (3, 10));
/// assert_eq!(offsets.byte(text, Unit::Utf16, 3), Some(5));
/// assert_eq!(offsets.byte(text, Unit::Utf16, 1), None, "within the fox");
/// ```
#[derive(Clone, Debug)]
pub struct Offsets {
    /// (bytes, code points, UTF-16 units) at the first character boundary of each stride.
    marks: Vec<[usize; 3]>,
    end: [usize; 3],
}

impl Offsets {
    /// Reads the text once.
    pub fn new(text: &str) -> Self {
        let mut at = [0usize; 3];
        let mut marks = vec![at];
        for c in text.chars() {
            if at[0] >= marks.len() * STRIDE {
                marks.push(at);
            }
            step(&mut at, c);
        }
        Self { marks, end: at }
    }

    /// The span of a byte range; offsets past the end, or within a character, move to the next
    /// boundary.
    pub fn span(&self, text: &str, range: &Range<usize>) -> Span {
        let start = self.locate(text, 0, range.start);
        let end = self.locate(text, 0, range.end);
        Span {
            byte_start: start[0],
            byte_end: end[0],
            char_start: start[1],
            char_end: end[1],
            utf16_start: start[2],
            utf16_end: end[2],
        }
    }

    /// The byte offset of an offset counted in `unit`; `None` when it is past the end or in the
    /// middle of a character.
    pub fn byte(&self, text: &str, unit: Unit, offset: usize) -> Option<usize> {
        let kind = match unit {
            Unit::Byte => 0,
            Unit::CodePoint => 1,
            Unit::Utf16 => 2,
        };
        let found = self.locate(text, kind, offset);
        (found[kind] == offset).then_some(found[0])
    }

    /// The length of the text in bytes, code points and UTF-16 units.
    pub fn end(&self) -> [usize; 3] {
        self.end
    }

    fn locate(&self, text: &str, kind: usize, offset: usize) -> [usize; 3] {
        if offset >= self.end[kind] {
            return self.end;
        }
        let mark = self.marks.partition_point(|m| m[kind] <= offset);
        let mut at = self.marks[mark.saturating_sub(1)];
        for c in text[at[0]..].chars() {
            if at[kind] >= offset {
                break;
            }
            step(&mut at, c);
        }
        at
    }
}

fn step(at: &mut [usize; 3], c: char) {
    at[0] += c.len_utf8();
    at[1] += 1;
    at[2] += c.len_utf16();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_every_unit() {
        let text = "Zoë 🦊 said “no” to 東京 e\u{301}t al";
        let offsets = Offsets::new(text);
        for (byte, _) in text.char_indices() {
            let span = offsets.span(text, &(0..byte));
            assert_eq!(span.char_end, text[..byte].chars().count());
            assert_eq!(span.utf16_end, text[..byte].encode_utf16().count());
            assert_eq!(
                offsets.byte(text, Unit::CodePoint, span.char_end),
                Some(byte)
            );
            assert_eq!(offsets.byte(text, Unit::Utf16, span.utf16_end), Some(byte));
            assert_eq!(offsets.byte(text, Unit::Byte, byte), Some(byte));
        }
        assert_eq!(offsets.byte(text, Unit::Byte, 3), None, "inside ë");
        assert_eq!(offsets.byte(text, Unit::Utf16, 5), None, "inside the fox");
        assert_eq!(offsets.byte(text, Unit::CodePoint, 999), None);
    }

    #[test]
    fn long_texts_use_the_table() {
        let text = "añ🦊".repeat(1000);
        let offsets = Offsets::new(&text);
        let byte = text.char_indices().nth(2501).map(|(b, _)| b);
        assert_eq!(offsets.byte(&text, Unit::CodePoint, 2501), byte);
        assert_eq!(offsets.end(), [7000, 3000, 4000]);
    }
}
