//! Pages of made-up articles.

use super::*;
use crate::answer::{
    Language, Mention, ModelIdentity, PartySentiment, PartySummary, Quotation, QuotationKind,
};
use crate::span::Span;

const NEGATIVE: Option<Sentiment> = Some(Sentiment::Negative);
const NEUTRAL: Option<Sentiment> = Some(Sentiment::Neutral);
const POSITIVE: Option<Sentiment> = Some(Sentiment::Positive);

/// Sentences of one article, as if they stood in a text one after the other.
#[derive(Default)]
struct Copy {
    sentences: Vec<Sentence>,
    end: usize,
}

impl Copy {
    fn add(&mut self, paragraph: usize, kind: SentenceType, score: f32, text: &str) -> &mut Self {
        let span = bytes(self.end, self.end + text.len());
        self.end += text.len() + 1;
        self.sentences.push(Sentence {
            index: self.sentences.len(),
            paragraph,
            span,
            text: text.to_owned(),
            kind: Some(kind),
            type_scores: SentenceType::ALL.map(|each| if each == kind { score } else { 0.0 }),
            quotations: Vec::new(),
            speaker: None,
            parties: Vec::new(),
        });
        self
    }

    fn last(&mut self) -> &mut Sentence {
        self.sentences.last_mut().unwrap()
    }

    fn find(&mut self, words: &str) -> Span {
        let sentence = self.last();
        let at = sentence.span.byte_start + sentence.text.find(words).unwrap();
        bytes(at, at + words.len())
    }

    fn names(&mut self, words: &str, sentiment: Option<Sentiment>) -> &mut Self {
        let span = self.find(words);
        self.mention(span, sentiment)
    }

    fn mention(&mut self, span: Span, sentiment: Option<Sentiment>) -> &mut Self {
        let id = format!("p{}", self.last().parties.len());
        let mentions = vec![Mention {
            span,
            text: String::new(),
        }];
        let party = PartySentiment {
            party: id,
            name: String::new(),
            sentiment,
            scores: [0.0; 3],
            mentions,
        };
        self.last().parties.push(party);
        self
    }

    fn quotes(&mut self, words: &str) -> &mut Self {
        let span = self.find(words);
        let kind = QuotationKind::Direct;
        self.last().quotations.push(Quotation {
            span,
            kind,
            running: false,
            opened_before: false,
        });
        self
    }

    fn says(&mut self, text: &str, party: Option<&str>, inherited: bool) -> &mut Self {
        let (text, party) = (text.to_owned(), party.map(str::to_owned));
        let sentence = self.last().index - usize::from(inherited);
        self.last().speaker = Some(Speaker {
            text,
            sentence,
            span: Span::default(),
            party,
            inherited,
        });
        self
    }
}

fn bytes(start: usize, end: usize) -> Span {
    Span {
        byte_start: start,
        byte_end: end,
        ..Span::default()
    }
}

fn party(id: &str, name: &str, aliases: &[&str], sentiment: [usize; 3]) -> PartySummary {
    PartySummary {
        id: id.to_owned(),
        name: name.to_owned(),
        aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
        sentences: sentiment.iter().sum(),
        sentiment,
        ..PartySummary::default()
    }
}

fn summary(types: [usize; 5], parties: Vec<PartySummary>) -> Summary {
    Summary {
        model: ModelIdentity {
            id: "news-en".to_owned(),
            revision: "0123456789abcdef0123456789abcdef01234567".to_owned(),
            sha256: String::new(),
        },
        types,
        parties,
        language: Language {
            code: "eng".to_owned(),
            supported: true,
        },
        timings: crate::answer::Timings {
            total: Duration::from_millis(83),
            ..Default::default()
        },
        ..Summary::default()
    }
}

fn trade() -> (Vec<Sentence>, Summary) {
    use SentenceType::{Background, Boilerplate, Quote, Reaction, Report};
    let mut copy = Copy::default();
    copy.add(0, Report, 0.94, "Norland imposed levies on grain from Sudria on Tuesday, hours after its neighbour closed two border crossings.")
        .names("Norland", NEUTRAL)
        .names("Sudria", NEGATIVE);
    copy.add(
        1,
        Quote,
        0.97,
        "“We were left no choice,” Trade Minister Ada Wang told reporters.",
    )
    .quotes("We were left no choice,")
    .names("Ada Wang", NEUTRAL)
    .says("Ada Wang", Some("p3"), false);
    copy.add(
        1,
        Quote,
        0.81,
        "“The crossings will open when they open theirs.”",
    )
    .quotes("The crossings will open when they open theirs.")
    .says("Ada Wang", Some("p3"), true);
    copy.add(2, Reaction, 0.46, "Sudria's foreign ministry called the levies “childish” and thanked the Harbour Union for its patience.")
        .quotes("childish")
        .names("Sudria", NEUTRAL)
        .names("Harbour Union", POSITIVE)
        .says("foreign ministry", None, false);
    copy.add(
        3,
        Background,
        0.88,
        "The two countries have shared the Lower Canal since 1954.",
    );
    copy.add(4, Boilerplate, 0.99, "Read more: How the canal was dug");
    let parties = vec![
        party("p1", "Norland", &[], [0, 1, 0]),
        party(
            "p2",
            "Sudria",
            &["Republic of Sudria", "Port Sud"],
            [1, 1, 0],
        ),
        party("p3", "Ada Wang", &["Wang"], [0, 1, 0]),
        party("p4", "Harbour Union", &[], [0, 0, 1]),
    ];
    (copy.sentences, summary([2, 1, 1, 1, 1], parties))
}

fn render(width: usize, colour: bool, sentences: &[Sentence], summary: &Summary) -> String {
    let mut out = Vec::new();
    let headline = Some("Norland answers closed crossings with grain levies");
    article(
        &mut out,
        &Page { width, colour },
        "trade/a1.txt",
        headline,
        sentences,
        summary,
    )
    .unwrap();
    String::from_utf8(out).unwrap()
}

/// Sentences as they are printed, without the rule that ends them.
fn lines(page: Page, copy: &Copy) -> String {
    let mut out = Vec::new();
    Sheet {
        out: &mut out,
        page: &page,
    }
    .sentences(&copy.sentences)
    .unwrap();
    let text = String::from_utf8(out).unwrap();
    text.trim_end().rsplit_once("\n\n").unwrap().0.to_owned()
}

const PLAIN: Page = Page {
    width: 60,
    colour: false,
};
const COLOUR: Page = Page {
    width: 60,
    colour: true,
};

fn one(text: &str) -> Copy {
    let mut copy = Copy {
        end: 70,
        ..Copy::default()
    };
    copy.add(0, SentenceType::Report, 0.9, text);
    copy
}

#[track_caller]
fn check(page: Page, copy: &Copy, expect: &str) {
    let got = lines(page, copy);
    assert_eq!(got, expect, "\n{got}");
}

#[test]
fn page_at_100() {
    let (sentences, summary) = trade();
    let got = render(100, false, &sentences, &summary);
    assert_eq!(got, include_str!("tests/page_100.txt"), "\n{got}");
}

#[test]
fn page_at_60() {
    let (sentences, summary) = trade();
    let got = render(60, false, &sentences, &summary);
    assert_eq!(got, include_str!("tests/page_60.txt"), "\n{got}");
}

#[test]
fn page_at_40() {
    let (sentences, summary) = trade();
    let got = render(40, false, &sentences, &summary);
    assert_eq!(got, include_str!("tests/page_40.txt"), "\n{got}");
    assert_eq!(
        got,
        render(0, false, &sentences, &summary),
        "fewer are taken as 40"
    );
}

#[test]
fn page_without_sentences() {
    let mut summary = summary([0; 5], Vec::new());
    summary.language = Language {
        code: "deu".to_owned(),
        supported: false,
    };
    let mut out = Vec::new();
    article(&mut out, &PLAIN, "empty", None, &[], &summary).unwrap();
    let expect = "\
── empty ───────────────────────────────────────────────────

types         none

parties       none

note          The model was not trained for this language
              (deu): read the labels with care.
model         news-en 0123456789ab, 0 sentences in 83 ms

";
    assert_eq!(String::from_utf8(out).unwrap(), expect);
}

#[test]
fn page_of_a_failure() {
    let mut out = Vec::new();
    let message = "text: 2,000,000 bytes; at most 1,048,576 are allowed";
    failure(&mut out, &PLAIN, "a2", "INVALID_ARGUMENT", message).unwrap();
    let expect = "\
── a2 ──────────────────────────────────────────────────────

failed        INVALID_ARGUMENT: text: 2,000,000 bytes; at
              most 1,048,576 are allowed

";
    assert_eq!(String::from_utf8(out).unwrap(), expect);
}

/// Colour adds escapes, drops the sign of neutral mentions, and changes nothing else.
#[test]
fn colour_only_adds() {
    let (sentences, summary) = trade();
    let coloured = strip(&render(100, true, &sentences, &summary));
    let plain = render(100, false, &sentences, &summary);
    assert_eq!(unspaced(&coloured), unspaced(&plain.replace("[·]", "")));
    assert!(!plain.contains('\u{1b}'));
}

fn strip(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |all, part| all + part.split_once('m').unwrap().1)
}

fn unspaced(text: &str) -> String {
    text.split_whitespace().collect()
}

#[test]
fn names_within_names() {
    let mut copy = one("The Bank of Norland left.");
    copy.names("Bank of Norland", NEGATIVE)
        .names("Norland", NEUTRAL)
        .names("Bank", POSITIVE);
    check(
        PLAIN,
        &copy,
        "report        The Bank[+] of Norland[·][-] left.",
    );
    check(
        COLOUR,
        &copy,
        "report        The \x1b[1;32mBank[+]\x1b[0m \x1b[1;31mof\x1b[0m \x1b[1mNorland\x1b[0m\x1b[1;31m[-]\x1b[0m left.",
    );
}

#[test]
fn two_parties_in_one_place() {
    let mut copy = one("Norland left.");
    copy.names("Norland", POSITIVE)
        .names("Norland", NEUTRAL)
        .names("Norland", None);
    check(PLAIN, &copy, "report        Norland[·][?][+] left.");
    check(
        COLOUR,
        &copy,
        "report        \x1b[1;32mNorland\x1b[0m\x1b[1m[?]\x1b[0m\x1b[1;32m[+]\x1b[0m left.",
    );
}

#[test]
fn parties_that_cross() {
    let mut copy = one("Ada Wang Ltd fell.");
    copy.names("Ada Wang", NEUTRAL).names("Wang Ltd", NEGATIVE);
    check(PLAIN, &copy, "report        Ada Wang[·] Ltd[-] fell.");
}

#[test]
fn spans_that_do_not_fit_are_left_out() {
    let mut copy = one("Zoë left.");
    for (start, end) in [
        (0, 3),
        (70, 70),
        (72, 73),
        (73, 72),
        (70, 999),
        (usize::MAX, usize::MAX),
    ] {
        copy.mention(bytes(start, end), NEGATIVE);
        let quotation = Quotation {
            span: bytes(start, end),
            kind: QuotationKind::Mixed,
            running: false,
            opened_before: false,
        };
        copy.last().quotations.push(quotation);
    }
    copy.names("Zoë", POSITIVE);
    check(PLAIN, &copy, "report        Zoë[+] left.");
}

#[test]
fn indirect_quotations_are_not_set_off() {
    let mut copy = one("It would rain, he said.");
    copy.quotes("It would rain, he said.");
    copy.last().quotations[0].kind = QuotationKind::Indirect;
    check(COLOUR, &copy, "report        It would rain, he said.");
}

#[test]
fn types_in_doubt() {
    let mut copy = one("One.");
    copy.add(0, SentenceType::Boilerplate, 0.49, "Two.");
    copy.add(0, SentenceType::Quote, 0.5, "Three.");
    copy.last().kind = None;
    check(
        PLAIN,
        &copy,
        "report        One.\nboilerplate?  Two.\nunsure        Three.",
    );
}

#[test]
fn wide_characters() {
    let text = "北国外務省は火曜日、南国からの穀物に関税を課すと発表した。両国は「下運河」を七十年にわたり共有している。";
    let mut copy = one(text);
    copy.names("北国外務省", NEUTRAL).names("南国", NEGATIVE);
    check(
        PLAIN,
        &copy,
        "\
report        北国外務省[·]は火曜日、南国[-]からの穀物に関税
              を課すと発表した。両国は「下運河」を七十年にわ
              たり共有している。",
    );
}

#[test]
fn control_characters() {
    let mut copy = one("A\u{1b}[2J\u{9b}31m b\u{202e}c\r\n\td\u{7}\u{0}\u{7f} e.");
    copy.names("e", NEGATIVE)
        .says("\u{1b}]0;x\u{7}", Some("\u{1b}"), false);
    check(
        PLAIN,
        &copy,
        "report        A\u{fffd}[2J\u{fffd}31m b\u{fffd}c d\u{fffd}\u{fffd}\u{fffd} e[-]. — \u{fffd}]0;x\u{fffd} (\u{fffd})",
    );
}

/// Whatever comes from outside holds an escape; none may come through.
#[test]
fn no_field_drives_the_terminal() {
    let evil = "\u{1b}[2J\n\u{9b}";
    let mut summary = summary([0; 5], vec![party(evil, evil, &[evil, "x"], [1, 0, 0])]);
    summary.model = ModelIdentity {
        id: evil.into(),
        revision: evil.into(),
        sha256: evil.into(),
    };
    summary.language = Language {
        code: evil.into(),
        supported: false,
    };
    let mut out = Vec::new();
    let copy = one(evil);
    article(
        &mut out,
        &PLAIN,
        evil,
        Some(evil),
        &copy.sentences,
        &summary,
    )
    .unwrap();
    failure(&mut out, &PLAIN, evil, evil, evil).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.chars().all(|c| c == '\n' || !c.is_control()),
        "{text:?}"
    );
}

/// At any width lines keep to the page, and each character is printed once, in order.
#[test]
fn lines_keep_to_the_page() {
    use unicode_width::UnicodeWidthStr;
    let url = "https://example.org/".to_owned() + &"path/".repeat(40);
    let text = format!("Zoë 🦊 e\u{301}t al—and 東京（首都）read {url} “at once” 👩‍👩‍👧 -- there.");
    let mut copy = one(&text);
    copy.names("Zoë", None)
        .names("東京", NEGATIVE)
        .names(&url, POSITIVE)
        .says("Zoë", None, false);
    let signed = unspaced(&text)
        .replace("Zoë", "Zoë[?]")
        .replace("東京", "東京[-]")
        .replace(&unspaced(&url), &format!("{url}[+]"));
    for width in 40..130 {
        let page = Page {
            width,
            colour: false,
        };
        let got = lines(page, &copy);
        assert!(
            got.lines().all(|line| line.width() <= width.min(114)),
            "{width}\n{got}"
        );
        assert_eq!(unspaced(&got), format!("report{signed}—Zoë"), "{width}");
    }
}

#[test]
fn table_of_many_parties() {
    let many = |at: usize| {
        party(
            &format!("p{at}"),
            &format!("Ward {at} Association"),
            &["WA"],
            [3 * at, 20 - at, 2],
        )
    };
    let mut parties: Vec<PartySummary> = (1..=14).map(many).collect();
    parties[13].unspecified = 9;
    parties[13].sentences += 9;
    let lines = table::lines(&parties, 86);
    let got: Vec<String> = lines.iter().map(plain).collect();
    assert_eq!(
        got.join("\n") + "\n",
        include_str!("tests/table.txt"),
        "\n{}",
        got.join("\n")
    );
    for measure in 32..120 {
        let lines = table::lines(&parties, measure);
        assert!(
            lines
                .iter()
                .all(|line| plain(line).chars().count() <= measure),
            "{measure}"
        );
    }
}

fn plain(line: &Line) -> String {
    let mut out = Vec::new();
    line.write(&mut out, false).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn times() {
    let told = [
        (0, "0.0 ms"),
        (9_940, "9.9 ms"),
        (83_400, "83 ms"),
        (1_260_000, "1.3 s"),
    ];
    for (micros, expect) in told {
        assert_eq!(elapsed(Duration::from_micros(micros)), expect);
    }
}
