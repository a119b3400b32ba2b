//! Rows as CSV (RFC 4180): a header, UTF-8 without a mark, quoted where need be. Empty cells are
//! what R and pandas read as missing.

use std::io::{Result, Write};

use crate::answer::{Sentence, Summary};

use super::rows::{Cell, Rows};

/// A CSV under way.
pub struct Csv {
    rows: Rows,
}

impl Csv {
    /// Writes the header.
    ///
    /// # Errors
    /// Whatever writing to `out` comes to.
    pub fn begin(out: &mut dyn Write, rows: Rows) -> Result<Self> {
        let mut line = ::csv::Writer::from_writer(out);
        line.write_record(rows.columns().iter().map(|column| column.name))?;
        line.flush()?;
        Ok(Self { rows })
    }

    /// Writes an article's rows.
    ///
    /// # Errors
    /// Whatever writing to `out` comes to.
    pub fn article(
        &self,
        out: &mut dyn Write,
        id: &str,
        sentences: &[Sentence],
        summary: &Summary,
    ) -> Result<()> {
        let mut lines = ::csv::Writer::from_writer(out);
        self.rows.each(id, sentences, summary, |row| {
            for cell in row {
                match cell {
                    Cell::Empty => lines.write_field(""),
                    Cell::Text(words) => lines.write_field(words.as_bytes()),
                    Cell::Integer(number) => lines.write_field(number.to_string()),
                    Cell::Float(score) => lines.write_field(score.to_string()),
                    // In capitals both R and pandas take a column with gaps for what it is.
                    Cell::Boolean(yes) => lines.write_field(if *yes { "TRUE" } else { "FALSE" }),
                }?;
            }
            lines.write_record(None::<&[u8]>)
        })?;
        lines.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{Mention, PartySentiment, PartySummary, SentenceType, Sentiment, Speaker};
    use crate::span::Span;

    fn answer() -> (Vec<Sentence>, Summary) {
        let sentence = Sentence {
            index: 3,
            paragraph: 1,
            span: Span {
                char_start: 7,
                char_end: 30,
                ..Span::default()
            },
            text: "He said \"no\", twice,\nto Norland.".to_owned(),
            kind: Some(SentenceType::Quote),
            type_scores: [0.81234, 0.05, 0.05, 0.04, 0.04766],
            quotations: vec![],
            speaker: Some(Speaker {
                text: "He".to_owned(),
                sentence: 3,
                span: Span::default(),
                party: Some("p1".to_owned()),
                inherited: false,
            }),
            parties: vec![PartySentiment {
                party: "p1".to_owned(),
                name: "N.".to_owned(),
                sentiment: Some(Sentiment::Negative),
                scores: [0.7, 0.2, 0.1],
                mentions: vec![Mention {
                    span: Span::default(),
                    text: "Norland".to_owned(),
                }],
            }],
        };
        let summary = Summary {
            parties: vec![PartySummary {
                id: "p1".to_owned(),
                name: "Norland, Republic of".to_owned(),
                ..PartySummary::default()
            }],
            ..Summary::default()
        };
        (vec![sentence], summary)
    }

    fn read(rows: Rows) -> Vec<std::collections::HashMap<String, String>> {
        let (sentences, summary) = answer();
        let mut out = Vec::new();
        let csv = Csv::begin(&mut out, rows).unwrap();
        csv.article(&mut out, "a,1", &sentences, &summary).unwrap();
        let mut reader = ::csv::Reader::from_reader(out.as_slice());
        reader.deserialize().map(|row| row.unwrap()).collect()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let check = |rows: Rows, expect: &[(&str, &str)]| {
            let read = read(rows);
            assert_eq!(read.len(), 1);
            assert_eq!(read[0].len(), rows.columns().len());
            for (column, value) in expect {
                assert_eq!(read[0][*column], *value, "{column}");
            }
        };
        check(
            Rows::Sentences,
            &[
                ("id", "a,1"),
                ("sentence", "3"),
                ("start", "7"),
                ("text", "He said \"no\", twice,\nto Norland."),
                ("type", "quote"),
                ("type_score", "0.8123"),
                ("quotation", ""),
                ("speaker", "He"),
                ("speaker_inherited", "FALSE"),
                ("negative", "Norland, Republic of"),
                ("positive", ""),
            ],
        );
        check(
            Rows::Parties,
            &[
                ("party", "p1"),
                ("name", "Norland, Republic of"),
                ("sentiment", "negative"),
                ("score_negative", "0.7"),
                ("mentions", "1"),
                ("mention", "Norland"),
                ("speaks", "TRUE"),
            ],
        );
    }
}
