//! Articles from the columns `id`, `headline` and `text` of a Parquet file, some rows at a time;
//! other columns are not read.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::{Item, Items};
use crate::article::{Article, Body};

/// Rows read at a time: an article may be long.
const ROWS: usize = 64;

const COLUMNS: [&str; 3] = ["id", "headline", "text"];

/// The articles of a file; what is wrong with it otherwise.
pub(super) fn open(path: &Path, name: &str, read: &Arc<AtomicU64>) -> Result<Items, String> {
    let unreadable = |error: &dyn std::fmt::Display| format!("cannot be read: {error}");
    let file = File::open(path).map_err(|e| unreadable(&e))?;
    let bytes = file.metadata().map_or(0, |m| m.len());
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| unreadable(&e))?;
    let rows = builder.metadata().file_metadata().num_rows().max(1) as u64;
    let names: Vec<&str> = builder
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    if !names.contains(&"text") {
        return Err(format!(
            "has no column \"text\" (and perhaps \"id\" and \"headline\"); it has {}",
            names.join(", ")
        ));
    }
    let wanted = ProjectionMask::columns(builder.parquet_schema(), COLUMNS);
    let batches = builder
        .with_projection(wanted)
        .with_batch_size(ROWS)
        .build()
        .map_err(|e| unreadable(&e))?;
    let table = Table {
        batches,
        name: name.to_owned(),
        number: 0,
        read: Arc::clone(read),
        bytes_a_row: bytes / rows,
    };
    Ok(Box::new(table.flatten()))
}

struct Table {
    batches: ParquetRecordBatchReader,
    name: String,
    /// Rows so far.
    number: usize,
    read: Arc<AtomicU64>,
    bytes_a_row: u64,
}

impl Iterator for Table {
    type Item = Vec<Item>;

    fn next(&mut self) -> Option<Vec<Item>> {
        let first = self.number;
        match self.batches.next()? {
            Ok(batch) => {
                self.number += batch.num_rows();
                let done = self.bytes_a_row * batch.num_rows() as u64;
                self.read.fetch_add(done, Ordering::Relaxed);
                let rows = 0..batch.num_rows();
                let place = |row| format!("{}:{}", self.name, first + row + 1);
                Some(rows.map(|row| article(&batch, row, place(row))).collect())
            }
            Err(error) => {
                let place = format!("{}:{}", self.name, first + 1);
                Some(vec![(place, Err(format!("cannot be read: {error}")))])
            }
        }
    }
}

fn article(batch: &RecordBatch, row: usize, place: String) -> Item {
    let cell = |name: &str| batch.column_by_name(name).map(|column| text(column, row));
    let id = match cell("id") {
        None | Some(Ok(None)) => place.clone(),
        Some(Ok(Some(id))) => id,
        Some(Err(problem)) => return (place, Err(format!("column \"id\" {problem}"))),
    };
    match (cell("headline").transpose(), cell("text").transpose()) {
        (Ok(headline), Ok(Some(Some(text)))) => {
            let article = Article {
                id: id.clone(),
                headline: headline.flatten(),
                body: Body::Text(text),
                ..Article::default()
            };
            (id, Ok(article))
        }
        (Err(problem), _) => (id, Err(format!("{place} column \"headline\" {problem}"))),
        (_, Err(problem)) => (id, Err(format!("{place} column \"text\" {problem}"))),
        (Ok(_), Ok(_)) => (id, Err(format!("{place} has no \"text\""))),
    }
}

/// Text however it is laid out, or a whole number.
fn text(column: &dyn Array, row: usize) -> Result<Option<String>, String> {
    // A column of nothing but nulls knows of none.
    if column.is_null(row) || *column.data_type() == DataType::Null {
        return Ok(None);
    }
    if let Some(texts) = column.as_string_opt::<i32>() {
        return Ok(Some(texts.value(row).to_owned()));
    }
    if let Some(texts) = column.as_string_opt::<i64>() {
        return Ok(Some(texts.value(row).to_owned()));
    }
    if let Some(texts) = column.as_string_view_opt() {
        return Ok(Some(texts.value(row).to_owned()));
    }
    if let Some(numbers) = column.as_primitive_opt::<Int64Type>() {
        return Ok(Some(numbers.value(row).to_string()));
    }
    Err(format!(
        "holds {}; text (or for an id whole numbers) is allowed",
        column.data_type()
    ))
}
