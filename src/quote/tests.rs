use proptest::prelude::*;

use super::*;
use crate::segment;

/// Kind, words, and `<` where begun before, `>` where running on.
fn shown(text: &str) -> Vec<Vec<String>> {
    let sentences = segment::sentences(text);
    let show = |q: &Quotation| {
        let before = if q.opened_before { "<" } else { "" };
        let running = if q.running { ">" } else { "" };
        format!("{before}{:?}{running} {}", q.kind, &text[q.range.clone()])
    };
    let found = quotations(text, &sentences);
    found
        .iter()
        .map(|qs| qs.iter().map(show).collect())
        .collect()
}

#[track_caller]
fn check(text: &str, expect: &[&[&str]]) {
    assert_eq!(shown(text), expect, "{text}");
}

#[test]
fn direct_and_mixed() {
    check("\"We won,\" she said.", &[&["Direct We won,"]]);
    check("“We won”, said Olsen.", &[&["Direct We won"]]);
    check("She said: “We won”.", &[&["Direct We won"]]);
    check("She said “We won.”", &[&["Direct We won."]]);
    check(
        "He called it \"a sorry mess.\"",
        &[&["Mixed a sorry mess."]],
    );
    check(
        "The so-called “Peace Deal” failed.",
        &[&["Mixed Peace Deal"]],
    );
    check(
        "“Harbour First” was their slogan.",
        &[&["Mixed Harbour First"]],
    );
    check(
        "He said it was “bad” and “sad”.",
        &[&["Mixed bad", "Mixed sad"]],
    );
    check(
        "“Yes,” he said, “we go on.”",
        &[&["Direct Yes,", "Direct we go on."]],
    );
    check(
        "“‘No,’ he told me,” she said.",
        &[&["Direct ‘No,’ he told me,"]],
    );
}

#[test]
fn every_kind_of_mark() {
    check("She told me “We won”.", &[&["Direct We won"]]);
    check("''I am glad,'' he said.", &[&["Direct I am glad,"]]);
    check("``I am glad,'' he said.", &[&["Direct I am glad,"]]);
    check("«I am glad», he said.", &[&["Direct I am glad"]]);
    check("„I am glad“, he said.", &[&["Direct I am glad"]]);
    check("“I am glad,\" he said.", &[&["Direct I am glad,"]]);
    check("”I am glad,” he said.", &[&["Direct I am glad,"]]);
    check("‘I’m glad,’ he said.", &[&["Direct I’m glad,"]]);
    check("'I'm glad,' he said.", &[&["Direct I'm glad,"]]);
    check("The 'free' bus was late.", &[&["Mixed free"]]);
    check("\" I am glad , \" he said .", &[&["Direct I am glad ,"]]);
    check(
        "‘The workers’ hall is shut,’ he said.",
        &[&["Direct The workers’ hall is shut,"]],
    );
}

#[test]
fn apostrophes_and_measures() {
    for text in [
        "They don't trust Olsen's men, the workers' club or the 1990s' hits.",
        "The ’90s and the '80s: rock 'n' roll, and ’twas good.",
        "He is 6'2\" tall and swung a 5\" blade.",
        "She cleared 6′ 3″ with a 10-foot pole.",
        "The Joneses' dog bit the Smiths' cat.",
        "The sign read \"\" and nothing else.",
    ] {
        assert!(shown(text).concat().is_empty(), "{text}: {:?}", shown(text));
    }
    check(
        "\"He is 6'2\" tall,\" she said.",
        &[&["Direct He is 6'2\" tall,"]],
    );
}

#[test]
fn nested_marks_are_not_reported() {
    check(
        "\"She said 'no' and \"never\" to me,\" he recalled.",
        &[&["Direct She said 'no' and \"never\" to me,"]],
    );
    check(
        "“Read ‘The Port’ now.”",
        &[&["Direct Read ‘The Port’ now."]],
    );
}

#[test]
fn runs_over_sentences() {
    check(
        "He said: \"I go. You stay.\" She nodded.",
        &[&["Direct> I go."], &["<Direct You stay."], &[]],
    );
    check(
        "“The road is shut. We walk. So be it,” said Olsen.",
        &[
            &["Direct> The road is shut."],
            &["<Direct> We walk."],
            &["<Direct So be it,"],
        ],
    );
}

#[test]
fn runs_over_paragraphs() {
    check(
        "“We were late.\n\n“The road was shut,” he said.",
        &[&["Direct> We were late."], &["<Direct The road was shut,"]],
    );
    check(
        "\"We were late.\n\n\"It was shut.\"\n\nHe left.",
        &[&["Direct> We were late."], &["<Direct It was shut."], &[]],
    );
}

#[test]
fn lost_marks_are_bounded() {
    check(
        "He called it \"a farce.\n\nNobody spoke. \"Right,\" he said.",
        &[&["Mixed a farce."], &[], &["Direct Right,"]],
    );
    check(
        "“We were late.\n\nNobody spoke.",
        &[&["Direct We were late."], &[]],
    );
    check(
        "“We were late, he said. “We ran.” They did.",
        &[&["Direct We were late, he said."], &["Direct We ran."], &[]],
    );
    check("We were late,” he said.", &[&[]]);
    check("\"", &[&[]]);
}

fn marked() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "\"", "'", "''", "“", "”", "‘", "’", "«", "»", "„", "``", ".", ",", "?", " ", " ", "\n\n",
        "We", "won", "he said", "6", "é", "s", "—", "(", "\0",
    ]);
    prop::collection::vec(pieces, 0..60).prop_map(|pieces| pieces.concat())
}

fn holds(text: &str) {
    let sentences = segment::sentences(text);
    let found = quotations(text, &sentences);
    assert_eq!(found.len(), sentences.len());
    for (index, (sentence, quotations)) in sentences.iter().zip(&found).enumerate() {
        let mut at = sentence.range.start;
        for quotation in quotations {
            assert!(quotation.range.start >= at && quotation.range.end <= sentence.range.end);
            let words = &text[quotation.range.clone()];
            assert!(!words.is_empty() && words == words.trim());
            assert!(!quotation.running || index + 1 < sentences.len());
            assert!(!quotation.opened_before || index > 0);
            at = quotation.range.end;
        }
    }
}

proptest! {
    #[test]
    fn stays_in_its_sentence_in_any_text(text in any::<String>()) {
        holds(&text);
    }

    #[test]
    fn stays_in_its_sentence_among_marks(text in marked()) {
        holds(&text);
    }
}
