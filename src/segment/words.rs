//! The words that decide where a full stop ends a sentence; refuses all guessing by
//! frequency, so that every decision can be read off a list.

use std::collections::HashSet;
use std::sync::LazyLock;

type Words = LazyLock<HashSet<&'static str>>;

/// What a word before a full stop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Abbreviation {
    None,
    /// Goes on whatever follows: "Gov.", "vs.".
    Title,
    /// Goes on before a number only: "No. 10".
    Numbered,
    /// Ends before any capital, unless it opens the sentence: "p.m.".
    Time,
    /// Ends before any capital behind an article: "her Ph.D.".
    Degree,
    /// Ends before a word that cannot belong to a name only: "U.S.", "Inc.", an initial.
    Name,
}

static TITLES: Words = Words::new(|| {
    set(
        "Adm Ald Amb Asst Atty Brig Capt Cmdr Col Comdr Cpl Cpt Del Det Dr Drs Fr Ft Gen Gens Gov \
     Govs Hon Insp Lieut Lt Maj Messrs Mlle Mme Mr Mrs Ms Msgr Mt Pfc Pres Prof Profs Pvt Rep \
     Reps Rev Sen Sens Sgt Spc Ste Supt Treas",
    )
});

static JOINERS: Words = Words::new(|| set("approx ca cf e.g esp i.e incl v viz vs"));

static NUMBERED: Words = Words::new(|| {
    set("Art Ch Fig Figs No Nos Sec Vol Vols art ch fig no nos p page para pp sec vol")
});

static NAMES: Words = Words::new(|| {
    set(
        "Ala Apr Ariz ST Ark Assn Aug Ave Blvd Bros Calif Co Colo Conn Corp Cos Dec Dept Dist Esq \
     Feb Fla Fri Ga Ill Inc Ind Intl Jan Jr Jul Jun Kan Ky La Ltd Mar Mass Md Mfg Mich Minn \
     Miss Mont Natl Neb Nev Nov Oct Okla Ore Pa Rd Sep Sept Sr St Tenn Tex Thurs Tues Univ Va \
     Vt Wash Wis Wyo al",
    )
});

static TIMES: Words = Words::new(|| set("a.d a.m b.c b.c.e c.e p.m"));

static DEGREES: Words =
    Words::new(|| set("b.a b.s b.sc d.d.s j.d ll.b ll.d ll.m m.a m.b.a m.d m.p.h m.s m.sc ph.d"));

static UNITS: Words =
    Words::new(|| set("cm ft gal hr hrs in kg km lb lbs mi min mm oz qt sq yd yds"));

/// Words that open sentences and stand in no name. Left out on purpose: "New", "First",
/// "Will", "May", "Mark".
static STARTERS: Words = Words::new(|| {
    set(
        "About According Additionally After Afterward Again All Also Although Among An And \
     Another Any As Asked At Because Before Both But By Can Could Despite Did Do Does During \
     Each Earlier Either Even Every Everyone Few For Former From Given Had Has Have He Her \
     Here His How However If In Indeed Instead Is It Its Just Last Later Let Many Maybe \
     Meanwhile More Moreover Most Much My Nearly Neither Never Nevertheless No Nobody None \
     Nonetheless Nor Not Nothing Now Of Officials On Once One Only Or Other Others Our Over \
     Perhaps Rather Recently Several She Should Since So Some Sometimes Soon Start Still Such \
     That The Their Then There Therefore These They Things This Those Though Thousands Three \
     Through Throughout Thus To Today Together Two Under Unfortunately Unless Unlike Until \
     Was We Well Were What Whatever When Whenever Where Whether Which While Who Whoever Why \
     With Within Without Would Yes Yesterday Yet You Your",
    )
});

static TIME_TAILS: Words = Words::new(|| {
    set(
        "April August BST CDT CET CST CT Central December EDT EST ET Eastern February Friday GMT \
     IST January July June MDT MST MT March May Monday Mountain November October P PDT PST PT \
     Pacific Saturday September Sunday Thursday Tuesday UTC Wednesday",
    )
});

static SAYING: Words = Words::new(|| {
    set(
        "acknowledged added adds admitted announced answered argued argues asked asks asserted \
     begged boasted cautioned chanted charged claimed commented complained conceded concluded \
     continued cried declared demanded denied exclaimed explained explains insisted insists \
     joked lamented mused noted notes observed posted quipped recalled recalls remarked \
     replied reported responded retorted said saying says screamed shouted stated stressed \
     suggested thought told tweeted urged warned warns wondered writes wrote yelled",
    )
});

fn set(words: &'static str) -> HashSet<&'static str> {
    words.split_whitespace().collect()
}

fn has(words: &Words, word: &str) -> bool {
    words.contains(word)
}

fn has_lower(words: &Words, word: &str) -> bool {
    word.len() <= 16 && has(words, &word.to_ascii_lowercase())
}

pub(super) fn abbreviation(word: &str) -> Abbreviation {
    if has(&TITLES, word) || has(&JOINERS, word) || is_upper_title(word) {
        Abbreviation::Title
    } else if has(&NUMBERED, word) {
        Abbreviation::Numbered
    } else if has_lower(
        &TIMES,
        word.trim_start_matches(|c: char| c.is_ascii_digit()),
    ) {
        Abbreviation::Time
    } else if has_lower(&DEGREES, word) {
        Abbreviation::Degree
    } else if has(&NAMES, word) || is_dotted(word) {
        Abbreviation::Name
    } else {
        Abbreviation::None
    }
}

/// "GOV. SMITH" in text set in capitals.
fn is_upper_title(word: &str) -> bool {
    let Some(first) = word.get(..1).filter(|_| (2..=6).contains(&word.len())) else {
        return false;
    };
    let upper = word.bytes().all(|b| b.is_ascii_uppercase());
    upper && has(&TITLES, &[first, &word[1..].to_ascii_lowercase()].concat())
}

/// An initial, or letters with stops between them: "W", "U.S", "a.k.a".
fn is_dotted(word: &str) -> bool {
    let letters = || word.split('.');
    let single = |piece: &str| piece.chars().count() == 1 && piece.chars().all(char::is_alphabetic);
    letters().all(single) && (word.contains('.') || word.chars().all(char::is_uppercase))
}

pub(super) fn is_starter(word: &str) -> bool {
    has(&STARTERS, word)
}

pub(super) fn is_time_tail(word: &str) -> bool {
    has(&TIME_TAILS, word)
}

pub(super) fn is_unit(word: &str) -> bool {
    has_lower(&UNITS, word)
}

pub(super) fn is_determiner(word: &str) -> bool {
    matches!(
        word,
        "a" | "an" | "the" | "his" | "her" | "their" | "my" | "your"
    )
}

/// "At 6 p.m. …", "In 44 B.C. …".
pub(super) fn fronts_a_time(word: &str) -> bool {
    matches!(
        word,
        "About"
            | "After"
            | "Around"
            | "At"
            | "Before"
            | "By"
            | "From"
            | "In"
            | "Just"
            | "On"
            | "Since"
            | "Until"
    )
}

pub(super) fn is_numeral(word: &str) -> bool {
    !word.is_empty()
        && word
            .bytes()
            .all(|b| matches!(b, b'I' | b'V' | b'X' | b'L' | b'C'))
}

/// Names that carry their own exclamation mark.
pub(super) fn is_exclaiming_name(word: &str) -> bool {
    matches!(word, "Yahoo" | "Jeopardy" | "Yum" | "E")
}

/// Whether a word is a verb of saying, as it stands by a quotation.
pub(crate) fn is_saying(word: &str) -> bool {
    has(&SAYING, word)
}
