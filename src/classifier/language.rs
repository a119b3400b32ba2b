//! Which language a text is in, as far as its letters tell. Flags; never refuses.

use crate::answer::Language;

/// Bytes that are looked at: enough to be sure, few enough to cost nothing.
const SAMPLE: usize = 4096;

/// The language of a text, against the one that the model was trained for (both ISO 639-3).
pub(super) fn detect(text: &str, trained: &str) -> Language {
    let mut end = text.len().min(SAMPLE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    match whatlang::detect(&text[..end]) {
        Some(found) if found.is_reliable() => {
            let code = found.lang().code();
            Language {
                code: code.to_owned(),
                supported: code == trained,
            }
        }
        // A few words are not enough to say; no flag on a guess.
        _ => Language {
            code: String::new(),
            supported: true,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_what_is_surely_foreign() {
        let check =
            |text: &str, supported| assert_eq!(detect(text, "eng").supported, supported, "{text}");
        check(
            "The minister said on Tuesday that the talks would go on until both sides agreed.",
            true,
        );
        check(
            "Министр заявил во вторник, что переговоры будут продолжены на следующей неделе.",
            false,
        );
        check(
            "Die Ministerin sagte am Dienstag, dass die Gespräche in der nächsten Woche weitergehen.",
            false,
        );
        check("OK.", true);
        check("", true);
    }
}
