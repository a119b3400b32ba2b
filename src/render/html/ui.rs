//! The page on which one pastes an article and watches its answer come. What is drawn looks and
//! behaves as a [`super::Document`] does: the same style, the same script for what is drawn; only the
//! drawing itself is done again in the browser (`ui/draw.js`), since sentences come one by one.

use serde_json::Value;

use super::{BAR, SCRIPT, SKIP, STYLE, hash, tools};

/// What only this page needs.
const OWN_STYLE: &str = include_str!("ui/ui.css");
/// In the order in which they need one another.
const SCRIPTS: [&str; 4] = [
    include_str!("ui/wire.js"),
    include_str!("ui/draw.js"),
    SCRIPT,
    include_str!("ui/ui.js"),
];
const FORM: &str = include_str!("ui/form.html");
const EXAMPLES: &str = include_str!("../../../examples/articles/articles.jsonl");

/// The page and the policy that it is to be served with.
#[derive(Clone, Debug)]
pub struct Ui {
    /// All of it, style and scripts included; asks for nothing but the service's answers.
    pub html: String,
    /// `Content-Security-Policy`: these scripts, this style, calls to where the page came from.
    pub policy: String,
}

impl Ui {
    /// Puts the page together; the same every time.
    pub fn new() -> Self {
        let style = format!("\n{STYLE}{OWN_STYLE}");
        let script = format!("\n{}", SCRIPTS.concat());
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
             img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'; trusted-types 'none'",
            hash::sha256(&script),
            hash::sha256(&style),
        );
        // The icon keeps browsers from asking for one.
        let html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <link rel=\"icon\" href=\"data:,\">\n\
             <title>copydesk</title>\n<style>{style}</style>\n</head>\n<body>\n\
             {SKIP}{FORM}{}</div>\n<main id=\"main\"></main>\n{BAR}\
             <script type=\"application/json\" id=\"examples\">{}</script>\n\
             <script>{script}</script>\n</body>\n</html>\n",
            tools(),
            examples(),
        );
        Self { html, policy }
    }
}

impl Default for Ui {
    fn default() -> Self {
        Self::new()
    }
}

/// The made-up articles that have a running text, as JSON that no markup can lie in.
fn examples() -> String {
    let articles = EXAMPLES.lines().filter_map(|line| {
        let article: Value = serde_json::from_str(line).ok()?;
        article.get("text").is_some().then_some(article)
    });
    Value::Array(articles.collect())
        .to_string()
        .replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_knows_what_the_page_holds() {
        let Ui { html, policy } = Ui::new();
        let between = |open: &str, close: &str| {
            let from = html.find(open).unwrap() + open.len();
            &html[from..from + html[from..].find(close).unwrap()]
        };
        for (open, close) in [("<style>", "</style>"), ("<script>", "</script>")] {
            let hash = hash::sha256(between(open, close));
            assert!(policy.contains(&format!("'sha256-{hash}'")), "{open}");
        }
        // A style or script within a line would not run, and the page would be none the wiser.
        assert!(!html.contains(" style=\""));
        assert!(!html.contains(" onclick="));
        assert_eq!(html.matches("<script").count(), 2);
    }

    #[test]
    fn examples_are_articles() {
        let articles: Vec<Value> = serde_json::from_str(&examples()).unwrap();
        assert_eq!(articles.len(), 5);
        for article in articles {
            assert!(article["headline"].as_str().is_some_and(|h| !h.is_empty()));
        }
    }
}
