//! `hf://owner/name[@revision]`, taken apart. Refuses what could lead out of the cache.

use std::fmt;
use std::str::FromStr;

/// What stands before a source on the Hub.
pub(crate) const SCHEME: &str = "hf://";

/// The revision where none is named.
const DEFAULT_REVISION: &str = "main";

/// A model repository at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Whose it is.
    pub owner: String,
    /// What it is called.
    pub name: String,
    /// A branch, a tag or a commit.
    pub revision: String,
}

/// Not a source on the Hub.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not hf://owner/name[@revision]: {problem}")]
pub struct Malformed {
    text: String,
    problem: &'static str,
}

impl Repository {
    /// Whether the revision is a commit, whose files never change.
    pub fn is_pinned(&self) -> bool {
        is_commit(&self.revision)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.owner, self.name)?;
        if self.revision != DEFAULT_REVISION {
            write!(f, "@{}", self.revision)?;
        }
        Ok(())
    }
}

impl FromStr for Repository {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        parse(text).map_err(|problem| Malformed {
            text: text.to_owned(),
            problem,
        })
    }
}

fn parse(text: &str) -> Result<Repository, &'static str> {
    let rest = text
        .strip_prefix(SCHEME)
        .ok_or("it does not start with hf://")?;
    let (id, revision) = rest.split_once('@').unwrap_or((rest, DEFAULT_REVISION));
    let (owner, name) = id.split_once('/').ok_or("the owner is missing")?;
    if !is_name(owner) {
        return Err("the owner is no name on the Hub");
    }
    if !is_name(name) {
        return Err("what follows the owner is no name on the Hub");
    }
    if !is_revision(revision) {
        return Err("the revision is no branch, tag or commit");
    }
    Ok(Repository {
        owner: owner.to_owned(),
        name: name.to_owned(),
        revision: revision.to_owned(),
    })
}

/// The Hub's rules for names. The cache joins its parts with `--`, so no name may hold that.
fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let edges = |c: char| matches!(c, '-' | '.');
    (1..=96).contains(&text.len())
        && text.chars().all(allowed)
        && !text.starts_with(edges)
        && !text.ends_with(edges)
        && !text.contains("--")
        && !text.contains("..")
}

/// Git's rules for names, as far as they matter to a path and a URL.
fn is_revision(text: &str) -> bool {
    let refused = |c: char| c.is_control() || c.is_whitespace() || "\\:?*[~^".contains(c);
    !text.contains(refused)
        && text
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.'))
}

/// A whole commit hash.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_sources_apart() {
        let check = |text: &str, expect: (&str, &str, &str)| {
            let found: Repository = text.parse().unwrap();
            let parts = (&*found.owner, &*found.name, &*found.revision);
            assert_eq!(parts, expect, "{text}");
            assert_eq!(found.to_string().parse(), Ok(found));
        };
        check("hf://acme/news-en", ("acme", "news-en", "main"));
        check("hf://acme/news.en_2@v1.0", ("acme", "news.en_2", "v1.0"));
        check("hf://acme/news@refs/pr/1", ("acme", "news", "refs/pr/1"));
        check("hf://acme/news@a@b", ("acme", "news", "a@b"));
    }

    #[test]
    fn refuses_what_is_none() {
        for text in [
            "",
            "acme/news",
            "hf://",
            "hf://news",
            "hf://acme/",
            "hf:///news",
            "hf://acme/news/en",
            "hf://../news",
            "hf://acme/..",
            "hf://ac me/news",
            "hf://acme/a--b",
            "hf://acme/news@",
            "hf://acme/news@../../x",
            "hf://acme/news@/x",
            "hf://acme/news@x//y",
            "hf://acme/news@v 1",
        ] {
            let found = text.parse::<Repository>();
            assert!(found.is_err(), "{found:?}");
        }
    }
}
