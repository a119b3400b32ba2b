//! Which articles are measured with.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::article::Article;
use crate::bench::articles;
use crate::cli::Failure;
use crate::cli::input;

/// Which articles are measured with.
#[derive(Args, Clone, Debug)]
pub(super) struct ArticleArguments {
    /// Files of plain text or JSON Lines, or folders of such files (.txt, .jsonl); made-up articles
    /// inside the binary if left out.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    articles: Vec<PathBuf>,
}

impl ArticleArguments {
    /// Reads them all; the first that cannot be read ends it.
    pub fn read(&self) -> Result<Vec<Article>, Failure> {
        match self.articles.is_empty() {
            true => Ok(articles::built_in()),
            false => each(&self.articles)?.collect(),
        }
    }

    /// As a setting of the report.
    pub fn setting(&self) -> Value {
        match self.articles.as_slice() {
            [] => json!("built in"),
            paths => {
                let names: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
                json!(names.join(" "))
            }
        }
    }
}

/// The articles of files and folders, read one at a time.
pub(super) fn each(
    paths: &[PathBuf],
) -> Result<impl Iterator<Item = Result<Article, Failure>> + use<>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        match path.is_dir() {
            true => files.extend(inside(path)?),
            false => files.push(path.clone()),
        }
    }
    let items = input::articles(files, input::Format::Auto);
    Ok(items.map(|(id, article)| article.map_err(|problem| format!("{id}: {problem}").into())))
}

/// The articles of a folder, in the order of their names.
fn inside(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let named = |error| format!("{} cannot be read: {error}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(named)? {
        let path = entry.map_err(named)?.path();
        let article = path.extension().is_some_and(|e| e == "txt" || e == "jsonl");
        if article && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(format!("{} holds no .txt and no .jsonl file", folder.display()).into());
    }
    files.sort();
    Ok(files)
}
