//! How time grows with an article's length, and throughput with the number of callers.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::articles::{Set, built_in, of_sentences};
use super::cost::Cost;
use super::load::Run;
use super::report::{self, Axis, Plot, Scale, Series, Table, number};
use super::stats::median;
use super::{Error, Pace, Watch, pipeline};
use crate::classifier::Classifier;

/// Sentences of the longest article that is made; of more, its text would be over the limit.
pub const LONGEST: usize = 7_000;

/// How it is measured.
#[derive(Clone, Debug)]
pub struct Config {
    /// Lengths of articles, in sentences.
    pub sentences: Vec<usize>,
    /// Callers at a time.
    pub callers: Vec<usize>,
    /// How long each measurement takes; an article that takes longer is measured once.
    pub pace: Pace,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// By length, one article at a time.
    pub sizes: Vec<Size>,
    /// By callers, over the built-in articles.
    pub callers: Vec<Run>,
}

/// Articles of one length.
#[derive(Clone, Debug, Serialize)]
pub struct Size {
    /// Sentences of the article.
    pub sentences: usize,
    /// Tokens that the encoder reads for it.
    pub tokens: usize,
    /// How often it was answered.
    pub runs: usize,
    /// Milliseconds to the first sentence; the middle one.
    pub first_sentence_ms: f64,
    /// Milliseconds to the summary; the middle one.
    pub article_ms: f64,
    /// The last, for each sentence.
    pub ms_per_sentence: f64,
}

/// Measures. Must run within a tokio runtime.
///
/// # Errors
///
/// When an article is not answered.
pub async fn measure(
    classifier: &Classifier,
    cost: &Cost,
    config: &Config,
    watch: &dyn Watch,
) -> Result<Report, Error> {
    let encoder = classifier.engine().model().encoder();
    let built_in = Set::new(built_in(), encoder, cost)?;
    watch.begin("warm-up", config.pace.warmup);
    let warmup = Pace {
        warmup: Duration::ZERO,
        time: config.pace.warmup,
    };
    pipeline::run(classifier, &built_in, 1, warmup).await?;
    let mut sizes = Vec::new();
    for &sentences in &config.sentences {
        watch.begin(&format!("{sentences} sentences"), config.pace.time);
        sizes.push(size(classifier, cost, sentences, config.pace.time).await?);
    }
    let mut callers = Vec::new();
    for &count in &config.callers {
        watch.begin(&format!("{count} callers"), config.pace.whole());
        callers.push(pipeline::run(classifier, &built_in, count, config.pace).await?);
    }
    Ok(Report { sizes, callers })
}

async fn size(
    classifier: &Classifier,
    cost: &Cost,
    sentences: usize,
    time: Duration,
) -> Result<Size, Error> {
    let article = of_sentences(sentences);
    let encoder = classifier.engine().model().encoder();
    let set = Set::new(vec![article], encoder, cost)?;
    let (mut first, mut whole) = (Vec::new(), Vec::new());
    let began = Instant::now();
    while whole.is_empty() || began.elapsed() < time {
        let sent = Instant::now();
        let answered = pipeline::answer(classifier, set.article(0)).await?;
        first.push((answered - sent).as_secs_f64() * 1e3);
        whole.push(sent.elapsed().as_secs_f64() * 1e3);
    }
    let article_ms = median(&whole);
    Ok(Size {
        sentences,
        tokens: set.work(0).tokens as usize,
        runs: whole.len(),
        first_sentence_ms: median(&first),
        article_ms,
        ms_per_sentence: article_ms / sentences.max(1) as f64,
    })
}

impl report::Report for Report {
    fn tables(&self) -> Vec<Table> {
        let row = |s: &Size| {
            vec![
                s.sentences.to_string(),
                number(s.tokens as f64),
                number(s.first_sentence_ms),
                number(s.article_ms),
                number(s.ms_per_sentence),
                s.runs.to_string(),
            ]
        };
        let sizes = Table {
            title: "One article at a time, by its length; medians in milliseconds".into(),
            head: report::head(&[
                "sentences",
                "tokens",
                "first sentence",
                "article",
                "per sentence",
                "runs",
            ]),
            rows: self.sizes.iter().map(row).collect(),
        };
        let title = "Built-in articles, by callers; latencies in milliseconds";
        vec![sizes, report::runs(title, &self.callers)]
    }

    fn plots(&self) -> Vec<Plot> {
        let points = |of: fn(&Size) -> f64| {
            let sizes = self.sizes.iter();
            sizes.map(|s| (s.sentences as f64, of(s))).collect()
        };
        let log = |label: &str| Axis::new(label, Scale::Log);
        let callers: Vec<&Run> = self.callers.iter().collect();
        vec![
            Plot::Lines {
                title: "Time by length".into(),
                x: log("sentences"),
                y: log("ms"),
                series: vec![
                    Series::new("to the first sentence", points(|s| s.first_sentence_ms)),
                    Series::new("to the summary", points(|s| s.article_ms)),
                ],
            },
            Plot::Lines {
                title: "Time a sentence, by length".into(),
                x: log("sentences"),
                y: Axis::new("ms a sentence", Scale::Linear),
                series: vec![Series::new("to the summary", points(|s| s.ms_per_sentence))],
            },
            report::throughput(&callers),
            report::latency(&callers),
        ]
    }
}
