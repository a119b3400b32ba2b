//! What is read while measuring: made-up articles of our own, or the user's.

use std::sync::Arc;

use super::Error;
use super::cost::Cost;
use super::work::Work;
use crate::article::{Article, Body, Limits};
use crate::classifier::Cut;
use crate::encode::Encoder;
use crate::segment;

/// (name, text) of the articles inside the binary. Every name in them is made up.
const BUILT_IN: [(&str, &str); 8] = [
    ("harbour", include_str!("articles/harbour.txt")),
    ("verdict", include_str!("articles/verdict.txt")),
    ("storm", include_str!("articles/storm.txt")),
    ("derby", include_str!("articles/derby.txt")),
    ("vaccine", include_str!("articles/vaccine.txt")),
    ("budget", include_str!("articles/budget.txt")),
    ("merger", include_str!("articles/merger.txt")),
    ("museum", include_str!("articles/museum.txt")),
];

fn plain(id: &str, text: &str) -> Article {
    Article {
        id: id.to_owned(),
        body: Body::Text(text.to_owned()),
        ..Article::default()
    }
}

/// The articles inside the binary.
pub fn built_in() -> Vec<Article> {
    let all = BUILT_IN.iter();
    all.map(|(name, text)| plain(name, text)).collect()
}

/// One article of this many sentences: those inside the binary over and over, cut off where it is
/// long enough.
pub fn of_sentences(count: usize) -> Article {
    let joined: String = BUILT_IN
        .iter()
        .map(|(_, text)| format!("{}\n\n", text.trim_end()))
        .collect();
    let once = segment::sentences(&joined);
    let whole = count / once.len().max(1);
    let mut text = joined.repeat(whole);
    let rest = count - whole * once.len();
    if let Some(last) = rest.checked_sub(1).and_then(|last| once.get(last)) {
        text.push_str(&joined[..last.range.end]);
    }
    plain(&format!("{count}-sentences"), &text)
}

/// Articles, and what each of them is to the encoder.
pub struct Set {
    /// The articles; at least one.
    pub articles: Vec<Article>,
    /// One an article.
    pub work: Vec<Work>,
}

impl Set {
    /// Cuts and tokenises the articles once, to count what is in them.
    ///
    /// # Errors
    ///
    /// When there is none, or one that would be refused.
    pub fn new(articles: Vec<Article>, encoder: &Arc<Encoder>, cost: &Cost) -> Result<Self, Error> {
        if articles.is_empty() {
            return Err(Error::NoArticles);
        }
        let work = articles
            .iter()
            .map(|article| count(article, encoder, cost))
            .collect::<Result<_, _>>()?;
        Ok(Self { articles, work })
    }

    /// The n-th article, from the first again after the last.
    pub fn article(&self, n: usize) -> &Article {
        &self.articles[n % self.articles.len()]
    }

    /// What the n-th article is to the encoder.
    pub fn work(&self, n: usize) -> Work {
        self.work[n % self.work.len()]
    }

    /// All articles together.
    pub fn total(&self) -> Work {
        let mut sum = Work::default();
        for work in &self.work {
            sum += *work;
        }
        sum
    }
}

/// The article, cut; an article that is refused is named.
pub fn cut(article: &Article, limits: &Limits) -> Result<Cut, Error> {
    Cut::new(article.clone(), limits).map_err(|source| Error::Article {
        id: article.id.clone(),
        source,
    })
}

fn count(article: &Article, encoder: &Arc<Encoder>, cost: &Cost) -> Result<Work, Error> {
    let cut = cut(article, &Limits::default())?;
    let windows = cut.windows(encoder)?;
    Ok(Work {
        articles: 1.0,
        sentences: cut.sentences() as f64,
        tokens: windows.iter().map(|w| w.tokens()).sum::<usize>() as f64,
        flops: windows.iter().map(|w| cost.window(w)).sum(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::sizes::LONGEST;

    fn sentences(article: &Article) -> usize {
        let Body::Text(text) = &article.body else {
            panic!("text");
        };
        segment::sentences(text).len()
    }

    #[test]
    fn articles_have_the_sentences_asked_for() {
        for count in [1, 2, 10, 99, 100, 1000, 5000, LONGEST] {
            let article = of_sentences(count);
            assert_eq!(sentences(&article), count);
            assert!(article.check(&Limits::default()).is_ok(), "{count}");
        }
    }

    #[test]
    fn the_built_in_articles_are_of_news_length() {
        for article in built_in() {
            let count = sentences(&article);
            assert!((15..=40).contains(&count), "{}: {count}", article.id);
        }
    }
}
