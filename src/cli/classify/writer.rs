//! Answers as they are written, one format each.

use std::io::{self, Write};

use clap::ValueEnum;

use super::Answered;
use crate::answer::json;
use crate::cli::output::Sink;
use crate::render::csv::Csv;
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
pub(super) struct Writer {
    form: Form,
    sink: Sink,
}

enum Form {
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
        };
        Ok(Self { form, sink })
    }

    /// Writes one answer. Whoever waits for it does not wait for the next one.
    pub fn write(&mut self, answered: &Answered) -> io::Result<()> {
        let id = &answered.id;
        let headline = answered.headline.as_deref();
        let out = &mut self.sink;
        match (&answered.result, &mut self.form) {
            (Ok((sentences, summary)), Form::Jsonl) => {
                serde_json::to_writer(&mut *out, &json::Line::new(id, sentences, summary))?;
                out.write_all(b"\n")?;
            }
            (Err((code, message)), Form::Jsonl) => {
                serde_json::to_writer(&mut *out, &json::Failure::new(id, code, message))?;
                out.write_all(b"\n")?;
            }
            (Ok((sentences, summary)), Form::Text(page)) => {
                render::article(out, page, id, headline, sentences, summary)?;
            }
            // Told on standard error.
            (Err(_), Form::Text(_) | Form::Csv(_)) => {}
            (Ok((sentences, summary)), Form::Html(document)) => {
                document.article(out, id, headline, sentences, summary)?;
            }
            (Ok((sentences, summary)), Form::Csv(csv)) => {
                csv.article(out, id, sentences, summary)?;
            }
            (Err((code, message)), Form::Html(document)) => {
                document.failure(out, id, code, message)?;
            }
        }
        self.sink.answered()
    }

    /// Writes what stands after the last answer.
    pub fn finish(self) -> io::Result<()> {
        let Self { form, mut sink } = self;
        if let Form::Html(document) = form {
            document.end(&mut sink)?;
        }
        sink.finish()
    }
}
