//! Measures the classifier, the encoder below it and servers above it, and writes what it found as
//! tables, JSON and pages. For the command line alone; hides nothing that stalled, failed or was not
//! sent, and names machine, model and settings in every report.

pub mod articles;
pub mod cost;
pub mod crew;
pub mod encode;
pub mod load;
pub mod local;
pub mod machine;
pub mod peak;
pub mod pipeline;
pub mod report;
#[cfg(feature = "grpc")]
pub mod server;
pub mod sizes;
pub mod start;
pub mod stats;
pub mod windows;
pub mod work;

use std::time::Duration;

use crate::article::Invalid;
use crate::classifier::ClassifyError;
use crate::encode::TokenizerError;
use crate::model::RunError;
use crate::render::plot::PlotError;

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing to read.
    #[error("there is no article to measure with")]
    NoArticles,
    /// There is nothing to encode.
    #[error("there is no window to measure with")]
    NoWindows,
    /// An article cannot be answered.
    #[error("{id}: {source}")]
    Article {
        /// Which.
        id: String,
        /// Why.
        source: Invalid,
    },
    /// A line of windows is none.
    #[error("{place} is no window: {problem}")]
    Window {
        /// File and line.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The classifier failed.
    #[error("an article was not answered")]
    Classify(#[from] ClassifyError),
    /// An article was refused or failed while it was measured.
    #[error("an article was not answered: {0}")]
    Unanswered(String),
    /// A text could not be tokenised.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The model failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The model's `config.json` lacks the encoder's dimensions.
    #[error("config.json does not tell the encoder's dimensions")]
    Config(#[source] serde_json::Error),
    /// A measuring thread panicked.
    #[error("a measuring thread panicked")]
    Panicked,
    /// The child process gave no answer.
    #[error("the start could not be measured: {0}")]
    Child(String),
    /// The histogram could not be made.
    #[error("the histogram could not be made")]
    Histogram(#[from] hdrhistogram::CreationError),
    /// A plot could not be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// A file or a thread failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A report could not be written as JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// Whether whoever read the output has gone.
    pub fn is_broken_pipe(&self) -> bool {
        let kind = match self {
            Self::Io(error) => Some(error.kind()),
            Self::Json(error) => error.io_error_kind(),
            _ => None,
        };
        kind == Some(std::io::ErrorKind::BrokenPipe)
    }
}

/// How long one measurement takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Left out at the start, while caches fill.
    pub warmup: Duration,
    /// Measured after it; what is under way when it ends is finished, and counts by its part in a closed loop.
    pub time: Duration,
}

impl Pace {
    /// Both parts together.
    pub fn whole(self) -> Duration {
        self.warmup + self.time
    }
}

/// Who is told how the measuring goes on.
pub trait Watch {
    /// A measurement begins that takes about this long.
    fn begin(&self, what: &str, expected: Duration);
}
