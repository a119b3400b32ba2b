use std::path::Path;

use super::*;
use crate::article::{Article, Body, Limits, Parties};
use crate::model::Placement;
use crate::model::files::Files;

use SentenceType::{Background, Quote, Reaction};

/// What a model could say of a sentence: its type, its speaker, the parties that it names.
type Said<'a> = (SentenceType, Option<&'a str>, &'a [&'a str]);

/// The answers to an article, given as one window for each inner list.
fn answers(text: &str, windows: &[&[Said]]) -> Vec<Sentence> {
    answers_of(Body::Text(text.into()), Parties::Detect, windows)
}

fn answers_of(body: Body, parties: Parties, windows: &[&[Said]]) -> Vec<Sentence> {
    let files = Files::read(Path::new("tests/fixtures/tiny")).expect("a model");
    let model = Model::load(&files, Placement::Cpu).expect("a model");
    let article = Article {
        id: String::new(),
        headline: None,
        body,
        parties,
    };
    let text = Arc::new(Text::new(article, Vec::new(), &Limits::default()).expect("an article"));
    let mut assembler = Assembler::new(Arc::clone(&text), &model, 0.0);
    let mut next = 0;
    let mut events = Vec::new();
    for window in windows {
        let logits = window
            .iter()
            .enumerate()
            .map(|(at, (kind, speaker, parties))| {
                let words = text.sentence(next + at);
                let place = |name: &str| {
                    let start = words.find(name).expect("stands in the sentence");
                    start..start + name.len()
                };
                let mut scores = [0.0; 5];
                scores[*kind as usize] = 9.0;
                SentenceLogits {
                    index: next + at,
                    kind: scores,
                    party_tags: Vec::new(),
                    speaker_tags: Vec::new(),
                    speaker: speaker.map(place),
                    mentions: parties
                        .iter()
                        .map(|name| MentionLogits {
                            range: place(name),
                            sentiment: [0.0, 1.0, 0.0],
                        })
                        .collect(),
                }
            });
        events.extend(assembler.window(logits.collect()));
        next += window.len();
    }
    assert_eq!(next, text.sentences().len(), "all sentences are answered");
    events
        .into_iter()
        .map(|event| match event {
            Event::Sentence(sentence) => *sentence,
            Event::Summary(_) => unreachable!("windows give sentences"),
        })
        .collect()
}

/// Of each sentence whose words, by which party, and where that is named; `-` for nobody's.
fn speakers(text: &str, windows: &[&[Said]]) -> Vec<String> {
    let shown = |sentence: Sentence| match sentence.speaker {
        None => "-".to_owned(),
        Some(speaker) => {
            assert_eq!(speaker.inherited, speaker.sentence != sentence.index);
            let party = speaker.party.as_deref().unwrap_or("none");
            format!("{} {party} {}", speaker.text, speaker.sentence)
        }
    };
    answers(text, windows).into_iter().map(shown).collect()
}

const TWO: &str = "\"The lock is old,\" Ida Brandt said.\n\n\"It held for years. It will not hold now. We know \
    that,\" said Per Olsen.\n\n\"We know too.\"";

/// Its sentences, of these types.
fn two(kinds: [SentenceType; 5]) -> [Said<'static>; 5] {
    let [a, b, c, d, e] = kinds;
    [
        (a, Some("Ida Brandt"), &["Ida Brandt"]),
        (b, None, &[]),
        (c, None, &[]),
        (d, Some("Per Olsen"), &["Per Olsen"]),
        (e, None, &[]),
    ]
}

#[test]
fn a_quotation_that_names_its_speaker_at_its_end_is_that_speakers_from_its_beginning() {
    let said = two([Quote; 5]);
    let expect = [
        "Ida Brandt p1 0",
        "Per Olsen p2 3",
        "Per Olsen p2 3",
        "Per Olsen p2 3",
        "Per Olsen p2 3",
    ];
    assert_eq!(speakers(TWO, &[&said]), expect);
    // What the window does not show cannot be known.
    for end in [2, 3] {
        let cut = speakers(TWO, &[&said[..end], &said[end..]]);
        assert!(
            cut[1..end].iter().all(|s| s == "Ida Brandt p1 0"),
            "{cut:?}"
        );
        assert_eq!(cut[end..], expect[end..]);
    }
}

#[test]
fn a_pronoun_at_the_end_is_who_spoke_last() {
    let text = "\"It is old,\" Ida Brandt said.\n\n\"It held. It will not hold,\" she said.";
    let said: [Said; 3] = [
        (Quote, Some("Ida Brandt"), &["Ida Brandt"]),
        (Quote, None, &[]),
        (Quote, Some("she"), &[]),
    ];
    let all = speakers(text, &[&said]);
    assert_eq!(all, ["Ida Brandt p1 0", "Ida Brandt p1 0", "she none 2"]);
    let text = "It rained.\n\n\"It held. It will not hold,\" she said.";
    let said: [Said; 3] = [
        (Background, None, &[]),
        (Quote, None, &[]),
        (Quote, Some("she"), &[]),
    ];
    assert_eq!(speakers(text, &[&said]), ["-", "she none 2", "she none 2"]);
}

#[test]
fn a_speaker_named_where_the_quotation_began_stays() {
    let text = "Ida Brandt said: \"It held. It will not hold. Ask Per Olsen.\"";
    let said: [Said; 3] = [
        (Quote, Some("Ida Brandt"), &["Ida Brandt"]),
        (Quote, None, &[]),
        (Quote, Some("Per Olsen"), &["Per Olsen"]),
    ];
    let all = speakers(text, &[&said]);
    assert_eq!(
        all,
        ["Ida Brandt p1 0", "Ida Brandt p1 0", "Per Olsen p2 2"]
    );
}

#[test]
fn whom_the_quoted_words_name_does_not_speak_them() {
    let text =
        "\"It is old,\" Ida Brandt said. \"It held. My father built it. He said it would last.\"";
    let said: [Said; 4] = [
        (Quote, Some("Ida Brandt"), &["Ida Brandt"]),
        (Quote, None, &[]),
        (Quote, Some("My father"), &[]),
        (Quote, Some("He"), &[]),
    ];
    assert_eq!(speakers(text, &[&said])[1], "Ida Brandt p1 0");
    let text = "\"It held. The mayor says it will not. I know,\" said Per Olsen.";
    let said: [Said; 3] = [
        (Quote, None, &[]),
        (Quote, Some("The mayor"), &[]),
        (Quote, Some("Per Olsen"), &["Per Olsen"]),
    ];
    assert_eq!(speakers(text, &[&said])[0], "Per Olsen p1 2");
}

#[test]
fn a_quotation_ends_where_it_ends() {
    let text = "\"It held. It will not.\" He left. \"So be it,\" said Per Olsen.";
    let said: [Said; 4] = [
        (Quote, None, &[]),
        (Quote, None, &[]),
        (Background, None, &[]),
        (Quote, Some("Per Olsen"), &["Per Olsen"]),
    ];
    assert_eq!(speakers(text, &[&said]), ["-", "-", "-", "Per Olsen p1 3"]);
}

#[test]
fn a_speaker_is_a_party_that_was_named_by_then() {
    let text = "The Finance Ministry paid. The ministry said so. The Defence Ministry did not pay.";
    let said: [Said; 3] = [
        (Background, None, &["Finance Ministry"]),
        (Quote, Some("The ministry"), &[]),
        (Background, None, &["Defence Ministry"]),
    ];
    let sentences = answers(text, &[&said]);
    let party = |s: &Sentence| s.speaker.as_ref().and_then(|s| s.party.clone());
    assert_eq!(party(&sentences[1]).as_deref(), Some("p1"));
    let text = "Olsen paid. Per Olsen said so.";
    let said: [Said; 2] = [
        (Background, None, &["Olsen"]),
        (Quote, Some("Per Olsen"), &["Per Olsen"]),
    ];
    let names = answers(text, &[&said])
        .into_iter()
        .map(|s| s.parties[0].name.clone());
    assert!(names.eq(["Olsen", "Per Olsen"]));
}

#[test]
fn ready_cut_sentences_and_named_parties() {
    let body = ["\"It held.", "It will not,\" said Olsen."].map(String::from);
    let named = Party {
        id: "o".into(),
        name: "Per Olsen".into(),
        ..Party::default()
    };
    let said: [Said; 2] = [(Quote, None, &[]), (Quote, Some("Olsen"), &[])];
    let body = Body::Sentences(body.to_vec());
    let sentences = answers_of(body, Parties::Named(vec![named]), &[&said]);
    let speaker = sentences[0].speaker.as_ref().expect("a speaker");
    assert_eq!((speaker.sentence, speaker.span.char_start), (1, 19));
    assert_eq!(speaker.party.as_deref(), Some("o"));
}

#[test]
fn only_a_running_quotation_looks_ahead() {
    let text = "\"It held.\" It will not hold, said Per Olsen.";
    let said: [Said; 2] = [
        (Quote, None, &[]),
        (Quote, Some("Per Olsen"), &["Per Olsen"]),
    ];
    assert_eq!(speakers(text, &[&said]), ["-", "Per Olsen p1 1"]);
}

#[test]
fn what_cannot_speak_has_no_speaker() {
    let said = two([Background, Background, Quote, Background, Quote]);
    let all = speakers(TWO, &[&said]);
    assert_eq!(all, ["-", "-", "Per Olsen p2 3", "-", "-"]);
}

#[test]
fn the_type_of_a_quotation_does_not_change_while_it_runs() {
    let said = two([Quote, Reaction, Quote, Reaction, Quote]);
    let kinds: Vec<_> = answers(TWO, &[&said]).iter().map(|s| s.kind).collect();
    let all = [Quote, Reaction, Reaction, Reaction, Reaction].map(Some);
    assert_eq!(kinds, all);
}
