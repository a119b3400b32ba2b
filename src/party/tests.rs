use proptest::prelude::*;

use super::*;

/// "party:words" of every mention in a text that is one sentence a line.
fn found(names: &[(usize, &str)], text: &str) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        sentences.push(start..start + line.trim_end().len());
        start += line.len();
    }
    let matcher = Matcher::new(names.iter().copied());
    let all = matcher
        .find(text, &sentences, 1000)
        .unwrap()
        .into_iter()
        .flatten();
    all.map(|m| format!("{}:{}", m.party, &text[m.range]))
        .collect()
}

#[test]
fn names_are_found_as_words() {
    let check = |names: &[(usize, &str)], text: &str, expect: &[&str]| {
        assert_eq!(found(names, text), expect, "{text}");
    };
    let china = [(0, "China"), (0, "Beijing"), (1, "China Daily")];
    check(
        &china,
        "China’s envoy left Chinatown for Beijing.",
        &["0:China", "0:Beijing"],
    );
    check(
        &china,
        "The China Daily said China won.",
        &["1:China Daily", "0:China"],
    );
    check(&china, "the china cup", &[]);
    check(&china, "CHINA WINS\nChina wins", &["0:CHINA", "0:China"]);
    check(&[(0, "Ann"), (1, "Ann Arb")], "Ann Arbor", &["0:Ann"]);
    check(&[(0, "US"), (1, "Us")], "TELL US ALL", &["0:US", "1:US"]);
    check(&[(0, "US")], "tell us", &[]);
}

#[test]
fn spelling_may_differ_where_type_does() {
    let check = |name: &str, text: &str, expect: &[&str]| {
        assert_eq!(found(&[(0, name)], text), expect, "{name} in {text}");
    };
    check("Xi Jinping", "Xi  Jinping spoke", &["0:Xi  Jinping"]);
    check("O'Brien", "Mr O’Brien spoke", &["0:O’Brien"]);
    check("Jos\u{e9}", "Jose\u{301} spoke", &["0:Jose\u{301}"]);
    check(
        "U.S.",
        "the U.S. and the U.S.’s allies",
        &["0:U.S.", "0:U.S."],
    );
    check("AT&T", "AT&T’s offer", &["0:AT&T"]);
    check("東京", "在東京的会議", &["0:東京"]);
    check("Yahoo!", "Yahoo! and Yahoo", &["0:Yahoo!"]);
}

#[test]
fn parties_may_share_a_name() {
    assert_eq!(
        found(&[(0, "Oster"), (1, "Oster"), (1, "Oster")], "Oster left"),
        ["0:Oster", "1:Oster"]
    );
    assert!(found(&[], "Oster left").is_empty());
    assert!(found(&[(0, ""), (0, " ")], "Oster left").is_empty());
}

#[test]
fn a_name_that_is_everywhere_is_found_everywhere() {
    let nested: Vec<String> = (1..200).map(|n| "a ".repeat(n)).collect();
    let names: Vec<(usize, &str)> = nested.iter().map(|n| (0, n.as_str())).collect();
    let text = "a ".repeat(20_000);
    assert_eq!(found(&names, text.trim()).len(), 101);
    assert_eq!(found(&[(0, ".")], "a.b.").len(), 2);
}

/// Places mentions one after the other; the number of the party of each.
fn grouped(mentions: &[&str]) -> (Vec<usize>, Groups) {
    let mut groups = Groups::new();
    (mentions.iter().map(|m| groups.place(m)).collect(), groups)
}

#[test]
fn mentions_of_one_party_come_together() {
    let together = |mentions: &[&str]| {
        let (parties, _) = grouped(mentions);
        assert!(parties.iter().all(|&p| p == 0), "{mentions:?}: {parties:?}");
    };
    together(&["Sergei Shoigu", "Shoigu", "SHOIGU", "Shoigu’s", "Sergei"]);
    together(&["Trump", "Donald Trump", "Donald J. Trump", "Trump’s"]);
    together(&["Xi Jinping", "Xi", "Xi’s"]);
    together(&["Xi", "Xi Jinping"]);
    together(&["Bashar al-Assad", "Bashar Assad", "Assad", "al-Assad"]);
    together(&["al-Qaeda", "Qaeda", "Al-Qaeda"]);
    together(&["Ursula von der Leyen", "von der Leyen", "Leyen"]);
    together(&["Chris Van Hollen", "Van Hollen"]);
    together(&["Al Gore", "Gore"]);
    together(&["Robert Kennedy Jr.", "Kennedy"]);
    together(&["World Health Organization", "the WHO", "W.H.O."]);
    together(&["U.N.", "UN", "the United Nations"]);
    together(&["U.S.", "the United States", "US"]);
    together(&["Department of Justice", "DOJ"]);
    together(&["Apple Inc.", "Apple", "Apple’s"]);
    together(&["Huawei", "Huawei Technologies Co"]);
    together(&["Kessler Marine GmbH", "Kessler"]);
    together(&["the Kremlin", "Kremlin"]);
    together(&["Democrats", "Democrats'"]);
    together(&["William Barr", "Bill Barr", "Barr", "William P. Barr"]);
    together(&["Bob Corker", "Corker", "Robert Corker", "Bob"]);
    together(&["Britain", "the United Kingdom", "the UK", "U.K."]);
    together(&["America", "the United States", "U.S.", "USA"]);
    together(&[
        "Islamic State",
        "ISIS",
        "ISIL",
        "the Islamic State of Iraq and Syria",
    ]);
    together(&["Islamic State group", "ISIS"]);
}

#[test]
fn different_parties_stay_apart() {
    let apart = |mentions: &[&str]| {
        let (parties, _) = grouped(mentions);
        let all: Vec<usize> = (0..mentions.len()).collect();
        assert_eq!(parties, all, "{mentions:?}");
    };
    apart(&["Donald Trump", "Donald Trump Jr"]);
    apart(&["Trump", "Donald Trump Jr."]);
    apart(&["China Daily", "China"]);
    apart(&["Bank of England", "England"]);
    apart(&["China Mobile Ltd", "China"]);
    apart(&["North Korea", "South Korea", "Korea"]);
    apart(&["Barack Obama", "Michelle Obama"]);
    apart(&["Trump", "Trump Organization"]);
    apart(&["Jordan", "Jordan Peterson"]);
    apart(&["Jordan Peterson", "Jordan"]);
    apart(&["Republican National Committee", "Republican"]);
    apart(&["Manchester United", "United Airlines"]);
    apart(&["New York Times", "Financial Times"]);
    apart(&["US", "Us"]);
    apart(&["Netherlands", "Tom Holland"]);
}

#[test]
fn a_son_leaves_his_father_the_name() {
    let (parties, groups) = grouped(&[
        "Donald Trump",
        "Donald Trump Jr",
        "Trump",
        "Donald J. Trump",
        "Donald Trump Jr.",
        "Donald",
    ]);
    assert_eq!(parties, [0, 1, 0, 0, 1, 0]);
    assert_eq!(groups.parties()[1].name, "Donald Trump Jr");
    // Who was named with it at first is meant without it, too.
    let (parties, _) = grouped(&["Robert Kennedy Jr.", "Robert Kennedy", "Kennedy"]);
    assert_eq!(parties, [0, 0, 0]);
}

#[test]
fn a_surname_goes_to_the_last_of_that_name() {
    let (parties, _) = grouped(&[
        "Barack Obama",
        "Michelle Obama",
        "Obama",
        "Barack Obama",
        "Obama",
    ]);
    assert_eq!(parties, [0, 1, 1, 0, 1]);
}

#[test]
fn the_fullest_name_is_shown() {
    let check = |mentions: &[&str], name: &str, aliases: &[&str]| {
        let (_, groups) = grouped(mentions);
        assert_eq!(groups.parties()[0].name, name);
        assert_eq!(groups.parties()[0].aliases, aliases);
    };
    check(
        &["SHOIGU", "Shoigu", "Sergei Shoigu", "Shoigu’s"],
        "Sergei Shoigu",
        &["Shoigu"],
    );
    check(
        &["the U.N.", "United Nations", "UN"],
        "United Nations",
        &["U.N.", "UN"],
    );
}

#[test]
fn speakers_are_found_among_the_parties() {
    let (_, groups) = grouped(&["Wang Yi", "the Foreign Ministry", "Ministry of Defence"]);
    assert_eq!(groups.resolve("Wang"), Some(0));
    assert_eq!(
        groups.resolve("the ministry"),
        Some(2),
        "the one named last"
    );
    assert_eq!(groups.resolve("the Foreign Ministry"), Some(1));
    assert_eq!(groups.resolve("he"), None);
    assert_eq!(groups.resolve("the spokesman"), None);
    assert_eq!(groups.resolve(""), None);
    let aliases = ["Beijing".to_owned()];
    let parties = [
        ("China", &aliases[..]),
        ("Ann Oster", &[]),
        ("Bo Oster", &[]),
    ];
    let named = Named::new(parties.into_iter());
    assert_eq!(named.resolve("Beijing"), Some(0));
    assert_eq!(named.resolve("Ann Oster"), Some(1));
    assert_eq!(named.resolve("Oster"), None, "could be either");
}

#[test]
fn a_name_that_many_share_is_bounded() {
    let matcher = Matcher::new((0..1000).map(|party| (party, "a")));
    let text = "a ".repeat(100_000);
    let sentences = [0..10, 10..text.len()];
    assert_eq!(matcher.find(&text, &sentences, 100_000), None);
    let few = matcher.find(&text, &sentences[..1], 5000);
    assert_eq!(few.map(|f| f[0].len()), Some(5000));
    assert_eq!(matcher.find(&text, &sentences[..1], 4999), None);
}

proptest! {
    #[test]
    fn mentions_lie_in_their_sentences(
        text in "[ABab .’\u{301}é東]{0,40}",
        names in prop::collection::vec("[ABab .’é東]{0,6}", 0..5),
    ) {
        let matcher = Matcher::new(names.iter().map(String::as_str).enumerate());
        let half = (0..=text.len() / 2).rev().find(|&i| text.is_char_boundary(i)).unwrap();
        let sentences = [0..half, half..text.len()];
        for (mentions, sentence) in matcher.find(&text, &sentences, 1000).unwrap().iter().zip(&sentences) {
            for m in mentions {
                prop_assert!(m.range.start >= sentence.start && m.range.end <= sentence.end);
                prop_assert!(m.range.start < m.range.end && text.get(m.range.clone()).is_some());
            }
        }
    }

    #[test]
    fn any_mention_has_a_party(mentions in prop::collection::vec("\\PC{0,12}", 0..20)) {
        let mut groups = Groups::new();
        for mention in &mentions {
            let party = groups.place(mention);
            prop_assert!(party < groups.parties().len());
            prop_assert_eq!(groups.place(mention), party, "the same again");
        }
    }
}
