//! The page: facts, tables and plots in one file, without scripts, fonts or anything else from
//! elsewhere.

use super::{Header, Plot, Series, Table};
use crate::bench::Error;
use crate::render::plot;

const STYLE: &str = "
  body { font: 16px/1.5 system-ui, sans-serif; color: #1d2430; background: #fff;
         max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
  h1 { font-size: 1.5rem; margin: 0 0 1rem; }
  h2 { font-size: 1.1rem; margin: 2.5rem 0 .5rem; }
  dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1.25rem; margin: 0; }
  dt { color: #5b6675; }
  dd { margin: 0; overflow-wrap: anywhere; }
  .wide { overflow-x: auto; }
  table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
  th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #e3e7ec;
           white-space: nowrap; }
  th { color: #5b6675; font-weight: 500; }
  th:first-child, td:first-child { text-align: left; padding-left: 0; }
  .plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 34rem), 1fr));
           gap: 1.5rem; margin-top: 2.5rem; }
  figure { margin: 0; border: 1px solid #e3e7ec; border-radius: .5rem; padding: .75rem; }
  figcaption { font-weight: 600; }
  .key { margin: .25rem 0; font-size: .875rem; color: #3c4655; }
  .key i { display: inline-block; width: 1rem; height: .2rem; margin: 0 .4rem .2rem .8rem; }
  svg { width: 100%; height: auto; }
";

pub(super) fn page(header: &Header, tables: &[Table], plots: &[Plot]) -> Result<String, Error> {
    let title = format!("copydesk bench {}", header.command);
    let facts: String = header
        .facts()
        .iter()
        .map(|(name, value)| format!("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(value)))
        .collect();
    let tables: String = tables.iter().map(table).collect();
    let figures: String = plots.iter().map(figure).collect::<Result<_, _>>()?;
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
         <dl>\n{facts}</dl>\n{tables}<div class=\"plots\">\n{figures}</div>\n</body>\n</html>\n"
    ))
}

fn table(table: &Table) -> String {
    let row = |cells: &[String], tag: &str| {
        let cells: String = cells
            .iter()
            .map(|cell| format!("<{tag}>{}</{tag}>", escape(cell)))
            .collect();
        format!("<tr>{cells}</tr>\n")
    };
    let rows: String = table.rows.iter().map(|cells| row(cells, "td")).collect();
    let head = match table.head.iter().all(String::is_empty) {
        true => String::new(),
        false => row(&table.head, "th"),
    };
    format!(
        "<h2>{}</h2>\n<div class=\"wide\"><table>\n{head}{rows}</table></div>\n",
        escape(&table.title)
    )
}

fn figure(plot: &Plot) -> Result<String, Error> {
    let title = match plot {
        Plot::Lines { title, .. } | Plot::Bars { title, .. } => escape(title),
    };
    let svg = plot::svg(plot, false)?;
    let svg = svg.replacen(
        "<svg ",
        &format!("<svg role=\"img\" aria-label=\"{title}\" "),
        1,
    );
    let key = match plot {
        Plot::Lines { series, .. } if series.len() > 1 => key(series),
        _ => String::new(),
    };
    Ok(format!(
        "<figure><figcaption>{title}</figcaption>\n{key}{svg}</figure>\n"
    ))
}

fn key(series: &[Series]) -> String {
    let name = |(name, colour): (&str, String)| {
        format!("<i style=\"background:{colour}\"></i>{} ", escape(name))
    };
    let names: String = plot::key(series).into_iter().map(name).collect();
    format!("<p class=\"key\">{names}</p>\n")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_cannot_become_markup() {
        assert_eq!(
            escape("<a href=\"x\">&</a>"),
            "&lt;a href=&quot;x&quot;&gt;&amp;&lt;/a&gt;"
        );
    }
}
