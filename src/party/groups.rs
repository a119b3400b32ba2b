//! Which name is whose: mentions that the model found, put together as they come, and speakers
//! among the parties that a caller named.
//!
//! A name belongs to a party that has the same name already, without regard to case, possessives
//! and "the"; another that everyone knows it by ("Britain"); the letters of its words ("WHO") or the
//! words of its letters; the same name less "Inc" and the like; or, for persons, the surname, or the
//! given name alone, and "Bill" where "William" stood. Where several
//! could be meant, it is the one whose full name came last, as writers have it; a short name then
//! keeps to the party that it was first used for. "Jr" is another person than one who was named
//! without it before, and leaves that one the surname.

use std::collections::HashMap;

use super::words;

/// A party that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The fullest name by now.
    pub name: String,
    /// Its other names, in the order in which they came.
    pub aliases: Vec<String>,
    /// Where each name stands, by its lower case: 0 for `name`, 1 for the first alias.
    places: HashMap<String, usize>,
}

/// Parties as they are found, in the order of their first mention.
#[derive(Debug, Default)]
pub struct Groups {
    groups: Vec<Group>,
    index: Index,
}

impl Groups {
    /// No parties yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The party that a mention belongs to; a new one if it is nobody's name so far.
    pub fn place(&mut self, mention: &str) -> usize {
        let name = Name::read(mention);
        let found = self.index.find(&name).or_else(|| self.index.fuller(&name));
        let party = found.unwrap_or(self.groups.len());
        match self.groups.get_mut(party) {
            Some(group) => group.add(&name),
            None => self.groups.push(Group::new(&name)),
        }
        self.index.insert(&name, party, Clash::Latest);
        party
    }

    /// The parties by now.
    pub fn parties(&self) -> &[Group] {
        &self.groups
    }

    /// Whose words: the party that a speaker's name belongs to, if any.
    pub fn resolve(&self, words: &str) -> Option<usize> {
        self.index
            .find(&Name::read(words))
            .or_else(|| self.index.described(words))
    }
}

impl Group {
    fn new(name: &Name) -> Self {
        Self {
            name: name.shown.clone(),
            aliases: Vec::new(),
            places: HashMap::from([(name.shown.to_lowercase(), 0)]),
        }
    }

    /// Adds a name if it is new; the fuller of two becomes the party's name.
    fn add(&mut self, name: &Name) {
        let key = name.shown.to_lowercase();
        if let Some(&place) = self.places.get(&key) {
            let old = match place.checked_sub(1) {
                Some(alias) => &mut self.aliases[alias],
                None => &mut self.name,
            };
            // Capitals throughout are a headline's, not the name's.
            if shouted(old) && !shouted(&name.shown) {
                old.clone_from(&name.shown);
            }
            return;
        }
        let words = |text: &str| text.split_whitespace().count();
        let mut other = name.shown.clone();
        let last = self.aliases.len() + 1;
        if words(&other) > words(&self.name) {
            std::mem::swap(&mut other, &mut self.name);
            self.places.insert(other.to_lowercase(), last);
            self.places.insert(key, 0);
        } else {
            self.places.insert(key, last);
        }
        self.aliases.push(other);
    }
}

fn shouted(name: &str) -> bool {
    !name.chars().any(char::is_lowercase)
}

/// The parties that a caller named, to find a speaker among.
#[derive(Debug, Default)]
pub struct Named {
    index: Index,
}

impl Named {
    /// Takes each party's name and aliases.
    pub fn new<'a>(parties: impl Iterator<Item = (&'a str, &'a [String])>) -> Self {
        let mut index = Index::default();
        for (party, (name, aliases)) in parties.enumerate() {
            for name in std::iter::once(name).chain(aliases.iter().map(String::as_str)) {
                index.insert(&Name::read(name), party, Clash::Neither);
            }
        }
        Self { index }
    }

    /// The party that a speaker's name belongs to; `None` if to none or to several.
    pub fn resolve(&self, words: &str) -> Option<usize> {
        self.index
            .find(&Name::read(words))
            .or_else(|| self.index.described(words))
    }
}

const JUNIOR: [&str; 2] = ["jr", "sr"];

/// A name, taken apart.
#[derive(Debug)]
struct Name {
    /// As it is shown: no "the", no possessive, single spaces.
    shown: String,
    /// Its words in lower case.
    words: Vec<String>,
    /// Its letters if it is an acronym, in lower case: "U.N." is "un".
    acronym: Option<String>,
    /// The first letters of its words if it could be an acronym's expansion, in lower case.
    initials: Vec<String>,
    /// Whether it could be a person's full name.
    person: bool,
}

impl Name {
    fn read(text: &str) -> Self {
        let mut parts: Vec<&str> = text.split_whitespace().collect();
        if parts.len() > 1 && parts[0].eq_ignore_ascii_case("the") {
            parts.remove(0);
        }
        if let Some(last) = parts.last_mut() {
            *last = unpossessed(last);
        }
        let acronym = match parts.as_slice() {
            [only] => acronym(only),
            _ => None,
        };
        let words = parts.iter().map(|p| bare(p)).filter(|w| !w.is_empty());
        let mut words: Vec<String> = words.collect();
        if words.is_empty() {
            words.push(text.trim().to_lowercase());
        }
        Self {
            initials: initials(&parts),
            person: is_person(&parts, &words),
            shown: parts.join(" "),
            words,
            acronym,
        }
    }

    /// What the whole name is known by: its letters or words, or those of the name that is used for it here.
    fn key(&self) -> String {
        let key = match &self.acronym {
            Some(letters) => letters.clone(),
            None => self.words.join(" "),
        };
        // "Us" is no country.
        let known = words::known_as(&key).filter(|_| self.acronym.is_some() || key != "us");
        known.map_or(key, str::to_owned)
    }

    /// The words less those that only say what kind of company it is.
    fn core(&self) -> Option<String> {
        let end = self.words.iter().rposition(|w| !words::corporate(w))? + 1;
        (end < self.words.len()).then(|| self.words[..end].join(" "))
    }

    /// The words of a person's name less "Jr" and the like.
    fn personal(&self) -> &[String] {
        match self.words.split_last() {
            Some((last, rest)) if words::generation(last) => rest,
            _ => &self.words,
        }
    }

    /// First and last word of a person's full name: middle names come and go. Of short forms of a given name
    /// the long one.
    fn ends(&self) -> Option<(String, String)> {
        let personal = self.personal();
        let (first, last) = (personal.first()?, personal.last()?);
        let first = words::long_form(first).unwrap_or(first);
        (self.person && personal.len() > 1).then(|| (first.to_owned(), last.clone()))
    }

    /// "jr" or "sr", where the name is else that of a parent or a child.
    fn junior(&self) -> Option<&str> {
        let last = self.words.last().filter(|_| self.person)?;
        JUNIOR.into_iter().find(|mark| mark == last)
    }

    /// What may stand for an institution in "the …": the word before "of", or the last.
    fn head(&self) -> Option<&str> {
        let of = self.words.iter().position(|w| w == "of");
        let head = match of {
            Some(at) => self.words.get(at.checked_sub(1)?)?,
            None => self.words.last()?,
        };
        (self.words.len() > 1 && words::institutional(head)).then_some(head)
    }
}

fn unpossessed(word: &str) -> &str {
    let cut = ["'s", "’s", "'S", "’S"]
        .iter()
        .find_map(|s| word.strip_suffix(s));
    let word = cut.unwrap_or(word);
    let plural = word
        .strip_suffix(['\'', '’'])
        .filter(|w| w.ends_with(['s', 'S']));
    plural.unwrap_or(word)
}

/// A word in lower case without the marks around it, nor an Arabic article, which writers put as
/// they like.
fn bare(word: &str) -> String {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '&');
    let word = word.replace(['’', '‘'], "'").to_lowercase();
    match without_article(&word) {
        Some(rest) => rest.to_owned(),
        None => word,
    }
}

/// "al-Assad" is "Assad" as well.
fn without_article(word: &str) -> Option<&str> {
    let rest = ["al-", "el-"].iter().find_map(|a| word.strip_prefix(a))?;
    (rest.chars().count() > 2).then_some(rest)
}

/// The letters of "NATO", "U.S." or "UN"; two to six capitals and nothing else but full stops.
fn acronym(word: &str) -> Option<String> {
    let letters: String = word.chars().filter(|&c| c != '.').collect();
    let count = letters.chars().count();
    let capitals = letters.chars().all(char::is_uppercase);
    (capitals && (2..=6).contains(&count)).then(|| letters.to_lowercase())
}

/// The first letters of the capitalised words, if all others are small connecting ones: with those
/// left out ("UN") and, where there are any, with those as well ("DOJ").
fn initials(parts: &[&str]) -> Vec<String> {
    let (mut capitals, mut all) = (String::new(), String::new());
    for part in parts {
        let Some(first) = part.chars().find(|c| c.is_alphanumeric()) else {
            return Vec::new();
        };
        if first.is_uppercase() {
            capitals.extend(first.to_lowercase());
        } else if !words::connecting(&bare(part)) {
            return Vec::new();
        }
        all.extend(first.to_lowercase());
    }
    if capitals.chars().count() < 2 {
        return Vec::new();
    }
    if all == capitals {
        return vec![capitals];
    }
    vec![capitals, all]
}

/// Two to five words, each capitalised, an initial or a particle, none an institution's.
fn is_person(parts: &[&str], lower: &[String]) -> bool {
    let named = |(part, word): (&&str, &String)| {
        let capital = part.chars().next().is_some_and(char::is_uppercase);
        let letters = word.chars().all(|c| c.is_alphabetic() || "'-.".contains(c));
        letters && (capital || words::particle(word) || without_article(part).is_some())
    };
    (2..=5).contains(&lower.len())
        && parts.len() == lower.len()
        // "von der Leyen" is a surname; but Al Gore has a given name.
        && (!words::particle(&lower[0]) || lower[0] == "al")
        && parts.iter().zip(lower).all(named)
        && !lower.iter().any(|w| words::institutional(w) || words::corporate(w))
}

/// What to do where two parties could be meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clash {
    /// The one named last.
    Latest,
    /// None of them.
    Neither,
}

/// Everything that leads to a party. A key that two parties share leads to `None`.
#[derive(Debug, Default)]
struct Index {
    /// Whole names, and the letters of acronyms.
    whole: HashMap<String, Option<usize>>,
    /// Acronyms alone, waiting for their expansion.
    acronyms: HashMap<String, Option<usize>>,
    /// Initials of names of several words.
    initials: HashMap<String, Option<usize>>,
    /// Names less "Inc" and the like.
    cores: HashMap<String, Option<usize>>,
    /// Ends of persons' names ("van Dyck", "Dyck"), and their first words.
    surnames: HashMap<String, Option<usize>>,
    given: HashMap<String, Option<usize>>,
    /// First and last words of persons' names, "Jr" and "Sr" with the last.
    ends: HashMap<(String, String), Option<usize>>,
    /// Single words that no full name has claimed yet.
    single: HashMap<String, usize>,
    /// Heads of institutions' names, for "the ministry".
    heads: HashMap<String, Option<usize>>,
}

impl Index {
    fn find(&self, name: &Name) -> Option<usize> {
        let key = name.key();
        if let Some(&party) = self.whole.get(&key) {
            return party;
        }
        let by = |map: &HashMap<String, Option<usize>>, key: &str| map.get(key).copied().flatten();
        if let Some(letters) = name.acronym.as_ref().filter(|l| **l == key) {
            return by(&self.initials, letters);
        }
        let mut expanded = name.initials.iter();
        if let Some(party) = expanded.find_map(|letters| by(&self.acronyms, letters)) {
            return Some(party);
        }
        let core = name.core();
        let core = core.as_deref().unwrap_or(&key);
        let by_core = by(&self.cores, core).or_else(|| by(&self.whole, core));
        if by_core.is_some() {
            return by_core;
        }
        if let Some((first, last)) = name.ends() {
            let with = |mark: &str| {
                let ends = (first.clone(), format!("{last} {mark}"));
                self.ends.get(&ends).copied().flatten()
            };
            return match name.junior() {
                Some(mark) => with(mark),
                None => match self.ends.get(&(first.clone(), last.clone())) {
                    Some(party) => *party,
                    None => JUNIOR.into_iter().find_map(with),
                },
            };
        }
        if words::place(&name.words.join(" ")) {
            return None;
        }
        let key = name.personal().join(" ");
        by(&self.surnames, &key).or_else(|| by(&self.given, &key))
    }

    /// A person so far known by one word, of which this is the full name.
    fn fuller(&self, name: &Name) -> Option<usize> {
        let (first, last) = name.ends().filter(|_| name.junior().is_none())?;
        let single = |word: &str| self.single.get(word).copied();
        let first = Some(first).filter(|w| words::family_first(w));
        single(&last).or_else(|| single(&first?))
    }

    /// "The ministry": the institution whose name has this head.
    fn described(&self, text: &str) -> Option<usize> {
        let mut parts = text.split_whitespace();
        let article = parts.next()?.eq_ignore_ascii_case("the");
        let head = parts.last().filter(|_| article)?;
        self.heads.get(&bare(unpossessed(head))).copied().flatten()
    }

    fn insert(&mut self, name: &Name, party: usize, clash: Clash) {
        let key = name.key();
        put(&mut self.whole, key.clone(), party, clash);
        if let Some(letters) = &name.acronym {
            put(&mut self.acronyms, letters.clone(), party, clash);
        }
        for letters in name.initials.iter().filter(|_| !name.person) {
            put(&mut self.initials, letters.clone(), party, clash);
        }
        if let Some(core) = name.core() {
            // "Kessler Marine GmbH" is "Kessler" as well.
            if let Some((first, _)) = core.split_once(' ')
                && !words::institutional(first)
            {
                put(&mut self.given, first.to_owned(), party, clash);
            }
            put(&mut self.cores, core, party, clash);
        }
        if let Some(head) = name.head() {
            put(&mut self.heads, head.to_owned(), party, clash);
        }
        match name.ends() {
            Some((first, last)) => {
                let plain = (first.clone(), last.clone());
                let named_before = self.ends.contains_key(&plain);
                let ends = match name.junior() {
                    Some(mark) => (first.clone(), format!("{last} {mark}")),
                    None => plain,
                };
                put(&mut self.ends, ends, party, clash);
                if name.junior().is_some() && named_before {
                    return;
                }
                let personal = name.personal();
                for start in 1..personal.len() {
                    put(
                        &mut self.surnames,
                        personal[start..].join(" "),
                        party,
                        clash,
                    );
                }
                // "Bill Barr" leads from "Bill", not from "William".
                let given = personal[0].clone();
                self.single.remove(&last);
                self.single.remove(&given);
                put(&mut self.given, given, party, clash);
            }
            // A word that already is part of a full name waits for no other.
            None if name.words.len() == 1 && name.acronym.is_none() => {
                let word = &name.words[0];
                let claimed = self.surnames.contains_key(word) || self.given.contains_key(word);
                if !claimed && !words::place(word) {
                    self.single.insert(word.clone(), party);
                }
            }
            None => {}
        }
    }
}

fn put<K: std::hash::Hash + Eq>(
    map: &mut HashMap<K, Option<usize>>,
    key: K,
    party: usize,
    clash: Clash,
) {
    map.entry(key)
        .and_modify(|old| {
            if clash == Clash::Latest {
                *old = Some(party);
            } else if *old != Some(party) {
                *old = None;
            }
        })
        .or_insert(Some(party));
}
