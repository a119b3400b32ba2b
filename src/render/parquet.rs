//! Rows as Parquet: the columns of [`super::rows`], packed with Zstandard, in groups of some ten
//! thousand rows, so that no more than a group is held.

use std::io::{Error, Result, Write};
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use arrow_array::builder::{BooleanBuilder, Float64Builder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use crate::answer::{Sentence, Summary};

use super::rows::{Cell, Column, Kind, Rows};

/// Rows of one group.
const GROUP: usize = 32_768;

/// A table under way.
pub struct Parquet<W: Write + Send> {
    rows: Rows,
    schema: SchemaRef,
    columns: Vec<Builder>,
    held: usize,
    writer: ArrowWriter<W>,
}

enum Builder {
    Text(StringBuilder),
    Integer(Int64Builder),
    Float(Float64Builder),
    Boolean(BooleanBuilder),
}

impl Builder {
    fn of(column: &Column) -> Self {
        match column.kind {
            Kind::Text => Self::Text(StringBuilder::new()),
            Kind::Integer => Self::Integer(Int64Builder::new()),
            Kind::Float => Self::Float(Float64Builder::new()),
            Kind::Boolean => Self::Boolean(BooleanBuilder::new()),
        }
    }

    /// A cell of another kind than its column has no place and is left out.
    fn take(&mut self, cell: &Cell<'_>) {
        match (self, cell) {
            (Self::Text(column), Cell::Text(words)) => column.append_value(words),
            (Self::Integer(column), Cell::Integer(number)) => column.append_value(*number),
            (Self::Float(column), Cell::Float(score)) => column.append_value(*score),
            (Self::Boolean(column), Cell::Boolean(yes)) => column.append_value(*yes),
            (Self::Text(column), _) => column.append_null(),
            (Self::Integer(column), _) => column.append_null(),
            (Self::Float(column), _) => column.append_null(),
            (Self::Boolean(column), _) => column.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(column) => Arc::new(column.finish()),
            Self::Integer(column) => Arc::new(column.finish()),
            Self::Float(column) => Arc::new(column.finish()),
            Self::Boolean(column) => Arc::new(column.finish()),
        }
    }
}

fn field(column: &Column) -> Field {
    let kind = match column.kind {
        Kind::Text => DataType::Utf8,
        Kind::Integer => DataType::Int64,
        Kind::Float => DataType::Float64,
        Kind::Boolean => DataType::Boolean,
    };
    Field::new(column.name, kind, true)
}

impl<W: Write + Send> Parquet<W> {
    /// Opens the table.
    ///
    /// # Errors
    /// Whatever writing to `out` comes to.
    pub fn begin(out: W, rows: Rows) -> Result<Self> {
        let fields: Vec<Field> = rows.columns().iter().map(field).collect();
        let schema = Arc::new(Schema::new(fields));
        let settings = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        let writer = ArrowWriter::try_new(out, Arc::clone(&schema), Some(settings));
        Ok(Self {
            rows,
            schema,
            columns: rows.columns().iter().map(Builder::of).collect(),
            held: 0,
            writer: writer.map_err(plain)?,
        })
    }

    /// Adds an article's rows.
    ///
    /// # Errors
    /// Whatever writing comes to.
    pub fn article(&mut self, id: &str, sentences: &[Sentence], summary: &Summary) -> Result<()> {
        let (columns, held) = (&mut self.columns, &mut self.held);
        self.rows.each(id, sentences, summary, |row| {
            for (column, cell) in columns.iter_mut().zip(row) {
                column.take(cell);
            }
            *held += 1;
            Ok::<(), Error>(())
        })?;
        if self.held >= GROUP {
            self.write()?;
        }
        Ok(())
    }

    /// Closes the table and gives back what it was written to.
    ///
    /// # Errors
    /// Whatever writing comes to.
    pub fn end(mut self) -> Result<W> {
        self.write()?;
        self.writer.into_inner().map_err(plain)
    }

    fn write(&mut self) -> Result<()> {
        if self.held == 0 {
            return Ok(());
        }
        let columns = self.columns.iter_mut().map(Builder::finish).collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns);
        let batch = batch.map_err(Error::other)?;
        self.held = 0;
        self.writer.write(&batch).map_err(plain)?;
        self.writer.flush().map_err(plain)
    }
}

/// The error below, where there is one.
fn plain(error: ParquetError) -> Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<Error>() {
            Ok(inner) => *inner,
            Err(inner) => Error::other(inner),
        },
        other => Error::other(other),
    }
}
