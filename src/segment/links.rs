//! Lists of related links that a scraper left inside a sentence. On thehill.com a politician's name opens a card, and
//! archives hold the card's text right behind the name: "Sen. Ada Quill Ada Jane QuillOvernight Energy: Norland bans
//! coal | Senators split on dams MORE (D-Tarn) said". Readers skip it, so no sentence ends in it, and neither the
//! model nor the search for named parties looks at it.

use std::ops::Range;

use super::{char_at, char_before, is_line_break};

/// What such a card ends with.
const END: &str = "MORE";
/// The longest card, in bytes.
const LONGEST: usize = 1500;
/// How far before the name in full the name that it explains may end, in bytes.
const BEFORE: usize = 80;

/// The bytes of each, from behind the name to the end of its "MORE", in order. Time linear in the length of `text`.
pub(crate) fn link_lists(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    for (at, _) in text.match_indices(END) {
        let end = at + END.len();
        let whole = !char_before(text, at).is_some_and(char::is_alphanumeric);
        if whole && goes_on(&text[end..]) {
            let mut low = from.max(at.saturating_sub(LONGEST));
            while !text.is_char_boundary(low) {
                low += 1;
            }
            let line = text[low..at].rfind(is_line_break);
            // The break is white space itself, so words begin behind it.
            low += line.unwrap_or(0);
            found.extend(start(text, low..at).map(|start| start..end));
        }
        from = end;
    }
    found
}

/// Whether a sentence goes on behind the card, as behind no "READ MORE".
fn goes_on(rest: &str) -> bool {
    let mut chars = rest.chars();
    match chars.next() {
        Some(' ') => chars
            .next()
            .is_some_and(|c| c.is_lowercase() || "(–—".contains(c)),
        Some(c) => "’'.,;)".contains(c),
        None => false,
    }
}

/// Where the card begins: behind a name that is soon said again, this time glued to a capital, a figure or a
/// quotation mark ("QuillOvernight"), or with its given name before it and more between ("Ada Quill Ada Jane Quill").
fn start(text: &str, range: Range<usize>) -> Option<usize> {
    let base = range.start;
    let part = &text[range];
    let mut at = 0;
    for word in part.split_whitespace() {
        let first = at + part[at..].find(word).unwrap_or(0);
        at = first + word.len();
        if !word.trim_start_matches('(').starts_with(char::is_uppercase) {
            continue;
        }
        // The longest first: the name in "McOrsoOvernight" is not "Mc".
        let glued = word.char_indices().rev().filter(|&(i, c)| {
            i > 1
                && (c.is_uppercase() || c.is_ascii_digit() || "'‘\"“".contains(c))
                && char_before(word, i).is_some_and(|b| b.is_lowercase() || ".)".contains(b))
        });
        let mut named = glued.filter_map(|(i, _)| named_before(part, first, &word[..i]));
        let named = named.next();
        if let Some(end) = named.or_else(|| named_in_full(part, first, word)) {
            return Some(base + end);
        }
    }
    None
}

/// The end of `name` where it stands last before `at`, as a word or glued to the one behind it.
fn named_before(part: &str, at: usize, name: &str) -> Option<usize> {
    let mut low = at.saturating_sub(BEFORE);
    while !part.is_char_boundary(low) {
        low += 1;
    }
    let whole = |start: usize| {
        let end = start + name.len();
        !char_before(part, start).is_some_and(char::is_alphanumeric)
            && !char_at(part, end).is_some_and(|c| c.is_lowercase() || c.is_ascii_digit())
    };
    let mut found = part[low..at].rmatch_indices(name).map(|(i, _)| low + i);
    found.find(|&i| whole(i)).map(|i| i + name.len())
}

/// The end of the surname `word` where it stands before, between one given name and the same given name again.
fn named_in_full(part: &str, at: usize, word: &str) -> Option<usize> {
    let end = named_before(part, at, word)?;
    let given = part[..end - word.len()].split_whitespace().next_back()?;
    let again = part[end..at].strip_prefix(' ')?.strip_prefix(given)?;
    let inner = again.starts_with(' ') && (1..=2).contains(&again.split_whitespace().count());
    (inner && given.starts_with(char::is_uppercase)).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text without them.
    fn read(text: &str) -> String {
        let mut rest = text.to_owned();
        for range in link_lists(text).into_iter().rev() {
            rest.replace_range(range, "");
        }
        rest
    }

    fn check(text: &str, expect: &str) {
        assert_eq!(read(text), expect);
    }

    #[test]
    fn cards_behind_names_are_found() {
        check(
            "Sen. Ada Quill Ada Jane QuillOvernight Energy: Norland bans coal | Orland's \
             'long night' ends Tarn votes MORE (D-Tarn) said no to Ben Orso Benjamin (Ben) Luís Orso2031 \
             Democrats court farmers MORE’s plan.",
            "Sen. Ada Quill (D-Tarn) said no to Ben Orso’s plan.",
        );
        check(
            "with Leo McBarrLeo McBarrThe 81 names The Memo MORE, who left",
            "with Leo McBarr, who left",
        );
        check(
            "Mitch McOrm Mitchell McOrmOn The Money MORE (R-Tarn)",
            "Mitch McOrm (R-Tarn)",
        );
        check(
            "Speaker Max Orm Max David Orm Retirees should say 'no thanks' MORE (R-Tarn) said",
            "Speaker Max Orm (R-Tarn) said",
        );
        check(
            "Ada Quill Jr. Adam (Ada) Quill Jr.'I am done' MORE said",
            "Ada Quill Jr. said",
        );
    }

    #[test]
    fn other_capitals_are_none() {
        for text in [
            "Ada Quill and McBarr want MORE of it, and Ada wants MORE still.",
            "The channel QuillTV of Ada Quill. Watch QuillTV now. READ MORE",
            "READ MORE: Ada Quill, QuillOvernight MORE: Orso",
            "Ada Quill Ada QuillOvernight news\nMORE (D-Tarn)",
            "MORE (so)",
            "EVERMORE (so) Quill QuillOn EVERMORE (so)",
            "",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn a_long_text_takes_no_longer_by_the_byte() {
        let text = "aB) MORE (x".repeat(50_000);
        assert!(link_lists(&text).is_empty());
        let far = format!("Ada Quill Ada Quill{} MORE (D)", "Bé ".repeat(600));
        assert!(link_lists(&far).is_empty());
    }
}
