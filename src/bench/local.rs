//! Everything about one model on this machine: the pipeline under full load and with one article at
//! a time, each of its stages, the encoder against the machine's products, the start, and memory.

use std::ops::AddAssign;
use std::process::Command;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::articles::{Set, cut};
use super::cost::Cost;
use super::encode::{self, EncoderSpeed, batches};
use super::load::Run;
use super::machine::Memory;
use super::report::{self, Axis, Plot, Scale, Table, bytes, milliseconds, number, percent};
use super::start::{self, Start};
use super::work::Work;
use super::{Error, Pace, Watch, crew, pipeline};
use crate::answer::Event;
use crate::article::Limits;
use crate::classifier::Classifier;
use crate::encode::Window;
use crate::model::Model;

/// How it is measured.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Articles under way at a time under full load.
    pub callers: usize,
    /// How long each measurement takes.
    pub pace: Pace,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Under full load.
    pub pipeline: Run,
    /// The encoder's operations and tokens within it.
    pub pipeline_encoder: EncoderSpeed,
    /// With one article at a time.
    pub alone: Run,
    /// The stages of an article, in their order.
    pub stages: Vec<Stage>,
    /// The encoder alone, and with the heads.
    #[serde(flatten)]
    pub encode: encode::Report,
    /// What is neither encoder nor heads.
    pub beside_model: BesideModel,
    /// The start.
    pub start: Start,
    /// This process's memory after the pipeline ran.
    pub memory: Memory,
}

/// One stage of an article.
#[derive(Clone, Debug, Serialize)]
pub struct Stage {
    /// Its name.
    pub stage: &'static str,
    /// Milliseconds of one thread that an article takes, all cores being busy.
    pub ms_per_article: f64,
    /// Of all stages together, 0 to 1.
    pub share: f64,
    /// Sentences a second on one thread.
    pub sentences_per_second: f64,
}

/// The share of time that goes neither into the encoder nor into the heads, 0 to 1.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct BesideModel {
    /// Of an article's stages, run one after another.
    pub of_stages: f64,
    /// Of the pipeline: how far it stays behind encoder and heads in full batches. Holds the queue,
    /// the threads' talk and batches that are not full as well; below 0 by chance only.
    pub of_pipeline: f64,
}

/// Tokens for encoder and heads alone; enough for many batches, little in memory.
const TOKENS: usize = 100_000;

/// Measures. Must be called outside of any runtime; `runtime` is the caller's side of the pipeline,
/// `child` a command that prints [`start::Inside`].
///
/// # Errors
///
/// When an article is not answered, or the child process fails.
pub fn measure(
    classifier: &Classifier,
    set: &Set,
    cost: &Cost,
    config: Config,
    runtime: &tokio::runtime::Runtime,
    child: impl Fn() -> Command,
    watch: &dyn Watch,
) -> Result<Report, Error> {
    let pace = config.pace;
    let engine = classifier.engine().config();
    let model = classifier.engine().model();
    watch.begin("the start", Duration::from_secs(2));
    let start = start::measure(child)?;
    watch.begin("the pipeline, full", pace.whole());
    let full = runtime.block_on(pipeline::run(classifier, set, config.callers, pace))?;
    let memory = Memory::now();
    watch.begin("the pipeline, one article at a time", pace.whole());
    let alone = runtime.block_on(pipeline::run(classifier, set, 1, pace))?;
    watch.begin("each stage", pace.whole());
    let spent = stages(model, set, engine.workers, engine.max_batch_tokens, pace)?;
    let windows = windows(model, set)?;
    let encoding = encode::Config {
        workers: engine.workers,
        batch_tokens: engine.max_batch_tokens,
        pace,
    };
    let encode = encode::measure(model, &windows, cost, encoding, watch)?;
    let ceiling = encode.encoder_heads.tokens_per_second;
    let beside_model = BesideModel {
        of_stages: spent.beside_model(),
        of_pipeline: 1.0 - full.speed.tokens / ceiling,
    };
    Ok(Report {
        pipeline_encoder: EncoderSpeed {
            tokens_per_second: full.speed.tokens,
            gflops: full.speed.flops / 1e9,
            share_of_peak: encode.peak_gflops.map(|peak| full.speed.flops / 1e9 / peak),
        },
        pipeline: full,
        alone,
        stages: spent.stages(),
        encode,
        beside_model,
        start,
        memory,
    })
}

/// The first windows of the set.
fn windows(model: &Model, set: &Set) -> Result<Vec<Window>, Error> {
    let mut windows: Vec<Window> = Vec::new();
    let mut tokens = 0;
    for article in &set.articles {
        if tokens >= TOKENS {
            break;
        }
        let more = cut(article, &Limits::default())?.windows(model.encoder())?;
        tokens += more.iter().map(Window::tokens).sum::<usize>();
        windows.extend(more);
    }
    Ok(windows)
}

/// Where one thread's time went.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    work: Work,
    /// In the order of [`STAGES`].
    stages: [Duration; STAGES.len()],
}

const STAGES: [&str; 5] = ["segment", "tokenise", "encode", "heads", "assemble"];

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.work += other.work;
        for (sum, stage) in self.stages.iter_mut().zip(other.stages) {
            *sum += stage;
        }
    }
}

impl Spent {
    fn total(&self) -> f64 {
        let total: Duration = self.stages.iter().sum();
        total.as_secs_f64().max(1e-9)
    }

    fn beside_model(&self) -> f64 {
        let [segment, tokenise, _, _, assemble] = self.stages;
        (segment + tokenise + assemble).as_secs_f64() / self.total()
    }

    fn stages(&self) -> Vec<Stage> {
        let stage = |(stage, time): (&'static str, Duration)| {
            let seconds = time.as_secs_f64();
            Stage {
                stage,
                ms_per_article: seconds * 1e3 / self.work.articles,
                share: seconds / self.total(),
                sentences_per_second: self.work.sentences / seconds.max(1e-9),
            }
        };
        STAGES.into_iter().zip(self.stages).map(stage).collect()
    }
}

/// Every worker takes whole articles through all stages, one stage after another.
fn stages(
    model: &Model,
    set: &Set,
    workers: usize,
    batch_tokens: usize,
    pace: Pace,
) -> Result<Spent, Error> {
    let shares = crew::run(workers, pace, |n| {
        let times = through(model, set.article(n).clone(), batch_tokens)?;
        Ok(Spent {
            work: set.work(n),
            stages: times,
        })
    })?;
    let mut sum = Spent::default();
    for share in shares {
        sum += share.done;
    }
    Ok(sum)
}

fn through(
    model: &Model,
    article: crate::article::Article,
    batch_tokens: usize,
) -> Result<[Duration; 5], Error> {
    let began = Instant::now();
    let cut = cut(&article, &Limits::default())?;
    let segmented = Instant::now();
    let windows = cut.windows(model.encoder())?;
    let tokenised = Instant::now();
    let (mut encode, mut heads) = (Duration::ZERO, Duration::ZERO);
    let mut answers = Vec::with_capacity(windows.len());
    for batch in batches(&windows, batch_tokens) {
        let before = Instant::now();
        let states = model.encode(&batch)?;
        let encoded = Instant::now();
        answers.extend(model.read(&batch, &states)?);
        encode += encoded - before;
        heads += encoded.elapsed();
    }
    let answered = Instant::now();
    let events: Vec<Event> = cut.assemble(model, answers);
    let assemble = answered.elapsed();
    std::hint::black_box(events);
    Ok([
        segmented - began,
        tokenised - segmented,
        encode,
        heads,
        assemble,
    ])
}

impl report::Report for Report {
    fn tables(&self) -> Vec<Table> {
        vec![
            self.pipeline_table(),
            self.stage_table(),
            self.encoder_table(),
            self.other_table(),
        ]
    }

    fn plots(&self) -> Vec<Plot> {
        let curve = |name: &str, run: &Run| report::curve(name, &run.article_ms);
        let first = |name: &str, run: &Run| report::curve(name, &run.first_sentence_ms);
        let shares = self.stages.iter().map(|s| (s.stage.to_owned(), s.share));
        vec![
            Plot::Lines {
                title: "Latency, one article at a time".into(),
                x: Axis::new("share of articles", Scale::Percentile),
                y: Axis::new("ms", Scale::Linear),
                series: vec![
                    first("to the first sentence", &self.alone),
                    curve("to the summary", &self.alone),
                ],
            },
            Plot::Lines {
                title: "Latency under full load".into(),
                x: Axis::new("share of articles", Scale::Percentile),
                y: Axis::new("ms", Scale::Linear),
                series: vec![
                    first("to the first sentence", &self.pipeline),
                    curve("to the summary", &self.pipeline),
                ],
            },
            Plot::Bars {
                title: "Where an article's time goes".into(),
                label: "share of all stages".into(),
                bars: shares.collect(),
            },
            Plot::Bars {
                title: "Throughput in tokens".into(),
                label: "tokens a second, all cores".into(),
                bars: vec![
                    (
                        "encoder alone".into(),
                        self.encode.encoder.tokens_per_second,
                    ),
                    (
                        "encoder and heads".into(),
                        self.encode.encoder_heads.tokens_per_second,
                    ),
                    ("whole pipeline".into(), self.pipeline.speed.tokens),
                ],
            },
        ]
    }
}

impl Report {
    fn pipeline_table(&self) -> Table {
        let row = |name: &str, run: &Run| {
            let mut row = vec![name.to_owned()];
            let speed = run.speed;
            row.extend([speed.articles, speed.sentences, speed.tokens].map(number));
            for p in [&run.first_sentence_ms, &run.article_ms] {
                row.extend([p.p50, p.p90, p.p99].map(number));
            }
            row
        };
        let callers = self.pipeline.callers.unwrap_or_default();
        Table {
            title: "The whole pipeline; latencies in milliseconds".into(),
            head: report::head(&[
                "",
                "articles/s",
                "sentences/s",
                "tokens/s",
                "first p50",
                "p90",
                "p99",
                "article p50",
                "p90",
                "p99",
            ]),
            rows: vec![
                row(&format!("{callers} articles at a time"), &self.pipeline),
                row("one at a time", &self.alone),
            ],
        }
    }

    fn stage_table(&self) -> Table {
        let row = |s: &Stage| {
            vec![
                s.stage.to_owned(),
                number(s.ms_per_article),
                percent(s.share),
                number(s.sentences_per_second),
            ]
        };
        Table {
            title: "Each stage, on one thread, all cores busy".into(),
            head: report::head(&["", "ms/article", "share", "sentences/s"]),
            rows: self.stages.iter().map(row).collect(),
        }
    }

    fn encoder_table(&self) -> Table {
        let none = || "-".to_owned();
        let row = |name: &str, speed: &EncoderSpeed| {
            vec![
                name.to_owned(),
                number(speed.tokens_per_second),
                number(speed.gflops),
                speed.share_of_peak.map_or_else(none, percent),
            ]
        };
        let heads = self.encode.encoder_heads.tokens_per_second;
        let mut rows = vec![
            row("encoder alone", &self.encode.encoder),
            vec!["encoder and heads".into(), number(heads), none(), none()],
            row("within the pipeline", &self.pipeline_encoder),
        ];
        if let Some(peak) = self.encode.peak_gflops {
            rows.push(vec![
                "matrix products".into(),
                none(),
                number(peak),
                percent(1.0),
            ]);
        }
        Table {
            title: format!("The encoder, on {} workers", self.encode.workers),
            head: report::head(&["", "tokens/s", "GFLOP/s", "of the peak"]),
            rows,
        }
    }

    fn other_table(&self) -> Table {
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let start = &self.start;
        let beside = self.beside_model;
        Table {
            title: "Start, memory, overhead".into(),
            head: report::head(&["", ""]),
            rows: vec![
                row(
                    "start to the answer of ten sentences",
                    milliseconds(start.seconds * 1e3),
                ),
                row(
                    "of these, loading the model",
                    milliseconds(start.load_seconds * 1e3),
                ),
                row("memory after the start", bytes(start.resident_bytes)),
                row(
                    "memory of this process, now",
                    bytes(self.memory.resident_bytes),
                ),
                row(
                    "memory of this process, at most",
                    bytes(self.memory.peak_bytes),
                ),
                row(
                    "neither encoder nor heads, of the stages",
                    percent(beside.of_stages),
                ),
                row(
                    "neither encoder nor heads, of the pipeline",
                    percent(beside.of_pipeline),
                ),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_all_stages() {
        let mut spent = Spent::default();
        spent += Spent {
            work: Work {
                articles: 2.0,
                sentences: 10.0,
                ..Work::default()
            },
            stages: [1, 2, 12, 4, 1].map(Duration::from_millis),
        };
        assert!((spent.beside_model() - 0.2).abs() < 1e-9);
        let stages = spent.stages();
        assert_eq!(stages[2].stage, "encode");
        assert!((stages[2].share - 0.6).abs() < 1e-9);
        assert!((stages[2].ms_per_article - 6.0).abs() < 1e-9);
        assert!((stages[0].sentences_per_second - 10_000.0).abs() < 1e-3);
    }
}
