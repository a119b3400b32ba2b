//! Answers as they are written, one format each.

use std::io::{self, Write};

use clap::ValueEnum;

use super::Answered;
use crate::answer::json;
use crate::cli::output::Sink;
use crate::render::csv::Csv;
#[cfg(feature = "parquet")]
use crate::render::parquet::Parquet;
use crate::render::rows::Rows;
use crate::render::{self, html};

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A page to read in a terminal.
    Text,
    /// One JSON object a line.
    Jsonl,
    /// A page for a browser, all articles in one file.
    Html,
    /// A table for pandas, R and spreadsheets.
    Csv,
    /// The same table in columns; needs --out.
    #[cfg(feature = "parquet")]
    Parquet,
}

/// What a row of a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TableRows {
    /// One sentence.
    Sentences,
    /// One party named in one sentence.
    Parties,
}

impl From<TableRows> for Rows {
    fn from(rows: TableRows) -> Self {
        match rows {
            TableRows::Sentences => Self::Sentences,
            TableRows::Parties => Self::Parties,
        }
    }
}

/// How answers look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// The format.
    pub format: Format,
    /// Of a text.
    pub page: render::Page,
    /// Of a table.
    pub rows: Rows,
}

/// Writes answers in the order given.
pub(super) enum Writer {
    /// What is written article by article.
    Stream(Form, Sink),
    /// What is written in blocks of many.
    #[cfg(feature = "parquet")]
    Parquet(Box<Parquet<Sink>>),
}

/// A format, with what it keeps in mind.
pub(super) enum Form {
    Text(render::Page),
    Jsonl,
    Html(html::Document),
    Csv(Csv),
}

impl Writer {
    /// Opens with what stands before the first answer.
    pub fn new(look: Look, mut sink: Sink) -> io::Result<Self> {
        let form = match look.format {
            Format::Text => Form::Text(look.page),
            Format::Jsonl => Form::Jsonl,
            Format::Html => Form::Html(html::Document::begin(&mut sink)?),
            Format::Csv => Form::Csv(Csv::begin(&mut sink, look.rows)?),
            #[cfg(feature = "parquet")]
            Format::Parquet => {
                return Ok(Self::Parquet(Box::new(Parquet::begin(sink, look.rows)?)));
            }
        };
        Ok(Self::Stream(form, sink))
    }

    /// Writes one answer. Whoever waits for it does not wait for the next one.
    pub fn write(&mut self, answered: &Answered) -> io::Result<()> {
        match self {
            Self::Stream(form, sink) => {
                form.write(sink, answered)?;
                sink.answered()
            }
            #[cfg(feature = "parquet")]
            Self::Parquet(table) => match &answered.result {
                Ok((sentences, summary)) => table.article(&answered.id, sentences, summary),
                Err(_) => Ok(()),
            },
        }
    }

    /// Writes what stands after the last answer.
    pub fn finish(self) -> io::Result<()> {
        match self {
            Self::Stream(form, mut sink) => {
                if let Form::Html(document) = form {
                    document.end(&mut sink)?;
                }
                sink.finish()
            }
            #[cfg(feature = "parquet")]
            Self::Parquet(table) => table.end()?.finish(),
        }
    }
}

impl Form {
    fn write(&mut self, out: &mut Sink, answered: &Answered) -> io::Result<()> {
        let id = &answered.id;
        let headline = answered.headline.as_deref();
        match (&answered.result, self) {
            (Ok((sentences, summary)), Self::Jsonl) => {
                let mut line = json::Line::new(id, sentences, summary);
                if let Some(run) = &answered.run {
                    line = line.with_run(run.clone());
                }
                serde_json::to_writer(&mut *out, &line)?;
                out.write_all(b"\n")?;
            }
            (Err((code, message)), Self::Jsonl) => {
                serde_json::to_writer(&mut *out, &json::Failure::new(id, code, message))?;
                out.write_all(b"\n")?;
            }
            (Ok((sentences, summary)), Self::Text(page)) => {
                render::article(out, page, id, headline, sentences, summary)?;
            }
            // Told on standard error.
            (Err(_), Self::Text(_) | Self::Csv(_)) => {}
            (Ok((sentences, summary)), Self::Html(document)) => {
                document.article(out, id, headline, sentences, summary)?;
            }
            (Ok((sentences, summary)), Self::Csv(csv)) => {
                csv.article(out, id, sentences, summary)?;
            }
            (Err((code, message)), Self::Html(document)) => {
                document.failure(out, id, code, message)?;
            }
        }
        Ok(())
    }
}
