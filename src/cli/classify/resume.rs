//! Going on where a run stopped. Every answer in a `.jsonl` carries a hash of what was asked and the
//! settings; what is answered is not asked again, failures and a line that was cut off are dropped
//! and asked again. Answers of another model or other settings are refused, never mixed in.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::answer::json::Run;
use crate::article::{Article, Body, Parties};

/// What must be the same for answers to go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// SHA-256 of the model.
    pub model: String,
    /// The flags that change answers, as one would write them.
    pub flags: String,
}

/// An article with all that was asked of it, by hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 16]);

impl Key {
    /// Every field goes in with its length, so that no two articles read the same.
    pub fn of(article: &Article) -> Self {
        let mut hash = Hash(Sha256::new());
        hash.text(&article.id);
        hash.texts(article.headline.as_slice());
        match &article.body {
            Body::Text(text) => hash.texts(std::slice::from_ref(text)),
            Body::Sentences(sentences) => {
                hash.text("sentences");
                hash.texts(sentences);
            }
        }
        if let Parties::Named(parties) = &article.parties {
            hash.text("parties");
            for party in parties {
                hash.text(&party.id);
                hash.text(&party.name);
                hash.texts(&party.aliases);
                for span in &party.spans {
                    hash.text(&format!("{span:?}"));
                }
            }
        }
        let mut key = [0; 16];
        key.copy_from_slice(&hash.0.finalize()[..16]);
        Self(key)
    }

    /// In hexadecimal.
    pub fn text(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = (text.len() == 32 && text.is_ascii()).then_some(text)?;
        let mut key = [0; 16];
        for (at, byte) in key.iter_mut().enumerate() {
            *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Self(key))
    }
}

struct Hash(Sha256);

impl Hash {
    fn text(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text);
    }

    fn texts(&mut self, texts: &[String]) {
        self.0.update((texts.len() as u64).to_le_bytes());
        texts.iter().for_each(|text| self.text(text));
    }
}

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResumeError {
    #[error("{}:{line} was answered by another model, {theirs}; this one is {ours}. Name that model, or another --out", path.display())]
    Model {
        path: PathBuf,
        line: usize,
        theirs: String,
        ours: String,
    },
    #[error("{}:{line} was answered with {theirs}; this run has {ours}. Give the same, or another --out", path.display())]
    Flags {
        path: PathBuf,
        line: usize,
        theirs: String,
        ours: String,
    },
    #[error("{}:{line} is no answer that a run with --out wrote ({problem}); give another --out", path.display())]
    Foreign {
        path: PathBuf,
        line: usize,
        problem: String,
    },
    #[error("{} is being written by another run", path.display())]
    Busy { path: PathBuf },
    #[error("{} cannot be gone on with", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// A line as far as it matters here.
#[derive(Deserialize)]
struct Line {
    model: Option<Model>,
    run: Option<Run>,
    error: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Model {
    sha256: String,
}

/// What is answered already.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// How often: an archive may hold an article twice.
    answered: HashMap<Key, u32>,
    failures: usize,
}

impl Done {
    /// Reads the answers at `path` and leaves whole ones only. No file is an empty one.
    pub fn read(path: &Path, settings: &Settings) -> Result<Self, ResumeError> {
        let failed = |source| ResumeError::Io {
            path: path.to_owned(),
            source,
        };
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed(error)),
        };
        // Whoever writes to it would be cut short.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            let path = path.to_owned();
            return Err(ResumeError::Busy { path });
        }
        let mut done = Self::default();
        let mut whole = 0;
        let read = each_line(&file, |number, bytes| {
            done.take(path, number, bytes, settings)?;
            whole += bytes.len() as u64;
            Ok(())
        });
        read.map_err(failed)??;
        file.set_len(whole).map_err(failed)?;
        if done.failures > 0 {
            drop_failures(path, &file).map_err(failed)?;
        }
        Ok(done)
    }

    /// Articles answered.
    pub fn count(&self) -> usize {
        self.answered.values().map(|&times| times as usize).sum()
    }

    /// Whether the article is answered; each answer counts for one article.
    pub fn has(&mut self, key: Key) -> bool {
        match self.answered.get_mut(&key) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    fn take(
        &mut self,
        path: &Path,
        line: usize,
        bytes: &[u8],
        settings: &Settings,
    ) -> Result<(), ResumeError> {
        let path = || path.to_owned();
        let foreign = |problem: &str| ResumeError::Foreign {
            path: path(),
            line,
            problem: problem.to_owned(),
        };
        let read: Line = serde_json::from_slice(bytes).map_err(|e| foreign(&e.to_string()))?;
        if read.error.is_some() {
            self.failures += 1;
            return Ok(());
        }
        let model = read.model.ok_or_else(|| foreign("it has no \"model\""))?;
        let run = read.run.ok_or_else(|| foreign("it has no \"run\""))?;
        let key = Key::parse(&run.input).ok_or_else(|| foreign("its \"input\" is no hash"))?;
        if model.sha256 != settings.model {
            return Err(ResumeError::Model {
                path: path(),
                line,
                theirs: model.sha256,
                ours: settings.model.clone(),
            });
        }
        if run.settings != settings.flags {
            return Err(ResumeError::Flags {
                path: path(),
                line,
                theirs: flags(&run.settings),
                ours: flags(&settings.flags),
            });
        }
        *self.answered.entry(key).or_default() += 1;
        Ok(())
    }
}

fn flags(text: &str) -> String {
    match text {
        "" => "no --party and no --min-confidence".to_owned(),
        flags => flags.to_owned(),
    }
}

/// Every line that is whole, with its number; the error of `take` comes back inside.
fn each_line(
    file: &File,
    mut take: impl FnMut(usize, &[u8]) -> Result<(), ResumeError>,
) -> io::Result<Result<(), ResumeError>> {
    let mut reader = BufReader::new(file);
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        reader.read_until(b'\n', &mut bytes)?;
        if bytes.last() != Some(&b'\n') {
            break;
        }
        if let Err(error) = take(number, &bytes) {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

/// Writes the answers anew without failures; the old file stays until the new one is whole.
fn drop_failures(path: &Path, file: &File) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    let mut out = BufWriter::new(File::create(&part)?);
    let mut reader = BufReader::new(file);
    io::Seek::rewind(&mut reader)?;
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes)? > 0 {
        let line: Line = serde_json::from_slice(&bytes)?;
        if line.error.is_none() {
            out.write_all(&bytes)?;
        }
        bytes.clear();
    }
    out.flush()?;
    out.get_ref().sync_all()?;
    fs::rename(&part, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn article(id: &str, text: &str) -> Article {
        Article {
            id: id.to_owned(),
            body: Body::Text(text.to_owned()),
            ..Article::default()
        }
    }

    fn settings(model: &str, flags: &str) -> Settings {
        Settings {
            model: model.to_owned(),
            flags: flags.to_owned(),
        }
    }

    fn line(article: &Article, model: &str, flags: &str) -> String {
        let key = Key::of(article).text();
        format!(
            "{{\"id\": {:?}, \"model\": {{\"id\": \"m\", \"sha256\": {model:?}}}, \"sentences\": [], \"run\": {{\"input\": {key:?}, \"settings\": {flags:?}}}}}\n",
            article.id
        )
    }

    #[test]
    fn keys_tell_articles_apart() {
        let plain = article("a", "bc");
        let with = |change: &dyn Fn(&mut Article)| {
            let mut other = plain.clone();
            change(&mut other);
            Key::of(&other)
        };
        let others = [
            with(&|a| a.id = "ab".to_owned()),
            with(&|a| a.body = Body::Text("c".to_owned())),
            with(&|a| a.body = Body::Sentences(vec!["bc".to_owned()])),
            with(&|a| a.headline = Some(String::new())),
            with(&|a| a.parties = Parties::Named(vec![])),
        ];
        let all: std::collections::HashSet<Key> = others.into_iter().collect();
        assert_eq!(all.len(), 5);
        assert!(!all.contains(&Key::of(&plain)));
        let key = Key::of(&plain);
        assert_eq!(Key::parse(&key.text()), Some(key));
        assert_eq!(Key::parse("0g"), None);
    }

    #[test]
    fn whole_answers_count_and_the_rest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let (a, b) = (article("a", "One."), article("b", "Two."));
        let ours = settings("m1", "");
        let kept = format!("{0}{1}{0}", line(&a, "m1", ""), line(&b, "m1", ""));
        let failure = "{\"id\": \"c\", \"error\": {\"code\": \"INTERNAL\", \"message\": \"\"}}\n";
        let cut = &line(&b, "m1", "")[..40];
        fs::write(&path, format!("{failure}{kept}{cut}")).unwrap();
        let mut done = Done::read(&path, &ours).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), kept);
        assert_eq!(done.count(), 3);
        let asked = [&a, &a, &a, &b, &b].map(|article| done.has(Key::of(article)));
        assert_eq!(asked, [true, true, false, true, false]);
        let nowhere = folder.path().join("none.jsonl");
        assert_eq!(Done::read(&nowhere, &ours).unwrap().count(), 0);
    }

    #[test]
    fn what_differs_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let check = |text: &str, expect: &str| {
            fs::write(&path, text).unwrap();
            let error = Done::read(&path, &settings("m1", "--party Oster")).unwrap_err();
            assert!(error.to_string().contains(expect), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text, "left as it was");
        };
        let a = article("a", "One.");
        check(
            &line(&a, "m2", "--party Oster"),
            ":1 was answered by another model, m2; this one is m1",
        );
        check(
            &line(&a, "m1", ""),
            "with no --party and no --min-confidence; this run has --party Oster",
        );
        check(
            "{\"id\": \"a\", \"model\": {\"sha256\": \"m1\"}}\n",
            "no \"run\"",
        );
        check("id,sentence\n", ":1 is no answer");
    }
}
