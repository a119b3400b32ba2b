//! From names on the command line to files: folders are walked, patterns are matched, all in sorted
//! order and one at a time. Never reads what it is writing to.

use std::fs;
use std::path::{Path, PathBuf};

use glob::MatchOptions;

/// What a folder is searched for; the rest of it is left alone.
pub(in crate::cli) const TAKEN: &[&str] = &[
    ".txt",
    ".jsonl",
    ".jsonl.gz",
    ".jsonl.zst",
    #[cfg(feature = "parquet")]
    ".parquet",
];

/// A file to read, or a name that comes to nothing and why.
pub(in crate::cli) type Found = Result<PathBuf, (String, String)>;

/// All that was named.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Archive {
    names: Vec<PathBuf>,
    /// The output's place, resolved.
    output: Option<PathBuf>,
}

impl Archive {
    /// What `names` stand for, without `output`.
    pub fn new(names: Vec<PathBuf>, output: Option<&Path>) -> Self {
        let output = output.and_then(|path| path.canonicalize().ok());
        Self { names, output }
    }

    /// The files, in order.
    pub fn files(self) -> impl Iterator<Item = Found> + Send {
        let Self { names, output } = self;
        names
            .into_iter()
            .flat_map(move |name| named(name, output.clone()))
    }

    /// Bytes of all files; `None` where there is no telling.
    pub fn bytes(&self) -> Option<u64> {
        if self.names.iter().any(|name| is_standard(name)) {
            return None;
        }
        let sizes = self.clone().files().flatten().map(|path| {
            let found = path.metadata().ok()?;
            found.is_file().then_some(found.len())
        });
        sizes.sum()
    }
}

/// `-` is standard input.
pub(super) fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

type Files = Box<dyn Iterator<Item = Found> + Send>;

fn named(name: PathBuf, output: Option<PathBuf>) -> Files {
    if is_standard(&name) {
        return Box::new(std::iter::once(Ok(name)));
    }
    if name.is_dir() {
        return Box::new(Walk::of(name, output));
    }
    match name.to_str() {
        // A file whose own name looks like a pattern is that file.
        Some(pattern) if !name.exists() && pattern.contains(['*', '?', '[']) => {
            matching(pattern, output)
        }
        _ => Box::new(std::iter::once(Ok(name))),
    }
}

fn matching(pattern: &str, output: Option<PathBuf>) -> Files {
    let nothing = |problem: String| -> Files {
        Box::new(std::iter::once(Err((pattern.to_owned(), problem))))
    };
    // As shells do, and as folders are walked.
    let options = MatchOptions {
        require_literal_leading_dot: true,
        ..MatchOptions::default()
    };
    let mut paths = match glob::glob_with(pattern, options) {
        Ok(paths) => paths.peekable(),
        Err(error) => return nothing(format!("is no pattern: {error}")),
    };
    if paths.peek().is_none() {
        return nothing("matches no file".to_owned());
    }
    Box::new(paths.flat_map(move |path| -> Files {
        match path {
            Ok(path) if path.is_dir() => Box::new(Walk::of(path, output.clone())),
            Ok(path) if is(&path, output.as_deref()) => Box::new(std::iter::empty()),
            Ok(path) => Box::new(std::iter::once(Ok(path))),
            Err(error) => Box::new(std::iter::once(Err((
                error.path().display().to_string(),
                format!("cannot be read: {}", error.error()),
            )))),
        }
    }))
}

fn is(path: &Path, output: Option<&Path>) -> bool {
    output.is_some() && path.canonicalize().ok().as_deref() == output
}

/// A folder, depth first.
struct Walk {
    root: PathBuf,
    output: Option<PathBuf>,
    /// Still to do, the next one last.
    left: Vec<PathBuf>,
    started: bool,
    found: bool,
}

impl Walk {
    fn of(root: PathBuf, output: Option<PathBuf>) -> Self {
        Self {
            left: vec![root.clone()],
            root,
            output,
            started: false,
            found: false,
        }
    }

    fn enter(&mut self, folder: &Path) -> std::io::Result<()> {
        let mut inside = fs::read_dir(folder)?
            .map(|entry| entry.map(|e| e.path()))
            .collect::<Result<Vec<_>, _>>()?;
        inside.retain(|path| !hidden(path));
        inside.sort_unstable_by(|a, b| b.cmp(a));
        self.left.extend(inside);
        Ok(())
    }
}

impl Iterator for Walk {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        while let Some(path) = self.left.pop() {
            let link = path.is_symlink() && self.started;
            self.started = true;
            if path.is_dir() {
                // A link to a folder may lead in a circle.
                if !link && let Err(error) = self.enter(&path) {
                    self.found = true;
                    let problem = format!("cannot be read: {error}");
                    return Some(Err((path.display().to_string(), problem)));
                }
            } else if taken(&path) && !is(&path, self.output.as_deref()) {
                self.found = true;
                return Some(Ok(path));
            }
        }
        if std::mem::replace(&mut self.found, true) {
            return None;
        }
        let name = self.root.display().to_string();
        Some(Err((name, format!("holds no {}", TAKEN.join(", no ")))))
    }
}

fn hidden(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.as_encoded_bytes());
    name.is_some_and(|name| name.starts_with(b"."))
}

fn taken(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    name.is_some_and(|name| TAKEN.iter().any(|end| name.ends_with(end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path, names: &[&str], output: Option<&str>) -> Vec<String> {
        let output = output.map(|name| folder.join(name));
        let names = names.iter().map(|name| folder.join(name)).collect();
        let found = Archive::new(names, output.as_deref()).files();
        let short = |path: &Path| {
            let inside = path.strip_prefix(folder).unwrap_or(path);
            inside.display().to_string()
        };
        found
            .map(|found| match found {
                Ok(path) => short(&path),
                Err((name, problem)) => format!("{}: {problem}", short(Path::new(&name))),
            })
            .collect()
    }

    #[test]
    fn folders_and_patterns_come_sorted() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        for name in [
            "b/2.txt",
            "b/10.jsonl",
            "a.jsonl.gz",
            "b/c/x.jsonl.zst",
            "e/f",
            "odd[1].txt",
        ] {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        fs::write(folder.join("b/notes.pdf"), "x").unwrap();
        fs::write(folder.join("b/.hidden.txt"), "x").unwrap();
        let check = |given: &[&str], output, expect: &[&str]| {
            assert_eq!(names(folder, given, output), expect, "{given:?}");
        };
        check(
            &["."],
            None,
            &[
                "./a.jsonl.gz",
                "./b/10.jsonl",
                "./b/2.txt",
                "./b/c/x.jsonl.zst",
                "./odd[1].txt",
            ]
            .map(|name| name.trim_start_matches("./")),
        );
        check(&["b"], Some("b/10.jsonl"), &["b/2.txt", "b/c/x.jsonl.zst"]);
        check(&["b/*.txt"], None, &["b/2.txt"]);
        check(
            &["**/*.jsonl*"],
            None,
            &["a.jsonl.gz", "b/10.jsonl", "b/c/x.jsonl.zst"],
        );
        check(&["odd[1].txt"], None, &["odd[1].txt"]);
        check(&["*.pdf"], None, &["*.pdf: matches no file"]);
        check(
            &["b/notes.pdf", "nowhere.txt"],
            None,
            &["b/notes.pdf", "nowhere.txt"],
        );
        let empty = names(folder, &["e"], None);
        assert!(
            empty[0].starts_with("e: holds no .txt, no .jsonl"),
            "{empty:?}"
        );
    }

    #[test]
    fn bytes_are_known_unless_they_stream() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.txt"), "12345").unwrap();
        let bytes = |name: PathBuf| Archive::new(vec![name], None).bytes();
        assert_eq!(bytes(folder.path().to_owned()), Some(5));
        assert_eq!(bytes(PathBuf::from("-")), None);
    }
}
