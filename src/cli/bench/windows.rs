//! `copydesk bench windows`.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::Args;

use super::{count, set};
use crate::bench::{Error, windows};
use crate::cli::Failure;
use crate::cli::setup::ModelArguments;

/// Arguments of `bench windows`.
#[derive(Args)]
pub(super) struct Arguments {
    /// Files of plain text or JSON Lines, or folders of such files; `-` is standard input.
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    articles: Vec<PathBuf>,

    /// Print at most so many windows; all if left out.
    #[arg(long, value_name = "N", value_parser = count)]
    limit: Option<usize>,

    /// Cut windows of so many tokens, whatever the model asks for; its positions are the limit.
    #[arg(long, value_name = "N", value_parser = count)]
    window_tokens: Option<usize>,

    #[command(flatten)]
    model: ModelArguments,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut found = arguments.model.find()?;
    if let Some(tokens) = arguments.window_tokens {
        let mut config: serde_json::Value = serde_json::from_slice(&found.files.config)?;
        config["copydesk"]["window_tokens"] = tokens.into();
        found.files.config = config.to_string().into_bytes().into();
    }
    let model = found.load(arguments.model.device)?;
    let articles = set::each(&arguments.articles)?;
    let articles = articles.map(|article| article.map_err(|e| Error::Unanswered(e.to_string())));
    let mut out = BufWriter::new(std::io::stdout().lock());
    let limit = arguments.limit.unwrap_or(usize::MAX);
    let written = windows::write(articles, model.encoder(), limit, &mut out);
    match written.and_then(|count| Ok(out.flush().map(|()| count)?)) {
        Ok(0) => Err(Error::NoArticles.into()),
        Ok(_) => Ok(()),
        // Whoever read along (a pager, head) has seen enough.
        Err(error) if error.is_broken_pipe() => Ok(()),
        Err(error) => Err(error.into()),
    }
}
