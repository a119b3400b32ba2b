//! What the server tells of itself to those who run it. Watches calls and the engine; decides
//! nothing, and sees no text.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderMap;

#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(feature = "otel")]
pub mod traces;

/// A call that begins.
#[derive(Clone, Copy, Debug)]
pub struct Began<'a> {
    /// `package.Service/Method` of the contract. All others are one name, so that callers cannot make
    /// up new ones.
    pub method: &'static str,
    /// What the caller sent along. Holds its token, so none of it is told but what is asked for by
    /// name.
    pub headers: &'a HeaderMap,
}

/// Is told of calls.
pub trait Observer: Debug + Send + Sync {
    /// A call began; what is answered is told how it goes on.
    fn began(&self, call: &Began<'_>) -> Box<dyn Running>;

    /// One article of a corpus failed for a reason of the contract (`EMPTY_TEXT`).
    fn failed(&self, reason: &str);
}

/// Is told of one call, and of its end exactly once.
pub trait Running: Debug + Send + Sync {
    /// The first message of its answer left.
    fn first(&mut self, after: Duration);

    /// It ended, with the name of a gRPC code and a reason of the contract. `CANCELLED` as well where
    /// the client left.
    fn ended(&mut self, code: &'static str, reason: Option<&str>, after: Duration);

    /// Whom to tell of the stages of its work, if anyone wants to know.
    fn stages(&self) -> Option<Arc<dyn Stages>> {
        None
    }
}

/// A part of a call's work that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// `cut`: checking an article and cutting it into sentences. `queue`: a window from its entering
    /// the queue to its batch. `encode`: its batch in the model.
    pub name: &'static str,
    /// When it began.
    pub began: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// The article's number in its call.
    pub article: i64,
    /// Sentences that it was about, of the article or of the window.
    pub sentences: usize,
}

/// Is told of the stages of one call.
pub trait Stages: Debug + Send + Sync {
    /// A stage is over.
    fn passed(&self, stage: &Stage);
}
