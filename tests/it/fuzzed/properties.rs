//! What holds of any input, however bad: nothing panics, nothing takes long, and what comes out keeps
//! its promises. The fuzz targets (`fuzz/`) look for bytes that break it, and the tests beside this
//! file hold those found by now, and the seeds, to it.

#![expect(
    clippy::expect_used,
    reason = "clippy.toml lets tests do so, but not what they share"
)]

use std::borrow::Cow;
use std::io::Cursor;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use copydesk::answer::{Event, Sentence as Answer};
use copydesk::article::{Article, Body, Limits, Parties};
use copydesk::classifier::Cut;
use copydesk::encode::{Encoder, Window};
use copydesk::grpc::pb;
use copydesk::model::files::Files;
use copydesk::model::{Model, Placement};
use copydesk::party::{Groups, Matcher, Named, tidy};
use copydesk::segment::{Sentence, sentences};
use copydesk::span::{Offsets, Span, Unit};
use copydesk::{cli, quote};
use prost::Message;
use serde_json::{Map, Value};

/// A property of bytes.
pub type Property = fn(&[u8]);

/// All of them, by the name of their fuzz target.
pub const ALL: [(&str, Property); 7] = [
    ("segmentation", segmentation),
    ("quotations", quotations),
    ("parties", parties),
    ("json_lines", json_lines),
    ("model_config", model_config),
    ("safetensors", safetensors),
    ("request", request),
];

const CONFIG: &[u8] = include_bytes!("../../fixtures/tiny/config.json");
const TOKENIZER: &[u8] = include_bytes!("../../fixtures/tiny/tokenizer.json");
const WEIGHTS: &[u8] = include_bytes!("../../fixtures/tiny/model.safetensors");

/// Bytes of a text that the model reads too: more would only be slow.
const READ: usize = 4 << 10;

/// Mentions that are looked for at most.
const MENTIONS: usize = 10_000;

static MODEL: LazyLock<Model> =
    LazyLock::new(|| load(CONFIG, WEIGHTS).expect("the fixture is a model"));

/// The first byte says how often the rest, as text, is repeated: nearly always once, else so often that
/// what takes more than linear time shows.
fn text(bytes: &[u8]) -> String {
    let Some((&times, rest)) = bytes.split_first() else {
        return String::new();
    };
    let text = String::from_utf8_lossy(rest);
    let room = (64 << 10) / text.len().max(1);
    match times {
        0xf8.. => text.repeat(room.max(1)),
        _ => text.into_owned(),
    }
}

/// Sentences are in order, trimmed, and hold all that is not white; their spans say one place three ways.
pub fn segmentation(bytes: &[u8]) {
    let text = text(bytes);
    let found = sentences(&text);
    cover(&text, &found);
    let offsets = Offsets::new(&text);
    let mut at = [0; 3];
    // Of very many, some will do.
    for sentence in found.iter().step_by(1 + found.len() / 512) {
        let Range { start, end } = sentence.range;
        let from = count(&text, at, start);
        at = count(&text, from, end);
        let span = offsets.span(&text, &sentence.range);
        assert_eq!(span, of(from, at));
        let units = [Unit::Byte, Unit::CodePoint, Unit::Utf16];
        for ((unit, from), to) in units.into_iter().zip(from).zip(at) {
            assert_eq!(offsets.byte(&text, unit, from), Some(start));
            assert_eq!(offsets.byte(&text, unit, to), Some(end));
        }
    }
}

fn cover(text: &str, found: &[Sentence]) {
    let (mut at, mut paragraph) = (0, 0);
    for sentence in found {
        let Range { start, end } = sentence.range;
        assert!(at <= start && start < end, "{:?}", sentence.range);
        assert!(text[at..start].trim().is_empty(), "{at}..{start} is lost");
        assert_eq!(text[start..end].trim().len(), end - start, "is trimmed");
        assert!([paragraph, paragraph + 1].contains(&sentence.paragraph));
        (at, paragraph) = (end, sentence.paragraph);
    }
    assert!(text[at..].trim().is_empty(), "the end is lost");
    assert!(found.first().is_none_or(|first| first.paragraph == 0));
}

/// Bytes, code points and UTF-16 units up to `to`, from a place before it.
fn count(text: &str, from: [usize; 3], to: usize) -> [usize; 3] {
    let piece = &text[from[0]..to];
    [
        to,
        from[1] + piece.chars().count(),
        from[2] + piece.encode_utf16().count(),
    ]
}

fn of(from: [usize; 3], to: [usize; 3]) -> Span {
    Span {
        byte_start: from[0],
        byte_end: to[0],
        char_start: from[1],
        char_end: to[1],
        utf16_start: from[2],
        utf16_end: to[2],
    }
}

/// Quoted words lie in their sentence, in order, trimmed; what runs on has somewhere to go.
pub fn quotations(bytes: &[u8]) {
    let text = text(bytes);
    let found = sentences(&text);
    let quoted = quote::quotations(&text, &found);
    assert_eq!(quoted.len(), found.len());
    for (index, (sentence, quoted)) in found.iter().zip(&quoted).enumerate() {
        let mut at = sentence.range.start;
        for (number, quotation) in quoted.iter().enumerate() {
            let Range { start, end } = quotation.range;
            assert!(at <= start && start < end && end <= sentence.range.end);
            assert_eq!(text[start..end].trim().len(), end - start, "is trimmed");
            assert!(!quotation.running || number + 1 == quoted.len() && index + 1 < found.len());
            assert!(!quotation.opened_before || number == 0 && index > 0);
            at = end;
        }
    }
}

/// Names stand on the lines up to an empty one; what follows is text.
pub fn parties(bytes: &[u8]) {
    let text = text(bytes);
    let (names, text) = text.split_once("\n\n").unwrap_or((&text, &text));
    let names: Vec<&str> = names.lines().collect();
    let found = sentences(text);
    let ranges: Vec<Range<usize>> = found.iter().map(|s| s.range.clone()).collect();
    let matcher = Matcher::new(names.iter().copied().enumerate());
    let Some(mentions) = matcher.find(text, &ranges, MENTIONS) else {
        return;
    };
    assert_eq!(mentions.len(), ranges.len());
    assert!(mentions.iter().map(Vec::len).sum::<usize>() <= MENTIONS);
    let mut groups = Groups::new();
    for (mentions, sentence) in mentions.iter().zip(&ranges) {
        let mut last = sentence.start..sentence.start;
        let mut free = 0;
        for mention in mentions {
            let Range { start, end } = mention.range;
            assert!(mention.party < names.len() && sentence.contains(&start));
            assert!(start < end && end <= sentence.end);
            // Parties that share a name are named at one place.
            assert!(last.end <= start || last == mention.range);
            last = mention.range.clone();
            let inside = start - sentence.start..end - sentence.start;
            let whole = &text[sentence.clone()];
            if let Some(name) = tidy(whole, &inside, free) {
                assert!(!whole[name.clone()].trim().is_empty());
                assert!(name.start >= inside.start.min(free) && name.end <= inside.end + 1);
                free = name.end;
            }
            placed(&mut groups, &text[mention.range.clone()]);
        }
    }
    for name in &names {
        placed(&mut groups, name);
    }
    let named = Named::new(names.iter().map(|name| (*name, &[][..])));
    for name in &names {
        assert!(named.resolve(name).is_none_or(|p| p < names.len()));
        assert!(
            groups
                .resolve(name)
                .is_none_or(|p| p < groups.parties().len())
        );
    }
}

fn placed(groups: &mut Groups, name: &str) {
    let party = groups.place(name);
    assert!(party < groups.parties().len());
    assert_eq!(groups.place(name), party, "the same again");
}

/// Every line is an article or an error that names its place; what passes the check can be cut.
pub fn json_lines(bytes: &[u8]) {
    let lines = bytes.split(|&b| b == b'\n');
    let full = lines.filter(|line| !line.trim_ascii().is_empty()).count();
    let reader = Box::new(Cursor::new(bytes.to_vec()));
    let mut items = 0;
    for (id, item) in cli::json_lines(reader, "a.jsonl".into()) {
        items += 1;
        match item {
            Ok(article) => {
                assert_eq!(article.id, id);
                checked(article);
            }
            Err(problem) => assert!(!problem.is_empty()),
        }
    }
    assert_eq!(items, full);
}

/// A request, as prost reads it.
pub fn request(bytes: &[u8]) {
    let Ok(request) = pb::ClassifyArticleRequest::decode(bytes) else {
        return;
    };
    match Article::try_from(request.article.unwrap_or_default()) {
        Ok(article) => checked(article),
        Err(invalid) => assert!(!invalid.field.is_empty()),
    }
}

/// An article is refused with a field, or answered whole.
fn checked(article: Article) {
    let limits = Limits::default();
    let mentions = match article.check(&limits) {
        Ok(mentions) => mentions,
        Err(invalid) => return assert!(!invalid.field.is_empty()),
    };
    for mention in &mentions {
        let text = match (&article.body, mention.sentence) {
            (Body::Text(text), None) => text,
            (Body::Sentences(all), Some(sentence)) => &all[sentence],
            other => panic!("{other:?}"),
        };
        let words = text.get(mention.range.clone()).expect("on boundaries");
        assert!(!words.is_empty());
    }
    if let Parties::Named(parties) = &article.parties {
        let spans: usize = parties.iter().map(|p| p.spans.len()).sum();
        assert_eq!(mentions.len(), spans);
    }
    if article.body.bytes() <= READ {
        answered(&MODEL, article, &limits);
    }
}

/// Cuts an article, reads it with a model, and holds the answer to it.
fn answered(model: &Model, article: Article, limits: &Limits) {
    let body = article.body.clone();
    let Ok(cut) = Cut::new(article, limits) else {
        return;
    };
    let windows = cut.windows(model.encoder()).expect("tokenises");
    windowed(model.encoder(), &windows, cut.sentences());
    let all: Vec<&Window> = windows.iter().collect();
    // A model may well give what is no number.
    let Ok(logits) = model.answer(&all) else {
        return;
    };
    let events = cut.assemble(model, logits);
    let (summary, events) = events.split_last().expect("a summary");
    assert!(matches!(summary, Event::Summary(_)));
    assert_eq!(events.len(), cut.sentences());
    for (index, event) in events.iter().enumerate() {
        let Event::Sentence(sentence) = event else {
            panic!("{event:?}");
        };
        assert_eq!(sentence.index, index);
        match &body {
            Body::Text(text) => placed_in(text, sentence),
            Body::Sentences(all) => placed_in(&all[index], sentence),
        }
    }
}

/// All that an answer points at lies in the text that its spans count in.
fn placed_in(text: &str, sentence: &Answer) {
    let points = |span: &Span, words: &str| {
        let bytes = text.get(span.byte_start..span.byte_end);
        assert_eq!(bytes, Some(words));
        let from = count(text, [0; 3], span.byte_start);
        assert_eq!(*span, of(from, count(text, from, span.byte_end)));
    };
    points(&sentence.span, &sentence.text);
    for quotation in &sentence.quotations {
        assert!(quotation.span.byte_start >= sentence.span.byte_start);
        assert!(quotation.span.byte_end <= sentence.span.byte_end);
    }
    for mention in sentence.parties.iter().flat_map(|p| &p.mentions) {
        points(&mention.span, &mention.text);
    }
    for scores in sentence.parties.iter().map(|p| &p.scores[..]) {
        sums_to_one(scores);
    }
    sums_to_one(&sentence.type_scores);
}

fn sums_to_one(scores: &[f32]) {
    assert!(scores.iter().all(|s| (0.0..=1.0).contains(s)), "{scores:?}");
    assert!(
        (scores.iter().sum::<f32>() - 1.0).abs() < 1e-3,
        "{scores:?}"
    );
}

/// Windows keep to their budget and answer each of `count` sentences once, whole and in order; their
/// context is of the sentences before.
pub fn windowed(encoder: &Encoder, windows: &[Window], count: usize) {
    let shape = encoder.shape();
    let mut index = 0;
    for window in windows {
        assert!(!window.sentences.is_empty() && !window.sequences.is_empty());
        for sequence in &window.sequences {
            assert!(sequence.tokens() <= shape.window_tokens, "the budget");
            assert_eq!(sequence.ids.len(), sequence.cases.len());
        }
        for sentence in &window.sentences {
            assert_eq!(sentence.index, index, "each once and in order");
            index += 1;
            let pieces = sentence.pieces.iter();
            let ids = pieces
                .flat_map(|(sequence, piece)| &window.sequences[*sequence].ids[piece.clone()]);
            assert!(ids.eq(&sentence.tokens.ids), "the pieces are all of it");
        }
        assert!(window.sequences.len() == 1 || window.sentences.len() == 1);
    }
    assert_eq!(index, count, "all of them");
}

fn load(config: &[u8], weights: &[u8]) -> Result<Model, copydesk::model::LoadError> {
    let owned = |bytes: &[u8]| Cow::Owned(bytes.to_vec());
    let files = Files {
        config: owned(config),
        tokenizer: Cow::Borrowed(TOKENIZER),
        weights: owned(weights),
    };
    Model::load(&files, Placement::Cpu)
}

/// A model is refused by name, or answers.
fn loaded(config: &[u8], weights: &[u8]) {
    match load(config, weights) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(model) => answered(&model, example(), &Limits::default()),
    }
}

/// Sentences for one window, for several, and longer than one.
fn example() -> Article {
    let text =
        "The Red League met in Port Ellis. \"It went well,\" said Mayor Ann Oster. ".repeat(4);
    Article {
        id: "a".into(),
        headline: Some("Port Ellis and the league".into()),
        body: Body::Text(format!("{text}\n\n{}.", "the league met and ".repeat(30))),
        parties: Parties::Detect,
    }
}

/// A whole `config.json`; or, if it does not begin like one, changes to the fixture's: each two bytes
/// set one of its settings to one of the values that are likely to hurt.
pub fn model_config(bytes: &[u8]) {
    if bytes.first() == Some(&b'{') {
        return loaded(bytes, WEIGHTS);
    }
    let mut config: Value = serde_json::from_slice(CONFIG).expect("the fixture");
    for change in bytes.chunks_exact(2).take(8) {
        let (setting, value) = (usize::from(change[0]), usize::from(change[1]));
        let card = config["copydesk"].as_object().map_or(0, Map::len);
        let settings = config.as_object().map_or(0, Map::len);
        let object = match setting % (card + settings) {
            n if n < card => config["copydesk"]
                .as_object_mut()
                .and_then(|c| c.values_mut().nth(n)),
            n => config
                .as_object_mut()
                .and_then(|c| c.values_mut().nth(n - card)),
        };
        if let Some(setting) = object.filter(|s| !s.is_object()) {
            *setting = hurtful(value);
        }
    }
    loaded(config.to_string().as_bytes(), WEIGHTS);
}

fn hurtful(number: usize) -> Value {
    let values = [
        Value::from(0),
        Value::from(1),
        Value::from(-1),
        Value::from(u64::MAX),
        Value::from(u64::MAX / 2),
        Value::from(1u64 << 62),
        Value::from(u32::MAX),
        Value::from(1e300),
        Value::from(1e-300),
        Value::from(-0.0),
        Value::Null,
        Value::from(""),
        Value::from(vec![0]),
        Value::from(true),
    ];
    let small = number.checked_sub(values.len()).map(Value::from);
    small.unwrap_or_else(|| values[number].clone())
}

/// A whole `model.safetensors`; or, behind a first byte that is odd, its table of contents alone, before
/// the fixture's numbers.
pub fn safetensors(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    if first % 2 == 0 {
        return loaded(CONFIG, rest);
    }
    let length = WEIGHTS.first_chunk().map_or(0, |n| u64::from_le_bytes(*n));
    let numbers = &WEIGHTS[8 + usize::try_from(length).unwrap_or(0)..];
    let head = (rest.len() as u64).to_le_bytes();
    loaded(CONFIG, &[&head, rest, numbers].concat());
}

/// For windows that a test makes by itself.
pub fn encoder(shape: copydesk::encode::Shape) -> Arc<Encoder> {
    Arc::new(Encoder::new(TOKENIZER, shape).expect("the fixture's tokenizer"))
}
