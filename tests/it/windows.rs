//! Windows of any sentences, whatever their shape: budgets kept, every sentence answered once, and
//! only what stands before as context.

use copydesk::encode::{Encoder, Lookup, Shape, Tokens, Window};
use proptest::prelude::*;

use crate::fuzzed::properties::{encoder, windowed};

/// Sentences of no word and of so many that they need several windows.
fn sentences() -> impl Strategy<Value = Vec<String>> {
    let word = prop::sample::select(vec![
        "league",
        "met",
        "Ellis",
        "NORTHLAND",
        "xyzzy",
        "paper",
        "“we",
        ".",
        "é",
        "\u{301}",
        "\0",
    ]);
    let short = prop::collection::vec(word.clone(), 0..12);
    let long = prop::collection::vec(word, 0..120);
    let sentence = prop_oneof![9 => short, 1 => long];
    prop::collection::vec(sentence.prop_map(|words| words.join(" ")), 0..24)
}

/// Any that `config.json` may ask for.
fn shapes() -> impl Strategy<Value = Shape> {
    (0..40_usize, 16..64_usize, 0..6_usize).prop_map(|(headline, rest, context)| Shape {
        window_tokens: headline + rest,
        context_sentences: context,
        headline_tokens: headline,
    })
}

/// A sequence is the opening, whole sentences of before as context, and what is answered.
fn context(encoder: &Encoder, window: &Window, opening: &[u32], all: &[Tokens]) {
    let sep = encoder.tokenize("[SEP]").expect("tokens").ids.len();
    assert!(sep > 0);
    let Some(first) = window.sentences.first() else {
        panic!("a window without a sentence");
    };
    if let [sequence] = &window.sequences[..]
        && window.sentences[0].pieces.len() == 1
    {
        let (_, piece) = &first.pieces[0];
        let middle = &sequence.ids[opening.len()..piece.start];
        let mut kept = 0;
        let mut length = 0;
        while length < middle.len() {
            kept += 1;
            let before = first.index.checked_sub(kept).expect("a sentence before");
            length += all[before].ids.len() + 1;
        }
        assert_eq!(length, middle.len(), "whole sentences");
        assert!(kept <= encoder.shape().context_sentences);
        assert!(length <= encoder.shape().window_tokens / 4);
        let mut at = opening.len();
        for tokens in &all[first.index - kept..first.index] {
            assert_eq!(sequence.ids[at..at + tokens.ids.len()], tokens.ids[..]);
            at += tokens.ids.len() + 1;
        }
    }
    for sequence in &window.sequences {
        assert!(sequence.ids.starts_with(opening));
    }
}

/// What a scraper left behind a name is no token; the others stand where they stood.
#[test]
fn a_list_of_links_is_not_read() {
    let shape = Shape {
        window_tokens: 64,
        context_sentences: 2,
        headline_tokens: 8,
    };
    let encoder = encoder(shape);
    let list = " Ada Jane OsterOvernight Energy: Norland met | The league met MORE";
    let (before, behind) = ("Sen. Ada Oster", " (D-Tarn) met the league.");
    let read = encoder
        .tokenize(&[before, behind].concat())
        .expect("tokens");
    let found = encoder
        .tokenize(&[before, list, behind].concat())
        .expect("tokens");
    assert!(found.ids.len() > 8);
    assert_eq!(found.ids, read.ids);
    assert_eq!(found.cases, read.cases);
    assert_eq!(found.words, read.words);
    let moved = |at: usize| {
        if at > before.len() {
            at - list.len()
        } else {
            at
        }
    };
    let places: Vec<_> = found
        .ranges
        .iter()
        .map(|r| moved(r.start)..moved(r.end))
        .collect();
    assert_eq!(places, read.ranges);
}

proptest! {
    #[test]
    fn every_sentence_is_answered_once_within_the_budget(
        sentences in sentences(),
        headline in prop::option::of("[a-z ]{0,80}"),
        shape in shapes(),
        cut in 0..8_usize,
    ) {
        let encoder = encoder(shape);
        let all: Vec<Tokens> = sentences
            .iter()
            .map(|s| encoder.tokenize(s).expect("tokens"))
            .collect();
        let mention = |text: &str| {
            let end = text.floor_char_boundary(cut.min(text.len()));
            (end > 0).then_some(0..end)
        };
        let source = |index: usize| {
            let text: &String = sentences.get(index)?;
            Some((text.clone(), Some(mention(text).into_iter().collect())))
        };
        let windows = encoder.windows(headline.as_deref(), sentences.len(), source);
        let windows: Result<Vec<Window>, _> = windows.expect("a headline").collect();
        let windows = windows.expect("tokens");
        windowed(&encoder, &windows, sentences.len());

        let head = encoder.tokenize(headline.as_deref().unwrap_or_default()).expect("tokens");
        let kept = head.ids.len().min(shape.headline_tokens);
        let opening = match head.ids.len() {
            0 => 1,
            _ => kept + 2,
        };
        for window in &windows {
            let opening = window.sequences[0].ids[..opening].to_vec();
            prop_assert_eq!(&opening[1..=kept], &head.ids[..kept]);
            context(&encoder, window, &opening, &all);
            for sentence in &window.sentences {
                prop_assert_eq!(&*sentence.tokens, &all[sentence.index]);
                let Lookup::Given(given) = &sentence.lookup else {
                    panic!("{:?}", sentence.lookup);
                };
                let asked = mention(&sentences[sentence.index]);
                prop_assert_eq!(given.len(), usize::from(asked.is_some()));
                for tokens in given.iter().filter(|tokens| !tokens.is_empty()) {
                    prop_assert!(tokens.end <= sentence.tokens.ids.len());
                    let covered = &sentence.tokens.ranges[tokens.clone()];
                    let asked = asked.clone().unwrap_or_default();
                    prop_assert!(covered.iter().all(|r| r.start < asked.end && r.end > asked.start));
                }
            }
        }
        // No window ends while the next sentence would still have fitted.
        for pair in windows.windows(2) {
            let next = pair[1].sentences[0].tokens.ids.len();
            if pair[0].sequences.len() == 1 && pair[0].sentences[0].pieces.len() == 1 {
                let full = pair[0].sequences[0].tokens() + next + 1 > shape.window_tokens;
                let alone = opening + pair[0].sentences[0].tokens.ids.len() + 1 > shape.window_tokens;
                prop_assert!(full || alone);
            }
        }
    }
}
