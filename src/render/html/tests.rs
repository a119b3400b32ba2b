//! The page's structure, and that nothing from an article becomes markup.

use super::*;
use crate::answer::{
    Language, Mention, PartySentiment, PartySummary, Quotation, QuotationKind, Sentiment, Speaker,
};
use crate::span::Span;

fn bytes(start: usize, end: usize) -> Span {
    Span {
        byte_start: start,
        byte_end: end,
        ..Span::default()
    }
}

/// A sentence of its own text; mentions as (party, words, sentiment).
fn sentence(
    index: usize,
    kind: SentenceType,
    text: &str,
    mentions: &[(&str, &str, Option<Sentiment>)],
) -> Sentence {
    let parties = mentions.iter().map(|(party, words, sentiment)| {
        let at = text.find(words).unwrap();
        PartySentiment {
            party: (*party).to_owned(),
            name: String::new(),
            sentiment: *sentiment,
            scores: [0.0; 3],
            mentions: vec![Mention {
                span: bytes(at, at + words.len()),
                text: (*words).to_owned(),
            }],
        }
    });
    Sentence {
        index,
        paragraph: index,
        span: bytes(0, text.len()),
        text: text.to_owned(),
        kind: Some(kind),
        type_scores: SentenceType::ALL.map(|each| if each == kind { 0.9 } else { 0.025 }),
        quotations: Vec::new(),
        speaker: None,
        parties: parties.collect(),
    }
}

fn party(id: &str, name: &str, sentiment: [usize; 3]) -> PartySummary {
    PartySummary {
        id: id.to_owned(),
        name: name.to_owned(),
        sentences: sentiment.iter().sum(),
        sentiment,
        ..PartySummary::default()
    }
}

fn summary(parties: Vec<PartySummary>) -> Summary {
    Summary {
        parties,
        language: Language {
            code: "eng".to_owned(),
            supported: true,
        },
        ..Summary::default()
    }
}

fn page(write: impl FnOnce(&mut Document, &mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    let mut document = Document::begin(&mut out).unwrap();
    write(&mut document, &mut out);
    document.end(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// What stands between `<main …>` and `</main>`.
fn body(page: &str) -> &str {
    let start = page.find("<main id=\"main\">").unwrap();
    &page[start..page.find("</main>").unwrap()]
}

fn harbour() -> (Vec<Sentence>, Summary) {
    use SentenceType::{Quote, Report};
    let first = sentence(
        0,
        Report,
        "Norland Bank sued Norland.",
        &[
            ("b", "Norland Bank", Some(Sentiment::Neutral)),
            ("n", "Norland.", Some(Sentiment::Negative)),
        ],
    );
    let mut second = sentence(1, Quote, "“We will win,” Ida Brandt said.", &[]);
    second.quotations = vec![Quotation {
        span: bytes(3, 15),
        kind: QuotationKind::Direct,
        running: true,
        opened_before: false,
    }];
    let speaker = |inherited| {
        Some(Speaker {
            text: "Ida Brandt".to_owned(),
            sentence: 1,
            span: bytes(19, 29),
            party: None,
            inherited,
        })
    };
    second.speaker = speaker(false);
    let mut third = sentence(2, Quote, "“Soon.”", &[]);
    third.speaker = speaker(true);
    third.type_scores = [0.4, 0.15, 0.15, 0.15, 0.15];
    let parties = vec![
        party("b", "Norland Bank", [0, 1, 0]),
        party("n", "Norland", [1, 0, 0]),
    ];
    (vec![first, second, third], summary(parties))
}

#[test]
fn an_article_has_its_parts() {
    let (sentences, summary) = harbour();
    let page = page(|document, out| {
        document
            .article(out, "a.txt", Some("A suit"), &sentences, &summary)
            .unwrap();
    });
    let check = |words: &str| assert!(body(&page).contains(words), "{words}\n{}", body(&page));
    check("<h2 id=\"a1-h\"><bdi>A suit</bdi></h2>");
    check("<bdi>a.txt</bdi> · 3 sentences");
    check("id=\"a1-s0\" data-t=\"report\" data-p=\"0 1\">");
    check("<a class=\"m neu\" href=\"#a1-p0\" data-p=\"0\">Norland Bank</a> sued");
    check(
        "<a class=\"m neg\" href=\"#a1-p1\" data-p=\"1\">Norland.<sup aria-hidden=\"true\">−</sup>",
    );
    check("“<span class=\"q\">We will win,</span>”");
    check("<span class=\"sp\" data-by=\"0\">Ida Brandt</span> said.");
    check("<a class=\"by\" href=\"#a1-s1\" data-by=\"0\">— <bdi>Ida Brandt</bdi></a>");
    check("data-by=\"0\">— <bdi>Ida Brandt</bdi>, continued</a>");
    check("quote<span aria-hidden=\"true\">?</span>");
    check("aria-label=\"Along the article: negative in sentence 1\"");
    check("<button type=\"button\" data-p=\"0\" aria-pressed=\"false\">");
}

#[test]
fn spans_may_overlap() {
    let check = |text: &str, mentions: &[(&str, &str, Option<Sentiment>)], expect: &[&str]| {
        let sentences = [sentence(0, SentenceType::Report, text, mentions)];
        let parties = mentions.iter().map(|m| party(m.0, m.1, [0, 1, 0]));
        let summary = summary(parties.collect());
        let page = page(|document, out| {
            document
                .article(out, "a", None, &sentences, &summary)
                .unwrap();
        });
        for words in expect {
            assert!(body(&page).contains(words), "{words}\n{}", body(&page));
        }
    };
    let (up, down) = (Some(Sentiment::Positive), Some(Sentiment::Negative));
    // A name within a name is what a click on it means.
    check(
        "The Bank of Norland won.",
        &[("a", "Bank of Norland", up), ("b", "Norland", down)],
        &[
            "<a class=\"m pos\" href=\"#a1-p0\" data-p=\"0\">Bank of </a>",
            "<a class=\"m neg\" href=\"#a1-p1\" data-p=\"1 0\">Norland<sup",
        ],
    );
    check(
        "abcdef",
        &[("a", "abcd", None), ("b", "cdef", None)],
        &[">ab</a>", "data-p=\"0 1\">cd<sup", "data-p=\"1\">ef<sup"],
    );
}

#[test]
fn hostile_text_stays_text() {
    let evil = "</p></script><img src=x onerror=alert(1)>\" onmouseover='x' &lt;\u{0}\u{202e}";
    let mut nasty = sentence(
        0,
        SentenceType::Quote,
        &format!("{evil} Norland"),
        &[(evil, "Norland", Some(Sentiment::Positive))],
    );
    nasty.speaker = Some(Speaker {
        text: evil.to_owned(),
        sentence: 7,
        span: bytes(0, 3),
        party: None,
        inherited: false,
    });
    let mut party = party(evil, evil, [0, 0, 1]);
    party.aliases = vec![evil.to_owned()];
    let mut summary = summary(vec![party]);
    summary.language = Language {
        code: evil.to_owned(),
        supported: false,
    };
    summary.model.id = evil.to_owned();
    summary.model.revision = evil.to_owned();
    let page = page(|document, out| {
        document
            .article(out, evil, Some(evil), &[nasty], &summary)
            .unwrap();
        document.failure(out, evil, evil, evil).unwrap();
    });
    let body = body(&page);
    assert!(!body.contains("<img"), "{body}");
    assert!(!body.contains("</script"), "{body}");
    assert!(!body.contains('\0'), "{body}");
    // Every quotation mark left is markup's own: each tag has an even number of them.
    for tag in body.split('<').skip(1).filter_map(|t| t.split_once('>')) {
        assert_eq!(tag.0.matches('"').count() % 2, 0, "{}", tag.0);
        let names: String = tag.0.split('"').step_by(2).collect();
        assert!(!names.contains("onmouseover"), "{}", tag.0);
    }
    assert_eq!(
        body.matches("&lt;img src=x").count(),
        body.matches("onerror").count()
    );
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let page = page(|_, _| {});
    assert!(page.contains("default-src 'none'"));
    assert!(!page.contains("unsafe-eval"));
    for outside in [
        "src=\"", "@import", "url(", "http:", "https:", "fetch(", "XMLHttp",
    ] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(!SCRIPT.contains("</script") && !SCRIPT.contains("innerHTML"));
    assert!(page.contains("There was no article."));
}
