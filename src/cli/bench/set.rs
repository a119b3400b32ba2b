//! Which articles are measured with.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use crate::article::Article;
use crate::bench::articles;
use crate::cli::Failure;
use crate::cli::input;
use crate::cli::input::archive::Archive;

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
            false => each(&self.articles).collect(),
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

/// The articles of files, folders and patterns, read one at a time.
pub(super) fn each(paths: &[PathBuf]) -> impl Iterator<Item = Result<Article, Failure>> + use<> {
    let archive = Archive::new(paths.to_vec(), None);
    let items = input::articles(archive, input::Format::Auto, Arc::default());
    items.map(|(id, article)| article.map_err(|problem| format!("{id}: {problem}").into()))
}
