use super::data::{Layout, Set};
use super::metrics::{Case, Classes, Spans};
use super::*;

const NEWSROOM: &str = concat!(
    r#"{"id":"n1","corpus":"c","headline":"Talks","sentences":["#,
    r#"{"text":"“Né,” said Strelsau.","type":"quote","speaker":{"start":11,"end":19},"mentions":["#,
    r#"{"start":11,"end":19,"name":"Strelsau","sentiment":"neutral"}]},"#,
    r#"{"text":"  ","type":"boilerplate","speaker":null,"mentions":[]},"#,
    r#"{"text":"Ruritania beat Graustark; RURITANIA won.","type":"report","speaker":null,"mentions":["#,
    r#"{"start":0,"end":9,"name":"Ruritania","sentiment":"positive"},"#,
    r#"{"start":15,"end":24,"name":"Graustark","sentiment":"negative"},"#,
    r#"{"start":26,"end":35,"name":"RURITANIA","sentiment":"positive"}]}]}"#,
);

const NEWSMTSC: &str = concat!(
    r#"{"primary_gid":"m1","sentence_normalized":"Rudolf praised Flavia.","targets":["#,
    r#"{"Input.gid":"x","from":0,"to":6,"mention":"Rudolf","polarity":4.0},"#,
    r#"{"from":15,"to":21,"mention":"Flavia","polarity":6,"further_mentions":[{"from":0}]}]}"#,
);

fn read(lines: &str) -> Set {
    Set::parse("dev.jsonl", lines.as_bytes()).unwrap()
}

fn near(have: f64, want: f64) {
    assert!((have - want).abs() < 1e-6, "{have} is not {want}");
}

#[test]
fn labels_stand_in_the_order_of_their_list() {
    assert!(
        SentenceType::ALL
            .iter()
            .enumerate()
            .all(|(i, t)| *t as usize == i)
    );
    assert!(
        Sentiment::ALL
            .iter()
            .enumerate()
            .all(|(i, s)| *s as usize == i)
    );
}

#[test]
fn classes_by_hand() {
    let case = |gold, answer: usize, score: f32| {
        let mut scores = [(1.0 - score) / 2.0; 3];
        scores[answer] = score;
        Case { gold, scores }
    };
    // Three bins of fifteen: 0.5 (one right, one wrong), 0.9 (right, right), 1.0 (wrong).
    let cases = [
        case(0, 0, 0.5),
        case(0, 1, 0.5),
        case(1, 1, 0.9),
        case(0, 0, 0.9),
        case(1, 0, 1.0),
    ];
    let classes = Classes::of(["a", "b", "c"], &cases).unwrap();
    assert_eq!(classes.confusion, [[2, 1, 0], [1, 1, 0], [0, 0, 0]]);
    let [a, b, c] = [0, 1, 2].map(|i| classes.classes[i].score);
    for (score, precision, recall, f1, support) in [
        (a, 2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0, 3),
        (b, 0.5, 0.5, 0.5, 2),
        (c, 0.0, 0.0, 0.0, 0),
    ] {
        near(score.precision, precision);
        near(score.recall, recall);
        near(score.f1, f1);
        assert_eq!(score.support, support);
    }
    near(classes.macro_f1, (2.0 / 3.0 + 0.5) / 3.0);
    near(classes.accuracy, 0.6);
    // 2/5·|0.5−0.5| + 2/5·|1−0.9| + 1/5·|0−1|
    near(classes.calibration_error, 0.04 + 0.2);
    for (bin, cases, confidence, accuracy) in [
        (classes.reliability[0], 2, 0.5, 0.5),
        (classes.reliability[1], 2, 0.9, 1.0),
        (classes.reliability[2], 1, 1.0, 0.0),
    ] {
        assert_eq!(bin.cases, cases);
        near(bin.confidence, confidence);
        near(bin.accuracy, accuracy);
    }
    assert_eq!(classes.reliability.len(), 3, "empty bins are left out");
    assert_eq!(Classes::of::<3>(["a", "b", "c"], &[]), None);
}

#[test]
fn spans_by_hand() {
    let mut spans = Spans::default();
    spans.add([0..4, 6..9], [0..4, 0..4, 6..8]);
    spans.add(Some(1..2), None);
    let score = spans.score();
    near(score.precision, 0.5);
    near(score.recall, 1.0 / 3.0);
    near(score.f1, 0.4);
    assert_eq!(score.support, 3);
    assert_eq!(Spans::default().score(), Score::default());
}

#[test]
fn reads_newsroom() {
    let set = read(&format!("\n{NEWSROOM}\n\n"));
    assert_eq!((set.layout, set.articles.len()), (Layout::Newsroom, 1));
    let [quote, _, report] = set.articles[0].sentences.as_slice() else {
        panic!("three sentences")
    };
    assert_eq!(
        (quote.kind, quote.speaker.clone()),
        (Some(SentenceType::Quote), Some(11..19))
    );
    let parties: Vec<_> = report.mentions.iter().map(|m| m.party).collect();
    assert_eq!(parties, [0, 1, 0], "names differing in case are one party");
}

#[test]
fn reads_newsmtsc() {
    let set = read(NEWSMTSC);
    assert_eq!(
        (set.layout, set.articles[0].id.as_str()),
        (Layout::Newsmtsc, "m1")
    );
    let mentions = &set.articles[0].sentences[0].mentions;
    let seen: Vec<_> = mentions
        .iter()
        .map(|m| (m.range.clone(), m.party, m.sentiment))
        .collect();
    assert_eq!(
        seen,
        [
            (0..6, 0, Sentiment::Neutral),
            (15..21, 1, Sentiment::Positive)
        ]
    );
}

#[test]
fn names_bad_lines() {
    let check = |line: &str, expect: &str| {
        let lines = format!("{NEWSROOM}\n{line}\n");
        let error = Set::parse("dev.jsonl", lines.as_bytes())
            .unwrap_err()
            .to_string();
        assert_eq!(error, format!("dev.jsonl:2: {expect}"), "{line}");
    };
    check("{\"id\":", "column 6: EOF while parsing a value");
    check("{}", "has neither `sentences` nor `sentence_normalized`");
    check(
        NEWSMTSC,
        "is in the layout newsmtsc; the file began in newsroom",
    );
    check(r#"{"sentences":[]}"#, "column 16: missing field `id`");
    let row = |sentence: &str| format!(r#"{{"id":"x","headline":null,"sentences":[{sentence}]}}"#);
    let sentence = |kind: &str, mention: &str| {
        row(&format!(
            r#"{{"text":"Né o","type":"{kind}","speaker":null,"mentions":[{mention}]}}"#
        ))
    };
    check(
        &sentence("news", ""),
        "sentences[0].type: \"news\" is none of the types",
    );
    let mention = |start, end, sentiment| {
        format!(r#"{{"start":{start},"end":{end},"name":"N","sentiment":"{sentiment}"}}"#)
    };
    let field = "sentences[0].mentions[0]";
    let checks = [
        (
            mention(0, 5, "neutral"),
            format!("{field}: 0..5 is no span of 4 code points"),
        ),
        (
            mention(1, 1, "neutral"),
            format!("{field}: 1..1 is no span of 4 code points"),
        ),
        (mention(2, 3, "neutral"), format!("{field}: 2..3 is blank")),
        (
            mention(0, 2, "good"),
            format!("{field}.sentiment: \"good\" is no sentiment"),
        ),
    ];
    for (mention, expect) in checks {
        check(&sentence("report", &mention), &expect);
    }
}

#[test]
fn names_bad_files() {
    let parse = |bytes: &[u8]| Set::parse("rw.jsonl", bytes).unwrap_err().to_string();
    assert_eq!(parse(b"\n"), "rw.jsonl holds no article");
    assert_eq!(parse(b"\n\xff\n"), "rw.jsonl:2: is not UTF-8");
    let odd = NEWSMTSC.replace("4.0", "5.0");
    assert_eq!(
        parse(odd.as_bytes()),
        "rw.jsonl:1: targets[0].polarity: 5 is none of 2, 4, 6"
    );
    let missing = Set::read(std::path::Path::new("no/such.jsonl")).unwrap_err();
    assert_eq!(missing.to_string(), "cannot read no/such.jsonl");
}

/// Answers every sentence: the type as told, `Strelsau` and the first word found in each, the
/// speaker inherited but for the first; parties asked for are positive.
fn answer(request: &article::Article, kinds: &[SentenceType]) -> Vec<answer::Sentence> {
    let Body::Sentences(texts) = &request.body else {
        panic!("ready-cut sentences")
    };
    let sentences = texts.iter().zip(kinds).enumerate();
    sentences
        .map(|(index, (text, kind))| answer_one(request, index, text, *kind))
        .collect()
}

fn answer_one(
    request: &article::Article,
    index: usize,
    text: &str,
    kind: SentenceType,
) -> answer::Sentence {
    let mut type_scores = [0.05; 5];
    type_scores[kind as usize] = 0.8;
    let span = |range: (usize, usize)| crate::span::Span {
        char_start: range.0,
        char_end: range.1,
        ..Default::default()
    };
    let party = |id: &str, range| answer::PartySentiment {
        party: id.to_owned(),
        name: String::new(),
        sentiment: Some(Sentiment::Positive),
        scores: [0.1, 0.2, 0.7],
        mentions: vec![answer::Mention {
            span: span(range),
            text: String::new(),
        }],
    };
    let parties = match &request.parties {
        Parties::Detect if index == 0 => vec![party("p1", (11, 19))],
        Parties::Detect => vec![party("p2", (0, 9)), party("p3", (15, 23))],
        Parties::Named(all) => {
            let of = |p: &&Party| p.spans.iter().any(|s| s.sentence == Some(index));
            let all = all.iter().filter(of);
            all.map(|p| party(&p.id, (p.spans[0].start, p.spans[0].end)))
                .collect()
        }
    };
    answer::Sentence {
        index,
        paragraph: 0,
        span: span((0, text.chars().count())),
        text: text.to_owned(),
        kind: Some(kind),
        type_scores,
        quotations: Vec::new(),
        speaker: Some(answer::Speaker {
            text: "Strelsau".to_owned(),
            sentence: 0,
            span: span((11, 19)),
            party: None,
            inherited: index > 0,
        }),
        parties,
    }
}

/// The report on a set by the made-up answers, without a classifier.
fn judge(set: &Set, kinds: &[SentenceType], limits: &Limits) -> (Report, usize) {
    let mut tally = Tally::default();
    let mut requests = 0;
    for article in &set.articles {
        let asked = Asked::new(set.layout, article);
        let mut answers = Answers::default();
        if let Some(request) = asked.detection() {
            request.check(limits).unwrap();
            answers.detected(&asked, answer(&request, kinds));
        }
        for request in asked.judgements(limits) {
            request.check(limits).unwrap();
            requests += 1;
            answers.judged(answer(&request, kinds));
        }
        tally.add(&asked, &answers);
    }
    (tally.report(set), requests)
}

#[test]
fn judges_newsroom() {
    let kinds = [SentenceType::Quote, SentenceType::Background];
    let (report, requests) = judge(&read(NEWSROOM), &kinds, &Limits::default());
    assert_eq!((report.articles, report.sentences, requests), (1, 3, 1));
    let types = report.types.as_ref().unwrap();
    assert_eq!(
        (types.cases, types.confusion[0][0], types.confusion[4][1]),
        (2, 1, 1)
    );
    near(types.macro_f1, 0.2);
    // Two of three found spans are exact; four mentions are labelled.
    let parties = report.parties.unwrap();
    near(parties.precision, 2.0 / 3.0);
    near(parties.recall, 0.5);
    // The second, inherited speaker does not count.
    assert_eq!(
        report.speakers.map(|s| (s.precision, s.support)),
        Some((1.0, 1))
    );
    // Ruritania counts twice.
    let sentiment = report.sentiment.as_ref().unwrap();
    assert_eq!(sentiment.confusion, [[0, 0, 1], [0, 0, 1], [0, 0, 2]]);
    assert_eq!((report.opposed.sentences, report.opposed.right), (1, 0));
    let blank = LeftOut {
        article: "n1".to_owned(),
        sentence: 1,
        reason: Omission::Blank,
    };
    assert_eq!(report.left_out, [blank]);
}

#[test]
fn keeps_to_the_limit_of_parties() {
    let kinds = [SentenceType::Quote, SentenceType::Background];
    let set = read(NEWSROOM);
    let (whole, _) = judge(&set, &kinds, &Limits::default());
    let (split, requests) = judge(
        &set,
        &kinds,
        &Limits {
            parties: 2,
            ..Limits::default()
        },
    );
    assert_eq!((requests, split), (2, whole));
}

#[test]
fn notes_what_is_not_answered() {
    let (report, _) = judge(&read(NEWSROOM), &[SentenceType::Quote], &Limits::default());
    let reasons: Vec<_> = report
        .left_out
        .iter()
        .map(|l| (l.sentence, l.reason))
        .collect();
    let mention = (2, Omission::MentionUnanswered);
    let expect = [
        (1, Omission::Blank),
        (2, Omission::Unanswered),
        mention,
        mention,
        mention,
    ];
    assert_eq!(reasons, expect);
    assert_eq!(report.opposed.sentences, 1, "and it is not right");
    assert_eq!(
        report.parties.unwrap().support,
        4,
        "what was not answered is missed"
    );
}

#[test]
fn judges_newsmtsc() {
    let (report, _) = judge(&read(NEWSMTSC), &[SentenceType::Quote], &Limits::default());
    assert_eq!(
        (&report.types, report.parties, report.speakers),
        (&None, None, None)
    );
    near(report.sentiment.as_ref().unwrap().accuracy, 0.5);
    assert_eq!(report.left_out, []);
}

#[test]
fn table_reads_well() {
    let kinds = [SentenceType::Quote, SentenceType::Background];
    let (report, _) = judge(&read(NEWSROOM), &kinds, &Limits::default());
    let expect = r#"newsroom: 1 articles, 3 sentences

type         precision  recall     F1  support
quote            1.000   1.000  1.000        1
background       0.000   0.000  0.000        0
reaction         0.000   0.000  0.000        0
boilerplate      0.000   0.000  0.000        0
report           0.000   0.000  0.000        1
macro-F1 0.200, accuracy 0.500, calibration error 0.300

true \ answer  quote  background  reaction  boilerplate  report
quote              1           0         0            0       0
background         0           0         0            0       0
reaction           0           0         0            0       0
boilerplate        0           0         0            0       0
report             0           1         0            0       0

span     precision  recall     F1  support
party        0.667   0.500  0.571        4
speaker      1.000   1.000  1.000        1

sentiment  precision  recall     F1  support
negative       0.000   0.000  0.000        1
neutral        0.000   0.000  0.000        1
positive       0.500   1.000  0.667        2
macro-F1 0.222, accuracy 0.500, calibration error 0.200

true \ answer  negative  neutral  positive
negative              0        0         1
neutral               0        0         1
positive              0        0         2

opposed parties: 0 of 1 sentences with a negative and a positive party have every mention right (0.000)

left out: 1 blank sentences, which the classifier does not take; first in article "n1", sentence 1
"#;
    assert_eq!(report.table(), expect);
}

#[test]
fn json_names_every_figure() {
    let (report, _) = judge(&read(NEWSMTSC), &[SentenceType::Quote], &Limits::default());
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["layout"], "newsmtsc");
    assert!(json["types"].is_null());
    let positive = &json["sentiment"]["classes"][2];
    assert_eq!(
        (&positive["name"], &positive["support"]),
        (&"positive".into(), &1.into())
    );
}
