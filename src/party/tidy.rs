//! A name as the tagger found it → as people write it. Small repairs that hold whatever the model:
//! they move an end by a word or a mark, or say that it is no name at all.

use std::ops::Range;

/// Words that no name ends with, nor begins with.
const JOINTS: [&str; 17] = [
    "a", "and", "as", "at", "by", "for", "from", "in", "of", "on", "said", "that", "the", "to",
    "was", "who", "with",
];

/// Abbreviations that end a name together with their full stop.
const STOPPED: [&str; 7] = ["Bros", "Co", "Corp", "Inc", "Jr", "Ltd", "Sr"];

/// Small words that a surname begins with ("van der Zwaan", "de Blasio", "bin Salman"), and those that stand after them.
/// "ten", "la" and "al" are more often other words of a sentence, so none begins with these.
const PARTICLES: [&str; 13] = [
    "bin", "de", "del", "della", "den", "der", "di", "dos", "du", "ibn", "ter", "van", "von",
];
const INNER_PARTICLES: [&str; 4] = ["al", "la", "le", "ten"];

/// Trims a found name: marks around it, a possessive, a joint left dangling ("Department of"); takes in
/// the full stop of "Inc." and "U.N.", and the particles before a surname; `None` for what no reader would call a
/// name: nothing but marks, or not a capital in a script that has them. `range` and `free`, from where on no other
/// name stands, are bytes of `sentence`.
pub fn tidy(sentence: &str, range: &Range<usize>, free: usize) -> Option<Range<usize>> {
    let found = &sentence[range.clone()];
    let mut name = found.trim_start_matches(|c: char| !c.is_alphanumeric() && !"@#(".contains(c));
    while let Some((first, rest)) = name.split_once(char::is_whitespace) {
        // "the Guardian" may well begin with its article.
        if first == "the" || !JOINTS.contains(&first) {
            break;
        }
        name = rest.trim_start();
    }
    let start = range.end - name.len();
    name = name.trim_end_matches(|c: char| !c.is_alphanumeric() && !".)!+&".contains(c));
    name = name
        .strip_suffix("'s")
        .or_else(|| name.strip_suffix("’s"))
        .unwrap_or(name);
    while let Some((rest, last)) = name.rsplit_once(char::is_whitespace) {
        if !JOINTS.contains(&last) {
            break;
        }
        name = rest.trim_end();
    }
    let capital = name.contains(char::is_uppercase) || !name.contains(char::is_lowercase);
    if !capital || !name.contains(char::is_alphanumeric) {
        return None;
    }
    let mut end = start + name.len();
    let last = name.rsplit(char::is_whitespace).next().unwrap_or(name);
    if (STOPPED.contains(&last) || is_lettered(last)) && sentence[end..].starts_with('.') {
        end += 1;
    }
    Some(with_particles(sentence, start, free)..end)
}

/// Where the particles before the name at `start` begin, or `start`.
fn with_particles(sentence: &str, start: usize, free: usize) -> usize {
    let (mut first, mut at) = (start, start);
    while let Some(before) = sentence.get(free..at).and_then(|s| s.strip_suffix(' ')) {
        let word = before.rsplit(char::is_whitespace).next().unwrap_or(before);
        if PARTICLES.contains(&word) {
            first = at - 1 - word.len();
        } else if !INNER_PARTICLES.contains(&word) {
            break;
        }
        at = at - 1 - word.len();
    }
    first
}

/// "U.N", whose last letter has its full stop too.
fn is_lettered(word: &str) -> bool {
    let mut letters = word.split('.');
    let single =
        |letter: &str| letter.chars().count() == 1 && letter.starts_with(char::is_alphabetic);
    word.contains('.') && letters.all(single)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sentence: &str, found: &str, expect: Option<&str>) {
        let start = sentence.find(found).unwrap();
        let tidied = tidy(sentence, &(start..start + found.len()), 0);
        assert_eq!(tidied.map(|r| &sentence[r]), expect, "{sentence}");
    }

    #[test]
    fn marks_and_possessives_are_trimmed() {
        check("Private Orland's trial", "Orland's", Some("Orland"));
        check("Norland’s plan", "Norland’s", Some("Norland"));
        check(
            "he told “Tarn Weekly” so",
            "“Tarn Weekly",
            Some("Tarn Weekly"),
        );
        check("says ] Wells, who", "] Wells,", Some("Wells"));
        check("thanks to @tarnfm today", "@tarnfm", None);
        check("thanks to @TarnFM today", "@TarnFM", Some("@TarnFM"));
        check("Tarn+ and", "Tarn+", Some("Tarn+"));
    }

    #[test]
    fn dangling_joints_go() {
        check(
            "the Court of Appeals for the north",
            "Court of Appeals for the",
            Some("Court of Appeals"),
        );
        check("the State of Tarn", "State of", Some("State"));
        check("by the Guardian", "the Guardian", Some("the Guardian"));
        check("of Tarn", "of Tarn", Some("Tarn"));
        check("the Bank of Tarn", "Bank of Tarn", Some("Bank of Tarn"));
    }

    #[test]
    fn abbreviations_keep_their_stop() {
        check(
            "at Orland Motors Corp. said",
            "Orland Motors Corp",
            Some("Orland Motors Corp."),
        );
        check("to Ada Quill Jr.", "Ada Quill Jr", Some("Ada Quill Jr."));
        check("by Orland.", "Orland", Some("Orland"));
        check("with the U.N. today", "U.N", Some("U.N."));
        check("with the U.N.'s men", "U.N.'s", Some("U.N."));
        check("at the E.C.B.", "E.C.B", Some("E.C.B."));
        check("on Tarn.com.", "Tarn.com", Some("Tarn.com"));
        check("by Olsen, A.", "Olsen, A", Some("Olsen, A"));
    }

    #[test]
    fn particles_belong_to_the_surname() {
        check(
            "lied to by van der Maar, a lawyer",
            "Maar",
            Some("van der Maar"),
        );
        check("that de Orso said", "Orso", Some("de Orso"));
        check("as de la Torn said", "Torn", Some("de la Torn"));
        check("bin Tarn's son", "Tarn's", Some("bin Tarn"));
        check("of ten Republicans", "Republicans", Some("Republicans"));
        check("viva la Norland", "Norland", Some("Norland"));
        check("a van, Orland said", "Orland", Some("Orland"));
        check("a caravan Orland sold", "Orland", Some("Orland"));
        let taken = "told Alex van der Maar";
        let free = taken.find(" der").unwrap();
        assert_eq!(tidy(taken, &(18..22), free), Some(14..22));
        assert_eq!(tidy(taken, &(18..22), 18), Some(18..22));
    }

    #[test]
    fn what_is_no_name_is_dropped() {
        check("manipulated by canny consultants", "canny", None);
        check("thank you @ava", "@", None);
        check("so much … and", "…", None);
        check("外交部发言人", "外交部", Some("外交部"));
        check("in 3M and", "3M", Some("3M"));
        check("", "", None);
    }
}
