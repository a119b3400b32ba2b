//! Text as a page may carry it, in elements and in quoted attributes. Nothing that it writes can
//! open or close markup, and control characters do not reach the page.

use std::fmt::{Display, Formatter, Result, Write};

/// Somebody else's words.
pub(super) struct Text<'a>(pub(super) &'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c if c.is_whitespace() && c.is_control() => f.write_char(' ')?,
                c if c.is_control() => f.write_char(char::REPLACEMENT_CHARACTER)?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_becomes_text() {
        let check = |text: &str, expect: &str| assert_eq!(Text(text).to_string(), expect);
        check(
            "</script><b a='\"'>",
            "&lt;/script&gt;&lt;b a=&#39;&quot;&#39;&gt;",
        );
        check(
            "a && b;\0\u{1b}[31m\nc",
            "a &amp;&amp; b;\u{fffd}\u{fffd}[31m c",
        );
        check("Zoë 🦊 東京", "Zoë 🦊 東京");
    }
}
