//! A running server, asked over the network. One try an article: what it refuses is counted, not
//! tried again.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::load::{self, Outcome, Reply, Run};
use super::report::{self, Axis, Plot, Scale, Table};
use super::stats::Percentiles;
use super::work::Work;
use super::{Error, Pace, Watch};
use crate::answer::ModelIdentity;
use crate::article::Article;
use crate::grpc::{client::Client, status};

/// How it is measured.
#[derive(Clone, Debug)]
pub struct Config {
    /// Callers of each closed loop.
    pub callers: Vec<usize>,
    /// Articles a second of each open loop.
    pub rates: Vec<f64>,
    /// Most articles under way in an open loop.
    pub max_callers: usize,
    /// How long each loop takes.
    pub pace: Pace,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Closed loops, then open ones.
    pub runs: Vec<Run>,
}

/// Asks once, with the client's own patience; which model answers.
///
/// # Errors
///
/// When the server does not answer.
pub async fn probe(client: &Client, article: &Article) -> Result<ModelIdentity, Error> {
    let answer = client.classify(article, 0.0).await;
    let (_, summary) = answer.map_err(|status| {
        let code = status::name(status.code());
        Error::Unanswered(format!("{code}: {}", status.message()))
    })?;
    Ok(summary.model)
}

/// Measures. Must run within a tokio runtime.
///
/// # Errors
///
/// When there is no article; what the server fails on is counted.
pub async fn measure(
    client: &Client,
    articles: &[Article],
    config: &Config,
    watch: &dyn Watch,
) -> Result<Report, Error> {
    if articles.is_empty() {
        return Err(Error::NoArticles);
    }
    let ask = |n: usize| ask(client, &articles[n % articles.len()]);
    let mut runs = Vec::new();
    for &callers in &config.callers {
        watch.begin(
            &format!("closed loop, {callers} callers"),
            config.pace.whole(),
        );
        runs.push(load::closed(ask, callers, config.pace).await?);
        settle().await;
    }
    for &rate in &config.rates {
        watch.begin(
            &format!("open loop, {rate} articles/s"),
            config.pace.whole(),
        );
        runs.push(load::open(ask, rate, config.max_callers, config.pace).await?);
        settle().await;
    }
    Ok(Report { runs })
}

/// A pause between two loops, so that one does not begin with what the other left behind.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn ask(client: &Client, article: &Article) -> Outcome {
    let mut first = None;
    let arrived = || {
        first.get_or_insert_with(Instant::now);
    };
    match client.once(article, 0.0, arrived).await {
        Ok((sentences, _)) => Ok(Reply {
            work: Work {
                articles: 1.0,
                sentences: sentences.len() as f64,
                ..Work::default()
            },
            first: first.unwrap_or_else(Instant::now),
        }),
        Err(status) => Err(status::name(status.code()).to_owned()),
    }
}

impl report::Report for Report {
    fn tables(&self) -> Vec<Table> {
        let title = "Latencies in milliseconds; open loops count from the planned time";
        vec![report::runs(title, &self.runs)]
    }

    fn plots(&self) -> Vec<Plot> {
        let closed: Vec<&Run> = self.runs.iter().filter(|r| r.callers.is_some()).collect();
        let mut plots = Vec::new();
        if closed.len() > 1 {
            plots.push(report::throughput(&closed));
            plots.push(report::latency(&closed));
        }
        let distribution = |title: &str, of: fn(&Run) -> &Percentiles| Plot::Lines {
            title: title.into(),
            x: Axis::new("share of articles", Scale::Percentile),
            y: Axis::new("ms", Scale::Linear),
            series: self
                .runs
                .iter()
                .map(|run| report::curve(&report::name(run), of(run)))
                .collect(),
        };
        plots.push(distribution("Latency to the first sentence", |r| {
            &r.first_sentence_ms
        }));
        plots.push(distribution("Latency to the summary", |r| &r.article_ms));
        plots
    }
}
