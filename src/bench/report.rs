//! What was measured, to read: tables for a terminal, JSON for programs, a page for people. Says
//! with every figure which machine, model and settings it is from.

mod html;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Error;
use super::load::Run;
use super::machine::Machine;
use super::stats::Percentiles;
use crate::answer::ModelIdentity;
pub use crate::render::plot::{Axis, Plot, Scale, Series, number};

/// What figures belong to.
#[derive(Clone, Debug, Serialize)]
pub struct Header {
    /// The subcommand.
    pub command: &'static str,
    /// The machine that measured.
    pub machine: Machine,
    /// The model that answered.
    pub model: ModelName,
    /// Arguments, and what they came to, in their order.
    #[serde(serialize_with = "as_object")]
    pub settings: Vec<(&'static str, Value)>,
}

fn as_object<S: Serializer>(
    settings: &[(&'static str, Value)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(settings.iter().map(|(name, value)| (name, value)))
}

/// A model's identity.
#[derive(Clone, Debug, Serialize)]
pub struct ModelName {
    /// Its name.
    pub id: String,
    /// Its revision.
    pub revision: String,
    /// SHA-256 of its files.
    pub sha256: String,
}

impl From<&ModelIdentity> for ModelName {
    fn from(model: &ModelIdentity) -> Self {
        Self {
            id: model.id.clone(),
            revision: model.revision.clone(),
            sha256: model.sha256.clone(),
        }
    }
}

impl Header {
    /// Name and value of each fact, to read.
    fn facts(&self) -> Vec<(String, String)> {
        let model = &self.model;
        let mut facts = vec![
            ("machine".to_owned(), self.machine.to_string()),
            ("copydesk".to_owned(), self.machine.copydesk.clone()),
            (
                "model".to_owned(),
                format!("{} {}, sha256 {}", model.id, model.revision, model.sha256),
            ),
        ];
        facts.extend(self.settings.iter().map(|(name, value)| {
            let value = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            (name.replace('_', " "), value)
        }));
        facts
    }
}

/// Something that was measured.
pub trait Report: Serialize {
    /// As tables.
    fn tables(&self) -> Vec<Table>;
    /// As plots.
    fn plots(&self) -> Vec<Plot>;
}

/// Rows of figures.
#[derive(Clone, Debug)]
pub struct Table {
    /// What they are.
    pub title: String,
    /// One a column; the first column names the rows.
    pub head: Vec<String>,
    /// As many cells as columns.
    pub rows: Vec<Vec<String>>,
}

/// The report as tables.
pub fn text(header: &Header, report: &impl Report) -> String {
    let facts = header.facts();
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for (name, value) in facts {
        out.push_str(&format!("{name:<width$}  {value}\n"));
    }
    for table in report.tables() {
        out.push('\n');
        out.push_str(&columns(&table));
    }
    out
}

/// The report as one JSON object: the header's fields, then the report's.
///
/// # Errors
///
/// When it cannot be written, which no report gives reason for.
pub fn json(header: &Header, report: &impl Report) -> Result<String, Error> {
    #[derive(Serialize)]
    struct Document<'a, R> {
        #[serde(flatten)]
        header: &'a Header,
        #[serde(flatten)]
        report: &'a R,
    }
    Ok(serde_json::to_string(&Document { header, report })?)
}

/// The report as a page that needs nothing else.
///
/// # Errors
///
/// When a plot cannot be drawn.
pub fn html(header: &Header, report: &impl Report) -> Result<String, Error> {
    html::page(header, &report.tables(), &report.plots())
}

/// The first column to the left, figures to the right.
fn columns(table: &Table) -> String {
    let rows = || std::iter::once(&table.head).chain(&table.rows);
    let width = |column: usize| {
        let cells = rows().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..table.head.len()).map(width).collect();
    let mut out = format!("{}\n", table.title);
    for row in rows().filter(|row| row.iter().any(|cell| !cell.is_empty())) {
        let mut line = String::new();
        for (i, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            match i {
                0 => line.push_str(&format!("  {cell:<width$}")),
                _ => line.push_str(&format!("  {cell:>width$}")),
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Names of columns.
pub fn head(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// A share from 0 to 1, in percent.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Milliseconds with their unit.
pub fn milliseconds(figure: f64) -> String {
    format!("{} ms", number(figure))
}

/// Bytes as MB; a dash where they are not known.
pub fn bytes(count: Option<u64>) -> String {
    count.map_or_else(
        || "-".to_owned(),
        |bytes| format!("{} MB", number(bytes as f64 / 1e6)),
    )
}

/// A run's name.
pub fn name(run: &Run) -> String {
    match (run.callers, run.rate) {
        (Some(1), _) => "1 caller".to_owned(),
        (Some(callers), _) => format!("{callers} callers"),
        (None, Some(rate)) => format!("{rate} articles/s planned"),
        (None, None) => run.mode.to_owned(),
    }
}

/// Runs as a table.
pub fn runs(title: &str, runs: &[Run]) -> Table {
    let row = |run: &Run| {
        let mut row = vec![name(run)];
        row.extend([run.articles_per_second, run.sentences_per_second].map(number));
        for p in [&run.first_sentence_ms, &run.article_ms] {
            row.extend([p.p50, p.p90, p.p99].map(number));
        }
        let errors = run.errors.iter();
        let errors: Vec<String> = errors.map(|(code, n)| format!("{n} {code}")).collect();
        row.push(match errors.is_empty() {
            true => "0".to_owned(),
            false => errors.join(", "),
        });
        row.push(run.unsent.map_or_else(|| "-".to_owned(), |n| n.to_string()));
        row
    };
    Table {
        title: title.to_owned(),
        head: head(&[
            "",
            "articles/s",
            "sentences/s",
            "first p50",
            "p90",
            "p99",
            "article p50",
            "p90",
            "p99",
            "errors",
            "unsent",
        ]),
        rows: runs.iter().map(row).collect(),
    }
}

/// The distribution of latencies.
pub fn curve(name: &str, latencies: &Percentiles) -> Series {
    Series {
        marked: false,
        ..Series::new(name, latencies.curve.clone())
    }
}

/// Sentences a second by callers.
pub fn throughput(runs: &[&Run]) -> Plot {
    Plot::Lines {
        title: "Throughput by callers".into(),
        x: Axis::new("callers", Scale::Log2),
        y: Axis::new("sentences a second", Scale::Linear),
        series: vec![Series::new(
            "sentences a second",
            by_callers(runs, |run| run.sentences_per_second),
        )],
    }
}

/// Latency to the summary by callers.
pub fn latency(runs: &[&Run]) -> Plot {
    let series = |name, of| Series::new(name, by_callers(runs, of));
    Plot::Lines {
        title: "Latency to the summary by callers".into(),
        x: Axis::new("callers", Scale::Log2),
        y: Axis::new("ms", Scale::Linear),
        series: vec![
            series("p50", |run| run.article_ms.p50),
            series("p90", |run| run.article_ms.p90),
            series("p99", |run| run.article_ms.p99),
        ],
    }
}

fn by_callers(runs: &[&Run], of: fn(&Run) -> f64) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = runs
        .iter()
        .filter_map(|run| Some((run.callers? as f64, of(run))))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let figures = [0.0, 0.01234, 1.234, 12.34, 123.4, 1234.5, 7_654_321.0].map(number);
        assert_eq!(
            figures,
            ["0", "0.012", "1.23", "12.3", "123", "1,235", "7,654,321"]
        );
        assert_eq!(number(-1234.0), "-1,234");
        assert_eq!(percent(0.125), "12.5 %");
        assert_eq!(bytes(Some(47_900_000)), "47.9 MB");
        assert_eq!(bytes(None), "-");
    }

    #[test]
    fn columns_line_up() {
        let table = Table {
            title: "Speeds".into(),
            head: head(&["", "a", "bb"]),
            rows: vec![head(&["first", "1", "2"]), head(&["x", "1,000", "3"])],
        };
        assert_eq!(
            columns(&table),
            "Speeds\n             a  bb\n  first      1   2\n  x      1,000   3\n"
        );
    }
}
